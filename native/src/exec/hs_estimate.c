#include "exec/hs_estimate.h"

/* An observation counts for 1/8 of the estimate. */
#define WEIGHT 8
/* Longer than anything that matters: keeps the arithmetic far from overflow. */
#define COST_MAX_US (60u * 1000 * 1000)

static uint32_t hash_byte(uint32_t hash, unsigned char byte)
{
    return (hash ^ byte) * 16777619u; /* FNV-1a */
}

static uint32_t key_of(uint32_t hash)
{
    hash ^= hash >> 15;
    return hash != 0 ? hash : 1;
}

hs_route_t hs_estimate_route(unsigned method, hs_span_t url)
{
    uint32_t hash = hash_byte(2166136261u, (unsigned char)method);
    uint32_t directory = hash;
    for (size_t i = 0; i < url.len && url.data[i] != '?'; i++) {
        hash = hash_byte(hash, (unsigned char)url.data[i]);
        if (url.data[i] == '/')
            directory = hash;
    }
    /* Another key than that of a path that is just the directory. */
    directory = hash_byte(directory, '*');
    return (uint64_t)key_of(hash) << 32 | key_of(directory);
}

static const hs_estimate_slot_t *find(const hs_estimate_t *estimate, uint32_t key)
{
    const hs_estimate_slot_t *slot = &estimate->slots[key % HS_ESTIMATE_SLOTS];
    return slot->tag == key ? slot : NULL;
}

bool hs_estimate_is_slow(const hs_estimate_t *estimate, hs_route_t route)
{
    if (estimate->slow_count == 0)
        return false;
    const hs_estimate_slot_t *slot = find(estimate, (uint32_t)(route >> 32));
    if (slot == NULL)
        slot = find(estimate, (uint32_t)route);
    return slot != NULL && slot->slow;
}

static void learn_key(hs_estimate_t *estimate, uint32_t key, uint32_t cost_us)
{
    hs_estimate_slot_t *slot = &estimate->slots[key % HS_ESTIMATE_SLOTS];
    if (slot->tag != key) {
        if (slot->slow)
            return;
        /* Half of the first observation: one hiccup does not make a route slow. */
        *slot = (hs_estimate_slot_t){ .tag = key, .cost_us = cost_us / 2 };
    } else {
        slot->cost_us += (cost_us + WEIGHT / 2) / WEIGHT;
        slot->cost_us -= (slot->cost_us + WEIGHT / 2) / WEIGHT;
    }
    bool slow =
        slot->slow ? slot->cost_us >= HS_ESTIMATE_QUICK_US : slot->cost_us >= HS_ESTIMATE_SLOW_US;
    if (slow != slot->slow)
        estimate->slow_count += slow ? 1u : (uint32_t)-1;
    slot->slow = slow;
}

void hs_estimate_learn(hs_estimate_t *estimate, hs_route_t route, uint32_t cost_us)
{
    if (cost_us > COST_MAX_US)
        cost_us = COST_MAX_US;
    learn_key(estimate, (uint32_t)(route >> 32), cost_us);
    learn_key(estimate, (uint32_t)route, cost_us);
}
