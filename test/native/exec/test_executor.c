/* hs_executor: whatever a handler does or does not do, there is one complete response. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exec/job_bench.h"

static bench_t bench;

static int begin(void **state)
{
    (void)state;
    bench_begin(&bench);
    return 0;
}

static int end(void **state)
{
    (void)state;
    bench_end(&bench);
    return 0;
}

/* Runs one request and keeps the response as it was before the message ended. */
typedef struct seen {
    hs_sending_t sending;
    int status;
    size_t body_len;
    char body[64];
} seen_t;

static seen_t run(hs_handler_fn function, void *user_data)
{
    hs_c_handler_t c_handler = { function, user_data };
    bench_request(&bench, "POST /path?q HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
    bench_respond(&bench, hs_c_handler_as_handler(&c_handler));
    const hs_response_t *response = &bench.job->response;
    seen_t seen = { response->sending, response->status, response->body.len, "" };
    if (response->body.len > 0)
        memcpy(seen.body, response->body.data, hs_min(response->body.len, sizeof(seen.body) - 1));
    bench_end_request(&bench);
    return seen;
}

static void sees_everything(hs_request_t *request, hs_response_t *response, void *user_data)
{
    size_t length;
    assert_string_equal(hs_req_method_str(request), "POST");
    assert_string_equal(hs_req_url(request), "/path?q");
    assert_string_equal(hs_req_header(request, "host"), "h");
    assert_memory_equal(hs_req_body(request, &length), "body", 4);
    assert_int_equal(length, 4);
    ++*(int *)user_data;
    assert_int_equal(hs_res_status(response, 201), 0);
    assert_int_equal(hs_res_body_str(response, "made"), 0);
    assert_int_equal(hs_res_send(response), 0);
}

static void a_c_handler_gets_the_request_and_its_user_data(void **state)
{
    (void)state;
    int calls = 0;
    seen_t seen = run(sees_everything, &calls);
    assert_int_equal(calls, 1);
    assert_int_equal(seen.sending, HS_SENDING_ENDED);
    assert_int_equal(seen.status, 201);
    assert_string_equal(seen.body, "made");
    assert_int_equal(bench.tape.records, 0);
}

static void does_nothing(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)request, (void)response, (void)user_data;
}

static void never_sent_and_nothing_built_is_500_and_one_record(void **state)
{
    (void)state;
    seen_t seen = run(does_nothing, NULL);
    assert_int_equal(seen.sending, HS_SENDING_ENDED);
    assert_int_equal(seen.status, 500);
    assert_string_equal(seen.body, "Internal Server Error\n");
    assert_int_equal(bench.tape.records, 1);
    assert_int_equal(bench.tape.level, HS_LOG_ERROR);
    assert_non_null(strstr(bench.tape.last, "POST /path?q"));
}

static void only_builds(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)request, (void)user_data;
    assert_int_equal(hs_res_status(response, 404), 0);
}

static void what_was_built_but_not_sent_is_the_response(void **state)
{
    (void)state;
    seen_t seen = run(only_builds, NULL);
    assert_int_equal(seen.sending, HS_SENDING_ENDED);
    assert_int_equal(seen.status, 404);
    assert_int_equal(seen.body_len, 0);
    assert_int_equal(bench.tape.records, 0);
}

static void only_sends(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)request, (void)user_data;
    assert_int_equal(hs_res_send(response), 0);
}

static void sending_without_building_is_an_empty_200(void **state)
{
    (void)state;
    seen_t seen = run(only_sends, NULL);
    assert_int_equal(seen.status, 200);
    assert_int_equal(seen.body_len, 0);
    assert_int_equal(bench.tape.records, 0);
}

static void sends_twice(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)request, (void)user_data;
    assert_int_equal(hs_res_body_str(response, "first"), 0);
    assert_int_equal(hs_res_send(response), 0);
    assert_int_equal(hs_res_status(response, 500), HS_ERR_STATE);
    assert_int_equal(hs_res_body_str(response, "second"), HS_ERR_STATE);
    assert_int_equal(hs_res_send(response), HS_ERR_STATE);
}

static void sent_twice_is_the_first_response(void **state)
{
    (void)state;
    seen_t seen = run(sends_twice, NULL);
    assert_int_equal(seen.status, 200);
    assert_string_equal(seen.body, "first");
}

static void runs_out_of_memory(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)request, (void)user_data;
    assert_int_equal(hs_res_status(response, 200), 0);
    volatile size_t largest = SIZE_MAX; /* unknown to the compiler, which would warn */
    assert_int_equal(hs_res_body(response, "x", largest), HS_ERR_NOMEM);
    assert_int_equal(hs_res_send(response), 0);
}

/* A handler that does not check results must not send half of its response as a complete one. */
static void a_response_without_memory_for_it_is_500(void **state)
{
    (void)state;
    seen_t seen = run(runs_out_of_memory, NULL);
    assert_int_equal(seen.status, 500);
    assert_string_equal(seen.body, "Internal Server Error\n");
    assert_int_equal(bench.tape.records, 1);
    assert_non_null(strstr(bench.tape.last, "memory"));
}

static void responses_do_not_leak_into_each_other(void **state)
{
    (void)state;
    int calls = 0;
    run(sees_everything, &calls);
    seen_t seen = run(only_sends, NULL);
    assert_int_equal(seen.status, 200);
    assert_int_equal(seen.body_len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_c_handler_gets_the_request_and_its_user_data, begin, end),
        cmocka_unit_test_setup_teardown(never_sent_and_nothing_built_is_500_and_one_record, begin,
                                        end),
        cmocka_unit_test_setup_teardown(what_was_built_but_not_sent_is_the_response, begin, end),
        cmocka_unit_test_setup_teardown(sending_without_building_is_an_empty_200, begin, end),
        cmocka_unit_test_setup_teardown(sent_twice_is_the_first_response, begin, end),
        cmocka_unit_test_setup_teardown(a_response_without_memory_for_it_is_500, begin, end),
        cmocka_unit_test_setup_teardown(responses_do_not_leak_into_each_other, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
