/* Large bodies of Lua handlers are sent from their place, and released exactly once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exec/hs_lua_pins.h"
#include "exec/hs_res.h"
#include "exec/lua_bench.h"

static hs_response_t *answer(lua_bench_t *lb)
{
    bench_request(&lb->bench, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    bench_respond(&lb->bench, hs_lua_as_handler(lb->lua));
    return &lb->bench.job->response;
}

/* How many bodies the state can still pin, found by pinning as many as possible. */
static unsigned pins_to_be_had(lua_bench_t *lb)
{
    hs_response_t kept[HS_LUA_PINS + 1];
    unsigned count = 0;
    for (hs_response_t *response; count <= HS_LUA_PINS; count++) {
        response = answer(lb);
        bool is_pinned = response->kind == HS_CONTENT_PINNED;
        if (is_pinned) {
            kept[count] = *response;
            response->kind = HS_CONTENT_COPIED; /* the output chain has it */
        }
        bench_end_request(&lb->bench);
        if (!is_pinned)
            break;
    }
    for (unsigned i = 0; i < count; i++)
        hs_release(kept[i].content.release);
    return count;
}

static void a_large_body_is_not_copied(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "local big = ('x'):rep(100000)\n"
             "function handle(req, res) res:body(big):send() end\n");
    hs_response_t *response = answer(lb);
    assert_int_equal(response->kind, HS_CONTENT_PINNED);
    assert_int_equal(response->content.len, 100000);
    for (size_t i = 0; i < response->content.len; i++)
        assert_int_equal(response->content.data[i], 'x');
    bench_end_request(&lb->bench);
    assert_int_equal(pins_to_be_had(lb), HS_LUA_PINS);
}

static void a_small_body_is_copied(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "function handle(req, res) res:body(('x'):rep(1000)):send() end\n");
    assert_int_equal(answer(lb)->kind, HS_CONTENT_COPIED);
    bench_end_request(&lb->bench);
}

/* Garbage collection does not free a string that is still to be sent. */
static void a_body_outlives_its_handler(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "local n = 0\n"
             "function handle(req, res)\n"
             "  n = n + 1\n"
             "  res:body(string.char(96 + n):rep(50000)):send()\n"
             "  collectgarbage() collectgarbage()\n"
             "end\n");
    hs_response_t first = *answer(lb);
    assert_int_equal(first.kind, HS_CONTENT_PINNED);
    lb->bench.job->response.kind = HS_CONTENT_COPIED; /* the output chain has it */
    bench_end_request(&lb->bench);
    for (int i = 0; i < 5; i++) {
        (void)answer(lb);
        bench_end_request(&lb->bench);
    }
    for (size_t i = 0; i < first.content.len; i++)
        assert_int_equal(first.content.data[i], 'a');
    hs_release(first.content.release);
}

/* The replaced string is released when Lua is not running. */
static void a_body_may_be_replaced(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "function handle(req, res)\n"
             "  for i = 1, 1000 do res:body(('x'):rep(20000 + i)) end\n"
             "  res:body('small')\n"
             "  for i = 1, 10 do res:body(('y'):rep(30000 + i)) end\n"
             "  res:send()\n"
             "end\n");
    for (int i = 0; i < 3; i++) {
        hs_response_t *response = answer(lb);
        size_t len =
            response->kind == HS_CONTENT_PINNED ? response->content.len : response->body.len;
        assert_int_equal(len, 30010);
        bench_end_request(&lb->bench);
    }
    load(lb, "function handle(req, res) res:body(('x'):rep(20000)):send() end\n");
    assert_int_equal(pins_to_be_had(lb), HS_LUA_PINS);
}

static void an_error_after_a_large_body_lets_go_of_it(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "function handle(req, res)\n"
             "  res:body(('x'):rep(20000))\n"
             "  if fail ~= false then error('no') end\n"
             "  res:send()\n"
             "end\n");
    for (int i = 0; i < 2 * HS_LUA_PINS; i++) {
        assert_int_equal(answer(lb)->status, 500);
        bench_end_request(&lb->bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_large_body_is_not_copied, begin, end),
        cmocka_unit_test_setup_teardown(a_small_body_is_copied, begin, end),
        cmocka_unit_test_setup_teardown(a_body_outlives_its_handler, begin, end),
        cmocka_unit_test_setup_teardown(a_body_may_be_replaced, begin, end),
        cmocka_unit_test_setup_teardown(an_error_after_a_large_body_lets_go_of_it, begin, end),
    };
    return cmocka_run_group_tests_name("lua_pins", tests, NULL, NULL);
}
