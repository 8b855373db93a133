/*
 * How long requests take, by route: what `auto` dispatch knows. A route is a method and a path
 * without its query; a path that was not seen yet is judged by the directory it is in, so that
 * /report/124 is known to be slow after /report/123. Pure: times are handed in.
 *
 * A fixed table: a route may push out another quick one, never a slow one. Being wrong costs speed,
 * not correctness. Owner: io.
 */
#pragma once

#include "base/hs_span.h"

/* From this estimate on a route is slow, and below the other quick again: far apart, so that one
 * near the border does not wander. */
#define HS_ESTIMATE_SLOW_US 500
#define HS_ESTIMATE_QUICK_US 100

#define HS_ESTIMATE_SLOTS 1024

typedef struct hs_estimate_slot {
    uint32_t tag; /* 0: empty */
    uint32_t cost_us;
    bool slow;
} hs_estimate_slot_t;

typedef struct hs_estimate {
    hs_estimate_slot_t slots[HS_ESTIMATE_SLOTS];
    uint32_t slow_count;
} hs_estimate_t;

/* The route of a request: its own key and that of its directory. */
typedef uint64_t hs_route_t;

hs_route_t hs_estimate_route(unsigned method, hs_span_t url);

bool hs_estimate_is_slow(const hs_estimate_t *estimate, hs_route_t route);

/* A request of this route took so long. */
void hs_estimate_learn(hs_estimate_t *estimate, hs_route_t route, uint32_t cost_us);
