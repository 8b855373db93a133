/* hs_lua: loading a handler file, how it sees a request, and how it responds. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exec/lua_bench.h"

/* The script does not load, and the message names the file and `expected`. */
static void expect_no_load(lua_bench_t *lb, const char *text, const char *expected)
{
    assert_null(lua_bench_load(lb, text));
    assert_int_equal(lb->error.code, HS_ERR_HANDLER);
    if (strstr(lb->error.text, expected) == NULL)
        fail_msg("no \"%s\" in: %s", expected, lb->error.text);
}

static void handle_is_called_once_a_request(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "local n = 0\n"
             "function handle(req, res) n = n + 1; res:body(tostring(n)):send() end\n");
    for (int i = 1; i <= 20; i++) {
        char expected[16];
        snprintf(expected, sizeof(expected), "%d", i);
        lua_bench_get(lb, "/");
        assert_int_equal(lb->status, 200);
        assert_string_equal(lb->body, expected);
    }
    assert_int_equal(lb->bench.tape.records, 0);
}

static void the_request_as_lua_sees_it(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "function handle(req, res)\n"
             "  local parts = { req.method, req.url, req.version, req:header('x-a'),\n"
             "    req:header('X-A'), tostring(req:header('nope')), req:header('empty'),\n"
             "    req:body(), #req:body() }\n"
             "  res:body(table.concat(parts, '|')):send()\n"
             "end\n");
    lua_bench_run(lb, "PUT /p%20q?r=s HTTP/1.1\r\nHost: h\r\nX-A:  one two \r\nEmpty:\r\n"
                      "X-A: later\r\nContent-Length: 4\r\n\r\nbody");
    assert_string_equal(lb->body, "PUT|/p%20q?r=s|1.1|one two|one two|nil||body|4");
    lua_bench_run(lb, "M-SEARCH /s HTTP/1.0\r\nX-A: \xc3\xa9\r\nEmpty: e\r\n\r\n");
    assert_string_equal(lb->body, "M-SEARCH|/s|1.0|\xc3\xa9|\xc3\xa9|nil|e||0");
}

static void path_and_query_of_every_form(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "function handle(req, res) res:body(req.path .. '|' .. req.query):send() end\n");
    const char *cases[][2] = {
        { "/", "/|" },
        { "/a%20b?c=d?e", "/a%20b|c=d?e" },
        { "/a?", "/a|" },
        { "/http://h/x?y", "/http://h/x|y" },
        { "http://h/a/b?c", "/a/b|c" },
        { "http://h", "/|" },
        { "HTTP://h?q", "/|q" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        lua_bench_get(lb, cases[i][0]);
        assert_string_equal(lb->body, cases[i][1]);
    }
    lua_bench_run(lb, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_string_equal(lb->body, "*|");
}

static void fields_one_after_the_other(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "function handle(req, res)\n"
             "  local lines = {}\n"
             "  for name, value in req:headers() do lines[#lines + 1] = name .. '=' .. value end\n"
             "  local fields = req:headers()\n"
             "  lines[#lines + 1] = select(2, fields()) .. select(2, fields())\n"
             "  res:body(table.concat(lines, '|')):send()\n"
             "end\n");
    for (int i = 0; i < 200; i++) {
        lua_bench_run(lb, "GET / HTTP/1.1\r\nHost: h\r\nX-A:  one \r\nx-a: two\r\nE:\r\n\r\n");
        assert_string_equal(lb->body, "Host=h|X-A=one|x-a=two|E=|hone");
    }
    lua_bench_run(lb, "GET / HTTP/1.0\r\n\r\n");
    assert_int_equal(lb->status, 500);
}

static void all_values_of_a_field(void **state)
{
    lua_bench_t *lb = *state;
    load(
        lb,
        "local cookies = require 'moonring.cookies'\n"
        "function handle(req, res)\n"
        "  local sent = cookies.read(req)\n"
        "  res:body(table.concat(req:header_values 'x-a', '|') .. ' ' .. #req:header_values 'X-B'\n"
        "    .. ' ' .. sent.a .. sent.b .. sent.c):send()\n"
        "end\n");
    lua_bench_run(lb, "GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nCookie: a=x; b=y\r\nx-a:\r\n"
                      "X-AB: no\r\ncookie: b=no; c=z\r\nX-A: 3\r\n\r\n");
    assert_string_equal(lb->body, "1||3 0 xyz");
}

static void fields_of_a_request_that_is_over(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "local kept\n"
             "function handle(req, res)\n"
             "  if kept then kept() end\n"
             "  kept = req:headers()\n"
             "  res:send()\n"
             "end\n");
    lua_bench_get(lb, "/");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 500);
    expect_logged(lb, "handler.lua:3: this request is over");
}

static void content_is_bytes(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "function handle(req, res)\n"
             "  local body = req:body()\n"
             "  res:body(body:reverse() .. '\\0\\255' .. #body):send()\n"
             "end\n");
    bench_request(&lb->bench, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n???");
    lb->bench.job->request.msg.body = hs_span("\0a\xff", 3);
    bench_respond(&lb->bench, hs_lua_as_handler(lb->lua));
    lua_bench_keep_response(lb);
    bench_end_request(&lb->bench);
    assert_int_equal(lb->body_len, 6);
    assert_memory_equal(lb->body,
                        "\xff"
                        "a\0\0\xff"
                        "3",
                        6);
}

static void the_response_as_lua_builds_it(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "function handle(req, res)\n"
             "  assert(res:status(201) == res)\n"
             "  res:header('X-A', 'a'):header('X-A', 'b'):header('X-N', 42)\n"
             "  res:body('thrown away'):body(7.5):send()\n"
             "end\n");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 201);
    assert_string_equal(lb->fields, "X-A: a\r\nX-A: b\r\nX-N: 42\r\n");
    assert_string_equal(lb->body, "7.5");
}

/* Objects and calls of a handler compiled by LuaJIT leave no garbage. (A trace
 * that is compiled late may; the smallest object is 16 bytes.) */
static void a_request_in_compiled_code_allocates_nothing(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "collectgarbage('stop')\n"
             "function handle(req, res)\n"
             "  if req.method == 'POST' then\n"
             "    return res:body(('%d'):format(collectgarbage('count') * 1024)):send()\n"
             "  end\n"
             "  res:status(200):header('Content-Type', 'text/plain'):body(req.url):send()\n"
             "end\n");
    /* LuaJIT retries an abandoned trace at random. */
    long before = 0;
    long grown = LONG_MAX;
    for (int round = 0; round < 6 && grown >= 1000 * 8; round++) {
        for (int n = 0; n < 1000; n++)
            lua_bench_get(lb, "/");
        lua_bench_run(lb, "POST / HTTP/1.1\r\nHost: h\r\n\r\n");
        long bytes = strtol(lb->body, NULL, 10);
        grown = round == 0 ? LONG_MAX : bytes - before;
        before = bytes;
    }
    assert_in_range(grown, 0, 1000 * 8);
}

static void a_response_that_is_not_sent(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "function handle(req, res)\n"
             "  if req.url == '/built' then res:status(404) end\n"
             "end\n");
    lua_bench_get(lb, "/built");
    assert_int_equal(lb->status, 404);
    assert_int_equal(lb->bench.tape.records, 0);
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 500);
    assert_int_equal(lb->bench.tape.records, 1);
    expect_logged(lb, "no response");
}

static void print_goes_to_the_log(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "function handle(req, res)\n"
             "  print('one', 2, nil, true)\n"
             "  res:send()\n"
             "end\n");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->bench.tape.records, 1);
    assert_int_equal(lb->bench.tape.level, HS_LOG_INFO);
    assert_string_equal(lb->bench.tape.last, "one\t2\tnil\ttrue");
}

static void the_log_module(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "local log = require 'moonring.log'\n"
             "function handle(req, res)\n"
             "  log[req.url:sub(2)](('%s %%s'):format(req.url))\n"
             "  res:send()\n"
             "end\n");
    const char *paths[] = { "/debug", "/info", "/warn", "/error" };
    for (int level = HS_LOG_DEBUG; level <= HS_LOG_ERROR; level++) {
        char expected[32];
        snprintf(expected, sizeof(expected), "%s %%s", paths[level]);
        lua_bench_get(lb, paths[level]);
        assert_int_equal(lb->bench.tape.level, level);
        assert_string_equal(lb->bench.tape.last, expected);
    }
}

static void modules_beside_the_script(void **state)
{
    lua_bench_t *lb = *state;
    lua_bench_write(lb, "beside.lua", "return { word = 'beside' }\n");
    load(lb, "local beside = require 'beside'\n"
             "function handle(req, res) res:body(beside.word):send() end\n");
    lua_bench_get(lb, "/");
    assert_string_equal(lb->body, "beside");
}

/* Even from a directory whose name has special characters of package.path: see lua_bench. */
/* lua/demo.lua, lua/library and others next to the runtime are not modules. */
static void modules_of_the_app_win(void **state)
{
    lua_bench_t *lb = *state;
    lua_bench_write(lb, "demo.lua", "return 'of the app'\n");
    load(lb, "local found = require 'demo'\n"
             "local has_library = pcall(require, 'library.moonring')\n"
             "function handle(req, res)\n"
             "  res:body(found .. ' ' .. tostring(has_library)):send()\n"
             "end\n");
    lua_bench_get(lb, "/");
    assert_string_equal(lb->body, "of the app false");
}

static void missing_modules_name_what_was_looked_for(void **state)
{
    lua_bench_t *lb = *state;
    lua_bench_write(lb, "broken.lua", "local x = = 1\n");
    expect_no_load(lb, "require 'missing.one'\n", "module 'missing.one' not found");
    assert_non_null(strstr(lb->error.text, "/missing/one.lua'"));
    assert_non_null(strstr(lb->error.text, "/missing/one/init.lua'"));
    expect_no_load(lb, "require 'broken'\n", "error loading module 'broken' from file");
    assert_non_null(strstr(lb->error.text, "broken.lua:1:"));
}

/* LuaJIT seeds every state with the same value. */
static void random_numbers_differ_between_states(void **state)
{
    lua_bench_t *lb = *state;
    char first[sizeof(lb->body)];
    const char *text = "local number = ('%.17g'):format(math.random())\n"
                       "function handle(req, res) res:body(number):send() end\n";
    load(lb, text);
    lua_bench_get(lb, "/");
    memcpy(first, lb->body, sizeof(first));
    load(lb, text);
    lua_bench_get(lb, "/");
    assert_string_not_equal(lb->body, first);
}

static void modules_are_compiled_in(void **state)
{
    lua_bench_t *lb = *state;
    lua_bench_write(
        lb, "handler.lua",
        "for _, name in ipairs { 'cookies', 'forms', 'http', 'json', 'log', 'percent', "
        "'postgres',\n"
        "    'query', 'router', 'socket', 'url' } do\n"
        "  assert(type(require('moonring.' .. name)) == 'table')\n"
        "  assert(require('moonring.' .. name) == moonring[name])\n"
        "end\n"
        "handle = require('moonring.router').new()\n"
        "  :get('/:a', function(_, res, params) res:body(params.a):send() end):handler()\n");
    hs_lua_config_t config = { .files = { .root = NULL, .script = lb->script },
                               .log = &lb->bench.log };
    lb->lua = hs_lua_new(&config, &lb->error);
    if (lb->lua == NULL)
        fail_msg("%s", lb->error.text);
    lua_bench_get(lb, "/x%20y?z");
    assert_string_equal(lb->body, "x y");
}

static void a_syntax_error_names_file_and_line(void **state)
{
    lua_bench_t *lb = *state;
    expect_no_load(lb, "local a = 1\nfunction handle(req res)\nend\n", "handler.lua:2:");
    assert_non_null(strstr(lb->error.text, "'res'"));
}

static void an_error_at_load_names_file_and_line(void **state)
{
    lua_bench_t *lb = *state;
    expect_no_load(lb, "local a\n\nlocal b = a.field\n", "handler.lua:3:");
    expect_no_load(lb, "error('told so')\n", "handler.lua:1: told so");
    expect_no_load(lb, "error({})\n", "{}");
    expect_no_load(lb, "error()\n", "nil");
    lua_bench_write(lb, "broken.lua", "return = 1\n");
    expect_no_load(lb, "require 'broken'\n", "broken.lua:1:");
    expect_no_load(lb, "require 'absent.module'\n", "absent.module");
}

static void a_file_without_handle(void **state)
{
    lua_bench_t *lb = *state;
    expect_no_load(lb, "local function handle() end\n", "defines no global function handle");
    expect_no_load(lb, "handle = 'a string'\n", "defines no global function handle");
    assert_non_null(strstr(lb->error.text, lb->script));
    expect_no_load(lb, "handle = require('moonring.router').new()\n",
                   "the router is not one yet, write handle = app:handler()");
    expect_no_load(lb, "handle = 7\n", "handle is a number");
    expect_no_load(lb, "function handler(req, res) end\n", "did you mean handle by \"handler\"?");
}

static void a_file_that_is_not_there(void **state)
{
    lua_bench_t *lb = *state;
    hs_lua_config_t config = { .files = { .root = "lua", .script = "/nowhere/handler.lua" },
                               .log = &lb->bench.log };
    assert_null(hs_lua_new(&config, &lb->error));
    assert_int_equal(lb->error.code, HS_ERR_HANDLER);
    assert_non_null(strstr(lb->error.text, "/nowhere/handler.lua"));
}

static void a_root_without_the_runtime(void **state)
{
    lua_bench_t *lb = *state;
    lua_bench_write(lb, "handler.lua", "function handle() end\n");
    hs_lua_config_t config = { .files = { .root = "/nowhere", .script = lb->script },
                               .log = &lb->bench.log };
    assert_null(hs_lua_new(&config, &lb->error));
    assert_non_null(strstr(lb->error.text, "moonring.runtime"));
}

/* States are independent: a reload loads the new file beside the old one. */
static void states_share_nothing(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "shared = 'first'\nfunction handle(req, res) res:body(tostring(shared)):send() end\n");
    hs_lua_t *first = lb->lua;
    lb->lua = NULL;
    load(lb, "function handle(req, res) res:body(tostring(shared)):send() end\n");
    lua_bench_get(lb, "/");
    assert_string_equal(lb->body, "nil");
    hs_lua_t *second = lb->lua;
    lb->lua = first;
    lua_bench_get(lb, "/");
    assert_string_equal(lb->body, "first");
    hs_lua_free(second);
}

static void versions_are_told(void **state)
{
    (void)state;
    assert_non_null(strstr(hs_lua_version(), "LuaJIT 2.1"));
}

/* ---- Interrupts, sent by the handler to its own thread. ---- */

static lua_bench_t *interrupted;

static void interrupt_request(void)
{
    hs_handler_t handler = hs_lua_as_handler(interrupted->lua);
    handler.interrupt(handler.self, interrupted->bench.job, 0);
}

static void interrupt_other(void)
{
    hs_handler_t handler = hs_lua_as_handler(interrupted->lua);
    handler.interrupt(handler.self, NULL, 0);
}

/* Loads `text` with functions that interrupt the request, and a task that does not run. */
static void load_interrupted(lua_bench_t *lb, const char *text)
{
    char script[2048];
    interrupted = lb;
    snprintf(script, sizeof(script),
             "local ffi = require 'ffi'\n"
             "local function at(address) return ffi.cast('void (*)(void)', address) end\n"
             "local interrupt, interrupt_other = at(%lluULL), at(%lluULL)\n%s",
             (unsigned long long)(uintptr_t)interrupt_request,
             (unsigned long long)(uintptr_t)interrupt_other, text);
    load(lb, script);
    hs_handler_t handler = hs_lua_as_handler(lb->lua);
    handler.attach(handler.self, NULL);
}

static void an_interrupted_handler_cannot_go_on(void **state)
{
    static const char *const ways[] = { "/plain", "/caught", "/tail", "/coroutine", "/spawns" };
    lua_bench_t *lb = *state;
    load_interrupted(
        lb, "local function loop() while true do end end\n"
            "local function stubborn() while true do pcall(loop) end end\n"
            "local ways = {\n"
            "  ['/plain'] = loop,\n"
            "  ['/caught'] = stubborn,\n"
            "  ['/tail'] = function() return pcall(loop) end,\n"
            "  ['/coroutine'] = function() return pcall(coroutine.wrap(stubborn)) end,\n"
            "  ['/spawns'] = function() while true do pcall(moonring.spawn, loop) end end,\n"
            "}\n"
            "function handle(req, res)\n"
            "  if req.url == '/other' then interrupt_other() end\n"
            "  if not ways[req.url] then res:body(tostring(debug.gethook())):send() return end\n"
            "  interrupt()\n"
            "  return ways[req.url](res)\n"
            "end\n");
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        lua_bench_get(lb, ways[i]);
        assert_int_equal(lb->status, 503);
        expect_logged(lb, ways[i]);
        expect_logged(lb, "the handler ran into its deadline and was interrupted");
        expect_logged(lb, "handler.lua:");
        lua_bench_get(lb, "/");
        assert_int_equal(lb->status, 200);
        assert_string_equal(lb->body, "nil"); /* the hook is gone */
    }
    unsigned records = lb->bench.tape.records;
    lua_bench_get(lb, "/other");
    assert_int_equal(lb->status, 200);
    assert_int_equal(lb->bench.tape.records, records);
}

static void an_interrupted_handler_that_has_responded(void **state)
{
    lua_bench_t *lb = *state;
    load_interrupted(lb, "function handle(req, res)\n"
                         "  res:body('done'):send()\n"
                         "  interrupt()\n"
                         "  while true do end\n"
                         "end\n");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 200);
    assert_string_equal(lb->body, "done");
    expect_logged(lb, "was interrupted");
}

static void whether_compiled_loops_can_be_interrupted(void **state)
{
    (void)state;
    bool first = hs_lua_interrupts_compiled();
    assert_int_equal(hs_lua_interrupts_compiled(), first);
    print_message("compiled loops %s be interrupted\n", first ? "can" : "cannot");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(handle_is_called_once_a_request, begin, end),
        cmocka_unit_test_setup_teardown(the_request_as_lua_sees_it, begin, end),
        cmocka_unit_test_setup_teardown(path_and_query_of_every_form, begin, end),
        cmocka_unit_test_setup_teardown(fields_one_after_the_other, begin, end),
        cmocka_unit_test_setup_teardown(all_values_of_a_field, begin, end),
        cmocka_unit_test_setup_teardown(fields_of_a_request_that_is_over, begin, end),
        cmocka_unit_test_setup_teardown(content_is_bytes, begin, end),
        cmocka_unit_test_setup_teardown(the_response_as_lua_builds_it, begin, end),
        cmocka_unit_test_setup_teardown(a_request_in_compiled_code_allocates_nothing, begin, end),
        cmocka_unit_test_setup_teardown(a_response_that_is_not_sent, begin, end),
        cmocka_unit_test_setup_teardown(print_goes_to_the_log, begin, end),
        cmocka_unit_test_setup_teardown(the_log_module, begin, end),
        cmocka_unit_test_setup_teardown(modules_beside_the_script, begin, end),
        cmocka_unit_test_setup_teardown(modules_of_the_app_win, begin, end),
        cmocka_unit_test_setup_teardown(missing_modules_name_what_was_looked_for, begin, end),
        cmocka_unit_test_setup_teardown(random_numbers_differ_between_states, begin, end),
        cmocka_unit_test_setup_teardown(modules_are_compiled_in, begin, end),
        cmocka_unit_test_setup_teardown(a_syntax_error_names_file_and_line, begin, end),
        cmocka_unit_test_setup_teardown(an_error_at_load_names_file_and_line, begin, end),
        cmocka_unit_test_setup_teardown(a_file_without_handle, begin, end),
        cmocka_unit_test_setup_teardown(a_file_that_is_not_there, begin, end),
        cmocka_unit_test_setup_teardown(a_root_without_the_runtime, begin, end),
        cmocka_unit_test_setup_teardown(states_share_nothing, begin, end),
        cmocka_unit_test_setup_teardown(an_interrupted_handler_cannot_go_on, begin, end),
        cmocka_unit_test_setup_teardown(an_interrupted_handler_that_has_responded, begin, end),
        cmocka_unit_test(whether_compiled_loops_can_be_interrupted),
        cmocka_unit_test(versions_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
