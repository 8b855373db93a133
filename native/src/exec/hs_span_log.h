/*
 * The destination of spans of handlers' calls to other servers: lines beside those of requests
 * (conn/hs_access_log.h), read by the exporter in the master.
 *
 * Owner: the I/O thread. Its workers write to it too.
 */
#pragma once

#include <stdatomic.h>

#include "base/hs_base.h"

/* The longest line, including its newline: what a pipe accepts atomically (PIPE_BUF). */
#define HS_SPAN_LINE_MAX 4096

typedef struct hs_span_log hs_span_log_t;

struct hs_span_log {
    uint32_t sample_every; /* of this many requests without a trace, one has a span */
    /* Writes one line; false: not possible. On the I/O thread or a worker. */
    bool (*put)(hs_span_log_t *log, const char *line, size_t len, bool in_worker);
    void *context;
    /* Wall clock minus monotonic clock, the same for spans of requests and of their calls. Written
     * by the I/O thread, read by it and by workers; relaxed, nothing else depends on it. */
    _Atomic int64_t real_offset_ms;
    /* Lines that were lost. Increased by workers and the I/O thread, which moves them to its
     * counters; relaxed. */
    _Atomic uint64_t lost;
};
