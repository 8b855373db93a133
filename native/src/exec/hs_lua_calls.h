/*
 * Calls of one Lua state: the computations of moonring.worker on workers (lua/moonring/worker.lua).
 * Lua reaches the functions below through hs_lua_api_t.
 *
 * Owner: the thread of the state, which is the loop's.
 */
#pragma once

#include "exec/hs_executor.h"
#include "exec/hs_lua_wakes.h"

typedef struct hs_lua_calls {
    hs_executor_t *executor; /* NULL: not on a loop's thread */
    hs_lua_wakes_t *wakes;
    uint32_t count; /* started and not returned: the state is needed */
} hs_lua_calls_t;

/* Starts a call with a copy of `data`; `id` is woken when it returns. NULL: no worker can take it,
 * or out of memory. */
void *hs_lua_calls_begin(hs_lua_calls_t *calls, const char *data, size_t len, uint32_t id);

/* True: it has returned. `result` is valid until hs_lua_calls_end. */
bool hs_lua_calls_result(void *call, hs_lua_call_t *result);

/* The call is no longer needed; a running one is asked to end. */
void hs_lua_calls_end(hs_lua_calls_t *calls, void *call);
