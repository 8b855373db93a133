#include "exec/hs_job.h"

#include <stdarg.h>
#include <stdio.h>

#include "exec/hs_websocket.h"
#include "http/hs_coder.h"
#include "http/hs_parse.h"

/* How much a buffer keeps in a cold free job. */
#define KEEP_COLD_BYTES 1024

void hs_job_pool_init(hs_job_pool_t *pool, hs_pool_t *blocks, hs_log_t *log,
                      hs_completions_t *completions)
{
    *pool = (hs_job_pool_t){ .blocks = blocks, .log = log, .completions = completions };
}

static void free_buffers(hs_job_t *job)
{
    hs_free(job->texts);
    hs_buf_free(&job->response.fields);
    hs_buf_free(&job->response.body);
    hs_buf_free(&job->content);
    hs_buf_free(&job->store);
    hs_buf_free(&job->inbox.data);
}

static hs_job_t *take_free(hs_job_pool_t *pool)
{
    hs_job_t *job = hs_hot_pop(&pool->hot);
    if (HS_LIKELY(job != NULL))
        return job;
    job = pool->cold;
    if (job != NULL)
        pool->cold = job->next;
    return job;
}

void hs_job_pool_free(hs_job_pool_t *pool)
{
    HS_ASSERT(pool->leased == 0);
    for (hs_job_t *job; (job = take_free(pool)) != NULL;) {
        free_buffers(job);
        hs_pool_give(pool->blocks, job);
    }
}

static hs_job_t *job_new(hs_job_pool_t *pool)
{
    hs_job_t *job = hs_pool_take(pool->blocks);
    if (job == NULL)
        return NULL;
    if (!hs_handle_fits(job)) {
        hs_pool_give(pool->blocks, job);
        return NULL;
    }
    memset(job, 0, sizeof(*job));
    job->view.handle = hs_handle_first(job);
    job->log = pool->log;
    job->id_prefix = pool->id_prefix;
    job->pool = pool;
    job->completions = pool->completions;
    return job;
}

hs_job_t *hs_job_lease(hs_job_pool_t *pool)
{
    hs_job_t *job = take_free(pool);
    if (HS_UNLIKELY(job == NULL)) {
        job = job_new(pool);
        if (job == NULL)
            return NULL;
    }
    pool->leased++;
    pool->content_bytes += job->content.capacity;
    HS_OWNER_TAKE(job->owner);
    hs_job_set_state(job, HS_JOB_NEW);
    return job;
}

static void forget_inbox(hs_job_t *job)
{
    hs_job_inbox_t *inbox = &job->inbox;
    job->pool->content_bytes -= inbox->data.capacity;
    hs_buf_free(&inbox->data);
    *inbox = (hs_job_inbox_t){ 0 };
}

/* Its 101 will not be written. */
static void forget_websocket(hs_job_t *job)
{
    hs_websocket_t *socket = job->websocket;
    job->websocket = NULL;
    if (socket != NULL)
        hs_websocket_lost(socket);
}

static void forget_absence(hs_job_t *job)
{
    forget_inbox(job);
    forget_websocket(job);
    job->was_away = false;
    if (job->texts != NULL)
        job->texts->trace[0] = '\0';
    hs_coder_end(job->coder);
    job->coder = NULL;
    job->deferred_handle = 0;
    job->suspended_by = NULL;
    job->told = 0;
    job->callbacks = (hs_callbacks_t){ 0 };
    atomic_store_explicit(&job->aborted, 0, memory_order_relaxed);
    atomic_store_explicit(&job->posted, 0, memory_order_relaxed);
    atomic_store_explicit(&job->chained, 0, memory_order_relaxed);
    atomic_store_explicit(&job->waits, false, memory_order_relaxed);
    hs_buf_reset(&job->store, HS_JOB_KEEP_BYTES);
}

void hs_job_clear(hs_job_pool_t *pool, hs_job_t *job)
{
    hs_buf_reset(&job->response.fields, HS_JOB_KEEP_BYTES);
    hs_buf_reset(&job->response.body, HS_JOB_KEEP_BYTES);
    if (job->was_away || job->store.len > 0)
        forget_absence(job);
    if (job->content.capacity > 0) {
        pool->content_bytes -= job->content.capacity;
        hs_buf_reset(&job->content, HS_JOB_KEEP_BYTES);
        pool->content_bytes += job->content.capacity;
    }
}

static HS_NOINLINE void keep_cold(hs_job_pool_t *pool, hs_job_t *job)
{
    hs_buf_reset(&job->response.fields, KEEP_COLD_BYTES);
    hs_buf_reset(&job->response.body, KEEP_COLD_BYTES);
    hs_buf_reset(&job->store, KEEP_COLD_BYTES);
    hs_buf_free(&job->content);
    hs_free(job->texts);
    job->texts = NULL;
    job->next = pool->cold;
    pool->cold = job;
}

void hs_job_give_back(hs_job_pool_t *pool, hs_job_t *job)
{
    HS_ASSERT(pool->leased > 0 && job->link == NULL);
    hs_job_end(pool, job);
    if (HS_UNLIKELY(job->tls != NULL)) {
        hs_tls_info_drop(job->tls);
        job->tls = NULL;
    }
    pool->content_bytes -= job->content.capacity;
    hs_job_set_state(job, HS_JOB_FREE);
    pool->leased--;
    hs_job_t *cold = hs_hot_push(&pool->hot, job);
    if (HS_UNLIKELY(cold != NULL))
        keep_cold(pool, cold);
}

bool hs_job_detach(hs_job_t *job)
{
    hs_msg_t *msg = &job->request.msg;
    hs_buf_t *store = &job->store;
    if (store->len > 0)
        return true; /* it is independent already */
    bool body_moves = msg->body.len > 0 && msg->body.data != job->content.data;
    size_t fields_size = msg->field_count * sizeof(hs_field_t);
    size_t body_len = body_moves ? msg->body.len : 0;
    /* Fields first: they have the buffer's alignment. A NUL may follow the head. */
    size_t size = fields_size + msg->head_len + 1 + body_len;
    store->len = 0;
    /* Code that reads whole words may read a cache line past the head, as in the ring. */
    if (!hs_buf_reserve_exact(store, size + HS_CACHE_LINE))
        return false;
    char *at = store->data;
    if (fields_size > 0)
        memcpy(at, msg->fields, fields_size);
    msg->fields = (hs_field_t *)(void *)at;
    at += fields_size;
    memcpy(at, msg->base, msg->head_len);
    msg->base = at;
    job->view.url = hs_msg_url(msg).data;
    at += msg->head_len;
    *at++ = '\0';
    if (body_moves) {
        memcpy(at, msg->body.data, body_len);
        msg->body = hs_span(at, body_len);
    }
    store->len = size;
    return true;
}

static int reserve_content(hs_job_pool_t *pool, hs_buf_t *content, size_t more, uint64_t limit,
                           bool exact)
{
    size_t before = content->capacity;
    if (more <= before - content->len)
        return HS_OK;
    if (limit > 0 && pool->content_bytes - before + content->len + more > limit)
        return HS_ERR_LIMIT;
    bool reserved =
        exact ? hs_buf_reserve_exact(content, content->len + more) : hs_buf_reserve(content, more);
    pool->content_bytes += content->capacity - before;
    return reserved ? HS_OK : HS_ERR_NOMEM;
}

int hs_job_reserve_content(hs_job_pool_t *pool, hs_job_t *job, size_t more, uint64_t limit,
                           bool exact)
{
    return reserve_content(pool, &job->content, more, limit, exact);
}

int hs_job_reserve_inbox(hs_job_t *job, size_t more, bool exact)
{
    return reserve_content(job->pool, &job->inbox.data, more, job->pool->content_max, exact);
}

hs_job_texts_t *hs_job_texts(hs_job_t *job)
{
    if (job->texts == NULL)
        job->texts = hs_alloc_zeroed(1, sizeof(hs_job_texts_t));
    return job->texts;
}

/* Base 36: 12 digits hold more requests than a reactor will see. */
bool hs_job_is_https(const hs_job_t *job)
{
    const hs_forwarding_t *forwarding = job->pool->forwarding;
    return job->tls != NULL ||
           (forwarding != NULL && hs_forwarded_is_https(forwarding, &job->request.msg, &job->peer));
}

hs_peer_t hs_job_client(const hs_job_t *job)
{
    const hs_forwarding_t *forwarding = job->pool->forwarding;
    if (forwarding == NULL)
        return job->peer;
    return hs_forwarded_client(forwarding, &job->request.msg, &job->peer);
}

size_t hs_job_format_id(const hs_job_t *job, char id[HS_REQUEST_ID_CAP])
{
    char digits[13];
    size_t at = sizeof(digits);
    uint64_t number = job->number;
    do
        digits[--at] = "0123456789abcdefghijklmnopqrstuvwxyz"[number % 36];
    while ((number /= 36) > 0);
    size_t prefix_len = job->id_prefix != NULL ? strlen(job->id_prefix) : 0;
    if (prefix_len > 0)
        memcpy(id, job->id_prefix, prefix_len);
    id[prefix_len] = '-';
    memcpy(id + prefix_len + 1, digits + at, sizeof(digits) - at);
    size_t len = prefix_len + 1 + sizeof(digits) - at;
    id[len] = '\0';
    return len;
}

hs_job_trace_t hs_job_trace(const hs_job_t *job)
{
    hs_job_trace_t trace = { 0 };
    hs_span_t traceparent = hs_traceparent_of(&job->request.msg);
    if (traceparent.len > 0) {
        trace.trace_id = hs_span(traceparent.data + HS_TRACE_ID_AT, HS_TRACE_ID_LEN);
        trace.parent_id = hs_span(traceparent.data + HS_SPAN_ID_AT, HS_SPAN_ID_LEN);
        trace.is_sampled = hs_traceparent_is_sampled(traceparent);
    }
    const char *taken = hs_job_own_trace(job);
    if (taken != NULL) {
        hs_span_t own = hs_span(taken, HS_TRACEPARENT_LEN);
        /* The handler may have begun one although the client has sent several. */
        trace.trace_id = hs_span(own.data + HS_TRACE_ID_AT, HS_TRACE_ID_LEN);
        trace.span_id = hs_span(own.data + HS_SPAN_ID_AT, HS_SPAN_ID_LEN);
        trace.is_sampled = hs_traceparent_is_sampled(own);
    }
    return trace;
}

bool hs_job_is_sampled(const hs_job_t *job, uint32_t sample_every)
{
    hs_job_trace_t trace = hs_job_trace(job);
    return trace.trace_id.len > 0 ? trace.is_sampled : job->number % sample_every == 0;
}

void hs_job_take_trace(hs_job_t *job, const char *traceparent)
{
    hs_job_texts_t *texts = hs_job_texts(job);
    if (texts == NULL)
        return;
    memcpy(texts->trace, traceparent, HS_TRACEPARENT_LEN);
    texts->trace[HS_TRACEPARENT_LEN] = '\0';
    job->was_away = true; /* so that it is reset with the message */
}

static hs_log_request_t log_request_of(const hs_job_t *job, char id[HS_REQUEST_ID_CAP])
{
    const hs_msg_t *msg = &job->request.msg;
    (void)hs_job_format_id(job, id);
    hs_span_t target = hs_msg_url(msg);
    hs_job_trace_t trace = hs_job_trace(job);
    return (hs_log_request_t){ .id = id,
                               .method = hs_parse_method_name(msg->method),
                               .target = target.data,
                               .target_len = target.len,
                               .trace_id = trace.trace_id.data,
                               .span_id = trace.span_id.data };
}

void hs_job_log_text(const hs_job_t *job, hs_log_level_t level, const char *prefix,
                     const char *text, size_t len)
{
    char id[HS_REQUEST_ID_CAP];
    hs_log_request_t request = log_request_of(job, id);
    hs_log_write_request(job->log, level, &request, prefix, text, len);
}

void hs_job_log_fields(const hs_job_t *job, hs_log_level_t level, hs_span_t fields, hs_span_t text)
{
    char id[HS_REQUEST_ID_CAP];
    hs_log_request_t request = log_request_of(job, id);
    hs_log_write_fields(job->log, level, &request, fields.data, fields.len, text.data, text.len);
}

void hs_job_log(const hs_job_t *job, hs_log_level_t level, const char *format, ...)
{
    if (!hs_log_enabled(job->log, level))
        return;
    char text[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    hs_job_log_text(job, level, "", text, hs_min(len > 0 ? (size_t)len : 0, sizeof(text) - 1));
}
