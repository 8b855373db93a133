/*
 * The interface between C and Lua. The declarations below are compiled as C and, from the same
 * text, declared to LuaJIT's FFI (lua/moonring/abi.lua), so the two cannot diverge.
 *
 * Raise HS_LUA_ABI_VERSION with every change: abi.lua refuses to load against another number.
 */
#pragma once

#include "base/hs_base.h"

#define HS_LUA_ABI_VERSION 14

/* Only plain declarations inside: no preprocessor, no attributes, under 4095 characters. */
#define HS_LUA_ABI(...)                                                                            \
    __VA_ARGS__                                                                                    \
    __attribute__((unused)) static const char hs_lua_abi_text[] = #__VA_ARGS__;

/* clang-format off */
HS_LUA_ABI(
typedef struct hs_view {
    uint64_t handle;
    const char *url;
    uint32_t url_len;
    uint32_t method;
    uint32_t result_len;
    uint32_t in_worker;
    uint32_t wake;
    uint32_t content;
} hs_view_t;

typedef struct hs_lua_request hs_lua_request_t;
typedef struct hs_lua_response hs_lua_response_t;

typedef struct hs_lua_fields {
    hs_lua_request_t *request;
    uint32_t next;
} hs_lua_fields_t;

typedef struct hs_lua_wakes {
    uint32_t *ids;
    uint32_t count;
    uint32_t capacity;
} hs_lua_wakes_t;

typedef struct hs_lua_call {
    const char *data;
    size_t len;
    int failed;
} hs_lua_call_t;

typedef struct hs_lua_api hs_lua_api_t;

struct hs_lua_api {
    uint32_t version;
    uint32_t view_size;
    uint32_t generation_bits;
    uint32_t alignment_bits;
    uint32_t wants_worker;
    uint32_t has_task;
    uint32_t runs_call;
    uint32_t is_attached;
    uint32_t streams_content;
    uint32_t ready_count;
    uint32_t yielded_count;
    uint32_t held_count;
    uint32_t last_count;
    int32_t reactor_index;
    double due_s;
    const char *call_data;
    size_t call_len;
    hs_lua_request_t *request;
    hs_lua_response_t *response;
    void *log;
    void *pins;
    void *lua;
    struct hs_lua_calls *calls;
    hs_lua_wakes_t wakes;
    double (*now)(void);
    void (*task_begin)(void *lua, hs_view_t *view);
    void (*task_pause)(void *lua);
    void (*task_failed)(void *lua, hs_view_t *view, int level, const char *text, size_t len);
    void (*request_end)(hs_view_t *view, int failed);
    void *(*call_begin)(struct hs_lua_calls *calls, const char *data, size_t len, uint32_t id);
    bool (*call_result)(void *call, hs_lua_call_t *result);
    void (*call_end)(struct hs_lua_calls *calls, void *call);
    void (*call_respond)(void *lua, int failed, const char *data, size_t len);
    int (*request_aborted)(hs_view_t *view);
    int (*request_draining)(hs_view_t *view);
    const char *(*request_take)(hs_view_t *view, uint32_t most);
    int (*request_collect)(hs_view_t *view);
    const char *(*method_name)(uint32_t method);
    const char *(*request_path)(hs_view_t *view);
    const char *(*request_query)(hs_view_t *view);
    const char *(*request_header)(hs_view_t *view, const char *name, uint32_t name_len,
                                  uint32_t skip);
    const char *(*request_field_name)(hs_view_t *view, uint32_t number);
    const char *(*request_field_value)(hs_view_t *view, uint32_t number);
    const char *(*request_body)(hs_view_t *view);
    const char *(*request_version)(hs_view_t *view);
    const char *(*request_id)(hs_view_t *view);
    const char *(*request_peer)(hs_view_t *view);
    const char *(*request_trusted_peer)(hs_view_t *view);
    const char *(*request_tls)(hs_view_t *view, uint32_t part);
    const char *(*request_trace)(hs_view_t *view, const char *traceparent);
    int (*response_reset)(hs_view_t *view);
    int (*response_compress)(hs_view_t *view, int compress);
    int (*response_status)(hs_view_t *view, int status);
    int (*response_get_status)(hs_view_t *view);
    int (*response_header)(hs_view_t *view, const char *name, size_t name_len, const char *value,
                           size_t value_len);
    const char *(*response_get)(hs_view_t *view, const char *name, size_t name_len);
    int (*response_body)(hs_view_t *view, const char *data, size_t len);
    int (*response_pin)(hs_view_t *view, void *pins, const char *data, size_t len);
    int (*response_send)(hs_view_t *view);
    int (*response_length)(hs_view_t *view, double length);
    int (*response_write)(hs_view_t *view, const char *data, size_t len);
    int (*response_flush)(hs_view_t *view);
    int (*response_is_full)(hs_view_t *view);
    void (*response_lasts)(hs_view_t *view);
    int (*log_enabled)(void *log, int level);
    void (*log_write)(const hs_lua_api_t *api, int level, const char *fields, size_t fields_len,
                      const char *text, size_t len);
};
)
/* clang-format on */

/*
 * hs_view_t: the part of a job that Lua reads without a call. It is the job's first member.
 *   handle       of the request that the job carries now
 *   url          request target, NUL-terminated; url_len bytes
 *   method       llhttp's method number
 *   result_len   length of the string that the last call on this view returned
 *   in_worker    1 while a worker runs the handler
 *   wake         written by Lua: the first of the ids that events of this request wake
 *                (scheduler.lua); 0: none
 *   content      HS_LUA_CONTENT_…: where the request's content is
 *
 * hs_lua_fields_t: where an iteration over the fields of a request is; Lua makes and moves it.
 * hs_lua_api_t: functions are called through this table because node opens addons without
 * RTLD_GLOBAL, which hides their symbols from ffi.C. `request` and `response` are the handle of
 * the request being handled.
 *
 * Written by Lua and read by C between two entries into Lua:
 *   wants_worker   1: the handler returned 'worker'; results of the call would have to be taken
 *                  from the stack for each request
 *   has_task       1: the request being handled has a task, so that its end is to be told
 *   ready_count    tasks that can go on
 *   yielded_count  tasks that have yielded without waiting for anything
 *   held_count     suspended requests, and tasks that belong to none: the state is needed
 *   streams_content   1: the handler runs before a request's content has arrived
 *   last_count     those of the tasks that run what is periodic for the last time
 *   due_s          when the first timer ends, monotonic; 0: there is none
 * call_begin gives what is run on a worker, NULL if none can take it; call_result is 0 while it
 * runs; call_end forgets it. call_respond ends what runs on this worker, which clears runs_call.
 *
 * Written by C: `is_attached`, 1 on a loop's thread; `wakes`, see exec/hs_lua_wakes.h.
 * response_pin is response_body for a string that is not copied: see exec/hs_lua_pins.h.
 * log_write names the request that is handled, `request`, in the record; `fields` as
 * hs_log_write_fields takes them. response_get is the value of the first field of the name, NULL
 * where none was added. request_trace: hs_job_take_trace; with NULL what was taken, NULL if nothing
 * was. request_draining: whether its reactor drains. response_lasts: before the first piece of a
 * response that may take for ever.
 * request_header passes over `skip` fields of the name. Functions return what their namesakes in
 * httpserver.h return; request_field_name and _value give NULL where there is no field of this
 * number, from 0.
 */

/*
 * A handle names one request: the address of its job, which is a multiple of HS_CACHE_LINE and
 * below 2^48, shifted to leave 22 bits for the generation, the number of the request among those of
 * the job. Lua's request and response objects are just this value, as pointers to nonexistent
 * structs: LuaJIT passes them in registers, and a request that stays in compiled code allocates no
 * object. An object of another generation is invalid; it would be mistaken for the current one only
 * after exactly 2^22 further requests, or a multiple.
 */
#define HS_HANDLE_GENERATION_BITS 22
#define HS_HANDLE_ALIGNMENT_BITS 6
#define HS_HANDLE_GENERATIONS (UINT64_C(1) << HS_HANDLE_GENERATION_BITS)

_Static_assert(HS_CACHE_LINE == 1 << HS_HANDLE_ALIGNMENT_BITS, "what handles count on");
_Static_assert(sizeof(void *) == sizeof(uint64_t), "handles are as wide as pointers");

/* Whether an object at this address can have handles. */
static inline bool hs_handle_fits(const void *address)
{
    return (uintptr_t)address >> 48 == 0 && (uintptr_t)address % HS_CACHE_LINE == 0;
}

/* The handle of the first request. */
static inline uint64_t hs_handle_first(const void *address)
{
    return (uint64_t)(uintptr_t)address << (HS_HANDLE_GENERATION_BITS - HS_HANDLE_ALIGNMENT_BITS);
}

/* The address in a handle. */
static inline void *hs_handle_address(uint64_t handle)
{
    uint64_t number = handle >> HS_HANDLE_GENERATION_BITS << HS_HANDLE_ALIGNMENT_BITS;
    return (void *)(uintptr_t)number;
}

/* The handle of the request after that of `handle`. */
static inline uint64_t hs_handle_next(uint64_t handle)
{
    uint64_t generation = (handle + 1) % HS_HANDLE_GENERATIONS;
    return handle / HS_HANDLE_GENERATIONS * HS_HANDLE_GENERATIONS + generation;
}
