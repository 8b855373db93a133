/*
 * Interrupts a Lua state from another thread: a looping handler is ended by an error raised in it.
 *
 * Another thread records what must end and sends a signal to the state's thread. The signal handler
 * sets the state's hook there, so no other thread ever touches the state. The hook raises before
 * each instruction of the target, as often as needed: a pcall in a loop does not swallow it. It
 * does not raise in modules of the runtime, whose tables would be left inconsistent, unless they
 * compute for long.
 *
 * Compiled code checks hooks only if LuaJIT was built with LUAJIT_ENABLE_CHECKHOOK. Otherwise it
 * continues until it leaves its loop, or the garbage collector exits the trace.
 */
#pragma once

#include <lua.h>

#include "exec/hs_job.h"
#include "exec/hs_lua_abi.h"

typedef struct hs_lua_thread hs_lua_thread_t;

/* owner: the state's thread, except the atomics */
typedef struct hs_lua_interrupt {
    lua_State *state; /* the main coroutine, in which the runtime itself runs */
    const hs_lua_api_t *api;
    char own[256];                 /* the prefix of the runtime's chunk names */
    uint32_t spared;               /* instructions of the runtime that the hook let pass */
    const _Atomic uint32_t *count; /* of handlers and tasks started by the loop's thread; NULL: not
                                      on one */
    struct hs_lua_interrupt *next; /* among those of the thread */

    /* The thread, whose memory is never freed; NULL: none runs the state. Written by it, read by
     * interrupting threads; release and acquire. */
    _Atomic(hs_lua_thread_t *) thread;
    /* The target: the handle of a request, or HS_LUA_DOOMED_TASK; and the value of `count`, or the
     * number of the task, at that time. Written by another thread before the signal, read by the
     * signal handler and the hook; `doomed` with release and acquire. A late interrupt finds
     * another value and does nothing. */
    _Atomic uint64_t doomed;
    _Atomic uint32_t doomed_count;
    /* Tasks resumed so far. Written by the state's thread, read by interrupting threads; relaxed.
     */
    _Atomic uint32_t task_count;
} hs_lua_interrupt_t;

/* Not a handle: as one it would be generation 0 of a job at exactly 2^47. */
#define HS_LUA_DOOMED_TASK (UINT64_C(1) << 63)

/* `state` has the module moonring.runtime on top of its stack. May raise. `api` stays where it is.
 */
void hs_lua_interrupt_init(hs_lua_interrupt_t *interrupt, lua_State *state,
                           const hs_lua_api_t *api);

/* The calling thread runs the state from now on. `count`: from hs_busy_t; NULL: on a worker. */
void hs_lua_interrupt_attach(hs_lua_interrupt_t *interrupt, const _Atomic uint32_t *count);

/* It no longer does: called on that thread, or after it ended. Calling twice is harmless. */
void hs_lua_interrupt_detach(hs_lua_interrupt_t *interrupt);

/* A task of the state is resumed. */
static inline void hs_lua_interrupt_count_task(hs_lua_interrupt_t *interrupt)
{
    uint32_t count = atomic_load_explicit(&interrupt->task_count, memory_order_relaxed);
    atomic_store_explicit(&interrupt->task_count, count + 1, memory_order_relaxed);
}

/*
 * Any thread, while the state cannot be freed: ends the handler of `job`, or with NULL the task
 * without a request, if the state is running it, and on a loop's thread only if its count is still
 * `count`.
 */
void hs_lua_interrupt(hs_lua_interrupt_t *interrupt, const hs_job_t *job, uint32_t count);
