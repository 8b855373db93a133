/*
 * What one thread needs for outbound sockets: its loop, the list of what is open, and the counters.
 * One for each reactor, which outlives Lua states and reloads, and one for each worker thread.
 *
 * Owner: the thread of the loop, which makes every call here.
 */
#pragma once

#include "data/hs_list.h"
#include "os/hs_log.h"
#include "stream/hs_stream.h"

/* Numbers since the start. owner: the loop's thread */
typedef struct hs_net_counters {
    uint64_t connected; /* connections that were established */
    uint64_t failed;    /* connections that could not be */
    uint64_t reused;    /* times that an idle connection was taken */
    uint64_t bytes_in;  /* received and sent by all of them: part of the loop's */
    uint64_t bytes_out;
} hs_net_counters_t;

/* owner: the loop's thread */
typedef struct hs_net {
    hs_loop_t *loop; /* borrowed, as is log */
    hs_log_t *log;
    hs_list_t links; /* descriptors that are open, of sockets and idle ones */
    uint32_t open;   /* ... and how many */
    hs_net_counters_t counters;
} hs_net_t;

/* `loop` and `log` outlive it. HS_ERR_NOMEM, HS_ERR_SYSTEM; then there is nothing to free. */
HS_NODISCARD int hs_net_init(hs_net_t *net, hs_loop_t *loop, hs_log_t *log);

/* Closes what is open. Not from a callback of the loop; the loop is freed after it. */
void hs_net_free(hs_net_t *net);
