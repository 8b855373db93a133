/* hs_clock: units, direction, and agreement with each other and with the system. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "os/hs_clock.h"

static void monotonic_never_goes_back(void **state)
{
    (void)state;
    uint64_t last_ns = hs_clock_monotonic_ns();
    uint64_t last_ms = hs_clock_monotonic_ms();
    for (int i = 0; i < 100000; i++) {
        uint64_t ns = hs_clock_monotonic_ns();
        uint64_t ms = hs_clock_monotonic_ms();
        assert_true(ns >= last_ns);
        assert_true(ms >= last_ms);
        last_ns = ns;
        last_ms = ms;
    }
}

static void monotonic_ms_is_monotonic_ns_in_other_units(void **state)
{
    (void)state;
    uint64_t before = hs_clock_monotonic_ns() / 1000000u;
    uint64_t between = hs_clock_monotonic_ms();
    uint64_t after = hs_clock_monotonic_ns() / 1000000u;
    assert_in_range(between, before, after);
}

/* A coarse clock would stand still for a scheduler tick, 1 ms or more. */
static void monotonic_advances_within_a_millisecond(void **state)
{
    (void)state;
    int fine_steps = 0;
    uint64_t last = hs_clock_monotonic_ns();
    for (int i = 0; i < 100000; i++) {
        uint64_t now = hs_clock_monotonic_ns();
        fine_steps += now != last && now - last < 500000u;
        last = now;
    }
    assert_true(fine_steps > 100);
}

static void realtime_is_the_time_of_day(void **state)
{
    (void)state;
    int64_t before = (int64_t)time(NULL);
    int64_t s = hs_clock_realtime_s();
    int64_t ms = hs_clock_realtime_ms();
    int64_t after = (int64_t)time(NULL);
    assert_true(s >= before && s <= after + 1); /* time() may lag by a tick */
    assert_true(ms / 1000 >= s && ms / 1000 <= after + 1);
    assert_true(s > 1700000000);
}

static void the_offset_of_the_wall_clock_does_not_alternate(void **state)
{
    (void)state;
    int64_t first = hs_clock_real_offset_ms(0);
    int64_t offset = first;
    int changes = 0;
    for (int i = 0; i < 100000; i++) {
        int64_t next = hs_clock_real_offset_ms(offset);
        changes += next != offset;
        offset = next;
        int64_t time_ms = (int64_t)hs_clock_monotonic_ms() + offset;
        assert_true(time_ms <= hs_clock_realtime_ms());
    }
    assert_true(changes <= 1);
    assert_true(offset == first || offset == first - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_never_goes_back),
        cmocka_unit_test(monotonic_ms_is_monotonic_ns_in_other_units),
        cmocka_unit_test(monotonic_advances_within_a_millisecond),
        cmocka_unit_test(realtime_is_the_time_of_day),
        cmocka_unit_test(the_offset_of_the_wall_clock_does_not_alternate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
