#include "exec/hs_lua_loop.h"

#include <errno.h>

#include "os/hs_clock.h"

/* Events that one wait fetches. */
#define BATCH 32
/* Messages of topics that it gives to subscribers. */
#define MESSAGES 256

struct hs_lua_loop {
    hs_loop_t loop; /* first: the context of its events */
    hs_net_t net;
    hs_topic_hub_t topics;
};

static void read_clock(hs_loop_t *loop)
{
    loop->now_ns = hs_clock_monotonic_ns();
    loop->now_ms = loop->now_ns / 1000000;
}

hs_lua_loop_t *hs_lua_loop_new(hs_log_t *log, hs_errinfo_t *error)
{
    hs_lua_loop_t *own = hs_alloc_zeroed(1, sizeof(*own));
    hs_ev_t *ev = own != NULL ? hs_ev_new(own, BATCH) : NULL;
    if (ev == NULL) {
        hs_errinfo_set(error, HS_ERR_SYSTEM, errno, "cannot create an event loop: %s",
                       strerror(errno));
        hs_free(own);
        return NULL;
    }
    hs_loop_init(&own->loop, ev, &hs_transport_plain, hs_clock_monotonic_ms());
    own->loop.on_turn = read_clock;
    if (hs_net_init(&own->net, &own->loop, log) == HS_OK)
        return own;
    hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for sockets");
    hs_ev_free(ev);
    hs_free(own);
    return NULL;
}

void hs_lua_loop_free(hs_lua_loop_t *own)
{
    if (own == NULL)
        return;
    hs_topic_hub_end(&own->topics);
    hs_net_free(&own->net);
    hs_ev_free(own->loop.ev);
    hs_free(own);
}

hs_net_t *hs_lua_loop_net(hs_lua_loop_t *own)
{
    return &own->net;
}

hs_topic_hub_t *hs_lua_loop_topics(hs_lua_loop_t *own, hs_topics_t *topics)
{
    if (own->topics.topics == NULL)
        hs_topic_hub_init(&own->topics, topics, own->loop.ev, HS_TOPICS_WORKERS);
    return &own->topics;
}

void hs_lua_loop_turn(hs_lua_loop_t *own, uint64_t due_ms)
{
    hs_loop_t *loop = &own->loop;
    read_clock(loop);
    hs_loop_send(loop, 0);
    uint64_t wait_ms = due_ms > loop->now_ms ? due_ms - loop->now_ms : 0;
    int timeout_ms = (int)hs_min(wait_ms, INT32_MAX);
    int wheel_ms = hs_wheel_timeout_ms(&loop->wheel, loop->now_ms);
    if (wheel_ms >= 0 && wheel_ms < timeout_ms)
        timeout_ms = wheel_ms;
    int topics_ms = hs_topic_hub_begin_sleep(&own->topics);
    if (topics_ms >= 0 && topics_ms < timeout_ms)
        timeout_ms = topics_ms;
    (void)hs_ev_poll(loop->ev, hs_loop_is_busy(loop) ? 0 : timeout_ms);
    hs_topic_hub_end_sleep(&own->topics);
    read_clock(loop);
    (void)hs_topic_hub_dispatch(&own->topics, MESSAGES);
    hs_loop_resume(loop);
    hs_loop_send(loop, 0);
    hs_loop_check_deadlines(loop, loop->now_ms);
}
