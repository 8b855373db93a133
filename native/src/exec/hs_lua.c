#include "exec/hs_lua.h"

#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>

#include "exec/hs_lua_api.h"
#include "exec/hs_lua_calls.h"
#include "exec/hs_lua_content.h"
#include "exec/hs_lua_crypto.h"
#include "exec/hs_lua_embedded.h"
#include "exec/hs_lua_files.h"
#include "exec/hs_lua_guard.h"
#include "exec/hs_lua_http.h"
#include "exec/hs_lua_interrupt.h"
#include "exec/hs_lua_json.h"
#include "exec/hs_lua_loop.h"
#include "exec/hs_lua_memory.h"
#include "exec/hs_lua_metrics.h"
#include "exec/hs_lua_ngx.h"
#include "exec/hs_lua_pins.h"
#include "exec/hs_lua_process.h"
#include "exec/hs_lua_require.h"
#include "exec/hs_lua_shared.h"
#include "exec/hs_lua_socket.h"
#include "exec/hs_lua_spans.h"
#include "exec/hs_lua_topics.h"
#include "exec/hs_lua_wakes.h"
#include "exec/hs_lua_websocket.h"
#include "exec/hs_res.h"
#include "http/hs_parse.h"
#include "os/hs_clock.h"
#include "os/hs_entropy.h"
#include "os/hs_object.h"

/* The slots at the bottom of a state's stack for its whole life. */
enum {
    SLOT_RUN = 1,   /* the function that handles one request */
    SLOT_TASKS,     /* the one that resumes tasks */
    SLOT_DESCRIBE,  /* the one that turns an error of a coroutine into text with a traceback */
    SLOT_SUSPENDED, /* the one that takes over the coroutine of a waiting request */
    SLOT_ENDED,     /* the one that ends the task of a request that has returned */
    SLOT_RETIRE,    /* the one that ends periodic tasks */
    SLOT_CALL,      /* the one that starts a call, on a worker */
    SLOT_WHERE,     /* the one that says where a request waits */
    FUNCTIONS = SLOT_WHERE,
    SLOT_PREPARE,   /* prepare() */
    SLOT_COROUTINE, /* the coroutine for the next request */
    SLOTS = SLOT_COROUTINE,
};

/* How SLOT_RETIRE is called: as in scheduler.lua. */
enum {
    RETIRE_DRAINED,
    RETIRE_REPLACED,
    RETIRE_LAST
};

/* Yielded tasks are resumed after this long, or sooner if the thread is awake. */
#define TASK_INTERVAL_MS 10
/* A task that computes for longer is reported, at most one per this interval. */
#define LONG_TASK_NS (UINT64_C(20) * 1000 * 1000)
#define LONG_REPORT_NS (UINT64_C(10) * 1000 * 1000 * 1000)
/* How long a handler on a worker sleeps before it checks whether it was abandoned. */
#define WORKER_LOOK_MS 50

/* owner: its thread */
struct hs_lua {
    lua_State *state;
    lua_State *coroutine; /* in SLOT_COROUTINE, with SLOT_RUN at its bottom; NULL: none */
    hs_lua_api_t api;     /* Lua holds its address */
    hs_lua_files_t files;
    hs_lua_compat_t compat;
    bool error_pages;
    hs_lua_memory_t memory;
    hs_lua_pins_t pins;
    hs_net_t *net;       /* of the loop's thread; NULL: not on one */
    hs_lua_loop_t *loop; /* on a worker, once something has waited */
    hs_topic_hub_t *hub; /* of the loop's thread; NULL: not on one */
    hs_lua_sockets_t sockets;
    hs_lua_topics_t topics;
    hs_lua_websockets_t websockets;
    hs_lua_crypto_t crypto;
    hs_lua_metrics_t metrics;
    hs_lua_shared_t shared;
    hs_lua_ngx_t ngx;
    hs_lua_sites_t sites;
    hs_call_t *call; /* on a worker: the running one */
    hs_lua_calls_t calls;
    hs_busy_t *busy; /* NULL: not on a loop's thread */
    hs_job_t *sent;  /* by `next`: suspended ones whose response was ended by the running task */
    uint64_t yielded_run_ms; /* when tasks that had yielded were resumed */
    bool keeps_worker;       /* a handler on a worker waits */
    uint64_t task_began_ns;  /* when the running task was resumed; 0: none was in this run */
    uint64_t long_report_ns; /* another long task is reported only after this */
    hs_lua_interrupt_t interrupt;
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

/* Members of the table on top of the stack. */
static void set_text(lua_State *state, const char *name, const char *text)
{
    lua_pushstring(state, text);
    lua_setfield(state, -2, name);
}

static void set_pointer(lua_State *state, const char *name, const void *pointer)
{
    lua_pushlightuserdata(state, (void *)(uintptr_t)pointer);
    lua_setfield(state, -2, name);
}

static void set_function(lua_State *state, const char *name, lua_CFunction function)
{
    lua_pushcfunction(state, function);
    lua_setfield(state, -2, name);
}

/* require "moonring.native" returns what only C knows: the ABI text, the address of the function
 * table, the table of pinned strings, and other functions for the modules. */
static int open_native(lua_State *state)
{
    hs_lua_t *lua = lua_touserdata(state, lua_upvalueindex(1));
    lua_createtable(state, 0, 24);
    lua_pushboolean(state, lua->error_pages);
    lua_setfield(state, -2, "shows_errors");
    hs_lua_pins_open(&lua->pins, state);
    lua_setfield(state, -2, "pins");
    set_function(state, "has_c_stack", hs_lua_guard_has_stack);
    set_function(state, "json_check", hs_lua_json_check);
    set_function(state, "utf8_repair", hs_lua_utf8_repair);
    set_text(state, "abi", hs_lua_abi_text);
    set_pointer(state, "api", &lua->api);
    set_text(state, "http_abi", hs_lua_http_abi_text);
    set_pointer(state, "http", &hs_lua_http_api);
    set_text(state, "socket_abi", hs_lua_socket_abi_text);
    set_pointer(state, "sockets", &lua->sockets.api);
    set_text(state, "crypto_abi", hs_lua_crypto_abi_text);
    set_pointer(state, "crypto", &lua->crypto.api);
    set_text(state, "metrics_abi", hs_lua_metrics_abi_text);
    set_pointer(state, "metrics", &lua->metrics.api);
    set_text(state, "shared_abi", hs_lua_shared_abi_text);
    set_pointer(state, "shared", &lua->shared.api);
    set_text(state, "spans_abi", hs_lua_spans_abi_text);
    set_pointer(state, "spans", &hs_lua_spans_api);
    set_text(state, "ngx_abi", hs_lua_ngx_abi_text);
    set_pointer(state, "null", NULL);
    set_pointer(state, "ngx", &lua->ngx.api);
    set_text(state, "files_abi", hs_lua_files_abi_text);
    set_pointer(state, "files", &lua->sites.api);
    set_text(state, "topics_abi", hs_lua_topics_abi_text);
    set_pointer(state, "topics", &lua->topics.api);
    set_text(state, "websocket_abi", hs_lua_websocket_abi_text);
    set_pointer(state, "websockets", &lua->websockets.api);
    return 1;
}

#ifdef MOONRING_HAS_CJSON
int luaopen_cjson(lua_State *state);
int luaopen_cjson_safe(lua_State *state);
#endif

static void preload_native(lua_State *state, hs_lua_t *lua)
{
    lua_getglobal(state, "package");
    lua_getfield(state, -1, "preload");
    lua_pushlightuserdata(state, lua);
    lua_pushcclosure(state, open_native, 1);
    lua_setfield(state, -2, "moonring.native");
#ifdef MOONRING_HAS_CJSON
    set_function(state, "cjson", luaopen_cjson);
    set_function(state, "cjson.safe", luaopen_cjson_safe);
#endif
    lua_pop(state, 2);
}

/* LuaJIT starts every state with the same random seed. */
static void seed_random(lua_State *state)
{
    lua_getglobal(state, "math");
    lua_getfield(state, -1, "randomseed");
    lua_pushnumber(state, (lua_Number)(hs_entropy() >> 11)); /* 53 bits */
    lua_call(state, 1, 0);
    lua_pop(state, 1);
}

static double now_seconds(void)
{
    return (double)hs_clock_monotonic_ns() / 1e9;
}

/* The text of an error left on top of the stack by a protected call. A number would be converted,
 * which allocates. */
static const char *error_text(lua_State *state)
{
    return lua_type(state, -1) == LUA_TSTRING ? lua_tostring(state, -1)
                                              : "an error that is not a string";
}

/* Arguments: the function that handles a request, and a coroutine that has ended, or nil. Returns a
 * coroutine with the former at its bottom. */
static int prepare(lua_State *state)
{
    lua_State *coroutine = lua_tothread(state, 2);
    if (coroutine == NULL) {
        coroutine = lua_newthread(state);
        lua_replace(state, 2);
    }
    lua_settop(coroutine, 0);
    lua_pushvalue(state, 1);
    lua_xmove(state, coroutine, 1);
    lua_settop(state, 2);
    return 1;
}

/* Runs protected, because every Lua API call in it may raise "not enough memory". Argument: the
 * hs_lua_t. Returns the values for the slots. */
static int set_up(lua_State *state)
{
    hs_lua_t *lua = lua_touserdata(state, 1);
    lua_settop(state, 0);
    lua_pushlightuserdata(state, lua);
    lua_setfield(state, LUA_REGISTRYINDEX, "moonring.state");
    luaL_openlibs(state);
    hs_lua_guard_open(state);
    hs_lua_process_open(state);
    hs_lua_require_open(state, &lua->files);
    seed_random(state);
    preload_native(state, lua);
    if (lua->files.root == NULL)
        preload_embedded(state);
    lua_getglobal(state, "require");
    lua_pushliteral(state, "moonring.runtime");
    lua_call(state, 1, 1);
    hs_lua_interrupt_init(&lua->interrupt, state, &lua->api);
    lua_getfield(state, -1, "load");
    lua_pushstring(state, lua->files.script);
    hs_lua_require_script(state, &lua->files);
    lua_pushboolean(state, lua->compat == HS_LUA_COMPAT_NGX);
    lua_call(state, 3, FUNCTIONS);
    lua_pushcfunction(state, prepare);
    lua_pushnil(state);
    return SLOTS;
}

/* The next request gets the coroutine in SLOT_COROUTINE, which has ended, or a new one. */
static void prepare_coroutine(hs_lua_t *lua)
{
    lua_State *state = lua->state;
    lua_pushvalue(state, SLOT_PREPARE);
    lua_pushvalue(state, SLOT_RUN);
    lua_pushvalue(state, SLOT_COROUTINE);
    int failed = lua_pcall(state, 2, 1, 0);
    lua->coroutine = failed == 0 ? lua_tothread(state, -1) : NULL;
    if (failed == 0)
        lua_replace(state, SLOT_COROUTINE);
    lua_settop(state, SLOTS);
}

static void log_lua_error(const hs_job_t *job, hs_log_level_t level, const char *text, size_t len)
{
    const hs_msg_t *msg = &job->request.msg;
    char prefix[1024];
    snprintf(prefix, sizeof(prefix), "lua error in %s %.960s: ", hs_parse_method_name(msg->method),
             hs_msg_url(msg).data);
    hs_job_log_text(job, level, prefix, text, len);
}

/* Logs a handler's error, which is on top of its coroutine's stack. Returns the status for the
 * response. */
static int log_error(hs_lua_t *lua, const hs_job_t *job)
{
    lua_State *state = lua->state;
    lua_pushvalue(state, SLOT_DESCRIBE);
    lua_xmove(lua->coroutine, state, 1);
    lua_pushvalue(state, SLOT_COROUTINE);
    int status = 500;
    if (lua_pcall(state, 2, 2, 0) == 0 && lua_type(state, -2) == LUA_TSTRING) {
        size_t len = 0;
        const char *text = lua_tolstring(state, -2, &len);
        log_lua_error(job, HS_LOG_ERROR, text, len);
        status = (int)lua_tointeger(state, -1);
    } else {
        const char *text = error_text(state);
        log_lua_error(job, HS_LOG_ERROR, text, strlen(text));
    }
    lua_settop(state, SLOTS);
    return status;
}

/* An allocation was refused: the handler's garbage is collected now, or the next one fails too. */
static void recover_memory(hs_lua_t *lua, const hs_job_t *job)
{
    hs_lua_memory_collect(&lua->memory, lua->state);
    const hs_msg_t *msg = &job->request.msg;
    hs_job_log(job, HS_LOG_WARN, "%s %.128s reached the memory limit of its Lua state (%zu bytes)",
               hs_parse_method_name(msg->method), hs_msg_url(msg).data, lua->memory.cap);
}

/* ---- Suspended requests: notifications of the executor. ---- */

static void wake_job(void *user_data, hs_deferred_t handle, uint32_t event)
{
    hs_lua_t *lua = user_data;
    const hs_job_t *job = hs_job_of(handle);
    if (job != NULL && job->view.wake != 0)
        hs_lua_wake(&lua->api.wakes, job->view.wake + event);
}

static void on_abort(hs_deferred_t handle, hs_abort_reason_t reason, void *user_data)
{
    hs_job_t *job = hs_job_of(handle);
    if (reason == HS_ABORT_SHUT) /* it may still read */
        return;
    if (job != NULL && job->response.takeover != HS_TAKEOVER_NONE) {
        job->inbox.has_ended = true; /* the calls on its socket say so */
        wake_job(user_data, handle, HS_LUA_WAKE_CONTENT);
        wake_job(user_data, handle, HS_LUA_WAKE_DRAINED);
    }
    wake_job(user_data, handle, HS_LUA_WAKE_ABORT);
}

static void on_drain(hs_deferred_t handle, void *user_data)
{
    wake_job(user_data, handle, HS_LUA_WAKE_DRAINED);
}

static hs_content_next_t on_content(hs_deferred_t handle, const char *data, size_t length,
                                    bool is_last, void *user_data)
{
    hs_job_t *job = hs_job_of(handle);
    if (job == NULL)
        return HS_CONTENT_CONTINUE;
    wake_job(user_data, handle, HS_LUA_WAKE_CONTENT);
    return hs_lua_content_arrived(job, hs_span(data, length), is_last);
}

static hs_callbacks_t suspended_callbacks(hs_lua_t *lua)
{
    return (hs_callbacks_t){
        .on_abort = on_abort, .on_drain = on_drain, .on_content = on_content, .user_data = lua
    };
}

/* Passes the coroutine, which has yielded, to the scheduler. False: the task is over, and the error
 * was logged. */
static bool hand_to_scheduler(hs_lua_t *lua, hs_job_t *job)
{
    lua_State *state = lua->state;
    lua_pushvalue(state, SLOT_SUSPENDED);
    lua_pushvalue(state, SLOT_COROUTINE);
    int failed = lua_pcall(state, 1, 1, 0);
    if (failed != 0) {
        const char *text = error_text(state);
        log_lua_error(job, HS_LOG_ERROR, text, strlen(text));
        lua_pushnil(state);
    }
    lua_replace(state, SLOT_COROUTINE); /* one that has ended, or nil */
    lua->coroutine = lua_tothread(state, SLOT_COROUTINE);
    if (HS_UNLIKELY(lua->coroutine == NULL)) {
        prepare_coroutine(lua);
        return failed == 0;
    }
    lua_settop(lua->coroutine, 0); /* as prepare(), but nothing here allocates */
    lua_pushvalue(state, SLOT_RUN);
    lua_xmove(state, lua->coroutine, 1);
    return true;
}

/* Ends the task of a request that has returned or failed, and the tasks it started. */
static void end_task(hs_lua_t *lua)
{
    lua_State *state = lua->state;
    lua->api.has_task = 0;
    lua_pushvalue(state, SLOT_ENDED);
    (void)lua_pcall(state, 0, 0, 0);
    lua_settop(state, SLOTS);
}

static void wait_on_worker(hs_lua_t *lua, hs_job_t *job);

/* A worker has no loop until something waits on it, or opens a socket. */
static bool own_loop(hs_lua_t *lua)
{
    hs_errinfo_t error = { 0 };
    if (lua->loop == NULL)
        lua->loop = hs_lua_loop_new(lua->api.log, &error);
    if (lua->loop == NULL)
        hs_log_write(lua->api.log, HS_LOG_ERROR, "%s", error.text);
    return lua->loop != NULL;
}

static hs_net_t *net_of(void *context)
{
    hs_lua_t *lua = context;
    if (lua->net != NULL)
        return lua->net;
    return own_loop(lua) ? hs_lua_loop_net(lua->loop) : NULL;
}

/* Where the handler of a suspended job waits: hs_where_fn. Not while Lua is running. */
static void where(const hs_job_t *job, char *text, size_t size)
{
    hs_lua_t *lua = job->suspended_by;
    lua_State *state = lua->state;
    lua_pushvalue(state, SLOT_WHERE);
    lua_pushinteger(state, (lua_Integer)job->view.wake);
    if (lua_pcall(state, 1, 1, 0) == 0 && lua_type(state, -1) == LUA_TSTRING)
        snprintf(text, size, "%s", lua_tostring(state, -1));
    lua_settop(state, SLOTS);
}

/* NULL while the file is loaded: the state may belong to a worker, where nothing runs between two
 * requests. */
static hs_topic_hub_t *hub_of(void *context, hs_topics_t *topics)
{
    hs_lua_t *lua = context;
    if (lua->api.is_attached != 0)
        return lua->hub;
    bool is_running = lua->api.request != NULL || lua->api.runs_call != 0;
    return is_running && own_loop(lua) ? hs_lua_loop_topics(lua->loop, topics) : NULL;
}

static HS_NOINLINE void suspend(hs_lua_t *lua, hs_job_t *job)
{
    hs_response_t *response = &job->response;
    lua->api.has_task = 0;
    lua_settop(lua->coroutine, 0); /* what it has yielded */
    bool is_open = response->sending != HS_SENDING_ENDED;
    if (!hand_to_scheduler(lua, job)) {
        hs_res_break_off(response, 500);
    } else if (job->in_worker && own_loop(lua)) {
        wait_on_worker(lua, job);
    } else if (is_open && !job->in_worker) {
        hs_callbacks_t callbacks = suspended_callbacks(lua);
        if (!hs_res_suspend(response, lua, where, &callbacks))
            hs_res_break_off(response, 500); /* the task finds its request over */
    }
}

static HS_NOINLINE void fail(hs_lua_t *lua, hs_job_t *job)
{
    hs_res_break_off(&job->response, log_error(lua, job));
    lua_pushnil(lua->state);
    lua_replace(lua->state, SLOT_COROUTINE);
}

/* The handler returned 'worker' although it already runs on one, or too late.
 */
static HS_NOINLINE void choose_worker(hs_lua_t *lua, hs_job_t *job)
{
    const hs_response_t *response = &job->response;
    lua->api.wants_worker = 0;
    if (response->sending == HS_SENDING_BUILDING && !response->built) {
        job->wants_worker = !job->in_worker;
        return;
    }
    static const char text[] = "return 'worker' must come before anything of the response is "
                               "built: the handler runs again, from its beginning";
    log_lua_error(job, HS_LOG_ERROR, text, sizeof(text) - 1);
    hs_res_break_off(&job->response, 500);
}

/* Starts the one coroutine of a request. */
static void run_lua(void *self, hs_job_t *job)
{
    hs_lua_t *lua = self;
    lua_State *coroutine = lua->coroutine;
    hs_response_t *response = &job->response;
    int result = LUA_ERRMEM;
    lua->api.request = (hs_lua_request_t *)(uintptr_t)job->view.handle;
    lua->api.response = (hs_lua_response_t *)(uintptr_t)job->view.handle;
    job->view.wake = 0;
    hs_lua_pins_begin(&lua->pins);
    if (HS_UNLIKELY(coroutine == NULL)) {
        static const char no_memory[] = "not enough memory for a coroutine";
        log_lua_error(job, HS_LOG_ERROR, no_memory, sizeof(no_memory) - 1);
        hs_res_break_off(response, 500);
    } else {
        lua_pushvalue(coroutine, SLOT_RUN);
        result = lua_resume(coroutine, 0);
        if (HS_UNLIKELY(result == LUA_YIELD)) {
            suspend(lua, job);
        } else if (HS_UNLIKELY(result != 0)) {
            fail(lua, job);
        } else if (HS_UNLIKELY(lua->api.wants_worker != 0)) {
            choose_worker(lua, job);
        }
    }
    if (HS_UNLIKELY(lua->api.has_task != 0))
        end_task(lua);
    lua->api.request = NULL;
    if (HS_UNLIKELY(lua->loop != NULL))
        hs_lua_loop_turn(lua->loop, 0); /* sends what sockets have put */
    hs_lua_pins_end(&lua->pins);
    if (HS_UNLIKELY(lua->memory.refused))
        recover_memory(lua, job);
    if (HS_UNLIKELY(result != 0 && result != LUA_YIELD))
        prepare_coroutine(lua);
}

/* ---- Tasks. ---- */

static void note_sent(void *context, hs_job_t *job)
{
    hs_lua_t *lua = context;
    job->next = lua->sent;
    lua->sent = job;
}

/* res:send() of a handler that has waited. Its request is over only when the task waits again or
 * returns, so that later code, such as a router's hooks, can still use it. The loop sends nothing
 * before that. */
static int send_response(hs_view_t *view)
{
    hs_job_t *job = hs_job_of_view(view);
    if (hs_job_state(job) != HS_JOB_SUSPENDED)
        return hs_res_send(&job->response);
    int result = hs_res_end(&job->response);
    if (result == HS_OK)
        note_sent(job->suspended_by, job);
    return result;
}

/* The same for a client that gets nothing. */
static int drop_response(hs_view_t *view, int status)
{
    hs_job_t *job = hs_job_of_view(view);
    int result = hs_res_drop(&job->response, status);
    if (result == HS_OK && hs_job_state(job) == HS_JOB_SUSPENDED)
        note_sent(job->suspended_by, job);
    return result;
}

static void post_sent(hs_lua_t *lua)
{
    for (hs_job_t *job; (job = lua->sent) != NULL;) {
        lua->sent = job->next;
        hs_res_post(job);
    }
}

/* Called by the scheduler when a task waits or returns. A task that blocked the thread is not moved
 * to a worker, which it would occupy while it waits: its author gets a warning. */
static void pause_task(void *context)
{
    hs_lua_t *lua = context;
    if (lua->sent != NULL)
        post_sent(lua);
    uint64_t now_ns = hs_clock_monotonic_ns();
    uint64_t took_ns = now_ns - lua->task_began_ns;
    lua->task_began_ns = now_ns; /* of the next task of this run */
    if (HS_LIKELY(took_ns < LONG_TASK_NS) || lua->busy == NULL || now_ns < lua->long_report_ns)
        return;
    lua->long_report_ns = now_ns + LONG_REPORT_NS;
    static const char advice[] = "between two waits: no other client of this reactor was served. "
                                 "moonring.worker(fn, …) runs fn on another thread";
    const hs_job_t *job = hs_job_of((uintptr_t)lua->api.request);
    if (job != NULL)
        hs_job_log(job, HS_LOG_WARN, "the handler of %s %.128s computed for %u ms %s",
                   hs_parse_method_name(job->request.msg.method),
                   hs_msg_url(&job->request.msg).data, (unsigned)(took_ns / 1000000), advice);
    else
        hs_log_write(lua->api.log, HS_LOG_WARN,
                     "a background task, or one of a WebSocket, computed for %u ms %s",
                     (unsigned)(took_ns / 1000000), advice);
}

/* Called by the scheduler before it resumes a task, with or without a request. */
static void begin_task(void *context, hs_view_t *view)
{
    hs_lua_t *lua = context;
    if (lua->task_began_ns == 0)
        lua->task_began_ns = hs_clock_monotonic_ns();
    hs_job_t *job = view != NULL ? hs_job_of_view(view) : NULL;
    uint64_t handle = view != NULL ? view->handle : 0;
    hs_lua_interrupt_count_task(&lua->interrupt);
    lua->api.request = (hs_lua_request_t *)(uintptr_t)handle;
    lua->api.response = (hs_lua_response_t *)(uintptr_t)handle;
    if (lua->busy != NULL)
        hs_busy_begin_task(lua->busy, job);
}

/* Called by the scheduler for a task that raised an error. `view` NULL: it has no request, or one
 * that is over. */
static void log_failed_task(void *context, hs_view_t *view, int level, const char *text, size_t len)
{
    hs_lua_t *lua = context;
    if (view != NULL)
        log_lua_error(hs_job_of_view(view), (hs_log_level_t)level, text, len);
    else
        hs_log_write_text(lua->api.log, (hs_log_level_t)level,
                          "lua error in a background task: ", text, len);
}

static void run_tasks(void *self)
{
    hs_lua_t *lua = self;
    if (lua->api.yielded_count > 0)
        lua->yielded_run_ms = hs_clock_monotonic_ms();
    lua->api.request = NULL;
    lua->task_began_ns = 0;
    hs_lua_pins_begin(&lua->pins);
    lua_pushvalue(lua->state, SLOT_TASKS);
    if (lua_pcall(lua->state, 0, 0, 0) != 0) {
        const char *text = error_text(lua->state);
        hs_log_write_text(lua->api.log, HS_LOG_ERROR, "lua: ", text, strlen(text));
    }
    lua_settop(lua->state, SLOTS);
    post_sent(lua); /* if the scheduler itself ran out of memory */
    lua->api.request = NULL;
    if (lua->busy != NULL)
        hs_busy_end_tasks(lua->busy);
    hs_lua_pins_end(&lua->pins);
    if (lua->memory.refused)
        hs_lua_memory_collect(&lua->memory, lua->state);
}

static uint64_t due_ms(void *self, bool awake)
{
    const hs_lua_t *lua = self;
    const hs_lua_api_t *api = &lua->api;
    if (api->ready_count > 0 || api->wakes.count > 0 || (awake && api->yielded_count > 0))
        return 0;
    bool has_timers = api->due_s > 0 && (api->is_attached || lua->keeps_worker);
    uint64_t due = has_timers ? (uint64_t)(api->due_s * 1e3) + 1 : HS_NEVER;
    if (api->yielded_count > 0)
        due = hs_min(due, lua->yielded_run_ms + TASK_INTERVAL_MS);
    return due;
}

static void attach(void *self, const hs_handler_host_t *host)
{
    hs_lua_t *lua = self;
    hs_lua_interrupt_attach(&lua->interrupt, host != NULL ? &host->busy->count : NULL);
    if (host == NULL)
        return;
    lua->busy = host->busy;
    lua->net = host->net;
    lua->hub = host->topics;
    lua->calls.executor = host->executor;
    lua->api.is_attached = 1;
    lua->api.reactor_index = host->reactor_index;
    lua->ngx.api.port = host->port;
    hs_lua_topics_attach(&lua->topics);
    hs_lua_websockets_attach(&lua->websockets, host->websockets);
}

static void call_retire(hs_lua_t *lua, int how)
{
    lua_pushvalue(lua->state, SLOT_RETIRE);
    lua_pushinteger(lua->state, how);
    if (lua_pcall(lua->state, 1, 0, 0) != 0) {
        const char *text = error_text(lua->state);
        hs_log_write_text(lua->api.log, HS_LOG_ERROR, "lua: ", text, strlen(text));
    }
    lua_settop(lua->state, SLOTS);
}

static void retire(void *self)
{
    call_retire(self, RETIRE_REPLACED);
}

static bool is_ending(void *self)
{
    const hs_lua_t *lua = self;
    return lua->api.last_count > 0;
}

static void stop(void *self, const void *context)
{
    (void)context;
    hs_lua_t *lua = self;
    call_retire(lua, RETIRE_LAST);
    hs_lua_topics_leave(&lua->topics);
    hs_lua_websockets_leave(&lua->websockets);
}

static void drain(void *self)
{
    call_retire(self, RETIRE_DRAINED);
}

/* Resumes what waits on a worker, at the latest when it must check whether it was abandoned. */
static void turn_on_worker(hs_lua_t *lua)
{
    uint64_t due = hs_min(due_ms(lua, false), hs_clock_monotonic_ms() + WORKER_LOOK_MS);
    hs_lua_loop_turn(lua->loop, due);
}

/* A waiting handler on a worker occupies the worker. */
static void wait_on_worker(hs_lua_t *lua, hs_job_t *job)
{
    uint64_t handle = job->view.handle;
    lua->keeps_worker = true;
    job->waited = true;
    while (job->view.wake != 0 && job->view.handle == handle) {
        hs_job_progress(job, 1);
        turn_on_worker(lua);
        hs_job_progress(job, 1);
        if (atomic_load_explicit(&job->aborted, memory_order_relaxed) > HS_ABORT_SHUT)
            hs_lua_wake(&lua->api.wakes, job->view.wake + HS_LUA_WAKE_ABORT);
        run_tasks(lua);
    }
    lua->keeps_worker = false;
}

/* ---- Calls of other states, on a worker. ---- */

static void respond_to_call(void *context, int failed, const char *data, size_t len)
{
    hs_lua_t *lua = context;
    hs_buf_t *out = &lua->call->data;
    out->len = 0;
    bool has_text = hs_buf_append(out, data, len);
    lua->call->failed = failed != 0 || !has_text;
    lua->api.runs_call = 0;
}

static void run_call(void *self, hs_call_t *call)
{
    hs_lua_t *lua = self;
    lua_State *state = lua->state;
    if (!own_loop(lua)) {
        call->data.len = 0;
        return;
    }
    lua->call = call;
    lua->api.runs_call = 1;
    lua->api.call_data = call->data.data;
    lua->api.call_len = call->data.len;
    hs_lua_pins_begin(&lua->pins);
    lua_pushvalue(state, SLOT_CALL);
    int failed = lua_pcall(state, 0, 0, 0);
    lua_settop(state, SLOTS);
    hs_lua_pins_end(&lua->pins);
    lua->keeps_worker = true;
    while (failed == 0 && lua->api.runs_call != 0) {
        turn_on_worker(lua);
        run_tasks(lua);
    }
    lua->keeps_worker = false;
    if (failed != 0)
        call->data.len = 0;
    lua->api.runs_call = 0;
    lua->call = NULL;
}

static bool streams_content(void *self)
{
    const hs_lua_t *lua = self;
    return lua->api.streams_content != 0;
}

static const void *held_by(void *self)
{
    const hs_lua_t *lua = self;
    if (hs_lua_pins_in_use(&lua->pins))
        return &lua->pins;
    bool is_held = lua->api.held_count > 0 || lua->calls.count > 0 || lua->websockets.api.count > 0;
    return is_held ? lua : NULL;
}

static void interrupt_lua(void *self, hs_job_t *job, uint32_t count)
{
    hs_lua_t *lua = self;
    hs_lua_interrupt(&lua->interrupt, job, count);
}

hs_lua_t *hs_lua_new(const hs_lua_config_t *config, hs_errinfo_t *error)
{
    hs_lua_t *lua = hs_alloc_zeroed(1, sizeof(*lua));
    if (lua == NULL) {
        hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a Lua state");
        return NULL;
    }
    lua->files = config->files;
    lua->compat = config->compat;
    lua->error_pages = config->error_pages;
    hs_lua_api_init(&lua->api, config->log);
    lua->api.pins = &lua->pins;
    lua->api.lua = lua;
    hs_lua_sockets_init(&lua->sockets, &lua->api.wakes, net_of, lua);
    hs_lua_topics_init(&lua->topics, config->topics, &lua->api.wakes, hub_of, lua);
    hs_lua_websockets_init(&lua->websockets, &lua->api.wakes, note_sent, lua);
    hs_lua_crypto_init(&lua->crypto);
    hs_lua_shared_init(&lua->shared, config->shared);
    hs_lua_ngx_init(&lua->ngx);
    lua->ngx.api.drop = drop_response;
    hs_lua_sites_init(&lua->sites);
    if (!hs_lua_metrics_init(&lua->metrics, config->metrics)) {
        hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for the metrics of a Lua state");
        hs_lua_free(lua);
        return NULL;
    }
    lua->api.now = now_seconds;
    lua->api.task_begin = begin_task;
    lua->api.task_pause = pause_task;
    lua->api.task_failed = log_failed_task;
    lua->api.response_send = send_response;
    lua->calls.wakes = &lua->api.wakes;
    lua->api.calls = &lua->calls;
    lua->api.call_respond = respond_to_call;
    /* Lua modules in C, such as lua-cjson, assume that Lua's own symbols are visible. */
    hs_object_show_symbols((const void *)(uintptr_t)lua_newstate);
    lua->state = luaL_newstate();
    if (lua->state == NULL) {
        hs_errinfo_set(error, HS_ERR_NOMEM, 0, "LuaJIT could not create a state: out of memory");
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
    prepare_coroutine(lua);
    if (lua->files.snapshot != NULL)
        hs_snapshot_freeze(lua->files.snapshot);
    return lua;
}

void hs_lua_free(hs_lua_t *lua)
{
    if (lua == NULL)
        return;
    hs_lua_interrupt_detach(&lua->interrupt);
    if (lua->state != NULL) {
        hs_lua_memory_release(&lua->memory, lua->state);
        lua_close(lua->state);
    }
    if (lua->loop != NULL)
        hs_lua_topics_leave(&lua->topics);
    hs_lua_loop_free(lua->loop);
    hs_lua_topics_free(&lua->topics);
    hs_lua_websockets_free(&lua->websockets);
    hs_lua_wakes_free(&lua->api.wakes);
    hs_lua_crypto_free(&lua->crypto);
    hs_lua_ngx_free(&lua->ngx);
    hs_lua_metrics_free(&lua->metrics);
    hs_lua_shared_free(&lua->shared);
    hs_lua_sites_free(&lua->sites);
    hs_free(lua);
}

static void leave(void *self)
{
    hs_lua_t *lua = self;
    hs_lua_interrupt_detach(&lua->interrupt);
    hs_lua_sockets_leave(&lua->sockets);
    hs_lua_websockets_leave(&lua->websockets);
    hs_lua_topics_leave(&lua->topics);
}

hs_handler_t hs_lua_as_handler(hs_lua_t *lua)
{
    return (hs_handler_t){
        .run = run_lua,
        .self = lua,
        .interrupt = interrupt_lua,
        .attach = attach,
        .run_tasks = run_tasks,
        .due_ms = due_ms,
        .held_by = held_by,
        .retire = retire,
        .drain = drain,
        .is_ending = is_ending,
        .stop = stop,
        .streams_content = streams_content,
        .leave = leave,
        .call = run_call,
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
