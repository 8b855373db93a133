#include "exec/hs_lua.h"

#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>

#include "exec/hs_lua_api.h"
#include "exec/hs_res.h"

struct hs_lua {
    lua_State *state;
    hs_lua_api_t api; /* Lua holds its address */
    int run_ref;      /* registry reference of the function that handles one request */
};

const char *hs_lua_version(void)
{
    return LUAJIT_VERSION;
}

/* package.path = the runtime's modules, modules beside the script, then what it was. */
static void set_package_path(lua_State *state, const hs_lua_config_t *config)
{
    const char *slash = strrchr(config->script, '/');
    lua_getglobal(state, "package");
    if (slash != NULL)
        lua_pushlstring(state, config->script, (size_t)(slash - config->script));
    else
        lua_pushliteral(state, ".");
    const char *beside = lua_tostring(state, -1);
    lua_getfield(state, -2, "path");
    lua_pushfstring(state, "%s/?.lua;%s/?/init.lua;%s/?.lua;%s/?/init.lua;%s", config->root,
                    config->root, beside, beside, lua_tostring(state, -1));
    lua_setfield(state, -4, "path");
    lua_pop(state, 3);
}

/* require "moonring.native" gives what only C knows: the ABI text and the address of the function
 * table. */
static int open_native(lua_State *state)
{
    hs_lua_t *lua = lua_touserdata(state, lua_upvalueindex(1));
    lua_createtable(state, 0, 2);
    lua_pushstring(state, hs_lua_abi_text);
    lua_setfield(state, -2, "abi");
    lua_pushlightuserdata(state, &lua->api);
    lua_setfield(state, -2, "api");
    return 1;
}

static void preload_native(lua_State *state, hs_lua_t *lua)
{
    lua_getglobal(state, "package");
    lua_getfield(state, -1, "preload");
    lua_pushlightuserdata(state, lua);
    lua_pushcclosure(state, open_native, 1);
    lua_setfield(state, -2, "moonring.native");
    lua_pop(state, 2);
}

/* Runs protected, because every Lua API call in it may raise "not enough memory". Argument: the
 * config. */
static int set_up(lua_State *state)
{
    hs_lua_t *lua = lua_touserdata(state, 1);
    const hs_lua_config_t *config = lua_touserdata(state, 2);
    lua_settop(state, 0);
    luaL_openlibs(state);
    set_package_path(state, config);
    preload_native(state, lua);
    lua_getglobal(state, "require");
    lua_pushliteral(state, "moonring.runtime");
    lua_call(state, 1, 1);
    lua_getfield(state, -1, "load");
    lua_pushstring(state, config->script);
    lua_call(state, 1, 1);
    lua->run_ref = luaL_ref(state, LUA_REGISTRYINDEX);
    return 0;
}

hs_lua_t *hs_lua_new(const hs_lua_config_t *config, hs_errinfo_t *error)
{
    hs_lua_t *lua = hs_alloc_zeroed(1, sizeof(*lua));
    if (lua == NULL) {
        hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a Lua state");
        return NULL;
    }
    hs_lua_api_init(&lua->api, config->log);
    lua->state = luaL_newstate();
    if (lua->state == NULL) {
        hs_errinfo_set(error, HS_ERR_NOMEM, 0, "LuaJIT could not make a state: out of memory");
        hs_lua_free(lua);
        return NULL;
    }
    lua_pushcfunction(lua->state, set_up);
    lua_pushlightuserdata(lua->state, lua);
    lua_pushlightuserdata(lua->state, (void *)(uintptr_t)config);
    if (lua_pcall(lua->state, 2, 0, 0) != 0) {
        const char *message = lua_tostring(lua->state, -1);
        hs_errinfo_set(error, HS_ERR_HANDLER, 0, "%s",
                       message ? message : "an error that is not a string");
        hs_lua_free(lua);
        return NULL;
    }
    return lua;
}

void hs_lua_free(hs_lua_t *lua)
{
    if (lua == NULL)
        return;
    if (lua->state != NULL)
        lua_close(lua->state);
    hs_free(lua);
}

/* The runtime catches the handler's errors itself; what arrives here is an error outside of it
 * (memory). */
static void run_lua(void *self, hs_exchange_t *exchange)
{
    hs_lua_t *lua = self;
    lua_State *state = lua->state;
    lua->api.current = &exchange->view;
    lua_rawgeti(state, LUA_REGISTRYINDEX, lua->run_ref);
    int failed = lua_pcall(state, 0, 1, 0);
    if (HS_UNLIKELY(failed != 0 || !lua_toboolean(state, -1))) {
        if (failed != 0)
            hs_log_write(exchange->log, HS_LOG_ERROR, "lua: %s", lua_tostring(state, -1));
        if (exchange->response.state != HS_ANSWER_SENT)
            hs_res_replace(&exchange->response, 500);
    }
    lua_settop(state, 0);
    lua->api.current = NULL;
}

hs_handler_t hs_lua_as_handler(hs_lua_t *lua)
{
    return (hs_handler_t){ .run = run_lua, .self = lua };
}
