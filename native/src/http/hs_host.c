#include "http/hs_host.h"

#include "base/hs_chars.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (hs_ascii_lower(c) >= 'a' && hs_ascii_lower(c) <= 'f');
}

/* The characters of an address in brackets; whether it is a valid address is not checked. */
static bool is_address(hs_span_t text)
{
    size_t colons = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == ':')
            colons++;
        else if (!is_hex(text.data[i]) && text.data[i] != '.')
            return false;
    }
    return colons >= 2;
}

/* unreserved and pct-encoded. */
static bool is_name(hs_span_t text)
{
    size_t at = hs_span_run(text, 0, hs_char_is_unreserved);
    while (at < text.len) {
        if (text.data[at] != '%' || text.len - at < 3 || !is_hex(text.data[at + 1]) ||
            !is_hex(text.data[at + 2]))
            return false;
        at += 3;
        at += hs_span_run(text, at, hs_char_is_unreserved);
    }
    return text.len > 0;
}

/* The host ends at the end of the text or at the colon of the port. */
static size_t host_len(hs_span_t text)
{
    size_t at = 0;
    if (text.len > 0 && text.data[0] == '[')
        while (at < text.len && text.data[at] != ']')
            at++;
    while (at < text.len && text.data[at] != ':')
        at++;
    return at;
}

/* Nothing, a colon, or a colon and the digits of a port. */
static bool is_port(hs_span_t text)
{
    static const char max[] = ":65535";
    for (size_t at = 1; at < text.len; at++)
        if (!is_digit(text.data[at]))
            return false;
    return text.len < sizeof(max) - 1 ||
           (text.len == sizeof(max) - 1 && memcmp(text.data, max, sizeof(max) - 1) <= 0);
}

/* The valid port after host_len; `absent` if it is empty or missing. */
static unsigned port_of(hs_span_t text, size_t at, unsigned absent)
{
    unsigned port = 0;
    for (size_t i = at + 1; i < text.len; i++)
        port = port * 10 + (unsigned)(text.data[i] - '0');
    return text.len - at < 2 ? absent : port;
}

bool hs_host_is_valid(hs_span_t host)
{
    size_t len = host_len(host);
    if (!is_port(hs_span(host.data + len, host.len - len)))
        return false;
    if (len > 0 && host.data[0] == '[')
        return host.data[len - 1] == ']' && is_address(hs_span(host.data + 1, len - 2));
    return is_name(hs_span(host.data, len));
}

bool hs_host_is_valid_memo(hs_host_memo_t *memo, hs_span_t host)
{
    if (HS_LIKELY(memo->len > 0 && hs_span_equals(host, hs_span(memo->text, memo->len))))
        return true;
    if (!hs_host_is_valid(host))
        return false;
    if (host.len <= sizeof(memo->text)) {
        memcpy(memo->text, host.data, host.len);
        memo->len = host.len;
    }
    return true;
}

bool hs_host_same(hs_span_t a, hs_span_t b, unsigned default_port)
{
    size_t a_len = host_len(a);
    size_t b_len = host_len(b);
    return hs_span_equals_nocase(hs_span(a.data, a_len), hs_span(b.data, b_len)) &&
           port_of(a, a_len, default_port) == port_of(b, b_len, default_port);
}
