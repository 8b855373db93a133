/*
 * hs_conn when memory runs out: every allocation of a scenario fails once, alone and with all later
 * ones. The client gets complete responses or sees the connection end; nothing crashes or leaks.
 * And without failures: the steady state allocates nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc_fault.h"
#include "conn/conn_bench.h"

#define HOST "Host: a\r\n"
#define SENT_CAPACITY (4 * 1024 * 1024)

/* Texts that a handler asks for are strings, if empty ones, when memory is short. */
static void read_texts(const hs_request_t *request)
{
    assert_true(strlen(hs_req_id(request)) < HS_REQUEST_ID_CAP);
    assert_true(strlen(hs_req_peer_address(request)) < HS_PEER_TEXT_CAP);
    assert_true(strlen(hs_req_trusted_peer(request)) < HS_PEER_TEXT_CAP);
}

/* Builds the response that the target asks for and checks no result, like a careless handler. */
static void careless(hs_request_t *request, hs_response_t *response, void *user_data)
{
    static char data[300 * 1024];
    conn_bench_t *cb = user_data;
    cb->handled++;
    read_texts(request);
    size_t len = (size_t)atoi(hs_req_url(request) + 1);
    int ignored = hs_res_status(response, 200);
    for (int i = 0; i < 20; i++)
        ignored |= hs_res_header(response, "X-Filler", "a value of some length, twenty times");
    memset(data, 'd', len);
    ignored |= hs_res_body(response, data, len);
    ignored |= hs_res_send(response);
    (void)ignored;
}

typedef struct scenario {
    const char *head;
    size_t content; /* bytes of 'c' after the head */
    const char *rest;
    uint32_t ring_size;
    unsigned responses; /* complete responses if memory suffices, including interim ones */
} scenario_t;

#define GET_SMALL "GET /5 HTTP/1.1\r\n" HOST "\r\n"
#define GET_LARGE "GET /200000 HTTP/1.1\r\n" HOST "\r\n"
#define CHUNKED "POST /5 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"

static const scenario_t scenarios[] = {
    { GET_SMALL, 0, "", 8192, 1 },
    { GET_SMALL GET_SMALL GET_SMALL, 0, "", 256, 3 },
    { GET_LARGE GET_SMALL GET_LARGE, 0, GET_SMALL, 8192, 4 },
    { "POST /10 HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\n", 100, GET_SMALL, 8192, 2 },
    { "POST /10 HTTP/1.1\r\n" HOST "Content-Length: 9000\r\n\r\n", 9000, GET_SMALL, 256, 2 },
    { CHUNKED "1f40\r\n", 8000, "\r\n4\r\nmore\r\n0\r\n\r\n" GET_SMALL, 512, 2 },
    { "PUT /5 HTTP/1.1\r\n" HOST "Content-Length: 9\r\nExpect: 100-continue\r\n\r\n", 9, GET_SMALL,
      8192, 3 },
    { GET_SMALL "NONSENSE\r\n\r\n", 0, GET_SMALL, 8192, 2 },
    { GET_SMALL "GET / HTTP/1.1\r\n\r\n", 0, "", 8192, 2 },
    { "GET /70000 HTTP/1.0\r\n\r\n", 0, "", 8192, 1 },
};

#define SCENARIO_COUNT (sizeof(scenarios) / sizeof(scenarios[0]))

static void bench_open(conn_bench_t *cb, uint32_t ring_size)
{
    conn_bench_init(cb, careless);
    cb->limits.ring_size = ring_size;
    /* So that the bench itself allocates nothing later. */
    assert_true(hs_buf_reserve_exact(&cb->peer.got, SENT_CAPACITY));
    conn_open(cb);
}

static void play(conn_bench_t *cb, const scenario_t *scenario)
{
    static char content[9000];
    memset(content, 'c', sizeof(content));
    conn_feed(cb, scenario->head, strlen(scenario->head), 1000);
    conn_feed(cb, content, scenario->content, 1000);
    conn_feed(cb, scenario->rest, strlen(scenario->rest), 1000);
}

/* The number of complete responses sent; nothing else was sent. */
static unsigned count_responses(conn_bench_t *cb)
{
    unsigned count = 0;
    for (; cb->read_at < cb->peer.got.len; count++) {
        int status = next_response(cb).status;
        assert_true(status == 100 || status == 200 || status == 400 || status == 500);
    }
    return count;
}

static void with_a_failure(const scenario_t *scenario, size_t failing, bool lasting)
{
    conn_bench_t cb;
    size_t live = alloc_fault_live();
    bench_open(&cb, scenario->ring_size);
    alloc_fault_arm(failing, lasting);
    play(&cb, scenario);
    alloc_fault_disarm();
    unsigned responses = count_responses(&cb);
    bool ended = conn_is_closed(&cb) || cb.peer.conn.phase == HS_CONN_LINGERING;
    if (!ended && responses != scenario->responses)
        print_error("allocation %zu of \"%.20s\": %u responses and still open\n", failing,
                    scenario->head, responses);
    assert_true(ended || responses == scenario->responses);
    assert_true(responses <= scenario->responses);
    conn_close(&cb);
    assert_int_equal(alloc_fault_live(), live);
}

static size_t allocations_of(const scenario_t *scenario)
{
    conn_bench_t cb;
    bench_open(&cb, scenario->ring_size);
    alloc_fault_arm(0, false);
    play(&cb, scenario);
    size_t count = alloc_fault_disarm();
    assert_int_equal(count_responses(&cb), scenario->responses);
    conn_close(&cb);
    return count;
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < SCENARIO_COUNT; i++) {
        size_t count = allocations_of(&scenarios[i]);
        assert_true(count >= 2);
        for (size_t failing = 1; failing <= count + 1; failing++) {
            with_a_failure(&scenarios[i], failing, false);
            with_a_failure(&scenarios[i], failing, true);
        }
    }
}

static hs_deferred_t deferred_job;

static void defer_careless(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)request;
    (void)user_data;
    (void)hs_res_write(response, "begun", 5);
    deferred_job = hs_res_defer(response);
}

/* Writes 200 KB in pieces to a client that reads slowly; gives up what it cannot write. */
static void stream_careless(conn_bench_t *cb)
{
    static char data[40000];
    bool is_good = true;
    hs_response_t *response = hs_deferred_response(deferred_job);
    for (unsigned i = 0; i < 5 && is_good; i++) {
        is_good = hs_res_write(response, data, sizeof(data)) >= 0;
        if (i % 2 == 0)
            conn_pump(cb);
    }
    int ended = is_good ? hs_res_send(response) : hs_res_fail(response);
    assert_int_equal(ended, 0);
    conn_pump(cb);
}

/* The number of allocations. `passes_on`: the handler is called at the end of the head.
 */
static size_t streamed_with_a_failure(size_t failing, bool lasting, bool passes_on)
{
    static const char text[] = "POST /later HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n01234";
    static const char end[] = "\r\n0\r\n\r\n";
    conn_bench_t cb;
    size_t live = alloc_fault_live();
    bench_open(&cb, 8192);
    cb.peer.handler.function = defer_careless;
    cb.jobs_away = true;
    cb.peer.env.streams_content = passes_on;
    cb.send_step = 30000;
    deferred_job = 0;
    alloc_fault_arm(failing, lasting);
    conn_feed_text(&cb, text);
    if (deferred_job != 0)
        stream_careless(&cb);
    size_t asked = alloc_fault_disarm();
    conn_pump(&cb);
    /* Everything has arrived, or the connection has ended. */
    const hs_buf_t *got = &cb.peer.got;
    bool is_whole =
        got->len > 200000 && memcmp(got->data + got->len - strlen(end), end, strlen(end)) == 0;
    assert_true(is_whole || deferred_job == 0 || conn_is_closed(&cb));
    if (failing == 0)
        assert_true(is_whole && conn_is_idle(&cb));
    /* It could not be deferred: then the response is what was built, or an error. */
    if (deferred_job == 0 && got->len > 0) {
        int status = next_response(&cb).status;
        assert_true(status == 200 || status == 500);
    }
    conn_close(&cb);
    assert_int_equal(alloc_fault_live(), live);
    return asked;
}

static void every_allocation_of_a_streamed_response_fails_once(void **state)
{
    (void)state;
    for (unsigned passes_on = 0; passes_on < 2; passes_on++) {
        size_t count = streamed_with_a_failure(0, false, passes_on);
        assert_true(count >= 10);
        for (size_t failing = 1; failing <= count + 1; failing++) {
            streamed_with_a_failure(failing, false, passes_on);
            streamed_with_a_failure(failing, true, passes_on);
        }
    }
}

static void a_connection_too_many_without_memory(void **state)
{
    (void)state;
    /* Job and buffers come from the region; only the allocation of the output can fail. */
    const size_t none = 2;
    for (size_t failing = 1; failing <= none; failing++) {
        conn_bench_t cb;
        size_t live = alloc_fault_live();
        bench_open(&cb, 8192);
        alloc_fault_arm(failing, true);
        conn_shed(&cb);
        conn_pump(&cb);
        alloc_fault_disarm();
        assert_true(failing == none ? cb.peer.conn.phase == HS_CONN_LINGERING
                                    : conn_is_closed(&cb));
        assert_int_equal(cb.peer.got.len > 0, failing == none);
        conn_close(&cb);
        assert_int_equal(alloc_fault_live(), live);
    }
}

static void a_deadline_without_memory(void **state)
{
    (void)state;
    conn_bench_t cb;
    size_t live = alloc_fault_live();
    bench_open(&cb, 8192);
    conn_feed_text(&cb, "GET / HT");
    alloc_fault_arm(1, true);
    conn_pass_deadline(&cb);
    alloc_fault_disarm();
    assert_true(conn_is_closed(&cb));
    assert_int_equal(cb.peer.got.len, 0);
    conn_close(&cb);
    assert_int_equal(alloc_fault_live(), live);
}

/* Exchanges and their buffers are reused: after the first requests nothing is allocated. */
static void the_steady_state_allocates_nothing(void **state)
{
    (void)state;
    static const char *const requests[] = {
        GET_SMALL,
        "GET /8000 HTTP/1.1\r\n" HOST "\r\n",
        GET_SMALL GET_SMALL GET_SMALL GET_SMALL,
        "POST /10 HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\n0123456789",
        CHUNKED "a\r\n0123456789\r\n0\r\n\r\n",
        "HEAD /100 HTTP/1.1\r\n" HOST "\r\n",
    };
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        conn_bench_t cb;
        bench_open(&cb, 8192);
        for (int warm = 0; warm < 3; warm++)
            conn_feed_text(&cb, requests[i]);
        cb.peer.got.len = 0;
        alloc_fault_arm(0, false);
        for (int k = 0; k < 100; k++) {
            conn_feed_text(&cb, requests[i]);
            cb.peer.got.len = 0;
        }
        assert_int_equal(alloc_fault_disarm(), 0);
        assert_true(conn_is_idle(&cb));
        conn_close(&cb);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(every_allocation_of_a_streamed_response_fails_once),
        cmocka_unit_test(a_connection_too_many_without_memory),
        cmocka_unit_test(a_deadline_without_memory),
        cmocka_unit_test(the_steady_state_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
