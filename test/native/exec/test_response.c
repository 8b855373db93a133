/* Building a response: the rules, the states and the limits of hs_res.h and httpserver.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exec/hs_res.h"
#include "exec/job_bench.h"

static bench_t bench;
static hs_response_t *response;

static int begin(void **state)
{
    (void)state;
    bench_begin(&bench);
    response = &bench.job->response;
    hs_res_begin(response);
    return 0;
}

static int end(void **state)
{
    (void)state;
    bench_end(&bench);
    return 0;
}

static void expect_fields(const char *expected)
{
    assert_int_equal(response->fields.len, strlen(expected));
    assert_memory_equal(response->fields.data, expected, response->fields.len);
}

static void it_begins_as_an_empty_200(void **state)
{
    (void)state;
    assert_int_equal(response->sending, HS_SENDING_BUILDING);
    assert_int_equal(response->status, 200);
    assert_int_equal(response->fields.len, 0);
    assert_int_equal(response->body.len, 0);
    assert_false(response->built);
    assert_false(response->close);
}

static void statuses(void **state)
{
    (void)state;
    for (int status = -10; status <= 1100; status++) {
        int expected = status >= 200 && status <= 599 ? HS_OK : HS_ERR_INVALID;
        int before = response->status;
        assert_int_equal(hs_res_status(response, status), expected);
        assert_int_equal(response->status, expected == HS_OK ? status : before);
    }
    assert_int_equal(hs_res_status(response, INT32_MAX), HS_ERR_INVALID);
    assert_int_equal(hs_res_status(response, INT32_MIN), HS_ERR_INVALID);
}

static void a_refused_status_builds_nothing(void **state)
{
    (void)state;
    assert_int_equal(hs_res_status(response, 100), HS_ERR_INVALID);
    assert_false(response->built);
}

static void fields_are_kept_in_order_and_repeated(void **state)
{
    (void)state;
    assert_int_equal(hs_res_header(response, "Set-Cookie", "a=1"), 0);
    assert_int_equal(hs_res_header(response, "X", ""), 0);
    assert_int_equal(hs_res_header(response, "Set-Cookie", "b=2"), 0);
    expect_fields("Set-Cookie: a=1\r\nX: \r\nSet-Cookie: b=2\r\n");
    assert_true(response->built);
    assert_int_equal(bench.tape.records, 0);
}

/* Values that could forge a message are rejected, logged once, and leave no trace in the response.
 */
static void names_and_values_that_could_forge_a_message(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
    } table[] = {
        { "", "x" },        { "A B", "x" },      { "A:", "x" },   { "A\r\nB", "x" },
        { "A", "x\r\nB:" }, { "A", "x\ny" },     { "A", "x\ry" }, { "A", "x\x01y" },
        { "A", "x\x7fy" },  { "A\xc3", "x" },    { "(A)", "x" },  { "A\t", "x" },
        { " A", "x" },      { "A", "\r\n\r\n" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        assert_int_equal(hs_res_header(response, table[i].name, table[i].value), HS_ERR_INVALID);
        assert_int_equal(bench.tape.records, i + 1);
    }
    assert_int_equal(hs_res_add_field(response, HS_SPAN_LITERAL("A"), hs_span("x\0y", 3)),
                     HS_ERR_INVALID);
    assert_int_equal(hs_res_add_field(response, hs_span("A\0", 2), HS_SPAN_LITERAL("x")),
                     HS_ERR_INVALID);
    assert_int_equal(response->fields.len, 0);
    assert_false(response->built);
}

static void framing_belongs_to_the_server(void **state)
{
    (void)state;
    const char *names[] = { "Content-Length", "content-length", "Transfer-Encoding",
                            "TRANSFER-ENCODING" };
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(hs_res_header(response, names[i], "1"), HS_ERR_INVALID);
    const char *values[] = { "keep-alive", "upgrade", "", "close, x", "closed" };
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(hs_res_header(response, "Connection", values[i]), HS_ERR_INVALID);
    assert_int_equal(response->fields.len, 0);
    assert_false(response->close);
    assert_false(response->built);
    /* Names of the same length as a special one are ordinary names. */
    assert_int_equal(hs_res_header(response, "Content-Lengtk", "1"), 0);
    assert_int_equal(hs_res_header(response, "Connectiom", "keep-alive"), 0);
    assert_int_equal(hs_res_header(response, "Transfer-Encodinh", "x"), 0);
    assert_int_equal(hs_res_header(response, "Datf", "x"), 0);
    assert_false(response->own_date);
}

static void connection_close_is_taken_as_an_order(void **state)
{
    (void)state;
    assert_int_equal(hs_res_header(response, "cOnnection", " Close\t"), 0);
    assert_true(response->close);
    assert_true(response->built);
    assert_int_equal(response->fields.len, 0);
}

static void a_date_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(hs_res_header(response, "date", "x"), 0);
    assert_true(response->own_date);
    expect_fields("date: x\r\n");
}

static void fields_together_are_limited(void **state)
{
    (void)state;
    const size_t max = 64 * 1024;
    static char value[70000];
    memset(value, 'v', sizeof(value));
    hs_span_t name = HS_SPAN_LITERAL("N");
    assert_int_equal(hs_res_add_field(response, name, hs_span(value, max - 4)), HS_ERR_LIMIT);
    assert_int_equal(hs_res_add_field(response, name, hs_span(value, sizeof(value))), HS_ERR_LIMIT);
    assert_false(response->built);
    assert_int_equal(hs_res_add_field(response, name, hs_span(value, max - 5)), HS_OK);
    assert_int_equal(response->fields.len, max);
    assert_int_equal(hs_res_add_field(response, name, hs_span(value, 0)), HS_ERR_LIMIT);
    assert_int_equal(response->fields.len, max);
}

static void many_fields_are_not_lost(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(hs_res_header(response, "X-Number", "0123456789"), 0);
    assert_int_equal(response->fields.len, 1000 * strlen("X-Number: 0123456789\r\n"));
}

static void the_body_is_replaced_not_appended(void **state)
{
    (void)state;
    char first[] = "first";
    assert_int_equal(hs_res_body(response, first, 5), 0);
    memset(first, 'x', 5); /* the bytes were copied */
    assert_memory_equal(response->body.data, "first", 5);
    assert_int_equal(hs_res_body_str(response, "second one"), 0);
    assert_int_equal(response->body.len, 10);
    assert_memory_equal(response->body.data, "second one", 10);
    assert_int_equal(hs_res_body(response, "a\0b", 3), 0);
    assert_int_equal(response->body.len, 3);
    assert_memory_equal(response->body.data, "a\0b", 3);
    assert_int_equal(hs_res_body(response, NULL, 0), 0);
    assert_int_equal(response->body.len, 0);
}

static void a_body_of_ten_megabytes(void **state)
{
    (void)state;
    size_t len = 10 * 1024 * 1024;
    char *data = malloc(len);
    memset(data, 'z', len);
    assert_int_equal(hs_res_body(response, data, len), 0);
    assert_int_equal(response->body.len, len);
    assert_memory_equal(response->body.data, data, len);
    free(data);
}

/* Every call, in a state in which no handler may make it, changes nothing. */
static void expect_closed_for_changes(void)
{
    hs_sending_t before = response->sending;
    assert_int_equal(hs_res_status(response, 404), HS_ERR_STATE);
    assert_int_equal(hs_res_header(response, "A", "b"), HS_ERR_STATE);
    assert_int_equal(hs_res_header(response, "Connection", "close"), HS_ERR_STATE);
    assert_int_equal(hs_res_body(response, "late", 4), HS_ERR_STATE);
    assert_int_equal(hs_res_body_str(response, "late"), HS_ERR_STATE);
    assert_int_equal(hs_res_send(response), HS_ERR_STATE);
    assert_int_equal(response->sending, before);
    assert_false(response->close);
}

static void nothing_changes_after_send(void **state)
{
    (void)state;
    assert_int_equal(hs_res_status(response, 201), 0);
    assert_int_equal(hs_res_header(response, "X", "y"), 0);
    assert_int_equal(hs_res_body_str(response, "done"), 0);
    assert_int_equal(hs_res_send(response), 0);
    assert_int_equal(response->sending, HS_SENDING_ENDED);
    expect_closed_for_changes();
    assert_int_equal(response->status, 201);
    expect_fields("X: y\r\n");
    assert_memory_equal(response->body.data, "done", 4);
}

static void nothing_is_built_without_a_handler(void **state)
{
    (void)state;
    bench_end_request(&bench);
    assert_int_equal(response->sending, HS_SENDING_NOTHING);
    expect_closed_for_changes();
}

static void replacing_throws_away_what_was_built(void **state)
{
    (void)state;
    assert_int_equal(hs_res_status(response, 201), 0);
    assert_int_equal(hs_res_header(response, "Set-Cookie", "secret"), 0);
    assert_int_equal(hs_res_header(response, "Date", "x"), 0);
    assert_int_equal(hs_res_body_str(response, "half an answ"), 0);
    hs_res_replace(response, 500);
    assert_int_equal(response->sending, HS_SENDING_ENDED);
    assert_int_equal(response->status, 500);
    expect_fields("Content-Type: text/plain\r\n");
    assert_int_equal(response->body.len, strlen("Internal Server Error\n"));
    assert_memory_equal(response->body.data, "Internal Server Error\n", response->body.len);
    assert_false(response->own_date);
    assert_int_equal(response->failure, HS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_begins_as_an_empty_200, begin, end),
        cmocka_unit_test_setup_teardown(statuses, begin, end),
        cmocka_unit_test_setup_teardown(a_refused_status_builds_nothing, begin, end),
        cmocka_unit_test_setup_teardown(fields_are_kept_in_order_and_repeated, begin, end),
        cmocka_unit_test_setup_teardown(names_and_values_that_could_forge_a_message, begin, end),
        cmocka_unit_test_setup_teardown(framing_belongs_to_the_server, begin, end),
        cmocka_unit_test_setup_teardown(connection_close_is_taken_as_an_order, begin, end),
        cmocka_unit_test_setup_teardown(a_date_of_its_own, begin, end),
        cmocka_unit_test_setup_teardown(fields_together_are_limited, begin, end),
        cmocka_unit_test_setup_teardown(many_fields_are_not_lost, begin, end),
        cmocka_unit_test_setup_teardown(the_body_is_replaced_not_appended, begin, end),
        cmocka_unit_test_setup_teardown(a_body_of_ten_megabytes, begin, end),
        cmocka_unit_test_setup_teardown(nothing_changes_after_send, begin, end),
        cmocka_unit_test_setup_teardown(nothing_is_built_without_a_handler, begin, end),
        cmocka_unit_test_setup_teardown(replacing_throws_away_what_was_built, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
