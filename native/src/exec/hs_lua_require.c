#include "exec/hs_lua_require.h"

#include <lauxlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hs_base.h"

/* Upvalues of the loader. */
enum {
    UPVALUE_ROOT = 1,
    UPVALUE_BESIDE
};

/* A module `name` in `directory`: on top of the stack its chunk and true, or what was looked for
 * and false. Raises if the file is there but does not load. */
static bool load_from(lua_State *state, const char *directory, const char *name)
{
    static const char *const endings[] = { ".lua", "/init.lua" };
    const char *relative = luaL_gsub(state, name, ".", "/");
    luaL_Buffer missing;
    luaL_buffinit(state, &missing);
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        const char *path = lua_pushfstring(state, "%s/%s%s", directory, relative, endings[i]);
        if (access(path, R_OK) != 0) {
            lua_pushfstring(state, "\n\tno file '%s'", path);
            lua_remove(state, -2);
            luaL_addvalue(&missing);
            continue;
        }
        if (luaL_loadfile(state, path) != 0)
            luaL_error(state, "error loading module '%s' from file '%s':\n\t%s", name, path,
                       lua_tostring(state, -1));
        return true;
    }
    luaL_pushresult(&missing);
    return false;
}

/* An element of package.loaders. */
static int load_module(lua_State *state)
{
    const char *name = luaL_checkstring(state, 1);
    const char *root = lua_tostring(state, lua_upvalueindex(UPVALUE_ROOT));
    if (root != NULL && strncmp(name, "moonring.", 9) == 0 && load_from(state, root, name))
        return 1;
    (void)load_from(state, lua_tostring(state, lua_upvalueindex(UPVALUE_BESIDE)), name);
    return 1;
}

void hs_lua_require_open(lua_State *state, const char *root, const char *script)
{
    lua_getglobal(state, "package");
    lua_getfield(state, -1, "loaders");
    /* After package.preload, before package.path. */
    for (int i = (int)lua_objlen(state, -1); i >= 2; i--) {
        lua_rawgeti(state, -1, i);
        lua_rawseti(state, -2, i + 1);
    }
    lua_pushstring(state, root); /* nil for NULL */
    const char *slash = strrchr(script, '/');
    if (slash != NULL)
        lua_pushlstring(state, script, (size_t)(slash - script));
    else
        lua_pushliteral(state, ".");
    lua_pushcclosure(state, load_module, 2);
    lua_rawseti(state, -2, 2);
    lua_pop(state, 2);
}
