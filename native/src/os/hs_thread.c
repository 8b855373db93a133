#include "os/hs_thread.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/hs_alloc.h"

#ifdef __linux__
#include <sys/syscall.h>
#endif

/* What the new thread needs to begin. Owner: the starter, then the new thread, which frees it. */
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

/*
 * A thread of this policy does not interrupt another when it is woken. With it an I/O thread that
 * shares a core with its workers finishes its turn before they begin.
 */
static void yield_to_io(void)
{
#ifdef __linux__
    struct sched_param none = { 0 };
    (void)sched_setscheduler(0, SCHED_BATCH, &none);
#endif
}

static void *begin_thread(void *argument)
{
    thread_start_t *start = argument;
    thread_start_t own = *start;
    hs_free(start);
    name_thread(own.name);
    if (own.kind == HS_THREAD_WORK)
        yield_to_io();
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
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(thread, NULL, begin_thread, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed == 0)
        return HS_OK;
    hs_free(start);
    return hs_errinfo_set(error, HS_ERR_SYSTEM, failed, "cannot start a thread: %s",
                          strerror(failed));
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

struct timespec hs_thread_time_in(uint32_t ms)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_REALTIME, &time);
    time.tv_sec += ms / 1000;
    time.tv_nsec += (long)(ms % 1000) * 1000000L;
    if (time.tv_nsec >= 1000000000L) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000L;
    }
    return time;
}
