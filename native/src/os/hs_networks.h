/*
 * A set of networks to match peers against: addresses and CIDR blocks, peers of Unix sockets, and
 * names for common sets:
 *
 *   loopback     127.0.0.0/8, ::1
 *   link-local   169.254.0.0/16, fe80::/10
 *   private      10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7
 *   unix         every peer of a Unix socket
 *
 * Pure. Read-only after hs_networks_parse: any thread.
 */
#pragma once

#include "base/hs_err.h"
#include "os/hs_peer.h"

#define HS_NETWORKS_MAX 128

typedef struct hs_network {
    uint8_t bytes[16];
    uint8_t prefix; /* bits that an address must have in common with it */
    uint8_t family; /* hs_peer_t.family */
} hs_network_t;

/* All zero: contains nothing. */
typedef struct hs_networks {
    size_t count;
    hs_network_t list[HS_NETWORKS_MAX];
} hs_networks_t;

/*
 * Parses a list separated by commas or spaces. Bits of an address after its prefix are ignored.
 * HS_ERR_INVALID with a text that names the element, HS_ERR_LIMIT.
 */
HS_NODISCARD int hs_networks_parse(hs_networks_t *networks, const char *text, hs_errinfo_t *error);

/* An unknown peer is in no network. */
bool hs_networks_contain(const hs_networks_t *networks, const hs_peer_t *peer);
