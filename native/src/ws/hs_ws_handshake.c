#include "ws/hs_ws_handshake.h"

#include <openssl/sha.h>

#include "base/hs_chars.h"
#include "http/hs_fields.h"
#include "http/hs_host.h"

#define KEY_LEN 24 /* 16 bytes in base64 */

int hs_ws_refusal_status(hs_ws_refusal_t refusal)
{
    switch (refusal) {
    case HS_WS_ACCEPTABLE:
        return 101;
    case HS_WS_NOT_ASKED:
    case HS_WS_VERSION:
        return 426;
    case HS_WS_NOT_GET:
        return 405;
    case HS_WS_ORIGIN:
        return 403;
    case HS_WS_NO_CONNECTION:
    case HS_WS_HAS_CONTENT:
    case HS_WS_KEY:
    case HS_WS_PROTOCOLS:
    case HS_WS_EXTENSIONS:
        return 400;
    }
    return 400;
}

const char *hs_ws_refusal_text(hs_ws_refusal_t refusal)
{
    switch (refusal) {
    case HS_WS_ACCEPTABLE:
        break;
    case HS_WS_NOT_ASKED:
        return "this is a WebSocket endpoint: the request has no Upgrade: websocket (a proxy in "
               "between may have removed it)";
    case HS_WS_NO_CONNECTION:
        return "Connection does not name Upgrade (a proxy in between may have removed it)";
    case HS_WS_NOT_GET:
        return "the method of a request that opens a WebSocket must be GET";
    case HS_WS_HAS_CONTENT:
        return "a request that opens a WebSocket has no content";
    case HS_WS_VERSION:
        return "Sec-WebSocket-Version is not 13";
    case HS_WS_KEY:
        return "Sec-WebSocket-Key is not one field with 16 bytes in base64";
    case HS_WS_PROTOCOLS:
        return "Sec-WebSocket-Protocol is not a list of different tokens";
    case HS_WS_ORIGIN:
        return "pages of this Origin may not open a WebSocket here";
    case HS_WS_EXTENSIONS:
        return "Sec-WebSocket-Extensions is not a list of extensions";
    }
    return "";
}

/* The next field of the name from `*at` on, NULL if there is none. */
static const hs_field_t *next_field(const hs_msg_t *msg, hs_span_t lower, uint16_t *at)
{
    while (*at < msg->field_count) {
        const hs_field_t *field = &msg->fields[(*at)++];
        if (hs_span_equals_nocase(hs_msg_field_name(msg, field), lower))
            return field;
    }
    return NULL;
}

/* Whether an element of the lists in all fields of this name is `token`. */
static bool names_token(const hs_msg_t *msg, hs_span_t name, hs_span_t token)
{
    const hs_field_t *field;
    for (uint16_t at = 0; (field = next_field(msg, name, &at)) != NULL;) {
        hs_span_t list = hs_msg_field_value(msg, field);
        hs_span_t element;
        while (hs_fields_next_element(&list, &element))
            if (hs_span_equals_nocase(hs_span_trim(element), token))
                return true;
    }
    return false;
}

/* The value of the only field of this name. False: there is none, or several. */
static bool only_value(const hs_msg_t *msg, hs_span_t name, hs_span_t *value)
{
    uint16_t at = 0;
    const hs_field_t *field = next_field(msg, name, &at);
    if (field == NULL || next_field(msg, name, &at) != NULL)
        return false;
    *value = hs_span_trim(hs_msg_field_value(msg, field));
    return true;
}

bool hs_ws_is_asked(const hs_msg_t *msg)
{
    return msg->minor_version == 1 &&
           names_token(msg, HS_SPAN_LITERAL("upgrade"), HS_SPAN_LITERAL("websocket"));
}

static bool is_base64(char c)
{
    return HS_CHAR_IS_ALNUM(c) || c == '+' || c == '/';
}

/* 16 bytes: the last character before the padding has four bits that are 0. */
static bool is_key(hs_span_t key)
{
    if (key.len != KEY_LEN || key.data[22] != '=' || key.data[23] != '=' ||
        strchr("AQgw", key.data[21]) == NULL)
        return false;
    for (size_t i = 0; i < 21; i++)
        if (!is_base64(key.data[i]))
            return false;
    return true;
}

hs_ws_refusal_t hs_ws_check(const hs_msg_t *msg, bool is_get, hs_span_t *key)
{
    hs_span_t version;
    if (!hs_ws_is_asked(msg))
        return HS_WS_NOT_ASKED;
    if (!names_token(msg, HS_SPAN_LITERAL("connection"), HS_SPAN_LITERAL("upgrade")))
        return HS_WS_NO_CONNECTION;
    if (!is_get)
        return HS_WS_NOT_GET;
    if (msg->chunked || msg->content_length > 0)
        return HS_WS_HAS_CONTENT;
    if (!only_value(msg, HS_SPAN_LITERAL("sec-websocket-version"), &version) ||
        !hs_span_equals(version, HS_SPAN_LITERAL("13")))
        return HS_WS_VERSION;
    if (!only_value(msg, HS_SPAN_LITERAL("sec-websocket-key"), key) || !is_key(*key))
        return HS_WS_KEY;
    return HS_WS_ACCEPTABLE;
}

/* Padded base64 of a SHA-1 digest: 20 bytes to 28 characters. */
static void put_base64(const unsigned char *digest, char *to)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < SHA_DIGEST_LENGTH; i += 3) {
        bool has_third = i + 2 < SHA_DIGEST_LENGTH;
        unsigned bits = (unsigned)digest[i] << 16 | (unsigned)digest[i + 1] << 8 |
                        (has_third ? digest[i + 2] : 0u);
        *to++ = alphabet[bits >> 18];
        *to++ = alphabet[bits >> 12 & 63];
        *to++ = alphabet[bits >> 6 & 63];
        *to++ = has_third ? alphabet[bits & 63] : '=';
    }
    *to = '\0';
}

bool hs_ws_accept_key(hs_span_t key, char out[HS_WS_ACCEPT_CAP])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char text[KEY_LEN + sizeof(guid) - 1];
    unsigned char digest[SHA_DIGEST_LENGTH];
    HS_ASSERT(key.len == KEY_LEN);
    memcpy(text, key.data, KEY_LEN);
    memcpy(text + KEY_LEN, guid, sizeof(guid) - 1);
    if (SHA1(text, sizeof(text), digest) == NULL)
        return false;
    put_base64(digest, out);
    return true;
}

static bool has_element(hs_span_t list, hs_span_t wanted)
{
    hs_span_t element;
    while (hs_fields_next_element(&list, &element))
        if (hs_span_equals(hs_span_trim(element), wanted))
            return true;
    return false;
}

/* Offers are compared with all later ones. */
#define OFFERS_MAX 64

bool hs_ws_choose_protocol(const hs_msg_t *msg, hs_span_t served, hs_span_t *chosen)
{
    hs_span_t offers[OFFERS_MAX];
    size_t count = 0;
    const hs_field_t *field;
    *chosen = hs_span("", 0);
    for (uint16_t at = 0;
         (field = next_field(msg, HS_SPAN_LITERAL("sec-websocket-protocol"), &at)) != NULL;) {
        hs_span_t list = hs_msg_field_value(msg, field);
        hs_span_t element;
        while (hs_fields_next_element(&list, &element)) {
            hs_span_t offer = hs_span_trim(element);
            if (!hs_span_is_token(offer) || count == OFFERS_MAX)
                return false;
            for (size_t i = 0; i < count; i++)
                if (hs_span_equals(offers[i], offer))
                    return false;
            offers[count++] = offer;
            if (chosen->len == 0 && has_element(served, offer))
                *chosen = offer;
        }
    }
    return true;
}

/* Whether `origin` belongs to the host named by the request, with any scheme, since a proxy may
 * have terminated TLS. */
static bool is_same(const hs_msg_t *msg, hs_span_t origin)
{
    static const char http[] = "http://";
    static const char https[] = "https://";
    hs_span_t host;
    if (!only_value(msg, HS_SPAN_LITERAL("host"), &host))
        return false;
    bool is_http =
        origin.len > sizeof(http) - 1 && memcmp(origin.data, http, sizeof(http) - 1) == 0;
    bool is_https =
        origin.len > sizeof(https) - 1 && memcmp(origin.data, https, sizeof(https) - 1) == 0;
    if (!is_http && !is_https)
        return false;
    size_t scheme = is_http ? sizeof(http) - 1 : sizeof(https) - 1;
    hs_span_t authority = hs_span(origin.data + scheme, origin.len - scheme);
    return hs_host_is_valid(authority) && hs_host_same(authority, host, is_http ? 80 : 443);
}

bool hs_ws_allows_origin(const hs_msg_t *msg, hs_span_t allowed)
{
    uint16_t at = 0;
    hs_span_t origin;
    hs_span_t element;
    if (next_field(msg, HS_SPAN_LITERAL("origin"), &at) == NULL)
        return true;
    if (!only_value(msg, HS_SPAN_LITERAL("origin"), &origin))
        return false;
    while (hs_fields_next_element(&allowed, &element)) {
        hs_span_t wanted = hs_span_trim(element);
        if (hs_span_equals(wanted, HS_SPAN_LITERAL("*")))
            return true;
        if (hs_span_equals(wanted, HS_SPAN_LITERAL("same")) ? is_same(msg, origin)
                                                            : hs_span_equals_nocase(wanted, origin))
            return true;
    }
    return false;
}
