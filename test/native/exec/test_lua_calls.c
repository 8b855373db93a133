/* moonring.worker: functions that a handler runs in another Lua state, on a worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "exec/lua_bench.h"
#include "os/hs_clock.h"

typedef struct desk {
    lua_bench_t *lb;
    hs_lua_config_t config;
    hs_handler_host_t host;
    hs_workers_t *workers;
    bool done;
} desk_t;

static void desk_begin(desk_t *desk, lua_bench_t *lb, uint32_t queue_capacity, const char *text)
{
    hs_executor_t *executor = &lb->bench.executor;
    load(lb, text);
    *desk = (desk_t){ .lb = lb };
    desk->config = (hs_lua_config_t){ .files = { .root = "lua", .script = lb->script },
                                      .log = &lb->bench.log };
    hs_workers_config_t workers = { .factory = hs_lua_factory(&desk->config),
                                    .log = &lb->bench.log,
                                    .completions = &executor->completions,
                                    .count = 1,
                                    .queue_capacity = queue_capacity };
    if (queue_capacity > 0) {
        desk->workers = hs_workers_new(&workers);
        assert_non_null(desk->workers);
    }
    hs_executor_set_workers(executor, desk->workers);
    executor->handler = hs_lua_as_handler(lb->lua);
    desk->host =
        (hs_handler_host_t){ .executor = executor, .busy = &executor->busy, .reactor_index = -1 };
    executor->handler.attach(executor->handler.self, &desk->host);
}

static void on_done(void *context, hs_job_t *job, void *link)
{
    desk_t *desk = context;
    (void)job;
    (void)link;
    lua_bench_keep_response(desk->lb);
    desk->done = true;
}

static void turn(desk_t *desk)
{
    hs_executor_t *executor = &desk->lb->bench.executor;
    hs_handler_t *handler = &executor->handler;
    const hs_executor_sink_t sink = { .done = on_done, .context = desk };
    if (hs_handler_due_ms(handler, true) <= hs_clock_monotonic_ms())
        handler->run_tasks(handler->self);
    hs_executor_flush(executor);
    if (desk->workers != NULL)
        hs_workers_wake(desk->workers);
    hs_executor_collect(executor, &sink);
    (void)usleep(200);
}

static void expect(desk_t *desk, const char *body)
{
    bench_t *bench = &desk->lb->bench;
    bench_request(bench, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    desk->done = false;
    if (hs_executor_start(&bench->executor, bench->job, true) == HS_STARTED_DONE)
        on_done(desk, bench->job, NULL);
    else
        bench->job->link = desk;
    for (int i = 0; i < 100000 && !desk->done; i++)
        turn(desk);
    assert_true(desk->done);
    bench_end_request(bench);
    assert_string_equal(desk->lb->body, body);
}

/* Until the cancelled calls have returned too. */
static void desk_end(desk_t *desk)
{
    hs_executor_t *executor = &desk->lb->bench.executor;
    for (int i = 0; i < 100000 && executor->completions.away > 0; i++)
        turn(desk);
    assert_int_equal(executor->completions.away, 0);
    if (desk->workers == NULL)
        return;
    assert_int_equal(hs_workers_stop(desk->workers, 10000), 0);
    hs_workers_free(desk->workers);
    hs_executor_set_workers(executor, NULL);
}

static void values_go_there_and_results_come_back(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state, 4,
               "function handle(req, res)\n"
               "  local count, a, b, c, t = moonring.worker(function(...)\n"
               "    local a, b, c, t = ...\n"
               "    return select('#', ...), a, b, c, { t[1] .. t.x, deep = { true } }\n"
               "  end, nil, 'two', false, { 'p', x = 'q' }, nil)\n"
               "  res:body(table.concat({ count, tostring(a), b, tostring(c), t[1],\n"
               "    tostring(t.deep[1]) }, ' '))\n"
               "end");
    expect(&desk, "5 nil two false pq true");
    expect(&desk, "5 nil two false pq true");
    desk_end(&desk);
}

static void a_function_of_a_module_is_found_there(void **state)
{
    desk_t desk;
    lua_bench_write(*state, "sums.lua", "return { add = function(a, b) return a + b end }");
    desk_begin(&desk, *state, 4,
               "function handle(req, res)\n"
               "  local ok, why = pcall(moonring.worker, 'sums.subtract', 1)\n"
               "  res:body(moonring.worker('sums.add', 40, 2) .. ' ' .. why)\n"
               "end");
    expect(&desk, "42 moonring.worker: the module 'sums' has no function 'subtract'");
    desk_end(&desk);
}

static void a_worker_names_the_function_that_a_module_lacks(void **state)
{
    desk_t desk;
    lua_bench_write(*state, "sums.lua", "return { add = function(a, b) return a + b end }");
    desk_begin(&desk, *state, 4,
               "function handle(req, res)\n"
               "  res:body(moonring.worker(function()\n"
               "    local ok, why = pcall(moonring.worker, 'sums.subtract', 1)\n"
               "    return moonring.worker('sums.add', 40, 2) .. ' ' .. why\n"
               "  end))\n"
               "end");
    expect(&desk, "42 moonring.worker: the module 'sums' has no function 'subtract'");
    desk_end(&desk);
}

static void what_cannot_go_there_is_an_error_with_its_line(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state, 4,
               "function handle(req, res)\n"
               "  local key = 'k'\n"
               "  local _, a = pcall(moonring.worker, function() return key end)\n"
               "  local _, b = pcall(moonring.worker, math.floor)\n"
               "  local _, c = pcall(moonring.worker, function() end, print)\n"
               "  local _, d = pcall(moonring.worker, 5)\n"
               "  res:body((a:find('key') and b:find('of C') and c:find('an argument') and\n"
               "    d:find('not a number')) and 'refused' or a .. b .. c .. d)\n"
               "end");
    expect(&desk, "refused");
    desk_end(&desk);
}

static void errors_come_back_as_text(void **state)
{
    desk_t desk;
    desk_begin(
        &desk, *state, 4,
        "function handle(req, res)\n"
        "  local _, a = pcall(moonring.worker, function() error('broken') end)\n"
        "  local _, b = pcall(moonring.worker, function() return print end)\n"
        "  local _, c = pcall(moonring.worker, function() error { code = 5 } end)\n"
        "  res:body((a:match('broken') or a) .. ' ' .. b:match('^[%w.]+: a result') .. ' ' .. c)\n"
        "end");
    expect(&desk, "broken moonring.worker: a result { code = 5 }");
    desk_end(&desk);
}

static void the_function_may_wait_on_the_worker(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state, 4,
               "function handle(req, res)\n"
               "  res:body(moonring.worker(function()\n"
               "    local task = moonring.spawn({ detached = true }, function()\n"
               "      moonring.sleep(0.005) return 'slept' end)\n"
               "    moonring.sleep(0.002)\n"
               "    return task:wait()\n"
               "  end))\n"
               "end");
    expect(&desk, "slept");
    desk_end(&desk);
}

static void an_endless_function_is_given_up(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state, 4,
               "function handle(req, res)\n"
               "  local value, why = moonring.timeout(0.02, moonring.worker, function()\n"
               "    jit.off() jit.off(true, true) local i = 0 while true do i = i + 1 end end)\n"
               "  res:body(tostring(value) .. ' ' .. why)\n"
               "end");
    expect(&desk, "nil timeout");
    desk_end(&desk);
}

static void without_workers_it_is_503(void **state)
{
    desk_t desk;
    desk_begin(&desk, *state, 0, "function handle(req, res) moonring.worker(function() end) end");
    expect(&desk, "Service Unavailable\n");
    assert_int_equal(desk.lb->status, 503);
    desk_end(&desk);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(values_go_there_and_results_come_back),
        TEST(a_function_of_a_module_is_found_there),
        TEST(a_worker_names_the_function_that_a_module_lacks),
        TEST(what_cannot_go_there_is_an_error_with_its_line),
        TEST(errors_come_back_as_text),
        TEST(the_function_may_wait_on_the_worker),
        TEST(an_endless_function_is_given_up),
        TEST(without_workers_it_is_503),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
