#include "net/hs_socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "os/hs_clock.h"

/* Room for one receive: the least, and what a turn takes at most. */
#define RECEIVE_MIN (4 * 1024)
#define RECEIVE_MAX (64 * 1024)

hs_socket_t *hs_socket_new(hs_net_t *net, hs_socket_done_fn done, void *context)
{
    hs_socket_t *socket = hs_alloc_zeroed(1, sizeof(*socket));
    if (socket == NULL)
        return NULL;
    socket->net = net;
    socket->done = done;
    socket->context = context;
    socket->failure = hs_failure_of(HS_FAILURE_NOT_CONNECTED);
    socket->room = RECEIVE_MIN;
    hs_list_init(&socket->all);
    hs_list_push_back(&net->sockets, &socket->all);
    return socket;
}

/* --- outcomes --- */

static hs_socket_progress_t done_at_once(hs_socket_t *socket, hs_socket_side_t side,
                                         hs_failure_t failure)
{
    socket->outcomes[side] = (hs_socket_outcome_t){ .failure = failure };
    return HS_SOCKET_DONE;
}

static void report(hs_socket_t *socket, hs_socket_side_t side, hs_failure_t failure)
{
    if (!socket->waits[side])
        return;
    socket->waits[side] = false;
    socket->deadline_ms[side] = 0;
    socket->outcomes[side].failure = failure;
    socket->done(socket->context, socket, side);
}

static void begin_wait(hs_socket_t *socket, hs_socket_side_t side, uint32_t timeout_ms)
{
    socket->waits[side] = true;
    socket->outcomes[side] = (hs_socket_outcome_t){ .failure = { .kind = HS_FAILURE_NONE } };
    socket->deadline_ms[side] = timeout_ms != 0 ? hs_clock_monotonic_ms() + timeout_ms : 0;
}

static size_t unread(const hs_socket_t *socket)
{
    return socket->in.len - socket->in_at;
}

/* `len` bytes are the outcome, and `drop` bytes after them are consumed as well. */
static void give(hs_socket_t *socket, size_t len, size_t drop)
{
    hs_socket_outcome_t *outcome = &socket->outcomes[HS_SOCKET_READ];
    outcome->data = socket->in.data + socket->in_at;
    outcome->len = len;
    socket->given = len + drop;
    socket->searched = 0;
}

static void take_given(hs_socket_t *socket)
{
    socket->in_at += socket->given;
    socket->given = 0;
    if (unread(socket) > 0)
        return;
    socket->in_at = 0;
    hs_buf_reset(&socket->in, RECEIVE_MAX);
}

/* --- waiting receives --- */

/* True: the outcome is there. */
static bool find_line(hs_socket_t *socket)
{
    const char *from = socket->in.data + socket->in_at;
    size_t len = unread(socket);
    const char *end = len > socket->searched
                          ? memchr(from + socket->searched, '\n', len - socket->searched)
                          : NULL;
    if (end == NULL) {
        socket->searched = len;
        return false;
    }
    size_t line = (size_t)(end - from);
    size_t cr = line > 0 && from[line - 1] == '\r' ? 1 : 0;
    give(socket, line - cr, cr + 1);
    return true;
}

static bool find_pattern(hs_socket_t *socket)
{
    const char *from = socket->in.data + socket->in_at;
    size_t len = unread(socket);
    if (len < socket->pattern_len)
        return false;
    const char *found = memmem(from + socket->searched, len - socket->searched, socket->pattern,
                               socket->pattern_len);
    if (found == NULL) {
        socket->searched = len - socket->pattern_len + 1;
        return false;
    }
    give(socket, (size_t)(found - from), socket->pattern_len);
    return true;
}

static bool find_wanted(hs_socket_t *socket)
{
    size_t len = unread(socket);
    switch (socket->receiving) {
    case HS_RECEIVE_BYTES:
        if (len < socket->wanted)
            return false;
        give(socket, socket->wanted, 0);
        return true;
    case HS_RECEIVE_LINE:
        return find_line(socket);
    case HS_RECEIVE_ANY:
        if (len == 0)
            return false;
        give(socket, socket->wanted != 0 ? hs_min(len, socket->wanted) : len, 0);
        return true;
    case HS_RECEIVE_UNTIL:
        return find_pattern(socket);
    case HS_RECEIVE_MORE:
        if (len <= socket->wanted)
            return false;
        give(socket, len, 0);
        socket->given = 0;
        return true;
    }
    return false;
}

/* How much may be unread before an unsatisfied receive fails. */
static size_t limit_of(const hs_socket_t *socket)
{
    bool is_number = socket->receiving == HS_RECEIVE_BYTES || socket->receiving == HS_RECEIVE_MORE;
    return is_number ? socket->wanted : HS_SOCKET_LINE_MAX + socket->pattern_len;
}

/* --- the end of the connection --- */

static void leave_key(hs_socket_t *socket)
{
    hs_reuse_key_t *key = socket->key;
    socket->key = NULL;
    if (key != NULL && socket->net != NULL)
        hs_reuse_leave(socket->net, key);
}

/* A waiting receive fails, with the data that has arrived. */
static void report_both(hs_socket_t *socket, hs_failure_t failure)
{
    if (socket->waits[HS_SOCKET_READ] && socket->state == HS_SOCKET_OPEN)
        give(socket, unread(socket), 0);
    report(socket, HS_SOCKET_READ, failure);
    report(socket, HS_SOCKET_WRITE, failure);
}

/* The connection was lost; data that arrived before can still be read. */
static void die(hs_socket_t *socket, hs_failure_t failure)
{
    if (socket->state == HS_SOCKET_OVER)
        return;
    if (socket->link != NULL && !socket->link->broken)
        socket->lost = hs_stream_unsent(&socket->link->stream);
    report_both(socket, failure);
    socket->state = HS_SOCKET_OVER;
    socket->failure = failure;
    socket->link = NULL;
    leave_key(socket);
}

static void fail_connect(hs_socket_t *socket, hs_failure_t failure)
{
    socket->state = HS_SOCKET_OVER;
    socket->failure = failure;
    report(socket, HS_SOCKET_READ, failure);
}

/* The connection failed while connecting. */
static void fail_shaking(hs_socket_t *socket, hs_failure_t failure)
{
    hs_link_t *link = socket->link;
    socket->link = NULL;
    link->user = NULL;
    link->stream.closed = true;
    socket->net->counters.failed++;
    fail_connect(socket, failure);
    leave_key(socket);
}

/* The handshake is done, if it is. */
static void finish_shaking(hs_socket_t *socket)
{
    if (socket->state != HS_SOCKET_SHAKING || !socket->link->tls->tls.ready)
        return;
    socket->state = HS_SOCKET_OPEN;
    socket->link->stream.writable = true; /* unless a send finds it full */
    report(socket, HS_SOCKET_READ, hs_failure_of(HS_FAILURE_NONE));
}

static hs_failure_t failure_of(const hs_link_t *link, int error)
{
    if (error == EPROTO && link->tls != NULL)
        return link->tls->tls.failure;
    return hs_failure_of_errno(error);
}

/* --- what the loop tells --- */

static hs_socket_t *socket_of(hs_stream_t *stream)
{
    return hs_link_of(stream)->user;
}

static void on_data(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    hs_socket_t *socket = socket_of(stream);
    hs_ring_t *ring = &stream->buffers->ring;
    uint32_t len = hs_ring_used(ring);
    if (socket == NULL)
        return;
    finish_shaking(socket);
    if (len > 0) {
        if (!hs_buf_reserve(&socket->in, len)) {
            stream->closed = true;
            die(socket, hs_failure_of(HS_FAILURE_NO_MEMORY));
            return;
        }
        hs_ring_copy(ring, ring->tail, socket->in.data + socket->in.len, len);
        socket->in.len += len;
        hs_ring_release(ring, ring->head);
        hs_ring_rewind(ring);
        stream->buffers->parsed = 0;
    }
    if (!socket->waits[HS_SOCKET_READ])
        return;
    if (find_wanted(socket))
        report(socket, HS_SOCKET_READ, hs_failure_of(HS_FAILURE_NONE));
    else if (unread(socket) > limit_of(socket))
        report(socket, HS_SOCKET_READ, hs_failure_of(HS_FAILURE_TOO_LONG));
}

/* Room after the unread data: the same amount again, so that a long message takes few calls. */
static char *recv_into(hs_stream_t *stream, size_t *room)
{
    hs_socket_t *socket = socket_of(stream);
    *room = 0;
    if (socket == NULL)
        return NULL;
    hs_buf_t *in = &socket->in;
    if (socket->in_at > 0 && socket->given == 0) {
        memmove(in->data, in->data + socket->in_at, unread(socket));
        in->len -= socket->in_at;
        socket->in_at = 0;
    }
    if (in->capacity - in->len < socket->room && !hs_buf_reserve(in, socket->room))
        return NULL; /* into the ring, where on_data fails likewise */
    *room = hs_min(in->capacity - in->len, RECEIVE_MAX);
    return in->data + in->len;
}

static void received_into(hs_stream_t *stream, size_t len)
{
    hs_socket_t *socket = socket_of(stream);
    socket->in.len += len;
    if (len >= socket->room && socket->room < RECEIVE_MAX)
        socket->room *= 2;
}

static void on_drained(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    hs_socket_t *socket = socket_of(stream);
    if (socket != NULL)
        report(socket, HS_SOCKET_WRITE, hs_failure_of(HS_FAILURE_NONE));
}

/* Why nothing more can be received. ECONNRESET: not an orderly end, but a reset or an end without
 * close_notify. */
static hs_failure_t end_of_input(const hs_socket_t *socket)
{
    hs_failure_t failure = hs_failure_of(HS_FAILURE_CLOSED);
    const hs_link_t *link = socket->link;
    bool is_cut = link->tls != NULL && !hs_tls_is_over(&link->tls->tls);
    failure.sys_errno = link->broken ? socket->failure.sys_errno : is_cut ? ECONNRESET : 0;
    return failure;
}

/* The peer sends nothing more. It may still read, so output is still sent. */
static void on_end(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    hs_socket_t *socket = socket_of(stream);
    hs_link_of(stream)->ended = true;
    if (socket == NULL || !socket->waits[HS_SOCKET_READ])
        return;
    give(socket, unread(socket), 0);
    report(socket, HS_SOCKET_READ, end_of_input(socket));
}

static void on_nothing(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    (void)stream;
}

/*
 * A reset, or output that the peer does not accept. It may have said why before it closed, like a
 * server that refuses a request: received data can still be read, and then the receive reports the
 * end.
 */
static void on_error(hs_loop_t *loop, hs_stream_t *stream, int error)
{
    (void)loop;
    hs_link_t *link = hs_link_of(stream);
    hs_socket_t *socket = link->user;
    if (socket != NULL && socket->state == HS_SOCKET_SHAKING) {
        fail_shaking(socket, failure_of(link, error));
        return;
    }
    if (socket == NULL || link->broken || error == EPROTO) {
        stream->closed = true;
        link->user = NULL;
        if (socket != NULL)
            die(socket, failure_of(link, error));
        return;
    }
    link->broken = true;
    socket->lost = hs_stream_unsent(stream);
    socket->failure = hs_failure_of_errno(error);
    hs_out_clear(&stream->buffers->out);
    stream->readable = true;
    report(socket, HS_SOCKET_WRITE, socket->failure);
}

static void on_deadline(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    hs_socket_t *socket = socket_of(stream);
    if (socket == NULL)
        return;
    if (socket->state == HS_SOCKET_SHAKING) {
        fail_shaking(socket, hs_failure_of(HS_FAILURE_TIMEOUT));
        return;
    }
    uint64_t now_ms = hs_clock_monotonic_ms();
    uint64_t read_ms = socket->deadline_ms[HS_SOCKET_READ];
    uint64_t write_ms = socket->deadline_ms[HS_SOCKET_WRITE];
    if (read_ms != 0 && read_ms <= now_ms) {
        give(socket, unread(socket), 0);
        report(socket, HS_SOCKET_READ, hs_failure_of(HS_FAILURE_TIMEOUT));
    }
    if (write_ms != 0 && write_ms <= now_ms) {
        stream->closed = true;
        hs_link_of(stream)->user = NULL;
        die(socket, hs_failure_of(HS_FAILURE_TIMEOUT));
    }
}

static void update(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    hs_link_t *link = hs_link_of(stream);
    hs_socket_t *socket = link->user;
    if (socket != NULL && !stream->closed) {
        finish_shaking(socket);
        uint64_t read_ms = socket->deadline_ms[HS_SOCKET_READ];
        uint64_t write_ms = socket->deadline_ms[HS_SOCKET_WRITE];
        stream->reads = socket->waits[HS_SOCKET_READ] && !link->ended;
        stream->deadline_ms =
            read_ms == 0 || (write_ms != 0 && write_ms < read_ms) ? write_ms : read_ms;
    }
    hs_link_updated(link);
}

static void on_closed(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    hs_link_free(hs_link_of(stream));
}

static const hs_protocol_t protocol = {
    .on_data = on_data,
    .recv_into = recv_into,
    .received_into = received_into,
    .on_drained = on_drained,
    .on_connected = on_nothing,
    .on_end = on_end,
    .on_peer_shut = on_nothing, /* on_end comes with the next receive */
    .on_error = on_error,
    .on_deadline = on_deadline,
    .update = update,
    .on_closed = on_closed,
};

/* --- connecting --- */

/* Everything that users of a connection must agree on: each part with its length, so that no two
 * targets have the same key. Returns its length; `to` NULL: only that. */
static size_t put_key(const hs_socket_target_t *target, char *to)
{
    const hs_tls_config_t *tls = &target->tls;
    const uint16_t port = target->path != NULL ? 0 : target->port;
    const char *parts[] = {
        target->path != NULL ? "unix" : "tcp",
        target->path != NULL ? target->path : target->host,
        target->pool,
        !target->secure ? ""
        : tls->verify   ? "verified"
                        : "unverified",
        target->secure ? tls->server_name : NULL,
        target->secure ? tls->ca : NULL,
        target->secure ? tls->cert : NULL,
        target->secure ? tls->key : NULL,
        target->secure ? tls->alpn : NULL,
    };
    size_t at = sizeof(port);
    if (to != NULL)
        memcpy(to, &port, sizeof(port));
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        const uint32_t len = parts[i] != NULL ? (uint32_t)strlen(parts[i]) : 0;
        if (to != NULL) {
            memcpy(to + at, &len, sizeof(len));
            if (len > 0)
                memcpy(to + at + sizeof(len), parts[i], len);
        }
        at += sizeof(len) + len;
    }
    return at;
}

/* The key of a target; usually without allocation. */
typedef struct key {
    char *bytes; /* NULL: out of memory */
    size_t len;
    char inlined[256];
} socket_key_t;

static void key_make(const hs_socket_target_t *target, socket_key_t *key)
{
    key->len = put_key(target, NULL);
    key->bytes = key->len <= sizeof(key->inlined) ? key->inlined : hs_alloc(key->len);
    if (key->bytes != NULL)
        (void)put_key(target, key->bytes);
}

static void key_free(socket_key_t *key)
{
    if (key->bytes != key->inlined)
        hs_free(key->bytes);
}

/* The connection is established; its handshake begins. */
static bool secure_link(hs_socket_t *socket, hs_link_t *link, hs_failure_t *failure)
{
    socket_key_t peer;
    *failure = hs_failure_of(HS_FAILURE_NO_MEMORY);
    key_make(&socket->target, &peer);
    if (peer.bytes != NULL)
        link->tls = hs_tls_client_new(&socket->net->tls, &socket->target.tls, peer.bytes, peer.len,
                                      failure);
    key_free(&peer);
    return link->tls != NULL;
}

static void open_link(hs_socket_t *socket, hs_link_t *link)
{
    socket->state = HS_SOCKET_OPEN;
    socket->link = link;
    link->key = socket->key;
    hs_link_give(link, &protocol, socket);
    hs_stream_update(socket->net->loop, &link->stream);
}

static void on_dialed(void *context, hs_link_t *link, const hs_failure_t *failure)
{
    hs_socket_t *socket = context;
    socket->dial = NULL;
    if (link == NULL) {
        fail_connect(socket, *failure);
        leave_key(socket);
        return;
    }
    if (!socket->target.secure) {
        open_link(socket, link);
        report(socket, HS_SOCKET_READ, hs_failure_of(HS_FAILURE_NONE));
        return;
    }
    hs_failure_t refused;
    if (!secure_link(socket, link, &refused)) {
        hs_link_finish(link);
        fail_connect(socket, refused);
        leave_key(socket);
        return;
    }
    socket->deadline_ms[HS_SOCKET_READ] = socket->connect_deadline_ms;
    open_link(socket, link);
    socket->state = HS_SOCKET_SHAKING;
    hs_stream_update(socket->net->loop, &link->stream);
}

static bool dial(hs_socket_t *socket, hs_failure_t *failure)
{
    hs_dial_target_t target = {
        .path = socket->target.path,
        .host = socket->target.host,
        .port = socket->target.port,
        .deadline_ms = socket->connect_deadline_ms,
    };
    socket->state = HS_SOCKET_DIALING;
    socket->dial = hs_dial_begin(socket->net, &target, on_dialed, socket, failure);
    return socket->dial != NULL;
}

static bool on_pool_ready(hs_reuse_wait_t *wait, hs_link_t *link)
{
    hs_socket_t *socket = HS_CONTAINER_OF(wait, hs_socket_t, wait);
    hs_failure_t failure;
    hs_timer_stop(socket->net->loop, &socket->timer);
    if (link != NULL) {
        open_link(socket, link);
        report(socket, HS_SOCKET_READ, hs_failure_of(HS_FAILURE_NONE));
        return true;
    }
    if (dial(socket, &failure))
        return true;
    socket->key = NULL;
    fail_connect(socket, failure);
    return false;
}

static void leave_queue(hs_socket_t *socket)
{
    hs_timer_stop(socket->net->loop, &socket->timer);
    hs_reuse_cancel(socket->net, socket->key, &socket->wait);
    socket->key = NULL;
}

static void on_queue_timeout(hs_loop_t *loop, hs_timer_t *timer)
{
    (void)loop;
    hs_socket_t *socket = HS_CONTAINER_OF(timer, hs_socket_t, timer);
    leave_queue(socket);
    fail_connect(socket, hs_failure_of(HS_FAILURE_TIMEOUT));
}

/* The target outlives the call: its strings are copied to one block. */
static bool keep_target(hs_socket_t *socket)
{
    hs_socket_target_t *target = &socket->target;
    hs_tls_config_t *tls = &target->tls;
    const char **strings[] = { &target->path, &target->host, &target->pool, &tls->server_name,
                               &tls->ca,      &tls->cert,    &tls->key,     &tls->alpn };
    const size_t count = sizeof(strings) / sizeof(strings[0]);
    size_t size = 1;
    for (size_t i = 0; i < count; i++)
        size += *strings[i] != NULL ? strlen(*strings[i]) + 1 : 0;
    socket->target_text = hs_alloc(size);
    if (socket->target_text == NULL)
        return false;
    char *to = socket->target_text;
    for (size_t i = 0; i < count; i++) {
        if (*strings[i] == NULL)
            continue;
        size_t len = strlen(*strings[i]) + 1;
        memcpy(to, *strings[i], len);
        *strings[i] = to;
        to += len;
    }
    return true;
}

/* Those of the caller, which were not copied. */
static void forget_strings(hs_socket_target_t *target)
{
    target->path = target->host = target->pool = NULL;
    target->tls = (hs_tls_config_t){ .verify = target->tls.verify };
}

/* A pooled connection, or room to open one. */
static hs_reuse_taken_t ask_pool(hs_socket_t *socket, hs_link_t **link)
{
    socket_key_t key;
    hs_reuse_taken_t taken = HS_REUSE_NO_MEMORY;
    key_make(&socket->target, &key);
    if (key.bytes != NULL)
        taken = hs_reuse_take(socket->net, key.bytes, key.len, &socket->target.limits, &socket->key,
                              link, &socket->wait);
    key_free(&key);
    return taken;
}

static hs_socket_progress_t fail_at_once(hs_socket_t *socket, hs_failure_t failure)
{
    socket->waits[HS_SOCKET_READ] = false;
    fail_connect(socket, failure);
    leave_key(socket);
    return done_at_once(socket, HS_SOCKET_READ, failure);
}

hs_socket_progress_t hs_socket_connect(hs_socket_t *socket, const hs_socket_target_t *target)
{
    if (socket->state != HS_SOCKET_NEW || socket->net == NULL)
        return done_at_once(socket, HS_SOCKET_READ, hs_failure_of(HS_FAILURE_BUSY));
    socket->target = *target;
    if (target->tls.server_name == NULL)
        socket->target.tls.server_name = target->host;
    hs_link_t *link = NULL;
    hs_reuse_taken_t taken = target->pooled ? ask_pool(socket, &link) : HS_REUSE_ROOM;
    socket->wait.ready = on_pool_ready;
    begin_wait(socket, HS_SOCKET_READ, target->timeout_ms);
    socket->connect_deadline_ms = socket->deadline_ms[HS_SOCKET_READ];
    socket->deadline_ms[HS_SOCKET_READ] = 0; /* the dial's, or the queue's */
    hs_failure_t failure;
    /* The caller's strings are invalid after this call. */
    if (taken != HS_REUSE_TAKEN && !keep_target(socket)) {
        if (taken == HS_REUSE_WAITS)
            leave_queue(socket);
        taken = HS_REUSE_NO_MEMORY;
    }
    switch (taken) {
    case HS_REUSE_TAKEN:
        socket->waits[HS_SOCKET_READ] = false;
        forget_strings(&socket->target);
        open_link(socket, link);
        return done_at_once(socket, HS_SOCKET_READ, hs_failure_of(HS_FAILURE_NONE));
    case HS_REUSE_ROOM:
        if (dial(socket, &failure))
            return HS_SOCKET_WAITS;
        return fail_at_once(socket, failure);
    case HS_REUSE_WAITS:
        socket->state = HS_SOCKET_QUEUED;
        hs_timer_init(&socket->timer, on_queue_timeout);
        hs_timer_set(socket->net->loop, &socket->timer, socket->connect_deadline_ms);
        return HS_SOCKET_WAITS;
    case HS_REUSE_FULL:
        return fail_at_once(socket, hs_failure_of(HS_FAILURE_QUEUE_FULL));
    case HS_REUSE_NO_MEMORY:
        break;
    }
    return fail_at_once(socket, hs_failure_of(HS_FAILURE_NO_MEMORY));
}

/* --- TLS later --- */

/* The target gets other TLS options; all its strings are copied. */
static bool change_tls(hs_socket_t *socket, const hs_tls_config_t *tls)
{
    char *before = socket->target_text;
    socket->target.secure = true;
    socket->target.tls = *tls;
    if (tls->server_name == NULL)
        socket->target.tls.server_name = socket->target.host;
    if (!keep_target(socket)) {
        socket->target_text = before;
        return false;
    }
    hs_free(before);
    return true;
}

hs_socket_progress_t hs_socket_start_tls(hs_socket_t *socket, const hs_tls_config_t *tls,
                                         uint32_t timeout_ms)
{
    if (socket->state != HS_SOCKET_OPEN || socket->link->broken)
        return done_at_once(socket, HS_SOCKET_READ, socket->failure);
    if (socket->waits[HS_SOCKET_READ] || socket->waits[HS_SOCKET_WRITE] ||
        socket->link->tls != NULL)
        return done_at_once(socket, HS_SOCKET_READ, hs_failure_of(HS_FAILURE_BUSY));
    take_given(socket);
    hs_link_t *link = socket->link;
    link->key = NULL;
    leave_key(socket);
    hs_failure_t failure = hs_failure_of(HS_FAILURE_TLS);
    if (unread(socket) > 0)
        (void)snprintf(failure.detail, sizeof(failure.detail), "%s",
                       "unencrypted bytes before the handshake");
    else if (hs_stream_unsent(&link->stream) > 0)
        (void)snprintf(failure.detail, sizeof(failure.detail), "%s",
                       "unencrypted bytes are unsent");
    else if (!change_tls(socket, tls))
        failure = hs_failure_of(HS_FAILURE_NO_MEMORY);
    else if (secure_link(socket, link, &failure)) {
        begin_wait(socket, HS_SOCKET_READ, timeout_ms);
        socket->state = HS_SOCKET_SHAKING;
        hs_stream_update(socket->net->loop, &link->stream);
        return HS_SOCKET_WAITS;
    }
    hs_socket_end(socket);
    socket->failure = failure;
    return done_at_once(socket, HS_SOCKET_READ, failure);
}

/* --- receiving and sending --- */

hs_socket_progress_t hs_socket_receive(hs_socket_t *socket, hs_socket_receive_t what, size_t wanted,
                                       const char *pattern, uint32_t timeout_ms)
{
    if (socket->waits[HS_SOCKET_READ])
        return done_at_once(socket, HS_SOCKET_READ, hs_failure_of(HS_FAILURE_BUSY));
    take_given(socket);
    begin_wait(socket, HS_SOCKET_READ, timeout_ms);
    socket->receiving = what;
    socket->wanted = wanted;
    socket->searched = 0;
    socket->pattern_len = what == HS_RECEIVE_UNTIL ? wanted : 0;
    hs_failure_t failure = hs_failure_of(HS_FAILURE_NONE);
    if (socket->pattern_len > 0 && socket->pattern_len <= sizeof(socket->pattern))
        memcpy(socket->pattern, pattern, socket->pattern_len);
    if (socket->pattern_len > sizeof(socket->pattern) ||
        ((what == HS_RECEIVE_BYTES || what == HS_RECEIVE_MORE) && wanted > HS_SOCKET_BYTES_MAX)) {
        failure = hs_failure_of(HS_FAILURE_TOO_LONG);
    } else if (!find_wanted(socket)) {
        if (unread(socket) > limit_of(socket)) {
            failure = hs_failure_of(HS_FAILURE_TOO_LONG);
        } else if (socket->state == HS_SOCKET_OPEN && !socket->link->ended) {
            hs_stream_update(socket->net->loop, &socket->link->stream);
            return HS_SOCKET_WAITS;
        } else {
            give(socket, unread(socket), 0);
            failure = socket->state == HS_SOCKET_OPEN ? end_of_input(socket) : socket->failure;
        }
    }
    socket->waits[HS_SOCKET_READ] = false;
    socket->deadline_ms[HS_SOCKET_READ] = 0;
    socket->outcomes[HS_SOCKET_READ].failure = failure;
    return HS_SOCKET_DONE;
}

void hs_socket_take(hs_socket_t *socket, size_t len)
{
    HS_ASSERT(len <= unread(socket));
    socket->given = len;
    take_given(socket);
}

bool hs_socket_look(hs_socket_t *socket)
{
    if (socket->state != HS_SOCKET_OPEN || socket->link->broken || socket->link->ended)
        return false;
    hs_link_t *link = socket->link;
    hs_stream_receive(socket->net->loop, &link->stream);
    bool is_alive = !link->stream.closed && !link->broken && !link->ended;
    hs_stream_update(socket->net->loop, &link->stream);
    return is_alive;
}

size_t hs_socket_unsent(const hs_socket_t *socket)
{
    bool is_open = socket->state == HS_SOCKET_OPEN && !socket->link->broken;
    return is_open ? hs_stream_unsent(&socket->link->stream) : socket->lost;
}

bool hs_socket_put(hs_socket_t *socket, const char *data, size_t len)
{
    if (socket->state != HS_SOCKET_OPEN || socket->link->broken)
        return false;
    hs_out_t *out = &socket->link->stream.buffers->out;
    if (hs_stream_unsent(&socket->link->stream) == 0)
        socket->sends = false;
    hs_out_compact(out);
    if (hs_out_append(out, data, len))
        return true;
    /* Part of the message may have been sent: the connection is unusable. */
    hs_link_t *link = socket->link;
    link->user = NULL;
    die(socket, hs_failure_of(HS_FAILURE_NO_MEMORY));
    hs_link_close(link);
    return false;
}

hs_socket_progress_t hs_socket_send(hs_socket_t *socket, uint32_t timeout_ms)
{
    if (socket->state != HS_SOCKET_OPEN || socket->link->broken)
        return done_at_once(socket, HS_SOCKET_WRITE, socket->failure);
    if (socket->waits[HS_SOCKET_WRITE])
        return done_at_once(socket, HS_SOCKET_WRITE, hs_failure_of(HS_FAILURE_BUSY));
    hs_stream_t *stream = &socket->link->stream;
    bool waits = hs_stream_unsent(stream) > HS_STREAM_LOW_WATER;
    if (waits) {
        begin_wait(socket, HS_SOCKET_WRITE, timeout_ms);
        stream->waits_for_drain = true;
    }
    if (waits || !socket->sends)
        hs_stream_update(socket->net->loop, stream);
    socket->sends = true;
    return waits ? HS_SOCKET_WAITS
                 : done_at_once(socket, HS_SOCKET_WRITE, hs_failure_of(HS_FAILURE_NONE));
}

/* --- the end --- */

static void end(hs_socket_t *socket)
{
    socket->state = HS_SOCKET_OVER;
    socket->failure = hs_failure_of(HS_FAILURE_CLOSED);
    socket->in_at = socket->given = 0;
    hs_buf_reset(&socket->in, RECEIVE_MIN);
    socket->outcomes[HS_SOCKET_READ].data = NULL;
    socket->outcomes[HS_SOCKET_READ].len = 0;
}

bool hs_socket_keep(hs_socket_t *socket, uint32_t idle_ms)
{
    hs_link_t *link = socket->link;
    take_given(socket);
    bool can_keep = socket->state == HS_SOCKET_OPEN && socket->key != NULL && !link->ended &&
                    !link->broken && !link->stream.shut_seen && unread(socket) == 0 &&
                    !socket->waits[HS_SOCKET_READ] && !socket->waits[HS_SOCKET_WRITE] &&
                    hs_stream_unsent(&link->stream) == 0;
    if (!can_keep) {
        hs_socket_end(socket);
        return false;
    }
    socket->link = NULL;
    socket->key = NULL;
    end(socket);
    hs_reuse_keep(link, idle_ms);
    return true;
}

void hs_socket_end(hs_socket_t *socket)
{
    hs_failure_t closed = hs_failure_of(HS_FAILURE_CLOSED);
    hs_link_t *link = socket->link;
    switch (socket->state) {
    case HS_SOCKET_QUEUED:
        leave_queue(socket);
        break;
    case HS_SOCKET_DIALING:
        hs_dial_cancel(socket->dial);
        socket->dial = NULL;
        break;
    case HS_SOCKET_SHAKING:
        socket->link = NULL;
        link->user = NULL;
        hs_link_close(link);
        break;
    case HS_SOCKET_OPEN:
        socket->link = NULL;
        hs_link_finish(link);
        break;
    case HS_SOCKET_NEW:
    case HS_SOCKET_OVER:
        break;
    }
    socket->outcomes[HS_SOCKET_READ].len = 0;
    end(socket);
    report(socket, HS_SOCKET_READ, closed);
    report(socket, HS_SOCKET_WRITE, closed);
    leave_key(socket);
}

static void forget_waits(hs_socket_t *socket)
{
    socket->waits[HS_SOCKET_READ] = socket->waits[HS_SOCKET_WRITE] = false;
    socket->deadline_ms[HS_SOCKET_READ] = socket->deadline_ms[HS_SOCKET_WRITE] = 0;
}

bool hs_socket_reset(hs_socket_t *socket)
{
    if (socket->net == NULL)
        return false;
    forget_waits(socket);
    hs_socket_end(socket);
    hs_free(socket->target_text);
    socket->target_text = NULL;
    socket->state = HS_SOCKET_NEW;
    socket->failure = hs_failure_of(HS_FAILURE_NOT_CONNECTED);
    socket->room = RECEIVE_MIN;
    socket->lost = 0;
    return true;
}

void hs_socket_free(hs_socket_t *socket)
{
    if (socket == NULL)
        return;
    forget_waits(socket);
    if (socket->net != NULL)
        hs_socket_end(socket);
    hs_list_remove(&socket->all);
    hs_buf_free(&socket->in);
    hs_free(socket->target_text);
    hs_free(socket);
}

void hs_socket_abandon(hs_socket_t *socket)
{
    if (socket->net == NULL)
        return;
    forget_waits(socket);
    hs_socket_end(socket);
    socket->net = NULL;
    hs_list_remove(&socket->all);
}

const char *hs_socket_protocol(const hs_socket_t *socket)
{
    bool is_secure = socket->state == HS_SOCKET_OPEN && socket->link->tls != NULL;
    return is_secure ? hs_tls_client_protocol(socket->link->tls) : "";
}

size_t hs_socket_binding(const hs_socket_t *socket, unsigned char *to)
{
    bool is_secure = socket->state == HS_SOCKET_OPEN && socket->link->tls != NULL;
    return is_secure ? hs_tls_client_binding(socket->link->tls, to) : 0;
}

uint32_t hs_socket_reused(const hs_socket_t *socket)
{
    return socket->link != NULL ? socket->link->reused : 0;
}

bool hs_socket_is_alive(const hs_socket_t *socket)
{
    const hs_link_t *link = socket->link;
    return socket->state == HS_SOCKET_OPEN && !link->ended && !link->broken &&
           !link->stream.shut_seen;
}
