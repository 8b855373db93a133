/* hs_lua: mistakes of a handler become errors at its own lines, one record and a 500; and that a
 * hundred thousand requests leave nothing behind but compiled code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exec/lua_bench.h"

/* The functions that a handler may call, with its body in the middle; lines count from 2. */
static void load_body(lua_bench_t *lb, const char *body)
{
    char text[4096];
    snprintf(text, sizeof(text), "function handle(req, res)\n%s\nend\n", body);
    load(lb, text);
}

static void an_error_is_500_and_one_record_with_a_traceback(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "local function inner(req)\n"
             "  local missing = nil\n"
             "  return missing.field\n"
             "end\n"
             "function handle(req, res)\n"
             "  res:status(201):header('Set-Cookie', 'x'):body('half')\n"
             "  local value = inner(req)\n"
             "  res:send(value)\n"
             "end\n");
    lua_bench_get(lb, "/broken?x");
    assert_int_equal(lb->status, 500);
    assert_string_equal(lb->body, "Internal Server Error\n");
    assert_null(strstr(lb->fields, "Set-Cookie"));
    assert_int_equal(lb->bench.tape.records, 1);
    assert_int_equal(lb->bench.tape.level, HS_LOG_ERROR);
    expect_logged(lb, "GET /broken?x");
    expect_logged(lb, "handler.lua:3: attempt to index local 'missing'");
    expect_logged(lb, "stack traceback:");
    expect_logged(lb, "handler.lua:7: in function");
    lua_bench_get(lb, "/again");
    assert_int_equal(lb->status, 500);
    assert_int_equal(lb->bench.tape.records, 2);
}

static void an_error_in_a_wrapped_coroutine_names_the_call_too(void **state)
{
    lua_bench_t *lb = *state;
    load_body(lb, "local next = coroutine.wrap(function()\n"
                  "  error('inside')\n"
                  "end)\n"
                  "next()\n"
                  "return 'not a tail call'");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 500);
    expect_logged(lb, "handler.lua:3: inside");
    expect_logged(lb, "handler.lua:5: ");
    assert_non_null(
        strstr(strstr(lb->bench.tape.last, "handler.lua:5: "), "handler.lua:3: inside"));
}

static void errors_that_are_no_strings(void **state)
{
    lua_bench_t *lb = *state;
    const char *raised[] = { "{}", "nil", "42", "false",
                             "setmetatable({}, { __tostring = function()"
                             " return 'as text' end })" };
    for (size_t i = 0; i < sizeof(raised) / sizeof(raised[0]); i++) {
        char body[256];
        snprintf(body, sizeof(body), "error(%s)", raised[i]);
        load_body(lb, body);
        lua_bench_get(lb, "/");
        assert_int_equal(lb->status, 500);
        assert_int_equal(lb->bench.tape.records, i + 1);
    }
    expect_logged(lb, "as text");
    load_body(lb, "error({ code = 42, cause = {} })");
    lua_bench_get(lb, "/");
    expect_logged(lb, "code = 42");
    expect_logged(lb, "cause = {}");
    load_body(lb, "error {}");
    lua_bench_get(lb, "/");
    expect_logged(lb, "lua error in GET /: {}");
    load_body(lb, "local t = { { { { 1 } } } } t[1].own = t error(t)");
    lua_bench_get(lb, "/");
    expect_logged(lb, "{…}");
    load_body(lb, "local t = {} for i = 1, 20 do t[i] = i end error(t)");
    lua_bench_get(lb, "/");
    expect_logged(lb, "16 = 16, … }");
}

/* A client can inject a NUL into what a handler logs: /?name=a%00b. */
static void what_follows_a_nul_is_logged_too(void **state)
{
    lua_bench_t *lb = *state;
    const char *bodies[] = { "print('a\\0after') res:send()", "error('a\\0after')" };
    for (size_t i = 0; i < 2; i++) {
        load_body(lb, bodies[i]);
        lua_bench_get(lb, "/");
        const char *end = memchr(lb->bench.tape.last, '\0', sizeof(lb->bench.tape.last));
        assert_memory_equal(end, "\0after", 6);
    }
}

/* An error while an error is being described must not terminate the server. */
static void an_error_that_cannot_be_described(void **state)
{
    lua_bench_t *lb = *state;
    load_body(lb, "error(setmetatable({}, { __tostring = function() error('again') end }))");
    for (unsigned i = 1; i <= 3; i++) {
        lua_bench_get(lb, "/");
        assert_int_equal(lb->status, 500);
        assert_int_equal(lb->bench.tape.records, i);
        expect_logged(lb, "its __tostring raises");
        expect_logged(lb, "handler.lua:2:");
    }
}

/* Its record names the line only if LuaJIT has stack left to describe the error. */
static void endless_recursion_is_an_error_like_any_other(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "local function deeper(n) return 1 + deeper(n + 1) end\n"
             "function handle(req, res)\n"
             "  if req.url == '/deep' then deeper(1) end\n"
             "  res:body('fine'):send()\n"
             "end\n");
    for (unsigned i = 1; i <= 5; i++) {
        lua_bench_get(lb, "/deep");
        assert_int_equal(lb->status, 500);
        assert_int_equal(lb->bench.tape.records, i);
        if (strstr(lb->bench.tape.last, "handler.lua:1: stack overflow") == NULL)
            expect_logged(lb, "GET /deep: error in error handling: no stack was left");
        lua_bench_get(lb, "/");
        assert_string_equal(lb->body, "fine");
    }
}

/* Its traceback has the line that calls itself once. */
static void a_handler_that_calls_itself_has_a_short_record(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "function handle(req, res)\n"
             "  local result = handle(req, res)\n"
             "  return result\n"
             "end\n");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 500);
    assert_int_equal(lb->bench.tape.records, 1);
    expect_logged(lb, "stack overflow");
    expect_logged(lb, "handler.lua:2: in function 'handle' (");
    size_t lines = 0;
    for (const char *at = lb->bench.tape.last; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    assert_true(lines < 10);
}

static void a_misspelt_worker_is_named(void **state)
{
    lua_bench_t *lb = *state;
    load_body(lb, "return 'workr'");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 500);
    expect_logged(lb, "handle has returned \"workr\": did you mean 'worker'?");
    load_body(lb, "res:body('fine'):send() return 'another word'");
    lua_bench_get(lb, "/");
    assert_string_equal(lb->body, "fine");
    assert_int_equal(lb->bench.tape.records, 1);
}

static void an_error_after_send_leaves_the_answer(void **state)
{
    lua_bench_t *lb = *state;
    load_body(lb, "res:status(202):body('sent'):send()\nerror('too late')");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 202);
    assert_string_equal(lb->body, "sent");
    assert_int_equal(lb->bench.tape.records, 1);
    expect_logged(lb, "handler.lua:3: too late");
}

/* Each mistake is an error that names the handler's own line. */
static void mistakes_raise_at_the_callers_line(void **state)
{
    static const struct {
        const char *call, *message;
    } table[] = {
        { "res:status(99)", "status 99 is not from 200 to 599" },
        { "res:status(600)", "status 600 is not" },
        { "res:status(-1)", "status -1 is not" },
        { "res:status(1e10)", "is not from 200 to 599" },
        { "res:status(0/0)", "is not from 200 to 599" },
        { "res:status('200')", "takes a number, got string" },
        { "res:status()", "takes a number, got nil" },
        { "res:header('A', 'x\\r\\nB: y')", "field \"A\" is not allowed" },
        { "res:header('A', 'x\\0')", "field \"A\" is not allowed" },
        { "res:header('A B', 'x')", "field \"A B\" is not allowed" },
        { "res:header('', 'x')", "is not allowed" },
        { "res:header('Content-Length', '1')", "is not allowed" },
        { "res:header('Transfer-Encoding', 'chunked')", "is not allowed" },
        { "res:header('Connection', 'keep-alive')", "is not allowed" },
        { "res:header('A', ('x'):rep(70000))", "together are too large" },
        { "res:header('A')", "takes strings, got string and nil" },
        { "res:header({}, 'x')", "takes strings, got table and string" },
        { "res:body()", "takes a string, got nil" },
        { "res:body({})", "takes a string, got table" },
        { "res.status_code = 3", "status_code cannot be assigned" },
        { "req.url = '/'", "a request cannot be changed" },
        { "req:header()", "got nil" },
        { "req:header(1)", "got number" },
        { "res:compress()", "res:compress(compress) takes true or false, got nil" },
        { "res:send():compress(false)", "already sent" },
        { "res:get_header()", "res:get_header(name) takes a string, got nil" },
        { "require('moonring.redis').connect('redis://127.0.0.1:1').get('k')",
          "commands are called with a colon, client:get(" },
        { "moonring.percent.decode()", "percent.decode(text) takes a string, got nil" },
        { "moonring.percent.encode()", "percent.encode(text) takes a string, got nil" },
        { "moonring.forms.read()", "forms.read(req) takes the request, got nil" },
        { "moonring.forms.parse('a=b')", "takes strings, got string and nil" },
        { "moonring.cookies.read()", "cookies.read(req) takes the request, got nil" },
        { "moonring.cookies.parse()", "cookies.parse(text) takes a string, got nil" },
        { "moonring.cookies.set(nil, 'a', 'b')", "takes the response, got nil" },
        { "moonring.cookies.read_signed(nil, 'a', 'k')", "takes the request, got nil" },
        { "moonring.trace.read()", "trace.read(req) takes the request, got nil" },
        { "moonring.trace.begin('a')", "takes the request, got a string" },
        { "moonring.trace.begin(req, 1)", "sampled has to be true, false or nil, not a number" },
        { "moonring.trace.parse()", "trace.parse(text) takes a string, got nil" },
        { "checker:body()", "checker:body(req) takes the request, got nil" },
        { "checker:query()", "checker:query(req) takes the request, got nil" },
        { "checker:params()", "takes the table of the router, got nil" },
        { "checker.check({})", "are called with a colon" },
        { "require('moonring.http').fetch()", "http.fetch(url, options) takes a URL, got nil" },
        { "moonring.spawn(print):wiat()", "a task has no member \"wiat\": did you mean \"wait\"?" },
        { "moonring.semaphore(1):aquire()", "a semaphore has no member \"aquire\": did you mean" },
        { "res:nothing()", "res has no member \"nothing\"" },
        { "res:stauts(200)", "res has no member \"stauts\": did you mean \"status\"?" },
        { "res:Json({})", "did you mean \"json\"?" },
        { "local body = req.bdoy", "req has no member \"bdoy\": did you mean \"body\"?" },
        { "local url = req.utl", "did you mean \"url\"?" },
        { "res:json(print)", "value cannot be encoded as JSON: a function" },
        { "res:json({}, 99)", "status 99 is not from 200 to 599" },
        { "res:redirect()", "takes a string, got nil" },
        { "res:redirect('/', 200)", "takes 301, 302, 303, 307 or 308, got 200" },
        { "res:redirect('/a\\r\\nX: y')", "is not a URL" },
        { "res:redirect('/a\\0')", "is not a URL" },
        { "res:redirect('/a b')", "is not a URL" },
        { "res:redirect('/\\\\evil')", "is not a URL" },
        { "res:redirect('')", "is not a URL" },
        { "res:cookie('a b', '')", "the name has to be a token" },
        { "res:cookie('a', 'b\\r\\n')", "the value of a has to be" },
        { "res:send():json({})", "already sent" },
        { "res:send():redirect('/')", "already sent" },
        { "res:send():send()", "already sent" },
        { "res:send():body('x')", "already sent" },
        { "res:send():status(200)", "already sent" },
        { "res:send():header('A', 'b')", "already sent" },
    };
    lua_bench_t *lb = *state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char body[256];
        snprintf(body, sizeof(body),
                 "local checker = moonring.validation.new { type = 'any' }\n%s\nres:body('went "
                 "on'):send()",
                 table[i].call);
        load_body(lb, body);
        lua_bench_get(lb, "/");
        if (lb->bench.tape.records != i + 1)
            fail_msg("no error: %s", table[i].call);
        expect_logged(lb, table[i].message);
        expect_logged(lb, "handler.lua:3:");
    }
}

static void mistakes_can_be_caught(void **state)
{
    lua_bench_t *lb = *state;
    load_body(lb, "local ok, why = pcall(res.header, res, 'A', 'x\\n')\n"
                  "assert(not ok and why:find('not allowed'))\n"
                  "res:header('A', 'good'):body('caught'):send()");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 200);
    assert_string_equal(lb->fields, "A: good\r\n");
    assert_string_equal(lb->body, "caught");
    assert_int_equal(lb->bench.tape.records, 0);
}

/* A request or response kept from an earlier request raises, even while the job has another one.
 */
static void late_use_raises(void **state)
{
    static const char *const uses[] = { "old_req.method",    "old_req.url",
                                        "old_req.version",   "old_req:header('Host')",
                                        "old_req:body()",    "old_res:status(200)",
                                        "old_res:body('x')", "old_res:header('A', 'b')",
                                        "old_res:send()" };
    lua_bench_t *lb = *state;
    for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text),
                 "local old_req, old_res\n"
                 "function handle(req, res)\n"
                 "  if old_req then\n"
                 "    local value = %s\n"
                 "  end\n"
                 "  old_req, old_res = req, res\n"
                 "  res:body('fresh'):send()\n"
                 "end\n",
                 uses[i]);
        load(lb, text);
        lua_bench_get(lb, "/first");
        assert_string_equal(lb->body, "fresh");
        lua_bench_get(lb, "/second");
        assert_int_equal(lb->status, 500);
        assert_int_equal(lb->bench.tape.records, i + 1);
        expect_logged(lb, "this request is over");
        expect_logged(lb, "handler.lua:4:");
    }
}

/* A dot instead of a colon passes anything in place of the object: an error, never a crash. */
static void methods_without_their_object_raise(void **state)
{
    static const char *const uses[] = {
        "res.send()",      "res.status(404)",    "res.header('A', 'b')", "res.body(true)",
        "req.body()",      "req.header('Host')", "req.headers(nil)",     "req.in_worker({})",
        "req.header(res)", "res.send(req)",      "res.status(2 ^ 40)",
    };
    lua_bench_t *lb = *state;
    for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text),
                 "function handle(req, res)\n"
                 "  %s\n"
                 "  res:body('reached'):send()\n"
                 "end\n",
                 uses[i]);
        load(lb, text);
        for (int again = 0; again < 100; again++) /* until it is compiled */
            lua_bench_get(lb, "/");
        assert_int_equal(lb->status, 500);
        expect_logged(lb, "methods are called with a colon");
        expect_logged(lb, "handler.lua:2:");
    }
}

static void what_was_copied_in_time_stays(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "local kept = {}\n"
             "function handle(req, res)\n"
             "  kept[#kept + 1] = req.method .. ' ' .. req.url .. ' ' .. req:header('Host')\n"
             "  collectgarbage()\n"
             "  res:body(table.concat(kept, ',')):send()\n"
             "end\n");
    lua_bench_get(lb, "/one");
    lua_bench_get(lb, "/two");
    assert_string_equal(lb->body, "GET /one h,GET /two h");
}

static double number_of(lua_bench_t *lb, const char *path)
{
    lua_bench_get(lb, path);
    assert_int_equal(lb->status, 200);
    return atof(lb->body);
}

static void memory_is_stable_over_many_requests(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "function handle(req, res)\n"
             "  if req.url == '/count' then\n"
             "    collectgarbage() collectgarbage()\n"
             "    res:body(tostring(collectgarbage('count'))):send()\n"
             "    return\n"
             "  end\n"
             "  local agent = req:header('User-Agent') or 'none'\n"
             "  res:header('X-Agent', agent):body(req.method .. req.url .. #req:body()):send()\n"
             "end\n");
    for (int i = 0; i < 5000; i++)
        lua_bench_get(lb, "/some/path");
    double before = number_of(lb, "/count");
    for (int i = 0; i < 100000; i++)
        lua_bench_get(lb, i % 3 ? "/some/path" : "/another");
    double after = number_of(lb, "/count");
    if (after > before + 16)
        fail_msg("%.1f KiB before, %.1f after", before, after);
    assert_int_equal(lb->bench.pool.leased, 1);
}

/* A request with an error must cost as little as one without. */
static void memory_is_stable_over_many_errors(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "function handle(req, res)\n"
             "  if req.url == '/count' then\n"
             "    collectgarbage() collectgarbage()\n"
             "    res:body(tostring(collectgarbage('count'))):send()\n"
             "    return\n"
             "  end\n"
             "  error('as always')\n"
             "end\n");
    for (int i = 0; i < 1000; i++)
        lua_bench_get(lb, "/");
    double before = number_of(lb, "/count");
    for (int i = 0; i < 10000; i++)
        lua_bench_get(lb, "/");
    double after = number_of(lb, "/count");
    if (after > before + 16)
        fail_msg("%.1f KiB before, %.1f after", before, after);
    assert_int_equal(lb->bench.tape.records, 11000);
}

/*
 * Interpreted FFI calls cost several times as much as compiled ones. An ordinary handler must end
 * up in one trace that begins in the runtime's function called by C, and ends where it returns.
 * After that hardly anything more is compiled (a rare exit, as for the collector) or abandoned.
 * LuaJIT retries abandoned traces at random, so it sometimes takes more requests than usual.
 */
static const char compiling_handler[] =
    "local util = require 'jit.util'\n"
    "local events, whole, root = 0, 0, false\n"
    "jit.attach(function(what, trace, func, _, parent)\n"
    "  events = events + 1\n"
    "  if what == 'start' then\n"
    "    root = not parent and util.funcinfo(func).source:find('runtime.lua', 1, true)\n"
    "  elseif what == 'stop' and root and util.traceinfo(trace).linktype == 'return' then\n"
    "    whole = whole + 1\n"
    "  end\n"
    "end, 'trace')\n"
    "local reports = {\n"
    "  ['/on'] = function() return jit.status() and 1 or 0 end,\n"
    "  ['/events'] = function() return events end,\n"
    "  ['/whole'] = function() return whole end,\n"
    "}\n"
    "function handle(req, res)\n"
    "  local report = reports[req.url]\n"
    "  if report then\n"
    "    res:body(report()):send()\n"
    "    return\n"
    "  end\n"
    "  local host = req:header('Host') or 'none'\n"
    "  res:status(200):header('X-Host', host):body('hello ' .. req.method .. req:body()):send()\n"
    "end\n";

static void the_handler_compiles_as_a_whole(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, compiling_handler);
    assert_true(number_of(lb, "/on") == 1);
    for (int i = 0; i < 20000; i++)
        lua_bench_get(lb, "/some/path");
    assert_true(number_of(lb, "/whole") >= 1);
    double before = 0, after = number_of(lb, "/events");
    for (int round = 0; round < 5; round++) {
        before = after;
        for (int i = 0; i < 20000; i++)
            lua_bench_get(lb, "/some/path");
        after = number_of(lb, "/events");
        if (after <= before + 8)
            return;
    }
    fail_msg("%.0f trace events at first, and still %.0f in a round", before, after - before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_error_is_500_and_one_record_with_a_traceback, begin,
                                        end),
        cmocka_unit_test_setup_teardown(an_error_in_a_wrapped_coroutine_names_the_call_too, begin,
                                        end),
        cmocka_unit_test_setup_teardown(errors_that_are_no_strings, begin, end),
        cmocka_unit_test_setup_teardown(what_follows_a_nul_is_logged_too, begin, end),
        cmocka_unit_test_setup_teardown(an_error_that_cannot_be_described, begin, end),
        cmocka_unit_test_setup_teardown(endless_recursion_is_an_error_like_any_other, begin, end),
        cmocka_unit_test_setup_teardown(a_handler_that_calls_itself_has_a_short_record, begin, end),
        cmocka_unit_test_setup_teardown(a_misspelt_worker_is_named, begin, end),
        cmocka_unit_test_setup_teardown(an_error_after_send_leaves_the_answer, begin, end),
        cmocka_unit_test_setup_teardown(mistakes_raise_at_the_callers_line, begin, end),
        cmocka_unit_test_setup_teardown(mistakes_can_be_caught, begin, end),
        cmocka_unit_test_setup_teardown(late_use_raises, begin, end),
        cmocka_unit_test_setup_teardown(methods_without_their_object_raise, begin, end),
        cmocka_unit_test_setup_teardown(what_was_copied_in_time_stays, begin, end),
        cmocka_unit_test_setup_teardown(memory_is_stable_over_many_requests, begin, end),
        cmocka_unit_test_setup_teardown(memory_is_stable_over_many_errors, begin, end),
        cmocka_unit_test_setup_teardown(the_handler_compiles_as_a_whole, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
