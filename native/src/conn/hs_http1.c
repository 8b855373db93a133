#include "conn/hs_http1.h"

#include "http/hs_status.h"
#include "http/hs_wire.h"

/* Content up to this size is copied after its head, so that a batch of responses is contiguous. */
#define COPY_MAX (16 * 1024)
/* Streamed chunked content is decoded in steps of this size. */
#define CONTENT_STEP (16 * 1024)

void hs_http1_begin(hs_http1_t *http1, hs_http1_context_t *context, hs_buffers_t *buffers,
                    hs_job_t *job)
{
    hs_http1_scratch_t *scratch = hs_http1_scratch(buffers);
    hs_msg_t *msg = &job->request.msg;
    msg->fields = scratch->fields;
    msg->field_cap = (uint16_t)context->limits->max_headers;
    hs_parse_begin(&scratch->parse, &context->parse, msg);
    http1->reading = HS_READING_HEAD;
    http1->passes_content = false;
    http1->content_ended = false;
    http1->head_sent = false;
    http1->taken_over = false;
}

static hs_http1_event_t refuse_with(hs_http1_t *http1, int status)
{
    http1->reading = HS_READING_STOPPED;
    http1->refused = (uint16_t)status;
    return HS_HTTP1_REFUSED;
}

static hs_http1_event_t refuse(hs_http1_t *http1, hs_parse_outcome_t outcome)
{
    return refuse_with(http1, hs_parse_status(outcome));
}

/* Copies the head out of the ring, so that the ring can be reused. */
static HS_NOINLINE void move_head_to_arena(hs_buffers_t *buffers, hs_msg_t *msg)
{
    if (msg->base == buffers->arena)
        return;
    hs_ring_copy(&buffers->ring, buffers->ring.tail, buffers->arena, msg->head_len);
    msg->base = buffers->arena;
}

static hs_http1_event_t head_complete(hs_http1_t *http1, hs_buffers_t *buffers, hs_job_t *job)
{
    hs_ring_t *ring = &buffers->ring;
    hs_msg_t *msg = &job->request.msg;
    msg->base = hs_ring_at(ring, ring->tail);
    if (HS_UNLIKELY(msg->head_len > hs_ring_room(ring, ring->tail)))
        move_head_to_arena(buffers, msg);
    hs_parse_outcome_t outcome = hs_parse_check(&hs_http1_scratch(buffers)->parse);
    if (HS_UNLIKELY(outcome != HS_PARSE_COMPLETE))
        return refuse(http1, outcome);
    if (msg->chunked || msg->content_length > 0)
        return HS_HTTP1_HEAD;
    http1->reading = HS_READING_COMPLETE;
    return HS_HTTP1_COMPLETE;
}

static hs_http1_event_t next_head(hs_http1_t *http1, hs_buffers_t *buffers, hs_job_t *job)
{
    hs_ring_t *ring = &buffers->ring;
    uint32_t readable;
    while ((readable = hs_ring_readable(ring, buffers->parsed)) > 0) {
        size_t taken;
        hs_parse_outcome_t outcome = hs_parse_head(
            &hs_http1_scratch(buffers)->parse, hs_ring_at(ring, buffers->parsed), readable, &taken);
        buffers->parsed += (uint32_t)taken;
        if (outcome == HS_PARSE_COMPLETE)
            return head_complete(http1, buffers, job);
        if (outcome != HS_PARSE_NEED_MORE)
            return refuse(http1, outcome);
    }
    if (hs_ring_free(ring) > 0)
        return HS_HTTP1_NEED_MORE;
    bool in_request_line = job->request.msg.field_count == 0;
    return refuse(http1, in_request_line ? HS_PARSE_URI_TOO_LONG : HS_PARSE_FIELDS_TOO_LARGE);
}

/* Decides where to store content of known length: in the ring if it fits there contiguously, else
 * in a buffer of exactly its size. */
static int collect_sized(hs_http1_t *http1, const hs_http1_context_t *context,
                         hs_buffers_t *buffers, hs_job_t *job)
{
    hs_ring_t *ring = &buffers->ring;
    uint64_t content_length = job->request.msg.content_length;
    if (content_length <= hs_ring_room(ring, buffers->parsed) &&
        content_length <= ring->capacity - (buffers->parsed - ring->tail)) {
        http1->reading = HS_READING_CONTENT_RING;
        return 0;
    }
    int result = hs_job_reserve_content(context->jobs, job, content_length,
                                        context->limits->max_body_memory, true);
    if (result != HS_OK)
        return result == HS_ERR_LIMIT ? 503 : 500;
    uint32_t here = (uint32_t)hs_min(ring->head - buffers->parsed, content_length);
    hs_ring_copy(ring, buffers->parsed, job->content.data, here);
    job->content.len = here;
    buffers->parsed += here;
    http1->reading = HS_READING_CONTENT_BUFFER;
    return 0;
}

int hs_http1_collect(hs_http1_t *http1, const hs_http1_context_t *context, hs_buffers_t *buffers,
                     hs_job_t *job)
{
    if (!job->request.msg.chunked)
        return collect_sized(http1, context, buffers, job);
    move_head_to_arena(buffers, &job->request.msg);
    hs_buffers_release_parsed(buffers);
    http1->reading = HS_READING_CONTENT_CHUNKED;
    return 0;
}

bool hs_http1_pass_on(hs_http1_t *http1, hs_buffers_t *buffers, hs_job_t *job)
{
    hs_msg_t *msg = &job->request.msg;
    http1->passes_content = true;
    http1->reading = msg->chunked ? HS_READING_CONTENT_CHUNKED : HS_READING_CONTENT_SIZED;
    hs_http1_scratch(buffers)->content_left = msg->content_length;
    hs_msg_terminate_url(msg);
    if (!hs_job_detach(job))
        return false;
    hs_buffers_release_parsed(buffers);
    return true;
}

static hs_http1_event_t complete(hs_http1_t *http1)
{
    http1->reading = HS_READING_COMPLETE;
    return HS_HTTP1_COMPLETE;
}

static hs_http1_event_t next_in_ring(hs_http1_t *http1, hs_buffers_t *buffers, hs_job_t *job)
{
    hs_msg_t *msg = &job->request.msg;
    uint32_t content_length = (uint32_t)msg->content_length;
    if (buffers->ring.head - buffers->parsed < content_length)
        return HS_HTTP1_NEED_MORE;
    msg->body = hs_span(hs_ring_at(&buffers->ring, buffers->parsed), content_length);
    buffers->parsed += content_length;
    return complete(http1);
}

static hs_http1_event_t next_in_buffer(hs_http1_t *http1, hs_job_t *job)
{
    hs_msg_t *msg = &job->request.msg;
    if (job->content.len < msg->content_length)
        return HS_HTTP1_NEED_MORE;
    msg->body = hs_span(job->content.data, job->content.len);
    return complete(http1);
}

static hs_http1_event_t next_sized(hs_http1_t *http1, hs_buffers_t *buffers, hs_span_t *piece)
{
    hs_http1_scratch_t *scratch = hs_http1_scratch(buffers);
    hs_buffers_release_parsed(buffers); /* the piece before */
    if (scratch->content_left == 0)
        return complete(http1);
    uint32_t readable = hs_ring_readable(&buffers->ring, buffers->parsed);
    if (readable == 0)
        return HS_HTTP1_NEED_MORE;
    uint32_t len = (uint32_t)hs_min(readable, scratch->content_left);
    *piece = hs_span(hs_ring_at(&buffers->ring, buffers->parsed), len);
    buffers->parsed += len;
    scratch->content_left -= len;
    return HS_HTTP1_CONTENT;
}

static hs_http1_event_t next_taken_over(hs_buffers_t *buffers, hs_span_t *piece)
{
    hs_buffers_release_parsed(buffers); /* the piece before */
    uint32_t len = hs_ring_readable(&buffers->ring, buffers->parsed);
    if (len == 0)
        return HS_HTTP1_NEED_MORE;
    *piece = hs_span(hs_ring_at(&buffers->ring, buffers->parsed), len);
    buffers->parsed += len;
    return HS_HTTP1_CONTENT;
}

/* Collecting: counted against the memory for all content. */
static bool account_decoded(const hs_http1_context_t *context, hs_job_t *job, size_t before)
{
    hs_job_pool_t *jobs = context->jobs;
    jobs->content_bytes += job->content.capacity - before;
    uint64_t limit = context->limits->max_body_memory;
    return limit == 0 || jobs->content_bytes <= limit;
}

/* Decoded content of chunks, or its end. */
static hs_http1_event_t tell_decoded(hs_http1_t *http1, hs_job_t *job, hs_span_t *piece)
{
    hs_buf_t *content = &job->content;
    if (http1->passes_content && content->len > 0) {
        *piece = hs_span(content->data, content->len);
        return HS_HTTP1_CONTENT;
    }
    if (!http1->content_ended)
        return HS_HTTP1_NEED_MORE;
    if (content->len > 0)
        job->request.msg.body = hs_span(content->data, content->len);
    return complete(http1);
}

static hs_http1_event_t next_chunked(hs_http1_t *http1, const hs_http1_context_t *context,
                                     hs_buffers_t *buffers, hs_job_t *job, hs_span_t *piece)
{
    hs_ring_t *ring = &buffers->ring;
    hs_buf_t *content = &job->content;
    uint32_t readable;
    if (http1->passes_content) /* the piece before */
        hs_parse_content_taken(&hs_http1_scratch(buffers)->parse, content);
    if (http1->content_ended)
        return complete(http1);
    while ((readable = hs_ring_readable(ring, buffers->parsed)) > 0) {
        size_t taken;
        size_t before = content->capacity;
        if (http1->passes_content && readable > CONTENT_STEP)
            readable = CONTENT_STEP;
        hs_parse_outcome_t outcome =
            hs_parse_chunked(&hs_http1_scratch(buffers)->parse, content,
                             hs_ring_at(ring, buffers->parsed), readable, &taken);
        buffers->parsed += (uint32_t)taken;
        hs_buffers_release_parsed(buffers);
        if (!account_decoded(context, job, before))
            return refuse_with(http1, 503);
        if (outcome != HS_PARSE_COMPLETE && outcome != HS_PARSE_NEED_MORE)
            return refuse(http1, outcome);
        http1->content_ended = outcome == HS_PARSE_COMPLETE;
        hs_http1_event_t event = tell_decoded(http1, job, piece);
        if (event != HS_HTTP1_NEED_MORE)
            return event;
    }
    return HS_HTTP1_NEED_MORE;
}

static HS_NOINLINE hs_http1_event_t next_content(hs_http1_t *http1,
                                                 const hs_http1_context_t *context,
                                                 hs_buffers_t *buffers, hs_job_t *job,
                                                 hs_span_t *piece)
{
    switch (http1->reading) {
    case HS_READING_CONTENT_RING:
        return next_in_ring(http1, buffers, job);
    case HS_READING_CONTENT_BUFFER:
        return next_in_buffer(http1, job);
    case HS_READING_CONTENT_CHUNKED:
        return next_chunked(http1, context, buffers, job, piece);
    case HS_READING_CONTENT_SIZED:
        return next_sized(http1, buffers, piece);
    case HS_READING_TAKEN_OVER:
        return next_taken_over(buffers, piece);
    case HS_READING_IDLE:
    case HS_READING_HEAD:
    case HS_READING_COMPLETE:
    case HS_READING_STOPPED:
        break;
    }
    return HS_HTTP1_NEED_MORE;
}

hs_http1_event_t hs_http1_next(hs_http1_t *http1, const hs_http1_context_t *context,
                               hs_buffers_t *buffers, hs_job_t *job, hs_span_t *piece)
{
    if (HS_LIKELY(http1->reading == HS_READING_HEAD))
        return next_head(http1, buffers, job);
    return next_content(http1, context, buffers, job, piece);
}

uint64_t hs_http1_content_received(const hs_http1_t *http1, const hs_buffers_t *buffers,
                                   const hs_job_t *job)
{
    const hs_http1_scratch_t *scratch = hs_http1_scratch(buffers);
    if (http1->reading == HS_READING_CONTENT_RING)
        return buffers->ring.head - buffers->parsed;
    if (http1->reading == HS_READING_CONTENT_SIZED)
        return job->request.msg.content_length - scratch->content_left;
    /* Chunk framing does not count as progress. */
    return scratch->parse.content_taken + job->content.len;
}

bool hs_http1_continue(const hs_http1_t *http1, hs_buffers_t *buffers, hs_job_t *job)
{
    bool waits =
        job->request.msg.expect_continue && !hs_buffers_has_unparsed(buffers) && !http1->head_sent;
    job->request.msg.expect_continue = false;
    return !waits || hs_wire_put_continue(&buffers->out.bytes);
}

static hs_wire_connection_t connection_of(const hs_msg_t *msg, bool keep_alive)
{
    if (!keep_alive)
        return HS_WIRE_CONNECTION_CLOSE;
    return msg->minor_version == 0 ? HS_WIRE_CONNECTION_KEEP_ALIVE : HS_WIRE_CONNECTION_DEFAULT;
}

/* Appends the content of a response that is not copied. */
static bool put_foreign(hs_out_t *out, hs_response_t *response)
{
    hs_content_t *content = &response->content;
    bool put = response->kind == HS_CONTENT_PINNED
                   ? hs_out_pin(out, content->data, content->len, content->release)
                   : hs_out_add_file(out, content->file, content->offset, content->len,
                                     content->modified_ns, content->resident, content->release);
    if (put)
        response->kind = HS_CONTENT_COPIED; /* the chain releases it */
    return put;
}

/* The general case: any status, content that is not copied. */
static HS_NOINLINE bool put_response(const hs_http1_context_t *context, hs_out_t *out,
                                     const hs_msg_t *msg, hs_response_t *response, bool keep_alive,
                                     size_t *content_len)
{
    bool is_copied = response->kind == HS_CONTENT_COPIED;
    size_t len = is_copied ? response->body.len : response->content.len;
    /* RFC 9110 §15.3.6: 205 tells the client to reset the document view, and has no content. */
    if (response->status == 205)
        len = 0;
    hs_wire_head_t head = {
        .status = response->status,
        .connection = connection_of(msg, keep_alive),
        .fields = hs_span(response->fields.data, response->fields.len),
        .own_date = response->own_date,
        .content_length = len,
    };
    if (msg->method == HTTP_HEAD || !hs_status_has_content(response->status))
        len = 0;
    *content_len = len;
    bool goes_behind = is_copied && len <= COPY_MAX;
    size_t mark = out->bytes.len;
    if (!hs_wire_put_head(&out->bytes, &head, context->date,
                          hs_span(response->body.data, goes_behind ? len : 0)))
        return false;
    if (goes_behind || len == 0)
        return true;
    if (is_copied ? hs_out_take_buf(out, &response->body) : put_foreign(out, response))
        return true;
    out->bytes.len = mark;
    return false;
}

bool hs_http1_respond(const hs_http1_context_t *context, hs_buffers_t *buffers, hs_job_t *job,
                      bool may_keep_alive, size_t *content_len)
{
    const hs_msg_t *msg = &job->request.msg;
    hs_response_t *response = &job->response;
    hs_out_t *out = &buffers->out;
    bool keep_alive = msg->keep_alive && !response->close && may_keep_alive;
    bool is_plain = keep_alive && msg->minor_version == 1 && msg->method != HTTP_HEAD &&
                    response->status == 200 && !response->own_date &&
                    response->kind == HS_CONTENT_COPIED && response->body.len <= COPY_MAX;
    bool put;
    if (HS_LIKELY(is_plain)) {
        hs_span_t fields = hs_span(response->fields.data, response->fields.len);
        *content_len = response->body.len;
        put = hs_wire_put_ok(&out->bytes, context->date, fields,
                             hs_span(response->body.data, response->body.len));
    } else {
        put = put_response(context, out, msg, response, keep_alive, content_len);
    }
    if (HS_LIKELY(put))
        return keep_alive;
    /* Not even an error response fits: the client sees a closed connection after the responses
     * before. */
    hs_log_write(job->log, HS_LOG_ERROR, "out of memory for a response: connection closed");
    return false;
}

bool hs_http1_begin_response(hs_http1_t *http1, const hs_http1_context_t *context,
                             hs_buffers_t *buffers, hs_job_t *job, const hs_buf_t *fields,
                             bool has_length, bool may_keep_alive)
{
    const hs_msg_t *msg = &job->request.msg;
    const hs_response_t *response = &job->response;
    bool has_content = msg->method != HTTP_HEAD && hs_status_has_content(response->status);
    hs_framing_t framing = has_length               ? HS_FRAMING_LENGTH
                           : msg->minor_version > 0 ? HS_FRAMING_CHUNKED
                                                    : HS_FRAMING_CLOSE;
    http1->keep_alive =
        msg->keep_alive && !response->close && may_keep_alive && framing != HS_FRAMING_CLOSE;
    hs_wire_head_t head = {
        .status = response->status,
        .connection = connection_of(msg, http1->keep_alive),
        .fields = hs_span(fields->data, fields->len),
        .own_date = response->own_date,
        .content_length = (size_t)response->content_length,
        .chunked = framing == HS_FRAMING_CHUNKED,
        .until_close = framing == HS_FRAMING_CLOSE,
    };
    if (!has_content)
        framing = HS_FRAMING_NONE;
    http1->framing = framing;
    http1->head_sent = true;
    return hs_wire_put_head(&buffers->out.bytes, &head, context->date, hs_span(NULL, 0));
}

static bool put_piece(hs_out_t *out, hs_buf_t *content)
{
    if (content->len > COPY_MAX)
        return hs_out_take_buf(out, content);
    return hs_out_append(out, content->data, content->len);
}

bool hs_http1_put_content(hs_http1_t *http1, hs_buffers_t *buffers, hs_buf_t *content)
{
    HS_ASSERT(http1->head_sent != 0);
    hs_out_t *out = &buffers->out;
    if (content->len == 0 || http1->framing == HS_FRAMING_NONE)
        return true;
    hs_out_compact(out);
    if (http1->framing != HS_FRAMING_CHUNKED)
        return put_piece(out, content);
    char head[HS_WIRE_CHUNK_HEAD_MAX];
    return hs_out_append(out, head, hs_wire_chunk_head(head, content->len)) &&
           put_piece(out, content) &&
           hs_out_append(out, HS_WIRE_CHUNK_END, sizeof(HS_WIRE_CHUNK_END) - 1);
}

bool hs_http1_end_response(hs_http1_t *http1, hs_buffers_t *buffers)
{
    return http1->framing != HS_FRAMING_CHUNKED ||
           hs_out_append(&buffers->out, HS_WIRE_LAST_CHUNK, sizeof(HS_WIRE_LAST_CHUNK) - 1);
}

void hs_http1_take_over(hs_http1_t *http1)
{
    http1->reading = HS_READING_TAKEN_OVER;
    http1->framing = HS_FRAMING_CLOSE;
    http1->passes_content = http1->head_sent = http1->taken_over = true;
    http1->keep_alive = false;
}

bool hs_http1_refuse(hs_http1_t *http1, const hs_http1_context_t *context, hs_buffers_t *buffers,
                     int status, bool is_head)
{
    http1->reading = HS_READING_STOPPED;
    return hs_wire_put_refusal(&buffers->out.bytes, status, !is_head, context->date);
}

void hs_http1_end_message(hs_http1_t *http1, hs_buffers_t *buffers)
{
    http1->reading = HS_READING_IDLE;
    hs_buffers_release_parsed(buffers);
}

void hs_http1_release_ring(hs_http1_t *http1, hs_buffers_t *buffers)
{
    (void)http1;
    hs_buffers_release_parsed(buffers);
}
