/* A Lua state on a thread with a hub of topics and shared dictionaries. Include after cmocka.h. */
#pragma once

#include "exec/lua_bench.h"
#include "os/hs_clock.h"

typedef struct desk {
    lua_bench_t *lb;
    hs_handler_t handler;
    hs_handler_host_t host;
    hs_topics_t *topics;
    hs_topic_hub_t hub;
    hs_shared_set_t shared;
    bool done;
} desk_t;

/* A state whose thread has a hub. */
static inline void desk_begin(desk_t *desk, lua_bench_t *lb, const char *text)
{
    *desk = (desk_t){ .lb = lb };
    hs_errinfo_t error;
    desk->topics = hs_topics_new(1, HS_TOPICS_SIZE_MIN, &error);
    assert_non_null(desk->topics);
    assert_int_equal(hs_topics_begin(desk->topics, 0, 0), HS_OK);
    hs_topic_hub_init(&desk->hub, desk->topics, NULL, HS_TOPICS_IO);
    const hs_shared_memory_t memories[] = {
        { .kind = HS_SHARED_DICTIONARY, .name = "limits", .size = 1024 * 1024, .fd = -1 },
        { .kind = HS_SHARED_DICTIONARY, .name = "locks", .size = 1024 * 1024, .fd = -1 },
        { .kind = HS_SHARED_DICTIONARY, .name = "cache", .size = 1024 * 1024, .fd = -1 },
    };
    assert_int_equal(hs_shared_set_open(&desk->shared, memories, 3, &error), HS_OK);
    lua_bench_write(lb, "handler.lua", text);
    hs_lua_config_t config = { .files = { .root = "lua", .script = lb->script },
                               .log = &lb->bench.log,
                               .shared = &desk->shared,
                               .topics = desk->topics };
    lb->lua = hs_lua_new(&config, &lb->error);
    if (lb->lua == NULL)
        fail_msg("%s", lb->error.text);
    desk->handler = hs_lua_as_handler(lb->lua);
    desk->host = (hs_handler_host_t){ .busy = &lb->bench.executor.busy,
                                      .topics = &desk->hub,
                                      .reactor_index = 0 };
    desk->handler.attach(desk->handler.self, &desk->host);
    lb->bench.executor.handler = desk->handler;
}

static inline void desk_end(desk_t *desk)
{
    desk->handler.stop(desk->handler.self, NULL);
    assert_int_equal(desk->hub.count, 0);
    hs_topic_hub_end(&desk->hub);
    hs_lua_free(desk->lb->lua);
    desk->lb->lua = NULL;
    hs_topics_free(desk->topics);
    hs_shared_set_close(&desk->shared);
}

static inline void on_done(void *context, hs_job_t *job, void *link)
{
    desk_t *desk = context;
    (void)link;
    (void)job;
    lua_bench_keep_response(desk->lb);
    desk->done = true;
}

static inline void turn(desk_t *desk)
{
    (void)hs_topic_hub_dispatch(&desk->hub, 100);
    if (hs_handler_due_ms(&desk->handler, true) <= hs_clock_monotonic_ms())
        desk->handler.run_tasks(desk->handler.self);
    const hs_executor_sink_t sink = { .done = on_done, .context = desk };
    hs_executor_collect(&desk->lb->bench.executor, &sink);
}

static inline void expect(desk_t *desk, const char *body)
{
    bench_t *bench = &desk->lb->bench;
    bench_request(bench, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    desk->done = hs_executor_start(&bench->executor, bench->job, true) == HS_STARTED_DONE;
    if (desk->done)
        lua_bench_keep_response(desk->lb);
    else
        bench->job->link = desk;
    uint64_t until_ms = hs_clock_monotonic_ms() + 10000;
    while (!desk->done && hs_clock_monotonic_ms() < until_ms)
        turn(desk);
    assert_true(desk->done);
    bench_end_request(bench);
    if (strcmp(desk->lb->body, body) != 0)
        print_error("%s\n", bench->tape.last);
    assert_string_equal(desk->lb->body, body);
}

#define HANDLE(body) "function handle(req, res)\n" body "\nend"
