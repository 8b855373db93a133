/*
 * The other end of a connection, without sockets: sends the client's bytes in pieces of any size,
 * and accepts the server's in pieces of any size. Plays the transport and the loop of one
 * connection. The clock stands still unless the test advances it.
 */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn/hs_conn.h"
#include "conn/hs_conn_ws.h"
#include "conn/hs_observer.h"

#define BYTE_PEER_DATE 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */

typedef struct byte_peer {
    hs_conn_t conn;
    hs_conn_env_t env;
    hs_limits_t limits;
    hs_log_t log;
    hs_c_handler_t handler;
    const char *in; /* bytes that have arrived and have not been received */
    size_t in_len;
    bool has_end;    /* the client has shut down its side after them */
    int recv_error;  /* errno of the next recv, 0: none */
    int send_error;  /* errno of the next send, 0: none */
    size_t send_max; /* bytes that one send accepts, 0: all */
    size_t room;     /* bytes that sends accept in total */
    size_t unacknowledged;
    hs_buf_t got; /* everything sent; NUL-terminated */
    bool was_opened;
    bool is_closed;
} byte_peer_t;

static inline byte_peer_t *byte_peer_of(hs_stream_t *stream)
{
    return HS_CONTAINER_OF(stream, byte_peer_t, conn.stream);
}

static inline ptrdiff_t byte_peer_recv(hs_stream_t *stream, struct iovec *iov, int count)
{
    byte_peer_t *peer = byte_peer_of(stream);
    if (peer->recv_error != 0)
        return -peer->recv_error;
    if (peer->in_len == 0)
        return peer->has_end ? 0 : -EAGAIN;
    size_t copied = 0;
    for (int i = 0; i < count && copied < peer->in_len; i++) {
        HS_ASSERT(iov[i].iov_len > 0);
        size_t part = hs_min(iov[i].iov_len, peer->in_len - copied);
        memcpy(iov[i].iov_base, peer->in + copied, part);
        copied += part;
    }
    peer->in += copied;
    peer->in_len -= copied;
    return (ptrdiff_t)copied;
}

static inline void byte_peer_keep(byte_peer_t *peer, const char *data, size_t len)
{
    if (!hs_buf_reserve(&peer->got, len + 1))
        abort();
    hs_buf_put(&peer->got, data, len);
    peer->got.data[peer->got.len] = '\0';
}

/* How many of `wanted` bytes the kernel accepts now; 0: none. */
static inline size_t byte_peer_takes(byte_peer_t *peer, size_t wanted)
{
    size_t takes = hs_min(wanted, peer->room);
    if (peer->send_max > 0)
        takes = hs_min(takes, peer->send_max);
    peer->room -= takes;
    return takes;
}

static inline ptrdiff_t byte_peer_send(hs_stream_t *stream, struct iovec *iov, int count, bool more)
{
    (void)more;
    byte_peer_t *peer = byte_peer_of(stream);
    size_t wanted = 0;
    for (int i = 0; i < count; i++) {
        HS_ASSERT(iov[i].iov_len > 0);
        wanted += iov[i].iov_len;
    }
    if (peer->send_error != 0)
        return -peer->send_error;
    size_t takes = byte_peer_takes(peer, wanted);
    if (takes == 0)
        return -EAGAIN;
    size_t left = takes;
    for (int i = 0; left > 0; i++) {
        size_t part = hs_min(iov[i].iov_len, left);
        byte_peer_keep(peer, iov[i].iov_base, part);
        left -= part;
    }
    return (ptrdiff_t)takes;
}

static inline ptrdiff_t byte_peer_sendfile(hs_stream_t *stream, int file, uint64_t offset,
                                           size_t len)
{
    byte_peer_t *peer = byte_peer_of(stream);
    char data[4096];
    size_t takes = byte_peer_takes(peer, hs_min(len, sizeof(data)));
    if (takes == 0)
        return -EAGAIN;
    ssize_t read_len = pread(file, data, takes, (off_t)offset);
    if (read_len > 0)
        byte_peer_keep(peer, data, (size_t)read_len);
    return read_len < 0 ? -errno : read_len;
}

static inline void byte_peer_shutdown(hs_stream_t *stream)
{
    (void)stream;
}

static inline size_t byte_peer_unacknowledged(hs_stream_t *stream)
{
    return byte_peer_of(stream)->unacknowledged;
}

static const hs_transport_t byte_peer_transport = {
    .recv = byte_peer_recv,
    .send = byte_peer_send,
    .sendfile = byte_peer_sendfile,
    .shutdown_write = byte_peer_shutdown,
    .unacknowledged = byte_peer_unacknowledged,
};

static inline void byte_peer_closed(hs_conn_env_t *env, hs_conn_t *conn)
{
    (void)env;
    byte_peer_of(&conn->stream)->is_closed = true;
}

/* Prepares for connections with these limits. `handler` gets `user_data`. */
static inline void byte_peer_init(byte_peer_t *peer, const hs_limits_t *limits,
                                  hs_handler_fn handler, void *user_data)
{
    memset(peer, 0, sizeof(*peer));
    peer->limits = *limits;
    hs_log_init(&peer->log, HS_LOG_OFF, NULL, NULL);
    hs_errinfo_t error = { 0 };
    if (hs_conn_env_init(&peer->env, &peer->limits, 8, NULL, &peer->log, NULL, &byte_peer_transport,
                         1000000, &error) != HS_OK)
        abort();
    peer->env.on_conn_closed = byte_peer_closed;
    peer->handler = (hs_c_handler_t){ .function = handler, .user_data = user_data };
    hs_executor_init(&peer->env.executor, hs_c_handler_as_handler(&peer->handler),
                     HS_DISPATCH_INLINE, NULL);
    hs_date_set(&peer->env.date, BYTE_PEER_DATE);
    peer->is_closed = true;
    peer->room = SIZE_MAX;
}

/* A new connection; forgets what the previous one sent. */
static inline void byte_peer_open(byte_peer_t *peer)
{
    const hs_peer_t unknown = { .family = 0 };
    peer->in_len = 0;
    peer->has_end = false;
    peer->recv_error = peer->send_error = 0;
    peer->unacknowledged = 0;
    peer->got.len = 0;
    peer->is_closed = false;
    int result = hs_conn_open(&peer->conn, &peer->env, -1, &unknown);
    HS_ASSERT(result == 0);
    (void)result;
    hs_stream_update(&peer->env.loop, &peer->conn.stream);
}

/* One turn of the loop, as in server/hs_io.c: resumes, completes and sends. */
static inline void byte_peer_turn(byte_peer_t *peer)
{
    hs_loop_resume(&peer->env.loop);
    hs_executor_flush(&peer->env.executor);
    hs_conn_collect(&peer->env);
    hs_executor_flush(&peer->env.executor);
    hs_conn_update_websockets(&peer->env);
    hs_loop_send(&peer->env.loop, 0);
}

/* An event in the next turn that does not come from the client. */
static inline bool byte_peer_is_busy(const byte_peer_t *peer)
{
    return hs_loop_is_busy(&peer->env.loop) || hs_conn_has_websockets_to_update(&peer->env) ||
           !hs_list_empty(&peer->env.loop.held) ||
           !hs_mpsc_empty(&peer->env.executor.completions.posted);
}

/* Everything that happens without the client, until nothing more does. */
static inline void byte_peer_pump(byte_peer_t *peer)
{
    hs_stream_t *stream = &peer->conn.stream;
    do {
        byte_peer_turn(peer);
        if (!peer->is_closed && !stream->writable && peer->room > 0)
            hs_stream_on_event(&peer->env.loop, stream, HS_EV_WRITE);
    } while (byte_peer_is_busy(peer));
}

/* One segment arrives; returns how much of it was received. The rest is lost. */
static inline size_t byte_peer_feed(byte_peer_t *peer, const char *data, size_t len)
{
    byte_peer_pump(peer);
    if (peer->is_closed || len == 0)
        return 0;
    peer->in = data;
    peer->in_len = len;
    hs_stream_on_event(&peer->env.loop, &peer->conn.stream, HS_EV_READ);
    byte_peer_pump(peer);
    size_t received = len - peer->in_len;
    peer->in_len = 0;
    return received;
}

/* The client shuts down its side; unsent bytes are still sent. */
static inline void byte_peer_shut(byte_peer_t *peer)
{
    byte_peer_pump(peer);
    peer->has_end = true;
    if (!peer->is_closed)
        hs_stream_on_event(&peer->env.loop, &peer->conn.stream, HS_EV_READ | HS_EV_PEER_SHUT);
    byte_peer_pump(peer);
}

/* Ends the connection whatever its state. */
static inline void byte_peer_abort(byte_peer_t *peer)
{
    if (peer->is_closed)
        return;
    hs_conn_abort(&peer->conn, &peer->env);
    hs_stream_update(&peer->env.loop, &peer->conn.stream);
}

/* Reports deadlines that have expired by `now_ms`. */
static inline void byte_peer_expire(byte_peer_t *peer, uint64_t now_ms)
{
    hs_stream_t *stream = &peer->conn.stream;
    peer->env.loop.now_ms = now_ms;
    if (peer->is_closed || stream->deadline_ms == 0 || stream->deadline_ms > now_ms)
        return;
    stream->protocol->on_deadline(&peer->env.loop, stream);
    hs_stream_update(&peer->env.loop, stream);
}

/* After the last connection was closed or aborted. */
static inline void byte_peer_free(byte_peer_t *peer)
{
    hs_conn_env_free(&peer->env);
    hs_buf_free(&peer->got);
}
