#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif

#include "server/hs_keeper.h"

#ifdef __linux__

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "data/hs_kept.h"
#include "httpserver_supervise.h"
#include "os/hs_clock.h"
#include "os/hs_ev.h"
#include "os/hs_pass.h"
#include "os/hs_region.h"
#include "os/hs_sock.h"
#include "server/hs_io.h"
#include "server/hs_keeper_process.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef __WALL
#define __WALL 0x40000000
#endif

/* Descriptors above this are not recorded: their connections end with the process. */
#define DESCRIPTORS_MAX (1024 * 1024)
/* The maximum number of buffers of one size per connection. */
#define BUFFERS_PER_CONNECTION 2
/* A keeper that ends is replaced, but not indefinitely if each one exits at once. */
#define QUICK_END_MS 1000
#define QUICK_ENDS_MAX 5

/* owner: the thread that makes the server, then the I/O thread */
struct hs_keeper {
    hs_ev_io_t watcher; /* first: of the process */
    hs_keeper_config_t config;
    hs_life_t *life;
    hs_ledger_t *ledger;
    _Atomic int *life_word;
    hs_conn_env_t *env;
    pid_t pid; /* 0: there is no process */
    int vmstat_fd;
    uint16_t ports[HS_KEEPER_PORTS];
    uint64_t started_ms;
    unsigned quick_ends; /* in a row */
    bool is_held;        /* the mutex, by the I/O thread */
};

/* The memory lives as long as this process, so there is only one. */
static hs_region_t memory;
static hs_keeper_t *the_keeper;

static size_t round_up(size_t size, size_t to)
{
    return (size + to - 1) / to * to;
}

static uint32_t descriptor_cap(void)
{
    return (uint32_t)hs_min(hs_pass_descriptor_limit(), DESCRIPTORS_MAX);
}

static size_t ledger_size(uint32_t descriptors, size_t page)
{
    return round_up(sizeof(hs_life_t), HS_CACHE_LINE) +
           round_up(sizeof(hs_ledger_t) + descriptors * sizeof(uintptr_t), page);
}

static int open_memory(const hs_keeper_config_t *config, hs_errinfo_t *error)
{
    if (memory.memory != NULL)
        return HS_OK;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint32_t buffers = BUFFERS_PER_CONNECTION * config->max_connections;
    size_t first = round_up(ledger_size(descriptor_cap(), page), page);
    int result = hs_region_init(&memory, first + hs_kept_size(buffers, page),
                                HS_REGION_SHARED | HS_REGION_NO_DUMP, error);
    if (result != HS_OK)
        return result;
    if (hs_kept_open(memory.memory + first, buffers, page))
        return HS_OK;
    hs_region_free(&memory);
    return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory");
}

static int open_life(hs_life_t *life)
{
    pthread_mutexattr_t attributes;
    int failed = pthread_mutexattr_init(&attributes);
    if (failed != 0)
        return failed;
    (void)pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    failed = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (failed == 0)
        failed = pthread_mutex_init(&life->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return failed;
}

hs_keeper_t *hs_keeper_open(const hs_keeper_config_t *config)
{
    hs_errinfo_t error = { 0 };
    if (the_keeper != NULL)
        return NULL;
    hs_keeper_t *keeper = hs_alloc_zeroed(1, sizeof(*keeper));
    int result = keeper == NULL ? hs_errinfo_set(&error, HS_ERR_NOMEM, 0, "out of memory")
                                : open_memory(config, &error);
    if (result == HS_OK) {
        keeper->config = *config;
        keeper->vmstat_fd = -1;
        keeper->life = (hs_life_t *)(void *)memory.memory;
        keeper->ledger =
            (hs_ledger_t *)(void *)(memory.memory + round_up(sizeof(hs_life_t), HS_CACHE_LINE));
        uint32_t descriptors = descriptor_cap();
        memset(memory.memory, 0, ledger_size(descriptors, 1));
        keeper->ledger->fd_cap = descriptors;
        int failed = open_life(keeper->life);
        if (failed != 0)
            result = hs_errinfo_set(&error, HS_ERR_SYSTEM, failed, "%s", strerror(failed));
    }
    if (result == HS_OK) {
        the_keeper = keeper;
        return keeper;
    }
    hs_log_write(config->log, HS_LOG_WARN,
                 "connections will not survive a crash of this reactor: %s", error.text);
    hs_free(keeper);
    return NULL;
}

hs_ledger_t *hs_keeper_ledger(hs_keeper_t *keeper)
{
    return keeper->ledger;
}

/* The futex word of a mutex: the one that holds the id of the owning thread. */
static _Atomic int *find_word(hs_life_t *life, pid_t thread)
{
    _Atomic int *words = (_Atomic int *)(void *)&life->mutex;
    for (size_t i = 0; i < sizeof(life->mutex) / sizeof(int); i++) {
        /* glibc stores the owner in a second word, after the futex. */
        if ((atomic_load_explicit(&words[i], memory_order_relaxed) & 0x3fffffff) == thread)
            return &words[i];
    }
    return NULL;
}

static bool hold_life(hs_keeper_t *keeper)
{
    int failed = pthread_mutex_lock(&keeper->life->mutex);
    if (failed == EOWNERDEAD)
        failed = pthread_mutex_consistent(&keeper->life->mutex);
    if (failed != 0)
        return false;
    keeper->is_held = true;
    pid_t thread = (pid_t)syscall(SYS_gettid);
    atomic_store_explicit(&keeper->life->io_thread, thread, memory_order_relaxed);
    keeper->life_word = find_word(keeper->life, thread);
    return keeper->life_word != NULL;
}

/* ---- A fault: the keeper starts before the core is written, which may take long. */

#ifndef HS_HAS_ASAN
#define FAULTS 5
#define PARK_SIGNAL (SIGRTMIN + 7)
/* How long a faulting thread waits for the I/O thread to stop. */
#define PARK_LOOKS 500
#define PARK_LOOK_NS (200 * 1000)
#define FAULT_STACK_BYTES (64 * 1024)

static const int faults[FAULTS] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
static struct sigaction earlier[FAULTS]; /* read-only while the handlers are there */
static bool has_handlers;

/* As the kernel does at the end of the thread. Async-signal-safe, as all below. */
static void mark_end(const hs_keeper_t *keeper)
{
    (void)atomic_fetch_or_explicit(keeper->life_word, (int)FUTEX_OWNER_DIED, memory_order_release);
    (void)syscall(SYS_futex, keeper->life_word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void on_park(int number)
{
    (void)number;
    if (the_keeper != NULL)
        atomic_store_explicit(&the_keeper->life->is_parked, 1, memory_order_release);
    for (;;)
        pause();
}

static void park(const hs_keeper_t *keeper, pid_t io_thread)
{
    const struct timespec look = { .tv_nsec = PARK_LOOK_NS };
    (void)syscall(SYS_tgkill, getpid(), io_thread, PARK_SIGNAL);
    for (int i = 0; i < PARK_LOOKS; i++) {
        if (atomic_load_explicit(&keeper->life->is_parked, memory_order_acquire) != 0) {
            mark_end(keeper);
            return;
        }
        (void)nanosleep(&look, NULL);
    }
}

/*
 * The fault then recurs, and the core shows the original state: without a handler, except on the
 * JavaScript thread, where Node's own handler may resolve it. That one would raise the signal again
 * from inside the handler.
 */
static void on_fault(int number, siginfo_t *info, void *context)
{
    static const struct sigaction by_default = { .sa_handler = SIG_DFL };
    (void)context;
    int saved_errno = errno;
    const hs_keeper_t *keeper = the_keeper;
    pid_t thread = (pid_t)syscall(SYS_gettid);
    pid_t io_thread = 0;
    if (keeper != NULL && keeper->is_held)
        io_thread = atomic_load_explicit(&keeper->life->io_thread, memory_order_relaxed);
    if (io_thread == thread)
        mark_end(keeper);
    else if (io_thread != 0)
        park(keeper, io_thread);
    for (int i = 0; i < FAULTS; i++)
        if (faults[i] == number)
            (void)sigaction(number, thread == getpid() ? &earlier[i] : &by_default, NULL);
    if (info->si_code <= 0) /* it was sent: nothing makes it come again */
        (void)syscall(SYS_tgkill, getpid(), thread, number);
    errno = saved_errno;
}

static void watch_faults(void)
{
    stack_t stack = { .ss_size = FAULT_STACK_BYTES };
    stack.ss_sp =
        mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp != MAP_FAILED)
        (void)sigaltstack(&stack, NULL); /* for a stack that has overflowed */
    if (has_handlers)
        return;
    struct sigaction stand = { .sa_handler = on_park, .sa_flags = SA_ONSTACK };
    sigfillset(&stand.sa_mask);
    (void)sigaction(PARK_SIGNAL, &stand, NULL);
    struct sigaction fault = { .sa_sigaction = on_fault,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    for (int i = 0; i < FAULTS; i++)
        (void)sigaction(faults[i], &fault, &earlier[i]);
    has_handlers = true;
}
#else
/* AddressSanitizer reports faults itself. */
static void watch_faults(void)
{
}
#endif

static void on_process_end(hs_ev_t *ev, hs_ev_io_t *watcher, unsigned events);

/*
 * Cloned with a shared descriptor table, but not the memory. No signal reports its end, so that a
 * handler that waits for any child does not reap it.
 */
static int start_process(hs_keeper_t *keeper)
{
    hs_keeper_task_t task = {
        .life_word = keeper->life_word,
        .inbox_fd = keeper->config.inbox_fd,
        .log_fd = keeper->config.log_json_fd,
        .vmstat_fd = keeper->vmstat_fd,
        .log_level =
            (hs_log_level_t)atomic_load_explicit(&keeper->config.log->level, memory_order_relaxed),
        .reactor_index = keeper->config.reactor_index,
        .reactor_pid = (uint32_t)getpid(),
    };
    memcpy(task.ports, keeper->ports, sizeof(keeper->ports));
    hs_rescue_view(keeper->env, &task.view);
    task.view.only_idle = keeper->config.only_idle;
    int pid_fd = -1;
    long pid = syscall(SYS_clone, CLONE_FILES | CLONE_PIDFD, NULL, &pid_fd, NULL, NULL);
    if (pid == 0)
        hs_keeper_process(&task);
    if (pid < 0)
        return -errno;
    keeper->pid = (pid_t)pid;
    keeper->started_ms = hs_clock_monotonic_ms();
    int result = pid_fd < 0 ? -ENOSYS : hs_sock_set_nonblock(pid_fd);
    if (result == 0)
        result = hs_ev_io_start(keeper->env->loop.ev, &keeper->watcher, pid_fd, HS_EV_READ,
                                on_process_end);
    if (result < 0 && pid_fd >= 0)
        close(pid_fd);
    return result < 0 && pid_fd < 0 ? result : 0; /* unwatched it does as well */
}

static void reap(hs_keeper_t *keeper)
{
    while (keeper->pid != 0 && waitpid(keeper->pid, NULL, __WALL) == -1 && errno == EINTR) {
    }
    keeper->pid = 0;
}

/* It was killed: another takes its place. */
static void on_process_end(hs_ev_t *ev, hs_ev_io_t *watcher, unsigned events)
{
    (void)events;
    hs_keeper_t *keeper = (hs_keeper_t *)(void *)watcher;
    hs_ev_io_close(ev, watcher, NULL);
    reap(keeper);
    bool is_quick = hs_clock_monotonic_ms() - keeper->started_ms < QUICK_END_MS;
    keeper->quick_ends = is_quick ? keeper->quick_ends + 1 : 0;
    int result = keeper->quick_ends < QUICK_ENDS_MAX ? start_process(keeper) : -EAGAIN;
    if (result == 0)
        hs_log_write(keeper->config.log, HS_LOG_WARN,
                     "the keeper of this reactor has exited: another one was started");
    else
        hs_log_write(keeper->config.log, HS_LOG_ERROR,
                     "the keeper of this reactor has exited: connections will not survive a crash: "
                     "%s",
                     result == -EAGAIN ? "each one exits at once" : strerror(-result));
}

void hs_keeper_begin(hs_keeper_t *keeper, hs_conn_env_t *env, const uint16_t ports[HS_KEEPER_PORTS])
{
    keeper->env = env;
    memcpy(keeper->ports, ports, sizeof(keeper->ports));
    keeper->vmstat_fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
    int result = hold_life(keeper) ? start_process(keeper) : -ENOTSUP;
    if (result == 0)
        watch_faults();
    else
        hs_log_write(keeper->config.log, HS_LOG_WARN,
                     "connections will not survive a crash of this reactor: %s", strerror(-result));
}

static void end_process(hs_keeper_t *keeper)
{
    if (keeper->pid == 0)
        return;
    hs_ev_io_close(keeper->env->loop.ev, &keeper->watcher, NULL);
    (void)kill(keeper->pid, SIGKILL);
    reap(keeper);
}

void hs_keeper_end(hs_keeper_t *keeper)
{
    end_process(keeper);
    if (keeper->vmstat_fd >= 0)
        close(keeper->vmstat_fd);
    keeper->vmstat_fd = -1;
    if (keeper->is_held)
        (void)pthread_mutex_unlock(&keeper->life->mutex);
    keeper->is_held = false;
}

static void release_pages(void *context, void *pages, size_t len)
{
    (void)context;
    hs_region_release(&memory, pages, len);
}

bool hs_keeper_trim(hs_keeper_t *keeper)
{
    (void)keeper;
    return hs_kept_trim(release_pages, NULL);
}

void hs_keeper_close(hs_keeper_t *keeper)
{
    if (keeper == NULL)
        return;
    (void)pthread_mutex_destroy(&keeper->life->mutex);
    the_keeper = NULL;
    hs_free(keeper);
}

/* Whether an exited process that was not reaped yet was a keeper. */
static bool was_keeper(pid_t pid)
{
    char path[32];
    char name[32] = "";
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = read(fd, name, sizeof(name) - 1);
    close(fd);
    return len > 0 && strncmp(name, HS_KEEPER_NAME "\n", sizeof(HS_KEEPER_NAME)) == 0;
}

void hs_reap_keepers(void)
{
    for (;;) {
        siginfo_t ended = { .si_pid = 0 };
        if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0 ||
            !was_keeper(ended.si_pid))
            return;
        (void)waitpid(ended.si_pid, NULL, WNOHANG);
    }
}

#else

void hs_reap_keepers(void)
{
}

hs_keeper_t *hs_keeper_open(const hs_keeper_config_t *config)
{
    hs_log_write(config->log, HS_LOG_DEBUG,
                 "connections do not survive a crash of this reactor: the system has no shared "
                 "table of descriptors");
    return NULL;
}

hs_ledger_t *hs_keeper_ledger(hs_keeper_t *keeper)
{
    (void)keeper;
    return NULL;
}

void hs_keeper_begin(hs_keeper_t *keeper, hs_conn_env_t *env, const uint16_t ports[HS_KEEPER_PORTS])
{
    (void)keeper;
    (void)env;
    (void)ports;
}

void hs_keeper_end(hs_keeper_t *keeper)
{
    (void)keeper;
}

bool hs_keeper_trim(hs_keeper_t *keeper)
{
    (void)keeper;
    return false;
}

void hs_keeper_close(hs_keeper_t *keeper)
{
    (void)keeper;
}

#endif
