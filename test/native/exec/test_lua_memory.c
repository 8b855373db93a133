/* hs_lua: a state that reaches its memory cap responds with 500, and stays usable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exec/lua_bench.h"

#define CAP (4 * 1024 * 1024)

/* Every second request reaches the cap with `greedy`; the one after it must find room for a
 * megabyte. */
static void reach_the_cap(lua_bench_t *lb, const char *greedy, int times)
{
    char text[2048];
    snprintf(text, sizeof(text),
             "%s\n"
             "function handle(req, res)\n"
             "  if req.url == '/greedy' then greedy() end\n"
             "  res:body(#(('x'):rep(500000) .. 'y')):send()\n"
             "end\n",
             greedy);
    lb->memory_cap = CAP;
    load(lb, text);
    for (int i = 0; i < times; i++) {
        lua_bench_get(lb, "/greedy");
        assert_int_equal(lb->status, 500);
        expect_logged(lb, "reached the memory limit");
        lua_bench_get(lb, "/modest");
        if (lb->status != 200)
            fail_msg("after %d times at the cap: %s", i + 1, lb->bench.tape.last);
        assert_string_equal(lb->body, "500001");
    }
}

static void the_cap_is_an_error_like_others(void **state)
{
    /* Short strings: the collector shrinks their table, for which it has to allocate. */
    reach_the_cap(*state,
                  "function greedy()\n"
                  "  local all, i = {}, 0\n"
                  "  while true do i = i + 1 all[i] = 'string ' .. i end\n"
                  "end",
                  100);
    reach_the_cap(*state,
                  "function greedy()\n"
                  "  local all = 'x'\n"
                  "  while true do all = all .. all end\n"
                  "end",
                  20);
}

#define WITH_FINALIZER(body)                                                                       \
    "local function finalizer()\n"                                                                 \
    "  local proxy = newproxy(true)\n"                                                             \
    "  getmetatable(proxy).__gc = function() " body " end\n"                                       \
    "  return proxy\n"                                                                             \
    "end\n"                                                                                        \
    "function greedy()\n"                                                                          \
    "  local all = {}\n"                                                                           \
    "  while true do\n"                                                                            \
    "    all[#all + 1] = { finalizer(), ('x'):rep(10000) .. #all }\n"                              \
    "  end\n"                                                                                      \
    "end"

static void finalizers_may_raise_at_the_cap(void **state)
{
    reach_the_cap(*state, WITH_FINALIZER("error('in a finalizer')"), 20);
    reach_the_cap(*state, WITH_FINALIZER("error({})"), 20);
}

static void finalizers_may_allocate_at_the_cap(void **state)
{
    reach_the_cap(*state, WITH_FINALIZER("return ('y'):rep(10000) .. tostring({})"), 20);
    reach_the_cap(*state, WITH_FINALIZER("local t = {} while true do t[#t + 1] = {} end"), 3);
}

/* Objects left at the end of the state are finalized then. */
static void finalizers_may_raise_when_the_state_closes(void **state)
{
    lua_bench_t *lb = *state;
    lb->memory_cap = CAP;
    load(lb, "kept = {}\n"
             "for i = 1, 100 do\n"
             "  kept[i] = newproxy(true)\n"
             "  getmetatable(kept[i]).__gc = function() error(('x'):rep(100000) .. i) end\n"
             "end\n"
             "function handle(req, res) res:send() end\n");
    lua_bench_get(lb, "/");
    hs_lua_free(lb->lua);
    lb->lua = NULL;
}

static void a_task_at_the_cap_ends_alone(void **state)
{
    lua_bench_t *lb = *state;
    lb->memory_cap = CAP;
    load(lb, WITH_FINALIZER("error('in a finalizer')") "\n"
                                                       "function handle(req, res)\n"
                                                       "  hs_queue_push(greedy)\n"
                                                       "  res:body('pushed'):send()\n"
                                                       "end\n");
    for (int i = 0; i < 5; i++) {
        lua_bench_get(lb, "/");
        assert_string_equal(lb->body, "pushed");
        hs_handler_t handler = hs_lua_as_handler(lb->lua);
        handler.run_tasks(handler.self);
        expect_logged(lb, "not enough memory");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_cap_is_an_error_like_others, begin, end),
        cmocka_unit_test_setup_teardown(finalizers_may_raise_at_the_cap, begin, end),
        cmocka_unit_test_setup_teardown(finalizers_may_allocate_at_the_cap, begin, end),
        cmocka_unit_test_setup_teardown(finalizers_may_raise_when_the_state_closes, begin, end),
        cmocka_unit_test_setup_teardown(a_task_at_the_cap_ends_alone, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
