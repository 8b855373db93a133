/*
 * The address of the peer, in few bytes, since every connection keeps one. Any thread.
 */
#pragma once

#include <stdint.h>

#include "base/hs_span.h"

#define HS_PEER_UNIX 1

/* All zero: unknown. */
typedef struct hs_peer {
    uint8_t bytes[16]; /* network order; IPv4 in the first four */
    uint16_t port;
    uint8_t family; /* 4, 6, HS_PEER_UNIX (no address), or 0 */
} hs_peer_t;

/* Room for every text below, NUL included. */
#define HS_PEER_TEXT_CAP 48

struct sockaddr;

/* The peer for a system address; unknown if it is none of the above. */
hs_peer_t hs_peer_from(const struct sockaddr *address);

/* The peer of a connected socket; unknown if it is already gone. Makes a system call:
 * hs_sock_accept reports the peer without one. */
hs_peer_t hs_peer_of(int fd);

/* Network order, 4 or 16 bytes. An IPv4-mapped IPv6 address is the IPv4 address that it is. */
hs_peer_t hs_peer_v4(const void *address, uint16_t port);
hs_peer_t hs_peer_v6(const void *address, uint16_t port);

/* Reads a numeric address: no port, brackets or zone. False: it is none. The port becomes 0. */
HS_NODISCARD bool hs_peer_parse(hs_span_t text, hs_peer_t *peer);

static inline bool hs_peer_has_address(const hs_peer_t *peer)
{
    return peer->family == 4 || peer->family == 6;
}

/* The numeric address without port, "" if there is none. Returns `text`. */
const char *hs_peer_text(const hs_peer_t *peer, char text[HS_PEER_TEXT_CAP]);

/* The same for log records: peers without an address are described in words. */
static inline const char *hs_peer_name(const hs_peer_t *peer, char text[HS_PEER_TEXT_CAP])
{
    return hs_peer_has_address(peer) ? hs_peer_text(peer, text) : "an unknown address";
}
