#include "net/hs_handshakes.h"

#include <string.h>

#include "base/hs_alloc.h"

#define TOKEN 1000 /* thousandths */
/* A bucket unused for this long is full, whatever its rate. */
#define FULL_MS 1000

bool hs_handshakes_init(hs_handshakes_t *handshakes, uint32_t rate, uint64_t seed)
{
    *handshakes = (hs_handshakes_t){ .rate = rate, .seed = seed };
    if (rate == 0)
        return true;
    handshakes->buckets = hs_alloc_zeroed(HS_HANDSHAKES_BUCKETS, sizeof(hs_handshakes_bucket_t));
    if (handshakes->buckets == NULL)
        return false;
    for (size_t i = 0; i < HS_HANDSHAKES_BUCKETS; i++)
        handshakes->buckets[i].tokens_milli = rate * TOKEN;
    return true;
}

void hs_handshakes_free(hs_handshakes_t *handshakes)
{
    hs_free(handshakes->buckets);
    handshakes->buckets = NULL;
}

static hs_handshakes_bucket_t *bucket_of(const hs_handshakes_t *handshakes, const hs_peer_t *peer)
{
    uint64_t hash = 0;
    memcpy(&hash, peer->bytes, peer->family == 6 ? 8 : 4);
    hash = (hash ^ handshakes->seed) * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ hash >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    return &handshakes->buckets[(hash >> 32) % HS_HANDSHAKES_BUCKETS];
}

bool hs_handshakes_take(hs_handshakes_t *handshakes, const hs_peer_t *peer, uint64_t now_ms)
{
    if (handshakes->rate == 0 || !hs_peer_has_address(peer))
        return true;
    hs_handshakes_bucket_t *bucket = bucket_of(handshakes, peer);
    uint32_t passed_ms = (uint32_t)now_ms - bucket->since_ms;
    uint64_t full = (uint64_t)handshakes->rate * TOKEN;
    uint64_t tokens =
        passed_ms >= FULL_MS ? full : bucket->tokens_milli + (uint64_t)passed_ms * handshakes->rate;
    tokens = tokens < full ? tokens : full;
    bucket->since_ms = (uint32_t)now_ms;
    bool may_begin = tokens >= TOKEN;
    bucket->tokens_milli = (uint32_t)(may_begin ? tokens - TOKEN : tokens);
    return may_begin;
}
