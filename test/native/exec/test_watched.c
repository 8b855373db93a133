/* hs_watched: how long a handler has run, not counting pauses of the whole process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "exec/hs_watched.h"

static const char one;
static const char other;

static void the_time_at_one_task_adds_up_and_another_starts_anew(void **state)
{
    (void)state;
    hs_looks_t looks = { .interval_ms = 100 };
    hs_watched_t watched = { .task = NULL };
    assert_int_equal(hs_watched_look(&watched, &one, 1, hs_looks_next(&looks, 5000)), 0);
    assert_int_equal(hs_watched_look(&watched, &one, 1, hs_looks_next(&looks, 5100)), 100);
    assert_int_equal(hs_watched_look(&watched, &one, 1, hs_looks_next(&looks, 5230)), 230);
    assert_int_equal(hs_watched_look(&watched, &one, 2, hs_looks_next(&looks, 5330)), 0);
    assert_int_equal(hs_watched_look(&watched, &one, 2, hs_looks_next(&looks, 5430)), 100);
    assert_int_equal(hs_watched_look(&watched, &other, 2, hs_looks_next(&looks, 5530)), 0);
    assert_int_equal(hs_watched_look(&watched, NULL, 2, hs_looks_next(&looks, 5630)), 0);
    assert_int_equal(hs_watched_look(&watched, NULL, 2, hs_looks_next(&looks, 5730)), 0);
}

/* SIGSTOP for an hour in the middle of a handler that then continues. */
static void a_pause_of_the_process_is_not_the_handlers(void **state)
{
    (void)state;
    hs_looks_t looks = { .interval_ms = 100 };
    hs_watched_t watched = { .task = NULL };
    (void)hs_watched_look(&watched, &one, 1, hs_looks_next(&looks, 1000));
    (void)hs_watched_look(&watched, &one, 1, hs_looks_next(&looks, 1100));
    const uint64_t hour_ms = 3600 * 1000;
    assert_int_equal(hs_watched_look(&watched, &one, 1, hs_looks_next(&looks, 1100 + hour_ms)),
                     300);
    assert_int_equal(hs_watched_look(&watched, &one, 1, hs_looks_next(&looks, 1200 + hour_ms)),
                     400);
}

/* A machine that is always late must not hide a handler that never returns. */
static void a_handler_that_never_ends_is_found_although_every_look_is_late(void **state)
{
    (void)state;
    hs_looks_t looks = { .interval_ms = 100 };
    hs_watched_t watched = { .task = NULL };
    uint64_t now_ms = 1000;
    uint64_t for_ms = 0;
    for (int i = 0; i < 10; i++, now_ms += 5000)
        for_ms = hs_watched_look(&watched, &one, 1, hs_looks_next(&looks, now_ms));
    assert_int_equal(for_ms, 9 * 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_time_at_one_task_adds_up_and_another_starts_anew),
        cmocka_unit_test(a_pause_of_the_process_is_not_the_handlers),
        cmocka_unit_test(a_handler_that_never_ends_is_found_although_every_look_is_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
