#include "conn/hs_conn.h"

#include <errno.h>

#include "conn/hs_conn_tls.h"
#include "conn/hs_conn_ws.h"
#include "conn/hs_observer.h"
#include "http/hs_proxy_header.h"
#include "http/hs_status.h"
#include "os/hs_files.h"

/* After the last response the connection keeps reading, so that a reset does not cost the client
 * the response: as long as data arrives in every interval, for this many intervals. */
#define LINGER_MS 500
#define LINGER_INTERVALS 20
/* How long content may take, in either direction, before its rate is checked. */
#define RATE_GRACE_MS 10000

static hs_conn_env_t *env_of(hs_loop_t *loop)
{
    return (hs_conn_env_t *)(void *)loop;
}

static size_t unsent(const hs_conn_t *conn)
{
    return hs_stream_unsent(&conn->stream);
}

/* Releases the job of the current message. */
static void drop_job(hs_conn_t *conn, hs_conn_env_t *env, hs_abort_reason_t reason)
{
    hs_job_t *job = conn->job;
    if (job == NULL)
        return;
    conn->job = NULL;
    if (!conn->away) {
        hs_job_give_back(&env->jobs, job);
        return;
    }
    /* It returns to the pool when it comes back. */
    conn->away = false;
    if (conn->http1.taken_over)
        hs_observe_response(env->observer, job, (size_t)job->response.written);
    hs_executor_cancel(&env->executor, job, reason);
}

/* Reads no further request; unsent output is still sent. `linger`: then our side is shut down, and
 * incoming data is dropped, before the connection is closed. */
static void stop_reading(hs_conn_t *conn, bool linger)
{
    conn->phase = HS_CONN_FLUSHING;
    conn->http1.reading = HS_READING_STOPPED;
    conn->linger = linger;
    conn->stream.waits_for_drain = conn->stream.runs_again = false;
}

/* Appends an error response from the server to the unsent output; nothing more is parsed.
 */
static HS_NOINLINE void refuse(hs_conn_t *conn, hs_conn_env_t *env, int status)
{
    hs_buffers_t *buffers = conn->stream.buffers;
    bool is_head = hs_parse_is_head(&hs_http1_scratch(buffers)->parse);
    if (hs_log_enabled(env->log, HS_LOG_DEBUG))
        hs_log_write(env->log, HS_LOG_DEBUG, "request refused: %d %s", status,
                     hs_status_reason(status));
    stop_reading(conn, true);
    hs_observe_refusal(env->observer, conn->job, status, false);
    if (!hs_http1_refuse(&conn->http1, &env->http1, buffers, status, is_head))
        conn->linger = false;
}

/* A streamed response cannot be finished: the client must notice. */
static void break_off(hs_conn_t *conn)
{
    conn->http1.keep_alive = false;
    stop_reading(conn, false);
}

static bool may_keep_alive(const hs_conn_t *conn, const hs_conn_env_t *env)
{
    /* The rest of a request's content would have to be read first. */
    return !env->draining && !conn->ends && conn->http1.reading == HS_READING_COMPLETE;
}

/* Writes the head of a response whose content is compressed in pieces, and sets up the coder. */
static bool begin_coded(hs_conn_t *conn, hs_conn_env_t *env, hs_compression_choice_t choice)
{
    hs_job_t *job = conn->job;
    hs_http1_t *http1 = &conn->http1;
    bool is_coded = choice.coding != HS_CODING_IDENTITY;
    hs_buf_t *fields = hs_coders_buffer(env->coders, 1);
    bool put =
        hs_compression_put_fields(&job->response, choice, fields) &&
        hs_http1_begin_response(http1, &env->http1, conn->stream.buffers, job, fields,
                                job->response.has_length && !is_coded, may_keep_alive(conn, env));
    hs_buf_reset(fields, HS_JOB_KEEP_BYTES);
    job->coded = 0;
    if (!put || !is_coded || http1->framing == HS_FRAMING_NONE)
        return put;
    job->was_away = true; /* so that the coder is released with the message */
    job->coder = hs_coder_begin(env->coders, choice.coding);
    return job->coder != NULL;
}

/* The handler speaks its own protocol from here on: we send nothing but, perhaps, a 101. It first
 * gets the bytes in the ring. False: out of memory. */
static bool begin_takeover(hs_conn_t *conn, hs_conn_env_t *env)
{
    const hs_job_t *job = conn->job;
    bool put = job->response.takeover != HS_TAKEOVER_UPGRADE || hs_conn_put_upgrade(conn, env);
    hs_http1_take_over(&conn->http1);
    conn->content_paused = job->inbox.is_paused;
    conn->restart_deadline = conn->stream.runs_again = true;
    return put;
}

/* The head of a streamed response. False: out of memory. */
static bool begin_streamed(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_job_t *job = conn->job;
    const hs_response_t *response = &job->response;
    if (HS_UNLIKELY(response->takeover != HS_TAKEOVER_NONE))
        return begin_takeover(conn, env);
    if (HS_UNLIKELY(conn->tls != NULL))
        hs_conn_add_hsts(env, job);
    if (HS_UNLIKELY(env->compression != NULL)) {
        uint64_t len = response->has_length ? response->content_length : UINT64_MAX;
        hs_compression_choice_t choice = hs_compression_choose(env->compression, job, len);
        if (choice.varies)
            return begin_coded(conn, env, choice);
    }
    return hs_http1_begin_response(&conn->http1, &env->http1, conn->stream.buffers, job,
                                   &response->fields, response->has_length,
                                   may_keep_alive(conn, env));
}

/* Content of a response whose head was written; takes over `content` if it is large. */
static bool put_content(hs_conn_t *conn, hs_conn_env_t *env, hs_buf_t *content, hs_code_t code)
{
    hs_buffers_t *buffers = conn->stream.buffers;
    hs_job_t *job = conn->job;
    if (HS_LIKELY(job->coder == NULL))
        return hs_http1_put_content(&conn->http1, buffers, content);
    hs_buf_t *coded = hs_coders_buffer(env->coders, 0);
    coded->len = 0;
    bool put = hs_coder_put(job->coder, hs_span(content->data, content->len), code, coded);
    job->coded += coded->len;
    put = put && hs_http1_put_content(&conn->http1, buffers, coded);
    hs_buf_reset(coded, HS_JOB_KEEP_BYTES);
    return put;
}

/* The last part of a streamed response. Returns whether the connection stays open. */
static bool end_streamed(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_http1_t *http1 = &conn->http1;
    hs_buffers_t *buffers = conn->stream.buffers;
    hs_response_t *response = &conn->job->response;
    bool put = !response->dropped && (http1->head_sent || begin_streamed(conn, env));
    put = put &&
          put_content(conn, env, &response->body, response->failed ? HS_CODE_FLUSH : HS_CODE_END);
    if (put && !response->failed && hs_http1_end_response(http1, buffers))
        return http1->keep_alive;
    break_off(conn);
    return false;
}

static HS_ALWAYS_INLINE void end_message(hs_conn_t *conn, hs_conn_env_t *env, bool keep_alive,
                                         size_t content_len)
{
    hs_job_t *job = conn->job;
    hs_buffers_t *buffers = conn->stream.buffers;
    bool wants_more = job->request.msg.keep_alive;
    hs_observe_response(env->observer, job, content_len);
    conn->answered = true;
    conn->restart_deadline = true;
    bool is_complete = conn->http1.reading == HS_READING_COMPLETE;
    hs_job_end(&env->jobs, job);
    conn->replayed = false;
    if (HS_LIKELY(keep_alive && is_complete)) {
        hs_http1_end_message(&conn->http1, buffers);
        /* This response is final now, whatever happens to the next one. */
        if (conn->stream.kept && hs_buffers_has_unparsed(buffers))
            hs_stream_note(&env->loop, &conn->stream, 0, HS_STAGE_READING);
        return;
    }
    if (conn->phase != HS_CONN_OPEN)
        return;
    /* A client that did not ask to close may be sending its next request, or the rest of this one:
     * if that reached a closed socket, the reset could cost it this response. */
    stop_reading(conn, wants_more || !is_complete || hs_buffers_has_unparsed(buffers));
}

/* Compresses and writes slices of a long response, one per turn, until too much is unsent. */
static void code_slices(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_response_t *response = &conn->job->response;
    hs_span_t content = response->kind == HS_CONTENT_PINNED
                            ? hs_span(response->content.data, response->content.len)
                            : hs_span(response->body.data, response->body.len);
    if (unsent(conn) >= HS_STREAM_UNSENT_MAX) {
        conn->stream.waits_for_drain = true;
        return;
    }
    size_t at = (size_t)response->written;
    size_t len = hs_min(content.len - at, HS_COMPRESSION_SLICE);
    bool is_last = at + len == content.len;
    hs_buf_t slice = { .data = (char *)(uintptr_t)content.data + at, .len = len };
    bool put = put_content(conn, env, &slice, is_last ? HS_CODE_END : HS_CODE_MORE);
    response->written += len;
    if (put && !is_last) {
        conn->stream.runs_again = true;
        return;
    }
    conn->phase = HS_CONN_OPEN;
    if (!put || !hs_http1_end_response(&conn->http1, conn->stream.buffers))
        break_off(conn);
    end_message(conn, env, conn->http1.keep_alive, (size_t)conn->job->coded);
}

/* False: the response is written uncompressed now. */
static HS_NOINLINE bool compress(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_job_t *job = conn->job;
    hs_coding_t coding =
        hs_compression_apply(env->compression, env->coders, job, HS_COMPRESSION_SLICE);
    if (coding == HS_CODING_IDENTITY)
        return false;
    /* The chain may be compacted, which would invalidate a note. */
    if (conn->stream.kept && conn->stream.buffers->out.bytes_taken > 0)
        hs_ledger_touch(env->loop.ledger, conn);
    if (!begin_coded(conn, env, (hs_compression_choice_t){ coding, true })) {
        break_off(conn);
        end_message(conn, env, false, 0);
        return true;
    }
    if (job->coder == NULL) { /* HEAD */
        end_message(conn, env, conn->http1.keep_alive, 0);
        return true;
    }
    job->response.written = 0;
    conn->phase = HS_CONN_CODING;
    code_slices(conn, env);
    return true;
}

/* The response of the job is complete: writes it and ends the message. */
static void respond(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_job_t *job = conn->job;
    size_t content_len;
    bool keep_alive;
    if (HS_UNLIKELY(job->websocket != NULL)) {
        hs_conn_begin_websocket(conn, env);
        return;
    }
    if (HS_UNLIKELY(job->response.streamed)) {
        keep_alive = end_streamed(conn, env);
        content_len = (size_t)(job->coder != NULL ? job->coded : job->response.written);
    } else {
        if (HS_UNLIKELY(conn->tls != NULL))
            hs_conn_add_hsts(env, job);
        if (HS_UNLIKELY(env->compression != NULL) && compress(conn, env))
            return;
        keep_alive = hs_http1_respond(&env->http1, conn->stream.buffers, job,
                                      may_keep_alive(conn, env), &content_len);
    }
    end_message(conn, env, keep_alive, content_len);
}

/* Content for a handler that streams it. */
static void pass_on(hs_conn_t *conn, hs_span_t piece, bool is_last)
{
    if (!conn->away)
        return;
    if (hs_executor_content(conn->job, piece, is_last) == HS_CONTENT_PAUSE && !is_last)
        conn->content_paused = true;
}

/* The client of a connection taken over by a handler has ended it, after its last bytes. */
static void pass_on_end(hs_conn_t *conn)
{
    const hs_buffers_t *buffers = conn->stream.buffers;
    if (!conn->peer_shut || conn->http1.reading != HS_READING_TAKEN_OVER ||
        (buffers != NULL && hs_buffers_has_unparsed(buffers)))
        return;
    conn->http1.reading = HS_READING_COMPLETE;
    pass_on(conn, hs_span("", 0), true);
}

static void tell_shut(hs_conn_t *conn)
{
    if (!conn->away || conn->shut_told)
        return;
    conn->shut_told = true;
    hs_executor_aborted(conn->job, HS_ABORT_SHUT);
}

/* Runs the handler, or sends the job to where it will run. */
static void start_job(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_job_t *job = conn->job;
    bool passes_content = conn->http1.passes_content;
    if (HS_UNLIKELY(env->redirect_port != 0) && conn->tls == NULL && hs_conn_redirect(conn, env)) {
        respond(conn, env);
        return;
    }
    /* Before NULs are written after the target: its bytes are read in words, and reading a word
     * just after writing one of its bytes is slow. */
    hs_observe_serve(env->observer, job);
    if (!passes_content)
        hs_msg_terminate_url(&job->request.msg);
    job->view.content = passes_content;
    if (conn->stream.kept)
        hs_ledger_move(env->loop.ledger, HS_STAGE_ANSWERING);
    hs_started_t started =
        hs_executor_start(&env->executor, job,
                          env->streams_content || passes_content || job->request.msg.asks_upgrade);
    hs_observe_served(env->observer);
    if (HS_LIKELY(started == HS_STARTED_DONE)) {
        respond(conn, env);
        return;
    }
    job->link = conn;
    conn->away = true;
    conn->shut_told = false;
    conn->content_paused = false;
    conn->restart_deadline = true;
    hs_http1_release_ring(&conn->http1, conn->stream.buffers);
    if (HS_UNLIKELY(conn->stream.shut_seen)) /* while an earlier request was being handled */
        tell_shut(conn);
    if (env->streams_content && conn->http1.reading == HS_READING_COMPLETE)
        pass_on(conn, hs_span("", 0), true);
}

static void begin_content_time(hs_conn_t *conn, uint64_t now_ms)
{
    hs_http1_scratch_t *scratch = hs_http1_scratch(conn->stream.buffers);
    scratch->content_since_ms = scratch->content_last_ms = now_ms;
}

/* Whether the handler runs now and reads the content itself. */
static bool handler_may_wait_for_content(const hs_conn_t *conn, const hs_conn_env_t *env)
{
    const hs_handler_t *handler = &env->executor.handler;
    return handler->streams_content != NULL && handler->streams_content(handler->self) &&
           !hs_http1_has_content(conn->stream.buffers, conn->job);
}

/* A client that expects 100 gets it when the handler asks for the content. */
static void start_before_content(hs_conn_t *conn, hs_conn_env_t *env)
{
    bool expects =
        conn->job->request.msg.expect_continue && !hs_buffers_has_unparsed(conn->stream.buffers);
    if (!hs_http1_pass_on(&conn->http1, conn->stream.buffers, conn->job)) {
        refuse(conn, env, 500);
        return;
    }
    conn->job->inbox.is_paused = expects;
    start_job(conn, env);
    conn->content_paused = conn->away && expects;
}

/* Content follows the head: it is collected for the handler, or the handler is called now. */
static HS_NOINLINE void begin_content(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_buffers_t *buffers = conn->stream.buffers;
    conn->restart_deadline = true;
    begin_content_time(conn, env->loop.now_ms);
    if (handler_may_wait_for_content(conn, env)) {
        start_before_content(conn, env);
        return;
    }
    if (!hs_http1_continue(&conn->http1, buffers, conn->job)) {
        refuse(conn, env, 500);
        return;
    }
    if (!env->streams_content) {
        int status = hs_http1_collect(&conn->http1, &env->http1, buffers, conn->job);
        if (status != 0)
            refuse(conn, env, status);
        return;
    }
    if (hs_http1_pass_on(&conn->http1, buffers, conn->job))
        start_job(conn, env);
    else
        refuse(conn, env, 500);
}

/* Streamed content turns out to be malformed, or stops: the job cannot be finished. */
static HS_NOINLINE void fail_passing(hs_conn_t *conn, hs_conn_env_t *env, int status)
{
    bool head_sent = conn->http1.head_sent;
    hs_job_t *job = conn->job;
    hs_observe_refusal(env->observer, job, status, true);
    bool is_head = job->request.msg.method == HTTP_HEAD;
    drop_job(conn, env, HS_ABORT_LOST);
    stop_reading(conn, !head_sent);
    if (!head_sent &&
        !hs_http1_refuse(&conn->http1, &env->http1, conn->stream.buffers, status, is_head))
        conn->linger = false;
}

static void on_http1_event(hs_conn_t *conn, hs_conn_env_t *env, hs_http1_event_t event,
                           hs_span_t piece)
{
    switch (event) {
    case HS_HTTP1_HEAD:
        begin_content(conn, env);
        return;
    case HS_HTTP1_CONTENT:
        hs_http1_scratch(conn->stream.buffers)->content_last_ms = env->loop.now_ms;
        pass_on(conn, piece, false);
        return;
    case HS_HTTP1_COMPLETE:
        if (HS_UNLIKELY(conn->http1.passes_content))
            pass_on(conn, hs_span("", 0), true);
        else
            start_job(conn, env);
        return;
    case HS_HTTP1_REFUSED:
        if (conn->http1.passes_content)
            fail_passing(conn, env, conn->http1.refused);
        else
            refuse(conn, env, conn->http1.refused);
        return;
    case HS_HTTP1_NEED_MORE:
        return;
    }
}

/* The first byte of a message has arrived. */
static bool begin_message(hs_conn_t *conn, hs_conn_env_t *env)
{
    if (conn->job == NULL) {
        conn->job = hs_job_lease(&env->jobs);
        if (conn->job == NULL) {
            hs_log_write(env->log, HS_LOG_ERROR, "out of memory for a request: connection closed");
            conn->phase = HS_CONN_CLOSED;
            return false;
        }
        conn->job->peer = conn->peer;
        if (HS_UNLIKELY(conn->tls != NULL))
            conn->job->tls = hs_tls_info_keep(conn->tls->info);
    }
    hs_http1_begin(&conn->http1, &env->http1, conn->stream.buffers, conn->job);
    hs_observe_begin(env->observer, conn->job);
    conn->restart_deadline = true;
    return true;
}

/* Whether the next message may begin now; otherwise the stream says when. */
static bool may_begin(hs_conn_t *conn, unsigned messages)
{
    if (!hs_buffers_has_unparsed(conn->stream.buffers))
        return false;
    if (HS_UNLIKELY(unsent(conn) >= HS_STREAM_UNSENT_MAX)) {
        conn->stream.waits_for_drain = true;
        return false;
    }
    if (HS_UNLIKELY(messages == HS_STREAM_MESSAGES_PER_TURN)) {
        conn->stream.runs_again = true;
        return false;
    }
    return true;
}

/* True: the reader can continue without further bytes or events. */
static bool reads_on(const hs_conn_t *conn)
{
    if (conn->phase != HS_CONN_OPEN || conn->http1.reading == HS_READING_STOPPED)
        return false;
    if (HS_UNLIKELY(conn->away))
        return hs_http1_is_receiving(&conn->http1) && !conn->content_paused;
    return true;
}

/* Handles received bytes, until more are needed, the budget is used up or too much is unsent. */
static void advance(hs_conn_t *conn, hs_conn_env_t *env)
{
    unsigned messages = 0;
    while (reads_on(conn)) {
        if (conn->http1.reading == HS_READING_IDLE) {
            if (!may_begin(conn, messages) || !begin_message(conn, env))
                break;
            messages++;
        }
        hs_span_t piece = { 0 };
        hs_http1_event_t event =
            hs_http1_next(&conn->http1, &env->http1, conn->stream.buffers, conn->job, &piece);
        if (event == HS_HTTP1_NEED_MORE)
            break;
        on_http1_event(conn, env, event, piece);
    }
    bool waits = conn->stream.waits_for_drain || conn->stream.runs_again || conn->away;
    /* The peer will send nothing more: there is an incomplete message, or none. */
    if (HS_UNLIKELY(conn->peer_shut) && conn->phase == HS_CONN_OPEN && !waits &&
        !hs_conn_is_websocket(conn))
        stop_reading(conn, false);
}

/* What a crash while handling received bytes means for the current message. */
static hs_stage_t stage_of_reading(const hs_conn_t *conn)
{
    const hs_http1_t *http1 = &conn->http1;
    if (HS_LIKELY(http1->reading <= HS_READING_CONTENT_RING && !conn->away))
        return HS_STAGE_READING;
    bool has_begun = conn->phase == HS_CONN_CODING || (conn->away && http1->head_sent);
    return has_begun ? HS_STAGE_CLOSING : HS_STAGE_ANSWERING;
}

static void on_data(hs_loop_t *loop, hs_stream_t *stream)
{
    hs_conn_t *conn = hs_conn_of(stream);
    hs_conn_env_t *env = env_of(loop);
    if (stream->kept)
        hs_ledger_move(loop->ledger, stage_of_reading(conn));
    if (HS_UNLIKELY(conn->phase == HS_CONN_LINGERING)) {
        conn->still_sending = true;
    } else if (conn->stream.buffers != NULL) {
        if (HS_UNLIKELY(conn->phase == HS_CONN_CODING))
            code_slices(conn, env);
        advance(conn, env);
    }
    if (HS_UNLIKELY(conn->http1.taken_over))
        pass_on_end(conn);
}

/* Content for a buffer is received there directly, not through the ring. */
static char *recv_into(hs_stream_t *stream, size_t *room)
{
    const hs_conn_t *conn = hs_conn_of(stream);
    if (HS_LIKELY(conn->http1.reading != HS_READING_CONTENT_BUFFER)) {
        *room = 0;
        return NULL;
    }
    hs_buf_t *content = &conn->job->content;
    *room = (size_t)conn->job->request.msg.content_length - content->len;
    return content->data + content->len;
}

static void received_into(hs_stream_t *stream, size_t len)
{
    hs_conn_of(stream)->job->content.len += len;
}

/* Waiting requests start in the next turn: what a turn submits to workers becomes visible to them
 * before it sends. */
static void on_drained(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    hs_conn_t *conn = hs_conn_of(stream);
    if (conn->away)
        hs_executor_drained(conn->job);
    else
        stream->runs_again = true;
}

static void on_peer_shut(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    tell_shut(hs_conn_of(stream));
}

static void on_end(hs_loop_t *loop, hs_stream_t *stream)
{
    hs_conn_t *conn = hs_conn_of(stream);
    conn->peer_shut = true;
    if (conn->phase == HS_CONN_LINGERING) {
        conn->phase = HS_CONN_CLOSED;
    } else if (conn->away) {
        if (conn->http1.taken_over)
            pass_on_end(conn);
        else if (hs_http1_is_receiving(&conn->http1))
            fail_passing(conn, env_of(loop), 400); /* the rest of its content will never come */
        else
            tell_shut(conn);
    } else if (conn->phase == HS_CONN_OPEN && !stream->waits_for_drain && !stream->runs_again) {
        stop_reading(conn, false);
    }
}

static void report_file(hs_log_t *log, const hs_stream_t *stream)
{
    char path[512];
    const hs_out_segment_t *segment = hs_out_next_file(&stream->buffers->out);
    hs_files_path(segment != NULL ? segment->file : -1, path, sizeof(path));
    hs_log_write(log, HS_LOG_ERROR,
                 "%s was truncated or changed while it was being sent: connection closed", path);
}

static void on_error(hs_loop_t *loop, hs_stream_t *stream, int error)
{
    hs_conn_env_t *env = env_of(loop);
    hs_conn_t *conn = hs_conn_of(stream);
    if (error == ENOMEM)
        hs_log_write(env->log, HS_LOG_ERROR, "out of memory for a request: connection closed");
    else if (error == EIO)
        report_file(env->log, stream);
    else if (env->observer != NULL && conn->phase != HS_CONN_LINGERING &&
             (conn->job != NULL || unsent(conn) > 0))
        hs_stats_add(env->observer->stats, HS_STATS_CLIENT_ABORTS, 1);
    hs_conn_abort(conn, env);
}

void hs_conn_abort(hs_conn_t *conn, hs_conn_env_t *env)
{
    conn->phase = HS_CONN_CLOSED;
    if (HS_UNLIKELY(hs_conn_is_websocket(conn)))
        return; /* the update notifies its owner */
    drop_job(conn, env, HS_ABORT_LOST);
}

/* The deadline for content: its timeout and the minimum rate. Both count from the end of the head;
 * arriving content extends the second. Streamed content has no limit in total, so its timeout
 * counts from the last piece. */
static uint64_t content_deadline_ms(const hs_conn_t *conn, const hs_limits_t *limits)
{
    const hs_http1_scratch_t *scratch = hs_http1_scratch(conn->stream.buffers);
    uint64_t since_ms = scratch->content_since_ms;
    uint64_t begin_ms = conn->http1.passes_content ? scratch->content_last_ms : since_ms;
    uint64_t deadline_ms = limits->body_timeout_ms ? begin_ms + limits->body_timeout_ms : 0;
    if (limits->body_min_rate == 0)
        return deadline_ms;
    uint64_t received = hs_http1_content_received(&conn->http1, conn->stream.buffers, conn->job);
    uint64_t rate_ms = since_ms + RATE_GRACE_MS + received * 1000 / limits->body_min_rate;
    return deadline_ms == 0 || rate_ms < deadline_ms ? rate_ms : deadline_ms;
}

/* The deadline for the client to read something: the timeout without progress, and the minimum
 * rate. `taken`: bytes since output began to be unsent. */
static uint64_t write_deadline_ms(const hs_conn_t *conn, const hs_limits_t *limits, uint64_t now_ms,
                                  uint32_t taken)
{
    uint64_t deadline_ms = limits->write_timeout_ms ? now_ms + limits->write_timeout_ms : 0;
    if (limits->write_min_rate == 0)
        return deadline_ms;
    uint64_t bytes = (int32_t)taken > 0 ? taken : 0;
    uint64_t rate_ms = conn->stream.buffers->unsent_since_ms + RATE_GRACE_MS +
                       bytes * 1000 / limits->write_min_rate;
    return deadline_ms == 0 || rate_ms < deadline_ms ? rate_ms : deadline_ms;
}

uint64_t hs_conn_write_deadline_ms(const hs_conn_t *conn, const hs_conn_env_t *env)
{
    return write_deadline_ms(conn, env->http1.limits, env->loop.now_ms, conn->stream.buffers->took);
}

static hs_conn_wait_t wait_of(const hs_conn_t *conn)
{
    switch (conn->phase) {
    case HS_CONN_OPEN:
        break;
    case HS_CONN_CODING:
    case HS_CONN_FLUSHING:
        return HS_CONN_WAIT_WRITE;
    case HS_CONN_LINGERING:
        return HS_CONN_WAIT_LINGER;
    case HS_CONN_CLOSED:
        return HS_CONN_WAIT_NONE;
    }
    if (HS_UNLIKELY(conn->away)) {
        if (hs_http1_is_receiving(&conn->http1) && !conn->content_paused && !conn->http1.taken_over)
            return HS_CONN_WAIT_CONTENT;
        if (!conn->http1.head_sent)
            return HS_CONN_WAIT_HANDLER;
        return unsent(conn) > 0 ? HS_CONN_WAIT_WRITE : HS_CONN_WAIT_NONE;
    }
    if (unsent(conn) > 0)
        return HS_CONN_WAIT_WRITE;
    if (hs_http1_is_in_content(&conn->http1))
        return HS_CONN_WAIT_CONTENT;
    if (conn->http1.reading == HS_READING_IDLE && conn->answered)
        return HS_CONN_WAIT_REQUEST;
    return HS_CONN_WAIT_HEAD;
}

static uint64_t deadline_of(const hs_conn_t *conn, const hs_conn_env_t *env)
{
    const hs_limits_t *limits = env->http1.limits;
    uint64_t now_ms = env->loop.now_ms;
    uint32_t timeout_ms = 0;
    switch (conn->wait) {
    case HS_CONN_WAIT_NONE:
        return 0;
    case HS_CONN_WAIT_CONTENT:
        return content_deadline_ms(conn, limits);
    case HS_CONN_WAIT_WRITE:
        return hs_conn_write_deadline_ms(conn, env);
    case HS_CONN_WAIT_REQUEST:
        timeout_ms = limits->keepalive_timeout_ms;
        break;
    case HS_CONN_WAIT_HEAD:
        timeout_ms = limits->header_timeout_ms;
        break;
    case HS_CONN_WAIT_HANDLER:
        timeout_ms = limits->handler_timeout_ms;
        break;
    case HS_CONN_WAIT_LINGER:
        timeout_ms = LINGER_MS;
        break;
    }
    return timeout_ms != 0 ? now_ms + timeout_ms : 0;
}

void hs_conn_note_unsent(hs_conn_t *conn, uint64_t now_ms, size_t unsent_bytes)
{
    hs_buffers_t *buffers = conn->stream.buffers;
    if (unsent_bytes == 0) {
        buffers->unsent_since_ms = 0;
        return;
    }
    if (buffers->unsent_since_ms != 0)
        return;
    buffers->unsent_since_ms = now_ms;
    buffers->took = 0;
    conn->stream.acknowledged = 0;
}

/* Releases what is not needed while nothing is pending. */
static void give_back(hs_conn_t *conn, hs_conn_env_t *env, bool is_idle)
{
    hs_buffers_t *buffers = conn->stream.buffers;
    bool is_over = conn->phase == HS_CONN_LINGERING || conn->phase == HS_CONN_CLOSED;
    if (is_idle || is_over) {
        drop_job(conn, env, HS_ABORT_LOST);
        hs_stream_give_back(&env->loop, &conn->stream);
    } else if (HS_UNLIKELY(conn->away) && buffers != NULL &&
               (conn->http1.reading == HS_READING_COMPLETE || conn->http1.taken_over) &&
               hs_ring_used(&buffers->ring) == 0 && hs_out_unsent(&buffers->out) == 0) {
        hs_stream_give_back(&env->loop, &conn->stream);
    }
}

/* Called at the end of every event: moves on from a finished flush, releases idle memory, sets what
 * the stream does next and until when it waits. */
static void update(hs_loop_t *loop, hs_stream_t *stream)
{
    hs_conn_env_t *env = env_of(loop);
    hs_conn_t *conn = hs_conn_of(stream);
    size_t unsent_bytes = unsent(conn);
    if (conn->phase == HS_CONN_FLUSHING && unsent_bytes == 0)
        conn->phase = conn->linger && !conn->peer_shut ? HS_CONN_LINGERING : HS_CONN_CLOSED;
    bool is_idle = hs_conn_is_idle(conn);
    if (HS_UNLIKELY(env->draining || conn->ends) && is_idle && !env->idle_grace)
        conn->phase = HS_CONN_CLOSED;
    if (stream->buffers != NULL)
        hs_conn_note_unsent(conn, loop->now_ms, unsent_bytes);
    if (is_idle || conn->away || conn->phase > HS_CONN_FLUSHING)
        give_back(conn, env, is_idle);
    if (HS_UNLIKELY(conn->away))
        atomic_store_explicit(&conn->job->chained, unsent_bytes, memory_order_relaxed);
    stream->discards = stream->shuts_write = conn->phase == HS_CONN_LINGERING;
    stream->closed = conn->phase == HS_CONN_CLOSED;
    if (stream->closed)
        hs_list_remove(&conn->all);
    if (HS_UNLIKELY(conn->tls != NULL))
        hs_conn_update_tls(conn);
    stream->holds = conn->away && !conn->http1.head_sent;
    stream->reads = conn->phase == HS_CONN_LINGERING ||
                    (reads_on(conn) && !conn->peer_shut &&
                     (!stream->waits_for_drain || conn->http1.taken_over) && !stream->runs_again &&
                     (unsent_bytes == 0 || conn->away));
    hs_conn_wait_t wait = wait_of(conn);
    if (wait == conn->wait && !conn->restart_deadline)
        return;
    conn->wait = wait;
    conn->restart_deadline = false;
    stream->deadline_ms = deadline_of(conn, env);
}

/* The job keeps running, or waiting; the client gets 503. */
static void give_up(hs_conn_t *conn, hs_conn_env_t *env)
{
    hs_job_t *job = conn->job;
    if (hs_job_state(job) == HS_JOB_DONE)
        return; /* in time: its response is in the completion queue */
    bool is_head = job->request.msg.method == HTTP_HEAD;
    hs_observe_refusal(env->observer, job, 503, true);
    conn->job = NULL;
    conn->away = false;
    hs_executor_give_up(&env->executor, job, env->http1.limits->handler_timeout_ms);
    stop_reading(conn, true);
    if (!hs_stream_lease(&env->loop, &conn->stream) ||
        !hs_http1_refuse(&conn->http1, &env->http1, conn->stream.buffers, 503, is_head))
        conn->phase = HS_CONN_CLOSED;
}

bool hs_conn_has_taken_enough(hs_conn_t *conn, hs_conn_env_t *env)
{
    uint32_t acknowledged = hs_stream_acknowledged(&conn->stream);
    if ((int32_t)acknowledged < 0) {
        /* The kernel still holds earlier output, which the client reads first: its time starts
         * here. */
        hs_buffers_t *buffers = conn->stream.buffers;
        buffers->took -= acknowledged;
        buffers->unsent_since_ms = env->loop.now_ms;
        conn->restart_deadline = true;
        return true;
    }
    bool has_progress = (int32_t)(acknowledged - conn->stream.acknowledged) > 0;
    conn->stream.acknowledged = acknowledged;
    if (!has_progress)
        return false;
    uint64_t deadline_ms =
        write_deadline_ms(conn, env->http1.limits, env->loop.now_ms, acknowledged);
    if (deadline_ms != 0 && deadline_ms <= env->loop.now_ms)
        return false;
    conn->stream.deadline_ms = deadline_ms;
    return true;
}

static void on_deadline(hs_loop_t *loop, hs_stream_t *stream)
{
    hs_conn_env_t *env = env_of(loop);
    hs_conn_t *conn = hs_conn_of(stream);
    hs_conn_wait_t wait = conn->wait;
    if (wait == HS_CONN_WAIT_CONTENT) {
        stream->deadline_ms = content_deadline_ms(conn, env->http1.limits);
        if (stream->deadline_ms > loop->now_ms)
            return; /* enough has arrived meanwhile */
    }
    if (wait == HS_CONN_WAIT_WRITE && hs_conn_has_taken_enough(conn, env))
        return;
    hs_observe_timeout(env->observer, wait);
    switch (wait) {
    case HS_CONN_WAIT_CONTENT:
        if (conn->away)
            fail_passing(conn, env, 408);
        else
            refuse(conn, env, 408);
        break;
    case HS_CONN_WAIT_HEAD:
        /* No request, so no response. */
        if (conn->http1.reading == HS_READING_IDLE)
            conn->phase = HS_CONN_CLOSED;
        else
            refuse(conn, env, 408);
        break;
    case HS_CONN_WAIT_LINGER:
        if (conn->still_sending && ++conn->linger_intervals < LINGER_INTERVALS) {
            conn->still_sending = false;
            conn->restart_deadline = true;
        } else {
            conn->phase = HS_CONN_CLOSED;
        }
        break;
    case HS_CONN_WAIT_HANDLER:
        give_up(conn, env);
        break;
    case HS_CONN_WAIT_NONE:
    case HS_CONN_WAIT_REQUEST:
    case HS_CONN_WAIT_WRITE:
        hs_conn_abort(conn, env);
        break;
    }
}

void hs_conn_on_closed(hs_loop_t *loop, hs_stream_t *stream)
{
    hs_conn_env_t *env = env_of(loop);
    hs_conn_t *conn = hs_conn_of(stream);
    hs_tls_accepted_free(conn->tls);
    env->on_conn_closed(env, conn);
}

const hs_protocol_t hs_conn_protocol = {
    .on_data = on_data,
    .recv_into = recv_into,
    .received_into = received_into,
    .on_drained = on_drained,
    .on_end = on_end,
    .on_peer_shut = on_peer_shut,
    .on_error = on_error,
    .on_deadline = on_deadline,
    .update = update,
    .on_closed = hs_conn_on_closed,
};

int hs_conn_open(hs_conn_t *conn, hs_conn_env_t *env, int fd, const hs_peer_t *peer)
{
    *conn = (hs_conn_t){ .peer = *peer, .wait = HS_CONN_WAIT_NONE };
    hs_list_init(&conn->all);
    int result = hs_stream_open(&env->loop, &conn->stream, fd, &hs_conn_protocol);
    if (result == 0) {
        hs_stream_keep(&env->loop, &conn->stream);
        hs_list_push_back(&env->connections, &conn->all);
    }
    return result;
}

void hs_conn_serve(hs_conn_t *conn, hs_loop_t *loop)
{
    hs_stream_t *stream = &conn->stream;
    /* The deadline stays armed: it counts from accept to the first byte of a request. */
    uint64_t deadline_ms = stream->deadline_ms;
    hs_stream_set_protocol(loop, stream, &hs_conn_protocol);
    stream->deadline_ms = deadline_ms;
}

/* The connection does not begin as required. A response would reveal the server to scanners, and
 * proxies would forward it to a client that sent no request. */
static void reject_proxy(hs_conn_t *conn, hs_conn_env_t *env, const char *reason)
{
    char text[HS_PEER_TEXT_CAP];
    if (hs_log_enabled(env->log, HS_LOG_DEBUG))
        hs_log_write(env->log, HS_LOG_DEBUG, "connection from %s closed: %s",
                     hs_peer_name(&conn->peer, text), reason);
    if (env->observer != NULL)
        hs_stats_add(env->observer->stats, HS_STATS_REJECTED_PROXY, 1);
    conn->phase = HS_CONN_CLOSED;
}

static void on_proxy_data(hs_loop_t *loop, hs_stream_t *stream)
{
    hs_conn_env_t *env = env_of(loop);
    hs_conn_t *conn = hs_conn_of(stream);
    hs_buffers_t *buffers = stream->buffers;
    if (conn->phase != HS_CONN_OPEN || buffers == NULL || !hs_buffers_has_unparsed(buffers))
        return;
    /* The header comes first in the ring, so it is contiguous. */
    const hs_ring_t *ring = &buffers->ring;
    hs_proxy_header_t header;
    switch (hs_proxy_header_read(hs_ring_at(ring, buffers->parsed),
                                 hs_ring_readable(ring, buffers->parsed), &header)) {
    case HS_PROXY_NEED_MORE:
        if (header.len > env->http1.limits->ring_size || hs_ring_free(ring) == 0)
            reject_proxy(conn, env, "its PROXY header is longer than the receive buffer");
        return;
    case HS_PROXY_MALFORMED:
        reject_proxy(conn, env, "it does not begin with a valid PROXY header");
        return;
    case HS_PROXY_COMPLETE:
        break;
    }
    if (stream->kept)
        hs_ledger_touch(loop->ledger, stream);
    if (header.has_source)
        conn->peer = header.source;
    buffers->parsed += (uint32_t)header.len;
    hs_buffers_release_parsed(buffers);
    if (conn->tls != NULL)
        hs_conn_begin_tls(conn, env);
    else
        hs_conn_serve(conn, loop);
}

/* A connection that ends before its first byte is a port check. */
static void on_proxy_end(hs_loop_t *loop, hs_stream_t *stream)
{
    hs_conn_t *conn = hs_conn_of(stream);
    if (stream->buffers != NULL && hs_buffers_has_unparsed(stream->buffers))
        reject_proxy(conn, env_of(loop), "it ends within its PROXY header");
    conn->phase = HS_CONN_CLOSED;
}

/* Active until the PROXY header has been read; then hs_conn_protocol takes over. */
static const hs_protocol_t proxy_protocol = {
    .on_data = on_proxy_data,
    .on_drained = on_drained,
    .on_end = on_proxy_end,
    .on_peer_shut = on_peer_shut,
    .on_error = on_error,
    .on_deadline = on_deadline,
    .update = update,
    .on_closed = hs_conn_on_closed,
};

void hs_conn_expect_proxy(hs_conn_t *conn, hs_conn_env_t *env)
{
    const hs_forwarding_t *forwarding = env->jobs.forwarding;
    if (forwarding != NULL && !hs_networks_contain(&forwarding->trusted, &conn->peer))
        reject_proxy(conn, env, "PROXY headers are accepted only from --trusted-proxy");
    else
        conn->stream.protocol = &proxy_protocol;
}

bool hs_conn_expects_proxy(const hs_conn_t *conn)
{
    return conn->stream.protocol == &proxy_protocol;
}

bool hs_conn_is_plain(const hs_conn_t *conn)
{
    return conn->stream.protocol == &hs_conn_protocol || conn->stream.protocol == &proxy_protocol;
}

void hs_conn_finish(hs_conn_t *conn, hs_conn_env_t *env, int status, bool is_head)
{
    stop_reading(conn, true);
    if (status == 0)
        return;
    if (env->observer != NULL)
        hs_stats_refused(env->observer->stats, status);
    if (!hs_http1_refuse(&conn->http1, &env->http1, conn->stream.buffers, status, is_head))
        conn->linger = false;
}

void hs_conn_refuse(hs_conn_t *conn, hs_conn_env_t *env, int status)
{
    conn->job = hs_job_lease(&env->jobs);
    if (conn->job == NULL || !hs_stream_lease(&env->loop, &conn->stream)) {
        hs_conn_abort(conn, env);
        return;
    }
    conn->job->peer = conn->peer;
    hs_http1_begin(&conn->http1, &env->http1, conn->stream.buffers, conn->job);
    hs_observe_begin(env->observer, conn->job);
    refuse(conn, env, status);
}

/* A job that was away is done. */
static void on_job_done(void *context, hs_job_t *job, void *link)
{
    hs_conn_env_t *env = context;
    if (link == NULL) {
        hs_job_give_back(&env->jobs, job);
        return;
    }
    hs_conn_t *conn = link;
    HS_ASSERT(conn->away && conn->job == job);
    conn->away = false;
    conn->stream.waits_for_drain = false;
    if (hs_stream_lease(&env->loop, &conn->stream)) {
        if (conn->stream.kept)
            hs_stream_note(&env->loop, &conn->stream, 0,
                           job->response.streamed ? HS_STAGE_CLOSING : HS_STAGE_ANSWERING);
        respond(conn, env);
        advance(conn, env);
    } else {
        on_error(&env->loop, &conn->stream, ENOMEM);
    }
    hs_stream_update(&env->loop, &conn->stream);
}

/* A piece of a streamed response. */
static void on_job_write(void *context, hs_job_t *job, hs_buf_t *data, bool flush)
{
    hs_conn_env_t *env = context;
    hs_conn_t *conn = job->link;
    hs_http1_t *http1 = &conn->http1;
    if (conn->stream.kept)
        hs_ledger_touch(env->loop.ledger, conn);
    bool put = hs_stream_lease(&env->loop, &conn->stream);
    if (put && !http1->head_sent)
        put = begin_streamed(conn, env);
    if (put && put_content(conn, env, data, flush ? HS_CODE_FLUSH : HS_CODE_MORE)) {
        conn->stream.waits_for_drain = atomic_load_explicit(&job->waits, memory_order_relaxed);
    } else {
        on_error(&env->loop, &conn->stream, ENOMEM);
    }
    hs_stream_update(&env->loop, &conn->stream);
}

/* A handler takes over the connection, or has read what had arrived. */
static void resume_taken_over(hs_conn_t *conn, hs_conn_env_t *env)
{
    if (conn->stream.kept)
        hs_ledger_touch(env->loop.ledger, conn);
    if (conn->http1.taken_over) {
        conn->content_paused = conn->job->inbox.is_paused;
        conn->stream.runs_again = true;
    } else if (!hs_stream_lease(&env->loop, &conn->stream) || !begin_takeover(conn, env)) {
        on_error(&env->loop, &conn->stream, ENOMEM);
    }
    hs_stream_update(&env->loop, &conn->stream);
}

static void on_job_resume(void *context, hs_job_t *job)
{
    hs_conn_env_t *env = context;
    hs_conn_t *conn = job->link;
    if (job->response.takeover != HS_TAKEOVER_NONE) {
        resume_taken_over(conn, env);
        return;
    }
    if (!conn->content_paused)
        return;
    if (conn->stream.kept)
        hs_ledger_touch(env->loop.ledger, conn);
    conn->content_paused = false;
    if (!hs_http1_continue(&conn->http1, conn->stream.buffers, job)) {
        on_error(&env->loop, &conn->stream, ENOMEM);
        return;
    }
    begin_content_time(conn, env->loop.now_ms);
    conn->restart_deadline = true;
    conn->stream.runs_again = true;
    hs_stream_update(&env->loop, &conn->stream);
}

void hs_conn_collect(hs_conn_env_t *env)
{
    const hs_executor_sink_t sink = {
        .done = on_job_done,
        .write = on_job_write,
        .resume = on_job_resume,
        .context = env,
    };
    hs_executor_collect(&env->executor, &sink);
}

void hs_conn_for_each(hs_conn_env_t *env, void (*visit)(hs_conn_t *conn, hs_conn_env_t *env))
{
    hs_list_t *next;
    for (hs_list_t *node = env->connections.next; node != &env->connections; node = next) {
        next = node->next;
        hs_conn_t *conn = HS_CONTAINER_OF(node, hs_conn_t, all);
        visit(conn, env);
        hs_stream_update(&env->loop, &conn->stream);
    }
}

/* Jobs whose connection was closed while they were away are bounded by the number that may be
 * away. */
#define JOBS_AWAY_MAX 8192
/* Free buffers and connections that keep their memory while idle. */
#define KEEP_IDLE 32

static int cut_region(hs_conn_env_t *env, uint32_t conns, size_t buffers_size, hs_errinfo_t *error)
{
    const size_t line = HS_CACHE_LINE;
    uint32_t jobs = conns + JOBS_AWAY_MAX;
    size_t size = hs_region_pool_size(sizeof(hs_conn_t), line, conns) +
                  hs_region_pool_size(sizeof(hs_job_t), line, jobs) +
                  hs_region_pool_size(buffers_size, line, conns);
    int result = HS_ERR_SYSTEM;
    if (env->loop.ledger != NULL)
        result = hs_region_init(&env->region, size, HS_REGION_NO_DUMP | HS_REGION_SHARED, error);
    if (result != HS_OK) {
        env->loop.ledger = NULL;
        result = hs_region_init(&env->region, size, HS_REGION_NO_DUMP, error);
    }
    env->survives = env->loop.ledger != NULL;
    if (result == HS_OK)
        result = hs_region_pool_init(&env->region, &env->conn_blocks, sizeof(hs_conn_t), line,
                                     conns, error);
    if (result == HS_OK)
        result = hs_region_pool_init(&env->region, &env->job_blocks, sizeof(hs_job_t), line, jobs,
                                     error);
    if (result == HS_OK)
        result = hs_region_pool_init(&env->region, &env->buffers_blocks, buffers_size, line, conns,
                                     error);
    return result;
}

int hs_conn_env_init(hs_conn_env_t *env, const hs_limits_t *limits, uint32_t extra,
                     hs_ledger_t *ledger, hs_log_t *log, hs_ev_t *ev,
                     const hs_transport_t *transport, uint64_t now_ms, hs_errinfo_t *error)
{
    size_t scratch_size = hs_http1_scratch_size(limits);
    hs_loop_init(&env->loop, ev, transport, now_ms);
    env->loop.ledger = ledger;
    hs_http1_context_init(&env->http1, limits, &env->jobs, &env->date);
    env->log = log;
    hs_list_init(&env->connections);
    hs_job_pool_init(&env->jobs, &env->job_blocks, log, &env->executor.completions);
    env->jobs.content_max = limits->max_body_memory;
    hs_conn_init_websockets(env);
    int result = cut_region(env, limits->max_connections + extra,
                            hs_buffers_block_size(limits->ring_size, scratch_size), error);
    if (result == HS_OK)
        hs_buffers_pool_init(&env->loop.buffers, &env->buffers_blocks, limits->ring_size,
                             scratch_size);
    return result;
}

bool hs_conn_env_trim(hs_conn_env_t *env)
{
    return hs_region_trim(&env->region, &env->buffers_blocks, KEEP_IDLE) ||
           hs_region_trim(&env->region, &env->conn_blocks, KEEP_IDLE);
}

void hs_conn_env_free(hs_conn_env_t *env)
{
    hs_conn_set_tls(env, NULL);
    hs_tls_wire_free(&env->tls_wire);
    hs_executor_free(&env->executor);
    hs_buffers_pool_free(&env->loop.buffers);
    hs_job_pool_free(&env->jobs);
    hs_coders_free(env->coders);
    hs_pool_free(&env->buffers_blocks);
    hs_pool_free(&env->job_blocks);
    hs_pool_free(&env->conn_blocks);
    hs_region_free(&env->region);
}
