/* hs_conn while a worker has its job: order, a peer that disconnects, deadlines, draining. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn/conn_bench.h"
#include "exec/gate.h"

#define HOST "Host: a\r\n"
#define GET_GATE "GET /gate HTTP/1.1\r\n" HOST "\r\n"
#define GET_QUICK "GET /quick HTTP/1.1\r\n" HOST "\r\n"

/* A connection whose handlers run on a worker; those of /gate wait until the test opens it. */
typedef struct job_bench {
    conn_bench_t cb;
    hs_ev_t *ev;
    hs_c_handler_t handler; /* of the worker */
    hs_workers_t *workers;
    gate_t gate;
} job_bench_t;

static hs_executor_t *executor_of(job_bench_t *jb)
{
    return &jb->cb.peer.env.executor;
}

static void answer_url(hs_request_t *request, hs_response_t *response, void *user_data)
{
    job_bench_t *jb = user_data;
    const char *url = hs_req_url(request);
    if (strcmp(url, "/gate") == 0)
        gate_pass(&jb->gate);
    if (hs_res_body_str(response, url) != 0 || hs_res_send(response) != 0)
        abort(); /* cmocka's assertions work only on the test's thread */
}

/* Responds on the loop's thread and lets a worker run every later request. */
static void answer_then_submit(hs_request_t *request, hs_response_t *response, void *user_data)
{
    job_bench_t *jb = user_data;
    executor_of(jb)->mode = HS_DISPATCH_WORKER;
    answer_url(request, response, jb);
}

static void respond_large_then_submit(hs_request_t *request, hs_response_t *response,
                                      void *user_data)
{
    static const char data[100 * 1024];
    job_bench_t *jb = user_data;
    (void)request;
    executor_of(jb)->mode = HS_DISPATCH_WORKER;
    assert_int_equal(hs_res_body(response, data, sizeof(data)), 0);
    assert_int_equal(hs_res_send(response), 0);
}

static int jobs_begin(void **state)
{
    static job_bench_t bench;
    job_bench_t *jb = *state = &bench;
    *jb = (job_bench_t){ .gate = GATE_SHUT };
    conn_bench_init(&jb->cb, answer_url);
    jb->cb.limits.handler_timeout_ms = 3000;
    jb->cb.user_data = jb;
    jb->cb.jobs_away = true;
    conn_open(&jb->cb);
    jb->ev = hs_ev_new(jb, 16);
    assert_non_null(jb->ev);
    jb->handler = jb->cb.peer.handler;
    hs_executor_t *executor = executor_of(jb);
    hs_executor_init(executor, hs_c_handler_as_handler(&jb->cb.peer.handler), HS_DISPATCH_WORKER,
                     jb->ev);
    hs_workers_config_t config = { .factory = hs_c_handler_factory(&jb->handler),
                                   .log = &jb->cb.peer.log,
                                   .completions = &executor->completions,
                                   .count = 1,
                                   .queue_capacity = 64 };
    jb->workers = hs_workers_new(&config);
    assert_non_null(jb->workers);
    hs_executor_set_workers(executor, jb->workers);
    return 0;
}

/* Like the loop's thread, until no worker has any job. */
static void collect_all(job_bench_t *jb)
{
    hs_executor_t *executor = executor_of(jb);
    conn_pump(&jb->cb);
    while (executor->completions.away > 0) {
        hs_workers_wake(jb->workers);
        int timeout_ms = hs_executor_begin_sleep(executor, 20000);
        assert_true(hs_ev_poll(jb->ev, timeout_ms) >= 0);
        hs_executor_end_sleep(executor);
        conn_pump(&jb->cb);
    }
}

/* Also after a failure: no worker is left at the gate. */
static int jobs_end(void **state)
{
    job_bench_t *jb = *state;
    gate_open(&jb->gate);
    byte_peer_abort(&jb->cb.peer);
    collect_all(jb);
    assert_int_equal(hs_workers_stop(jb->workers, UINT32_MAX), 0);
    hs_workers_free(jb->workers);
    hs_ev_free(jb->ev);
    conn_close(&jb->cb);
    return 0;
}

static void receive(job_bench_t *jb, const char *text)
{
    assert_int_equal(conn_receive(&jb->cb, text, strlen(text)), strlen(text));
}

/* Submits a request that waits at the gate; returns when a worker is there. */
static void submit_at_the_gate(job_bench_t *jb, const char *text)
{
    receive(jb, text);
    assert_true(jb->cb.peer.conn.away);
    hs_executor_flush(executor_of(jb));
    hs_workers_wake(jb->workers);
    gate_await(&jb->gate, 1);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    job_bench_t *jb = *state;
    static char text[16384];
    text[0] = '\0';
    for (int i = 0; i < 200; i++)
        snprintf(text + strlen(text), 64, "GET /%d HTTP/1.1\r\n" HOST "\r\n", i);
    receive(jb, text);
    collect_all(jb);
    for (int i = 0; i < 200; i++) {
        char url[16];
        snprintf(url, sizeof(url), "/%d", i);
        expect_response(&jb->cb, 200, url);
    }
    expect_no_more(&jb->cb);
    assert_true(conn_is_idle(&jb->cb));
}

static void nothing_is_read_meanwhile_and_the_handler_has_a_deadline(void **state)
{
    job_bench_t *jb = *state;
    submit_at_the_gate(jb, GET_GATE "GET /later HTTP/1.1\r\n");
    assert_int_equal(conn_receive(&jb->cb, "x", 1), 0);
    assert_int_equal(jb->cb.peer.conn.wait, HS_CONN_WAIT_HANDLER);
    assert_int_equal(jb->cb.peer.conn.stream.deadline_ms, *conn_now_ms(&jb->cb) + 3000);
    gate_open(&jb->gate);
    collect_all(jb);
    expect_response(&jb->cb, 200, "/gate");
    receive(jb, HOST "\r\n");
    collect_all(jb);
    expect_response(&jb->cb, 200, "/later");
}

/* Nothing is pending for the connection itself: it holds no ring and no output. */
static void a_connection_without_unread_bytes_gives_its_buffers_back(void **state)
{
    job_bench_t *jb = *state;
    submit_at_the_gate(jb, "POST /gate HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n01234");
    assert_null(jb->cb.peer.conn.stream.buffers);
    assert_int_equal(jb->cb.peer.env.loop.buffers.leased, 0);
    gate_open(&jb->gate);
    collect_all(jb);
    expect_response(&jb->cb, 200, "/gate");
    assert_true(conn_is_idle(&jb->cb));
}

static void a_peer_that_shuts_gets_its_responses(void **state)
{
    job_bench_t *jb = *state;
    submit_at_the_gate(jb, GET_GATE GET_QUICK "GET /unfinished");
    conn_peer_shuts(&jb->cb);
    assert_true(jb->cb.peer.conn.away);
    gate_open(&jb->gate);
    collect_all(jb);
    expect_response(&jb->cb, 200, "/gate");
    expect_response(&jb->cb, 200, "/quick");
    expect_no_more(&jb->cb);
    assert_true(conn_is_closed(&jb->cb));
}

/* The descriptor is dead: the connection is closed at once, the job when the worker is done. */
static void a_connection_that_dies_leaves_its_job_to_the_worker(void **state)
{
    job_bench_t *jb = *state;
    submit_at_the_gate(jb, GET_GATE);
    conn_peer_resets(&jb->cb);
    assert_true(conn_is_closed(&jb->cb));
    assert_null(jb->cb.peer.conn.job);
    assert_int_equal(jb->cb.peer.env.jobs.leased, 1);
    gate_open(&jb->gate);
    collect_all(jb);
    assert_int_equal(jb->cb.peer.env.jobs.leased, 0);
    assert_int_equal(jb->cb.peer.got.len, 0);
}

static void a_handler_that_takes_too_long_is_503(void **state)
{
    job_bench_t *jb = *state;
    receive(jb, GET_QUICK);
    collect_all(jb);
    expect_response(&jb->cb, 200, "/quick");
    submit_at_the_gate(jb, GET_GATE GET_QUICK);
    conn_pass_deadline(&jb->cb);
    conn_pump(&jb->cb);
    response_t response = next_response(&jb->cb);
    assert_int_equal(response.status, 503);
    assert_true(response_has(&response, "Connection: close"));
    assert_int_equal(jb->cb.peer.conn.phase, HS_CONN_LINGERING);
    gate_open(&jb->gate);
    collect_all(jb);
    expect_no_more(&jb->cb); /* the worker's response is discarded */
    assert_int_equal(jb->cb.peer.env.jobs.leased, 0);
}

/* A client that reads an earlier response slowly gains no time for its handler. */
static void sending_does_not_move_the_handlers_deadline(void **state)
{
    job_bench_t *jb = *state;
    /* Both requests arrive together; the response to the first is unsent when the second is
     * submitted. */
    executor_of(jb)->mode = HS_DISPATCH_INLINE;
    jb->cb.peer.handler.function = answer_then_submit;
    submit_at_the_gate(jb, GET_QUICK GET_GATE);
    uint64_t deadline_ms = jb->cb.peer.conn.stream.deadline_ms;
    *conn_now_ms(&jb->cb) += 1000;
    jb->cb.send_step = 10;
    assert_true(conn_send_some(&jb->cb));
    assert_int_equal(jb->cb.peer.conn.wait, HS_CONN_WAIT_HANDLER);
    assert_int_equal(jb->cb.peer.conn.stream.deadline_ms, deadline_ms);
    gate_open(&jb->gate);
    collect_all(jb);
    expect_response(&jb->cb, 200, "/quick");
    expect_response(&jb->cb, 200, "/gate");
}

/* The request after a large response is submitted when the response has been sent, after everything
 * else of the turn: a worker gets it before the loop sleeps. */
static void a_job_that_begins_when_output_is_sent_reaches_a_worker(void **state)
{
    job_bench_t *jb = *state;
    executor_of(jb)->mode = HS_DISPATCH_INLINE;
    jb->cb.peer.handler.function = respond_large_then_submit;
    receive(jb, "GET /large HTTP/1.1\r\n" HOST "\r\n" GET_QUICK);
    assert_false(jb->cb.peer.conn.away);
    collect_all(jb);
    assert_int_equal(next_response(&jb->cb).body_len, 100 * 1024);
    expect_response(&jb->cb, 200, "/quick");
}

static void draining_waits_for_the_worker(void **state)
{
    job_bench_t *jb = *state;
    submit_at_the_gate(jb, GET_GATE GET_QUICK);
    conn_drain(&jb->cb);
    assert_true(jb->cb.peer.conn.away);
    gate_open(&jb->gate);
    collect_all(jb);
    response_t response = next_response(&jb->cb);
    assert_int_equal(response.status, 200);
    assert_true(response_has(&response, "Connection: close"));
    expect_no_more(&jb->cb);
}

#define JOB_TEST(name) cmocka_unit_test_setup_teardown(name, jobs_begin, jobs_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        JOB_TEST(pipelined_requests_are_answered_in_order),
        JOB_TEST(nothing_is_read_meanwhile_and_the_handler_has_a_deadline),
        JOB_TEST(a_connection_without_unread_bytes_gives_its_buffers_back),
        JOB_TEST(a_peer_that_shuts_gets_its_responses),
        JOB_TEST(a_connection_that_dies_leaves_its_job_to_the_worker),
        JOB_TEST(a_handler_that_takes_too_long_is_503),
        JOB_TEST(sending_does_not_move_the_handlers_deadline),
        JOB_TEST(a_job_that_begins_when_output_is_sent_reaches_a_worker),
        JOB_TEST(draining_waits_for_the_worker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
