/*
 * How long requests take, by route: the data of `auto` dispatch. A route is a method and a path
 * without its query. A new path is judged by its shape, in which a segment with a digit, or else
 * the last one, stands for any: /report/124 is known to be slow after /report/123, and /u/8/export
 * after /u/7/export. Pure: times are handed in.
 *
 * A fixed table: a new route replaces the less recently used of two; a slow one stays for a minute
 * after its last use. Being wrong costs speed, not correctness. Owner: loop.
 */
#pragma once

#include "base/hs_span.h"

/* From this estimate on a route is slow, and below the other one fast again: far apart, so that
 * routes near the threshold do not flap. */
#define HS_ESTIMATE_SLOW_US 500
#define HS_ESTIMATE_QUICK_US 100

#define HS_ESTIMATE_SLOTS 1024
/* A slow route unused for this long may be replaced. */
#define HS_ESTIMATE_SLOW_MS 60000

typedef struct hs_estimate_slot {
    uint32_t tag; /* 0: empty */
    uint32_t cost_us;
    uint32_t used_ms; /* modulo 2^32 */
    bool slow;
    bool stays; /* its handler waits: it is never slow */
} hs_estimate_slot_t;

typedef struct hs_estimate {
    hs_estimate_slot_t slots[HS_ESTIMATE_SLOTS];
    uint32_t slow_count;
} hs_estimate_t;

/* The route of a request: its own key and that of its shape. */
typedef uint64_t hs_route_t;

hs_route_t hs_estimate_route(unsigned method, hs_span_t url);

bool hs_estimate_is_slow(const hs_estimate_t *estimate, hs_route_t route);

/* The handler of this route waits: on a worker it would block others. From now on the route is not
 * slow. */
void hs_estimate_stay(hs_estimate_t *estimate, hs_route_t route, uint64_t now_ms);

/* A request of this route took `cost_us`; it is `now_ms`. */
void hs_estimate_learn(hs_estimate_t *estimate, hs_route_t route, uint32_t cost_us,
                       uint64_t now_ms);
