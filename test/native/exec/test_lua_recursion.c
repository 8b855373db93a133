/* hs_lua: endless recursion through C is an error of its request, on a stack of any size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>

#include "exec/hs_lua_guard.h"
#include "exec/lua_bench.h"
#include "httpserver.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

static void *respond(void *argument)
{
    lua_bench_t *lb = argument;
    /* cmocka's assertions work only on the test's thread: the result is checked there. */
    lb->bench.executor.handler = hs_lua_as_handler(lb->lua);
    hs_started_t started = hs_executor_start(&lb->bench.executor, lb->bench.job, true);
    return started == HS_STARTED_DONE ? lb : NULL;
}

/* One request on a thread with a stack of `size` bytes. */
static void get_on_thread(lua_bench_t *lb, const char *path, size_t size)
{
    char request[64];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);
    bench_request(&lb->bench, request);
    pthread_t thread;
    pthread_attr_t attributes;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, size), 0);
    assert_int_equal(pthread_create(&thread, &attributes, respond, lb), 0);
    pthread_attr_destroy(&attributes);
    void *done = NULL;
    assert_int_equal(pthread_join(thread, &done), 0);
    assert_ptr_equal(done, lb);
    lua_bench_keep_response(lb);
    bench_end_request(&lb->bench);
}

/* `recursion` defines dive(), which raises `expected`; then the state serves as before. */
static void dive(lua_bench_t *lb, const char *recursion, const char *expected, size_t size)
{
    char text[2048];
    snprintf(text, sizeof(text),
             "%s\n"
             "function handle(req, res)\n"
             "  if req.path == '/dive' then dive() end\n"
             "  res:body('lives'):send()\n"
             "end\n",
             recursion);
    load(lb, text);
    get_on_thread(lb, "/dive", size);
    if (lb->status != 500 || strstr(lb->bench.tape.last, expected) == NULL)
        fail_msg("%d, no \"%s\" in: %s", lb->status, expected, lb->bench.tape.last);
    get_on_thread(lb, "/", size);
    assert_string_equal(lb->body, "lives");
}

/* Recursion that uses little or no Lua stack is stopped at the end of the C stack. */
static void guarded_functions_raise_on_stacks_of_any_size(void **state)
{
    static const struct {
        const char *recursion;
        const char *expected;
    } cases[] = {
        { "function dive() coroutine.wrap(dive)() end",
          "handler.lua:1: C stack overflow: coroutines are nested too deeply" },
        { "function dive()\n"
          "  local resumed, failure = coroutine.resume(coroutine.create(dive))\n"
          "  if not resumed then error(failure, 0) end\n"
          "end",
          "handler.lua:2: C stack overflow: coroutines are nested too deeply" },
        { "function dive()\n"
          "  return (('x'):gsub('x', dive))\n"
          "end",
          "handler.lua:2: C stack overflow: calls of string.gsub are nested too deeply" },
        { "local all = setmetatable({}, { __index = function(all)\n"
          "  return (('x'):gsub('x', all))\n"
          "end })\n"
          "function dive() return all.x end",
          "handler.lua:2: C stack overflow: calls of string.gsub" },
        { "function dive()\n"
          "  local parts = { ('x = function() '):rep(60) .. ('('):rep(60) }\n"
          "  assert(load(function() return table.remove(parts) or dive() end))\n"
          "end",
          "C stack overflow: calls of load are nested too deeply" },
        /* Each level first halves a table of 400 several times. */
        { "function dive()\n"
          "  local numbers, compared = {}, 0\n"
          "  for i = 1, 400 do numbers[i] = i end\n"
          "  table.sort(numbers, function(a, b)\n"
          "    compared = compared + 1\n"
          "    if compared == 700 then coroutine.wrap(dive)() end\n"
          "    return a < b\n"
          "  end)\n"
          "end",
          "C stack overflow: " },
    };
    static const size_t sizes[] = { 512 * KIB, 2 * MIB, 8 * MIB, HS_STACK_BYTES };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++)
            dive(*state, cases[i].recursion, cases[i].expected, sizes[j]);
}

/* Every other function is stopped by LuaJIT's limit of the Lua stack, for which the C stack
 * suffices.
 */
static void others_reach_the_limit_of_the_lua_stack(void **state)
{
    static const struct {
        const char *recursion;
        const char *expected;
    } cases[] = {
        { "local object = setmetatable({}, { __tostring = function(object)\n"
          "  return string.format('%s', object)\n"
          "end })\n"
          "function dive() tostring(object) end",
          "stack" },
        /* A protected error lets the message handler be called for its own errors. */
        { "local function raise() local missing pcall(error) return 1 .. missing end\n"
          "function dive() assert(xpcall(raise, raise)) end",
          "lua error" },
        { "local mt = {}\n"
          "mt.__lt = function(a, b) return table.sort({ a, b }) end\n"
          "local a, b = setmetatable({}, mt), setmetatable({}, mt)\n"
          "function dive() return a < b end",
          "stack" },
        { "local depth = 0\n"
          "setmetatable(package.preload, { __index = function()\n"
          "  return function() depth = depth + 1 require('m' .. depth) end\n"
          "end })\n"
          "function dive() require 'm' end",
          "stack" },
        { "function dive() local i, module, next = 0, module\n"
          "  next = function() i = i + 1 module('m' .. i, next) end\n"
          "  next()\n"
          "end",
          "stack" },
        { "local date = setmetatable({}, { __index = function(date) return os.time(date) end })\n"
          "function dive() os.time(date) end",
          "stack" },
        { "local buffer = require('string.buffer')\n"
          "local object = setmetatable({}, { __tostring = function(object)\n"
          "  return tostring(buffer.new():put(object))\n"
          "end })\n"
          "function dive() tostring(object) end",
          "stack" },
        { "function dive() local _, failure = pcall(dive) error(failure, 0) end", "stack" },
        { "function dive() return 1 + dive() end", "stack" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        dive(*state, cases[i].recursion, cases[i].expected, 8 * MIB);
}

/* Like the cases above, in a coroutine nested so deeply that there can be no other. */
static void what_is_left_at_the_limit_suffices_for_a_whole_lua_stack(void **state)
{
    static const char *const deepest[] = {
        "local function raise() local missing pcall(error) return 1 .. missing end\n"
        "local function at_the_limit() xpcall(raise, raise) end\n",
        /* The compiler runs at the end of the Lua stack. */
        "local depth = 0\n"
        "local object = setmetatable({}, {})\n"
        "getmetatable(object).__tostring = function(object)\n"
        "  depth = depth + 1\n"
        "  if depth > 16000 then loadstring(('x = function() '):rep(190)) end\n"
        "  return string.format('%s', object)\n"
        "end\n"
        "local function at_the_limit() depth = 0 pcall(tostring, object) end\n",
    };
    static const size_t sizes[] = { 8 * MIB, HS_STACK_BYTES };
    for (size_t i = 0; i < sizeof(deepest) / sizeof(deepest[0]); i++) {
        char recursion[1024];
        snprintf(recursion, sizeof(recursion),
                 "%s"
                 "function dive()\n"
                 "  local ok, failure = pcall(coroutine.wrap(dive))\n"
                 "  if failure:find('C stack overflow') then\n"
                 "    at_the_limit()\n"
                 "    failure = 'came back'\n"
                 "  end\n"
                 "  error(failure, 0)\n"
                 "end",
                 deepest[i]);
        for (size_t j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++)
            dive(*state, recursion, "came back", sizes[j]);
    }
}

/* Each finalizer leaves an object to be finalized, and triggers the collector. */
static void finalizers_inside_finalizers(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "local live\n"
             "local function finalize()\n"
             "  getmetatable(newproxy(true)).__gc = live\n"
             "  collectgarbage('restart')\n"
             "  loadstring(('x = function() '):rep(190))\n"
             "  collectgarbage()\n"
             "end\n"
             "function handle(req, res)\n"
             "  live = finalize\n"
             "  getmetatable(newproxy(true)).__gc = live\n"
             "  pcall(collectgarbage)\n"
             "  live = nil\n"
             "  res:body('lives'):send()\n"
             "end\n");
    static const size_t sizes[] = { 8 * MIB, HS_STACK_BYTES };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        get_on_thread(lb, "/", sizes[i]);
        assert_string_equal(lb->body, "lives");
    }
}

/* The results of `chunk`, as text, in a state with the guard or without. */
static void results_of(const char *chunk, bool is_guarded, char *text, size_t size)
{
    lua_State *lua = luaL_newstate();
    assert_non_null(lua);
    luaL_openlibs(lua);
    if (is_guarded)
        hs_lua_guard_open(lua);
    assert_int_equal(luaL_loadbuffer(lua, chunk, strlen(chunk), "=chunk"), 0);
    (void)lua_pcall(lua, 0, LUA_MULTRET, 0);
    size_t used = 0;
    text[0] = '\0';
    for (int i = 1; i <= lua_gettop(lua) && used < size; i++) {
        lua_getglobal(lua, "tostring");
        lua_pushvalue(lua, i);
        lua_call(lua, 1, 1);
        used += (size_t)snprintf(text + used, size - used, "%s|", lua_tostring(lua, -1));
        lua_pop(lua, 1);
    }
    lua_close(lua);
}

static void guarded_functions_are_those_of_luajit(void **state)
{
    (void)state;
    static const char *const chunks[] = {
        "return ('abc'):gsub('%w', '%0%0'), ('abc'):gsub('b', { b = 'x' }), ('abc'):gsub('.', "
        "print, 0)",
        "('x'):gsub()",
        "string.gsub('x', 'x')",
        "('x'):gsub('x', function() error('inside') end)",
        "('x'):gsub('x', function() return {} end)",
        "coroutine.wrap(function() ('x'):gsub('x', coroutine.yield) end)()",
        "local t = { 3, 1, 2 } table.sort(t) return unpack(t)",
        "local t = { 3, 1, 2 } table.sort(t, function(a, b) return a > b end) return unpack(t)",
        "table.sort({ 1, 'x', 2 })",
        "table.sort({ 1, 2, 3 }, 1)",
        "table.sort({ 1, 2, 3, 4, 5 }, function() return true end)",
        "return load('return 1 + ')",
        "return load('return ...', '=name', 't', {})('x')",
        "local parts = { 'return ', '42' }\n"
        "return load(function() return table.remove(parts, 1) end)()",
        "return load(function() error('inside') end)",
        "load()",
        "return type(collectgarbage('count')), collectgarbage(), collectgarbage('step')",
        "collectgarbage('none')",
    };
    for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
        char expected[512];
        char found[512];
        results_of(chunks[i], false, expected, sizeof(expected));
        results_of(chunks[i], true, found, sizeof(found));
        if (strcmp(expected, found) != 0)
            print_message("%s\n", chunks[i]);
        assert_string_equal(found, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(guarded_functions_raise_on_stacks_of_any_size, begin, end),
        cmocka_unit_test_setup_teardown(others_reach_the_limit_of_the_lua_stack, begin, end),
        cmocka_unit_test_setup_teardown(what_is_left_at_the_limit_suffices_for_a_whole_lua_stack,
                                        begin, end),
        cmocka_unit_test_setup_teardown(finalizers_inside_finalizers, begin, end),
        cmocka_unit_test(guarded_functions_are_those_of_luajit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
