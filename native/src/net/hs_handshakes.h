/*
 * Limits the handshakes of an address: a token bucket for each, with a capacity and refill of
 * `rate` per second, in a fixed-size table. Addresses with the same hash share a bucket, so a full
 * table limits more, never less. An IPv6 address counts by its first 64 bits, which one customer
 * has. Pure.
 *
 * Thread: the loop's.
 */
#pragma once

#include "os/hs_peer.h"

#define HS_HANDSHAKES_BUCKETS 4096

typedef struct hs_handshakes_bucket {
    uint32_t tokens_milli;
    uint32_t since_ms; /* when it was last refilled, modulo 2^32 */
} hs_handshakes_bucket_t;

/* owner: io */
typedef struct hs_handshakes {
    uint32_t rate; /* a second; 0: no limit */
    uint64_t seed; /* secret, so that collisions cannot be chosen */
    hs_handshakes_bucket_t *buckets;
} hs_handshakes_t;

/* False: out of memory. */
HS_NODISCARD bool hs_handshakes_init(hs_handshakes_t *handshakes, uint32_t rate, uint64_t seed);
void hs_handshakes_free(hs_handshakes_t *handshakes);

/* True: `peer` may start one now. A peer without address always may. */
HS_NODISCARD bool hs_handshakes_take(hs_handshakes_t *handshakes, const hs_peer_t *peer,
                                     uint64_t now_ms);
