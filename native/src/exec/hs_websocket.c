#include "exec/hs_websocket.h"

#include "exec/hs_res.h"
#include "http/hs_parse.h"

/* Payload up to this size is copied after its head, so that several frames are contiguous. */
#define COPY_MAX (16 * 1024)
/* How much a part's buffer keeps between two messages. */
#define KEEP_BYTES (16 * 1024)

/* owner: its socket */
typedef struct hs_websocket_part {
    hs_buf_t message; /* in hand, or being collected */
    hs_buf_t decoded; /* in hand, of one that was coded */
    hs_buf_t early;   /* frames sent before the 101 is written */
} part_t;

static part_t *part_of(hs_websocket_t *socket)
{
    if (socket->part == NULL)
        socket->part = hs_alloc_zeroed(1, sizeof(part_t));
    return socket->part;
}

static void reset_content(hs_websocket_t *socket, hs_buf_t *buf, size_t keep)
{
    size_t before = buf->capacity;
    hs_buf_reset(buf, keep);
    socket->hub->jobs->content_bytes -= before - buf->capacity;
}

static bool reserve_content(hs_websocket_t *socket, hs_buf_t *buf, size_t more)
{
    hs_job_pool_t *jobs = socket->hub->jobs;
    size_t before = buf->capacity;
    if (more <= before - buf->len)
        return true;
    if (jobs->content_max > 0 && jobs->content_bytes - before + buf->len + more > jobs->content_max)
        return false;
    bool reserved = hs_buf_reserve(buf, more);
    jobs->content_bytes += buf->capacity - before;
    return reserved;
}

static void free_part(hs_websocket_t *socket)
{
    part_t *part = socket->part;
    if (part == NULL)
        return;
    socket->part = NULL;
    socket->hub->jobs->content_bytes -= part->message.capacity + part->decoded.capacity;
    hs_buf_free(&part->message);
    hs_buf_free(&part->decoded);
    hs_buf_free(&part->early);
    hs_free(part);
}

static void count(const hs_websocket_t *socket, unsigned counter, uint64_t n)
{
    if (socket->hub->stats != NULL)
        hs_stats_add(socket->hub->stats, counter, n);
}

/* The stream must be updated before the turn ends. */
static void mark_dirty(hs_websocket_t *socket)
{
    hs_websocket_hub_t *hub = socket->hub;
    if (socket->next_dirty != NULL || socket->stream == NULL)
        return;
    socket->next_dirty = hub->dirty != NULL ? hub->dirty : socket;
    hub->dirty = socket;
}

hs_websocket_t *hs_websocket_next_dirty(hs_websocket_hub_t *hub)
{
    hs_websocket_t *socket = hub->dirty;
    if (socket == NULL)
        return NULL;
    hub->dirty = socket->next_dirty != socket ? socket->next_dirty : NULL;
    socket->next_dirty = NULL;
    return socket;
}

static void forget_dirty(hs_websocket_t *socket)
{
    if (socket->next_dirty == NULL)
        return;
    hs_websocket_t *before = NULL;
    for (hs_websocket_t *at = socket->hub->dirty; at != socket; at = at->next_dirty)
        before = at;
    bool is_last = socket->next_dirty == socket;
    if (before == NULL)
        socket->hub->dirty = is_last ? NULL : socket->next_dirty;
    else
        before->next_dirty = is_last ? before : socket->next_dirty;
    socket->next_dirty = NULL;
}

/* ---- The handshake. ---- */

/* Builds a whole response that says what is wrong. */
static int refuse(hs_job_t *job, hs_ws_refusal_t refusal)
{
    hs_response_t *response = &job->response;
    const char *text = hs_ws_refusal_text(refusal);
    int status = hs_ws_refusal_status(refusal);
    hs_res_begin(response);
    response->status = status;
    response->built = true;
    bool put = hs_res_add_field(response, HS_SPAN_LITERAL("Content-Type"),
                                HS_SPAN_LITERAL("text/plain")) == HS_OK;
    /* RFC 9110 §15.5.22: the protocol to upgrade to. */
    static const char upgrade[] = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    if (put && status == 426)
        put = hs_buf_append(&response->fields, upgrade, sizeof(upgrade) - 1);
    if (put && refusal == HS_WS_VERSION)
        put = hs_res_add_field(response, HS_SPAN_LITERAL("Sec-WebSocket-Version"),
                               HS_SPAN_LITERAL("13")) == HS_OK;
    if (put && refusal == HS_WS_NOT_GET)
        put = hs_res_add_field(response, HS_SPAN_LITERAL("Allow"), HS_SPAN_LITERAL("GET")) == HS_OK;
    if (!put || !hs_buf_append(&response->body, text, strlen(text)) ||
        !hs_buf_append(&response->body, "\n", 1) || hs_res_end(response) != HS_OK)
        hs_res_replace(response, 500);
    return status;
}

static bool put_field(hs_buf_t *fields, const char *name, hs_span_t value)
{
    return value.len == 0 ||
           (hs_buf_append(fields, name, strlen(name)) &&
            hs_buf_append(fields, value.data, value.len) && hs_buf_append(fields, "\r\n", 2));
}

/* The fields of the 101. */
static bool put_fields(hs_buf_t *fields, hs_span_t key, hs_span_t protocol, hs_span_t extensions)
{
    static const char upgrade[] = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    char accept[HS_WS_ACCEPT_CAP];
    return hs_ws_accept_key(key, accept) && hs_buf_append(fields, upgrade, sizeof(upgrade) - 1) &&
           put_field(fields, "Sec-WebSocket-Accept: ", hs_span(accept, strlen(accept))) &&
           put_field(fields, "Sec-WebSocket-Protocol: ", protocol) &&
           put_field(fields, "Sec-WebSocket-Extensions: ", extensions);
}

/* False: the client's field is malformed. */
static bool negotiate(hs_websocket_t *socket, const hs_msg_t *msg, hs_buf_t *accepted)
{
    const hs_websocket_hub_t *hub = socket->hub;
    return hub->negotiate == NULL ||
           hub->negotiate(hub->negotiate_context, msg, accepted, &socket->codec);
}

int hs_websocket_begin(hs_job_t *job, const hs_websocket_terms_t *terms,
                       const hs_websocket_owner_t *owner, void *owner_data, hs_websocket_t **out)
{
    hs_response_t *response = &job->response;
    const hs_msg_t *msg = &job->request.msg;
    hs_websocket_hub_t *hub = job->pool->websockets;
    if (response->sending != HS_SENDING_BUILDING || response->kind != HS_CONTENT_COPIED ||
        response->body.len > 0 || job->in_worker || hub == NULL)
        return HS_ERR_STATE;
    hs_span_t key, protocol;
    hs_ws_refusal_t refusal = hs_ws_check(msg, msg->method == HTTP_GET, &key);
    if (refusal == HS_WS_ACCEPTABLE && !hs_ws_allows_origin(msg, terms->origins))
        refusal = HS_WS_ORIGIN;
    if (refusal == HS_WS_ACCEPTABLE && !hs_ws_choose_protocol(msg, terms->protocols, &protocol))
        refusal = HS_WS_PROTOCOLS;
    if (refusal != HS_WS_ACCEPTABLE)
        return refuse(job, refusal);
    hs_websocket_t *socket = hs_alloc_zeroed(1, sizeof(*socket));
    if (socket == NULL)
        return HS_ERR_NOMEM;
    socket->hub = hub;
    socket->owner = owner;
    socket->owner_data = owner_data;
    hs_buf_t extensions = { 0 };
    size_t mark = response->fields.len;
    if (!negotiate(socket, msg, &extensions)) {
        hs_websocket_free(socket);
        return refuse(job, HS_WS_EXTENSIONS);
    }
    bool put = put_fields(&response->fields, key, protocol,
                          hs_span(extensions.data, socket->codec != NULL ? extensions.len : 0));
    hs_buf_free(&extensions);
    if (!put) {
        response->fields.len = mark;
        hs_websocket_free(socket);
        return HS_ERR_NOMEM;
    }
    response->status = 101;
    response->built = true;
    response->sending = HS_SENDING_ENDED;
    job->websocket = socket;
    job->was_away = true; /* so that it is reset with the message */
    *out = socket;
    return HS_OK;
}

bool hs_websocket_open(hs_websocket_t *socket, hs_stream_t *stream)
{
    socket->stream = stream;
    socket->active_ms = (uint32_t)socket->hub->loop->now_ms;
    part_t *part = socket->part;
    if (part != NULL && part->early.len > 0 &&
        !hs_out_append(&stream->buffers->out, part->early.data, part->early.len))
        return false;
    if (part != NULL)
        hs_buf_free(&part->early);
    count(socket, HS_STATS_WS_OPENED, 1);
    if (socket->owner != NULL)
        socket->owner->opened(socket);
    if (socket->hub->closing != 0)
        (void)hs_websocket_close(socket, socket->hub->closing, hs_span("", 0));
    return true;
}

/* ---- Sending. ---- */

size_t hs_websocket_unsent(const hs_websocket_t *socket)
{
    if (socket->stream != NULL)
        return hs_stream_unsent(socket->stream);
    return socket->part != NULL ? socket->part->early.len : 0;
}

/* Where frames go, with room for `len` bytes. NULL: out of memory. */
static hs_buf_t *output(hs_websocket_t *socket, size_t len)
{
    hs_buf_t *to;
    if (socket->stream == NULL) {
        part_t *part = part_of(socket);
        if (part == NULL)
            return NULL;
        to = &part->early;
    } else {
        if (!hs_stream_lease(socket->hub->loop, socket->stream))
            return NULL;
        hs_out_compact(&socket->stream->buffers->out);
        to = &socket->stream->buffers->out.bytes;
    }
    return hs_buf_reserve(to, len) ? to : NULL;
}

/* Closes without a handshake, at the end of the turn: the owner is notified then. */
static void break_off(hs_websocket_t *socket)
{
    socket->state = HS_WEBSOCKET_OVER;
    socket->code = HS_WS_ABNORMAL;
    mark_dirty(socket);
}

/* Whether a message may be sent now. */
static int check_sending(hs_websocket_t *socket)
{
    if (socket->state != HS_WEBSOCKET_OPEN)
        return HS_ERR_STATE;
    if (HS_LIKELY(hs_websocket_unsent(socket) <= socket->hub->limits->ws_max_unsent))
        return HS_OK;
    socket->is_slow = true;
    break_off(socket);
    return HS_ERR_LIMIT;
}

static int no_memory(hs_websocket_t *socket)
{
    hs_log_write(socket->hub->log, HS_LOG_ERROR, "out of memory for a message: WebSocket closed");
    break_off(socket);
    return HS_ERR_NOMEM;
}

static int after_sending(hs_websocket_t *socket, size_t payload)
{
    count(socket, HS_STATS_WS_MESSAGES_OUT, 1);
    count(socket, HS_STATS_WS_BYTES_OUT, payload);
    mark_dirty(socket);
    if (HS_LIKELY(hs_websocket_unsent(socket) <= HS_STREAM_HIGH_WATER))
        return HS_OK;
    socket->wants_drain = true;
    if (socket->stream != NULL)
        socket->stream->waits_for_drain = true;
    return HS_WEBSOCKET_WAIT;
}

/* Takes over `owned`, if given, whose content is the payload. */
static bool put_frame(hs_websocket_t *socket, hs_ws_opcode_t opcode, bool is_coded,
                      hs_span_t payload, hs_buf_t *owned)
{
    bool is_copied = payload.len <= COPY_MAX || socket->stream == NULL;
    hs_buf_t *to = output(socket, HS_WS_HEAD_MAX + (is_copied ? payload.len : 0));
    if (to == NULL)
        return false;
    size_t mark = to->len;
    to->len += hs_ws_put_head(to->data + to->len, opcode, true, is_coded, payload.len);
    if (is_copied) {
        if (payload.len > 0)
            hs_buf_put(to, payload.data, payload.len);
        return true;
    }
    hs_buf_t copy = { 0 };
    if (owned == NULL) {
        if (!hs_buf_reserve_exact(&copy, payload.len)) {
            to->len = mark;
            return false;
        }
        hs_buf_put(&copy, payload.data, payload.len);
        owned = &copy;
    }
    bool put = hs_out_take_buf(&socket->stream->buffers->out, owned);
    if (!put)
        to->len = mark;
    hs_buf_free(&copy); /* one that it was exchanged for */
    return put;
}

int hs_websocket_send(hs_websocket_t *socket, int kind, hs_span_t message)
{
    int result = check_sending(socket);
    if (HS_UNLIKELY(result != HS_OK))
        return result;
    hs_buf_t coded = { 0 };
    bool is_coded =
        socket->codec != NULL && socket->codec->encode(socket->codec, kind, message, &coded);
    bool put =
        put_frame(socket, (hs_ws_opcode_t)kind, is_coded,
                  is_coded ? hs_span(coded.data, coded.len) : message, is_coded ? &coded : NULL);
    hs_buf_free(&coded);
    return put ? after_sending(socket, message.len) : no_memory(socket);
}

int hs_websocket_ping(hs_websocket_t *socket, hs_span_t payload)
{
    if (payload.len > HS_WS_CONTROL_MAX)
        return HS_ERR_INVALID;
    int result = check_sending(socket);
    if (result != HS_OK)
        return result;
    if (!put_frame(socket, HS_WS_PING, false, payload, NULL))
        return no_memory(socket);
    mark_dirty(socket);
    return HS_OK;
}

/* Sends our Close frame. False: out of memory. */
static bool put_close(hs_websocket_t *socket, int code, hs_span_t reason)
{
    char frame[2 + HS_WS_CONTROL_MAX];
    size_t len = hs_ws_put_close(frame, code, reason);
    hs_buf_t *to = output(socket, len);
    if (to == NULL)
        return false;
    hs_buf_put(to, frame, len);
    return true;
}

int hs_websocket_close(hs_websocket_t *socket, int code, hs_span_t reason)
{
    if (code != HS_WS_NONE && !hs_ws_is_code(code))
        return HS_ERR_INVALID;
    if (socket->state != HS_WEBSOCKET_OPEN)
        return HS_ERR_STATE;
    if (!put_close(socket, code, reason))
        return no_memory(socket);
    socket->state = HS_WEBSOCKET_CLOSING;
    socket->code = (uint16_t)code;
    if (socket->stream != NULL && socket->paused && !socket->in_hand)
        socket->stream->runs_again = true; /* the client's Close frame may be in the ring */
    mark_dirty(socket);
    return HS_OK;
}

/* ---- The end. ---- */

static void tell_closed(hs_websocket_t *socket, int code, hs_span_t reason)
{
    const hs_websocket_owner_t *owner = socket->owner;
    hs_stream_t *stream = socket->stream;
    socket->state = HS_WEBSOCKET_OVER;
    socket->stream = NULL;
    socket->code = (uint16_t)code;
    forget_dirty(socket);
    if (stream != NULL)
        socket->hub->over(socket->hub, stream);
    if (socket->hub->stats != NULL)
        hs_stats_ws_closed(socket->hub->stats, code, 1);
    if (socket->is_slow)
        count(socket, HS_STATS_WS_SLOW, 1);
    if (owner != NULL) {
        socket->owner = NULL;
        owner->closed(socket, code, reason);
    } else {
        hs_websocket_free(socket);
    }
}

void hs_websocket_lost(hs_websocket_t *socket)
{
    static const char slow[] = "the client reads too slowly";
    socket->stream = NULL;
    tell_closed(socket, HS_WS_ABNORMAL,
                socket->is_slow ? hs_span(slow, sizeof(slow) - 1) : hs_span("", 0));
}

void hs_websocket_keep_reason(hs_websocket_t *socket, hs_span_t reason)
{
    socket->in_hand = socket->in_ring = socket->is_decoded = false;
    part_t *part = reason.len > 0 ? part_of(socket) : socket->part;
    if (part == NULL)
        return;
    part->message.len = 0;
    if (reason.len > 0 && reserve_content(socket, &part->message, reason.len))
        hs_buf_put(&part->message, reason.data, reason.len);
}

void hs_websocket_abandon(hs_websocket_t *socket, int code)
{
    socket->owner = NULL;
    (void)hs_websocket_close(socket, code, hs_span("", 0));
    if (socket->in_hand)
        hs_websocket_taken(socket);
}

void hs_websocket_free(hs_websocket_t *socket)
{
    forget_dirty(socket);
    free_part(socket);
    if (socket->codec != NULL)
        socket->codec->free(socket->codec);
    hs_free(socket);
}

/* ---- Receiving. ---- */

/* Fails the socket with our `code`; both sides are done with the connection. */
static void end(hs_websocket_t *socket, int code, const char *reason)
{
    bool was_open = socket->state == HS_WEBSOCKET_OPEN;
    hs_span_t text = hs_span(reason, strlen(reason));
    if (was_open)
        (void)put_close(socket, code, text);
    tell_closed(socket, was_open ? code : socket->code, text);
}

/* A data frame begins: decides where to store its payload. A message of one frame stays in the ring
 * if it fits there contiguously. */
static void begin_frame(hs_websocket_t *socket)
{
    hs_buffers_t *buffers = socket->stream->buffers;
    const hs_ws_reader_t *reader = &socket->reader;
    hs_buffers_release_parsed(buffers);
    socket->in_ring = reader->is_last && reader->message_len == reader->left &&
                      reader->left <= hs_ring_room(&buffers->ring, buffers->parsed);
    socket->hand_at = buffers->parsed;
}

/* A piece of payload, the next in the ring. False: over. */
static bool collect(hs_websocket_t *socket, hs_span_t piece)
{
    hs_buffers_t *buffers = socket->stream->buffers;
    if (socket->in_ring || piece.len == 0)
        return true;
    part_t *part = part_of(socket);
    if (part == NULL || !reserve_content(socket, &part->message, piece.len)) {
        end(socket, HS_WS_TRY_LATER, "out of memory for a message");
        return false;
    }
    hs_buf_put(&part->message, piece.data, piece.len);
    hs_buffers_release_parsed(buffers);
    return true;
}

/* The current message as received, still coded. */
static hs_span_t received_message(const hs_websocket_t *socket)
{
    if (socket->in_ring)
        return hs_span(hs_ring_at(&socket->stream->buffers->ring, socket->hand_at),
                       (size_t)socket->reader.message_len);
    return socket->part != NULL ? hs_span(socket->part->message.data, socket->part->message.len)
                                : hs_span("", 0);
}

hs_span_t hs_websocket_message(hs_websocket_t *socket)
{
    if (socket->is_decoded)
        return hs_span(socket->part->decoded.data, socket->part->decoded.len);
    return socket->stream != NULL || !socket->in_ring ? received_message(socket) : hs_span("", 0);
}

/* False: over. */
static bool decode(hs_websocket_t *socket, int kind)
{
    part_t *part = part_of(socket);
    if (part == NULL) {
        end(socket, HS_WS_TRY_LATER, "out of memory for a message");
        return false;
    }
    size_t before = part->decoded.capacity;
    int result = socket->codec->decode(socket->codec, received_message(socket),
                                       (size_t)socket->hub->limits->ws_max_message, &part->decoded);
    socket->hub->jobs->content_bytes += part->decoded.capacity - before;
    socket->is_decoded = true;
    if (result == HS_ERR_LIMIT)
        end(socket, HS_WS_TOO_BIG, hs_ws_problem_text(HS_WS_MESSAGE_TOO_BIG));
    else if (result == HS_ERR_NOMEM)
        end(socket, HS_WS_TRY_LATER, "out of memory for a message");
    else if (result != HS_OK)
        end(socket, HS_WS_BAD_DATA, "a message is not valid compressed data");
    else if (kind == HS_WS_TEXT && !hs_utf8_is_valid(part->decoded.data, part->decoded.len))
        end(socket, HS_WS_BAD_DATA, hs_ws_problem_text(HS_WS_NOT_UTF8));
    else
        return true;
    return false;
}

/* Releases the memory of the current message. */
static void release_message(hs_websocket_t *socket)
{
    socket->in_hand = socket->is_decoded = false;
    if (socket->part != NULL) {
        reset_content(socket, &socket->part->message, KEEP_BYTES);
        reset_content(socket, &socket->part->decoded, KEEP_BYTES);
    }
    if (socket->stream != NULL && socket->stream->buffers != NULL)
        hs_buffers_release_parsed(socket->stream->buffers);
}

/* A message is complete. */
static void tell_message(hs_websocket_t *socket, const hs_ws_told_t *told)
{
    if (socket->state != HS_WEBSOCKET_OPEN || socket->owner == NULL) {
        release_message(socket); /* nothing waits for it any more */
        return;
    }
    if (told->is_coded && !decode(socket, told->kind))
        return;
    count(socket, HS_STATS_WS_MESSAGES_IN, 1);
    socket->is_text = told->kind == HS_WS_TEXT;
    socket->in_hand = true;
    hs_span_t message = hs_websocket_message(socket);
    count(socket, HS_STATS_WS_BYTES_IN, message.len);
    if (socket->owner->message(socket, told->kind, message))
        release_message(socket);
}

static void receive_ping(hs_websocket_t *socket, hs_span_t payload)
{
    if (socket->state == HS_WEBSOCKET_OPEN && !put_frame(socket, HS_WS_PONG, false, payload, NULL))
        (void)no_memory(socket);
}

static void receive_close(hs_websocket_t *socket, const hs_ws_told_t *told)
{
    if (socket->state != HS_WEBSOCKET_OPEN) {
        tell_closed(socket, socket->code, told->piece);
        return;
    }
    (void)put_close(socket, told->code, hs_span("", 0));
    tell_closed(socket, told->code, told->piece);
}

/* False: too many frames in this second. */
static bool count_frame(hs_websocket_t *socket)
{
    uint32_t most = socket->hub->limits->ws_max_frames;
    if (most == 0)
        return true;
    uint16_t second = (uint16_t)(socket->hub->loop->now_ms / 1000);
    if (socket->second != second) {
        socket->second = second;
        socket->frames = 0;
    }
    return ++socket->frames <= most;
}

/* Parses the next event in the ring. */
static hs_ws_event_t next_event(hs_websocket_t *socket, hs_ws_told_t *told,
                                char whole[HS_WS_WHOLE_MAX])
{
    hs_buffers_t *buffers = socket->stream->buffers;
    hs_ring_t *ring = &buffers->ring;
    hs_ws_rules_t rules = { .max_message = socket->hub->limits->ws_max_message,
                            .may_be_coded = socket->codec != NULL };
    uint32_t pending = ring->head - buffers->parsed;
    size_t len = hs_ring_readable(ring, buffers->parsed);
    char *data = hs_ring_at(ring, buffers->parsed);
    if (HS_UNLIKELY(hs_ws_wants_whole(&socket->reader) && len < pending && len < HS_WS_WHOLE_MAX)) {
        len = hs_min(pending, HS_WS_WHOLE_MAX); /* it straddles the ring's end */
        hs_ring_copy(ring, buffers->parsed, whole, (uint32_t)len);
        data = whole;
    }
    size_t taken;
    hs_ws_event_t event = hs_ws_read(&socket->reader, &rules, data, len, &taken, told);
    buffers->parsed += (uint32_t)taken;
    return event;
}

/* Whether there is something to parse now. */
static bool may_go_on(hs_websocket_t *socket, unsigned messages)
{
    hs_stream_t *stream = socket->stream;
    if (stream == NULL || socket->state == HS_WEBSOCKET_OVER || !hs_websocket_reads(socket) ||
        stream->buffers == NULL)
        return false;
    if (HS_UNLIKELY(hs_stream_unsent(stream) >= HS_STREAM_UNSENT_MAX)) {
        stream->waits_for_drain = true;
        return false;
    }
    if (HS_UNLIKELY(messages >= HS_STREAM_MESSAGES_PER_TURN)) {
        stream->runs_again = true;
        return false;
    }
    return true;
}

void hs_websocket_advance(hs_websocket_t *socket)
{
    char whole[HS_WS_WHOLE_MAX];
    for (unsigned messages = 0; may_go_on(socket, messages);) {
        hs_ws_told_t told = { .piece = { "", 0 } };
        hs_ws_event_t event = next_event(socket, &told, whole);
        if (event == HS_WS_NEED_MORE)
            return;
        socket->active_ms = (uint32_t)socket->hub->loop->now_ms;
        socket->pinged = false;
        if (event != HS_WS_DATA && event != HS_WS_FAILED && !count_frame(socket)) {
            end(socket, HS_WS_POLICY, "too many frames per second");
            return;
        }
        switch (event) {
        case HS_WS_NEED_MORE:
            return;
        case HS_WS_BEGIN:
            begin_frame(socket);
            break;
        case HS_WS_DATA:
            if (!collect(socket, told.piece))
                return;
            if (told.ends) {
                messages++;
                tell_message(socket, &told);
            }
            break;
        case HS_WS_PINGED:
            messages++;
            receive_ping(socket, told.piece);
            hs_buffers_release_parsed(socket->stream->buffers);
            break;
        case HS_WS_PONGED:
            messages++;
            hs_buffers_release_parsed(socket->stream->buffers);
            break;
        case HS_WS_CLOSED:
            receive_close(socket, &told);
            return;
        case HS_WS_FAILED:
            end(socket, hs_ws_problem_code((hs_ws_problem_t)socket->reader.problem),
                hs_ws_problem_text((hs_ws_problem_t)socket->reader.problem));
            return;
        }
    }
}

void hs_websocket_rest(hs_websocket_t *socket)
{
    if (socket->part != NULL && !socket->in_hand && socket->part->message.len == 0)
        free_part(socket);
}

void hs_websocket_taken(hs_websocket_t *socket)
{
    if (!socket->in_hand)
        return;
    release_message(socket);
    if (socket->stream == NULL)
        return;
    mark_dirty(socket);
    hs_websocket_advance(socket);
}

void hs_websocket_resume(hs_websocket_t *socket)
{
    if (!socket->paused)
        return;
    socket->paused = false;
    if (socket->stream == NULL)
        return;
    mark_dirty(socket);
    hs_websocket_advance(socket);
}

void hs_websocket_drained(hs_websocket_t *socket)
{
    if (socket->wants_drain && socket->owner != NULL) {
        socket->wants_drain = false;
        socket->owner->drained(socket);
    }
    if (socket->stream != NULL)
        socket->stream->runs_again = true;
}

/* ---- Frames for many sockets. ---- */

static hs_websocket_frame_t *new_frame(int kind, bool is_coded, hs_span_t payload)
{
    hs_websocket_frame_t *frame = hs_alloc(sizeof(*frame) + HS_WS_HEAD_MAX + payload.len);
    if (frame == NULL)
        return NULL;
    *frame = (hs_websocket_frame_t){ .references = 1, .kind = (uint8_t)kind };
    frame->head_len =
        (uint8_t)hs_ws_put_head(frame->bytes, (hs_ws_opcode_t)kind, true, is_coded, payload.len);
    frame->len = frame->head_len + payload.len;
    if (payload.len > 0)
        memcpy(frame->bytes + frame->head_len, payload.data, payload.len);
    return frame;
}

hs_websocket_frame_t *hs_websocket_frame_new(int kind, hs_span_t message)
{
    return new_frame(kind, false, message);
}

void hs_websocket_frame_release(hs_websocket_frame_t *frame)
{
    if (--frame->references > 0)
        return;
    if (frame->coded != NULL)
        hs_websocket_frame_release(frame->coded);
    hs_free(frame);
}

/* The frame encoded by the socket's codec, if others use that too. */
static hs_websocket_frame_t *coded_frame(const hs_websocket_t *socket, hs_websocket_frame_t *frame)
{
    hs_websocket_codec_t *codec = socket->codec;
    if (codec == NULL || !codec->is_shared || (frame->codec != NULL && frame->codec != codec))
        return frame;
    if (frame->codec == NULL) {
        hs_span_t message = hs_span(frame->bytes + frame->head_len, frame->len - frame->head_len);
        hs_buf_t coded = { 0 };
        frame->codec = codec;
        if (codec->encode(codec, frame->kind, message, &coded))
            frame->coded = new_frame(frame->kind, true, hs_span(coded.data, coded.len));
        hs_buf_free(&coded);
    }
    return frame->coded != NULL ? frame->coded : frame;
}

static void release_frame(void *context, uintptr_t token)
{
    (void)token;
    hs_websocket_frame_release(context);
}

int hs_websocket_send_frame(hs_websocket_t *socket, hs_websocket_frame_t *frame)
{
    int result = check_sending(socket);
    if (result != HS_OK)
        return result;
    size_t payload = frame->len - frame->head_len;
    frame = coded_frame(socket, frame);
    bool is_copied = frame->len <= COPY_MAX || socket->stream == NULL;
    hs_buf_t *to = output(socket, is_copied ? frame->len : 0);
    if (to == NULL)
        return no_memory(socket);
    if (is_copied) {
        hs_buf_put(to, frame->bytes, frame->len);
    } else {
        const hs_release_t release = { release_frame, frame, 0 };
        if (!hs_out_pin(&socket->stream->buffers->out, frame->bytes, frame->len, release))
            return no_memory(socket);
        frame->references++;
    }
    return after_sending(socket, payload);
}
