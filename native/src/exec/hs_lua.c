#include "exec/hs_lua.h"

#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>

#include "exec/hs_lua_api.h"
#include "exec/hs_lua_embedded.h"
#include "exec/hs_lua_http.h"
#include "exec/hs_lua_memory.h"
#include "exec/hs_lua_pins.h"
#include "exec/hs_lua_process.h"
#include "exec/hs_lua_require.h"
#include "exec/hs_res.h"
#include "http/hs_parse.h"
#include "os/hs_entropy.h"
#include "os/hs_object.h"

/* What lies at the bottom of a state's stack all its life. */
enum {
    SLOT_RUN = 1,      /* the function that handles one request */
    SLOT_TASKS = 2,    /* the one that resumes background tasks */
    SLOT_DESCRIBE = 3, /* the one that turns an error into text with a traceback */
    SLOTS = SLOT_DESCRIBE,
};

/* owner: its thread, but for `doomed` */
struct hs_lua {
    lua_State *state;
    hs_lua_api_t api; /* Lua holds its address */
    hs_lua_files_t files;
    hs_lua_memory_t memory;
    hs_lua_pins_t pins;

    /* Handle of the request that is to be given up. Written by another thread before it sets the
     * hook, read by the hook, which LuaJIT runs on the state's thread; release and acquire. A hook
     * that comes too late finds another request and does nothing. */
    _Atomic uint64_t doomed;
};

const char *hs_lua_version(void)
{
    return LUAJIT_VERSION;
}

static void preload_embedded(lua_State *state)
{
    lua_getglobal(state, "package");
    lua_getfield(state, -1, "preload");
    for (const hs_lua_embedded_t *module = hs_lua_embedded_modules; module->name != NULL;
         module++) {
        if (luaL_loadbuffer(state, module->text, module->len, module->name) != 0)
            lua_error(state);
        lua_setfield(state, -2, module->name);
    }
    lua_pop(state, 2);
}

/* require "moonring.native" gives what only C knows: the ABI text, the address of the function
 * table, and the table of pinned strings. */
static int open_native(lua_State *state)
{
    hs_lua_t *lua = lua_touserdata(state, lua_upvalueindex(1));
    lua_createtable(state, 0, 3);
    hs_lua_pins_open(&lua->pins, state);
    lua_setfield(state, -2, "pins");
    lua_pushstring(state, hs_lua_abi_text);
    lua_setfield(state, -2, "abi");
    lua_pushlightuserdata(state, &lua->api);
    lua_setfield(state, -2, "api");
    lua_pushstring(state, hs_lua_http_abi_text);
    lua_setfield(state, -2, "http_abi");
    lua_pushlightuserdata(state, (void *)(uintptr_t)&hs_lua_http_api);
    lua_setfield(state, -2, "http");
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

/* LuaJIT starts every state with the same random numbers. */
static void seed_random(lua_State *state)
{
    lua_getglobal(state, "math");
    lua_getfield(state, -1, "randomseed");
    lua_pushnumber(state, (lua_Number)(hs_entropy() >> 11)); /* 53 bits */
    lua_call(state, 1, 0);
    lua_pop(state, 1);
}

/* The text of an error that a protected call has left on top of the stack. A number would be
 * converted, which allocates. */
static const char *error_text(lua_State *state)
{
    return lua_type(state, -1) == LUA_TSTRING ? lua_tostring(state, -1)
                                              : "an error that is not a string";
}

/* Runs protected, because every Lua API call in it may raise "not enough memory". Argument: the
 * hs_lua_t. Returns what belongs into the slots. */
static int set_up(lua_State *state)
{
    hs_lua_t *lua = lua_touserdata(state, 1);
    lua_settop(state, 0);
    lua_pushlightuserdata(state, lua);
    lua_setfield(state, LUA_REGISTRYINDEX, "moonring.state");
    luaL_openlibs(state);
    hs_lua_process_open(state);
    hs_lua_require_open(state, &lua->files);
    seed_random(state);
    preload_native(state, lua);
    if (lua->files.root == NULL)
        preload_embedded(state);
    lua_getglobal(state, "require");
    lua_pushliteral(state, "moonring.runtime");
    lua_call(state, 1, 1);
    lua_getfield(state, -1, "load");
    lua_pushstring(state, lua->files.script);
    hs_lua_require_script(state, &lua->files);
    lua_call(state, 2, SLOTS);
    return SLOTS;
}

hs_lua_t *hs_lua_new(const hs_lua_config_t *config, hs_errinfo_t *error)
{
    hs_lua_t *lua = hs_alloc_zeroed(1, sizeof(*lua));
    if (lua == NULL) {
        hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a Lua state");
        return NULL;
    }
    lua->files = config->files;
    hs_lua_api_init(&lua->api, config->log);
    lua->api.pins = &lua->pins;
    /* Lua modules in C, lua-cjson among them, take it for granted that Lua itself can be found. */
    hs_object_show_symbols((const void *)(uintptr_t)lua_newstate);
    lua->state = luaL_newstate();
    if (lua->state == NULL) {
        hs_errinfo_set(error, HS_ERR_NOMEM, 0, "LuaJIT could not make a state: out of memory");
        hs_lua_free(lua);
        return NULL;
    }
    hs_lua_memory_limit(&lua->memory, lua->state, config->memory_cap);
    lua_pushcfunction(lua->state, set_up);
    lua_pushlightuserdata(lua->state, lua);
    if (lua_pcall(lua->state, 1, SLOTS, 0) != 0) {
        hs_errinfo_set(error, HS_ERR_HANDLER, 0, "%s", error_text(lua->state));
        hs_lua_free(lua);
        return NULL;
    }
    if (lua->files.snapshot != NULL)
        hs_snapshot_freeze(lua->files.snapshot);
    return lua;
}

void hs_lua_free(hs_lua_t *lua)
{
    if (lua == NULL)
        return;
    if (lua->state != NULL) {
        hs_lua_memory_release(&lua->memory, lua->state);
        lua_close(lua->state);
    }
    hs_free(lua);
}

/* The record of a handler that raised; the error is on top of the stack. */
static void log_error(const hs_lua_t *lua, const hs_job_t *job, int failed)
{
    static const char no_memory[] = "not enough memory";
    static const char no_stack[] =
        "error in error handling: no stack was left to describe one, as after endless recursion";
    const hs_msg_t *msg = &job->request.msg;
    char prefix[1024];
    snprintf(prefix, sizeof(prefix), "lua error in %s %.960s: ", hs_parse_method_name(msg->method),
             hs_msg_url(msg).data);
    if (failed == LUA_ERRERR && lua->memory.refused) {
        hs_job_log_text(job, HS_LOG_ERROR, prefix, no_memory, sizeof(no_memory) - 1);
    } else if (failed == LUA_ERRERR) {
        hs_job_log_text(job, HS_LOG_ERROR, prefix, no_stack, sizeof(no_stack) - 1);
    } else if (lua_type(lua->state, -1) == LUA_TSTRING) {
        size_t len = 0;
        const char *text = lua_tolstring(lua->state, -1, &len);
        hs_job_log_text(job, HS_LOG_ERROR, prefix, text, len);
    } else {
        const char *text = error_text(lua->state);
        hs_job_log_text(job, HS_LOG_ERROR, prefix, text, strlen(text));
    }
}

/* Memory was refused: garbage of the handler is collected now, or the next one fails too. */
static void recover_memory(hs_lua_t *lua, const hs_job_t *job)
{
    hs_lua_memory_collect(&lua->memory, lua->state);
    const hs_msg_t *msg = &job->request.msg;
    hs_job_log(job, HS_LOG_WARN, "%s %.128s reached the memory limit of its Lua state (%zu bytes)",
               hs_parse_method_name(msg->method), hs_msg_url(msg).data, lua->memory.cap);
}

/* The one protected call of a request. */
static void run_lua(void *self, hs_job_t *job)
{
    hs_lua_t *lua = self;
    lua_State *state = lua->state;
    hs_response_t *response = &job->response;
    lua->api.request = (hs_lua_request_t *)(uintptr_t)job->view.handle;
    lua->api.response = (hs_lua_response_t *)(uintptr_t)job->view.handle;
    hs_lua_pins_begin(&lua->pins);
    lua_pushvalue(state, SLOT_RUN);
    int failed = lua_pcall(state, 0, 0, SLOT_DESCRIBE);
    if (HS_UNLIKELY(failed != 0)) {
        log_error(lua, job, failed);
        hs_res_break_off(response);
        lua_settop(state, SLOTS);
    } else if (HS_UNLIKELY(lua->api.wants_worker != 0)) {
        lua->api.wants_worker = 0;
        bool untouched = response->sending == HS_SENDING_BUILDING && !response->built;
        job->wants_worker = untouched && !job->in_worker;
    }
    lua->api.request = NULL;
    hs_lua_pins_end(&lua->pins);
    if (HS_UNLIKELY(lua->memory.refused))
        recover_memory(lua, job);
}

static void run_tasks(void *self)
{
    hs_lua_t *lua = self;
    hs_lua_pins_begin(&lua->pins);
    lua_pushvalue(lua->state, SLOT_TASKS);
    if (lua_pcall(lua->state, 0, 0, 0) != 0) {
        const char *text = error_text(lua->state);
        hs_log_write_text(lua->api.log, HS_LOG_ERROR, "lua: ", text, strlen(text));
    }
    lua_settop(lua->state, SLOTS);
    hs_lua_pins_end(&lua->pins);
    if (lua->memory.refused)
        hs_lua_memory_collect(&lua->memory, lua->state);
}

static bool has_tasks(void *self)
{
    const hs_lua_t *lua = self;
    return lua->api.task_count > 0;
}

static const void *held_by(void *self)
{
    const hs_lua_t *lua = self;
    return hs_lua_pins_in_use(&lua->pins) ? &lua->pins : NULL;
}

static hs_lua_t *lua_of(lua_State *state)
{
    lua_getfield(state, LUA_REGISTRYINDEX, "moonring.state");
    hs_lua_t *lua = lua_touserdata(state, -1);
    lua_pop(state, 1);
    return lua;
}

/* Runs in the interpreter, between two instructions of the handler. */
static void on_interrupt(lua_State *state, lua_Debug *debug)
{
    (void)debug;
    lua_sethook(state, NULL, 0, 0);
    hs_lua_t *lua = lua_of(state);
    uint64_t doomed = atomic_load_explicit(&lua->doomed, memory_order_acquire);
    if (lua->api.request == NULL || (uintptr_t)lua->api.request != doomed)
        return;
    lua_pushliteral(state, "the handler ran into its deadline"); /* as runtime.lua knows it */
    lua_error(state);
}

/*
 * Any thread. lua_sethook is the one call of LuaJIT that may come from outside. Compiled code does
 * not look at hooks: a loop that LuaJIT has compiled goes on.
 */
static void interrupt_lua(void *self, hs_job_t *job)
{
    hs_lua_t *lua = self;
    atomic_store_explicit(&lua->doomed, job->view.handle, memory_order_release);
    lua_sethook(lua->state, on_interrupt, LUA_MASKCOUNT, 1);
}

hs_handler_t hs_lua_as_handler(hs_lua_t *lua)
{
    return (hs_handler_t){
        .run = run_lua,
        .self = lua,
        .interrupt = interrupt_lua,
        .run_tasks = run_tasks,
        .has_tasks = has_tasks,
        .held_by = held_by,
    };
}

static int make_lua(void *context, hs_handler_t *handler, hs_errinfo_t *error)
{
    hs_lua_t *lua = hs_lua_new(context, error);
    if (lua == NULL)
        return error->code;
    *handler = hs_lua_as_handler(lua);
    return HS_OK;
}

static void end_lua(void *context, hs_handler_t *handler)
{
    (void)context;
    hs_lua_free(handler->self);
}

hs_handler_factory_t hs_lua_factory(hs_lua_config_t *config)
{
    return (hs_handler_factory_t){ make_lua, end_lua, config };
}
