#include "os/hs_thread.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/hs_alloc.h"
#include "httpserver.h"
#include "os/hs_affinity.h"

#ifdef __linux__
#include <sys/resource.h>
#include <sys/syscall.h>
#endif

/* The arguments of a new thread. Owner: the starter, then the new thread, which frees it. */
typedef struct thread_start {
    void *(*run)(void *argument);
    void *argument;
    hs_thread_kind_t kind;
    char name[16];
} thread_start_t;

static void name_thread(const char *name)
{
#ifdef __linux__
    pthread_setname_np(pthread_self(), name);
#elif defined(__APPLE__)
    pthread_setname_np(name);
#endif
}

#ifdef __linux__
/* The kernel's struct sched_attr in its first version; the C library has it only since 2.41. */
typedef struct thread_attr {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t slice_ns; /* since Linux 6.12; ignored before */
    uint64_t deadline_ns;
    uint64_t period_ns;
} thread_attr_t;

/* An I/O thread runs briefly and often, a worker for long: the scheduler runs a thread with a
 * shorter slice sooner. */
#define IO_SLICE_NS (100 * 1000)
#define WORK_SLICE_NS (4 * 1000 * 1000)
/* Enough that a worker that burns a core does not hold up the I/O thread (bench/mixed.mjs: with 5
 * quick requests beside slow ones took six times as long as alone, with 10 no longer). */
#define WORK_NICE 10
#endif

void hs_thread_become(hs_thread_kind_t kind)
{
#ifdef __linux__
    thread_attr_t attr = { 0 };
    if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) != 0)
        return;
    attr.size = sizeof(attr);
    attr.flags = 0;
    /* A deliberately chosen policy is kept. */
    if (attr.policy != SCHED_OTHER)
        return;
    attr.slice_ns = kind == HS_THREAD_WORK ? WORK_SLICE_NS : IO_SLICE_NS;
    if (kind == HS_THREAD_WORK) {
        attr.policy = SCHED_BATCH;
        attr.nice = attr.nice + WORK_NICE < 19 ? attr.nice + WORK_NICE : 19;
    }
    (void)syscall(SYS_sched_setattr, 0, &attr, 0);
#else
    (void)kind;
#endif
}

static _Thread_local bool is_own;

bool hs_thread_is_own(void)
{
    return is_own;
}

static void *begin_thread(void *argument)
{
    is_own = true;
    thread_start_t *start = argument;
    thread_start_t own = *start;
    hs_free(start);
    name_thread(own.name);
    /* A bound I/O thread starts its workers, which inherit the binding. */
    if (own.kind == HS_THREAD_WORK)
        hs_os_unpin();
    hs_thread_become(own.kind);
    return own.run(own.argument);
}

int hs_thread_start(pthread_t *thread, hs_thread_kind_t kind, const char *name,
                    void *(*run)(void *argument), void *argument, hs_errinfo_t *error)
{
    thread_start_t *start = hs_alloc(sizeof(*start));
    if (start == NULL)
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a thread");
    *start = (thread_start_t){ .run = run, .argument = argument, .kind = kind };
    snprintf(start->name, sizeof(start->name), "%s", name);
    pthread_attr_t attributes;
    int failed = pthread_attr_init(&attributes);
    if (failed == 0) {
        (void)pthread_attr_setstacksize(&attributes, HS_STACK_BYTES);
        sigset_t all;
        sigset_t before;
        sigfillset(&all);
        /* If blocked, they would end the process without running their handler. */
        static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
        for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
            sigdelset(&all, faults[i]);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        failed = pthread_create(thread, &attributes, begin_thread, start);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
    }
    if (failed == 0)
        return HS_OK;
    hs_free(start);
    return hs_errinfo_set(error, HS_ERR_SYSTEM, failed, "cannot start a thread: %s",
                          strerror(failed));
}

#if defined(__linux__) && !defined(__GLIBC__)
/* The assumed size of an unlimited stack. */
#define UNLIMITED_STACK_BYTES ((size_t)8 * 1024 * 1024)
#endif

bool hs_thread_stack(uintptr_t *lowest, size_t *size)
{
#if defined(__APPLE__)
    *size = pthread_get_stacksize_np(pthread_self());
    *lowest = (uintptr_t)pthread_get_stackaddr_np(pthread_self()) - *size;
    return true;
#elif defined(__linux__)
    pthread_attr_t attributes;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return false;
    void *address = NULL;
    bool is_known = pthread_attr_getstack(&attributes, &address, size) == 0;
    *lowest = (uintptr_t)address;
    pthread_attr_destroy(&attributes);
#if !defined(__GLIBC__)
    /* For the first thread, musl reports only the stack used so far. */
    struct rlimit limit;
    if (is_known && syscall(SYS_gettid) == getpid() && getrlimit(RLIMIT_STACK, &limit) == 0) {
        uintptr_t end = *lowest + *size;
        *size = limit.rlim_cur == RLIM_INFINITY ? UNLIMITED_STACK_BYTES : (size_t)limit.rlim_cur;
        *lowest = end - *size;
    }
#endif
    return is_known;
#else
    (void)lowest;
    (void)size;
    return false;
#endif
}

unsigned long hs_thread_id(void)
{
#if defined(__linux__)
    return (unsigned long)syscall(SYS_gettid);
#elif defined(__APPLE__)
    uint64_t id = 0;
    pthread_threadid_np(NULL, &id);
    return (unsigned long)id;
#else
    return (unsigned long)(uintptr_t)pthread_self();
#endif
}

int hs_thread_cpu_count(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set);
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

hs_deadline_t hs_thread_time_in(uint32_t ms)
{
    hs_deadline_t deadline;
    (void)clock_gettime(CLOCK_MONOTONIC, &deadline.at);
    deadline.at.tv_sec += ms / 1000;
    deadline.at.tv_nsec += (long)(ms % 1000) * 1000000L;
    if (deadline.at.tv_nsec >= 1000000000L) {
        deadline.at.tv_sec++;
        deadline.at.tv_nsec -= 1000000000L;
    }
    return deadline;
}
