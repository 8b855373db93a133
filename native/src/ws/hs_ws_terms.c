#include "ws/hs_ws_terms.h"

#include <stdio.h>

#include "base/hs_chars.h"

/* How many offers of a client are read: browsers send one, others two. */
#define OFFERS_MAX 16

/* One offer of permessage-deflate. */
typedef struct offer {
    bool server_no_takeover;
    bool client_no_takeover;
    bool has_server_bits;
    bool has_client_bits;
    uint8_t server_bits; /* as asked for */
    uint8_t client_bits; /* 0: any */
    bool is_wrong;       /* a parameter is unknown, repeated, or has a wrong value */
} offer_t;

/* ---- The grammar: extension *( ";" parameter [ "=" token or quoted token ] ). ---- */

static void skip_space(hs_span_t *text)
{
    while (text->len > 0 && (*text->data == ' ' || *text->data == '\t'))
        *text = hs_span(text->data + 1, text->len - 1);
}

static bool take_char(hs_span_t *text, char c)
{
    skip_space(text);
    if (text->len == 0 || *text->data != c)
        return false;
    *text = hs_span(text->data + 1, text->len - 1);
    return true;
}

static bool take_token(hs_span_t *text, hs_span_t *token)
{
    skip_space(text);
    size_t len = 0;
    while (len < text->len && hs_span_is_token(hs_span(text->data + len, 1)))
        len++;
    *token = hs_span(text->data, len);
    *text = hs_span(text->data + len, text->len - len);
    return len > 0;
}

/* A quoted value must be a token as well (RFC 6455 §9.1), so escapes are not parsed. */
static bool take_value(hs_span_t *text, hs_span_t *value)
{
    if (!take_char(text, '"'))
        return take_token(text, value);
    const char *end = memchr(text->data, '"', text->len);
    size_t len = end != NULL ? (size_t)(end - text->data) : 0;
    *value = hs_span(text->data, len);
    *text = hs_span(text->data + len, text->len - len);
    return hs_span_is_token(*value) && take_char(text, '"');
}

/* The bits of a window, 8 to 15, without a leading zero; 0: invalid. */
static uint8_t read_bits(hs_span_t value)
{
    if (value.len == 1 && (value.data[0] == '8' || value.data[0] == '9'))
        return (uint8_t)(value.data[0] - '0');
    if (value.len == 2 && value.data[0] == '1' && value.data[1] >= '0' && value.data[1] <= '5')
        return (uint8_t)(10 + value.data[1] - '0');
    return 0;
}

static bool once(bool *flag)
{
    bool is_first = !*flag;
    *flag = true;
    return is_first;
}

/* `value` without data: none. Names are case-sensitive. */
static bool read_parameter(offer_t *offer, hs_span_t name, hs_span_t value)
{
    bool has_value = value.data != NULL;
    if (hs_span_equals(name, HS_SPAN_LITERAL("server_no_context_takeover")))
        return !has_value && once(&offer->server_no_takeover);
    if (hs_span_equals(name, HS_SPAN_LITERAL("client_no_context_takeover")))
        return !has_value && once(&offer->client_no_takeover);
    if (hs_span_equals(name, HS_SPAN_LITERAL("server_max_window_bits"))) {
        offer->server_bits = has_value ? read_bits(value) : 0;
        return offer->server_bits > 0 && once(&offer->has_server_bits);
    }
    if (hs_span_equals(name, HS_SPAN_LITERAL("client_max_window_bits"))) {
        offer->client_bits = has_value ? read_bits(value) : 0;
        return (!has_value || offer->client_bits > 0) && once(&offer->has_client_bits);
    }
    return false;
}

/* False: malformed. */
static bool read_extension(hs_span_t *text, bool *is_deflate, offer_t *offer)
{
    hs_span_t name;
    if (!take_token(text, &name))
        return false;
    *offer = (offer_t){ 0 };
    *is_deflate = hs_span_equals(name, HS_SPAN_LITERAL("permessage-deflate"));
    while (take_char(text, ';')) {
        hs_span_t value = { 0 };
        if (!take_token(text, &name) || (take_char(text, '=') && !take_value(text, &value)))
            return false;
        if (!read_parameter(offer, name, value))
            offer->is_wrong = true;
    }
    return true;
}

/* ---- The terms. ---- */

/* Whether the server can accept the offer. */
static bool is_acceptable(const offer_t *offer)
{
    return !offer->is_wrong && (!offer->has_server_bits || offer->server_bits >= HS_WS_WINDOW_MIN);
}

static hs_ws_terms_t accept_offer(const offer_t *offer, const hs_ws_terms_wanted_t *wanted)
{
    hs_ws_terms_t terms = {
        .is_on = true,
        .server_takeover = wanted->takeover && !offer->server_no_takeover,
        .client_takeover = wanted->takeover && !offer->client_no_takeover,
        .server_bits = HS_WS_WINDOW_MAX,
        .client_bits = HS_WS_WINDOW_MAX,
    };
    /* A context per connection should be small; shared ones need not be. */
    if (terms.server_takeover)
        terms.server_bits = wanted->window_bits;
    if (offer->has_server_bits && offer->server_bits < terms.server_bits)
        terms.server_bits = offer->server_bits;
    terms.tells_server_bits = offer->has_server_bits || terms.server_bits < HS_WS_WINDOW_MAX;
    /* The client's window may be limited only if its offer says so. */
    if (terms.client_takeover && offer->has_client_bits) {
        terms.client_bits = wanted->window_bits;
        terms.tells_client_bits = true;
    }
    if (offer->client_bits > 0 && offer->client_bits < terms.client_bits)
        terms.client_bits = offer->client_bits;
    return terms;
}

/* False: the field's value is malformed. */
static bool read_offers(hs_span_t text, const hs_ws_terms_wanted_t *wanted, hs_ws_terms_t *terms,
                        unsigned *count)
{
    do {
        bool is_deflate;
        offer_t offer;
        skip_space(&text);
        if (text.len > 0 && *text.data == ',')
            continue; /* an empty element */
        if (text.len == 0)
            return true;
        if ((*count)++ == OFFERS_MAX || !read_extension(&text, &is_deflate, &offer))
            return false;
        if (is_deflate && wanted->is_on && !terms->is_on && is_acceptable(&offer))
            *terms = accept_offer(&offer, wanted);
    } while (take_char(&text, ','));
    return text.len == 0;
}

bool hs_ws_agree(const hs_msg_t *msg, const hs_ws_terms_wanted_t *wanted, hs_ws_terms_t *terms)
{
    unsigned count = 0;
    *terms = (hs_ws_terms_t){ 0 };
    for (uint16_t i = 0; i < msg->field_count; i++) {
        const hs_field_t *field = &msg->fields[i];
        if (hs_span_equals_nocase(hs_msg_field_name(msg, field),
                                  HS_SPAN_LITERAL("sec-websocket-extensions")) &&
            !read_offers(hs_msg_field_value(msg, field), wanted, terms, &count))
            return false;
    }
    return true;
}

size_t hs_ws_put_terms(const hs_ws_terms_t *terms, char out[HS_WS_TERMS_CAP])
{
    char server_bits[32] = "";
    char client_bits[32] = "";
    if (terms->tells_server_bits)
        (void)snprintf(server_bits, sizeof(server_bits), "; server_max_window_bits=%u",
                       (unsigned)terms->server_bits);
    if (terms->tells_client_bits)
        (void)snprintf(client_bits, sizeof(client_bits), "; client_max_window_bits=%u",
                       (unsigned)terms->client_bits);
    int len = snprintf(out, HS_WS_TERMS_CAP, "permessage-deflate%s%s%s%s",
                       terms->server_takeover ? "" : "; server_no_context_takeover",
                       terms->client_takeover ? "" : "; client_no_context_takeover", server_bits,
                       client_bits);
    return len > 0 ? (size_t)len : 0;
}
