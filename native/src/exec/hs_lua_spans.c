#include "exec/hs_lua_spans.h"

#include <inttypes.h>
#include <stdio.h>

#include "exec/hs_job.h"
#include "exec/hs_span_log.h"
#include "os/hs_clock.h"
#include "os/hs_entropy.h"

static uint64_t now_us(void)
{
    return hs_clock_monotonic_ns() / 1000;
}

/* Not zero, which is no id. */
static uint64_t new_id(void)
{
    uint64_t id = hs_entropy();
    while (id == 0)
        id = hs_entropy();
    return id;
}

/* Calls need a parent: the request's span gets its id now, not in the exporter. NULL: out of
 * memory.
 */
static const char *begin_request_span(hs_job_t *job)
{
    char text[HS_TRACEPARENT_LEN + 1];
    hs_span_t sent = hs_traceparent_of(&job->request.msg);
    if (hs_job_own_trace(job) != NULL)
        return hs_job_own_trace(job);
    if (sent.len > 0)
        snprintf(text, sizeof(text), "00-%.32s-%016" PRIx64 "-0%c", sent.data + HS_TRACE_ID_AT,
                 new_id(), hs_traceparent_is_random(sent) ? '3' : '1');
    else
        snprintf(text, sizeof(text), "00-%016" PRIx64 "%016" PRIx64 "-%016" PRIx64 "-03", new_id(),
                 new_id(), new_id());
    hs_job_take_trace(job, text);
    return hs_job_own_trace(job);
}

static int begin(hs_lua_request_t *request, hs_lua_span_t *span)
{
    hs_job_t *job = hs_job_of((uintptr_t)request);
    hs_span_log_t *log = job != NULL ? job->pool->spans : NULL;
    if (HS_LIKELY(log == NULL) || !hs_job_is_sampled(job, log->sample_every))
        return 0;
    const char *trace = begin_request_span(job);
    if (trace == NULL)
        return 0;
    *span = (hs_lua_span_t){ .log = log, .begun_us = now_us(), .in_worker = job->in_worker };
    snprintf(span->traceparent, sizeof(span->traceparent), "%.*s%016" PRIx64 "%s", HS_SPAN_ID_AT,
             trace, new_id(), trace + HS_SPAN_ID_AT + HS_SPAN_ID_LEN);
    snprintf(span->parent_id, sizeof(span->parent_id), "%s", trace + HS_SPAN_ID_AT);
    return 1;
}

static void finish(const hs_lua_span_t *span, const char *members, size_t len)
{
    hs_span_log_t *log = span->log;
    uint64_t took_us = now_us() - span->begun_us;
    int64_t offset_ms = atomic_load_explicit(&log->real_offset_ms, memory_order_relaxed);
    char line[HS_SPAN_LINE_MAX + 1];
    int line_len = snprintf(
        line, sizeof(line),
        "{\"span\":{\"kind\":\"client\",\"traceId\":\"%.32s\",\"spanId\":\"%.16s\","
        "\"parentId\":\"%s\",\"begun\":%" PRId64 ",%.*s},\"responseTime\":%" PRIu64 ".%03u}\n",
        span->traceparent + HS_TRACE_ID_AT, span->traceparent + HS_SPAN_ID_AT, span->parent_id,
        offset_ms * 1000 + (int64_t)span->begun_us, (int)hs_min(len, (size_t)HS_SPAN_LINE_MAX),
        members, took_us / 1000, (unsigned)(took_us % 1000));
    bool fits = line_len > 0 && (size_t)line_len <= HS_SPAN_LINE_MAX;
    if (!fits || !log->put(log, line, (size_t)line_len, span->in_worker != 0))
        atomic_fetch_add_explicit(&log->lost, 1, memory_order_relaxed);
}

const hs_lua_spans_api_t hs_lua_spans_api = {
    .version = HS_LUA_SPANS_ABI_VERSION,
    .span_size = sizeof(hs_lua_span_t),
    .begin = begin,
    .finish = finish,
};
