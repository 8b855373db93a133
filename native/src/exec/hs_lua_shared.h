/*
 * Exposes shared dictionaries (httpserver.h) to the FFI of one Lua state.
 *
 * Owner: the thread of the state. The dictionaries are shared by threads and processes.
 */
#pragma once

#include "exec/hs_lua_shared_abi.h"
#include "shared/hs_shared.h"
#include "shared/hs_shared_set.h"

#define HS_LUA_SHARED_HINT_BITS 6

/* owner: its Lua state, which holds the address of `api` */
typedef struct hs_lua_shared {
    hs_lua_shared_api_t api;
    const hs_shared_set_t *set; /* of the server, which outlives the state; NULL: none */
    hs_shared_hint_t hints[1 << HS_LUA_SHARED_HINT_BITS]; /* of incr, by address of the key */
} hs_lua_shared_t;

void hs_lua_shared_init(hs_lua_shared_t *shared, const hs_shared_set_t *set);
void hs_lua_shared_free(hs_lua_shared_t *shared);
