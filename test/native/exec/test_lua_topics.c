/* moonring.publish and moonring.subscribe on the thread of a loop and on a worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "exec/topics_desk.h"

static void a_handler_receives_what_it_has_published(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               HANDLE("local s = moonring.subscribe 't'\n"
                      "moonring.publish('t', 'a') moonring.publish('u', 'x')\n"
                      "moonring.publish('t', 'b\\0c')\n"
                      "local one, lost = s:receive()\n"
                      "local two = s:receive(1)\n"
                      "local none, why = s:receive(0.01)\n"
                      "s:close() s:close()\n"
                      "local _, closed = s:receive()\n"
                      "res:body(one .. lost .. #two .. tostring(none) .. why .. closed)"));
    for (int i = 0; i < 3; i++)
        expect(&desk, "a03niltimeoutclosed");
    assert_int_equal(desk.hub.count, 0);
    desk_end(&desk);
}

static void every_subscription_of_a_state_gets_every_message(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               HANDLE("local got, tasks = {}, {}\n"
                      "for i = 1, 100 do\n"
                      "  local s = moonring.subscribe 't'\n"
                      "  tasks[i] = moonring.spawn(function()\n"
                      "    for message, lost in s:messages() do\n"
                      "      got[i] = (got[i] or '') .. message .. lost\n"
                      "      if message == '3' then s:close() end\n"
                      "    end\n"
                      "  end)\n"
                      "end\n"
                      "moonring.sleep(0)\n"
                      "for i = 1, 4 do moonring.publish('t', tostring(i)) moonring.sleep(0) end\n"
                      "for i = 1, 100 do tasks[i]:wait() assert(got[i] == '102030', got[i]) end\n"
                      "res:body('all')"));
    expect(&desk, "all");
    assert_int_equal(desk.hub.count, 0);
    desk_end(&desk);
}

static void a_subscription_ends_with_its_request(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "count = 0\n" HANDLE("moonring.subscribe('t', function() count = count + 1 end)\n"
                                    "moonring.sleep(0)\n"
                                    "moonring.publish('t', 'x')\n"
                                    "local s = moonring.subscribe 't'\n"
                                    "moonring.publish('t', 'y') s:receive() moonring.sleep(0)\n"
                                    "res:body(tostring(count))"));
    expect(&desk, "2");
    assert_int_equal(desk.hub.count, 0);
    expect(&desk, "4");
    assert_int_equal(desk.hub.count, 0);
    desk_end(&desk);
}

static void a_detached_one_lives_until_the_state_is_replaced(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "local got = ''\n"
               "moonring.subscribe('t', { detached = true }, function(message)\n"
               "  if message == 'raise' then error 'told' end\n"
               "  got = got .. message end)\n" /* while the file is loaded */
               HANDLE("local before = #got\n"
                      "moonring.publish('t', 'raise') moonring.publish('t', 'x')\n"
                      "repeat moonring.sleep(0.001) until #got > before\n"
                      "res:body(got)"));
    assert_int_equal(desk.hub.count, 1);
    expect(&desk, "x");
    expect(&desk, "xx");
    expect_logged(*state, "lua error in a subscription");
    assert_non_null(desk.handler.held_by(desk.handler.self));
    desk.handler.retire(desk.handler.self);
    assert_int_equal(desk.hub.count, 0);
    for (int i = 0; i < 3; i++)
        turn(&desk);
    assert_null(desk.handler.held_by(desk.handler.self));
    desk_end(&desk);
}

static void a_slow_subscription_is_told_how_much_it_has_lost(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               HANDLE("local slow = moonring.subscribe 't'\n"
                      "local fast, count = moonring.subscribe 't', 0\n"
                      "for i = 1, 3000 do\n"
                      "  moonring.publish('t', tostring(i))\n"
                      "  assert(fast:receive() == tostring(i))\n"
                      "end\n"
                      "local first, lost = slow:receive()\n"
                      "local total = lost + 1\n"
                      "while true do\n"
                      "  local message, more = slow:receive(0)\n"
                      "  if not message then break end\n"
                      "  total = total + more + 1\n"
                      "end\n"
                      "res:body(('%s %d %d'):format(first, lost, total))"));
    expect(&desk, "1977 1976 3000");
    desk_end(&desk);
}

static void mistakes_are_named(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               HANDLE("local texts = {}\n"
                      "local function try(fn, ...)\n"
                      "  local ok, text = pcall(fn, ...) assert(not ok)\n"
                      "  texts[#texts + 1] = tostring(text):gsub('^.-handler.lua:%d+: ', '') end\n"
                      "try(moonring.publish, '', 'x') try(moonring.publish, 't', { })\n"
                      "try(moonring.publish, 't', ('x'):rep(65537)) try(moonring.subscribe, 7)\n"
                      "try(moonring.subscribe, 't', { detach = true })\n"
                      "local s = moonring.subscribe 't'\n"
                      "try(function() return s.recieve end)\n"
                      "moonring.spawn(function() s:receive() end) moonring.sleep(0)\n"
                      "try(s.receive, s)\n"
                      "res:body(table.concat(texts, '\\n'))"));
    expect(&desk,
           "moonring.publish: a topic is a string of 1 to 255 bytes, not 0 bytes\n"
           "moonring.publish: a message is a string, not a table: moonring.json.encode makes "
           "one of other values\n"
           "moonring.publish: a message has at most 65536 bytes, not 65537\n"
           "moonring.subscribe: a topic is a string of 1 to 255 bytes, not number\n"
           "moonring.subscribe: the table of options has no member \"detach\": did you mean "
           "\"detached\"?\n"
           "a subscription has no member \"recieve\": did you mean \"receive\"?\n"
           "subscription:receive: another task waits for the same already");
    desk_end(&desk);
}

static void a_worker_waits_on_a_loop_of_its_own(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, HANDLE("local s = moonring.subscribe 't'\n"
                    "moonring.publish('t', 'x')\n"
                    "res:body(s:receive(5) .. tostring(s:receive(0.01)))"));
    bench_t *bench = &lb->bench;
    hs_handler_t handler = hs_lua_as_handler(lb->lua);
    bench_request(bench, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    bench->job->in_worker = true;
    assert_int_equal(hs_handler_start(&handler, bench->job), HS_RAN_DONE);
    lua_bench_keep_response(lb);
    bench->job->in_worker = false;
    bench_end_request(bench);
    assert_string_equal(lb->body, "xnil");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_handler_receives_what_it_has_published),
        TEST(every_subscription_of_a_state_gets_every_message),
        TEST(a_subscription_ends_with_its_request),
        TEST(a_detached_one_lives_until_the_state_is_replaced),
        TEST(a_slow_subscription_is_told_how_much_it_has_lost),
        TEST(mistakes_are_named),
        TEST(a_worker_waits_on_a_loop_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
