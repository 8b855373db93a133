/* Worker threads: exchanges go out, are handled, and come back once, whatever happens meanwhile. */
#include "exec/hs_worker.h"

#include "exec/gate.h"
#include "exec/lent_exchange.h"

typedef struct pool {
    rig_t rig;
    hs_ev_t *ev;
    hs_c_handler_t c_handler;
    hs_workers_t *workers;
    gate_t gate;
    unsigned returned;
    unsigned ran; /* of those returned: a worker has run the handler */
} pool_t;

static void handle(hs_request_t *request, hs_response_t *response, void *user_data)
{
    if (strcmp(hs_req_url(request), "/gate") == 0)
        gate_pass(user_data);
    hs_res_body_str(response, hs_req_in_worker(request) ? hs_req_url(request) : "not in a worker");
    hs_res_send(response);
}

static void pool_init(pool_t *pool, uint32_t count, uint32_t capacity)
{
    *pool = (pool_t){ .c_handler = { handle, &pool->gate }, .gate = GATE_SHUT };
    rig_init(&pool->rig);
    pool->ev = hs_ev_new(pool, 16);
    assert_non_null(pool->ev);
    hs_workers_config_t config = {
        .maker = hs_c_handler_maker(&pool->c_handler),
        .log = &pool->rig.log,
        .ev = pool->ev,
        .count = count,
        .queue_capacity = capacity,
    };
    pool->workers = hs_workers_new(&config);
    assert_non_null(pool->workers);
}

static hs_exchange_t *lend(pool_t *pool, const char *url)
{
    hs_exchange_t *exchange = rig_request(&pool->rig, url);
    assert_true(hs_workers_lend(pool->workers, exchange));
    return exchange;
}

/* Returns when a worker stands there. */
static hs_exchange_t *lend_at_the_gate(pool_t *pool)
{
    hs_exchange_t *exchange = lend(pool, "/gate");
    hs_workers_flush(pool->workers);
    gate_await(&pool->gate, 1);
    return exchange;
}

static void on_returned(void *context, hs_exchange_t *exchange)
{
    pool_t *pool = context;
    pool->returned++;
    hs_response_t *response = &exchange->response;
    if (response->state == HS_ANSWER_SENT) {
        pool->ran++;
        const char *url = hs_msg_url(&exchange->request.msg).data;
        assert_int_equal(response->body.len, strlen(url));
        assert_memory_equal(response->body.data, url, response->body.len);
    }
    hs_exchange_give_back(&pool->rig.pool, exchange);
}

/* As the I/O thread does it, until so many are back. */
static void collect(pool_t *pool, unsigned wanted)
{
    while (pool->returned < wanted) {
        hs_workers_wake(pool->workers);
        int timeout_ms = hs_workers_begin_sleep(pool->workers, 10000);
        assert_true(hs_ev_poll(pool->ev, timeout_ms) >= 0);
        hs_workers_end_sleep(pool->workers);
        hs_workers_collect(pool->workers, on_returned, pool);
    }
}

static void pool_end(pool_t *pool)
{
    assert_int_equal(hs_workers_stop(pool->workers, UINT32_MAX), 0);
    hs_workers_collect(pool->workers, on_returned, pool);
    assert_int_equal(hs_workers_outstanding(pool->workers), 0);
    hs_workers_free(pool->workers);
    hs_ev_free(pool->ev);
    rig_free(&pool->rig);
}

static void test_every_request_comes_back_once(void **state)
{
    (void)state;
    static const char *const urls[] = { "/a", "/bb", "/ccc", "/dddd" };
    pool_t pool;
    pool_init(&pool, 4, 128);
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 100; i++)
            lend(&pool, urls[i % 4]);
        hs_workers_flush(pool.workers);
        assert_int_equal(hs_workers_outstanding(pool.workers), 100);
        pool.returned = pool.ran = 0;
        collect(&pool, 100);
        assert_int_equal(pool.ran, 100);
    }
    pool_end(&pool);
}

static void test_one_at_a_time_wakes_the_sleeping_loop(void **state)
{
    (void)state;
    pool_t pool;
    pool_init(&pool, 1, 8);
    for (unsigned i = 0; i < 500; i++) {
        lend(&pool, "/one");
        hs_workers_flush(pool.workers);
        pool.returned = 0;
        collect(&pool, 1);
    }
    pool_end(&pool);
}

static void test_a_full_queue_refuses_and_the_exchange_stays_ours(void **state)
{
    (void)state;
    pool_t pool;
    pool_init(&pool, 1, 2);
    lend_at_the_gate(&pool);
    lend(&pool, "/a");
    lend(&pool, "/b");
    hs_exchange_t *third = rig_request(&pool.rig, "/c");
    assert_false(hs_workers_lend(pool.workers, third));
    hs_exchange_give_back(&pool.rig.pool, third);
    hs_workers_flush(pool.workers);
    gate_open(&pool.gate);
    collect(&pool, 3);
    assert_int_equal(pool.ran, 3);
    pool_end(&pool);
}

static void test_a_cancelled_request_is_not_run(void **state)
{
    (void)state;
    pool_t pool;
    pool_init(&pool, 1, 8);
    lend_at_the_gate(&pool);
    hs_exchange_t *queued = lend(&pool, "/never");
    hs_workers_flush(pool.workers);
    assert_false(hs_workers_give_up(pool.workers, queued));
    gate_open(&pool.gate);
    collect(&pool, 2);
    assert_int_equal(pool.ran, 1);
    pool_end(&pool);
}

static void test_a_stuck_worker_is_replaced_and_may_come_back(void **state)
{
    (void)state;
    pool_t pool;
    pool_init(&pool, 1, 8);
    hs_exchange_t *stuck = lend_at_the_gate(&pool);
    assert_true(hs_workers_give_up(pool.workers, stuck));
    lend(&pool, "/other");
    hs_workers_flush(pool.workers);
    collect(&pool, 1);
    assert_int_equal(pool.ran, 1);
    gate_open(&pool.gate);
    collect(&pool, 2);
    pool_end(&pool);
}

static void test_stop_runs_what_is_queued_and_joins(void **state)
{
    (void)state;
    pool_t pool;
    pool_init(&pool, 2, 64);
    for (unsigned i = 0; i < 50; i++)
        lend(&pool, "/last");
    hs_workers_flush(pool.workers);
    pool_end(&pool);
    assert_int_equal(pool.returned, 50);
}

static void test_stop_does_not_wait_for_a_stuck_one(void **state)
{
    (void)state;
    /* All of it stays for ever, as the contract says: the thread is only let go for the leak check.
     */
    static pool_t pool;
    pool_init(&pool, 1, 8);
    hs_exchange_t *stuck = lend_at_the_gate(&pool);
    assert_true(hs_workers_give_up(pool.workers, stuck));
    assert_int_equal(hs_workers_stop(pool.workers, UINT32_MAX), 1);
    gate_open(&pool.gate);
    collect(&pool, 1);
}

static int refuse_to_make(void *context, hs_handler_t *handler, hs_errinfo_t *error)
{
    (void)handler;
    (*(unsigned *)context)++;
    return hs_errinfo_set(error, HS_ERR_HANDLER, 0, "on purpose");
}

static void test_a_worker_without_handler_answers_500(void **state)
{
    (void)state;
    pool_t pool;
    pool_init(&pool, 1, 8);
    hs_workers_free(pool.workers);
    static unsigned attempts;
    hs_workers_config_t config = {
        .maker = { refuse_to_make, NULL, &attempts },
        .log = &pool.rig.log,
        .ev = pool.ev,
        .count = 1,
        .queue_capacity = 8,
    };
    pool.workers = hs_workers_new(&config);
    lend(&pool, "Internal Server Error\n");
    hs_workers_flush(pool.workers);
    collect(&pool, 1);
    assert_int_equal(pool.ran, 1);
    pool_end(&pool);
    assert_true(attempts >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_request_comes_back_once),
        cmocka_unit_test(test_one_at_a_time_wakes_the_sleeping_loop),
        cmocka_unit_test(test_a_full_queue_refuses_and_the_exchange_stays_ours),
        cmocka_unit_test(test_a_cancelled_request_is_not_run),
        cmocka_unit_test(test_a_stuck_worker_is_replaced_and_may_come_back),
        cmocka_unit_test(test_stop_runs_what_is_queued_and_joins),
        cmocka_unit_test(test_stop_does_not_wait_for_a_stuck_one),
        cmocka_unit_test(test_a_worker_without_handler_answers_500),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
