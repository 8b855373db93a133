/* Handlers that wait: coroutines of requests and their tasks, on a loop without sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "exec/lua_bench.h"
#include "os/hs_clock.h"

typedef struct desk {
    lua_bench_t *lb;
    hs_handler_t handler;
    hs_handler_host_t host;
    bool done;
} desk_t;

static void desk_begin(desk_t *desk, lua_bench_t *lb, const char *text)
{
    load(lb, text);
    *desk = (desk_t){ .lb = lb, .handler = hs_lua_as_handler(lb->lua) };
    desk->host = (hs_handler_host_t){ .busy = &lb->bench.executor.busy, .reactor_index = 3 };
    desk->handler.attach(desk->handler.self, &desk->host);
    lb->bench.executor.handler = desk->handler;
}

static void on_done(void *context, hs_job_t *job, void *link)
{
    desk_t *desk = context;
    (void)link;
    assert_ptr_equal(job, desk->lb->bench.job);
    lua_bench_keep_response(desk->lb);
    desk->done = true;
}

/* One turn of a loop: waits for what is due, at most `most_ms`. */
static void turn(desk_t *desk, uint64_t most_ms)
{
    uint64_t now_ms = hs_clock_monotonic_ms();
    uint64_t due_ms = hs_handler_due_ms(&desk->handler, false);
    if (due_ms > now_ms)
        (void)usleep((useconds_t)(1000 * hs_min(due_ms - now_ms, most_ms)));
    if (hs_handler_due_ms(&desk->handler, true) <= hs_clock_monotonic_ms())
        desk->handler.run_tasks(desk->handler.self);
    const hs_executor_sink_t sink = { .done = on_done, .context = desk };
    hs_executor_collect(&desk->lb->bench.executor, &sink);
}

/* Begins a request. True: its response is complete. */
static bool start(desk_t *desk, const char *request)
{
    bench_t *bench = &desk->lb->bench;
    bench_request(bench, request);
    desk->done = false;
    if (hs_executor_start(&bench->executor, bench->job, true) == HS_STARTED_DONE) {
        lua_bench_keep_response(desk->lb);
        desk->done = true;
    } else {
        bench->job->link = desk;
    }
    return desk->done;
}

static void finish(desk_t *desk)
{
    for (int i = 0; i < 10000 && !desk->done; i++)
        turn(desk, 100);
    assert_true(desk->done);
    bench_end_request(&desk->lb->bench);
}

#define GET "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"

static void expect(desk_t *desk, int status, const char *body)
{
    (void)start(desk, GET);
    finish(desk);
    assert_int_equal(desk->lb->status, status);
    assert_string_equal(desk->lb->body, body);
}

static void a_handler_sleeps_and_responds(void **state)
{
    desk_t desk;
    desk_begin(
        &desk, *state,
        "function handle(req, res) local before = moonring.now() moonring.sleep(0.02)\n"
        "res:body(req.path .. (moonring.now() - before >= 0.02 and ' slept' or ' woke')) end");
    for (int i = 0; i < 3; i++)
        expect(&desk, 200, "/x slept");
}

static void errors_after_a_wait_are_500_with_a_traceback(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "local function inner() moonring.sleep(0) error('late') end\n"
               "function handle(req, res) inner() res:body('x') end");
    expect(&desk, 500, "Internal Server Error\n");
    expect_logged(*state, "lua error in GET /x: ");
    expect_logged(*state, "handler.lua:1: late");
    expect_logged(*state, "in function 'inner'");
}

static void a_plain_yield_of_a_handler_is_an_error(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state, "function handle(req, res) coroutine.yield(1) end");
    expect(&desk, 500, "Internal Server Error\n");
    expect_logged(*state, "use moonring.sleep");
}

static void a_wait_passes_through_coroutines_of_the_handler(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "function handle(req, res)\n"
               "  local produce = coroutine.wrap(function()\n"
               "    for i = 1, 3 do moonring.sleep(0.001) coroutine.yield(i) end end)\n"
               "  local co = coroutine.create(function(a) moonring.sleep(0) return a, 'z' end)\n"
               "  local ok, a, z = coroutine.resume(co, 'a')\n"
               "  res:body(produce() .. produce() .. produce() .. tostring(ok) .. a .. z)\n"
               "end");
    expect(&desk, 200, "123trueaz");
}

static void a_misspelt_option_of_a_task_is_an_error(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "function handle(req, res)\n"
               "  local _, failure = pcall(moonring.spawn, { detatched = true }, print)\n"
               "  res:body((failure:gsub('^.-:%d+: ', '')))\n"
               "end");
    expect(&desk, 200,
           "moonring.spawn: the table of options has no member \"detatched\": did you mean "
           "\"detached\"?");
}

static void a_wait_inside_a_callback_of_c_is_an_error_with_its_line(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "function handle(req, res)\n"
               "  local ok, failure = pcall(table.sort, { 2, 1 }, function()\n"
               "    moonring.sleep(0)\n"
               "  end)\n"
               "  res:body(failure)\n"
               "end");
    (void)start(&desk, GET);
    finish(&desk);
    const lua_bench_t *lb = *state;
    assert_non_null(strstr(lb->body, "handler.lua:3: moonring.sleep: cannot wait inside"));
    desk_begin(&desk, *state,
               "function handle(req, res)\n"
               "  local f = coroutine.wrap(function() moonring.sleep(0) end)\n"
               "  local ok, failure = pcall(string.gsub, 'x', 'x', f)\n"
               "  res:body(failure)\n"
               "end");
    (void)start(&desk, GET);
    finish(&desk);
    assert_non_null(strstr(lb->body, "cannot wait: this coroutine was resumed by a function of C"));
}

static void tasks_of_a_request_run_beside_it_and_are_waited_for(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "function handle(req, res)\n"
               "  local tasks, asleep, most = {}, 0, 0\n"
               "  for i = 1, 10 do\n"
               "    tasks[i] = moonring.spawn(function(n)\n"
               "      asleep = asleep + 1 most = math.max(most, asleep)\n"
               "      moonring.sleep(0.02) asleep = asleep - 1 return n * n end, i)\n"
               "  end\n"
               "  local sum = 0\n"
               "  for i = 1, 10 do sum = sum + tasks[i]:wait() end\n"
               "  res:body(sum .. (most == 10 and ' together' or ' in turn'))\n"
               "end");
    expect(&desk, 200, "385 together");
}

static void an_error_of_a_task_is_raised_where_it_is_waited_for(void **state)
{
    desk_t desk;
    desk_begin(
        &desk, *state,
        "function handle(req, res)\n"
        "  local task = moonring.spawn(function() moonring.sleep(0) error({ code = 7 }) end)\n"
        "  local ok, failure = pcall(task.wait, task)\n"
        "  res:body(tostring(ok) .. failure.code .. task:status())\n"
        "end");
    expect(&desk, 200, "false7ended");
}

static void tasks_end_with_their_request(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "local log = {}\n"
               "function handle(req, res)\n"
               "  if #log > 0 then return res:body(table.concat(log, ',')) end\n"
               "  moonring.spawn(function()\n"
               "    local ok, failure = pcall(moonring.sleep, 100)\n"
               "    log[#log + 1] = tostring(ok) .. failure.code\n"
               "  end)\n"
               "  moonring.sleep(0)\n"
               "  res:body('first')\n"
               "end");
    expect(&desk, 200, "first");
    turn(&desk, 1);
    expect(&desk, 200, "falsecancelled");
    assert_int_equal(desk.handler.held_by(desk.handler.self), NULL);
}

static void detached_tasks_outlive_their_request(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "local count = 0\n"
               "function handle(req, res)\n"
               "  if count > 0 then return res:body(tostring(count)) end\n"
               "  moonring.spawn({ detached = true }, function(n)\n"
               "    moonring.sleep(0.01) count = n end, 5)\n"
               "  res:body('first')\n"
               "end");
    expect(&desk, 200, "first");
    assert_non_null(desk.handler.held_by(desk.handler.self));
    for (int i = 0; i < 100 && desk.handler.held_by(desk.handler.self) != NULL; i++)
        turn(&desk, 10);
    expect(&desk, 200, "5");
}

static void a_timeout_cancels_what_it_runs(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "function handle(req, res)\n"
               "  local ended\n"
               "  local value, why = moonring.timeout(0.01, function()\n"
               "    local ok, failure = pcall(moonring.sleep, 10) ended = failure.code end)\n"
               "  local quick = moonring.timeout(1, function() return 'quick' end)\n"
               "  moonring.sleep(0)\n"
               "  res:body(tostring(value) .. why .. quick .. ended)\n"
               "end");
    expect(&desk, 200, "niltimeoutquickcancelled");
}

static void a_semaphore_bounds_how_many_run(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "function handle(req, res)\n"
               "  local limit, now, most = moonring.semaphore(2), 0, 0\n"
               "  local tasks = {}\n"
               "  for i = 1, 6 do tasks[i] = moonring.spawn(function()\n"
               "    limit:acquire() now = now + 1 most = math.max(most, now)\n"
               "    moonring.sleep(0.002) now = now - 1 limit:release() end) end\n"
               "  for i = 1, 6 do tasks[i]:wait() end\n"
               "  limit:acquire() limit:acquire()\n"
               "  local ok, why = limit:acquire(0.005)\n"
               "  res:body(most .. tostring(ok) .. why)\n"
               "end");
    expect(&desk, 200, "2niltimeout");
}

static void timers_run_after_and_every(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "local log = {}\n"
               "local timer\n"
               "timer = moonring.every(0.002, function(premature)\n"
               "  log[#log + 1] = tostring(premature) if #log == 3 then timer:cancel() end end)\n"
               "moonring.after(0.001, function() log[#log + 1] = 'after' end)\n"
               "moonring.every(1000, function(premature) log[#log + 1] = 'last' end)\n"
               "function handle(req, res) res:body(table.concat(log, ',')) end");
    uint64_t until_ms = hs_clock_monotonic_ms() + 20000;
    do {
        turn(&desk, 10);
        (void)start(&desk, GET);
        finish(&desk);
    } while (strlen(desk.lb->body) < strlen("after,false,false") &&
             hs_clock_monotonic_ms() < until_ms);
    (void)usleep(20000); /* the cancelled one is not due again */
    turn(&desk, 1);
    expect(&desk, 200, "after,false,false");
    desk.handler.drain(desk.handler.self);
    turn(&desk, 1);
    expect(&desk, 200, "after,false,false,last");
}

static void a_client_that_leaves_raises_in_the_wait(void **state)
{
    desk_t desk;
    lua_bench_t *lb = *state;
    desk_begin(&desk, lb,
               "local seen = 'nothing'\n"
               "function handle(req, res)\n"
               "  if req.path == '/seen' then return res:body(seen) end\n"
               "  local ok, failure = pcall(moonring.sleep, 100)\n"
               "  seen = failure.code .. ' ' .. tostring(failure)\n"
               "  moonring.sleep(0)\n"
               "  seen = seen .. ', went on'\n"
               "end");
    assert_false(start(&desk, GET));
    lb->bench.job->link = NULL;
    hs_executor_cancel(&lb->bench.executor, lb->bench.job, HS_ABORT_LOST);
    unsigned records = lb->bench.tape.records;
    finish(&desk);
    assert_int_equal(lb->bench.tape.records, records); /* no error about a missing response */
    assert_true(start(&desk, "GET /seen HTTP/1.1\r\nHost: h\r\n\r\n"));
    bench_end_request(&lb->bench);
    assert_string_equal(lb->body, "aborted aborted: the client has gone, went on");
}

static void a_handler_may_go_on_after_its_response(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "local seen = ''\n"
               "function handle(req, res)\n"
               "  if req.path == '/seen' then return res:body(seen) end\n"
               "  res:body('sent'):send() moonring.sleep(0.001) seen = 'went on'\n"
               "  local ok, failure = pcall(function() return req.path end)\n"
               "  seen = seen .. (ok and ' with' or ' without')\n"
               "end");
    assert_true(start(&desk, GET));
    bench_end_request(&desk.lb->bench);
    for (int i = 0; i < 10; i++)
        turn(&desk, 2);
    assert_true(start(&desk, "GET /seen HTTP/1.1\r\nHost: h\r\n\r\n"));
    bench_end_request(&desk.lb->bench);
    assert_string_equal(desk.lb->body, "went on without");
}

static void a_long_computation_between_waits_is_reported(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "function handle(req, res)\n"
               "  moonring.sleep(0)\n"
               "  local until_s = moonring.now() + 0.03\n"
               "  while moonring.now() < until_s do end\n"
               "  res:body('computed')\n"
               "end");
    expect(&desk, 200, "computed");
    expect_logged(*state, "the handler of GET /x computed for");
    expect_logged(*state, "moonring.worker");
}

static void sleep_of_zero_lets_others_go_on(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "function handle(req, res)\n"
               "  local order = {}\n"
               "  local function run(name)\n"
               "    for i = 1, 3 do order[#order + 1] = name moonring.sleep(0) end end\n"
               "  local a, b = moonring.spawn(run, 'a'), moonring.spawn(run, 'b')\n"
               "  a:wait() b:wait()\n"
               "  res:body(table.concat(order))\n"
               "end");
    expect(&desk, 200, "ababab");
}

/* Until it waits again, or ends: hooks after a route that has waited read the response. */
static void a_response_can_be_read_behind_its_end(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "local app = require('moonring.router').new()\n"
               "app:after(function(req, res) kept = req.path .. res:get_status() end)\n"
               "app:get('/x', function(req, res)\n"
               "  if kept then return res:body(kept):send() end\n"
               "  moonring.sleep(0.001)\n"
               "  res:status(202):body('sent'):send()\n"
               "  local ok, why = pcall(res.send, res)\n"
               "  assert(not ok and why:find 'already sent', why)\n"
               "end)\n"
               "handle = app:handler()");
    expect(&desk, 202, "sent");
    expect(&desk, 200, "/x202");
    assert_int_equal(desk.lb->bench.tape.records, 0);
}

static void a_response_that_was_ended_goes_out_while_its_handler_waits(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "function handle(req, res)\n"
               "  moonring.sleep(0.001)\n"
               "  moonring.spawn(function() res:body('sent'):send() end):wait()\n"
               "  local ok, why = pcall(function() return res:get_status() end)\n"
               "  print(tostring(ok) .. why)\n"
               "  moonring.sleep(1000)\n"
               "end");
    expect(&desk, 200, "sent");
    for (int i = 0; i < 1000 && desk.lb->bench.tape.records == 0; i++)
        turn(&desk, 10);
    expect_logged(desk.lb, "false");
    expect_logged(desk.lb, "this request is over");
}

static void a_misspelt_method_of_a_timer_is_named(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state, "function handle(req, res) moonring.after(1, print):cancle() end");
    expect(&desk, 500, "Internal Server Error\n");
    expect_logged(desk.lb, "handler.lua:1: a timer has no member \"cancle\": did you mean "
                           "\"cancel\"?");
}

static void the_record_of_a_handler_that_waits_too_long_says_where(void **state)
{
    desk_t desk;
    lua_bench_t *lb = *state;
    static const struct {
        const char *call, *where;
    } table[] = {
        { "moonring.sleep(1000)", "handler.lua:3, in sleep" },
        { "moonring.spawn(moonring.sleep, 1000):wait()", "handler.lua:3, in wait" },
        { "local s = moonring.semaphore(0) s:acquire()", "handler.lua:3, in acquire" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text), "function handle(req, res)\nlocal _\n%s\nend\n",
                 table[i].call);
        desk_begin(&desk, lb, text);
        assert_false(start(&desk, GET));
        lb->bench.job->link = NULL;
        hs_executor_give_up(&lb->bench.executor, lb->bench.job, 500);
        expect_logged(lb, "GET /x has no response after 500 ms: its handler is still waiting: ");
        expect_logged(lb, table[i].where);
        finish(&desk);
    }
}

static void a_task_that_ignores_its_end_is_dropped(void **state)
{
    desk_t desk;
    lua_bench_t *lb = *state;
    desk_begin(&desk, lb,
               "function handle(req, res)\n"
               "  while true do pcall(moonring.sleep, 0.01) end\n"
               "end");
    assert_false(start(&desk, GET));
    lb->bench.job->link = NULL;
    hs_executor_cancel(&lb->bench.executor, lb->bench.job, HS_ABORT_LOST);
    finish(&desk);
    expect_logged(lb, "a cancelled task has not ended within 5 seconds");
    assert_null(desk.handler.held_by(desk.handler.self));
}

static void nothing_waits_while_the_file_is_loaded(void **state)
{
    lua_bench_t *lb = *state;
    assert_null(lua_bench_load(lb, "moonring.sleep(1) function handle() end"));
    assert_non_null(strstr(lb->error.text, "handler.lua:1: moonring.sleep: nothing can wait"));
}

static void a_state_that_stops_fails_what_waits(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state, "function handle(req, res) moonring.sleep(100) end");
    assert_false(start(&desk, GET));
    assert_ptr_equal(desk.handler.held_by(desk.handler.self), desk.lb->lua);
    desk.handler.stop(desk.handler.self, NULL);
    assert_null(desk.handler.held_by(desk.handler.self));
    finish(&desk);
    assert_int_equal(desk.lb->status, 500);
}

static void a_hundred_thousand_tasks_sleep(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state,
               "function handle(req, res)\n"
               "  local woken, tasks = 0, {}\n"
               "  for i = 1, 100000 do tasks[i] = moonring.spawn(function(n)\n"
               "    moonring.sleep(n % 100 / 1000) woken = woken + 1 end, i) end\n"
               "  for i = 1, #tasks do tasks[i]:wait() end\n"
               "  res:body(tostring(woken))\n"
               "end");
    expect(&desk, 200, "100000");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_handler_sleeps_and_responds),
        TEST(errors_after_a_wait_are_500_with_a_traceback),
        TEST(a_plain_yield_of_a_handler_is_an_error),
        TEST(a_wait_passes_through_coroutines_of_the_handler),
        TEST(a_misspelt_option_of_a_task_is_an_error),
        TEST(a_wait_inside_a_callback_of_c_is_an_error_with_its_line),
        TEST(tasks_of_a_request_run_beside_it_and_are_waited_for),
        TEST(an_error_of_a_task_is_raised_where_it_is_waited_for),
        TEST(tasks_end_with_their_request),
        TEST(detached_tasks_outlive_their_request),
        TEST(a_timeout_cancels_what_it_runs),
        TEST(a_semaphore_bounds_how_many_run),
        TEST(timers_run_after_and_every),
        TEST(a_client_that_leaves_raises_in_the_wait),
        TEST(a_handler_may_go_on_after_its_response),
        TEST(a_long_computation_between_waits_is_reported),
        TEST(sleep_of_zero_lets_others_go_on),
        TEST(a_response_can_be_read_behind_its_end),
        TEST(a_response_that_was_ended_goes_out_while_its_handler_waits),
        TEST(a_misspelt_method_of_a_timer_is_named),
        TEST(the_record_of_a_handler_that_waits_too_long_says_where),
        TEST(a_task_that_ignores_its_end_is_dropped),
        TEST(nothing_waits_while_the_file_is_loaded),
        TEST(a_state_that_stops_fails_what_waits),
        TEST(a_hundred_thousand_tasks_sleep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
