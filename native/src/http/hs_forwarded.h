/*
 * The client of a request that came through proxies, according to X-Forwarded-For or Forwarded (RFC
 * 7239), as far as the proxies that wrote it are trusted. Pure.
 *
 * Each proxy appends its peer's address. So the list is read from its end: as long as an address is
 * a trusted proxy's, the one before it is trusted too. Everything before the entries of trusted
 * proxies comes from the client; it may be malformed in any way without effect, because nothing is
 * read from the left.
 */
#pragma once

#include "http/hs_msg.h"
#include "httpserver.h"
#include "os/hs_networks.h"

/* The maximum number of proxies to follow; earlier ones are ignored. */
#define HS_FORWARDED_HOPS_MAX 32

typedef struct hs_forwarding {
    hs_networks_t trusted;
    hs_forwarded_field_t field; /* the one written by the proxies. The other is not read */
} hs_forwarding_t;

/* Whether the last proxy, `peer`, is trusted and received the request over TLS: according to
 * X-Forwarded-Proto, or the `proto` of Forwarded. */
bool hs_forwarded_is_https(const hs_forwarding_t *forwarding, const hs_msg_t *msg,
                           const hs_peer_t *peer);

/*
 * The first address from the right that is not a trusted proxy's; `peer`, the other end of the
 * connection, is the rightmost. If the list ends, or has `unknown`, an obfuscated name or a
 * malformed entry, it is the last address before that. The port is 0 unless it is `peer`.
 */
hs_peer_t hs_forwarded_client(const hs_forwarding_t *forwarding, const hs_msg_t *msg,
                              const hs_peer_t *peer);
