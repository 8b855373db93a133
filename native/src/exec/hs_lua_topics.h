/*
 * moonring.publish and moonring.subscribe of one Lua state: for each topic one subscriber in the
 * hub of its thread, and the messages for Lua to take. Messages are copied here once, whatever the
 * number of subscriptions in Lua.
 *
 * Owner: the thread of the state.
 */
#pragma once

#include "data/hs_buf.h"
#include "exec/hs_lua_topics_abi.h"
#include "exec/hs_lua_wakes.h"
#include "exec/hs_topic_hub.h"

struct hs_lua_subscription;

/* owner: the thread of the state */
typedef struct hs_lua_topics {
    hs_lua_topics_api_t api; /* Lua holds its address */
    hs_topics_t *topics;     /* NULL: none yet */
    hs_topics_t *own;        /* ... created for this state alone */
    hs_lua_wakes_t *wakes;   /* borrowed */
    /* The hub of the thread, NULL while the state has none. */
    hs_topic_hub_t *(*hub_of)(void *context, hs_topics_t *topics);
    void *context;
    struct hs_lua_subscription **subscriptions; /* by their numbers; NULL: none */
    uint32_t capacity;
    hs_buf_t arrived;
    size_t taken;  /* bytes of it */
    uint64_t lost; /* for lack of memory; reported with the next message */
} hs_lua_topics_t;

/* `topics` NULL: the state publishes to itself. */
void hs_lua_topics_init(hs_lua_topics_t *topics, hs_topics_t *shared, hs_lua_wakes_t *wakes,
                        hs_topic_hub_t *(*hub_of)(void *context, hs_topics_t *topics),
                        void *context);

/* The state belongs to a thread from now on: subscriptions made while the file was loaded start. */
void hs_lua_topics_attach(hs_lua_topics_t *topics);

/* On its thread: no more messages. */
void hs_lua_topics_leave(hs_lua_topics_t *topics);

/* After hs_lua_topics_leave, if there was a hub. */
void hs_lua_topics_free(hs_lua_topics_t *topics);
