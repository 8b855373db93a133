/* hs_conn while a worker has its exchange: order, a peer that goes, deadlines, draining. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn/conn_bench.h"
#include "exec/gate.h"
#include "os/hs_ev.h"

#define HOST "Host: a\r\n"
#define GET_GATE "GET /gate HTTP/1.1\r\n" HOST "\r\n"
#define GET_QUICK "GET /quick HTTP/1.1\r\n" HOST "\r\n"

/* A connection whose handlers run on workers; those of /gate wait until the test opens it. */
typedef struct lent_bench {
    conn_bench_t cb;
    hs_ev_t *ev;
    hs_handler_maker_t maker;
    hs_workers_t *workers;
    gate_t gate;
} lent_bench_t;

static void answer_url(hs_request_t *request, hs_response_t *response, void *user_data)
{
    lent_bench_t *lb = user_data;
    const char *url = hs_req_url(request);
    if (strcmp(url, "/gate") == 0)
        gate_pass(&lb->gate);
    if (hs_res_body_str(response, url) != 0 || hs_res_send(response) != 0)
        abort(); /* cmocka's assertions belong to the test's thread */
}

/* Answers on the I/O thread and has every later request lent. */
static void answer_then_lend(hs_request_t *request, hs_response_t *response, void *user_data)
{
    lent_bench_t *lb = user_data;
    lb->cb.env.dispatch.mode = HS_DISPATCH_WORKER;
    answer_url(request, response, lb);
}

static int lent_begin(void **state)
{
    static lent_bench_t bench;
    lent_bench_t *lb = *state = &bench;
    *lb = (lent_bench_t){ .gate = GATE_SHUT };
    conn_bench_init(&lb->cb, answer_url);
    lb->cb.limits.handler_timeout_ms = 3000;
    lb->cb.c_handler.user_data = lb;
    lb->cb.lends = true;
    conn_open(&lb->cb);
    lb->ev = hs_ev_new(lb, 16);
    assert_non_null(lb->ev);
    lb->maker = hs_c_handler_maker(&lb->cb.c_handler);
    hs_workers_config_t config = {
        .maker = lb->maker, .log = &lb->cb.log, .ev = lb->ev, .count = 1, .queue_capacity = 64
    };
    lb->workers = hs_workers_new(&config);
    assert_non_null(lb->workers);
    hs_dispatch_init(&lb->cb.env.dispatch, hs_c_handler_as_handler(&lb->cb.c_handler),
                     HS_DISPATCH_WORKER, lb->workers, &lb->cb.log);
    return 0;
}

static void on_returned(void *context, hs_exchange_t *exchange, void *lender)
{
    lent_bench_t *lb = context;
    if (lender == NULL) {
        hs_exchange_give_back(&lb->cb.pool, exchange);
        return;
    }
    assert_ptr_equal(lender, &lb->cb.conn);
    hs_conn_handled(&lb->cb.conn, &lb->cb.env);
}

/* As the I/O thread does it, until no worker has anything. */
static void collect_all(lent_bench_t *lb)
{
    conn_pump(&lb->cb);
    hs_dispatch_flush(&lb->cb.env.dispatch);
    while (hs_workers_outstanding(lb->workers) > 0) {
        hs_workers_wake(lb->workers);
        int timeout_ms = hs_workers_begin_sleep(lb->workers, 20000);
        assert_true(hs_ev_poll(lb->ev, timeout_ms) >= 0);
        hs_workers_end_sleep(lb->workers);
        hs_dispatch_collect(&lb->cb.env.dispatch, on_returned, lb);
        conn_pump(&lb->cb);
        hs_dispatch_flush(&lb->cb.env.dispatch);
    }
}

/* Also after a failure: no worker is left at the gate. */
static int lent_end(void **state)
{
    lent_bench_t *lb = *state;
    gate_open(&lb->gate);
    hs_conn_abort(&lb->cb.conn, &lb->cb.env);
    collect_all(lb);
    assert_int_equal(hs_workers_stop(lb->workers, UINT32_MAX), 0);
    hs_workers_free(lb->workers);
    hs_ev_free(lb->ev);
    conn_close(&lb->cb);
    return 0;
}

static void receive(lent_bench_t *lb, const char *text)
{
    assert_int_equal(conn_receive(&lb->cb, text, strlen(text)), strlen(text));
}

/* Lends a request for the gate; returns when a worker stands there. */
static void lend_at_the_gate(lent_bench_t *lb, const char *text)
{
    receive(lb, text);
    assert_int_equal(lb->cb.conn.phase, HS_CONN_HANDLING);
    hs_dispatch_flush(&lb->cb.env.dispatch);
    hs_workers_wake(lb->workers);
    gate_await(&lb->gate, 1);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    lent_bench_t *lb = *state;
    static char text[16384];
    text[0] = '\0';
    for (int i = 0; i < 200; i++)
        snprintf(text + strlen(text), 64, "GET /%d HTTP/1.1\r\n" HOST "\r\n", i);
    receive(lb, text);
    collect_all(lb);
    for (int i = 0; i < 200; i++) {
        char url[16];
        snprintf(url, sizeof(url), "/%d", i);
        expect_answer(&lb->cb, 200, url);
    }
    expect_no_more(&lb->cb);
    assert_int_equal(lb->cb.conn.phase, HS_CONN_IDLE);
}

static void nothing_is_read_meanwhile_and_the_handler_has_a_deadline(void **state)
{
    lent_bench_t *lb = *state;
    lend_at_the_gate(lb, GET_GATE "GET /later HTTP/1.1\r\n");
    struct iovec iov[2];
    assert_int_equal(hs_conn_recv_vec(&lb->cb.conn, &lb->cb.env, iov), 0);
    assert_int_equal(lb->cb.conn.wait, HS_CONN_WAIT_HANDLER);
    assert_int_equal(lb->cb.conn.deadline_ms, lb->cb.env.now_ms + 3000);
    gate_open(&lb->gate);
    collect_all(lb);
    expect_answer(&lb->cb, 200, "/gate");
    receive(lb, HOST "\r\n");
    collect_all(lb);
    expect_answer(&lb->cb, 200, "/later");
}

static void a_peer_that_shuts_gets_its_answer(void **state)
{
    lent_bench_t *lb = *state;
    lend_at_the_gate(lb, GET_GATE GET_QUICK "GET /unfinished");
    hs_conn_peer_shut(&lb->cb.conn, &lb->cb.env);
    assert_int_equal(lb->cb.conn.phase, HS_CONN_HANDLING);
    gate_open(&lb->gate);
    collect_all(lb);
    expect_answer(&lb->cb, 200, "/gate");
    expect_answer(&lb->cb, 200, "/quick");
    expect_no_more(&lb->cb);
    assert_true(conn_is_closed(&lb->cb));
}

/* The descriptor is dead: the connection ends at once, the exchange when the worker is done. */
static void a_connection_that_dies_leaves_its_exchange_to_the_worker(void **state)
{
    lent_bench_t *lb = *state;
    lend_at_the_gate(lb, GET_GATE);
    hs_conn_abort(&lb->cb.conn, &lb->cb.env);
    assert_null(lb->cb.conn.exchange);
    assert_int_equal(lb->cb.pool.leased, 1);
    gate_open(&lb->gate);
    collect_all(lb);
    assert_int_equal(lb->cb.pool.leased, 0);
    assert_int_equal(lb->cb.sent_len, 0);
}

static void a_handler_that_takes_too_long_is_503(void **state)
{
    lent_bench_t *lb = *state;
    receive(lb, GET_QUICK);
    collect_all(lb);
    expect_answer(&lb->cb, 200, "/quick");
    lend_at_the_gate(lb, GET_GATE GET_QUICK);
    lb->cb.env.now_ms = lb->cb.conn.deadline_ms;
    hs_conn_deadline_passed(&lb->cb.conn, &lb->cb.env);
    conn_pump(&lb->cb);
    answer_t answer = next_answer(&lb->cb);
    assert_int_equal(answer.status, 503);
    assert_true(answer_has(&answer, "Connection: close"));
    assert_int_equal(lb->cb.conn.phase, HS_CONN_LINGERING);
    gate_open(&lb->gate);
    collect_all(lb);
    expect_no_more(&lb->cb); /* what the worker built goes nowhere */
    assert_int_equal(lb->cb.pool.leased, 0);
}

/* A client that takes an earlier answer in small bites wins its handler no time. */
static void sending_does_not_move_the_handlers_deadline(void **state)
{
    lent_bench_t *lb = *state;
    /* Both requests come together; the answer to the first is unsent when the second is lent. */
    lb->cb.env.dispatch.mode = HS_DISPATCH_INLINE;
    lb->cb.c_handler.function = answer_then_lend;
    lend_at_the_gate(lb, GET_QUICK GET_GATE);
    uint64_t deadline_ms = lb->cb.conn.deadline_ms;
    lb->cb.env.now_ms += 1000;
    lb->cb.send_step = 10;
    assert_true(conn_send_some(&lb->cb));
    assert_int_equal(lb->cb.conn.wait, HS_CONN_WAIT_HANDLER);
    assert_int_equal(lb->cb.conn.deadline_ms, deadline_ms);
    gate_open(&lb->gate);
    collect_all(lb);
    expect_answer(&lb->cb, 200, "/quick");
    expect_answer(&lb->cb, 200, "/gate");
}

static void draining_waits_for_the_worker(void **state)
{
    lent_bench_t *lb = *state;
    lend_at_the_gate(lb, GET_GATE GET_QUICK);
    lb->cb.env.draining = true;
    hs_conn_drain(&lb->cb.conn, &lb->cb.env);
    assert_int_equal(lb->cb.conn.phase, HS_CONN_HANDLING);
    gate_open(&lb->gate);
    collect_all(lb);
    answer_t answer = next_answer(&lb->cb);
    assert_int_equal(answer.status, 200);
    assert_true(answer_has(&answer, "Connection: close"));
    expect_no_more(&lb->cb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pipelined_requests_are_answered_in_order, lent_begin,
                                        lent_end),
        cmocka_unit_test_setup_teardown(nothing_is_read_meanwhile_and_the_handler_has_a_deadline,
                                        lent_begin, lent_end),
        cmocka_unit_test_setup_teardown(a_peer_that_shuts_gets_its_answer, lent_begin, lent_end),
        cmocka_unit_test_setup_teardown(a_connection_that_dies_leaves_its_exchange_to_the_worker,
                                        lent_begin, lent_end),
        cmocka_unit_test_setup_teardown(a_handler_that_takes_too_long_is_503, lent_begin, lent_end),
        cmocka_unit_test_setup_teardown(sending_does_not_move_the_handlers_deadline, lent_begin,
                                        lent_end),
        cmocka_unit_test_setup_teardown(draining_waits_for_the_worker, lent_begin, lent_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
