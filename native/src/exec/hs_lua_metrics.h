/*
 * Exposes exec/hs_metrics.h to the FFI of one Lua state.
 *
 * Owner: the thread of the state. The metrics themselves are shared by all threads of the process.
 */
#pragma once

#include "exec/hs_lua_metrics_abi.h"
#include "exec/hs_metrics.h"

/* owner: its Lua state, which holds the address of `api` */
typedef struct hs_lua_metrics {
    hs_lua_metrics_api_t api;
    hs_metrics_t *shared; /* of the process, which outlives the state; or &own */
    hs_metrics_t own;
} hs_lua_metrics_t;

/* `shared` NULL: metrics private to the state. False: out of memory. */
HS_NODISCARD bool hs_lua_metrics_init(hs_lua_metrics_t *metrics, hs_metrics_t *shared);
void hs_lua_metrics_free(hs_lua_metrics_t *metrics);
