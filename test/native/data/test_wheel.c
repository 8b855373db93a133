/* hs_wheel: when entries fire, on a clock that the test advances. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "data/hs_wheel.h"

#define TICK ((uint64_t)HS_WHEEL_TICK_MS)
#define TURN (TICK * HS_WHEEL_SLOTS)

typedef struct entry entry_t;
struct entry {
    hs_wheel_entry_t entry; /* first: the wheel returns it */
    uint64_t deadline_ms;
    uint64_t fired_at;
    unsigned fired;
    void (*act)(hs_wheel_t *wheel, entry_t *self);
    entry_t *other;
};

typedef struct bench {
    hs_wheel_t wheel;
    uint64_t now_ms;
    unsigned asked; /* times the wheel asked for a deadline */
} bench_t;

static unsigned *asked_counter; /* hs_wheel_deadline_fn has no context */

static uint64_t deadline_of(hs_wheel_entry_t *entry)
{
    ++*asked_counter;
    return ((entry_t *)entry)->deadline_ms;
}

static void on_expired(void *context, hs_wheel_entry_t *entry)
{
    bench_t *bench = context;
    entry_t *timer = (entry_t *)entry;
    timer->fired++;
    timer->fired_at = bench->now_ms;
    if (timer->act != NULL)
        timer->act(&bench->wheel, timer);
}

static void begin(bench_t *bench, uint64_t now_ms)
{
    bench->now_ms = now_ms;
    bench->asked = 0;
    asked_counter = &bench->asked;
    hs_wheel_init(&bench->wheel, now_ms);
}

static void arm(bench_t *bench, entry_t *timer, uint64_t deadline_ms)
{
    timer->deadline_ms = deadline_ms;
    hs_wheel_arm(&bench->wheel, &timer->entry, deadline_ms);
}

static void make(entry_t *timer)
{
    *timer = (entry_t){ 0 };
    hs_wheel_entry_init(&timer->entry);
}

static void advance(bench_t *bench, uint64_t now_ms)
{
    bench->now_ms = now_ms;
    hs_wheel_advance(&bench->wheel, now_ms, deadline_of, on_expired, bench);
}

/* Sleeps like a loop: exactly as long as the wheel says, until the entry has fired. */
static void run_until_fired(bench_t *bench, entry_t *timer, unsigned wakes_max)
{
    for (unsigned wakes = 0; timer->fired == 0; wakes++) {
        assert_true(wakes <= wakes_max);
        int timeout_ms = hs_wheel_timeout_ms(&bench->wheel, bench->now_ms);
        assert_true(timeout_ms >= 0);
        advance(bench, bench->now_ms + (uint64_t)timeout_ms);
    }
}

static void never_early_and_at_most_two_ticks_late(void **state)
{
    (void)state;
    for (uint64_t start = 0; start < 3 * TICK; start += 7) {
        for (uint64_t delay = 1; delay < 5 * TICK; delay += 3) {
            bench_t bench;
            begin(&bench, start);
            entry_t timer;
            make(&timer);
            arm(&bench, &timer, start + delay);
            for (uint64_t now = start; timer.fired == 0; now++)
                advance(&bench, now);
            assert_true(timer.fired_at >= start + delay);
            assert_true(timer.fired_at <= start + delay + 2 * TICK);
            assert_int_equal(bench.wheel.armed, 0);
        }
    }
}

static void a_deadline_in_the_past_fires_at_the_next_tick(void **state)
{
    (void)state;
    bench_t bench;
    begin(&bench, 10 * TURN);
    entry_t timer;
    make(&timer);
    arm(&bench, &timer, 5);
    advance(&bench, 10 * TURN);
    assert_int_equal(timer.fired, 0);
    advance(&bench, 10 * TURN + TICK);
    assert_int_equal(timer.fired, 1);
}

/* The purpose of lazy deadlines: one that moves later touches no list, and fires on time. */
static void a_deadline_that_moves_later_is_looked_at_once_and_relinked(void **state)
{
    (void)state;
    bench_t bench;
    begin(&bench, 0);
    entry_t timer;
    make(&timer);
    arm(&bench, &timer, 1000);
    uint64_t first_look = timer.entry.look_tick;
    arm(&bench, &timer, 5000);
    assert_int_equal(timer.entry.look_tick, first_look);
    assert_int_equal(bench.wheel.armed, 1);
    advance(&bench, 2000);
    assert_int_equal(bench.asked, 1);
    assert_int_equal(timer.fired, 0);
    advance(&bench, 4999);
    assert_int_equal(timer.fired, 0);
    run_until_fired(&bench, &timer, 2);
    assert_true(timer.fired_at >= 5000 && timer.fired_at <= 5000 + 2 * TICK);
    assert_int_equal(bench.asked, 2);
}

static void a_deadline_that_comes_closer_fires_earlier(void **state)
{
    (void)state;
    bench_t bench;
    begin(&bench, 0);
    entry_t timer;
    make(&timer);
    arm(&bench, &timer, 50000);
    arm(&bench, &timer, 300);
    assert_int_equal(bench.wheel.armed, 1);
    run_until_fired(&bench, &timer, 1);
    assert_true(timer.fired_at >= 300 && timer.fired_at <= 300 + 2 * TICK);
}

/* Beyond one revolution an entry is checked once per revolution: not early, not late, not often. */
static void deadlines_beyond_one_turn(void **state)
{
    (void)state;
    const uint64_t delays[] = { TURN - 1,     TURN,         TURN + 1,    TURN + TICK,
                                2 * TURN - 1, 2 * TURN + 1, 7 * TURN + 9 };
    for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
        bench_t bench;
        begin(&bench, 777);
        entry_t timer;
        make(&timer);
        arm(&bench, &timer, 777 + delays[i]);
        run_until_fired(&bench, &timer, 10);
        assert_true(timer.fired_at >= 777 + delays[i]);
        assert_true(timer.fired_at <= 777 + delays[i] + 2 * TICK);
        assert_true(bench.asked <= delays[i] / TURN + 2);
    }
}

/* A deadline in years is not a timeout in years, which would overflow an int of milliseconds. */
static void the_timeout_is_at_most_one_turn(void **state)
{
    (void)state;
    bench_t bench;
    begin(&bench, 1000);
    entry_t timer;
    make(&timer);
    arm(&bench, &timer, UINT64_C(1) << 45);
    for (int wake = 0; wake < 5; wake++) {
        int timeout_ms = hs_wheel_timeout_ms(&bench.wheel, bench.now_ms);
        assert_true(timeout_ms > 0 && (uint64_t)timeout_ms <= TURN + TICK);
        advance(&bench, bench.now_ms + (uint64_t)timeout_ms);
    }
    assert_int_equal(timer.fired, 0);
    assert_int_equal(bench.wheel.armed, 1);
}

/* A process that was stopped for hours sees everything that is due at once, and nothing else. */
static void after_a_long_stop_all_that_is_due_fires_at_once(void **state)
{
    (void)state;
    enum {
        COUNT = 500
    };
    static entry_t timers[COUNT];
    bench_t bench;
    begin(&bench, 1000);
    for (unsigned i = 0; i < COUNT; i++) {
        make(&timers[i]);
        arm(&bench, &timers[i], 1000 + 1 + i * 997);
    }
    uint64_t now = 1000 + 300 * 997;
    advance(&bench, now);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(timers[i].fired, timers[i].deadline_ms <= now);
    advance(&bench, now + 100 * TURN);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(timers[i].fired, 1);
    assert_int_equal(bench.wheel.armed, 0);
    assert_int_equal(hs_wheel_timeout_ms(&bench.wheel, now + 100 * TURN), -1);
}

static void an_entry_without_a_deadline_leaves_the_wheel(void **state)
{
    (void)state;
    bench_t bench;
    begin(&bench, 0);
    entry_t timer;
    make(&timer);
    arm(&bench, &timer, 100);
    timer.deadline_ms = 0;
    advance(&bench, 1000);
    assert_int_equal(timer.fired, 0);
    assert_int_equal(bench.wheel.armed, 0);
    assert_int_equal(timer.entry.look_tick, 0);
}

static void a_disarmed_entry_never_fires(void **state)
{
    (void)state;
    bench_t bench;
    begin(&bench, 0);
    entry_t timer;
    make(&timer);
    hs_wheel_disarm(&bench.wheel, &timer.entry);
    arm(&bench, &timer, 100);
    hs_wheel_disarm(&bench.wheel, &timer.entry);
    hs_wheel_disarm(&bench.wheel, &timer.entry);
    assert_int_equal(bench.wheel.armed, 0);
    advance(&bench, 10 * TURN);
    assert_int_equal(timer.fired, 0);
    assert_int_equal(bench.asked, 0);
}

static void disarm_other(hs_wheel_t *wheel, entry_t *self)
{
    hs_wheel_disarm(wheel, &self->other->entry);
}

/* Two connections due in one slot, the first of which closes the second. */
static void a_callback_may_disarm_an_entry_of_the_same_slot(void **state)
{
    (void)state;
    bench_t bench;
    begin(&bench, 0);
    entry_t first, second, third;
    make(&first);
    make(&second);
    make(&third);
    arm(&bench, &first, 100);
    arm(&bench, &second, 101);
    arm(&bench, &third, 102);
    first.act = disarm_other;
    first.other = &second;
    advance(&bench, 1000);
    assert_int_equal(first.fired, 1);
    assert_int_equal(second.fired, 0);
    assert_int_equal(third.fired, 1);
    assert_int_equal(bench.wheel.armed, 0);
}

static void rearm_self(hs_wheel_t *wheel, entry_t *self)
{
    self->deadline_ms += 1000;
    hs_wheel_arm(wheel, &self->entry, self->deadline_ms);
}

static void a_callback_may_arm_its_own_entry_again(void **state)
{
    (void)state;
    bench_t bench;
    begin(&bench, 0);
    entry_t timer;
    make(&timer);
    timer.act = rearm_self;
    arm(&bench, &timer, 1000);
    for (uint64_t now = 0; now <= 10000; now += 10)
        advance(&bench, now);
    assert_int_equal(timer.fired, 9);
    assert_int_equal(timer.deadline_ms, 10000);
    assert_int_equal(bench.wheel.armed, 1);
}

static void the_timeout_leads_to_the_earliest_entry(void **state)
{
    (void)state;
    bench_t bench;
    begin(&bench, 0);
    assert_int_equal(hs_wheel_timeout_ms(&bench.wheel, 0), -1);
    entry_t timers[20];
    for (unsigned i = 0; i < 20; i++) {
        make(&timers[i]);
        arm(&bench, &timers[i], 20000 - i * 1000);
        uint64_t deadline = timers[i].deadline_ms;
        int timeout_ms = hs_wheel_timeout_ms(&bench.wheel, 0);
        assert_true((uint64_t)timeout_ms >= deadline);
        assert_true((uint64_t)timeout_ms <= deadline + TICK);
        assert_int_equal(hs_wheel_timeout_ms(&bench.wheel, deadline + TICK), 0);
    }
    /* From wake-up to wake-up the clock advances only by what the wheel asked for. */
    for (unsigned i = 20; i > 0; i--) {
        run_until_fired(&bench, &timers[i - 1], 2);
        assert_true(timers[i - 1].fired_at <= timers[i - 1].deadline_ms + 2 * TICK);
    }
    assert_int_equal(hs_wheel_timeout_ms(&bench.wheel, bench.now_ms), -1);
}

/* Needless wake-ups would keep an idle server busy: after one the wheel asks for a later deadline.
 */
static void a_disarmed_earliest_entry_costs_at_most_one_wake(void **state)
{
    (void)state;
    bench_t bench;
    begin(&bench, 0);
    entry_t near, far;
    make(&near);
    make(&far);
    arm(&bench, &near, 500);
    arm(&bench, &far, 30000);
    hs_wheel_disarm(&bench.wheel, &near.entry);
    run_until_fired(&bench, &far, 2);
    assert_int_equal(near.fired, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_early_and_at_most_two_ticks_late),
        cmocka_unit_test(a_deadline_in_the_past_fires_at_the_next_tick),
        cmocka_unit_test(a_deadline_that_moves_later_is_looked_at_once_and_relinked),
        cmocka_unit_test(a_deadline_that_comes_closer_fires_earlier),
        cmocka_unit_test(deadlines_beyond_one_turn),
        cmocka_unit_test(the_timeout_is_at_most_one_turn),
        cmocka_unit_test(after_a_long_stop_all_that_is_due_fires_at_once),
        cmocka_unit_test(an_entry_without_a_deadline_leaves_the_wheel),
        cmocka_unit_test(a_disarmed_entry_never_fires),
        cmocka_unit_test(a_callback_may_disarm_an_entry_of_the_same_slot),
        cmocka_unit_test(a_callback_may_arm_its_own_entry_again),
        cmocka_unit_test(the_timeout_leads_to_the_earliest_entry),
        cmocka_unit_test(a_disarmed_earliest_entry_costs_at_most_one_wake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
