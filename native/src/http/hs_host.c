#include "http/hs_host.h"

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

static bool is_letter(char c)
{
    return hs_ascii_lower(c) >= 'a' && hs_ascii_lower(c) <= 'z';
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
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == '%') {
            if (text.len - i < 3 || !is_hex(text.data[i + 1]) || !is_hex(text.data[i + 2]))
                return false;
            i += 2;
        } else if (!is_digit(c) && !is_letter(c) && c != '-' && c != '.' && c != '_' && c != '~') {
            return false;
        }
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
        if (!is_digit(text.data[i]))
            return -1;
        port = port * 10 + (text.data[i] - '0');
    }
    return port <= PORT_MAX ? port : -1;
}

bool hs_host_is_valid(hs_span_t host)
{
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
