/*
 * Programs that Lua code starts: io.popen and os.execute, in place of LuaJIT's. Those pass on the
 * signal mask of our threads, and LuaJIT's io.popen first flushes every stream of the process, so
 * it waits for any thread that is reading from one.
 *
 * os.exit raises an error: it would end the process with the requests of all other connections.
 *
 * Thread: that of the state.
 */
#pragma once

#include <lua.h>

/* Replaces the functions in the libraries of `state`. May raise "not enough memory". */
void hs_lua_process_open(lua_State *state);
