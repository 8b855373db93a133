/*
 * The address of the peer, in the few bytes that a connection can afford to keep. Any thread.
 */
#pragma once

#include <stdint.h>

#include "base/hs_base.h"

/* All zero: unknown, or a Unix socket. */
typedef struct hs_peer {
    uint8_t bytes[16]; /* network order; IPv4 in the first four */
    uint16_t port;
    uint8_t family; /* 4, 6, or 0 */
} hs_peer_t;

/* Room for every text below, NUL included. */
#define HS_PEER_TEXT_CAP 48

struct sockaddr;

/* The peer that an address of the system stands for; unknown if it is neither IPv4 nor IPv6. */
hs_peer_t hs_peer_from(const struct sockaddr *address);

/* The peer of a connected socket; unknown if it is gone already. A system call: hs_sock_accept
 * reports the peer without one. */
hs_peer_t hs_peer_of(int fd);

/* The numeric address without port, "" if it is unknown. Returns `text`. */
const char *hs_peer_text(const hs_peer_t *peer, char text[HS_PEER_TEXT_CAP]);
