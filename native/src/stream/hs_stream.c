#include "stream/hs_stream.h"

#include <errno.h>

#include "os/hs_beneath.h"
#include "os/hs_page_cache.h"
#include "stream/hs_readahead.h"

/* Bytes that one stream may send per turn, so that a large response does not delay others. */
#define SEND_PER_TURN (1024 * 1024)
/* Bytes of a file that are checked for in the page cache at a time. */
#define FILE_WINDOW ((size_t)1024 * 1024)

void hs_loop_init(hs_loop_t *loop, hs_ev_t *ev, const hs_transport_t *transport, uint64_t now_ms)
{
    loop->ev = ev;
    loop->transport = transport;
    loop->now_ms = now_ms;
    hs_wheel_init(&loop->wheel, now_ms);
    hs_list_init(&loop->to_send);
    hs_list_init(&loop->held);
    hs_list_init(&loop->again);
}

static void on_watcher_event(hs_ev_t *ev, hs_ev_io_t *watcher, unsigned events)
{
    hs_stream_on_event(hs_ev_context(ev), (hs_stream_t *)(void *)watcher, events);
}

int hs_stream_open(hs_loop_t *loop, hs_stream_t *stream, int fd, const hs_protocol_t *protocol)
{
    *stream = (hs_stream_t){ .protocol = protocol,
                             .transport = loop->transport,
                             .writable = true,
                             .observed = loop->on_event_done != NULL,
                             .reads = true };
    hs_wheel_entry_init(&stream->timer);
    hs_list_init(&stream->turn);
    stream->watcher.fd = fd;
    if (loop->ev == NULL)
        return 0;
    /* Edge-triggered for both directions from the start: the steady state needs no epoll_ctl. */
    unsigned interest = HS_EV_READ | HS_EV_WRITE | HS_EV_PEER_SHUT | HS_EV_EDGE;
    return hs_ev_io_start(loop->ev, &stream->watcher, fd, interest, on_watcher_event);
}

int hs_stream_connect(hs_loop_t *loop, hs_stream_t *stream, const hs_sock_endpoint_t *endpoint,
                      const hs_protocol_t *protocol)
{
    int fd = hs_sock_connect(endpoint);
    if (fd < 0)
        return fd;
    int result = hs_stream_open(loop, stream, fd, protocol);
    if (result < 0) {
        hs_sock_close(fd);
        return result;
    }
    stream->connecting = true;
    stream->observed = false;
    stream->writable = false;
    return 0;
}

/* An outbound stream's first event tells whether connecting succeeded. True: it is connected. */
static bool finish_connecting(hs_loop_t *loop, hs_stream_t *stream)
{
    int result = hs_sock_connect_result(stream->watcher.fd);
    if (result == -EINPROGRESS)
        return false;
    stream->connecting = false;
    if (result < 0) {
        stream->protocol->on_error(loop, stream, -result);
        return false;
    }
    stream->protocol->on_connected(loop, stream);
    return !stream->closed;
}

static void on_watcher_closed(hs_ev_t *ev, hs_ev_io_t *watcher)
{
    hs_stream_t *stream = (hs_stream_t *)(void *)watcher;
    stream->protocol->on_closed(hs_ev_context(ev), stream);
}

void hs_stream_close(hs_loop_t *loop, hs_stream_t *stream)
{
    bool kept = stream->kept;
    int fd = stream->watcher.fd;
    if (kept)
        hs_ledger_remove(loop->ledger, fd);
    stream->kept = false;
    hs_list_remove(&stream->turn);
    hs_wheel_disarm(&loop->wheel, &stream->timer);
    hs_stream_give_back(loop, stream);
    if (loop->ev != NULL)
        hs_ev_io_close(loop->ev, &stream->watcher, on_watcher_closed);
    else
        stream->protocol->on_closed(loop, stream);
    if (kept)
        hs_ledger_forget(loop->ledger, fd);
}

/* Output of pipelined responses is sent together if the next one comes soon. */
static void queue_to_send(hs_loop_t *loop, hs_stream_t *stream, size_t unsent)
{
    bool hold = stream->holds && unsent < HS_STREAM_LOW_WATER;
    if (hold && hs_list_empty(&loop->held))
        loop->held_since_ns = loop->now_ns;
    hs_list_push_back(hold ? &loop->held : &loop->to_send, &stream->turn);
}

static void update(hs_loop_t *loop, hs_stream_t *stream)
{
    stream->protocol->update(loop, stream);
    hs_list_remove(&stream->turn);
    if (HS_UNLIKELY(stream->shuts_write && !stream->write_shut && !stream->closed)) {
        stream->write_shut = true;
        stream->transport->shutdown_write(stream);
    }
    if (stream->observed && loop->on_event_done(loop, stream))
        return;
    if (stream->closed) {
        hs_stream_close(loop, stream);
        return;
    }
    size_t unsent = hs_stream_unsent(stream);
    /* The low mark may be reached already: that is reported from the list as well. */
    bool is_drained = stream->waits_for_drain && unsent <= HS_STREAM_LOW_WATER;
    bool may_send = unsent > 0 && stream->writable && stream->buffers->awaits == NULL;
    if (may_send || HS_UNLIKELY(is_drained))
        queue_to_send(loop, stream, unsent);
    else if (stream->runs_again || (stream->readable && stream->reads))
        hs_list_push_back(&loop->again, &stream->turn);
    if (stream->deadline_ms != 0)
        hs_wheel_arm(&loop->wheel, &stream->timer, stream->deadline_ms);
}

void hs_stream_update(hs_loop_t *loop, hs_stream_t *stream)
{
    bool kept = stream->kept;
    update(loop, stream);
    if (kept)
        hs_ledger_rest(loop->ledger);
}

void hs_stream_set_protocol(hs_loop_t *loop, hs_stream_t *stream, const hs_protocol_t *protocol)
{
    (void)loop;
    stream->protocol = protocol;
    stream->discards = stream->waits_for_drain = stream->holds = false;
    stream->runs_again = true;
    stream->deadline_ms = 0;
}

/* Where to receive, in up to two pieces; 0: nowhere. */
static int recv_pieces(hs_loop_t *loop, hs_stream_t *stream, size_t *into, struct iovec iov[2])
{
    *into = 0;
    if (stream->discards) {
        iov[0] = (struct iovec){ loop->discard, sizeof(loop->discard) };
        return 1;
    }
    if (!hs_stream_lease(loop, stream)) {
        stream->protocol->on_error(loop, stream, ENOMEM);
        return 0;
    }
    const hs_ring_t *ring = &stream->buffers->ring;
    char *at = NULL;
    if (stream->protocol->recv_into != NULL)
        at = stream->protocol->recv_into(stream, into);
    if (*into == 0)
        return hs_ring_write_vec(ring, iov);
    /* Further bytes go to the ring in the same call. */
    iov[0] = (struct iovec){ at, *into };
    struct iovec behind[2];
    if (hs_ring_write_vec(ring, behind) == 0)
        return 1;
    iov[1] = behind[0];
    return 2;
}

static void take_received(hs_stream_t *stream, size_t into, size_t received)
{
    size_t part = hs_min(into, received);
    if (part > 0)
        stream->protocol->received_into(stream, part);
    hs_ring_commit(&stream->buffers->ring, (uint32_t)(received - part));
}

void hs_stream_receive(hs_loop_t *loop, hs_stream_t *stream)
{
    struct iovec iov[2];
    size_t into;
    int count = recv_pieces(loop, stream, &into, iov);
    if (count == 0)
        return;
    size_t room = iov[0].iov_len + (count > 1 ? iov[1].iov_len : 0);
    if (stream->kept && !stream->discards)
        hs_stream_note(loop, stream, into, HS_STAGE_RECEIVING);
    ptrdiff_t received = stream->transport->recv(stream, iov, count);
    if (received > 0) {
        /* A short read has emptied the socket: the next byte is a new edge. */
        stream->readable = (size_t)received == room || stream->shut_seen;
        loop->bytes_in += (size_t)received;
        if (!stream->discards)
            take_received(stream, into, (size_t)received);
        atomic_signal_fence(memory_order_seq_cst);
        stream->taken += (uint32_t)received;
        stream->protocol->on_data(loop, stream);
    } else if (received == 0) {
        stream->readable = false;
        stream->protocol->on_end(loop, stream);
    } else if (received == -EAGAIN || received == -EINTR) {
        stream->readable = received == -EINTR;
    } else {
        stream->protocol->on_error(loop, stream, (int)-received);
    }
}

void hs_stream_on_event(hs_loop_t *loop, hs_stream_t *stream, unsigned events)
{
    if (loop->on_turn != NULL)
        loop->on_turn(loop);
    if (HS_UNLIKELY(stream->connecting) && !finish_connecting(loop, stream)) {
        hs_stream_update(loop, stream);
        return;
    }
    if (events & HS_EV_WRITE)
        stream->writable = true;
    if (events & (HS_EV_READ | HS_EV_PEER_SHUT | HS_EV_HANGUP))
        stream->readable = true;
    if (HS_UNLIKELY(events & (HS_EV_PEER_SHUT | HS_EV_HANGUP)))
        stream->shut_seen = true;
    if (stream->readable && stream->reads)
        hs_stream_receive(loop, stream);
    else if (events & HS_EV_HANGUP)
        stream->protocol->on_error(loop, stream, ECONNRESET);
    else if (events & HS_EV_PEER_SHUT)
        stream->protocol->on_peer_shut(loop, stream);
    hs_stream_update(loop, stream);
}

/* The announced length can no longer be sent. */
static bool has_changed(const hs_out_segment_t *file)
{
    hs_file_info_t now;
    return file->modified_ns != HS_OUT_ANY_TIME &&
           (hs_file_stat(file->file, &now) < 0 || now.modified_ns != file->modified_ns);
}

/* How much can be sent without waiting for the disk; 0: the stream waits until it is read. */
static size_t resident_bytes(hs_loop_t *loop, hs_stream_t *stream, hs_out_segment_t *file)
{
    size_t window = hs_min(file->left, FILE_WINDOW);
    if (loop->readahead == NULL)
        return window;
    if (file->resident > file->offset)
        return (size_t)(file->resident - file->offset);
    size_t resident = hs_page_cache_resident(file->file, file->offset, window);
    if (HS_UNLIKELY(resident == 0)) {
        if (hs_readahead_begin(loop->readahead, stream, file->file, file->offset, file->left))
            return 0;
        resident = window;
    }
    file->resident = file->offset + resident;
    return resident;
}

/* Sends a piece of a file: as send_next; -EAGAIN also while it is read from disk. */
static ptrdiff_t send_file(hs_loop_t *loop, hs_stream_t *stream, hs_out_segment_t *file)
{
    size_t len = resident_bytes(loop, stream, file);
    if (len == 0)
        return -EAGAIN;
    if (has_changed(file))
        return -EIO;
    ptrdiff_t sent = stream->transport->sendfile(stream, file->file, file->offset, len);
    /* The file became shorter. Before that there is a partial send, which therefore does not mean
     * that the transport is full. */
    return sent == 0 ? -EIO : sent;
}

/* Passes the next run of output to the transport: -errno, or bytes. `*is_full`: it would accept no
 * more. */
static ptrdiff_t send_next(hs_loop_t *loop, hs_stream_t *stream, bool *is_full)
{
    *is_full = false;
    const hs_out_t *out = &stream->buffers->out;
    hs_out_segment_t *file = hs_out_next_file(out);
    if (HS_UNLIKELY(file != NULL))
        return send_file(loop, stream, file);
    struct iovec iov[HS_OUT_IOV_MAX];
    int count = hs_out_pieces(out, iov);
    size_t wanted = iov[0].iov_len;
    for (int i = 1; i < count; i++)
        wanted += iov[i].iov_len;
    bool more = wanted < hs_out_unsent(out);
    ptrdiff_t sent = stream->transport->send(stream, iov, count, more);
    *is_full = sent < (ptrdiff_t)wanted;
    return sent;
}

/* Sends until nothing is unsent, the transport is full or the turn's share is used up. Returns 0,
 * or the errno that ended the stream. */
static int send_unsent(hs_loop_t *loop, hs_stream_t *stream)
{
    size_t budget = SEND_PER_TURN;
    while (hs_stream_unsent(stream) > 0) {
        hs_buffers_t *buffers = stream->buffers;
        bool is_full;
        ptrdiff_t sent = send_next(loop, stream, &is_full);
        if (HS_UNLIKELY(buffers->awaits != NULL))
            return 0; /* the transport may have room */
        if (sent < 0) {
            stream->writable = sent == -EINTR;
            return sent == -EAGAIN || sent == -EINTR ? 0 : (int)-sent;
        }
        loop->bytes_out += (size_t)sent;
        buffers->took += (uint32_t)sent;
        stream->given += (uint32_t)sent;
        hs_out_taken(&buffers->out, (size_t)sent);
        if (is_full) {
            stream->writable = false;
            return 0;
        }
        if ((size_t)sent >= budget)
            return 0;
        budget -= (size_t)sent;
    }
    return 0;
}

static void note_sending(hs_loop_t *loop, const hs_stream_t *stream)
{
    hs_note_t *note = hs_ledger_note(loop->ledger);
    note->unsent = hs_stream_unsent(stream);
    note->given = stream->given;
    hs_ledger_put(loop->ledger, stream, HS_STAGE_SENDING);
}

static void send_stream(hs_loop_t *loop, hs_stream_t *stream)
{
    if (stream->kept)
        note_sending(loop, stream);
    int error = send_unsent(loop, stream);
    if (HS_UNLIKELY(error != 0)) {
        stream->protocol->on_error(loop, stream, error);
    } else if (HS_UNLIKELY(stream->waits_for_drain) &&
               hs_stream_unsent(stream) <= HS_STREAM_LOW_WATER) {
        stream->waits_for_drain = false;
        stream->protocol->on_drained(loop, stream);
    }
    hs_stream_update(loop, stream);
}

/* Every stream in the list once; those added meanwhile wait for the next turn. */
static void for_each_once(hs_loop_t *loop, hs_list_t *list,
                          void (*visit)(hs_loop_t *, hs_stream_t *))
{
    hs_list_t batch;
    hs_list_init(&batch);
    hs_list_take_all(&batch, list);
    while (!hs_list_empty(&batch)) {
        hs_stream_t *stream = HS_CONTAINER_OF(batch.next, hs_stream_t, turn);
        hs_list_remove(&stream->turn);
        visit(loop, stream);
    }
}

static void resume(hs_loop_t *loop, hs_stream_t *stream)
{
    if (stream->runs_again) {
        if (stream->kept && stream->buffers != NULL)
            hs_stream_note(loop, stream, 0, HS_STAGE_READING);
        stream->runs_again = false;
        stream->protocol->on_data(loop, stream);
    } else {
        hs_stream_receive(loop, stream);
    }
    hs_stream_update(loop, stream);
}

void hs_loop_resume(hs_loop_t *loop)
{
    for_each_once(loop, &loop->again, resume);
}

void hs_loop_send(hs_loop_t *loop, uint64_t hold_ns)
{
    if (!hs_list_empty(&loop->held) && loop->now_ns - loop->held_since_ns >= hold_ns)
        hs_list_take_all(&loop->to_send, &loop->held);
    for_each_once(loop, &loop->to_send, send_stream);
}

uint32_t hs_stream_acknowledged(hs_stream_t *stream)
{
    return stream->buffers->took - (uint32_t)stream->transport->unacknowledged(stream);
}

static uint64_t deadline_of(hs_wheel_entry_t *entry)
{
    return HS_CONTAINER_OF(entry, hs_stream_t, timer)->deadline_ms;
}

static void on_expired(void *context, hs_wheel_entry_t *entry)
{
    hs_stream_t *stream = HS_CONTAINER_OF(entry, hs_stream_t, timer);
    hs_loop_t *loop = context;
    bool is_timer = stream->protocol->update == NULL; /* stream/hs_timer.h: it may be gone now */
    if (stream->kept)
        hs_ledger_touch(loop->ledger, stream);
    stream->protocol->on_deadline(context, stream);
    if (!is_timer)
        hs_stream_update(context, stream);
}

void hs_loop_check_deadlines(hs_loop_t *loop, uint64_t horizon_ms)
{
    hs_wheel_advance(&loop->wheel, horizon_ms, deadline_of, on_expired, loop);
}
