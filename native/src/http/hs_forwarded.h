/*
 * Which client a request comes from, if it came through proxies: what X-Forwarded-For or Forwarded
 * (RFC 7239) says, as far as the proxies that wrote it are trusted. Pure.
 *
 * Each proxy appends the address that it was connected to from. So the list is read from its end:
 * while an address is a trusted proxy's, the one before it is believed. Everything in front of what
 * trusted proxies wrote is the client's own text; it may be malformed in any way and changes
 * nothing, because nothing is read from the left.
 */
#pragma once

#include "http/hs_msg.h"
#include "httpserver.h"
#include "os/hs_networks.h"

/* Proxies that one request can have come through; those before are not looked at. */
#define HS_FORWARDED_HOPS_MAX 32

typedef struct hs_forwarding {
    hs_networks_t trusted;
    hs_forwarded_field_t field; /* the one that the proxies write. The other one is not read */
} hs_forwarding_t;

/*
 * The first address from the right that is not a trusted proxy's; `peer`, the other end of the
 * connection, is the rightmost. Where the list ends, or says `unknown`, an obfuscated name or what
 * is malformed, it is the last address before. The port is 0 unless it is `peer`.
 */
hs_peer_t hs_forwarded_client(const hs_forwarding_t *forwarding, const hs_msg_t *msg,
                              const hs_peer_t *peer);
