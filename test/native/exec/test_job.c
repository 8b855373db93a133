/* hs_job: leasing, state reset between messages, generations, and what a request keeps when
 * it leaves the ring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exec/hs_res.h"
#include "exec/job_bench.h"

static void pool_begin(bench_t *bench)
{
    bench_begin(bench);
    hs_job_give_back(&bench->pool, bench->job);
    bench->job = NULL;
}

static void the_job_given_back_last_is_leased_first(void **state)
{
    (void)state;
    bench_t bench;
    pool_begin(&bench);
    hs_job_t *leased[10];
    for (int i = 0; i < 10; i++) {
        leased[i] = hs_job_lease(&bench.pool);
        assert_non_null(leased[i]);
        assert_int_equal((uintptr_t)leased[i] % HS_CACHE_LINE, 0);
        assert_int_equal(hs_job_state(leased[i]), HS_JOB_NEW);
        for (int k = 0; k < i; k++)
            assert_ptr_not_equal(leased[i], leased[k]);
    }
    assert_int_equal(bench.pool.leased, 10);
    for (int i = 0; i < 10; i++)
        hs_job_give_back(&bench.pool, leased[i]);
    assert_int_equal(bench.pool.leased, 0);
    for (int i = 9; i >= 0; i--)
        assert_ptr_equal(hs_job_lease(&bench.pool), leased[i]);
    for (int i = 0; i < 10; i++)
        hs_job_give_back(&bench.pool, leased[i]);
    hs_job_pool_free(&bench.pool);
    assert_int_equal(hs_pool_in_use(bench.pool.blocks), 0);
    hs_pool_free(bench.pool.blocks);
}

static void no_more_than_the_limit_are_leased(void **state)
{
    (void)state;
    bench_t bench;
    hs_job_pool_t pool;
    hs_pool_t blocks;
    bench_begin(&bench);
    job_pool_begin(&pool, &blocks, 2, &bench.log, NULL);
    hs_job_t *first = hs_job_lease(&pool), *second = hs_job_lease(&pool);
    assert_non_null(second);
    assert_null(hs_job_lease(&pool));
    hs_job_give_back(&pool, first);
    assert_ptr_equal(hs_job_lease(&pool), first);
    hs_job_give_back(&pool, first);
    hs_job_give_back(&pool, second);
    job_pool_end(&pool);
    bench_end(&bench);
}

static void fill(bench_t *bench, hs_job_t *job, size_t bytes)
{
    static char data[100 * 1024];
    hs_res_begin(&job->response);
    assert_int_equal(hs_job_reserve_content(&bench->pool, job, bytes, 0, true), HS_OK);
    hs_buf_put(&job->content, data, bytes);
    assert_true(hs_buf_append(&job->store, data, bytes));
    assert_true(hs_buf_append(&job->response.fields, data, bytes));
    assert_true(hs_buf_append(&job->response.body, data, bytes));
}

static void expect_clean(const hs_job_t *job)
{
    assert_int_equal(job->content.len, 0);
    assert_int_equal(job->store.len, 0);
    assert_int_equal(job->response.fields.len, 0);
    assert_int_equal(job->response.body.len, 0);
    assert_int_equal(job->response.kind, HS_CONTENT_COPIED);
    assert_int_equal(job->response.sending, HS_SENDING_NOTHING);
    assert_int_equal(atomic_load(&job->aborted), 0);
    assert_int_equal(atomic_load(&job->posted), 0);
    assert_int_equal(atomic_load(&job->chained), 0);
    assert_false(atomic_load(&job->waits));
    assert_null(job->callbacks.on_end);
    assert_false(job->was_away);
}

static void what_is_given_back_comes_out_clean(void **state)
{
    (void)state;
    bench_t bench;
    pool_begin(&bench);
    for (size_t bytes = 1; bytes <= 100 * 1024; bytes *= 10) {
        hs_job_t *job = hs_job_lease(&bench.pool);
        fill(&bench, job, bytes);
        job->was_away = true;
        job->callbacks.on_end = hs_free;
        atomic_store(&job->aborted, HS_ABORT_LOST);
        atomic_store(&job->posted, 1);
        atomic_store(&job->chained, 1);
        atomic_store(&job->waits, true);
        hs_job_give_back(&bench.pool, job);
        job = hs_job_lease(&bench.pool);
        expect_clean(job);
        hs_job_give_back(&bench.pool, job);
    }
    job_pool_end(&bench.pool);
}

/* More are leased at a time than an idle reactor keeps. */
#define BURST 1000
#define KEPT HS_HOT_MAX

static void memory_of_a_burst_goes_back(void **state)
{
    (void)state;
    bench_t bench;
    pool_begin(&bench);
    static hs_job_t *leased[BURST];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < BURST; i++) {
            leased[i] = hs_job_lease(&bench.pool);
            assert_non_null(leased[i]);
            fill(&bench, leased[i], 8000);
        }
        assert_true(bench.pool.content_bytes >= (size_t)8000 * BURST);
        uint64_t handle = leased[0]->view.handle;
        for (int i = 0; i < BURST; i++)
            hs_job_give_back(&bench.pool, leased[i]);
        assert_int_equal(bench.pool.leased, 0);
        int without = 0;
        for (int i = 0; i < BURST; i++)
            without += leased[i]->content.data == NULL && leased[i]->response.body.data == NULL &&
                       leased[i]->response.fields.data == NULL && leased[i]->store.data == NULL;
        assert_int_equal(without, BURST - KEPT);
        assert_true(bench.pool.content_bytes <= (size_t)2 * 8000 * KEPT);
        /* A request object kept by Lua detects that the request is over. */
        assert_int_equal(leased[0]->view.handle, hs_handle_next(handle));
    }
    job_pool_end(&bench.pool);
}

/* However many are free: reuse allocates nothing. */
static void the_last_given_back_keep_their_buffers(void **state)
{
    (void)state;
    bench_t bench;
    pool_begin(&bench);
    static hs_job_t *leased[BURST];
    for (int i = 0; i < BURST; i++) {
        leased[i] = hs_job_lease(&bench.pool);
        fill(&bench, leased[i], 8000);
    }
    for (int i = 0; i < BURST; i++)
        hs_job_give_back(&bench.pool, leased[i]);
    for (int i = 0; i < KEPT; i++) {
        assert_ptr_equal(hs_job_lease(&bench.pool), leased[BURST - 1 - i]);
        assert_true(leased[BURST - 1 - i]->response.body.capacity >= 8000);
    }
    for (int i = 0; i < KEPT; i++)
        hs_job_give_back(&bench.pool, leased[BURST - 1 - i]);
    job_pool_end(&bench.pool);
}

/* The memory of one large message must not be kept; ordinary messages must not allocate again. */
static void large_buffers_are_freed_and_small_ones_kept(void **state)
{
    (void)state;
    bench_t bench;
    pool_begin(&bench);
    hs_job_t *job = hs_job_lease(&bench.pool);
    fill(&bench, job, 1000);
    const char *fields = job->response.fields.data, *body = job->response.body.data;
    const char *content = job->content.data;
    hs_job_give_back(&bench.pool, job);
    job = hs_job_lease(&bench.pool);
    assert_ptr_equal(job->response.fields.data, fields);
    assert_ptr_equal(job->response.body.data, body);
    assert_ptr_equal(job->content.data, content);
    fill(&bench, job, 100 * 1024);
    hs_job_give_back(&bench.pool, job);
    job = hs_job_lease(&bench.pool);
    assert_null(job->response.fields.data);
    assert_null(job->response.body.data);
    assert_null(job->content.data);
    assert_null(job->store.data);
    assert_int_equal(bench.pool.content_bytes, 0);
    hs_job_give_back(&bench.pool, job);
    job_pool_end(&bench.pool);
}

static void every_message_has_a_handle_of_its_own(void **state)
{
    (void)state;
    bench_t bench;
    bench_begin(&bench);
    uint64_t last = bench.job->view.handle;
    for (int i = 0; i < 5; i++) {
        bench_request(&bench, "GET / HTTP/1.0\r\n\r\n");
        assert_int_equal(bench.job->view.handle, last);
        assert_ptr_equal(hs_job_of(last), bench.job);
        bench_end_request(&bench);
        assert_int_not_equal(bench.job->view.handle, last);
        assert_null(hs_job_of(last));
        last = bench.job->view.handle;
    }
    hs_job_t *same = bench.job;
    hs_job_give_back(&bench.pool, bench.job);
    bench.job = hs_job_lease(&bench.pool);
    assert_ptr_equal(bench.job, same);
    assert_int_not_equal(bench.job->view.handle, last);
    assert_null(hs_job_of(0));
    bench_end(&bench);
}

static int released;

static void count_release(void *context, uintptr_t token)
{
    (void)context;
    released += (int)token;
}

/* However content that was not copied is released, its callback is called once. */
static void pinned_content_is_released_once(void **state)
{
    (void)state;
    bench_t bench;
    bench_begin(&bench);
    hs_response_t *response = &bench.job->response;
    const hs_release_t release = { count_release, NULL, 1 };
    released = 0;
    hs_res_begin(response);
    assert_int_equal(hs_res_pin_body(response, hs_span("one", 3), release), HS_OK);
    assert_int_equal(hs_res_pin_body(response, hs_span("two", 3), release), HS_OK);
    assert_int_equal(released, 1);
    assert_int_equal(hs_res_set_body(response, hs_span("copied", 6)), HS_OK);
    assert_int_equal(released, 2);
    assert_int_equal(hs_res_pin_body(response, hs_span("three", 5), release), HS_OK);
    hs_res_replace(response, 500);
    assert_int_equal(released, 3);
    assert_int_equal(hs_res_pin_body(response, hs_span("late", 4), release), HS_ERR_STATE);
    bench_end_request(&bench);
    assert_int_equal(released, 3);
    hs_res_begin(response);
    assert_int_equal(hs_res_pin_body(response, hs_span("four", 4), release), HS_OK);
    bench_end_request(&bench);
    assert_int_equal(released, 4);
    hs_res_begin(response);
    assert_int_equal(hs_res_pin_body(response, hs_span("five", 4), release), HS_OK);
    bench_end(&bench);
    assert_int_equal(released, 5);
}

static const char put_request[] = "PUT /a?b=c HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nEmpty:\r\n"
                                  "x-one: 2\r\nContent-Length: 5\r\n\r\nhe\0lo";

static void expect_put_request(const hs_request_t *request)
{
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
    /* strlen ended the text at the NUL: the content has its first two bytes. */
    assert_memory_equal(hs_req_body(request, &length), "he", 2);
    assert_int_equal(length, 2);
}

static void the_accessors_of_a_request(void **state)
{
    (void)state;
    bench_t bench;
    bench_begin(&bench);
    bench_request(&bench, put_request);
    const hs_request_t *request = &bench.job->request;
    expect_put_request(request);
    assert_non_null(hs_req_body(request, NULL));
    bench_end_request(&bench);
    bench_request(&bench, "GET / HTTP/1.0\r\n\r\n");
    size_t length;
    assert_string_equal(hs_req_http_version(request), "1.0");
    assert_non_null(hs_req_body(request, &length));
    assert_int_equal(length, 0);
    bench_end_request(&bench);
    bench_end(&bench);
}

/* The memory in which a request was received is reused as soon as the job leaves the loop's thread.
 */
static void a_detached_request_needs_nothing_of_the_ring(void **state)
{
    (void)state;
    bench_t bench;
    bench_begin(&bench);
    bench_request(&bench, put_request);
    assert_true(hs_job_detach(bench.job));
    memset(bench.head, 'x', sizeof(bench.head));
    memset(bench.fields, 0xff, sizeof(bench.fields));
    expect_put_request(&bench.job->request);
    const char *base = bench.job->request.msg.base;
    assert_true(hs_job_detach(bench.job)); /* once is enough */
    assert_ptr_equal(bench.job->request.msg.base, base);
    bench_end_request(&bench);
    assert_int_equal(bench.job->store.len, 0);
    /* Content in the job's own buffer stays there. */
    bench_request(&bench, "GET / HTTP/1.0\r\n\r\n");
    assert_int_equal(hs_job_reserve_content(&bench.pool, bench.job, 7, 0, true), HS_OK);
    hs_buf_put(&bench.job->content, "content", 7);
    bench.job->request.msg.body = hs_span(bench.job->content.data, 7);
    assert_true(hs_job_detach(bench.job));
    assert_ptr_equal(hs_req_body(&bench.job->request, NULL), bench.job->content.data);
    bench_end(&bench);
}

static void content_of_all_jobs_together_is_limited(void **state)
{
    (void)state;
    bench_t bench;
    bench_begin(&bench);
    hs_job_t *other = hs_job_lease(&bench.pool);
    assert_int_equal(hs_job_reserve_content(&bench.pool, bench.job, 600, 1000, true), HS_OK);
    bench.job->content.len = 600;
    assert_int_equal(hs_job_reserve_content(&bench.pool, other, 600, 1000, true), HS_ERR_LIMIT);
    assert_int_equal(hs_job_reserve_content(&bench.pool, other, 600, 0, true), HS_OK);
    assert_int_equal(bench.pool.content_bytes, 1200);
    hs_job_give_back(&bench.pool, other);
    bench_end_request(&bench);
    /* Buffers kept by free jobs and ended messages are counted, and are not counted twice when
     * reused.
     */
    size_t kept = bench.pool.content_bytes;
    assert_int_equal(hs_job_reserve_content(&bench.pool, bench.job, 600, kept, true), HS_OK);
    assert_int_equal(bench.pool.content_bytes, kept);
    bench_end(&bench);
}

static void ids_name_each_request_once(void **state)
{
    (void)state;
    bench_t bench;
    bench_begin(&bench);
    memcpy(bench.pool.id_prefix, "abc", 4);
    static const struct {
        uint64_t number;
        const char *id;
    } cases[] = {
        { 1, "abc-1" }, { 35, "abc-z" }, { 36, "abc-10" }, { UINT64_MAX, "abc-3w5e11264sgsf" }
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bench.job->number = cases[i].number;
        assert_string_equal(cases[i].id, hs_req_id(&bench.job->request));
    }
    bench_end(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_job_given_back_last_is_leased_first),
        cmocka_unit_test(no_more_than_the_limit_are_leased),
        cmocka_unit_test(what_is_given_back_comes_out_clean),
        cmocka_unit_test(memory_of_a_burst_goes_back),
        cmocka_unit_test(the_last_given_back_keep_their_buffers),
        cmocka_unit_test(large_buffers_are_freed_and_small_ones_kept),
        cmocka_unit_test(every_message_has_a_handle_of_its_own),
        cmocka_unit_test(pinned_content_is_released_once),
        cmocka_unit_test(the_accessors_of_a_request),
        cmocka_unit_test(a_detached_request_needs_nothing_of_the_ring),
        cmocka_unit_test(content_of_all_jobs_together_is_limited),
        cmocka_unit_test(ids_name_each_request_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
