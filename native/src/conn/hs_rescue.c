#include "conn/hs_rescue.h"

#include "exec/hs_job.h"

/* The maximum number of pieces of output to follow. */
#define PIECES_MAX 64

/* ---- What may be read. */

static bool is_block(const hs_rescue_blocks_t *blocks, const void *block)
{
    uintptr_t offset = (uintptr_t)block - (uintptr_t)blocks->memory;
    return block != NULL && blocks->block_size > 0 && offset < blocks->block_size * blocks->count &&
           offset % blocks->block_size == 0;
}

static bool lies_in(const char *memory, size_t size, const void *data, size_t len)
{
    uintptr_t offset = (uintptr_t)data - (uintptr_t)memory;
    return data != NULL && offset < size && len <= size - offset;
}

static bool is_kept(const hs_rescue_view_t *view, const void *data, size_t len)
{
    return lies_in(view->kept, view->kept_size, data, len);
}

static bool is_in_buffers(const hs_rescue_view_t *view, const void *data, size_t len)
{
    const hs_rescue_blocks_t *blocks = &view->buffers;
    return lies_in(blocks->memory, blocks->block_size * blocks->count, data, len);
}

static bool is_readable(const hs_rescue_view_t *view, const void *data, size_t len)
{
    return is_kept(view, data, len) || is_in_buffers(view, data, len);
}

/* ---- Copies of the structs, which cannot change while they are examined. */

typedef struct subject {
    const hs_rescue_view_t *view;
    const hs_rescue_kernel_t *kernel;
    hs_rescue_t *out;
    hs_conn_t conn;
    bool has_buffers;
    hs_buffers_t buffers;
    const hs_out_segment_t *inlined; /* of the buffers, in the dead process's memory */
    bool has_job;
    hs_job_t job;
    hs_note_t note;
    size_t unsent; /* this many last bytes of the output chain must be sent */
    size_t mark;   /* the chain ends here */
} subject_t;

static bool copy_subject(subject_t *s, const void *conn, int fd)
{
    const hs_rescue_view_t *view = s->view;
    if (!is_block(&view->conns, conn))
        return false;
    memcpy(&s->conn, conn, sizeof(s->conn));
    const hs_stream_t *stream = &s->conn.stream;
    /* TLS state is in the dead process, even if a PROXY header still comes first. */
    if (stream->watcher.fd != fd || stream->transport != view->transport || s->conn.tls != NULL ||
        !hs_conn_is_plain(&s->conn))
        return false;
    s->has_buffers = stream->buffers != NULL;
    if (s->has_buffers) {
        if (!is_block(&view->buffers, stream->buffers))
            return false;
        memcpy(&s->buffers, stream->buffers, sizeof(s->buffers));
        s->inlined = &stream->buffers->out.inlined;
        const hs_ring_t *ring = &s->buffers.ring;
        if (ring->capacity != view->ring_size || !hs_is_power_of_two(ring->capacity) ||
            !is_in_buffers(view, ring->data, ring->capacity) || hs_ring_used(ring) > ring->capacity)
            return false;
    }
    s->has_job = s->conn.job != NULL;
    if (!s->has_job)
        return true;
    if (!is_block(&view->jobs, s->conn.job))
        return false;
    memcpy(&s->job, s->conn.job, sizeof(s->job));
    return true;
}

/* ---- Bytes of responses still to be sent. */

typedef struct pieces {
    struct iovec of[PIECES_MAX];
    size_t count;
    size_t len;
} pieces_t;

static bool add_piece(const hs_rescue_view_t *view, pieces_t *pieces, const char *data, size_t len)
{
    if (len == 0)
        return true;
    if (pieces->count == PIECES_MAX || !is_kept(view, data, len))
        return false;
    pieces->of[pieces->count++] = (struct iovec){ (void *)(uintptr_t)data, len };
    pieces->len += len;
    return true;
}

/* The whole chain up to its mark, including what was sent: only its end is reliable, because that
 * does not change while the chain is sent. */
static bool collect_pieces(const subject_t *s, pieces_t *pieces)
{
    const hs_rescue_view_t *view = s->view;
    const hs_out_t *out = &s->buffers.out;
    size_t end = hs_min(s->mark, out->bytes.len);
    const hs_out_segment_t *at = out->first;
    size_t from = 0;
    for (int i = 0; at != NULL; i++) {
        hs_out_segment_t segment;
        if (i == PIECES_MAX || (at != s->inlined && !is_kept(view, at, sizeof(segment))))
            return false;
        memcpy(&segment, at, sizeof(segment));
        if (segment.at > end)
            break;
        /* Memory of the dead process, or a file that may not be open elsewhere. */
        if (segment.kind != HS_OUT_OWNED || segment.at < from ||
            !add_piece(view, pieces, out->bytes.data + from, segment.at - from) ||
            !add_piece(view, pieces, segment.owned.data, segment.owned.len))
            return false;
        from = segment.at;
        at = segment.next;
    }
    return add_piece(view, pieces, out->bytes.data + from, end - from);
}

static bool copy_unsent(const subject_t *s)
{
    hs_rescue_t *out = s->out;
    if (s->unsent == 0)
        return true;
    pieces_t pieces = { .count = 0 };
    if (!s->has_buffers || s->unsent > sizeof(out->unsent) || !collect_pieces(s, &pieces) ||
        pieces.len < s->unsent)
        return false;
    size_t skip = pieces.len - s->unsent;
    size_t len = 0;
    for (size_t i = 0; i < pieces.count; i++) {
        size_t skipped = hs_min(skip, pieces.of[i].iov_len);
        size_t part = pieces.of[i].iov_len - skipped;
        memcpy(out->unsent + len, (const char *)pieces.of[i].iov_base + skipped, part);
        skip -= skipped;
        len += part;
    }
    out->moved.unsent = (uint32_t)len;
    return true;
}

/* ---- Received bytes for a successor to handle again. */

static bool append_received(subject_t *s, const char *data, size_t len)
{
    hs_rescue_t *out = s->out;
    if (len == 0)
        return true;
    if (len > sizeof(out->received) - out->moved.len || !is_readable(s->view, data, len))
        return false;
    memcpy(out->received + out->moved.len, data, len);
    out->moved.len += (uint32_t)len;
    return true;
}

static bool append_ring(subject_t *s, uint32_t from, uint32_t head)
{
    const hs_ring_t *ring = &s->buffers.ring;
    uint32_t len = head - from;
    if (len == 0)
        return true;
    if (!s->has_buffers || len > ring->capacity)
        return false;
    uint32_t first = (uint32_t)hs_min(len, hs_ring_room(ring, from));
    return append_received(s, hs_ring_at(ring, from), first) &&
           append_received(s, ring->data, len - first);
}

/*
 * Restores the delimiters of a complete head that were overwritten with NULs: after the target,
 * names and values. A head accepted by llhttp has no others.
 */
static void restore_head(char *text, size_t len)
{
    size_t line = 0;
    bool has_begun = false;
    bool has_colon = false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\0') {
            bool ends_line = i + 1 < len && text[i + 1] == '\n';
            bool is_name = has_begun && !has_colon;
            text[i] = is_name ? ':' : ends_line ? '\r' : ' ';
            has_colon = has_colon || is_name;
        } else if (text[i] == ':') {
            has_colon = true;
        } else if (text[i] == '\n') {
            bool is_empty = i - line <= 1;
            if (is_empty && has_begun)
                return;
            has_begun = has_begun || !is_empty;
            has_colon = false;
            line = i + 1;
        }
    }
}

/* Whether llhttp has seen the end of the current message's head. */
static bool has_whole_head(const subject_t *s)
{
    return s->has_job && s->conn.http1.reading != HS_READING_IDLE &&
           s->job.request.msg.base != NULL;
}

/* A message whose head and content are outside the ring, and the bytes in the ring after it. */
static bool append_message(subject_t *s, const char *content, size_t content_len, uint32_t behind)
{
    const hs_msg_t *msg = &s->job.request.msg;
    if (!append_received(s, msg->base, msg->head_len))
        return false;
    restore_head(s->out->received, s->out->moved.len);
    return append_received(s, content, content_len) &&
           (!s->has_buffers || append_ring(s, behind, s->buffers.ring.head));
}

/* ---- Decisions. */

static void be_closed(subject_t *s, bool is_handled)
{
    s->out->fate = HS_RESCUE_CLOSE;
    s->out->is_handled = is_handled;
    s->out->moved = (hs_conn_moved_t){ 0 };
    s->out->claim = NULL;
}

static void be_refused(subject_t *s, bool is_handled)
{
    hs_rescue_t *out = s->out;
    out->fate = HS_RESCUE_REFUSE;
    out->is_handled = is_handled;
    out->claim = NULL;
    out->moved.len = 0;
    out->moved.refuses = true;
    out->moved.is_head = s->has_job && s->job.request.msg.method == HTTP_HEAD;
}

/* Hands over the collected bytes, unless they were replayed before. */
static void be_handed_over(subject_t *s)
{
    hs_rescue_t *out = s->out;
    if (out->moved.len > 0 && out->moved.replayed) {
        be_refused(s, false);
        return;
    }
    out->moved.replayed = out->moved.len > 0;
    out->fate = out->moved.unsent > 0 ? HS_RESCUE_OWING
                : out->moved.len > 0  ? HS_RESCUE_REPLAY
                                      : HS_RESCUE_IDLE;
}

/* A handler has started, or a response was partly written. */
static void decide_begun(subject_t *s)
{
    if (s->conn.http1.head_sent)
        be_closed(s, true);
    else
        be_refused(s, true);
}

static void decide_away(subject_t *s)
{
    const hs_job_t *job = &s->job;
    const hs_msg_t *msg = &job->request.msg;
    bool is_queued =
        s->has_job &&
        atomic_load_explicit(&s->conn.job->state, memory_order_acquire) == HS_JOB_QUEUED &&
        !s->conn.http1.passes_content && !msg->chunked && !s->conn.replayed &&
        msg->body.len == (size_t)msg->content_length;
    uint32_t behind = s->has_buffers ? s->buffers.ring.tail : 0;
    if (!is_queued) {
        decide_begun(s);
        return;
    }
    if (!append_message(s, msg->body.data, msg->body.len, behind)) {
        be_refused(s, false);
        return;
    }
    s->out->claim = &s->conn.job->state;
    be_handed_over(s);
}

/* The structs are consistent, possibly after adding what the kernel reports. */
static void decide_settled(subject_t *s)
{
    const hs_http1_t *http1 = &s->conn.http1;
    const hs_buffers_t *buffers = &s->buffers;
    if (!copy_unsent(s)) {
        be_closed(s, s->conn.away);
        return;
    }
    if (s->conn.phase == HS_CONN_CODING) { /* the rest of its response cannot be made */
        be_closed(s, true);
        return;
    }
    if (s->conn.phase == HS_CONN_FLUSHING) {
        s->out->moved.closes = true;
        s->out->fate = HS_RESCUE_OWING;
        if (!s->has_buffers)
            be_closed(s, false);
        return;
    }
    if (s->conn.away) {
        decide_away(s);
        return;
    }
    bool fits;
    switch (http1->reading) {
    case HS_READING_IDLE:
    case HS_READING_HEAD:
    case HS_READING_CONTENT_RING:
        fits = !s->has_buffers || append_ring(s, buffers->ring.tail, buffers->ring.head);
        if (fits && http1->reading == HS_READING_CONTENT_RING && has_whole_head(s))
            restore_head(s->out->received, s->out->moved.len);
        break;
    case HS_READING_CONTENT_BUFFER:
        fits = s->has_job && s->has_buffers &&
               append_message(s, s->job.content.data, s->job.content.len, buffers->parsed);
        break;
    case HS_READING_CONTENT_CHUNKED:
    case HS_READING_CONTENT_SIZED:
    case HS_READING_TAKEN_OVER:
    case HS_READING_COMPLETE:
    case HS_READING_STOPPED:
    default:
        decide_begun(s);
        return;
    }
    if (fits)
        be_handed_over(s);
    else
        be_refused(s, false);
}

/* In recv: what the kernel delivered since the note is where it was told to put it. */
static void decide_receiving(subject_t *s)
{
    uint32_t received = s->kernel->taken - s->note.taken;
    if (!s->kernel->is_known) {
        be_closed(s, false);
        return;
    }
    if (received > 0) {
        hs_ring_t *ring = &s->buffers.ring;
        size_t into = hs_min(received, s->note.room);
        uint64_t length = s->has_job ? s->job.request.msg.content_length : 0;
        if (!s->has_buffers || s->note.room > length ||
            s->note.head + (received - (uint32_t)into) - s->note.from > ring->capacity) {
            be_closed(s, false);
            return;
        }
        ring->tail = s->note.from;
        ring->head = s->note.head + (received - (uint32_t)into);
        if (s->note.room > 0)
            s->job.content.len = (size_t)length - s->note.room + into;
    }
    s->out->moved.taken = s->kernel->taken;
    decide_settled(s);
}

/* In send: what the kernel accepted since the note must not be sent again. */
static void decide_sending(subject_t *s)
{
    uint32_t sent = s->kernel->given - s->note.given;
    if (!s->kernel->is_known || sent > s->note.unsent) {
        be_closed(s, false);
        return;
    }
    s->out->moved.given = s->kernel->given;
    s->unsent = s->note.unsent - sent;
    decide_settled(s);
}

/* No handler has started: everything from the note on is redone. */
static void decide_reading(subject_t *s)
{
    s->unsent = s->note.unsent;
    s->mark = s->note.mark;
    uint32_t head = s->note.head + (s->conn.stream.taken - s->note.taken);
    if (!copy_unsent(s)) {
        be_closed(s, false);
    } else if (!append_ring(s, s->note.from, head)) {
        be_refused(s, false);
    } else {
        if (has_whole_head(s))
            restore_head(s->out->received, s->out->moved.len);
        be_handed_over(s);
    }
}

static void decide_answering(subject_t *s)
{
    s->unsent = s->note.unsent;
    s->mark = s->note.mark;
    if (copy_unsent(s))
        be_refused(s, true);
    else
        be_closed(s, true);
}

const void *hs_rescue_current(const hs_rescue_view_t *view, hs_stage_t *stage)
{
    uintptr_t at = hs_ledger_get(view->ledger);
    *stage = (hs_stage_t)(at & HS_LEDGER_STAGE_BITS);
    return (const void *)(at & ~(uintptr_t)HS_LEDGER_BITS);
}

static void decide(subject_t *s, hs_stage_t stage)
{
    switch (stage) {
    case HS_STAGE_NONE:
        decide_settled(s);
        break;
    case HS_STAGE_RECEIVING:
        decide_receiving(s);
        break;
    case HS_STAGE_SENDING:
        decide_sending(s);
        break;
    case HS_STAGE_READING:
        decide_reading(s);
        break;
    case HS_STAGE_ANSWERING:
        decide_answering(s);
        break;
    case HS_STAGE_CLOSING:
    default:
        be_closed(s, s->conn.away);
        break;
    }
}

void hs_rescue_decide(const hs_rescue_view_t *view, const void *conn, int fd,
                      const hs_rescue_kernel_t *kernel, hs_rescue_t *out)
{
    subject_t s = { .view = view, .kernel = kernel, .out = out, .mark = SIZE_MAX };
    hs_stage_t stage;
    bool is_current = hs_rescue_current(view, &stage) == conn;
    out->moved = (hs_conn_moved_t){ 0 };
    out->claim = NULL;
    out->is_handled = false;
    if (!copy_subject(&s, conn, fd) || s.conn.phase >= HS_CONN_LINGERING) {
        be_closed(&s, false);
        return;
    }
    out->moved.answered = s.conn.answered;
    out->moved.replayed = s.conn.replayed;
    out->moved.expects_proxy = hs_conn_expects_proxy(&s.conn);
    out->moved.peer = s.conn.peer;
    out->moved.taken = s.conn.stream.taken;
    out->moved.given = s.conn.stream.given;
    if (s.has_buffers)
        s.unsent = hs_out_unsent(&s.buffers.out);
    if (is_current) {
        bool is_second = (hs_ledger_get(view->ledger) & HS_LEDGER_SLOT_BIT) != 0;
        s.note = view->ledger->notes[is_second ? 1 : 0];
    }
    decide(&s, is_current ? stage : HS_STAGE_NONE);
    if (view->only_idle && out->fate != HS_RESCUE_IDLE)
        be_closed(&s, out->is_handled);
}

static hs_rescue_blocks_t blocks_of(const hs_pool_t *pool)
{
    return (hs_rescue_blocks_t){ pool->memory, pool->block_size, pool->max_blocks };
}

void hs_rescue_view(const hs_conn_env_t *env, hs_rescue_view_t *view)
{
    *view = (hs_rescue_view_t){
        .conns = blocks_of(&env->conn_blocks),
        .jobs = blocks_of(&env->job_blocks),
        .buffers = blocks_of(&env->buffers_blocks),
        .ledger = env->loop.ledger,
        .transport = env->loop.transport,
        .fd_cap = env->loop.ledger->fd_cap,
        .ring_size = env->loop.buffers.ring_size,
    };
    view->kept = hs_kept_memory(&view->kept_size);
    memcpy(view->id_prefix, env->jobs.id_prefix, sizeof(view->id_prefix));
}

void hs_rescue_expose(const hs_rescue_view_t *view)
{
    const hs_rescue_blocks_t *all[] = { &view->conns, &view->jobs, &view->buffers };
    hs_unpoison(view->kept, view->kept_size);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        hs_unpoison(all[i]->memory, all[i]->block_size * all[i]->count);
}

/* In corrupted memory a bool may be neither true nor false. */
static bool is_set(const bool *flag)
{
    uint8_t value;
    memcpy(&value, flag, sizeof(value));
    return value != 0;
}

bool hs_rescue_is_on_worker(const hs_rescue_view_t *view, const void *conn)
{
    hs_conn_t copy;
    if (!is_block(&view->conns, conn))
        return false;
    memcpy(&copy, conn, sizeof(copy));
    return copy.away && is_block(&view->jobs, copy.job) && is_set(&copy.job->in_worker) &&
           atomic_load_explicit(&copy.job->state, memory_order_acquire) == HS_JOB_RUNNING;
}

size_t hs_rescue_request(const hs_rescue_view_t *view, const void *conn, char *head,
                         size_t head_size, char id[HS_REQUEST_ID_CAP])
{
    hs_conn_t copy;
    hs_job_t job;
    if (head_size == 0 || !is_block(&view->conns, conn))
        return 0;
    memcpy(&copy, conn, sizeof(copy));
    if (!is_block(&view->jobs, copy.job))
        return 0;
    memcpy(&job, copy.job, sizeof(job));
    const hs_msg_t *msg = &job.request.msg;
    size_t len = hs_min(msg->head_len, head_size - 1);
    if (len == 0 || !is_readable(view, msg->base, len))
        return 0;
    memcpy(head, msg->base, len);
    restore_head(head, len);
    head[len] = '\0';
    job.id_prefix = view->id_prefix;
    (void)hs_job_format_id(&job, id);
    return len;
}
