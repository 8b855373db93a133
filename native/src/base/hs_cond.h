/*
 * Condition variables whose timeouts do not depend on the wall clock: a deadline on CLOCK_REALTIME,
 * the POSIX default, moves an hour away when the clock is set back by an hour. Deadlines have a
 * type, so that pthread_cond_timedwait cannot be called with one by mistake. The one platform
 * difference below os/: hs_workq.h sleeps too.
 */
#pragma once

#include <pthread.h>
#include <time.h>

#include "base/hs_base.h"

/* A time of CLOCK_MONOTONIC: hs_thread_time_in. */
typedef struct hs_deadline {
    struct timespec at;
} hs_deadline_t;

/* Of `cond`, whose waits are those of hs_cond_wait_until and pthread_cond_wait. */
static inline void hs_cond_init(pthread_cond_t *cond)
{
#ifdef __APPLE__
    pthread_cond_init(cond, NULL);
#else
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
#endif
}

/* As pthread_cond_timedwait: 0, or ETIMEDOUT once the deadline has passed. */
static inline int hs_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                     const hs_deadline_t *deadline)
{
#ifdef __APPLE__ /* has no pthread_condattr_setclock */
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct timespec left = { .tv_sec = deadline->at.tv_sec - now.tv_sec,
                             .tv_nsec = deadline->at.tv_nsec - now.tv_nsec };
    if (left.tv_nsec < 0) {
        left.tv_sec--;
        left.tv_nsec += 1000000000L;
    }
    if (left.tv_sec < 0)
        left = (struct timespec){ 0, 0 };
    return pthread_cond_timedwait_relative_np(cond, mutex, &left);
#else
    return pthread_cond_timedwait(cond, mutex, &deadline->at);
#endif
}
