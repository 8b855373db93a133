/*
 * A deadline without a descriptor: a stream that only waits, on the loop's single wheel. It fires
 * up to HS_WHEEL_TICK_MS late, never early.
 *
 * Thread: the loop's.
 */
#pragma once

#include "stream/hs_stream.h"

typedef struct hs_timer hs_timer_t;

/* owner: what embeds it */
struct hs_timer {
    hs_stream_t stream; /* first */
    /* The deadline has passed; none is set now. The timer's memory may be freed here. */
    void (*expired)(hs_loop_t *loop, hs_timer_t *timer);
};

void hs_timer_init(hs_timer_t *timer, void (*expired)(hs_loop_t *loop, hs_timer_t *timer));

/* `deadline_ms` on the loop's clock replaces the previous one; 0: none. */
void hs_timer_set(hs_loop_t *loop, hs_timer_t *timer, uint64_t deadline_ms);

/* Before its memory is freed. */
void hs_timer_stop(hs_loop_t *loop, hs_timer_t *timer);
