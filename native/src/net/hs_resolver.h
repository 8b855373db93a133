/*
 * Host names to addresses without blocking the loop: the system's resolver runs on a few threads
 * that are started when they are needed. Lookups of one name at a time are one; answers are cached:
 *
 *   up to HS_RESOLVER_FRESH_MS       from the cache
 *   up to HS_RESOLVER_CACHED_MS      from the cache, while it is looked up again
 *   up to HS_RESOLVER_STALE_MS       looked up; the old answer if name servers fail or take longer
 *                                    than HS_RESOLVER_SLOW_MS
 *   no such name                     from the cache up to HS_RESOLVER_NEGATIVE_MS
 *
 * A name server that never answers keeps a thread, at most HS_RESOLVER_THREADS of them, and no
 * caller: the callers have deadlines and cancel. Such threads do not hold up the end either: they
 * are detached, and what they use is freed by the last of them.
 *
 * Thread: the loop's, but for what the lookup threads run.
 */
#pragma once

#include "data/hs_list.h"
#include "os/hs_names.h"
#include "stream/hs_timer.h"

#define HS_RESOLVER_ADDRESSES 16 /* of one name; further ones are not used */
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
    HS_RESOLVED_BUSY,   /* too many names wait, or no thread could be started */
    HS_RESOLVED_NO_MEMORY,
    HS_RESOLVED_LATER, /* the callback tells */
} hs_resolved_t;

/* Port 0. */
typedef struct hs_addresses {
    size_t count;
    hs_sock_endpoint_t list[HS_RESOLVER_ADDRESSES];
} hs_addresses_t;

/* One caller that waits. owner: the caller, who keeps it until `done` or hs_resolver_cancel */
typedef struct hs_resolver_wait hs_resolver_wait_t;
struct hs_resolver_wait {
    hs_list_t link;
    /* From the loop; `addresses` only if FOUND, for the time of the call. */
    void (*done)(hs_resolver_wait_t *wait, hs_resolved_t resolved, const hs_addresses_t *addresses);
};

/* As hs_names_resolve, on a lookup thread. */
typedef int (*hs_resolver_fn)(void *context, const char *host, hs_sock_endpoint_t *endpoints,
                              size_t max);

/* owner: the loop's thread */
typedef struct hs_resolver {
    hs_loop_t *loop;
    struct hs_resolver_pool *pool; /* shared with the lookup threads; NULL: none was started */
    hs_ev_io_t watcher;
    hs_list_t names; /* the cache, the name that was looked up last at the end */
    uint32_t name_count;
    hs_resolver_fn resolve;
    void *context;
    uint64_t lookups; /* that were begun */
} hs_resolver_t;

void hs_resolver_init(hs_resolver_t *resolver, hs_loop_t *loop);

/* Another function than the system's, which outlives the threads that call it: for tests. */
void hs_resolver_set(hs_resolver_t *resolver, hs_resolver_fn resolve, void *context);

/* Makes what is cached older by so much: for tests. */
void hs_resolver_age(hs_resolver_t *resolver, uint64_t by_ms);

/* Nobody waits any more. Does not wait for lookups that are under way. */
void hs_resolver_free(hs_resolver_t *resolver);

/*
 * The addresses of `host`: a literal or what is cached is written to `addresses` at once (FOUND),
 * an error is returned at once, else LATER: `wait->done` is called from the loop.
 */
HS_NODISCARD hs_resolved_t hs_resolver_lookup(hs_resolver_t *resolver, const char *host,
                                              hs_addresses_t *addresses, hs_resolver_wait_t *wait);

/* `wait` waits no longer; the lookup goes on, for the cache. Harmless after `done`. */
void hs_resolver_cancel(hs_resolver_wait_t *wait);
