#include "os/hs_shlock.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

/* A critical section is shorter than sleeping and waking up. */
#define SPINS 100

static inline void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#if HS_SHLOCK_IS_ROBUST
int hs_shlock_init(hs_shlock_t *lock)
{
    pthread_mutexattr_t attributes;
    int failed = pthread_mutexattr_init(&attributes);
    if (failed)
        return -failed;
    failed = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (!failed)
        failed = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (!failed)
        failed = pthread_mutex_init(&lock->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return -failed;
}

hs_shlock_taken_t hs_shlock_take(hs_shlock_t *lock)
{
    int result = pthread_mutex_trylock(&lock->mutex);
    for (int i = 0; i < SPINS && result == EBUSY; i++) {
        pause_briefly();
        result = pthread_mutex_trylock(&lock->mutex);
    }
    if (result == EBUSY)
        result = pthread_mutex_lock(&lock->mutex);
    if (result != EOWNERDEAD)
        return HS_SHLOCK_TAKEN;
    (void)pthread_mutex_consistent(&lock->mutex);
    return HS_SHLOCK_ORPHANED;
}

void hs_shlock_release(hs_shlock_t *lock)
{
    (void)pthread_mutex_unlock(&lock->mutex);
}
#else
/* Sleeps between two checks whether the owner is alive. */
#define SLEEP_NS 50000
#define SLEEPS 20

int hs_shlock_init(hs_shlock_t *lock)
{
    atomic_store_explicit(&lock->process, 0, memory_order_release);
    return 0;
}

static bool try_take(hs_shlock_t *lock, uint32_t from)
{
    return atomic_compare_exchange_strong_explicit(&lock->process, &from, (uint32_t)getpid(),
                                                   memory_order_acquire, memory_order_relaxed);
}

static bool has_died(uint32_t process)
{
    return process != 0 && kill((pid_t)process, 0) == -1 && errno == ESRCH;
}

hs_shlock_taken_t hs_shlock_take(hs_shlock_t *lock)
{
    for (uint32_t i = 1;; i++) {
        if (try_take(lock, 0))
            return HS_SHLOCK_TAKEN;
        if (i < SPINS) {
            pause_briefly();
            continue;
        }
        (void)nanosleep(&(struct timespec){ .tv_nsec = SLEEP_NS }, NULL);
        uint32_t process = atomic_load_explicit(&lock->process, memory_order_relaxed);
        if (i % SLEEPS == 0 && has_died(process) && try_take(lock, process))
            return HS_SHLOCK_ORPHANED;
    }
}

void hs_shlock_release(hs_shlock_t *lock)
{
    atomic_store_explicit(&lock->process, 0, memory_order_release);
}
#endif
