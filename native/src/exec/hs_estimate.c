#include "exec/hs_estimate.h"

/* An observation counts for 1/8 of the estimate. */
#define WEIGHT 8
/* Longer than any relevant time: keeps the arithmetic far from overflow. */
#define COST_MAX_US (60u * 1000 * 1000)
/* Adjacent slots in which a key may be. */
#define WAYS 2

static uint32_t hash_byte(uint32_t hash, unsigned char byte)
{
    return (hash ^ byte) * 16777619u; /* FNV-1a */
}

static uint32_t key_of(uint32_t hash)
{
    hash ^= hash >> 15;
    return hash != 0 ? hash : 1;
}

/*
 * The shape: /u/7/export and /u/8/export share one, since a segment with a digit counts as '*'.
 * Without such a segment the last one does: /report/today and /report/all share one.
 */
hs_route_t hs_estimate_route(unsigned method, hs_span_t url)
{
    uint32_t exact = hash_byte(2166136261u, (unsigned char)method);
    uint32_t before = exact; /* the shape up to the last '/' */
    uint32_t shape = exact;  /* the same, and the segment that has begun */
    bool is_variable = false;
    bool has_variable = false;
    for (size_t i = 0; i < url.len && url.data[i] != '?'; i++) {
        unsigned char c = (unsigned char)url.data[i];
        exact = hash_byte(exact, c);
        if (c == '/') {
            before = shape = hash_byte(is_variable ? hash_byte(before, '*') : shape, c);
            is_variable = false;
            continue;
        }
        shape = hash_byte(shape, c);
        is_variable = is_variable || (c >= '0' && c <= '9');
        has_variable = has_variable || is_variable;
    }
    /* Differs from the key of a path that equals the shape. */
    shape = is_variable || !has_variable ? hash_byte(before, '*') : hash_byte(shape, '!');
    return (uint64_t)key_of(exact) << 32 | key_of(shape);
}

static const hs_estimate_slot_t *find(const hs_estimate_t *estimate, uint32_t key)
{
    const hs_estimate_slot_t *set = &estimate->slots[key % (HS_ESTIMATE_SLOTS / WAYS) * WAYS];
    for (unsigned way = 0; way < WAYS; way++)
        if (set[way].tag == key)
            return &set[way];
    return NULL;
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

/* The slot of a key, or one that it takes over. NULL: all are slow and in use. */
static hs_estimate_slot_t *slot_for(hs_estimate_t *estimate, uint32_t key, uint32_t now_ms)
{
    hs_estimate_slot_t *set = &estimate->slots[key % (HS_ESTIMATE_SLOTS / WAYS) * WAYS];
    hs_estimate_slot_t *oldest = NULL;
    for (unsigned way = 0; way < WAYS; way++) {
        hs_estimate_slot_t *slot = &set[way];
        if (slot->tag == key)
            return slot;
        uint32_t age_ms = now_ms - slot->used_ms;
        if (slot->tag != 0 && slot->slow && age_ms < HS_ESTIMATE_SLOW_MS)
            continue;
        if (oldest == NULL || slot->tag == 0 || age_ms > now_ms - oldest->used_ms)
            oldest = slot;
    }
    return oldest;
}

static void learn_key(hs_estimate_t *estimate, uint32_t key, uint32_t cost_us, uint32_t now_ms)
{
    hs_estimate_slot_t *slot = slot_for(estimate, key, now_ms);
    if (slot == NULL)
        return;
    if (slot->tag != key) {
        estimate->slow_count -= slot->slow;
        /* Half of the first observation: one hiccup does not make a route slow. */
        *slot = (hs_estimate_slot_t){ .tag = key, .cost_us = cost_us / 2 };
    } else {
        slot->cost_us += (cost_us + WEIGHT / 2) / WEIGHT;
        slot->cost_us -= (slot->cost_us + WEIGHT / 2) / WEIGHT;
    }
    slot->used_ms = now_ms;
    bool slow = slot->stays  ? false
                : slot->slow ? slot->cost_us >= HS_ESTIMATE_QUICK_US
                             : slot->cost_us >= HS_ESTIMATE_SLOW_US;
    if (slow != slot->slow)
        estimate->slow_count += slow ? 1u : (uint32_t)-1;
    slot->slow = slow;
}

/* A path that agrees with its shape needs no slot: many paths of one shape do not fill the
 * table. */
static bool is_exception(const hs_estimate_t *estimate, hs_route_t route, uint32_t cost_us)
{
    const hs_estimate_slot_t *shape = find(estimate, (uint32_t)route);
    if (shape == NULL || find(estimate, (uint32_t)(route >> 32)) != NULL)
        return true;
    return shape->slow ? cost_us < HS_ESTIMATE_QUICK_US : cost_us >= HS_ESTIMATE_SLOW_US;
}

static void stay(hs_estimate_t *estimate, uint32_t key, uint32_t now_ms)
{
    hs_estimate_slot_t *slot = slot_for(estimate, key, now_ms);
    if (slot == NULL)
        return;
    estimate->slow_count -= slot->slow;
    if (slot->tag != key)
        *slot = (hs_estimate_slot_t){ .tag = key };
    slot->slow = false;
    slot->stays = true;
    slot->used_ms = now_ms;
}

void hs_estimate_stay(hs_estimate_t *estimate, hs_route_t route, uint64_t now_ms)
{
    stay(estimate, (uint32_t)(route >> 32), (uint32_t)now_ms);
    stay(estimate, (uint32_t)route, (uint32_t)now_ms);
}

void hs_estimate_learn(hs_estimate_t *estimate, hs_route_t route, uint32_t cost_us, uint64_t now_ms)
{
    if (cost_us > COST_MAX_US)
        cost_us = COST_MAX_US;
    if (is_exception(estimate, route, cost_us))
        learn_key(estimate, (uint32_t)(route >> 32), cost_us, (uint32_t)now_ms);
    learn_key(estimate, (uint32_t)route, cost_us, (uint32_t)now_ms);
}
