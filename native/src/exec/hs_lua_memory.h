/*
 * A cap on the memory of one Lua state. It counts allocations of LuaJIT's own allocator, which
 * still does the work: no malloc per string, and no problem with addresses above 47 bits.
 *
 * At the cap an allocation fails, which Lua raises as "not enough memory". A small reserve remains,
 * so that the error can be reported.
 *
 * Owner: the thread of the state.
 */
#pragma once

#include <lua.h>

#include "base/hs_base.h"

typedef struct hs_lua_memory {
    lua_Alloc allocate; /* LuaJIT's */
    void *allocate_ud;
    size_t used;
    size_t cap;   /* 0: none, nothing is counted */
    bool refused; /* an allocation was refused since this was last cleared */
} hs_lua_memory_t;

/* `memory` must not move while the state lives. */
void hs_lua_memory_limit(hs_lua_memory_t *memory, lua_State *state, size_t cap);

/*
 * Collects all garbage after an allocation was refused. The cap is raised meanwhile, so that every
 * finalizer can run and because the collector itself allocates; errors of finalizers are dropped.
 */
void hs_lua_memory_collect(hs_lua_memory_t *memory, lua_State *state);

/* Call before lua_close: the state frees itself only through its original allocator. */
void hs_lua_memory_release(hs_lua_memory_t *memory, lua_State *state);
