/*
 * A thread that checks a running server several times per handler timeout, off the request path: it
 * reports handlers that block an I/O thread, which cannot report them itself, records the process's
 * memory on the stats page, and reports when it reaches its limit.
 *
 * Threads: start and stop on the thread that runs the server.
 */
#pragma once

#include "os/hs_thread.h"
#include "server/hs_io.h"

typedef struct hs_watchdog hs_watchdog_t;

typedef struct hs_watchdog_config {
    hs_io_t *const *ios; /* outlive the watchdog */
    size_t count;
    uint32_t timeout_ms;   /* of a handler; 0: no limit */
    uint64_t memory_limit; /* of the process, in bytes; 0: none */
    hs_log_t *log;
    hs_event_fn on_event; /* HS_EVENT_STUCK, HS_EVENT_MEMORY_…; may be NULL */
    void *on_event_ud;
} hs_watchdog_config_t;

/* NULL: no memory or no thread; the server works without. */
hs_watchdog_t *hs_watchdog_start(const hs_watchdog_config_t *config);

/* NULL is allowed. */
void hs_watchdog_stop(hs_watchdog_t *watchdog);
