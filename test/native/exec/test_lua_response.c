/* Setting several parts of a response at once, and data that belongs to one request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exec/lua_bench.h"

static void load_body(lua_bench_t *lb, const char *body)
{
    char text[2048];
    snprintf(text, sizeof(text), "function handle(req, res)\n%s\nend\n", body);
    load(lb, text);
}

static void json_sends_a_value(void **state)
{
    lua_bench_t *lb = *state;
    load_body(lb, "res:json({ a = 1 })");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 200);
    assert_string_equal(lb->fields, "Content-Type: application/json\r\n");
    assert_string_equal(lb->body, "{\"a\":1}");
    load_body(lb, "res:json({}, 201)");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 201);
}

static void what_was_set_before_json_stays(void **state)
{
    lua_bench_t *lb = *state;
    load_body(lb, "require('moonring.json').send(res:status(404), {})");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 404);
    load_body(lb, "res:status(404):header('X', 'y')\n"
                  "res:header('content-type', 'application/problem+json'):json({})");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 404);
    assert_string_equal(lb->fields, "X: y\r\ncontent-type: application/problem+json\r\n");
}

static void reset_forgets_what_was_built_and_not_what_was_sent(void **state)
{
    lua_bench_t *lb = *state;
    load_body(lb, "res:status(404):header('X', 'y'):body('old'):reset():body('new')");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 200);
    assert_string_equal(lb->fields, "");
    assert_string_equal(lb->body, "new");
    load_body(lb, "res:body('sent'):send() pcall(res.reset, res)");
    lua_bench_get(lb, "/");
    assert_string_equal(lb->body, "sent");
    load_body(
        lb,
        "local app = require('moonring.router').new{ errors = 'json' }\n"
        "app:get('/', function(_, res)\n"
        "  res:status(201):header('Content-Type', 'text/html'):body('<p>') error('broken') end)\n"
        "return app:handler()(req, res)");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 500);
    assert_string_equal(lb->fields, "Content-Type: application/problem+json\r\n");
}

/* Hooks and error handlers read what was built, even after the end of the response. */
static void what_was_built_can_be_read(void **state)
{
    lua_bench_t *lb = *state;
    load_body(lb, "local function seen() return ('%d %s %s;'):format(res:get_status(),\n"
                  "  tostring(res:get_header 'x-A'), tostring(res:get_header 'x')) end\n"
                  "local out = seen()\n"
                  "res:status(404):header('X-B', 'c'):header('X-A', ''):header('X-a', 'second')\n"
                  "out = out .. seen() .. tostring(res:get_header 'X-B')\n"
                  "res:body(out):send() assert(seen() == '404  nil;')");
    lua_bench_get(lb, "/");
    assert_string_equal(lb->body, "200 nil nil;404  nil;c");
    assert_int_equal(lb->bench.tape.records, 0);
    load_body(lb, "res:status(201) res:write('a') res:write(res:get_status() .. '') res:finish()\n"
                  "assert(res:get_status() == 201)");
    lua_bench_get(lb, "/");
    assert_string_equal(lb->body, "a201");
    assert_int_equal(lb->bench.tape.records, 0);
}

static void redirections(void **state)
{
    lua_bench_t *lb = *state;
    load_body(lb, "res:redirect('https://example.org/a?b=c&d=%20#e')");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 302);
    assert_string_equal(lb->fields, "Location: https://example.org/a?b=c&d=%20#e\r\n");
    load_body(lb, "res:redirect('/other', 308)");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 308);
    assert_string_equal(lb->body, "");
}

static void cookies_are_chained(void **state)
{
    lua_bench_t *lb = *state;
    load_body(lb, "res:cookie('a', 'b', { path = '/' }):cookie('c', 'd'):body('x'):send()");
    lua_bench_get(lb, "/");
    assert_string_equal(lb->fields, "Set-Cookie: a=b; Path=/\r\nSet-Cookie: c=d\r\n");
}

static void a_context_belongs_to_one_request(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "local kept = setmetatable({}, { __mode = 'k' })\n"
             "local function note(req) req.ctx.user = (req.ctx.user or '') .. req.url end\n"
             "function handle(req, res)\n"
             "  if req.url == '/kept' then\n"
             "    collectgarbage()\n"
             "    return res:body(tostring(next(kept))):send()\n"
             "  end\n"
             "  note(req)\n"
             "  note(req)\n"
             "  kept[req.ctx] = true\n"
             "  if req.url == '/error' then error 'on purpose' end\n"
             "  res:body(req.ctx.user):send()\n"
             "end\n");
    for (int i = 0; i < 3; i++) {
        lua_bench_get(lb, "/a");
        assert_string_equal(lb->body, "/a/a");
        lua_bench_get(lb, "/error");
        assert_int_equal(lb->status, 500);
        lua_bench_get(lb, "/kept");
        assert_string_equal(lb->body, "nil");
    }
}

static void a_request_that_is_over_has_no_context(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "local old\n"
             "function handle(req, res)\n"
             "  if old then return res:body(select(2, pcall(function() return old.ctx "
             "end))):send() end\n"
             "  old = req\n"
             "  req.ctx.a = 1\n"
             "  res:send()\n"
             "end\n");
    lua_bench_get(lb, "/");
    lua_bench_get(lb, "/");
    assert_non_null(strstr(lb->body, "this request is over"));
}

static void worker_after_something_was_built_is_an_error(void **state)
{
    lua_bench_t *lb = *state;
    static const char *const built[] = { "res:status(201)", "res:header('A', 'b')",
                                         "res:body('x')" };
    for (size_t i = 0; i < sizeof(built) / sizeof(built[0]); i++) {
        char body[128];
        snprintf(body, sizeof(body), "%s\nreturn 'worker'", built[i]);
        load_body(lb, body);
        lua_bench_get(lb, "/");
        assert_int_equal(lb->status, 500);
        assert_int_equal(lb->bench.tape.records, i + 1);
        expect_logged(lb, "return 'worker' must come before anything of the response is built");
    }
}

static void worker_after_the_response_is_an_error_in_the_log(void **state)
{
    lua_bench_t *lb = *state;
    load_body(lb, "res:body('sent'):send()\nreturn 'worker'");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 200);
    assert_string_equal(lb->body, "sent");
    expect_logged(lb, "return 'worker' must come before");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(json_sends_a_value, begin, end),
        cmocka_unit_test_setup_teardown(what_was_set_before_json_stays, begin, end),
        cmocka_unit_test_setup_teardown(reset_forgets_what_was_built_and_not_what_was_sent, begin,
                                        end),
        cmocka_unit_test_setup_teardown(what_was_built_can_be_read, begin, end),
        cmocka_unit_test_setup_teardown(redirections, begin, end),
        cmocka_unit_test_setup_teardown(cookies_are_chained, begin, end),
        cmocka_unit_test_setup_teardown(a_context_belongs_to_one_request, begin, end),
        cmocka_unit_test_setup_teardown(a_request_that_is_over_has_no_context, begin, end),
        cmocka_unit_test_setup_teardown(worker_after_something_was_built_is_an_error, begin, end),
        cmocka_unit_test_setup_teardown(worker_after_the_response_is_an_error_in_the_log, begin,
                                        end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
