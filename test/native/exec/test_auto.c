/* Where a handler runs, and what `auto` learns. Times are passed in where possible. */
#include "exec/hs_executor.h"

#include "exec/submitted_job.h"
#include "os/hs_clock.h"

static hs_route_t route(const char *url)
{
    return hs_estimate_route(1, hs_span(url, strlen(url)));
}

static void test_a_route_is_method_and_path(void **state)
{
    (void)state;
    assert_true(route("/a") == route("/a?x=1"));
    assert_true(route("/a") != route("/b"));
    assert_true(route("/a") != hs_estimate_route(3, hs_span("/a", 2)));
    assert_true((uint32_t)route("/r/1") == (uint32_t)route("/r/2"));
    assert_true((uint32_t)route("/r/1") != (uint32_t)route("/s/1"));
}

static void test_slow_routes_are_learnt_and_forgotten_with_hysteresis(void **state)
{
    (void)state;
    static hs_estimate_t estimate;
    hs_route_t report = route("/report");
    assert_false(hs_estimate_is_slow(&estimate, report));
    hs_estimate_learn(&estimate, report, 10000, 1000);
    assert_true(hs_estimate_is_slow(&estimate, report));
    unsigned runs = 0;
    while (hs_estimate_is_slow(&estimate, report)) {
        hs_estimate_learn(&estimate, report, 200, 1000);
        assert_true(++runs < 1000 || hs_estimate_is_slow(&estimate, report));
        if (runs == 1000)
            break; /* between the thresholds it stays as it was */
    }
    assert_int_equal(runs, 1000);
    while (hs_estimate_is_slow(&estimate, report))
        hs_estimate_learn(&estimate, report, 20, 1000);
    assert_int_equal(estimate.slow_count, 0);
    for (unsigned i = 0; i < 1000; i++)
        hs_estimate_learn(&estimate, report, 200, 1000);
    assert_false(hs_estimate_is_slow(&estimate, report));
}

static void test_one_hiccup_makes_no_route_slow(void **state)
{
    (void)state;
    static hs_estimate_t estimate;
    for (unsigned i = 0; i < 10; i++)
        hs_estimate_learn(&estimate, route("/quick"), 5, 1000);
    hs_estimate_learn(&estimate, route("/quick"), 3000, 1000);
    assert_false(hs_estimate_is_slow(&estimate, route("/quick")));
}

static void test_an_unseen_path_is_judged_by_its_shape(void **state)
{
    (void)state;
    static hs_estimate_t estimate;
    hs_estimate_learn(&estimate, route("/report/1"), 10000, 1000);
    assert_true(hs_estimate_is_slow(&estimate, route("/report/2")));
    assert_false(hs_estimate_is_slow(&estimate, route("/other/2")));
    hs_estimate_learn(&estimate, route("/u/7/export?x=1"), 10000, 1000);
    assert_true(hs_estimate_is_slow(&estimate, route("/u/8/export")));
    assert_false(hs_estimate_is_slow(&estimate, route("/u/8/import")));
    assert_false(hs_estimate_is_slow(&estimate, route("/u/*/export")));
    hs_estimate_learn(&estimate, route("/report/quick"), 5, 1000);
    assert_false(hs_estimate_is_slow(&estimate, route("/report/quick")));
}

static void test_a_route_whose_handler_waits_stays(void **state)
{
    (void)state;
    static hs_estimate_t estimate;
    hs_estimate_learn(&estimate, route("/wait/1"), 10000, 1000);
    hs_estimate_learn(&estimate, route("/report"), 10000, 1000);
    assert_true(hs_estimate_is_slow(&estimate, route("/wait/1")));
    hs_estimate_stay(&estimate, route("/wait/1"), 1000);
    for (unsigned i = 0; i < 10; i++)
        hs_estimate_learn(&estimate, route("/wait/1"), 10000, 1000);
    assert_false(hs_estimate_is_slow(&estimate, route("/wait/1")));
    assert_false(hs_estimate_is_slow(&estimate, route("/wait/2")));
    assert_true(hs_estimate_is_slow(&estimate, route("/report")));
    for (unsigned i = 0; i < 2; i++)
        hs_estimate_stay(&estimate, route("/report"), 1000);
    assert_int_equal(estimate.slow_count, 0);
}

/* The `number`th of 676 × 26 routes that have nothing in common. */
static hs_route_t distinct_route(unsigned number)
{
    char url[16];
    snprintf(url, sizeof(url), "/%c%c%c/run", 'a' + number / 676, 'a' + number / 26 % 26,
             'a' + number % 26);
    return route(url);
}

/* Learns 40 new slow routes; returns how many of them are then known to be slow. */
static unsigned learn_new(hs_estimate_t *estimate, unsigned from, uint64_t now_ms)
{
    unsigned known = 0;
    for (unsigned i = from; i < from + 40; i++)
        hs_estimate_learn(estimate, distinct_route(i), 5000, now_ms);
    for (unsigned i = from; i < from + 40; i++)
        known += hs_estimate_is_slow(estimate, distinct_route(i));
    return known;
}

static void test_many_slow_paths_of_one_shape_leave_room_for_others(void **state)
{
    (void)state;
    static hs_estimate_t estimate;
    char url[32];
    for (unsigned id = 0; id < 1500; id++) {
        snprintf(url, sizeof(url), "/u/%u/export", id);
        hs_estimate_learn(&estimate, route(url), 5000, 1000 + id);
    }
    assert_true(hs_estimate_is_slow(&estimate, route("/u/1500/export")));
    assert_false(hs_estimate_is_slow(&estimate, route("/u/1500/import")));
    assert_int_equal(learn_new(&estimate, 0, 3000), 40);
    assert_true(hs_estimate_is_slow(&estimate, route("/u/1501/export")));
}

static void test_slow_routes_that_nothing_asks_for_are_forgotten_after_a_minute(void **state)
{
    (void)state;
    /* The second time the low 32 bits of the clock wrap around. */
    const uint64_t begin_ms[] = { 1000, (UINT64_C(1) << 32) - 30000 };
    for (unsigned round = 0; round < 2; round++) {
        static hs_estimate_t estimate;
        memset(&estimate, 0, sizeof(estimate));
        for (unsigned i = 0; i < 8 * HS_ESTIMATE_SLOTS; i++)
            hs_estimate_learn(&estimate, distinct_route(i), 5000, begin_ms[round]);
        assert_int_equal(estimate.slow_count, HS_ESTIMATE_SLOTS);
        unsigned from = 8 * HS_ESTIMATE_SLOTS;
        assert_int_equal(learn_new(&estimate, from, begin_ms[round] + HS_ESTIMATE_SLOW_MS - 1), 0);
        assert_int_equal(learn_new(&estimate, from, begin_ms[round] + HS_ESTIMATE_SLOW_MS), 40);
        assert_int_equal(estimate.slow_count, HS_ESTIMATE_SLOTS);
    }
}

static void test_absurd_times_do_no_harm(void **state)
{
    (void)state;
    static hs_estimate_t estimate;
    for (unsigned i = 0; i < 100; i++)
        hs_estimate_learn(&estimate, route("/x"), UINT32_MAX, 1000);
    assert_true(hs_estimate_is_slow(&estimate, route("/x")));
    for (unsigned i = 0; i < 200; i++)
        hs_estimate_learn(&estimate, route("/x"), 0, 1000);
    assert_false(hs_estimate_is_slow(&estimate, route("/x")));
}

/* A handler that reports where it ran, computes for /slow and requests a worker for /worker. */
static void run(void *self, hs_job_t *job)
{
    (void)self;
    const char *url = hs_msg_url(&job->request.msg).data;
    if (strcmp(url, "/worker") == 0 && !job->in_worker) {
        job->wants_worker = true;
        return;
    }
    if (strcmp(url, "/slow") == 0) {
        uint64_t end_ns = hs_clock_monotonic_ns() + 2000000;
        while (hs_clock_monotonic_ns() < end_ns) {
        }
    }
    hs_res_body_str(&job->response, job->in_worker ? "worker" : "inline");
    hs_res_send(&job->response);
}

static int make(void *context, hs_handler_t *handler, hs_errinfo_t *error)
{
    (void)context;
    (void)error;
    *handler = (hs_handler_t){ .run = run };
    return HS_OK;
}

static void end(void *context, hs_handler_t *handler)
{
    (void)context;
    (void)handler;
}

typedef struct desk {
    rig_t rig;
    hs_ev_t *ev;
    hs_workers_t *workers;
    hs_executor_t executor;
    const char *where; /* "inline", "worker", "500" or "503" */
    bool returned;
} desk_t;

static void desk_init(desk_t *desk, hs_dispatch_mode_t mode, bool with_workers)
{
    memset(desk, 0, sizeof(*desk));
    desk->ev = hs_ev_new(desk, 16);
    hs_executor_init(&desk->executor, (hs_handler_t){ .run = run }, mode, desk->ev);
    rig_init(&desk->rig, &desk->executor.completions);
    if (with_workers) {
        hs_workers_config_t config = {
            .factory = { make, end, NULL },
            .log = &desk->rig.log,
            .completions = &desk->executor.completions,
            .count = 1,
            .queue_capacity = 2,
        };
        desk->workers = hs_workers_new(&config);
        hs_executor_set_workers(&desk->executor, desk->workers);
    }
    hs_executor_begin_turn(&desk->executor, 1000);
}

static void desk_end(desk_t *desk)
{
    if (desk->workers != NULL)
        assert_int_equal(hs_workers_stop(desk->workers, UINT32_MAX), 0);
    hs_workers_free(desk->workers);
    hs_ev_free(desk->ev);
    rig_free(&desk->rig);
}

static void note(desk_t *desk, hs_job_t *job)
{
    const hs_response_t *response = &job->response;
    assert_int_equal(response->sending, HS_SENDING_ENDED);
    assert_int_equal(hs_job_state(job), HS_JOB_DONE);
    desk->where = response->status == 503                         ? "503"
                  : response->status == 500                       ? "500"
                  : memcmp(response->body.data, "inline", 6) == 0 ? "inline"
                                                                  : "worker";
    hs_job_give_back(&desk->rig.pool, job);
}

static void on_done(void *context, hs_job_t *job, void *link)
{
    desk_t *desk = context;
    assert_ptr_equal(link, desk);
    desk->returned = true;
    note(desk, job);
}

static void collect(desk_t *desk)
{
    const hs_executor_sink_t sink = { .done = on_done, .context = desk };
    hs_executor_collect(&desk->executor, &sink);
}

/* Where a request for `url` was handled. */
static const char *ask(desk_t *desk, const char *url)
{
    hs_job_t *job = rig_request(&desk->rig, url);
    if (hs_executor_start(&desk->executor, job, false) == HS_STARTED_DONE) {
        note(desk, job);
        return desk->where;
    }
    job->link = desk;
    hs_executor_flush(&desk->executor);
    desk->returned = false;
    while (!desk->returned) {
        hs_workers_wake(desk->workers);
        assert_true(hs_ev_poll(desk->ev, hs_executor_begin_sleep(&desk->executor, 10000)) >= 0);
        hs_executor_end_sleep(&desk->executor);
        collect(desk);
    }
    return desk->where;
}

static void test_inline_and_worker_do_as_they_say(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_INLINE, true);
    assert_string_equal(ask(&desk, "/slow"), "inline");
    assert_string_equal(ask(&desk, "/slow"), "inline");
    desk_end(&desk);
    desk_init(&desk, HS_DISPATCH_WORKER, true);
    assert_string_equal(ask(&desk, "/"), "worker");
    desk_end(&desk);
}

/* False: a busy machine or an emulator made a quick request slow. */
static bool ask_quick(desk_t *desk)
{
    uint64_t begin_ns = hs_clock_monotonic_ns();
    const char *where = ask(desk, "/quick");
    if (hs_clock_monotonic_ns() - begin_ns > HS_ESTIMATE_QUICK_US * 1000)
        return false;
    assert_string_equal(where, "inline");
    return true;
}

static void test_auto_moves_what_is_slow(void **state)
{
    (void)state;
    static desk_t desk;
    bool is_judged = false;
    while (!is_judged) {
        desk_init(&desk, HS_DISPATCH_AUTO, true);
        is_judged = true;
        for (unsigned i = 0; is_judged && i < 10; i++)
            is_judged = ask_quick(&desk);
        if (is_judged) {
            assert_string_equal(ask(&desk, "/slow"), "inline");
            assert_string_equal(ask(&desk, "/slow"), "worker");
            is_judged = ask_quick(&desk);
        }
        desk_end(&desk);
    }
}

static void test_auto_takes_no_time_while_turns_are_short(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_AUTO, true);
    desk.executor.timed = 0;
    assert_string_equal(ask(&desk, "/slow"), "inline");
    hs_executor_end_turn(&desk.executor, 100 * 1000);
    assert_string_equal(ask(&desk, "/slow"), "inline");
    hs_executor_end_turn(&desk.executor, 2 * 1000 * 1000); /* something in it was slow */
    assert_string_equal(ask(&desk, "/slow"), "inline");
    assert_string_equal(ask(&desk, "/slow"), "worker");
    desk_end(&desk);
}

static void test_a_handler_may_ask_for_a_worker(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_INLINE, true);
    assert_string_equal(ask(&desk, "/worker"), "worker");
    assert_string_equal(ask(&desk, "/"), "inline");
    desk_end(&desk);
    desk_init(&desk, HS_DISPATCH_AUTO, false);
    assert_string_equal(ask(&desk, "/worker"), "500");
    desk_end(&desk);
}

static void test_a_full_queue_is_503_at_once(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_WORKER, true);
    for (unsigned i = 0; i < 2; i++) {
        hs_job_t *job = rig_request(&desk.rig, "/");
        job->link = &desk;
        assert_int_equal(hs_executor_start(&desk.executor, job, false), HS_STARTED_AWAY);
    }
    assert_string_equal(ask(&desk, "/"), "503");
    hs_executor_flush(&desk.executor);
    while (desk.executor.completions.away > 0)
        collect(&desk);
    assert_string_equal(desk.where, "worker");
    desk_end(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_route_is_method_and_path),
        cmocka_unit_test(test_slow_routes_are_learnt_and_forgotten_with_hysteresis),
        cmocka_unit_test(test_one_hiccup_makes_no_route_slow),
        cmocka_unit_test(test_an_unseen_path_is_judged_by_its_shape),
        cmocka_unit_test(test_a_route_whose_handler_waits_stays),
        cmocka_unit_test(test_many_slow_paths_of_one_shape_leave_room_for_others),
        cmocka_unit_test(test_slow_routes_that_nothing_asks_for_are_forgotten_after_a_minute),
        cmocka_unit_test(test_absurd_times_do_no_harm),
        cmocka_unit_test(test_inline_and_worker_do_as_they_say),
        cmocka_unit_test(test_auto_moves_what_is_slow),
        cmocka_unit_test(test_auto_takes_no_time_while_turns_are_short),
        cmocka_unit_test(test_a_handler_may_ask_for_a_worker),
        cmocka_unit_test(test_a_full_queue_is_503_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
