/*
 * Counters and gauges of one thread, and what it is serving, in memory that another process reads
 * concurrently: the stats page (exec/hs_stats_page.h) or, without one, private memory.
 *
 * One thread writes an area; any process reads it at any time. Every word is a relaxed atomic:
 * readers need each number whole, not a consistent set. Only `serving` must be consistent, so it
 * carries the number of its request.
 */
#pragma once

#include <stdatomic.h>
#include <string.h>

#include "base/hs_base.h"
#include "httpserver_supervise.h"

/* Writer: the area's thread. Readers: any process. Relaxed: no other memory depends on it. */
typedef _Atomic uint64_t hs_stat_t;

/* Phases that time out, in the order of the HS_STATS_TIMEOUT group. */
typedef enum hs_stats_timeout {
    HS_STATS_TIMEOUT_HEADER,
    HS_STATS_TIMEOUT_BODY,
    HS_STATS_TIMEOUT_HANDLER,
    HS_STATS_TIMEOUT_KEEPALIVE,
    HS_STATS_TIMEOUT_WRITE,
} hs_stats_timeout_t;

/* The state of a connection, in the order of hs_stats_area_t.connections. */
typedef enum hs_stats_state {
    HS_STATS_IDLE,
    HS_STATS_READING,
    HS_STATS_HANDLING, /* a worker has its request */
    HS_STATS_WRITING,
    HS_STATS_LINGERING,
    HS_STATS_WEBSOCKET,
} hs_stats_state_t;

/* owner: its thread. A whole number of cache lines. */
typedef struct hs_stats_area {
    hs_stat_t heartbeat_ms; /* monotonic; 0: this thread has not run */
    hs_stat_t queue_depth;
    hs_stat_t connections[HS_STATS_STATES];

    hs_stat_t serving_number;     /* unique per request; 0: none, or being written */
    hs_stat_t serving_started_ms; /* monotonic */
    hs_stat_t serving_request;    /* method << 32 | length of the path */
    hs_stat_t serving_path[HS_STATS_PATH / 8];
    uint64_t _pad_serving[5];

    hs_stat_t counters[(HS_STATS_COUNTERS + 7) / 8 * 8];
} hs_stats_area_t;

_Static_assert(sizeof(hs_stats_area_t) % HS_CACHE_LINE == 0,
               "areas of two threads share no cache line");

/* One writer: no locked instruction is needed. */
static inline void hs_stats__add(hs_stats_area_t *area, unsigned counter, uint64_t n,
                                 memory_order order)
{
    HS_ASSERT(counter < HS_STATS_COUNTERS);
    uint64_t now = atomic_load_explicit(&area->counters[counter], memory_order_relaxed);
    atomic_store_explicit(&area->counters[counter], now + n, order);
}

static inline void hs_stats_add(hs_stats_area_t *area, unsigned counter, uint64_t n)
{
    hs_stats__add(area, counter, n, memory_order_relaxed);
}

/* A reader of the sum (hs_stats_page_counter) sees everything that this thread stored before. */
static inline void hs_stats_add_last(hs_stats_area_t *area, unsigned counter, uint64_t n)
{
    hs_stats__add(area, counter, n, memory_order_release);
}

static inline void hs_stats_set(hs_stat_t *gauge, uint64_t value)
{
    atomic_store_explicit(gauge, value, memory_order_relaxed);
}

/* The place of a method among HS_STATS_METHODS, by llhttp's number. */
static inline unsigned hs_stats_method(unsigned method)
{
    switch (method) {
    case 0: /* DELETE */
        return 4;
    case 1: /* GET */
        return 0;
    case 2: /* HEAD */
        return 1;
    case 3: /* POST */
        return 2;
    case 4: /* PUT */
        return 3;
    case 6: /* OPTIONS */
        return 6;
    case 28: /* PATCH */
        return 5;
    default:
        return 7;
    }
}

/* The latency histogram of responses to `method` with a status of this class. */
static inline unsigned hs_stats_series(unsigned method, int status)
{
    return ((unsigned)status / 100 - 1) * HS_STATS_METHODS + hs_stats_method(method);
}

/* The counter of a bucket of a histogram; bucket HS_STATS_BUCKETS is the sum in microseconds. */
static inline unsigned hs_stats_latency_counter(unsigned series, unsigned bucket)
{
    return HS_STATS_LATENCY + series * (HS_STATS_BUCKETS + 1) + bucket;
}

/* The server itself responded with `status`. */
void hs_stats_refused(hs_stats_area_t *area, int status);

/* `count` WebSockets were closed with this code. */
void hs_stats_ws_closed(hs_stats_area_t *area, int code, uint64_t count);

/* `count` responses were sent `us` microseconds after the first bytes of their requests arrived. */
void hs_stats_latency(hs_stats_area_t *area, unsigned series, uint64_t us, uint32_t count);

/*
 * Sets what this thread is serving from now on. `number` is not 0 and never reused by this thread.
 * At least HS_STATS_PATH bytes must be readable at `path`; the first `len` count. Nothing may be
 * being served: the number is 0, and a reader before the last store sees that.
 */
static inline void hs_stats_serve(hs_stats_area_t *area, uint64_t number, unsigned method,
                                  const char *path, size_t len, uint64_t now_ms)
{
    uint64_t request = (uint64_t)method << 32 | len;
#if defined(__SANITIZE_THREAD__)
    for (unsigned i = 0; i < HS_STATS_PATH / 8; i++) {
        uint64_t word;
        memcpy(&word, path + 8 * i, sizeof(word));
        atomic_store_explicit(&area->serving_path[i], word, memory_order_release);
    }
#else
    /* The same words in wider stores; C's memory model does not cover other processes. A reader
     * detects torn data by the number. */
    atomic_thread_fence(memory_order_release); /* the 0 before is seen first */
    memcpy((void *)area->serving_path, path, HS_STATS_PATH);
#endif
    /* All release: the earlier 0 is seen before any of them, and they before the number. */
    atomic_store_explicit(&area->serving_started_ms, now_ms, memory_order_release);
    atomic_store_explicit(&area->serving_request, request, memory_order_release);
    atomic_store_explicit(&area->serving_number, number, memory_order_release);
}

static inline void hs_stats_serve_end(hs_stats_area_t *area)
{
    atomic_store_explicit(&area->serving_number, 0, memory_order_release);
}

/* False if the thread serves nothing, or died or is just writing what it serves. */
HS_NODISCARD bool hs_stats_read_serving(hs_stats_area_t *area, hs_stats_serving_t *out);

/*
 * Responses of one turn of the I/O thread, whose latency is known when they are sent. Requests that
 * began to arrive in the same turn need no separate time. owner: io
 */
#define HS_STATS_LATE_MAX 64

typedef struct hs_stats_turn {
    uint64_t fresh_series; /* bit i: fresh[i] is not 0 */
    uint32_t fresh[HS_STATS_SERIES];
    uint32_t late_count;
    uint8_t late_series[HS_STATS_LATE_MAX];
    uint64_t late_begun_us[HS_STATS_LATE_MAX];
} hs_stats_turn_t;

_Static_assert(HS_STATS_SERIES <= 64, "a bit per series");

static inline bool hs_stats_turn_is_empty(const hs_stats_turn_t *turn)
{
    return turn->fresh_series == 0 && turn->late_count == 0;
}

/* A response was built in the turn of `now_us`; the first byte of its request arrived at
 * `begun_us`. */
static inline void hs_stats_turn_add(hs_stats_turn_t *turn, hs_stats_area_t *area, unsigned series,
                                     uint64_t begun_us, uint64_t now_us)
{
    HS_ASSERT(series < HS_STATS_SERIES);
    if (HS_LIKELY(begun_us == now_us)) {
        turn->fresh[series]++;
        turn->fresh_series |= (uint64_t)1 << series;
    } else if (turn->late_count < HS_STATS_LATE_MAX) {
        turn->late_series[turn->late_count] = (uint8_t)series;
        turn->late_begun_us[turn->late_count++] = begun_us;
    } else {
        hs_stats_latency(area, series, now_us - begun_us, 1);
    }
}

/* Everything was sent at `sent_us`, in the turn that began at `now_us`. */
void hs_stats_turn_end(hs_stats_turn_t *turn, hs_stats_area_t *area, uint64_t now_us,
                       uint64_t sent_us);
