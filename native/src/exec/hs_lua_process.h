/*
 * Programs that Lua code starts: io.popen and os.execute, in place of LuaJIT's. Theirs hand down
 * the signal mask of our threads, and LuaJIT's io.popen flushes every stream of the process first,
 * so that it waits for any other thread that reads from one.
 *
 * os.exit raises an error: it would end the process with the requests of all other connections.
 *
 * Thread: that of the state.
 */
#pragma once

#include <lua.h>

/* Replaces the functions in the libraries of `state`. May raise "not enough memory". */
void hs_lua_process_open(lua_State *state);
