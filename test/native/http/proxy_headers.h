/* Headers of the PROXY protocol for suites: bytes, and the source that they contain ("": none). */
#pragma once

#include <stdint.h>

#include "base/hs_span.h"

#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* An initialiser of a span. */
#define PROXY_BYTES(text)                                                                          \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

typedef struct proxy_case {
    hs_span_t bytes;
    const char *source;
    uint16_t port;
} proxy_case_t;

static const proxy_case_t proxy_cases[] = {
    { PROXY_BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n"), "192.0.2.1", 56324 },
    { PROXY_BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255",
      65535 },
    { PROXY_BYTES("PROXY TCP6 2001:db8::1 ::1 1 0\r\n"), "2001:db8::1", 1 },
    { PROXY_BYTES("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 0\r\n"), "192.0.2.1", 1 },
    { PROXY_BYTES("PROXY UNKNOWN\r\n"), "", 0 },
    { PROXY_BYTES("PROXY UNKNOWN ffff:f...f:ffff anything 1 x\r\n"), "", 0 },
    { PROXY_BYTES("PROXY UNKNOWN "
                  "0123456789012345678901234567890123456789012345678901234567890123456789"
                  "012345678901234567890\r\n"),
      "", 0 }, /* the longest */
    { PROXY_BYTES(V2_SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\x0a\0\0\1\xdc\4\1\xbb"), "192.0.2.1",
      56324 },
    { PROXY_BYTES(V2_SIGNATURE "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
                               "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\1\0\0"),
      "2001:db8::1", 1 },
    /* TLVs after the addresses, one of them GET / with the end of a head. */
    { PROXY_BYTES(V2_SIGNATURE "\x21\x11\0\x25\xc0\0\2\1\x0a\0\0\1\xdc\4\1\xbb"
                               "\x04\0\0\x02\0\x10GET / HTTP/1.1\r\n\xea\0\0"),
      "192.0.2.1", 56324 },
    { PROXY_BYTES(V2_SIGNATURE "\x20\0\0\0"), "", 0 },          /* LOCAL */
    { PROXY_BYTES(V2_SIGNATURE "\x20\x11\0\3abc"), "", 0 },     /* ... with addresses, truncated */
    { PROXY_BYTES(V2_SIGNATURE "\x21\0\0\5\r\n\r\n "), "", 0 }, /* UNSPEC */
    { PROXY_BYTES(V2_SIGNATURE "\x21\x12\0\x0c\xc0\0\2\1\x0a\0\0\1\xdc\4\1\xbb"), "", 0 }, /* UDP */
    { PROXY_BYTES(V2_SIGNATURE "\x21\x31\0\2ab"), "", 0 }, /* a Unix socket */
};
#define PROXY_CASES (sizeof(proxy_cases) / sizeof(proxy_cases[0]))

static const hs_span_t malformed_proxies[] = {
    PROXY_BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    PROXY_BYTES("PROXY\r\n"),
    PROXY_BYTES("PROXY \r\n"),
    PROXY_BYTES("PROXY\n"),
    PROXY_BYTES("PROXYTCP4 192.0.2.1 10.0.0.1 1 2\r\n"),
    PROXY_BYTES("proxy TCP4 192.0.2.1 10.0.0.1 1 2\r\n"),
    PROXY_BYTES("PROXY  TCP4 192.0.2.1 10.0.0.1 1 2\r\n"),
    PROXY_BYTES("PROXY TCP4 192.0.2.1  10.0.0.1 1 2\r\n"),
    PROXY_BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 1 2 \r\n"),
    PROXY_BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n"),
    PROXY_BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n"),
    PROXY_BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n"),
    PROXY_BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 1 65536\r\n"),
    PROXY_BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 -1 2\r\n"),
    PROXY_BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 01 2\r\n"),
    PROXY_BYTES("PROXY TCP4 192.0.2.1 10.0.0.1 99999999999999999999 2\r\n"),
    PROXY_BYTES("PROXY TCP4 192.0.2 10.0.0.1 1 2\r\n"),
    PROXY_BYTES("PROXY TCP4 ::1 ::1 1 2\r\n"),
    PROXY_BYTES("PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n"),
    PROXY_BYTES("PROXY TCP6 [::1] [::1] 1 2\r\n"),
    PROXY_BYTES("PROXY TCP4 192.0.2.1 example 1 2\r\n"),
    PROXY_BYTES("PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n"),
    PROXY_BYTES("PROXY UNKNOWNS\r\n"),
    PROXY_BYTES("PROXY UNKNOWN "
                "0123456789012345678901234567890123456789012345678901234567890123456789"
                "0123456789012345678901\r\n"),
    PROXY_BYTES(V2_SIGNATURE "\x11\x11\0\x0c\xc0\0\2\1\x0a\0\0\1\xdc\4\1\xbb"),
    PROXY_BYTES(V2_SIGNATURE "\x22\x11\0\x0c\xc0\0\2\1\x0a\0\0\1\xdc\4\1\xbb"),
    PROXY_BYTES(V2_SIGNATURE "\x21\x41\0\x0c\xc0\0\2\1\x0a\0\0\1\xdc\4\1\xbb"),
    PROXY_BYTES(V2_SIGNATURE "\x21\x13\0\x0c\xc0\0\2\1\x0a\0\0\1\xdc\4\1\xbb"),
    PROXY_BYTES(V2_SIGNATURE "\x21\x11\0\x0b\xc0\0\2\1\x0a\0\0\1\xdc\4\1\xbb"),
    PROXY_BYTES(V2_SIGNATURE "\x21\x21\0\x23\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
                             "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\1\0\0"),
    PROXY_BYTES("\r\n\r\n\0\r\nQUIT\r\x21\x11\0\x0c\xc0\0\2\1\x0a\0\0\1\xdc\4\1\xbb"),
};
#define MALFORMED_PROXIES (sizeof(malformed_proxies) / sizeof(malformed_proxies[0]))
