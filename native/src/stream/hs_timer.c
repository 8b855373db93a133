#include "stream/hs_timer.h"

static void on_deadline(hs_loop_t *loop, hs_stream_t *stream)
{
    hs_timer_t *timer = (hs_timer_t *)(void *)stream;
    stream->deadline_ms = 0;
    timer->expired(loop, timer);
}

/* No `update`: the loop does not touch it after on_deadline. */
static const hs_protocol_t protocol = { .on_deadline = on_deadline };

void hs_timer_init(hs_timer_t *timer, void (*expired)(hs_loop_t *loop, hs_timer_t *timer))
{
    *timer = (hs_timer_t){ .stream = { .watcher = { .fd = -1 }, .protocol = &protocol },
                           .expired = expired };
    hs_wheel_entry_init(&timer->stream.timer);
    hs_list_init(&timer->stream.turn);
}

void hs_timer_set(hs_loop_t *loop, hs_timer_t *timer, uint64_t deadline_ms)
{
    timer->stream.deadline_ms = deadline_ms;
    if (deadline_ms != 0)
        hs_wheel_arm(&loop->wheel, &timer->stream.timer, deadline_ms);
}

void hs_timer_stop(hs_loop_t *loop, hs_timer_t *timer)
{
    timer->stream.deadline_ms = 0;
    hs_wheel_disarm(&loop->wheel, &timer->stream.timer);
}
