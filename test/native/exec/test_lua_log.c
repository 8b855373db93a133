/* Records of the log module: each is one line of JSON, whatever it contains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exec/lua_bench.h"

typedef struct recorded {
    char line[HS_LOG_JSON_LINE_CAP + 1];
    size_t len;
} recorded_t;

/* The records written by a request for `target` with further fields, with `body` as its handler.
 */
static void record(lua_bench_t *lb, const char *body, const char *target, const char *fields,
                   recorded_t *recorded)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    hs_log_json_t json = { .fd = fds[1], .reactor = 3 };
    hs_log_t before = lb->bench.log;
    hs_log_init(&lb->bench.log, HS_LOG_INFO, hs_log_json_sink, &json);
    char text[2048];
    snprintf(text, sizeof(text),
             "local log = require 'moonring.log'\nfunction handle(req, res)\n%s\nres:send()\nend\n",
             body);
    load(lb, text);
    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: h\r\n%s\r\n", target, fields);
    lua_bench_run(lb, text);
    close(fds[1]);
    recorded->len = 0;
    ssize_t n;
    while ((n = read(fds[0], recorded->line + recorded->len,
                     sizeof(recorded->line) - 1 - recorded->len)) > 0)
        recorded->len += (size_t)n;
    recorded->line[recorded->len] = '\0';
    close(fds[0]);
    hs_log_init(&lb->bench.log, HS_LOG_DEBUG, before.sink, before.sink_ud);
}

/* One line for which `check`, a Lua expression, is true: `r` is the record. */
static void expect_record_of(lua_bench_t *lb, const char *fields, const char *body,
                             const char *check)
{
    static recorded_t recorded;
    record(lb, body, "/path?q", fields, &recorded);
    assert_true(recorded.len > 0);
    assert_ptr_equal(strchr(recorded.line, '\n'), recorded.line + recorded.len - 1);
    lua_bench_write(lb, "record.json", recorded.line);
    char text[2048];
    snprintf(text, sizeof(text),
             "local json = require 'moonring.json'\nfunction handle(req, res)\n"
             "local r = assert(json.decode(io.open('%s/record.json'):read '*a'))\n"
             "res:body(tostring(%s)):send()\nend\n",
             lb->directory, check);
    load(lb, text);
    lua_bench_get(lb, "/");
    if (strcmp(lb->body, "true") != 0)
        fail_msg("%s: %s\n%s", check, lb->body, recorded.line);
}

static void expect_record(lua_bench_t *lb, const char *body, const char *check)
{
    expect_record_of(lb, "", body, check);
}

static void a_record_names_its_request_and_has_fields(void **state)
{
    lua_bench_t *lb = *state;
    expect_record(lb, "log.info('sold', { item = 'tea', count = 2, gift = false, at = 1.5 })",
                  "r.msg == 'sold' and r.item == 'tea' and r.count == 2 and r.gift == false and "
                  "r.at == 1.5 and r.level == 30 and r.reactor == 3 and #r.reqId > 1 and "
                  "r.req.method == 'GET' and r.req.url == '/path?q'");
    expect_record(lb, "log.warn 'plain'", "r.msg == 'plain' and r.level == 40 and #r.reqId > 1");
}

static void no_argument_is_lost(void **state)
{
    lua_bench_t *lb = *state;
    expect_record(lb, "log.info { a = 1, b = { 'x', { c = 2 } } }",
                  "r.msg == '' and r.a == 1 and r.b[1] == 'x' and r.b[2].c == 2");
    expect_record(lb, "log.info('took', 5, 'ms', { a = 1 }, nil, true)",
                  "r.msg == 'took 5 ms nil true' and r.a == 1");
    expect_record(lb, "log.error(setmetatable({}, { __tostring = function() return 'told' end }))",
                  "r.msg == 'told'");
    expect_record(lb, "log.info(nil)", "r.msg == 'nil'");
}

static void fields_of_any_kind(void **state)
{
    lua_bench_t *lb = *state;
    expect_record(lb,
                  "log.info('x', { f = print, n = 0/0, i = 1/0, big = 2LL, [1] = 'one',\n"
                  "  mixed = { 1, nil, 3, name = 4, [9] = 5 }, empty = {},\n"
                  "  null = require('moonring.json').null,\n"
                  "  bad = setmetatable({}, { __tostring = function() error 'no' end }) })",
                  "r.f:find 'function' and r.n == 'nan' and r.i == 'inf' and r.big == '2LL' and "
                  "r['1'] == 'one' and r.mixed['3'] == 3 and r.mixed.name == 4 and "
                  "r.mixed['9'] == 5 and next(r.empty) == nil and r.null == json.null and "
                  "r.bad == 'a table'");
    expect_record(lb, "local loop = {} loop.again = loop log.info('x', loop)",
                  "r.again.again.again.again.again == '\xE2\x80\xA6'");
}

static void own_members_are_not_replaced(void **state)
{
    lua_bench_t *lb = *state;
    expect_record(lb,
                  "log.info('x', { level = 'a', msg = 'b', reqId = 'c', time = 'd', req = 'e' })",
                  "r.level == 30 and r.level_ == 'a' and r.msg == 'x' and r.msg_ == 'b' and "
                  "r.reqId_ == 'c' and r.time_ == 'd' and r.req.method == 'GET' and r.req_ == 'e'");
}

/* Line breaks, quotes, bytes that are not UTF-8, and terminal control characters. */
static void one_line_whatever_the_client_sends(void **state)
{
    lua_bench_t *lb = *state;
    expect_record(lb,
                  "local all = {}\n"
                  "for i = 0, 255 do all[#all + 1] = string.char(i) end\n"
                  "all = table.concat(all)\n"
                  "log.info(all, { [all:sub(1, 60)] = all, [all:sub(129, 180)] = { all } })",
                  "type(r.msg) == 'string' and #r.msg > 200");
    static recorded_t recorded;
    record(lb, "log.info('\\194\\155', { a = '\\194\\155\\127', ['\\194\\155'] = 1 })", "/", "",
           &recorded);
    assert_null(strchr(recorded.line, '\x9B'));
    assert_null(strchr(recorded.line, '\x7F'));
}

static void long_fields_are_cut(void **state)
{
    lua_bench_t *lb = *state;
    expect_record(
        lb, "log.info('x', { long = ('y'):rep(1e6), [('n'):rep(1e6)] = 1 })",
        "r.long == ('y'):rep(1024) .. '\xE2\x80\xA6' and r[('n'):rep(64) .. '\xE2\x80\xA6'] == 1");
    expect_record(lb,
                  "local many = {} for i = 1, 1e4 do many['name' .. i] = ('\\1'):rep(2000) end\n"
                  "log.info(('m'):rep(20000), many)",
                  "r['\xE2\x80\xA6'] == true and #r.msg > 8000");
    expect_record(lb,
                  "local many = {} for i = 1, 1e4 do many[i] = { i, { i } } end\n"
                  "log.info('x', { many = many, other = many })",
                  "#(r.many or {}) + #(r.other or {}) > 100");
}

static void records_below_the_level_are_not_made(void **state)
{
    lua_bench_t *lb = *state;
    static recorded_t recorded;
    record(lb, "log.debug('x', setmetatable({}, { __tostring = error }))", "/", "", &recorded);
    assert_int_equal(recorded.len, 0);
}

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define TRACEPARENT "traceparent: 00-" TRACE "-b7ad6b7169203331-01\r\n"

/* From the request automatically, with a span once the handler has started one. */
static void a_record_names_the_trace_of_its_request(void **state)
{
    lua_bench_t *lb = *state;
    expect_record_of(lb, TRACEPARENT, "log.info 'x'",
                     "r.traceId == '" TRACE "' and r.spanId == nil");
    expect_record_of(lb, "", "log.info 'x'", "r.traceId == nil and r.spanId == nil");
    expect_record_of(lb, TRACEPARENT TRACEPARENT, "log.info 'x'", "r.traceId == nil");
    expect_record_of(lb, "traceparent: 00-" TRACE "-b7ad6b716920333-01\r\n", "log.info 'x'",
                     "r.traceId == nil");
    expect_record_of(lb, TRACEPARENT, "log.info('x', { own = req.trace.span_id })",
                     "r.traceId == '" TRACE "' and #r.spanId == 16 and r.spanId == r.own");
    expect_record_of(lb, "", "log.info('x', { own = moonring.trace.begin(req) })",
                     "#r.traceId == 32 and r.traceId == r.own.trace_id and "
                     "r.spanId == r.own.span_id and r.own.parent_id == nil");
    expect_record_of(lb, TRACEPARENT, "log.info('x', { traceId = 'mine', spanId = 'mine' })",
                     "r.traceId == '" TRACE "' and r.traceId_ == 'mine' and r.spanId_ == 'mine'");
    expect_record_of(lb, TRACEPARENT, "moonring.trace.read(req) error 'broken'",
                     "r.traceId == '" TRACE "' and #r.spanId == 16");
}

/* Repeated calls return the same value, and the next request of the connection has none of it. */
static void a_request_has_one_trace(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "function handle(req, res)\n"
             "  local trace = req.trace\n"
             "  if not trace then return res:body 'none' end\n"
             "  local again = moonring.trace.begin(req, false)\n"
             "  for _, name in ipairs { 'trace_id', 'span_id', 'parent_id', 'sampled', 'flags',\n"
             "    'traceparent', 'tracestate' } do\n"
             "    assert(trace[name] ~= nil and trace[name] == again[name], name)\n"
             "  end\n"
             "  assert(trace.span_id ~= trace.parent_id)\n"
             "  res:body(trace.trace_id .. ' ' .. trace.parent_id .. ' ' .. trace.tracestate)\n"
             "end\n");
    for (int i = 0; i < 3; i++) {
        lua_bench_run(lb, "GET / HTTP/1.1\r\nHost: h\r\n" TRACEPARENT
                          "tracestate: a=1\r\nTracestate: b=2\r\n\r\n");
        assert_string_equal(lb->body, TRACE " b7ad6b7169203331 a=1,b=2");
        lua_bench_get(lb, "/");
        assert_string_equal(lb->body, "none");
    }
    load(lb, "function handle(req, res)\n"
             "  res:body(tostring(req.trace and req.trace.tracestate) .. moonring.trace.begin(req, "
             "false).traceparent:sub(-3)) end\n");
    lua_bench_run(lb, "GET / HTTP/1.1\r\nHost: h\r\ntracestate: a=1\r\n\r\n");
    assert_string_equal(lb->body, "nil-02");
    lua_bench_run(lb, "GET / HTTP/1.1\r\nHost: h\r\n" TRACEPARENT "tracestate: \xff\r\n\r\n");
    assert_string_equal(lb->body, "nil-01");
}

static void text_records_have_the_fields_too(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "local log = require 'moonring.log'\n"
             "function handle(req, res) log.info('sold', { item = 'tea' }) res:send() end\n");
    lua_bench_get(lb, "/");
    assert_string_equal(lb->bench.tape.last, "sold {\"item\":\"tea\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_record_names_its_request_and_has_fields, begin, end),
        cmocka_unit_test_setup_teardown(no_argument_is_lost, begin, end),
        cmocka_unit_test_setup_teardown(fields_of_any_kind, begin, end),
        cmocka_unit_test_setup_teardown(own_members_are_not_replaced, begin, end),
        cmocka_unit_test_setup_teardown(one_line_whatever_the_client_sends, begin, end),
        cmocka_unit_test_setup_teardown(long_fields_are_cut, begin, end),
        cmocka_unit_test_setup_teardown(records_below_the_level_are_not_made, begin, end),
        cmocka_unit_test_setup_teardown(a_record_names_the_trace_of_its_request, begin, end),
        cmocka_unit_test_setup_teardown(a_request_has_one_trace, begin, end),
        cmocka_unit_test_setup_teardown(text_records_have_the_fields_too, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
