/* Spans of calls made by a handler: which requests have them, their ids, and lost ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exec/hs_span_log.h"
#include "exec/lua_bench.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"

static const char handler[] = "local spans = require 'moonring.spans'\n"
                              "function handle(req, res)\n"
                              "  local span = spans.begin()\n"
                              "  if span then\n"
                              "    spans.finish(span, 'GET', { text = ('x'):rep(1000), n = 7 },\n"
                              "      req.path == '/fails' and 'refused: by host' or nil)\n"
                              "  end\n"
                              "  res:body(span and 'span' or 'none'):send()\n"
                              "end\n";

typedef struct spans_of_test {
    hs_span_log_t log;
    bool refuses;
    bool in_worker;
    char line[HS_SPAN_LINE_MAX + 1];
} spans_of_test_t;

static bool put(hs_span_log_t *log, const char *line, size_t len, bool in_worker)
{
    spans_of_test_t *spans = log->context;
    if (spans->refuses)
        return false;
    memcpy(spans->line, line, len);
    spans->line[len] = '\0';
    spans->in_worker = in_worker;
    return true;
}

static spans_of_test_t *spans_begin(lua_bench_t *lb, uint32_t sample_every)
{
    static spans_of_test_t spans;
    spans = (spans_of_test_t){ .log = { .sample_every = sample_every, .put = put } };
    spans.log.context = &spans;
    lb->bench.pool.spans = &spans.log;
    load(lb, handler);
    return &spans;
}

static void get_in_trace(lua_bench_t *lb, const char *path, const char *flags)
{
    char request[512];
    snprintf(request, sizeof(request),
             "GET %s HTTP/1.1\r\nHost: h\r\ntraceparent: 00-" TRACE "-b7ad6b7169203331-%s\r\n\r\n",
             path, flags);
    lua_bench_run(lb, request);
}

static void a_call_of_a_sampled_request_is_a_child_of_its_span(void **state)
{
    lua_bench_t *lb = *state;
    spans_of_test_t *spans = spans_begin(lb, 1000000);
    get_in_trace(lb, "/fails", "01");
    assert_string_equal(lb->body, "span");
    static const char begin[] =
        "{\"span\":{\"kind\":\"client\",\"traceId\":\"" TRACE "\",\"spanId\":\"";
    assert_memory_equal(spans->line, begin, sizeof(begin) - 1);
    assert_non_null(strstr(spans->line, "\"error.type\":\"refused\""));
    assert_non_null(strstr(spans->line, "\"n\":7"));
    assert_null(strstr(spans->line, "b7ad6b7169203331"));
    assert_string_equal(spans->line + strlen(spans->line) - 2, "}\n");
    assert_false(spans->in_worker);
}

static void without_spans_or_a_sample_there_is_none(void **state)
{
    lua_bench_t *lb = *state;
    spans_of_test_t *spans = spans_begin(lb, 1000000);
    get_in_trace(lb, "/", "00");
    assert_string_equal(lb->body, "none");
    lb->bench.pool.spans = NULL;
    get_in_trace(lb, "/", "01");
    assert_string_equal(lb->body, "none");
    assert_string_equal(spans->line, "");
}

static void what_is_not_taken_is_counted(void **state)
{
    lua_bench_t *lb = *state;
    spans_of_test_t *spans = spans_begin(lb, 1);
    spans->refuses = true;
    get_in_trace(lb, "/", "01");
    assert_string_equal(lb->body, "span");
    assert_int_equal(atomic_load(&spans->log.lost), 1);
    spans->refuses = false;
    load(lb, "local spans = require 'moonring.spans'\n"
             "function handle(req, res)\n"
             "  local long = {}\n"
             "  for i = 1, 5 do long['a' .. i] = ('x'):rep(2000) end\n"
             "  spans.finish(spans.begin(), 'GET', long)\n"
             "  res:send()\n"
             "end\n");
    get_in_trace(lb, "/", "01");
    assert_int_equal(atomic_load(&spans->log.lost), 2);
    assert_string_equal(spans->line, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_call_of_a_sampled_request_is_a_child_of_its_span, begin,
                                        end),
        cmocka_unit_test_setup_teardown(without_spans_or_a_sample_there_is_none, begin, end),
        cmocka_unit_test_setup_teardown(what_is_not_taken_is_counted, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
