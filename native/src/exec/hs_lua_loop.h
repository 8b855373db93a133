/*
 * The loop of a Lua state whose handler runs on a worker: what the handler waits for is waited for
 * here, and keeps the worker.
 *
 * Owner: the thread of the state.
 */
#pragma once

#include "net/hs_net.h"

typedef struct hs_lua_loop hs_lua_loop_t;

/* NULL: `error` says why. */
HS_NODISCARD hs_lua_loop_t *hs_lua_loop_new(hs_log_t *log, hs_errinfo_t *error);
void hs_lua_loop_free(hs_lua_loop_t *loop);

hs_net_t *hs_lua_loop_net(hs_lua_loop_t *loop);

/* Waits for events until `due_ms` (monotonic), and handles them. */
void hs_lua_loop_turn(hs_lua_loop_t *loop, uint64_t due_ms);
