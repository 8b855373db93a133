/*
 * Where require finds Lua modules: the runtime's (moonring.*), then those beside the handler, then
 * LuaJIT's package.path. Those beside the handler come from the state's snapshot, if there is one.
 * A separate loader instead of templates in package.path, which cannot express a directory with `;`
 * or `?` in its name.
 *
 * Thread: that of the state.
 */
#pragma once

#include <lua.h>

#include "exec/hs_snapshot.h"

typedef struct hs_lua_files {
    const char *root;        /* directory that holds moonring/(name).lua, or NULL */
    const char *script;      /* path of the handler */
    hs_snapshot_t *snapshot; /* NULL: files come from the disk */
} hs_lua_files_t;

/* `files` outlives the state. May raise. */
void hs_lua_require_open(lua_State *state, const hs_lua_files_t *files);

/* Pushes the chunk of the handler's file. Raises if it does not exist or compile. */
void hs_lua_require_script(lua_State *state, const hs_lua_files_t *files);
