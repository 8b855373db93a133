/*
 * A cap on the memory of one Lua state. It counts what passes through LuaJIT's own allocator, which
 * goes on doing the work: no malloc a string, and no trouble with addresses above 47 bits.
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
    bool refused; /* an allocation was refused since this was last set to false */
} hs_lua_memory_t;

/* `memory` stays where it is as long as the state lives. */
void hs_lua_memory_limit(hs_lua_memory_t *memory, lua_State *state, size_t cap);

/*
 * Collects all garbage after an allocation was refused. The cap is lifted meanwhile, so far
 * that every finalizer can run, and because the collector allocates itself; what finalizers raise
 * is dropped.
 */
void hs_lua_memory_collect(hs_lua_memory_t *memory, lua_State *state);

/* Before lua_close: the state frees itself only through the allocator that it was made with. */
void hs_lua_memory_release(hs_lua_memory_t *memory, lua_State *state);
