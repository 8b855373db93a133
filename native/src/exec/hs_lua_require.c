#include "exec/hs_lua_require.h"

#include <lauxlib.h>
#include <unistd.h>

#include "base/hs_alloc.h"

static const char *const ENDINGS[] = { ".lua", "/init.lua" };

#define ENDING_COUNT (sizeof(ENDINGS) / sizeof(ENDINGS[0]))

typedef enum found {
    FOUND,   /* its chunk is on top of the stack */
    MISSING, /* nothing was pushed */
    BROKEN,  /* the message is on top of the stack */
} found_t;

static found_t load_file(lua_State *state, const char *path)
{
    if (access(path, R_OK) != 0)
        return MISSING;
    return luaL_loadfile(state, path) == 0 ? FOUND : BROKEN;
}

/* `name` is relative to the directory of `path`. */
static found_t load_text(lua_State *state, hs_snapshot_t *snapshot, const char *name,
                         const char *path)
{
    const char *chunk_name = lua_pushfstring(state, "@%s", path);
    hs_snapshot_text_t found;
    if (!hs_snapshot_find(snapshot, name, &found)) {
        lua_pop(state, 1);
        return MISSING;
    }
    int failed = luaL_loadbuffer(state, found.text.data, found.text.len, chunk_name);
    hs_free(found.owned);
    lua_remove(state, -2);
    return failed == 0 ? FOUND : BROKEN;
}

/*
 * Loads a module `name` from `directory`, or from the snapshot of that directory: its chunk is on
 * top of the stack, or the searched path, and the result is false. Raises if the file does not
 * compile.
 */
static bool load_from(lua_State *state, const char *directory, hs_snapshot_t *snapshot,
                      const char *name)
{
    const char *relative = luaL_gsub(state, name, ".", "/");
    luaL_Buffer missing;
    luaL_buffinit(state, &missing);
    for (size_t i = 0; i < ENDING_COUNT; i++) {
        const char *file = lua_pushfstring(state, "%s%s", relative, ENDINGS[i]);
        const char *path = lua_pushfstring(state, "%s/%s", directory, file);
        found_t found =
            snapshot != NULL ? load_text(state, snapshot, file, path) : load_file(state, path);
        if (found == FOUND)
            return true;
        if (found == BROKEN)
            luaL_error(state, "error loading module '%s' from file '%s':\n\t%s", name, path,
                       lua_tostring(state, -1));
        lua_pushfstring(state, "\n\tno file '%s'%s", path,
                        snapshot != NULL ? " when the app was loaded" : "");
        lua_replace(state, -3);
        lua_pop(state, 1);
        luaL_addvalue(&missing);
    }
    luaL_pushresult(&missing);
    return false;
}

static void push_directory(lua_State *state, const char *script)
{
    const char *slash = strrchr(script, '/');
    if (slash != NULL)
        lua_pushlstring(state, script, (size_t)(slash - script));
    else
        lua_pushliteral(state, ".");
}

/* An element of package.loaders. Upvalue: the hs_lua_files_t. */
static int load_module(lua_State *state)
{
    const char *name = luaL_checkstring(state, 1);
    const hs_lua_files_t *files = lua_touserdata(state, lua_upvalueindex(1));
    if (files->root != NULL && strncmp(name, "moonring.", 9) == 0 &&
        load_from(state, files->root, NULL, name))
        return 1;
    push_directory(state, files->script);
    (void)load_from(state, lua_tostring(state, -1), files->snapshot, name);
    return 1;
}

void hs_lua_require_open(lua_State *state, const hs_lua_files_t *files)
{
    lua_getglobal(state, "package");
    lua_getfield(state, -1, "loaders");
    /* After package.preload, before package.path. */
    for (int i = (int)lua_objlen(state, -1); i >= 2; i--) {
        lua_rawgeti(state, -1, i);
        lua_rawseti(state, -2, i + 1);
    }
    lua_pushlightuserdata(state, (void *)(uintptr_t)files);
    lua_pushcclosure(state, load_module, 1);
    lua_rawseti(state, -2, 2);
    lua_pop(state, 2);
}

void hs_lua_require_script(lua_State *state, const hs_lua_files_t *files)
{
    hs_snapshot_t *snapshot = files->snapshot;
    found_t found;
    if (snapshot != NULL)
        found = load_text(state, snapshot, hs_snapshot_script_name(snapshot), files->script);
    else
        found = luaL_loadfile(state, files->script) == 0 ? FOUND : BROKEN;
    if (found == MISSING)
        luaL_error(state, "cannot open %s", files->script);
    if (found == BROKEN)
        lua_error(state);
}
