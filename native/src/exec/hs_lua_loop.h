/*
 * The loop of a Lua state whose handler runs on a worker: the handler's waits happen here, and
 * occupy the worker.
 *
 * Owner: the thread of the state.
 */
#pragma once

#include "exec/hs_topic_hub.h"
#include "net/hs_net.h"

typedef struct hs_lua_loop hs_lua_loop_t;

/* NULL: `error` says why. */
HS_NODISCARD hs_lua_loop_t *hs_lua_loop_new(hs_log_t *log, hs_errinfo_t *error);
void hs_lua_loop_free(hs_lua_loop_t *loop);

hs_net_t *hs_lua_loop_net(hs_lua_loop_t *loop);

/* The same one each time. `topics` outlives the loop. */
hs_topic_hub_t *hs_lua_loop_topics(hs_lua_loop_t *loop, hs_topics_t *topics);

/* Waits for events until `due_ms` (monotonic), and handles them. */
void hs_lua_loop_turn(hs_lua_loop_t *loop, uint64_t due_ms);
