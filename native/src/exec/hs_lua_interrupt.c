#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif

#include "exec/hs_lua_interrupt.h"

#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <signal.h>

#include "base/hs_alloc.h"
#include "exec/hs_lua.h"

#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Ignored by default, and used by no program that we know of. */
#ifdef SIGRTMIN
#define INTERRUPT_SIGNAL (SIGRTMIN + 6)
#else
#define INTERRUPT_SIGNAL SIGURG
#endif

/* Instructions after which the runtime is interrupted like a handler: about half a second. */
#define SPARED_MAX (4u * 1024 * 1024)

/* A thread that runs Lua states. Never freed, but reused when its thread has no state any more,
 * since others may still access it. */
struct hs_lua_thread {
    hs_lua_thread_t *next; /* in the list of all; read-only once visible */
    /* Written by the thread that takes it, read by signal handlers and interrupting threads. */
    _Atomic bool is_used;       /* compare-and-swap; acquire, release */
    _Atomic(pthread_t) thread;  /* relaxed: written before is_used, or by its own thread */
    _Atomic long number;        /* the system's; relaxed, as `thread` */
    hs_lua_interrupt_t *states; /* owner: its thread, and its handler of the signal */
};

/* Pushed with release, read with acquire; nothing is ever taken out. */
static _Atomic(hs_lua_thread_t *) threads;

/* ---- The hook, between two instructions of the interpreter. ---- */

static uint32_t count_of(const hs_lua_interrupt_t *interrupt, uint64_t doomed)
{
    if (interrupt->count != NULL)
        return atomic_load_explicit(interrupt->count, memory_order_relaxed);
    /* On a worker everything that runs for the request must end. */
    if (doomed != HS_LUA_DOOMED_TASK)
        return 0;
    return atomic_load_explicit(&interrupt->task_count, memory_order_relaxed);
}

static bool runs_doomed(const hs_lua_interrupt_t *interrupt)
{
    uint64_t doomed = atomic_load_explicit(&interrupt->doomed, memory_order_acquire);
    uint64_t request = (uintptr_t)interrupt->api->request;
    return doomed != 0 && doomed == (request != 0 ? request : HS_LUA_DOOMED_TASK) &&
           count_of(interrupt, doomed) ==
               atomic_load_explicit(&interrupt->doomed_count, memory_order_relaxed);
}

static bool is_own(const hs_lua_interrupt_t *interrupt, lua_State *state, lua_Debug *at)
{
    if (lua_getinfo(state, "S", at) == 0)
        return true;
    size_t len = strlen(interrupt->own);
    return *at->what == 'C' || strncmp(at->source, interrupt->own, len) == 0;
}

/* Whether an error at `at`, where the coroutine is, leaves the runtime consistent. */
static bool may_raise(hs_lua_interrupt_t *interrupt, lua_State *state, lua_Debug *at)
{
    lua_Debug below;
    if (state == interrupt->state)
        return false;
    if (!is_own(interrupt, state, at))
        return true;
    /* Below a coroutine's first function there is only its end. */
    if (lua_getstack(state, 1, &below) == 0)
        return true;
    return ++interrupt->spared > SPARED_MAX;
}

/* Pushes where the handler is: "app.lua:3: ", or nothing. */
static void push_place(const hs_lua_interrupt_t *interrupt, lua_State *state)
{
    lua_Debug at;
    for (int level = 0; lua_getstack(state, level, &at) != 0; level++) {
        if (is_own(interrupt, state, &at))
            continue;
        lua_getinfo(state, "l", &at);
        lua_pushfstring(state, "%s:%d: ", at.short_src, at.currentline);
        return;
    }
    lua_pushliteral(state, "");
}

static hs_lua_interrupt_t *interrupt_of(lua_State *state)
{
    lua_getfield(state, LUA_REGISTRYINDEX, "moonring.interrupt");
    hs_lua_interrupt_t *interrupt = lua_touserdata(state, -1);
    lua_pop(state, 1);
    return interrupt;
}

static void on_instruction(lua_State *state, lua_Debug *at);

/* Set again first, because a signal that arrived while LuaJIT changed its dispatch table may have
 * left it inconsistent. */
static void remove_hook(lua_State *state)
{
    (void)lua_sethook(state, on_instruction, LUA_MASKCOUNT, 1);
    (void)lua_sethook(state, NULL, 0, 0);
}

static void on_instruction(lua_State *state, lua_Debug *at)
{
    hs_lua_interrupt_t *interrupt = interrupt_of(state);
    if (!runs_doomed(interrupt)) {
        interrupt->spared = 0;
        remove_hook(state);
        return;
    }
    if (!may_raise(interrupt, state, at))
        return;
    lua_getfield(state, LUA_REGISTRYINDEX, "moonring.interrupted");
    push_place(interrupt, state);
    lua_call(state, 1, 1);
    lua_error(state);
}

/* ---- The signal. ---- */

/* Async-signal-safe. lua_sethook is what LuaJIT allows there: its own program does the same. */
static void on_signal(int number)
{
    (void)number;
    int saved_errno = errno;
    pthread_t self = pthread_self();
    hs_lua_thread_t *thread = atomic_load_explicit(&threads, memory_order_acquire);
    for (; thread != NULL; thread = thread->next) {
        if (!atomic_load_explicit(&thread->is_used, memory_order_acquire) ||
            !pthread_equal(atomic_load_explicit(&thread->thread, memory_order_relaxed), self))
            continue;
        for (hs_lua_interrupt_t *each = thread->states; each != NULL; each = each->next)
            if (runs_doomed(each))
                (void)lua_sethook(each->state, on_instruction, LUA_MASKCOUNT, 1);
    }
    errno = saved_errno;
}

static void handle_signal(void)
{
    /* Without SA_RESTART: blocking calls must end too. */
    struct sigaction action = { .sa_handler = on_signal };
    sigfillset(&action.sa_mask);
    (void)sigaction(INTERRUPT_SIGNAL, &action, NULL);
}

static long own_number(void)
{
#ifdef __linux__
    return syscall(SYS_gettid);
#else
    return 0;
#endif
}

static void send_signal(const hs_lua_thread_t *thread)
{
#ifdef __linux__
    /* By number: nothing happens if the thread has ended. */
    long number = atomic_load_explicit(&thread->number, memory_order_relaxed);
    (void)syscall(SYS_tgkill, getpid(), number, INTERRUPT_SIGNAL);
#else
    (void)pthread_kill(atomic_load_explicit(&thread->thread, memory_order_relaxed),
                       INTERRUPT_SIGNAL);
#endif
}

/* ---- Threads. ---- */

static hs_lua_thread_t *find_thread(pthread_t self)
{
    hs_lua_thread_t *thread = atomic_load_explicit(&threads, memory_order_acquire);
    for (; thread != NULL; thread = thread->next)
        if (atomic_load_explicit(&thread->is_used, memory_order_acquire) &&
            pthread_equal(atomic_load_explicit(&thread->thread, memory_order_relaxed), self))
            return thread;
    return NULL;
}

static hs_lua_thread_t *take_unused(void)
{
    hs_lua_thread_t *thread = atomic_load_explicit(&threads, memory_order_acquire);
    for (; thread != NULL; thread = thread->next) {
        bool is_used = false;
        if (atomic_compare_exchange_strong_explicit(&thread->is_used, &is_used, true,
                                                    memory_order_acq_rel, memory_order_relaxed))
            return thread;
    }
    return NULL;
}

static hs_lua_thread_t *make_thread(void)
{
    hs_lua_thread_t *thread = hs_alloc_zeroed(1, sizeof(*thread));
    if (thread == NULL)
        return NULL;
    atomic_store_explicit(&thread->is_used, true, memory_order_relaxed);
    hs_lua_thread_t *first = atomic_load_explicit(&threads, memory_order_relaxed);
    do
        thread->next = first;
    while (!atomic_compare_exchange_weak_explicit(&threads, &first, thread, memory_order_release,
                                                  memory_order_relaxed));
    return thread;
}

/* NULL: out of memory. */
static hs_lua_thread_t *own_thread(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_t self = pthread_self();
    hs_lua_thread_t *thread = find_thread(self);
    if (thread != NULL)
        return thread;
    (void)pthread_once(&once, handle_signal);
    thread = take_unused();
    if (thread == NULL)
        thread = make_thread();
    if (thread == NULL)
        return NULL;
    atomic_store_explicit(&thread->number, own_number(), memory_order_relaxed);
    atomic_store_explicit(&thread->thread, self, memory_order_relaxed);
    sigset_t interrupts;
    sigemptyset(&interrupts);
    sigaddset(&interrupts, INTERRUPT_SIGNAL);
    (void)pthread_sigmask(SIG_UNBLOCK, &interrupts, NULL);
    return thread;
}

void hs_lua_interrupt_attach(hs_lua_interrupt_t *interrupt, const _Atomic uint32_t *count)
{
    hs_lua_thread_t *thread = own_thread();
    if (thread == NULL || atomic_load_explicit(&interrupt->thread, memory_order_relaxed) != NULL)
        return; /* out of memory: its handlers cannot be interrupted */
    interrupt->count = count;
    interrupt->next = thread->states;
    atomic_signal_fence(memory_order_release);
    thread->states = interrupt;
    atomic_store_explicit(&interrupt->thread, thread, memory_order_release);
}

void hs_lua_interrupt_detach(hs_lua_interrupt_t *interrupt)
{
    hs_lua_thread_t *thread =
        atomic_exchange_explicit(&interrupt->thread, NULL, memory_order_acq_rel);
    if (thread == NULL)
        return;
    hs_lua_interrupt_t **link = &thread->states;
    while (*link != interrupt)
        link = &(*link)->next;
    *link = interrupt->next;
    atomic_signal_fence(memory_order_release);
    if (thread->states == NULL) {
        atomic_store_explicit(&thread->thread, (pthread_t)0, memory_order_relaxed);
        atomic_store_explicit(&thread->is_used, false, memory_order_release);
    }
}

void hs_lua_interrupt(hs_lua_interrupt_t *interrupt, const hs_job_t *job, uint32_t count)
{
    const hs_lua_thread_t *thread = atomic_load_explicit(&interrupt->thread, memory_order_acquire);
    if (thread == NULL)
        return;
    if (interrupt->count == NULL)
        count =
            job != NULL ? 0 : atomic_load_explicit(&interrupt->task_count, memory_order_relaxed);
    atomic_store_explicit(&interrupt->doomed_count, count, memory_order_relaxed);
    atomic_store_explicit(&interrupt->doomed, job != NULL ? job->view.handle : HS_LUA_DOOMED_TASK,
                          memory_order_release);
    send_signal(thread);
}

void hs_lua_interrupt_init(hs_lua_interrupt_t *interrupt, lua_State *state, const hs_lua_api_t *api)
{
    lua_Debug info;
    interrupt->state = state;
    interrupt->api = api;
    lua_getfield(state, -1, "interrupted");
    lua_pushvalue(state, -1);
    lua_setfield(state, LUA_REGISTRYINDEX, "moonring.interrupted");
    (void)lua_getinfo(state, ">S", &info);
    snprintf(interrupt->own, sizeof(interrupt->own), "%s", info.source);
    char *name = strstr(interrupt->own, "runtime");
    for (char *next = name; next != NULL; next = strstr(next + 1, "runtime"))
        name = next;
    if (name != NULL)
        *name = '\0';
    lua_pushlightuserdata(state, interrupt);
    lua_setfield(state, LUA_REGISTRYINDEX, "moonring.interrupt");
}

/* ---- Whether compiled loops check hooks. ---- */

#define PROBE_STEPS 1000
#define PROBE_HOOK 500

/* owner: the thread in `probe`, of which there is one */
static struct {
    lua_State *state;
    int step;
    int seen; /* the step at which the hook was called */
    bool interrupts;
} probed;

static void on_probe(lua_State *state, lua_Debug *at)
{
    (void)at;
    (void)lua_sethook(state, NULL, 0, 0);
    probed.seen = probed.step;
}

/* Called from compiled code, as a signal handler might be. */
static void probe_step(int step)
{
    probed.step = step;
    if (step == PROBE_HOOK)
        (void)lua_sethook(probed.state, on_probe, LUA_MASKCOUNT, 1);
}

static const char PROBE[] =
    "local step, last = require 'ffi'.cast('void (*)(int)', (...)), select(2, ...)\n"
    "for i = 1, last do step(i) end\n"
    "return not jit.status() or require 'jit.util'.traceinfo(1) ~= nil\n";

/* Sets the hook in the middle of a loop that is compiled by then: is it called before the loop
 * ends? */
static void probe(void)
{
    lua_State *state = luaL_newstate();
    if (state == NULL)
        return;
    luaL_openlibs(state);
    probed.state = state;
    probed.seen = PROBE_STEPS;
    if (luaL_loadbuffer(state, PROBE, sizeof(PROBE) - 1, "=(probe)") == 0) {
        lua_pushlightuserdata(state, (void *)(uintptr_t)probe_step);
        lua_pushinteger(state, PROBE_STEPS);
        probed.interrupts = lua_pcall(state, 2, 1, 0) == 0 && lua_toboolean(state, -1) != 0 &&
                            probed.seen < PROBE_STEPS;
    }
    lua_close(state);
}

bool hs_lua_interrupts_compiled(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, probe);
    return probed.interrupts;
}
