/*
 * The subscriptions of one thread: topic → subscribers. The ring is read once for all of them, so a
 * message is converted (to a Lua string, or a frame for many connections) once per thread: a
 * subscriber stands for a Lua state, or for all connections of a room.
 *
 * Owner: the thread of its loop. Subscribers may be added and removed in a callback.
 */
#pragma once

#include "data/hs_list.h"
#include "exec/hs_topics.h"
#include "os/hs_ev.h"

/* owner: the hub's thread */
struct hs_topic_subscriber {
    hs_list_t node; /* of its topic */
    struct hs_topic *topic;
    uint64_t since; /* position: earlier messages are not for it */
    hs_topic_fn on_message;
    void *context;
};

typedef struct hs_topic_bucket hs_topic_bucket_t;

/* owner: its thread */
struct hs_topic_hub {
    hs_topics_t *topics; /* borrowed */
    hs_topic_reader_t *reader;
    hs_topic_bucket_t **buckets; /* HS_TOPIC_BUCKETS; NULL: nothing was ever subscribed to */
    uint32_t count;              /* subscribers */
    hs_topics_waiter_t waiter;
    hs_list_t *next;             /* in a dispatch: the subscriber that is called next */
    struct hs_topic *dispatched; /* in a dispatch: not to be freed */
    hs_ev_t *ev;                 /* NULL: none watches */
    hs_ev_io_t watcher;
    bool is_watching;
    bool has_more; /* the last dispatch has not read everything */
    bool is_stalled;
};

/* `ev` NULL: sleepers are woken by other means. `topics` and `ev` outlive it. */
void hs_topic_hub_init(hs_topic_hub_t *hub, hs_topics_t *topics, hs_ev_t *ev,
                       hs_topics_waiter_t waiter);

/* Subscribers are freed with it. */
void hs_topic_hub_end(hs_topic_hub_t *hub);

/* Whether there are subscribers: without any, the calls below cost a comparison. */
static inline bool hs_topic_hub_is_used(const hs_topic_hub_t *hub)
{
    return hub->count > 0;
}

/* Before the loop sleeps: how many milliseconds it may, -1: without limit. */
int hs_topic_hub_begin_sleep(hs_topic_hub_t *hub);
void hs_topic_hub_end_sleep(hs_topic_hub_t *hub);
