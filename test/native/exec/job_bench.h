/* A job with a request, without a connection: for suites of code that runs on jobs. */
#pragma once

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "exec/hs_executor.h"
#include "exec/job_pool.h"
#include "http/hs_parse.h"

/* Keeps the log records. Written by one thread and read by it. */
typedef struct log_tape {
    unsigned records;
    hs_log_level_t level; /* of the last record */
    char last[HS_LOG_MESSAGE_CAP + 1];
} log_tape_t;

typedef struct bench {
    hs_limits_t limits;
    hs_log_t log;
    log_tape_t tape;
    hs_executor_t executor;
    hs_job_pool_t pool;
    hs_pool_t blocks;
    hs_job_t *job;
    char head[8192]; /* the request as it was received: what a connection has in its ring */
    hs_field_t fields[32];
    hs_parse_t parse;
    hs_parse_shared_t shared;
} bench_t;

static inline void log_tape_sink(void *ud, hs_log_level_t level, const char *message, size_t len)
{
    log_tape_t *tape = ud;
    tape->records++;
    tape->level = level;
    memcpy(tape->last, message, len);
    tape->last[len] = '\0';
}

static inline void bench_begin(bench_t *bench)
{
    memset(bench, 0, sizeof(*bench));
    bench->limits =
        (hs_limits_t){ .ring_size = 8192, .max_url = 8192, .max_headers = 32, .max_body = 1 << 20 };
    hs_log_init(&bench->log, HS_LOG_DEBUG, log_tape_sink, &bench->tape);
    hs_executor_init(&bench->executor, (hs_handler_t){ 0 }, HS_DISPATCH_INLINE, NULL);
    job_pool_begin(&bench->pool, &bench->blocks, 4096, &bench->log, &bench->executor.completions);
    bench->job = hs_job_lease(&bench->pool);
    assert_non_null(bench->job);
}

static inline void bench_end(bench_t *bench)
{
    hs_job_give_back(&bench->pool, bench->job);
    job_pool_end(&bench->pool);
}

/* Puts a complete request with its content into the job, as a connection does before it starts it.
 */
static inline void bench_request(bench_t *bench, const char *text)
{
    hs_msg_t *msg = &bench->job->request.msg;
    size_t len = strlen(text);
    size_t taken;
    assert_true(len < sizeof(bench->head));
    memcpy(bench->head, text, len);
    msg->fields = bench->fields;
    msg->field_cap = (uint16_t)bench->limits.max_headers;
    hs_parse_shared_init(&bench->shared, &bench->limits);
    hs_parse_begin(&bench->parse, &bench->shared, msg);
    assert_int_equal(hs_parse_head(&bench->parse, bench->head, len, &taken), HS_PARSE_COMPLETE);
    msg->base = bench->head;
    assert_int_equal(hs_parse_check(&bench->parse), HS_PARSE_COMPLETE);
    msg->body = hs_span(bench->head + taken, len - taken);
    hs_msg_terminate_url(msg);
}

/* Runs the handler on this thread. */
static inline void bench_respond(bench_t *bench, hs_handler_t handler)
{
    bench->executor.handler = handler;
    assert_int_equal(hs_executor_start(&bench->executor, bench->job, true), HS_STARTED_DONE);
}

static inline void bench_end_request(bench_t *bench)
{
    hs_job_end(&bench->pool, bench->job);
}
