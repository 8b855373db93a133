/* hs_cond and its users: a wait ends in time although the wall clock was set back in between. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/hs_workq.h"
#include "os/hs_thread.h"

/*
 * The wall clock as it was before it was set back by an hour: code that computes a deadline from it
 * waits an hour too long. Linked in place of the C library's function.
 */
int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    int failed = __real_clock_gettime(clock, time);
    if (clock == CLOCK_REALTIME)
        time->tv_sec += 3600;
    return failed;
}

static void a_wait_ends_in_time_when_the_clock_is_set_back(void **state)
{
    (void)state;
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    hs_cond_init(&cond);
    (void)alarm(120); /* kills this program */
    hs_deadline_t until = hs_thread_time_in(20);
    pthread_mutex_lock(&mutex);
    int result;
    do {
        result = hs_cond_wait_until(&cond, &mutex, &until);
    } while (result == 0); /* a spurious wake-up */
    pthread_mutex_unlock(&mutex);
    assert_int_equal(result, ETIMEDOUT);
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    assert_true(now.tv_sec > until.at.tv_sec ||
                (now.tv_sec == until.at.tv_sec && now.tv_nsec >= until.at.tv_nsec));
    (void)alarm(0);
    pthread_cond_destroy(&cond);
}

static void a_consumer_of_work_wakes_in_time_when_the_clock_is_set_back(void **state)
{
    (void)state;
    hs_workq_t queue;
    assert_true(hs_workq_init(&queue, 4));
    (void)alarm(120);
    hs_deadline_t until = hs_thread_time_in(20);
    assert_int_equal(hs_workq_wait(&queue, &until), HS_WORKQ_TIMEOUT);
    (void)alarm(0);
    hs_workq_free(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_ends_in_time_when_the_clock_is_set_back),
        cmocka_unit_test(a_consumer_of_work_wakes_in_time_when_the_clock_is_set_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
