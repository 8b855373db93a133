/*
 * The host and port of a request: the value of Host and the authority of an absolute target. Pure.
 * RFC 9110 §7.2, RFC 3986 §3.2.2, §3.2.3.
 *
 * Stricter than the grammar in one respect: the sub-delims "!$&'()*+,;=" are refused, because no
 * host name has them and a comma looks like a list of hosts.
 */
#pragma once

#include "base/hs_span.h"

/* uri-host [ ":" port ]: a non-empty name or address, no user information. */
bool hs_host_is_valid(hs_span_t host);

/*
 * The same, caching the last valid one: nearly all requests to a server name the same host, and
 * comparing it costs less than checking each character. owner: the parsing thread; initially
 * zeroed.
 */
typedef struct hs_host_memo {
    size_t len;
    char text[64];
} hs_host_memo_t;

bool hs_host_is_valid_memo(hs_host_memo_t *memo, hs_span_t host);

/* Whether two valid values name the same host and port. A missing or empty port is
 * `default_port`. */
bool hs_host_same(hs_span_t a, hs_span_t b, unsigned default_port);
