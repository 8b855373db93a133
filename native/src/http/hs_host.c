#include "http/hs_host.h"

#include "base/hs_chars.h"

#define PORT_DIGITS_MAX 5
#define PORT_MAX 65535

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (hs_ascii_lower(c) >= 'a' && hs_ascii_lower(c) <= 'f');
}

/* Digits of an address between brackets. That it says something is left to who uses it. */
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

/* Where the host ends: at the end or at the colon of the port. */
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

/* The port behind host_len. -1: not a port. `absent` if there is none, or it is empty. */
static int port_of(hs_span_t text, size_t at, int absent)
{
    if (text.len - at < 2)
        return absent;
    if (text.len - at - 1 > PORT_DIGITS_MAX)
        return -1;
    int port = 0;
    for (size_t i = at + 1; i < text.len; i++) {
        int digit = text.data[i] - '0';
        if (digit < 0 || digit > 9)
            return -1;
        port = port * 10 + digit;
    }
    return port <= PORT_MAX ? port : -1;
}

bool hs_host_is_valid(hs_span_t host)
{
    /* Nearly always a plain name or an IPv4 address, with or without a port: one look at it. */
    size_t plain = hs_span_run(host, 0, hs_char_is_unreserved);
    if (HS_LIKELY(plain > 0 && (plain == host.len || host.data[plain] == ':')))
        return port_of(host, plain, 0) >= 0;
    size_t len = host_len(host);
    if (port_of(host, len, 0) < 0)
        return false;
    if (len > 0 && host.data[0] == '[')
        return host.data[len - 1] == ']' && is_address(hs_span(host.data + 1, len - 2));
    return is_name(hs_span(host.data, len));
}

bool hs_host_same(hs_span_t a, hs_span_t b, unsigned default_port)
{
    size_t a_len = host_len(a);
    size_t b_len = host_len(b);
    return hs_span_equals_nocase(hs_span(a.data, a_len), hs_span(b.data, b_len)) &&
           port_of(a, a_len, (int)default_port) == port_of(b, b_len, (int)default_port);
}
