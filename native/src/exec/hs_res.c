#include "exec/hs_res.h"

#include "exec/hs_completions.h"
#include "exec/hs_compression.h"
#include "http/hs_parse.h"
#include "http/hs_status.h"
#include "http/hs_wire.h"
#include "os/hs_sock.h"

/* With this much unsent, a handler is told to wait. */
#define WRITE_HIGH_WATER (256 * 1024)
/* The size of all fields of one response. As a capacity it is the last one within that: a line that
 * needs no more room is within the limit. */
#define FIELDS_MAX (64 * 1024)
_Static_assert(FIELDS_MAX % HS_BUF_FIRST_CAPACITY == 0 && (FIELDS_MAX & (FIELDS_MAX - 1)) == 0,
               "a power of two, as the capacities of a buffer that doubles are");

int hs_res_status(hs_response_t *response, int status)
{
    if (response->sending != HS_SENDING_BUILDING)
        return HS_ERR_STATE;
    if (status < HS_STATUS_MIN || status > HS_STATUS_MAX)
        return HS_ERR_INVALID;
    response->status = status;
    response->built = true;
    return HS_OK;
}

static int out_of_memory(hs_response_t *response)
{
    response->failure = HS_ERR_NOMEM;
    return HS_ERR_NOMEM;
}

/* How a field about the connection or the framing is handled. */
typedef enum field_rule {
    FIELD_ORDINARY,
    FIELD_TAKEN,
    FIELD_REFUSED
} field_rule_t;

static HS_NOINLINE field_rule_t apply_rule(hs_response_t *response, hs_span_t name, hs_span_t value)
{
    if (hs_token_is(name, HS_SPAN_LITERAL("date"))) {
        response->own_date = true;
    } else if (hs_token_is(name, HS_SPAN_LITERAL("connection"))) {
        if (!hs_span_equals_nocase(hs_span_trim(value), HS_SPAN_LITERAL("close")))
            return FIELD_REFUSED;
        response->close = true;
        return FIELD_TAKEN;
    } else if (hs_token_is(name, HS_SPAN_LITERAL("content-length")) ||
               hs_token_is(name, HS_SPAN_LITERAL("transfer-encoding"))) {
        return FIELD_REFUSED;
    }
    return FIELD_ORDINARY;
}

/* Whether a name has the length of one known to apply_rule. `len` < 32. */
static bool may_have_rule(size_t len)
{
    const uint32_t lengths = 1u << (sizeof("date") - 1) | 1u << (sizeof("connection") - 1) |
                             1u << (sizeof("content-length") - 1) |
                             1u << (sizeof("transfer-encoding") - 1);
    return (lengths >> len & 1) != 0;
}

static HS_ALWAYS_INLINE void put_line(hs_buf_t *fields, hs_span_t name, hs_span_t value)
{
    char *to = hs_span_copy(name, fields->data + fields->len);
    memcpy(to, ": ", 2);
    to = hs_span_copy(value, to + 2);
    memcpy(to, "\r\n", 2);
    fields->len = (size_t)(to + 2 - fields->data);
}

static size_t line_len(hs_span_t name, hs_span_t value)
{
    return name.len + value.len + 4;
}

/* Handles any field, valid or not. */
static HS_NOINLINE int add_any_field(hs_response_t *response, hs_span_t name, hs_span_t value)
{
    hs_buf_t *fields = &response->fields;
    if (response->sending != HS_SENDING_BUILDING)
        return HS_ERR_STATE;
    if (!hs_wire_is_field_name(name) || !hs_wire_is_field_value(value))
        return HS_ERR_INVALID;
    if (line_len(name, value) > FIELDS_MAX - fields->len)
        return HS_ERR_LIMIT;
    if (!hs_buf_reserve(fields, line_len(name, value)))
        return out_of_memory(response);
    field_rule_t rule = apply_rule(response, name, value);
    if (rule == FIELD_REFUSED)
        return HS_ERR_INVALID;
    response->built = true;
    if (rule == FIELD_ORDINARY)
        put_line(fields, name, value);
    return HS_OK;
}

/* The common case: a short line without a rule, that fits. It needs no call, so there is none. */
int hs_res_add_field(hs_response_t *response, hs_span_t name, hs_span_t value)
{
    hs_buf_t *fields = &response->fields;
    bool is_short = name.len < 32 && value.len < 32;
    if (HS_UNLIKELY(!is_short || may_have_rule(name.len) ||
                    line_len(name, value) > fields->capacity - fields->len ||
                    response->sending != HS_SENDING_BUILDING || !hs_wire_is_field_name(name) ||
                    !hs_wire_is_field_value(value)))
        return add_any_field(response, name, value);
    response->built = true;
    put_line(fields, name, value);
    return HS_OK;
}

bool hs_res_find_field(const hs_response_t *response, hs_span_t name, hs_span_t *value)
{
    const hs_buf_t *fields = &response->fields;
    for (size_t at = 0; at < fields->len;) {
        const char *line = fields->data + at;
        size_t left = fields->len - at;
        const char *end = memchr(line, '\n', left); /* every line has its CRLF */
        size_t len = end != NULL ? (size_t)(end - line) + 1 : left;
        if (len > name.len + 3 && line[name.len] == ':' &&
            hs_span_equals_nocase(hs_span(line, name.len), name)) {
            *value = hs_span(line + name.len + 2, len - name.len - 4);
            return true;
        }
        at += len;
    }
    return false;
}

/* Content of another kind was set before, or there is no room. */
static HS_NOINLINE int set_any_body(hs_response_t *response, hs_span_t body)
{
    if (response->sending != HS_SENDING_BUILDING)
        return HS_ERR_STATE;
    hs_res_release_content(response);
    response->body.len = 0;
    response->built = true;
    return hs_buf_append(&response->body, body.data, body.len) ? HS_OK : out_of_memory(response);
}

int hs_res_set_body(hs_response_t *response, hs_span_t body)
{
    hs_buf_t *buf = &response->body;
    if (HS_UNLIKELY(response->sending != HS_SENDING_BUILDING ||
                    response->kind != HS_CONTENT_COPIED || body.len > buf->capacity))
        return set_any_body(response, body);
    response->built = true;
    buf->len = body.len;
    (void)hs_span_copy(body, buf->data);
    return HS_OK;
}

static int set_content(hs_response_t *response, hs_content_kind_t kind, hs_content_t content)
{
    if (response->sending != HS_SENDING_BUILDING)
        return HS_ERR_STATE;
    hs_res_release_content(response);
    response->body.len = 0;
    response->built = true;
    response->kind = kind;
    response->content = content;
    return HS_OK;
}

int hs_res_pin_body(hs_response_t *response, hs_span_t body, hs_release_t release)
{
    return set_content(response, HS_CONTENT_PINNED,
                       (hs_content_t){ .data = body.data, .len = body.len, .release = release });
}

/* A release function of the public interface. The function pointer is stored in a void pointer,
 * which POSIX allows and ISO C does not. */
static void call_release(void *context, uintptr_t token)
{
    ((hs_release_fn)token)(context);
}

int hs_res_body_pinned(hs_response_t *response, const char *data, size_t length,
                       hs_release_fn release, void *user_data)
{
    hs_release_t own = { 0 };
    if (release != NULL)
        own = (hs_release_t){ call_release, user_data, (uintptr_t)release };
    return hs_res_pin_body(response, hs_span(data, length), own);
}

static void close_file(void *context, uintptr_t token)
{
    (void)context;
    hs_sock_close((int)token);
}

int hs_res_file_part(hs_response_t *response, hs_content_t part)
{
    return part.file < 0 ? HS_ERR_INVALID : set_content(response, HS_CONTENT_FILE, part);
}

int hs_res_file(hs_response_t *response, int fd, uint64_t offset, uint64_t length)
{
    if (length > SIZE_MAX / 2)
        return HS_ERR_INVALID;
    return hs_res_file_part(response,
                            (hs_content_t){ .file = fd,
                                            .offset = offset,
                                            .modified_ns = HS_OUT_ANY_TIME,
                                            .len = (size_t)length,
                                            .release = { close_file, NULL, (uintptr_t)fd } });
}

int hs_res_header(hs_response_t *response, const char *name, const char *value)
{
    int result =
        hs_res_add_field(response, hs_span(name, strlen(name)), hs_span(value, strlen(value)));
    if (result < 0)
        hs_log_write(hs_job_of_response(response)->log, HS_LOG_ERROR,
                     "response field refused (error %d): %.64s", result, name);
    return result;
}

int hs_res_body(hs_response_t *response, const char *data, size_t length)
{
    return hs_res_set_body(response, hs_span(data, length));
}

int hs_res_body_str(hs_response_t *response, const char *text)
{
    return hs_res_set_body(response, hs_span(text, strlen(text)));
}

int hs_res_end(hs_response_t *response)
{
    if (response->sending != HS_SENDING_BUILDING && response->sending != HS_SENDING_STREAMING)
        return HS_ERR_STATE;
    if (response->sending == HS_SENDING_STREAMING && response->has_length &&
        response->written < response->content_length)
        response->failed = true;
    response->sending = HS_SENDING_ENDED;
    return HS_OK;
}

void hs_res_post(hs_job_t *job)
{
    hs_completions_t *completions = job->completions;
    if (job->response.failure == HS_ERR_NOMEM)
        hs_res_end_incomplete(&job->response);
    hs_completions_finish(job);
    hs_completions_announce(completions);
}

/* Jobs that are not suspended are taken back by the code that runs the handler. */
int hs_res_send(hs_response_t *response)
{
    hs_job_t *job = hs_job_of_response(response);
    int result = hs_res_end(response);
    if (result == HS_OK && hs_job_state(job) == HS_JOB_SUSPENDED)
        hs_res_post(job);
    return result;
}

int hs_res_fail(hs_response_t *response)
{
    hs_job_t *job = hs_job_of_response(response);
    if (response->sending != HS_SENDING_BUILDING && response->sending != HS_SENDING_STREAMING)
        return HS_ERR_STATE;
    hs_res_break_off(response, 500);
    response->sending = HS_SENDING_ENDED;
    if (hs_job_state(job) == HS_JOB_SUSPENDED)
        hs_res_post(job);
    return HS_OK;
}

int hs_res_compress(hs_response_t *response, bool compress)
{
    if (response->sending != HS_SENDING_BUILDING)
        return HS_ERR_STATE;
    response->compress = compress ? HS_COMPRESS_ANY_TYPE : HS_COMPRESS_NEVER;
    return HS_OK;
}

int hs_res_content_length(hs_response_t *response, uint64_t length)
{
    if (response->sending != HS_SENDING_BUILDING)
        return HS_ERR_STATE;
    if (length > SIZE_MAX / 2)
        return HS_ERR_INVALID;
    response->has_length = true;
    response->content_length = length;
    response->built = true;
    return HS_OK;
}

/* True: the writer is to wait. */
static bool note_posted(hs_job_t *job, size_t len)
{
    size_t posted = atomic_fetch_add_explicit(&job->posted, len, memory_order_relaxed) + len;
    size_t unsent = posted + atomic_load_explicit(&job->chained, memory_order_relaxed);
    if (unsent <= WRITE_HIGH_WATER)
        return false;
    atomic_store_explicit(&job->waits, true, memory_order_relaxed);
    return true;
}

/* Copies `data` and hands it to the loop. */
static int post_piece(hs_job_t *job, const char *data, size_t len, bool flush)
{
    hs_piece_t *piece = hs_alloc(sizeof(*piece));
    if (piece == NULL)
        return HS_ERR_NOMEM;
    *piece = (hs_piece_t){ .post.kind = HS_POST_WRITE, .job = job, .flush = flush };
    if (!hs_buf_reserve_exact(&piece->data, len)) {
        hs_free(piece);
        return HS_ERR_NOMEM;
    }
    if (len > 0)
        hs_buf_put(&piece->data, data, len);
    bool waits = note_posted(job, len);
    hs_completions_t *completions = job->completions;
    hs_job_progress(job, 2);
    hs_completions_push(completions, &piece->post);
    hs_completions_announce(completions);
    return waits ? HS_WRITE_WAIT : HS_WRITE_CONTINUE;
}

static int begin_streaming(hs_response_t *response)
{
    if (response->kind != HS_CONTENT_COPIED || response->body.len > 0)
        return HS_ERR_STATE; /* its content was set as a whole */
    response->written = 0;
    response->built = true;
    response->streamed = true;
    response->flush = false;
    response->sending = HS_SENDING_STREAMING;
    return HS_OK;
}

/* Content may follow. */
static int go_on_streaming(hs_response_t *response)
{
    const hs_job_t *job = hs_job_of_response(response);
    int result = HS_OK;
    if (response->sending == HS_SENDING_BUILDING)
        result = begin_streaming(response);
    else if (response->sending != HS_SENDING_STREAMING)
        result = HS_ERR_STATE;
    if (result != HS_OK)
        return result;
    bool is_aborted = atomic_load_explicit(&job->aborted, memory_order_relaxed) >= HS_ABORT_LOST;
    return is_aborted ? HS_ERR_ABORTED : HS_OK;
}

int hs_res_write(hs_response_t *response, const char *data, size_t length)
{
    hs_job_t *job = hs_job_of_response(response);
    int result = go_on_streaming(response);
    if (result != HS_OK)
        return result;
    if (response->has_length && length > response->content_length - response->written)
        return HS_ERR_LIMIT;
    if (length == 0)
        return HS_WRITE_CONTINUE; /* an empty chunk would end the content */
    if (hs_job_state(job) != HS_JOB_RUNNING || job->in_worker) {
        result = post_piece(job, data, length, false);
    } else {
        /* On the loop's thread: taken into the output chain when the handler returns. */
        if (!hs_buf_append(&response->body, data, length))
            return out_of_memory(response);
        result = response->body.len > WRITE_HIGH_WATER ? HS_WRITE_WAIT : HS_WRITE_CONTINUE;
    }
    if (result == HS_ERR_NOMEM)
        return out_of_memory(response);
    response->written += length;
    return result;
}

int hs_res_take_over(hs_response_t *response, hs_takeover_t takeover)
{
    static const char upgrade[] = "Connection: upgrade\r\n"; /* as nginx */
    hs_job_t *job = hs_job_of_response(response);
    bool is_begun = response->sending != HS_SENDING_BUILDING;
    size_t pending = response->body.len + atomic_load_explicit(&job->posted, memory_order_relaxed);
    if (job->in_worker || response->takeover != HS_TAKEOVER_NONE || pending > 0)
        return HS_ERR_STATE;
    int result = go_on_streaming(response);
    if (result != HS_OK)
        return result;
    if (takeover == HS_TAKEOVER_UPGRADE &&
        !hs_buf_append(&response->fields, upgrade, sizeof(upgrade) - 1))
        return out_of_memory(response);
    if (!is_begun)
        response->status = 101;
    response->takeover = (uint8_t)takeover;
    response->has_length = false;
    job->request.msg.expect_continue = false;
    /* The loop learns of it from the state left by an inline handler, or from this post. */
    if (hs_job_state(job) == HS_JOB_SUSPENDED && hs_req_resume(job->view.handle) != HS_OK)
        return out_of_memory(response);
    return HS_OK;
}

/* What an inline handler wrote before it deferred is posted like later writes, and counted like
 * them: there may be something to wait for. */
static bool post_written(hs_job_t *job)
{
    hs_piece_t *piece = hs_alloc(sizeof(*piece));
    if (piece == NULL)
        return false;
    *piece = (hs_piece_t){ .post.kind = HS_POST_WRITE,
                           .job = job,
                           .data = job->response.body,
                           .flush = job->response.flush };
    job->response.body = (hs_buf_t){ 0 };
    job->response.flush = false;
    (void)note_posted(job, piece->data.len);
    hs_completions_push(job->completions, &piece->post);
    return true;
}

int hs_res_flush(hs_response_t *response)
{
    hs_job_t *job = hs_job_of_response(response);
    int result = go_on_streaming(response);
    if (result != HS_OK)
        return result;
    atomic_store_explicit(&job->waits, true, memory_order_relaxed);
    if (hs_job_state(job) != HS_JOB_RUNNING || job->in_worker)
        result = post_piece(job, "", 0, true);
    else
        response->flush = true;
    return result < 0 ? out_of_memory(response) : HS_OK;
}

/* The handler on this thread is done with the job for now. False: not possible. */
static bool suspend(hs_job_t *job)
{
    hs_response_t *response = &job->response;
    bool is_open =
        response->sending == HS_SENDING_BUILDING || response->sending == HS_SENDING_STREAMING;
    if (!is_open || hs_job_state(job) != HS_JOB_RUNNING || job->completions == NULL ||
        !hs_job_detach(job))
        return false;
    return response->sending != HS_SENDING_STREAMING || post_written(job);
}

bool hs_res_suspend(hs_response_t *response, void *by, hs_where_fn *where,
                    const hs_callbacks_t *callbacks)
{
    hs_job_t *job = hs_job_of_response(response);
    if (!suspend(job))
        return false;
    *job->deferred = true;
    job->deferred = NULL;
    job->deferred_handle = job->view.handle;
    job->suspended_by = by;
    job->where = where;
    job->callbacks = *callbacks;
    job->was_away = true;
    hs_job_set_state(job, HS_JOB_SUSPENDED);
    return true;
}

void hs_res_end_suspended(hs_response_t *response)
{
    hs_job_t *job = hs_job_of_response(response);
    HS_ASSERT(hs_job_state(job) == HS_JOB_SUSPENDED);
    hs_completions_t *completions = job->completions;
    hs_job_set_state(job, HS_JOB_RUNNING); /* so that it is posted once, below */
    hs_res_complete(job);
    hs_completions_finish(job);
    hs_completions_announce(completions);
}

hs_deferred_t hs_res_defer(hs_response_t *response)
{
    hs_job_t *job = hs_job_of_response(response);
    if (!suspend(job))
        return 0;
    hs_piece_t *deferred = NULL;
    if (job->in_worker && (deferred = hs_alloc(sizeof(*deferred))) == NULL)
        return 0;
    /* From here on another thread may finish the job, and the handler's thread must not touch it
     * again when it returns. */
    *job->deferred = true;
    job->deferred = NULL;
    hs_job_move_generation(job);
    hs_deferred_t handle = job->view.handle;
    job->deferred_handle = handle;
    job->was_away = true;
    HS_OWNER_RELEASE(job->owner);
    hs_completions_t *completions = job->completions;
    hs_job_set_state(job, HS_JOB_SUSPENDED);
    if (deferred != NULL) {
        /* The loop does not notify a running handler. */
        *deferred = (hs_piece_t){ .post.kind = HS_POST_DEFERRED, .handle = handle };
        hs_completions_push(completions, &deferred->post);
        hs_completions_announce(completions);
    }
    return handle;
}

int hs_res_callbacks(hs_response_t *response, const hs_callbacks_t *callbacks)
{
    hs_job_t *job = hs_job_of_response(response);
    if (hs_job_state(job) != HS_JOB_RUNNING)
        return HS_ERR_STATE;
    job->callbacks = *callbacks;
    job->was_away = true; /* so that they are reset with the message */
    return HS_OK;
}

hs_request_t *hs_deferred_request(hs_deferred_t job)
{
    hs_job_t *found = hs_job_of(job);
    return found != NULL ? &found->request : NULL;
}

hs_response_t *hs_deferred_response(hs_deferred_t job)
{
    hs_job_t *found = hs_job_of(job);
    return found != NULL ? &found->response : NULL;
}

int hs_deferred_aborted(hs_deferred_t job)
{
    const hs_job_t *found = hs_job_of(job);
    return found != NULL ? atomic_load_explicit(&found->aborted, memory_order_relaxed)
                         : HS_ABORT_LOST;
}

int hs_req_resume(hs_deferred_t job)
{
    hs_job_t *found = hs_job_of(job);
    if (found == NULL)
        return HS_ERR_STATE;
    hs_piece_t *piece = hs_alloc(sizeof(*piece));
    if (piece == NULL)
        return HS_ERR_NOMEM;
    *piece = (hs_piece_t){ .post.kind = HS_POST_RESUME, .handle = job };
    hs_completions_t *completions = found->completions;
    hs_completions_push(completions, &piece->post);
    hs_completions_announce(completions);
    return HS_OK;
}

void hs_res_replace(hs_response_t *response, int status)
{
    hs_res_begin(response);
    hs_span_t reason = hs_span(hs_status_reason(status), strlen(hs_status_reason(status)));
    response->status = status;
    response->replaced = true;
    int added =
        hs_res_add_field(response, HS_SPAN_LITERAL("Content-Type"), HS_SPAN_LITERAL("text/plain"));
    int set = hs_res_set_body(response, reason);
    if (added == HS_OK && set == HS_OK && hs_buf_append(&response->body, "\n", 1))
        response->failure = HS_OK;
    response->sending = HS_SENDING_ENDED;
}

void hs_res_break_off(hs_response_t *response, int status)
{
    if (response->sending == HS_SENDING_BUILDING)
        hs_res_replace(response, status);
    else if (response->sending == HS_SENDING_STREAMING)
        response->failed = true;
}

int hs_res_drop(hs_response_t *response, int status)
{
    if (response->sending == HS_SENDING_BUILDING) {
        hs_res_begin(response);
        response->status = status;
        /* One whose head is never written. */
        response->streamed = response->dropped = true;
    } else if (response->sending == HS_SENDING_STREAMING) {
        response->failed = true;
    } else {
        return HS_ERR_STATE;
    }
    response->sending = HS_SENDING_ENDED;
    return HS_OK;
}

void hs_res_end_incomplete(hs_response_t *response)
{
    const hs_job_t *job = hs_job_of_response(response);
    const hs_msg_t *msg = &job->request.msg;
    hs_job_log(job, HS_LOG_ERROR, "out of memory while building a response: %s %.128s",
               hs_parse_method_name(msg->method), hs_msg_url(msg).data);
    if (response->streamed) {
        response->failed = true;
        response->sending = HS_SENDING_ENDED;
    } else {
        hs_res_replace(response, 500);
    }
}

/* A handler that returns without sending: what it built is sent; if it built nothing, that is an
 * error. */
void hs_res_complete(hs_job_t *job)
{
    hs_response_t *response = &job->response;
    const hs_msg_t *msg = &job->request.msg;
    if (response->failure == HS_ERR_NOMEM) {
        hs_res_end_incomplete(response);
    } else if (response->sending == HS_SENDING_ENDED) {
        return;
    } else if (response->built) {
        (void)hs_res_send(response);
    } else {
        /* A handler that was told that its client is gone has no response to send. */
        if (atomic_load_explicit(&job->aborted, memory_order_relaxed) < HS_ABORT_LOST)
            hs_job_log(job, HS_LOG_ERROR, "the handler sent no response: %s %.128s",
                       hs_parse_method_name(msg->method), hs_msg_url(msg).data);
        hs_res_replace(response, 500);
    }
}
