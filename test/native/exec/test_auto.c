/* Where a handler runs, and what `auto` learns. Times are handed in where they can be. */
#include "exec/hs_dispatch.h"

#include "exec/lent_exchange.h"
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
    hs_estimate_learn(&estimate, report, 10000);
    assert_true(hs_estimate_is_slow(&estimate, report));
    unsigned runs = 0;
    while (hs_estimate_is_slow(&estimate, report)) {
        hs_estimate_learn(&estimate, report, 200);
        assert_true(++runs < 1000 || hs_estimate_is_slow(&estimate, report));
        if (runs == 1000)
            break; /* between the borders it stays what it was */
    }
    assert_int_equal(runs, 1000);
    while (hs_estimate_is_slow(&estimate, report))
        hs_estimate_learn(&estimate, report, 20);
    assert_int_equal(estimate.slow_count, 0);
    for (unsigned i = 0; i < 1000; i++)
        hs_estimate_learn(&estimate, report, 200);
    assert_false(hs_estimate_is_slow(&estimate, report));
}

static void test_one_hiccup_makes_no_route_slow(void **state)
{
    (void)state;
    static hs_estimate_t estimate;
    for (unsigned i = 0; i < 10; i++)
        hs_estimate_learn(&estimate, route("/quick"), 5);
    hs_estimate_learn(&estimate, route("/quick"), 3000);
    assert_false(hs_estimate_is_slow(&estimate, route("/quick")));
}

static void test_an_unseen_path_is_judged_by_its_directory(void **state)
{
    (void)state;
    static hs_estimate_t estimate;
    hs_estimate_learn(&estimate, route("/report/1"), 10000);
    assert_true(hs_estimate_is_slow(&estimate, route("/report/2")));
    assert_false(hs_estimate_is_slow(&estimate, route("/other/2")));
    hs_estimate_learn(&estimate, route("/report/quick"), 5);
    assert_false(hs_estimate_is_slow(&estimate, route("/report/quick")));
}

static void test_absurd_times_do_no_harm(void **state)
{
    (void)state;
    static hs_estimate_t estimate;
    for (unsigned i = 0; i < 100; i++)
        hs_estimate_learn(&estimate, route("/x"), UINT32_MAX);
    assert_true(hs_estimate_is_slow(&estimate, route("/x")));
    for (unsigned i = 0; i < 200; i++)
        hs_estimate_learn(&estimate, route("/x"), 0);
    assert_false(hs_estimate_is_slow(&estimate, route("/x")));
}

/* A handler that tells where it ran, burns time for /slow and wants a worker for /worker. */
static void run(void *self, hs_exchange_t *exchange)
{
    (void)self;
    const char *url = hs_msg_url(&exchange->request.msg).data;
    if (strcmp(url, "/worker") == 0 && !exchange->in_worker) {
        exchange->wants_worker = true;
        return;
    }
    if (strcmp(url, "/slow") == 0) {
        uint64_t end_ns = hs_clock_monotonic_ns() + 2000000;
        while (hs_clock_monotonic_ns() < end_ns) {
        }
    }
    hs_res_body_str(&exchange->response, exchange->in_worker ? "worker" : "inline");
    hs_res_send(&exchange->response);
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
    hs_dispatch_t dispatch;
    const char *answer; /* "inline", "worker" or "503" */
    bool returned;
} desk_t;

static void desk_init(desk_t *desk, hs_dispatch_mode_t mode, bool with_workers)
{
    memset(desk, 0, sizeof(*desk));
    rig_init(&desk->rig);
    desk->ev = hs_ev_new(desk, 16);
    if (with_workers) {
        hs_workers_config_t config = {
            .maker = { make, end, NULL },
            .log = &desk->rig.log,
            .ev = desk->ev,
            .count = 1,
            .queue_capacity = 2,
        };
        desk->workers = hs_workers_new(&config);
    }
    hs_dispatch_init(&desk->dispatch, (hs_handler_t){ .run = run }, mode, desk->workers,
                     &desk->rig.log);
}

static void desk_end(desk_t *desk)
{
    if (desk->workers != NULL)
        assert_int_equal(hs_workers_stop(desk->workers, UINT32_MAX), 0);
    hs_workers_free(desk->workers);
    hs_ev_free(desk->ev);
    rig_free(&desk->rig);
}

static void note(desk_t *desk, hs_exchange_t *exchange)
{
    const hs_response_t *response = &exchange->response;
    assert_int_equal(response->state, HS_ANSWER_SENT);
    desk->answer = response->status == 503                         ? "503"
                   : response->status == 500                       ? "500"
                   : memcmp(response->body.data, "inline", 6) == 0 ? "inline"
                                                                   : "worker";
    hs_exchange_give_back(&desk->rig.pool, exchange);
}

static void on_returned(void *context, hs_exchange_t *exchange, void *lender)
{
    desk_t *desk = context;
    assert_ptr_equal(lender, desk);
    desk->returned = true;
    note(desk, exchange);
}

static const char *ask(desk_t *desk, const char *url)
{
    hs_exchange_t *exchange = rig_request(&desk->rig, url);
    if (hs_dispatch(&desk->dispatch, exchange, desk) == HS_DISPATCHED_ANSWERED) {
        note(desk, exchange);
        return desk->answer;
    }
    hs_dispatch_flush(&desk->dispatch);
    desk->returned = false;
    while (!desk->returned) {
        hs_workers_wake(desk->workers);
        assert_true(hs_ev_poll(desk->ev, hs_workers_begin_sleep(desk->workers, 10000)) >= 0);
        hs_workers_end_sleep(desk->workers);
        hs_dispatch_collect(&desk->dispatch, on_returned, desk);
    }
    return desk->answer;
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

static void test_auto_moves_what_is_slow(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_AUTO, true);
    for (unsigned i = 0; i < 10; i++)
        assert_string_equal(ask(&desk, "/quick"), "inline");
    assert_string_equal(ask(&desk, "/slow"), "inline");
    assert_string_equal(ask(&desk, "/slow"), "worker");
    assert_string_equal(ask(&desk, "/quick"), "inline");
    desk_end(&desk);
}

static void test_auto_takes_no_time_while_turns_are_short(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_AUTO, true);
    desk.dispatch.timed = 0;
    assert_string_equal(ask(&desk, "/slow"), "inline");
    hs_dispatch_end_turn(&desk.dispatch, 100 * 1000);
    assert_string_equal(ask(&desk, "/slow"), "inline");
    hs_dispatch_end_turn(&desk.dispatch, 2 * 1000 * 1000); /* something in it was slow */
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
    hs_exchange_t *first = rig_request(&desk.rig, "/");
    hs_exchange_t *second = rig_request(&desk.rig, "/");
    assert_int_equal(hs_dispatch(&desk.dispatch, first, &desk), HS_DISPATCHED_LENT);
    assert_int_equal(hs_dispatch(&desk.dispatch, second, &desk), HS_DISPATCHED_LENT);
    hs_exchange_t *third = rig_request(&desk.rig, "/");
    assert_int_equal(hs_dispatch(&desk.dispatch, third, &desk), HS_DISPATCHED_ANSWERED);
    note(&desk, third);
    assert_string_equal(desk.answer, "503");
    hs_dispatch_flush(&desk.dispatch);
    while (hs_workers_outstanding(desk.workers) > 0)
        hs_dispatch_collect(&desk.dispatch, on_returned, &desk);
    desk_end(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_route_is_method_and_path),
        cmocka_unit_test(test_slow_routes_are_learnt_and_forgotten_with_hysteresis),
        cmocka_unit_test(test_one_hiccup_makes_no_route_slow),
        cmocka_unit_test(test_an_unseen_path_is_judged_by_its_directory),
        cmocka_unit_test(test_absurd_times_do_no_harm),
        cmocka_unit_test(test_inline_and_worker_do_as_they_say),
        cmocka_unit_test(test_auto_moves_what_is_slow),
        cmocka_unit_test(test_auto_takes_no_time_while_turns_are_short),
        cmocka_unit_test(test_a_handler_may_ask_for_a_worker),
        cmocka_unit_test(test_a_full_queue_is_503_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
