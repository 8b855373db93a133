#include "http/hs_forwarded.h"

#include "base/hs_chars.h"

/* An address in brackets and a port, unescaped. */
#define NODE_MAX 64

/* The rest of the lists, read from their end. */
typedef struct cursor {
    const hs_msg_t *msg;
    hs_span_t name;
    unsigned fields; /* fields before this number are unread */
    hs_span_t list;  /* the unread part of the field after them */
    bool has_quotes;
} cursor_t;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/*
 * `*at` is a closing quote: moves to the opening one. An escaped quote has an odd number of
 * backslashes before it, the opening one none. False: there is none.
 */
static bool find_opening_quote(const char *data, size_t *at)
{
    for (size_t i = *at; i-- > 0;) {
        if (data[i] != '"')
            continue;
        size_t slashes = 0;
        while (slashes < i && data[i - 1 - slashes] == '\\')
            slashes++;
        if (slashes % 2 == 0) {
            *at = i;
            return true;
        }
        i -= slashes;
    }
    return false;
}

/* Removes the last element of the list. False: a quoted string in it has no opening quote. */
static bool take_last(cursor_t *cursor, hs_span_t *element)
{
    hs_span_t *list = &cursor->list;
    size_t at = list->len;
    while (at > 0 && list->data[at - 1] != ',') {
        at--;
        if (cursor->has_quotes && list->data[at] == '"' && !find_opening_quote(list->data, &at))
            return false;
    }
    *element = hs_span_trim(hs_span(list->data + at, list->len - at));
    list->len = at > 0 ? at - 1 : 0;
    return true;
}

/* The last element that is not empty (RFC 9110 §5.6.1.2). False: there is none, or it cannot be
 * found. */
static bool take_element(cursor_t *cursor, hs_span_t *element)
{
    for (;;) {
        while (cursor->list.len > 0) {
            if (!take_last(cursor, element))
                return false;
            if (element->len > 0)
                return true;
        }
        const hs_field_t *field;
        do {
            if (cursor->fields == 0)
                return false;
            field = &cursor->msg->fields[--cursor->fields];
        } while (!hs_span_equals_nocase(hs_msg_field_name(cursor->msg, field), cursor->name));
        cursor->list = hs_msg_field_value(cursor->msg, field);
    }
}

/* A number of up to five digits, or a name that hides it (RFC 7239 §6.2), after a colon. */
static bool is_port(hs_span_t text)
{
    if (text.len < 2 || text.data[0] != ':')
        return false;
    if (text.data[1] == '_') {
        for (size_t i = 2; i < text.len; i++)
            if (!HS_CHAR_IS_ALNUM(text.data[i]) && strchr("._-", text.data[i]) == NULL)
                return false;
        return text.len > 2;
    }
    for (size_t i = 1; i < text.len; i++)
        if (!is_digit(text.data[i]))
            return false;
    return text.len <= 6;
}

/* An address, with or without a port: IPv4, [IPv6], or bare IPv6, which has none. False: not an
 * address. */
static bool read_node(hs_span_t node, hs_peer_t *peer)
{
    size_t len = node.len;
    if (len > 0 && node.data[0] == '[') {
        const char *end = memchr(node.data, ']', len);
        if (end == NULL)
            return false;
        hs_span_t address = hs_span(node.data + 1, (size_t)(end - node.data) - 1);
        hs_span_t port = hs_span(end + 1, len - address.len - 2);
        return memchr(address.data, ':', address.len) != NULL && (port.len == 0 || is_port(port)) &&
               hs_peer_parse(address, peer);
    }
    const char *colon = memchr(node.data, ':', len);
    if (colon != NULL) {
        size_t at = (size_t)(colon - node.data);
        if (is_port(hs_span(colon, len - at)) && memchr(colon + 1, ':', len - at - 1) == NULL)
            len = at;
    }
    return hs_peer_parse(hs_span(node.data, len), peer);
}

/* A quoted-string at the start of `*text`: its content without backslashes, as far as it fits
 * (anything longer than NODE_MAX is not an address). False: unterminated. */
static bool take_quoted(hs_span_t *text, char value[NODE_MAX + 1], size_t *len)
{
    size_t at = 1;
    *len = 0;
    while (at < text->len && text->data[at] != '"') {
        if (text->data[at] == '\\' && ++at == text->len)
            return false;
        if (*len <= NODE_MAX)
            value[(*len)++] = text->data[at];
        at++;
    }
    if (at >= text->len)
        return false;
    *text = hs_span(text->data + at + 1, text->len - at - 1);
    return true;
}

/* Unquoted. Some proxies write addresses like this although their colons and brackets need quotes;
 * that is accepted. */
static bool take_unquoted(hs_span_t *text, char value[NODE_MAX + 1], size_t *len)
{
    size_t at = 0;
    while (at < text->len && strchr("; \t\"\\", text->data[at]) == NULL)
        at++;
    *len = hs_min(at, (size_t)NODE_MAX + 1);
    memcpy(value, text->data, *len);
    *text = hs_span(text->data + at, text->len - at);
    return at > 0;
}

/* The value of `for` in a forwarded-element (RFC 7239 §4). False: malformed, missing or repeated,
 * or not an address. */
static bool read_forwarded(hs_span_t text, hs_peer_t *peer)
{
    bool has_for = false;
    bool is_address = false;
    while ((text = hs_span_trim(text)).len > 0) {
        if (text.data[0] == ';') {
            text = hs_span(text.data + 1, text.len - 1);
            continue;
        }
        size_t name_len = hs_span_run(text, 0, hs_char_is_token);
        hs_span_t name = hs_span(text.data, name_len);
        if (name_len == 0 || name_len + 1 >= text.len || text.data[name_len] != '=')
            return false;
        text = hs_span(text.data + name_len + 1, text.len - name_len - 1);
        char value[NODE_MAX + 1];
        size_t len;
        if (!(text.data[0] == '"' ? take_quoted : take_unquoted)(&text, value, &len))
            return false;
        text = hs_span_trim(text);
        if (text.len > 0 && text.data[0] != ';')
            return false;
        if (!hs_span_equals_nocase(name, HS_SPAN_LITERAL("for")))
            continue;
        if (has_for)
            return false;
        has_for = true;
        is_address = len <= NODE_MAX && read_node(hs_span(value, len), peer);
    }
    return is_address;
}

hs_peer_t hs_forwarded_client(const hs_forwarding_t *forwarding, const hs_msg_t *msg,
                              const hs_peer_t *peer)
{
    hs_peer_t client = *peer;
    bool is_standard = forwarding->field == HS_FORWARDED_RFC7239;
    cursor_t cursor = {
        .msg = msg,
        .name = is_standard ? HS_SPAN_LITERAL("forwarded") : HS_SPAN_LITERAL("x-forwarded-for"),
        .fields = msg->field_count,
        .has_quotes = is_standard,
    };
    for (int hops = 0; hops < HS_FORWARDED_HOPS_MAX; hops++) {
        hs_span_t element;
        hs_peer_t before;
        if (!hs_networks_contain(&forwarding->trusted, &client) ||
            !take_element(&cursor, &element) ||
            !(is_standard ? read_forwarded : read_node)(element, &before))
            break;
        client = before;
    }
    return client;
}

/* A parameter `proto` of a forwarded-element, quoted or not. */
static bool has_https(hs_span_t element)
{
    while (element.len > 0) {
        const char *semicolon = memchr(element.data, ';', element.len);
        size_t len = semicolon != NULL ? (size_t)(semicolon - element.data) : element.len;
        hs_span_t pair = hs_span_trim(hs_span(element.data, len));
        if (hs_span_equals_nocase(pair, HS_SPAN_LITERAL("proto=https")) ||
            hs_span_equals_nocase(pair, HS_SPAN_LITERAL("proto=\"https\"")))
            return true;
        len = hs_min(len + 1, element.len);
        element = hs_span(element.data + len, element.len - len);
    }
    return false;
}

bool hs_forwarded_is_https(const hs_forwarding_t *forwarding, const hs_msg_t *msg,
                           const hs_peer_t *peer)
{
    if (!hs_networks_contain(&forwarding->trusted, peer))
        return false;
    bool is_standard = forwarding->field == HS_FORWARDED_RFC7239;
    cursor_t cursor = {
        .msg = msg,
        .name = is_standard ? HS_SPAN_LITERAL("forwarded") : HS_SPAN_LITERAL("x-forwarded-proto"),
        .fields = msg->field_count,
        .has_quotes = is_standard,
    };
    hs_span_t element;
    if (!take_element(&cursor, &element))
        return false;
    return is_standard ? has_https(element)
                       : hs_span_equals_nocase(element, HS_SPAN_LITERAL("https"));
}
