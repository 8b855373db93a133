/*
 * Resolves host names without blocking the loop: the system's resolver runs on a few threads,
 * started when needed. Concurrent lookups of one name are merged; answers are cached:
 *
 *   up to HS_RESOLVER_FRESH_MS       from the cache
 *   up to HS_RESOLVER_CACHED_MS      from the cache, while it is looked up again
 *   up to HS_RESOLVER_STALE_MS       looked up; the old answer if name servers fail or take longer
 *                                    than HS_RESOLVER_SLOW_MS
 *   no such name                     from the cache up to HS_RESOLVER_NEGATIVE_MS
 *
 * A name server that never answers blocks at most HS_RESOLVER_THREADS threads, and no caller:
 * callers have deadlines and cancel. Such threads do not hold up the end either
 * (stream/hs_helpers.h).
 *
 * Thread: the loop's, except what the lookup threads run.
 */
#pragma once

#include "data/hs_list.h"
#include "os/hs_names.h"
#include "stream/hs_helpers.h"
#include "stream/hs_timer.h"

#define HS_RESOLVER_ADDRESSES 16 /* per name; further ones are ignored */
#define HS_RESOLVER_THREADS 16
#define HS_RESOLVER_QUEUE 1024 /* names that wait for a thread */
#define HS_RESOLVER_NAMES 512  /* in the cache */
#define HS_RESOLVER_HOST_MAX 255
#define HS_RESOLVER_FRESH_MS 5000
#define HS_RESOLVER_CACHED_MS 30000
#define HS_RESOLVER_NEGATIVE_MS 5000
#define HS_RESOLVER_STALE_MS (10 * 60 * 1000)
#define HS_RESOLVER_SLOW_MS 1000

typedef enum hs_resolved {
    HS_RESOLVED_FOUND,
    HS_RESOLVED_NOT_FOUND,
    HS_RESOLVED_FAILED, /* name servers cannot be reached or refuse */
    HS_RESOLVED_BUSY,   /* too many names are waiting, or no thread could be started */
    HS_RESOLVED_NO_MEMORY,
    HS_RESOLVED_LATER, /* the callback tells */
} hs_resolved_t;

/* Port 0. */
typedef struct hs_addresses {
    size_t count;
    hs_sock_endpoint_t list[HS_RESOLVER_ADDRESSES];
} hs_addresses_t;

/* A waiting caller. owner: the caller, which keeps it until `done` or hs_resolver_cancel */
typedef struct hs_resolver_wait hs_resolver_wait_t;
struct hs_resolver_wait {
    hs_list_t link;
    /* Called by the loop; `addresses` only if FOUND, valid during the call. */
    void (*done)(hs_resolver_wait_t *wait, hs_resolved_t resolved, const hs_addresses_t *addresses);
};

/* As hs_names_resolve, on a lookup thread. */
typedef int (*hs_resolver_fn)(void *context, const char *host, hs_sock_endpoint_t *endpoints,
                              size_t max);

/* owner: the loop's thread */
typedef struct hs_resolver {
    hs_helpers_t helpers;
    hs_list_t names; /* the cache, the most recently looked up name at the end */
    uint32_t name_count;
    hs_resolver_fn resolve;
    void *context;
    uint64_t lookups; /* that were begun */
} hs_resolver_t;

void hs_resolver_init(hs_resolver_t *resolver, hs_loop_t *loop);

/* Replaces the system's function with one that outlives its calling threads: for tests. */
void hs_resolver_set(hs_resolver_t *resolver, hs_resolver_fn resolve, void *context);

/* Ages the cache by this much: for tests. */
void hs_resolver_age(hs_resolver_t *resolver, uint64_t by_ms);

/* There are no waiters any more. Does not wait for lookups in progress. */
void hs_resolver_free(hs_resolver_t *resolver);

/*
 * The addresses of `host`: a literal or a cached result is written to `addresses` at once (FOUND),
 * an error is returned at once, else LATER: the loop calls `wait->done`.
 */
HS_NODISCARD hs_resolved_t hs_resolver_lookup(hs_resolver_t *resolver, const char *host,
                                              hs_addresses_t *addresses, hs_resolver_wait_t *wait);

/* Cancels `wait`; the lookup continues, for the cache. Harmless after `done`. */
void hs_resolver_cancel(hs_resolver_wait_t *wait);
