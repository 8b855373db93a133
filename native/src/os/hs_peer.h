/*
 * Who is at the other end of a connection, small enough to be kept for each. Any thread.
 */
#pragma once

#include "base/hs_base.h"

#define HS_PEER_TEXT_CAP 46 /* the longest IPv6 address and a NUL */

typedef struct hs_peer {
    uint8_t family; /* 4, 6, 1 for a Unix socket, 0: not asked for or not known */
    uint8_t address[16];
    uint16_t port;
} hs_peer_t;

/* Asks the kernel. An IPv4 peer of a dual-stack socket is reported as the IPv4 address it is. */
void hs_peer_ask(int fd, hs_peer_t *out);

/* "127.0.0.1", "::1", "unix"; "" when unknown. The length without NUL. */
size_t hs_peer_format(const hs_peer_t *peer, char text[HS_PEER_TEXT_CAP]);
