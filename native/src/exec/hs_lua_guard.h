/*
 * Recursion through C becomes a Lua error before it reaches the end of the C stack.
 *
 * LuaJIT limits the stack of a coroutine (65 500 slots, "stack overflow"), but not the C stack:
 * functions that call back into Lua, as string.gsub does, and coroutines that resume others add
 * frames to it. Most need little for each slot of the Lua stack that they take, so that LuaJIT's
 * limit ends them first if enough C stack is left when their coroutine begins:
 *
 *   a message handler that raises         496 bytes for 6 slots: 5.4 MB for the whole Lua stack
 *   string.format, calling __tostring     240 bytes for 4 slots: 3.9 MB
 *   require, os.time, module, dofile, …   less
 *
 * (measured on x86-64). Functions that need more, and coroutines, each of which has its own Lua
 * stack, check how much of the thread's stack is left, and raise "C stack overflow" if it is less
 * than those limits require:
 *
 *   coroutine.resume, coroutine.wrap      a new Lua stack; in lua/moonring/coroutines.lua
 *   string.gsub                           8 kB of buffer a call
 *   table.sort                            a frame each time it halves the table
 *   load                                  the compiler, up to 109 kB when syntax is nested
 *   collectgarbage                        finalizers in a finalizer
 *
 * All of this holds on a thread of hs_thread_start. On other threads, such as one that calls
 * hs_server_run, three quarters of the stack are reserved: 8 MiB suffice on x86-64.
 */
#pragma once

#include <lua.h>

/* Replaces those C functions in the libraries, which must be open. May raise. */
void hs_lua_guard_open(lua_State *state);

/* A function for Lua: whether there is enough C stack to resume a coroutine. */
int hs_lua_guard_has_stack(lua_State *state);
