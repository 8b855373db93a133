/*
 * Where require finds Lua modules: the runtime's (moonring.*), then those beside the handler, then
 * what LuaJIT's package.path says. A loader of its own instead of templates in package.path, in
 * which a directory with `;` or `?` in its name cannot be written.
 *
 * Thread: that of the state.
 */
#pragma once

#include <lua.h>

/* `root`: directory that holds moonring/(name).lua, or NULL; `script`: path of the handler. Both
 * outlive the state. May raise. */
void hs_lua_require_open(lua_State *state, const char *root, const char *script);
