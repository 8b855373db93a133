/* Lua objects of a request that is now owned by another thread: they raise, whatever is called on
 * them and whenever. Run under ASan. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exec/lua_bench.h"

#define OVER "this request is over"
#define ROUNDS 60

/* LuaJIT is not instrumented: TSan sees only a memcpy of the handle that an object is
 * compared with, which the owner writes atomically. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    return "race:^hs_job_move_generation$";
}

/* Log records, from any thread. */
typedef struct records {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned count; /* with `unexpected`: under the lock */
    unsigned unexpected;
    char last_unexpected[256];
} records_t;

/* One request at a time, from the loop's Lua state to a worker's. */
typedef struct desk {
    lua_bench_t lb;
    records_t records;
    hs_log_t log;
    hs_lua_config_t config;
    hs_workers_t *workers;
    bool done;
    char body[64];
} desk_t;

/* Tasks log the errors they got; anything other than OVER is a failure. */
static void keep_record(void *ud, hs_log_level_t level, const char *message, size_t len)
{
    records_t *records = ud;
    (void)level;
    pthread_mutex_lock(&records->lock);
    records->count++;
    if (strstr(message, OVER) == NULL) {
        records->unexpected++;
        snprintf(records->last_unexpected, sizeof(records->last_unexpected), "%.*s", (int)len,
                 message);
    }
    pthread_cond_signal(&records->changed);
    pthread_mutex_unlock(&records->lock);
}

static void desk_begin(desk_t *desk, hs_dispatch_mode_t mode, const char *script)
{
    memset(desk, 0, sizeof(*desk));
    lua_bench_begin(&desk->lb);
    pthread_mutex_init(&desk->records.lock, NULL);
    pthread_cond_init(&desk->records.changed, NULL);
    hs_log_init(&desk->log, HS_LOG_DEBUG, keep_record, &desk->records);
    lua_bench_write(&desk->lb, "handler.lua", script);
    desk->config = (hs_lua_config_t){
        .files = { .root = "lua", .script = desk->lb.script },
        .log = &desk->log,
    };
    desk->lb.lua = hs_lua_new(&desk->config, &desk->lb.error);
    if (desk->lb.lua == NULL)
        fail_msg("%s", desk->lb.error.text);
    hs_executor_t *executor = &desk->lb.bench.executor;
    executor->mode = mode;
    executor->handler = hs_lua_as_handler(desk->lb.lua);
    hs_workers_config_t config = {
        .factory = hs_lua_factory(&desk->config),
        .log = &desk->log,
        .completions = &executor->completions,
        .count = 1,
        .queue_capacity = 4,
    };
    desk->workers = hs_workers_new(&config);
    assert_non_null(desk->workers);
    hs_executor_set_workers(executor, desk->workers);
}

static void on_done(void *context, hs_job_t *job, void *link)
{
    desk_t *desk = context;
    assert_ptr_equal(link, desk);
    const hs_buf_t *body = &job->response.body;
    assert_int_equal(job->response.status, 200);
    assert_in_range(body->len, 0, sizeof(desk->body) - 1);
    if (body->len > 0)
        memcpy(desk->body, body->data, body->len);
    desk->body[body->len] = '\0';
    desk->done = true;
}

static void collect(desk_t *desk)
{
    const hs_executor_sink_t sink = { .done = on_done, .context = desk };
    hs_executor_collect(&desk->lb.bench.executor, &sink);
}

/* Passes a request to the worker. */
static void start(desk_t *desk, const char *text)
{
    bench_t *bench = &desk->lb.bench;
    bench_request(bench, text);
    desk->done = false;
    assert_int_equal(hs_executor_start(&bench->executor, bench->job, false), HS_STARTED_AWAY);
    bench->job->link = desk;
    hs_executor_flush(&bench->executor);
    hs_workers_wake(desk->workers);
}

static void run_tasks(desk_t *desk)
{
    hs_handler_t *handler = &desk->lb.bench.executor.handler;
    if (hs_handler_due_ms(handler, true) == 0)
        handler->run_tasks(handler->self);
}

static void await_records(desk_t *desk, unsigned count)
{
    records_t *records = &desk->records;
    pthread_mutex_lock(&records->lock);
    while (records->count < count)
        pthread_cond_wait(&records->changed, &records->lock);
    pthread_mutex_unlock(&records->lock);
}

static void desk_end(desk_t *desk)
{
    assert_int_equal(hs_workers_stop(desk->workers, UINT32_MAX), 0);
    hs_workers_free(desk->workers);
    if (desk->records.unexpected > 0)
        fail_msg("%u: %s", desk->records.unexpected, desk->records.last_unexpected);
    lua_bench_end(&desk->lb);
    pthread_cond_destroy(&desk->records.changed);
    pthread_mutex_destroy(&desk->records.lock);
}

#define GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

/* The handler gives its request to a worker, and a task of its own state keeps req and res. */
static const char keeps_what_a_worker_has[] =
    "local log = require 'moonring.log'\n"
    "local uses = {\n"
    "  function(_, res) res:body(('x'):rep(30)) end,\n"
    "  function(_, res) res:body(('x'):rep(100000)) end,\n"
    "  function(_, res) res:header('X-Task', ('x'):rep(1000)) end,\n"
    "  function(_, res) res:status(418) end,\n"
    "  function(_, res) res:send() end,\n"
    "  function(req) return req:body() end,\n"
    "  function(req) return req.url end,\n"
    "  function(req) return req:header('Host') end,\n"
    "  function(req) for _, value in req:headers() do return value end end,\n"
    "}\n"
    "function handle(req, res)\n"
    "  if req:in_worker() then\n"
    "    res:body('from the worker'):send()\n"
    "    return\n"
    "  end\n"
    "  hs_queue_push(function()\n"
    "    for _ = 1, 3 do\n"
    "      for number, use in ipairs(uses) do\n"
    "        local ok, why = pcall(use, req, res)\n"
    "        if ok then\n"
    "          log.error('use ' .. number .. ' has reached the request of a worker')\n"
    "        else\n"
    "          log.info(why)\n"
    "        end\n"
    "      end\n"
    "      coroutine.yield()\n"
    "    end\n"
    "  end)\n"
    "  return 'worker'\n"
    "end\n";

static void a_task_cannot_reach_what_a_worker_has(void **state)
{
    (void)state;
    static desk_t desk;
    desk_begin(&desk, HS_DISPATCH_INLINE, keeps_what_a_worker_has);
    for (unsigned i = 0; i < ROUNDS; i++) {
        start(&desk, GET);
        while (!desk.done) {
            run_tasks(&desk);
            collect(&desk);
        }
        assert_string_equal(desk.body, "from the worker");
        bench_end_request(&desk.lb.bench);
        while (hs_handler_due_ms(&desk.lb.bench.executor.handler, true) == 0)
            run_tasks(&desk);
    }
    assert_int_equal(desk.records.count, ROUNDS * 3 * 9);
    desk_end(&desk);
}

/* A worker's handler has sent, and a task of the worker still reads the content. */
static const char asks_after_it_has_sent[] =
    "local log = require 'moonring.log'\n"
    "function handle(req, res)\n"
    "  local length = #req:body()\n"
    "  hs_queue_push(function()\n"
    "    local ok, why\n"
    "    for _ = 1, 1000 do\n"
    "      ok, why = pcall(req.body, req)\n"
    "      if ok then\n"
    "        log.error('the content of a request that was answered')\n"
    "        return\n"
    "      end\n"
    "    end\n"
    "    log.info(why)\n"
    "  end)\n"
    "  res:body(tostring(length)):send()\n"
    "end\n";

static void a_workers_task_cannot_read_what_it_has_answered(void **state)
{
    (void)state;
    enum {
        CONTENT = 4000000
    };
    static desk_t desk;
    desk_begin(&desk, HS_DISPATCH_WORKER, asks_after_it_has_sent);
    bench_t *bench = &desk.lb.bench;
    for (unsigned i = 1; i <= 20; i++) {
        bench_request(bench, GET);
        hs_job_t *job = bench->job;
        assert_int_equal(hs_job_reserve_content(&bench->pool, job, CONTENT, 0, true), HS_OK);
        memset(job->content.data, 'c', CONTENT);
        job->content.len = CONTENT;
        job->request.msg.body = hs_span(job->content.data, CONTENT);
        desk.done = false;
        assert_int_equal(hs_executor_start(&bench->executor, job, false), HS_STARTED_AWAY);
        job->link = &desk;
        hs_executor_flush(&bench->executor);
        hs_workers_wake(desk.workers);
        if (i % 2 == 0) /* before the loop has taken the job back, or at any time */
            await_records(&desk, i);
        while (!desk.done)
            collect(&desk);
        assert_string_equal(desk.body, "4000000");
        bench_end_request(bench); /* frees the content */
        await_records(&desk, i);
    }
    desk_end(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_cannot_reach_what_a_worker_has),
        cmocka_unit_test(a_workers_task_cannot_read_what_it_has_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
