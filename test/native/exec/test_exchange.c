/* hs_exchange: leasing, what is forgotten between messages, and generations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exec/exchange_bench.h"

static void pool_begin(bench_t *bench)
{
    bench_begin(bench);
    hs_exchange_give_back(&bench->pool, bench->exchange);
    bench->exchange = NULL;
}

static void the_exchange_given_back_last_is_leased_first(void **state)
{
    (void)state;
    bench_t bench;
    pool_begin(&bench);
    hs_exchange_t *leased[10];
    for (int i = 0; i < 10; i++) {
        leased[i] = hs_exchange_lease(&bench.pool);
        assert_non_null(leased[i]);
        for (int k = 0; k < i; k++)
            assert_ptr_not_equal(leased[i], leased[k]);
    }
    assert_int_equal(bench.pool.leased, 10);
    for (int i = 0; i < 10; i++)
        hs_exchange_give_back(&bench.pool, leased[i]);
    assert_int_equal(bench.pool.leased, 0);
    for (int i = 9; i >= 0; i--)
        assert_ptr_equal(hs_exchange_lease(&bench.pool), leased[i]);
    for (int i = 0; i < 10; i++)
        hs_exchange_give_back(&bench.pool, leased[i]);
    hs_exchange_pool_free(&bench.pool);
    assert_null(bench.pool.free);
}

/* More are leased at a time than a quiet reactor keeps. */
#define BURST 1000
#define KEPT 256

static void memory_of_a_burst_goes_back(void **state)
{
    (void)state;
    bench_t bench;
    pool_begin(&bench);
    static hs_exchange_t *leased[BURST];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < BURST; i++) {
            leased[i] = hs_exchange_lease(&bench.pool);
            assert_non_null(leased[i]);
            memset(leased[i]->ring.data, 'r', bench.limits.ring_size);
            memset(leased[i]->arena, 'a', bench.limits.ring_size);
            assert_true(hs_buf_append(&leased[i]->content, "content", 7));
        }
        uint64_t handle = leased[0]->view.handle;
        for (int i = 0; i < BURST / 2; i++)
            hs_exchange_give_back(&bench.pool, leased[i]);
        assert_int_equal(bench.pool.free_count, BURST / 2); /* as many as are leased */
        for (int i = BURST / 2; i < BURST; i++)
            hs_exchange_give_back(&bench.pool, leased[i]);
        assert_int_equal(bench.pool.free_count, KEPT);
        int without = 0;
        for (int i = 0; i < BURST; i++)
            without += leased[i]->ring.data == NULL && leased[i]->content.data == NULL;
        assert_int_equal(without, BURST - KEPT);
        /* A request object that Lua has kept finds out that it is over. */
        assert_int_equal(leased[0]->view.handle, hs_handle_next(handle));
    }
    hs_exchange_pool_free(&bench.pool);
}

static void ring_and_arena_have_the_configured_size(void **state)
{
    (void)state;
    bench_t bench;
    pool_begin(&bench);
    hs_exchange_t *exchange = hs_exchange_lease(&bench.pool);
    assert_int_equal(exchange->ring.capacity, bench.limits.ring_size);
    assert_int_equal(hs_ring_used(&exchange->ring), 0);
    assert_int_equal((uintptr_t)exchange % HS_CACHE_LINE, 0);
    assert_int_equal((uintptr_t)exchange->ring.data % HS_CACHE_LINE, 0);
    assert_int_equal(exchange->request.msg.field_cap, bench.limits.max_headers);
    /* Every byte and every field is ours. */
    memset(exchange->ring.data, 'r', bench.limits.ring_size);
    memset(exchange->arena, 'a', bench.limits.ring_size);
    memset(exchange->fields, 0, bench.limits.max_headers * sizeof(hs_field_t));
    assert_int_equal(exchange->ring.data[bench.limits.ring_size - 1], 'r');
    hs_exchange_give_back(&bench.pool, exchange);
    hs_exchange_pool_free(&bench.pool);
}

static void fill(hs_exchange_t *exchange, size_t bytes)
{
    static char data[100 * 1024];
    assert_true(hs_buf_append(&exchange->out, data, bytes));
    assert_true(hs_buf_append(&exchange->out_body, data, bytes));
    assert_true(hs_buf_append(&exchange->content, data, bytes));
    assert_true(hs_buf_append(&exchange->response.fields, data, bytes));
    assert_true(hs_buf_append(&exchange->response.body, data, bytes));
    exchange->out_sent = 1;
    hs_ring_commit(&exchange->ring, 100);
    exchange->parsed = 60;
}

static void expect_clean(const hs_exchange_t *exchange)
{
    assert_int_equal(hs_ring_used(&exchange->ring), 0);
    assert_int_equal(exchange->ring.head, 0);
    assert_int_equal(exchange->parsed, 0);
    assert_int_equal(exchange->out.len, 0);
    assert_int_equal(exchange->out_sent, 0);
    assert_int_equal(exchange->out_body.len, 0);
    assert_int_equal(exchange->out_body_sent, 0);
    assert_int_equal(exchange->content.len, 0);
    assert_int_equal(exchange->response.fields.len, 0);
    assert_int_equal(exchange->response.body.len, 0);
    assert_int_equal(exchange->response.state, HS_ANSWER_IDLE);
    assert_int_equal(hs_exchange_unsent(exchange), 0);
}

static void what_is_given_back_comes_out_clean(void **state)
{
    (void)state;
    bench_t bench;
    pool_begin(&bench);
    for (size_t bytes = 1; bytes <= 100 * 1024; bytes *= 10) {
        hs_exchange_t *exchange = hs_exchange_lease(&bench.pool);
        fill(exchange, bytes);
        exchange->response.state = HS_ANSWER_SENT;
        hs_exchange_give_back(&bench.pool, exchange);
        exchange = hs_exchange_lease(&bench.pool);
        expect_clean(exchange);
        hs_exchange_give_back(&bench.pool, exchange);
    }
    hs_exchange_pool_free(&bench.pool);
}

/* One large message must not stay paid for; ordinary ones must not allocate again. */
static void large_buffers_are_freed_and_small_ones_kept(void **state)
{
    (void)state;
    bench_t bench;
    pool_begin(&bench);
    hs_exchange_t *exchange = hs_exchange_lease(&bench.pool);
    fill(exchange, 1000);
    const char *out = exchange->out.data, *body = exchange->response.body.data;
    hs_exchange_give_back(&bench.pool, exchange);
    exchange = hs_exchange_lease(&bench.pool);
    assert_ptr_equal(exchange->out.data, out);
    assert_ptr_equal(exchange->response.body.data, body);
    fill(exchange, 100 * 1024);
    hs_exchange_give_back(&bench.pool, exchange);
    exchange = hs_exchange_lease(&bench.pool);
    assert_null(exchange->out.data);
    assert_null(exchange->out_body.data);
    assert_null(exchange->content.data);
    assert_null(exchange->response.body.data);
    hs_exchange_give_back(&bench.pool, exchange);
    hs_exchange_pool_free(&bench.pool);
}

static void every_message_has_a_handle_of_its_own(void **state)
{
    (void)state;
    bench_t bench;
    bench_begin(&bench);
    uint64_t last = bench.exchange->view.handle;
    for (int i = 0; i < 5; i++) {
        bench_request(&bench, "GET / HTTP/1.0\r\n\r\n");
        assert_int_equal(bench.exchange->view.handle, last);
        bench_end_request(&bench);
        assert_int_not_equal(bench.exchange->view.handle, last);
        last = bench.exchange->view.handle;
    }
    hs_exchange_t *same = bench.exchange;
    hs_exchange_give_back(&bench.pool, bench.exchange);
    bench.exchange = hs_exchange_lease(&bench.pool);
    assert_ptr_equal(bench.exchange, same);
    assert_int_not_equal(bench.exchange->view.handle, last);
    bench_end(&bench);
}

/* The end of a message releases its bytes and nothing behind them. */
static void the_end_of_a_message_keeps_what_follows(void **state)
{
    (void)state;
    bench_t bench;
    bench_begin(&bench);
    hs_exchange_t *exchange = bench.exchange;
    bench_request(&bench, "GET / HTTP/1.0\r\n\r\n");
    uint32_t end = exchange->parsed;
    memcpy(hs_ring_at(&exchange->ring, exchange->ring.head), "GET", 3);
    hs_ring_commit(&exchange->ring, 3);
    bench_end_request(&bench);
    assert_int_equal(hs_ring_used(&exchange->ring), 3);
    assert_int_equal(exchange->ring.tail, end);
    assert_memory_equal(hs_ring_at(&exchange->ring, exchange->parsed), "GET", 3);
    bench_end(&bench);
}

static void the_accessors_of_a_request(void **state)
{
    (void)state;
    bench_t bench;
    bench_begin(&bench);
    bench_request(&bench, "PUT /a?b=c HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nEmpty:\r\nx-one: 2\r\n"
                          "Content-Length: 5\r\n\r\nhe\0lo");
    /* strlen ended the text at the NUL: the content has its first two bytes. */
    const hs_request_t *request = &bench.exchange->request;
    assert_int_equal(hs_req_method(request), HTTP_PUT);
    assert_string_equal(hs_req_method_str(request), "PUT");
    assert_string_equal(hs_req_url(request), "/a?b=c");
    assert_string_equal(hs_req_http_version(request), "1.1");
    assert_string_equal(hs_req_header(request, "host"), "h");
    assert_string_equal(hs_req_header(request, "X-ONE"), "1");
    assert_string_equal(hs_req_header(request, "empty"), "");
    assert_null(hs_req_header(request, "X-On"));
    assert_null(hs_req_header(request, ""));
    size_t length;
    assert_memory_equal(hs_req_body(request, &length), "he", 2);
    assert_int_equal(length, 2);
    assert_non_null(hs_req_body(request, NULL));
    bench_end_request(&bench);
    bench_request(&bench, "GET / HTTP/1.0\r\n\r\n");
    assert_string_equal(hs_req_http_version(request), "1.0");
    assert_non_null(hs_req_body(request, &length));
    assert_int_equal(length, 0);
    bench_end_request(&bench);
    bench_end(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_exchange_given_back_last_is_leased_first),
        cmocka_unit_test(memory_of_a_burst_goes_back),
        cmocka_unit_test(ring_and_arena_have_the_configured_size),
        cmocka_unit_test(what_is_given_back_comes_out_clean),
        cmocka_unit_test(large_buffers_are_freed_and_small_ones_kept),
        cmocka_unit_test(every_message_has_a_handle_of_its_own),
        cmocka_unit_test(the_end_of_a_message_keeps_what_follows),
        cmocka_unit_test(the_accessors_of_a_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
