#include "net/hs_link.h"

#include <errno.h>

#include "os/hs_clock.h"

/* How long a connection without a user may take to send the rest. */
#define FINISH_MS 5000

static ptrdiff_t link_recv(hs_stream_t *stream, struct iovec *iov, int count)
{
    hs_link_t *link = hs_link_of(stream);
    int fd = stream->watcher.fd;
    ptrdiff_t received = link->tls != NULL ? hs_tls_recv(&link->tls->tls, fd, iov, count)
                                           : hs_sock_recv(fd, iov, count);
    if (received > 0)
        link->net->counters.bytes_in += (size_t)received;
    return received;
}

static ptrdiff_t link_send(hs_stream_t *stream, struct iovec *iov, int count, bool more)
{
    hs_link_t *link = hs_link_of(stream);
    ptrdiff_t sent = link->tls != NULL
                         ? hs_tls_send(&link->tls->tls, stream->watcher.fd, iov, count)
                         : hs_transport_plain.send(stream, iov, count, more);
    if (sent > 0)
        link->net->counters.bytes_out += (size_t)sent;
    return sent;
}

/* A link's output never contains files. */
static ptrdiff_t link_sendfile(hs_stream_t *stream, int file, uint64_t offset, size_t len)
{
    (void)stream;
    (void)file;
    (void)offset;
    (void)len;
    return -EINVAL;
}

static void link_shutdown_write(hs_stream_t *stream)
{
    hs_sock_shutdown_write(stream->watcher.fd);
}

static size_t link_unacknowledged(hs_stream_t *stream)
{
    return hs_transport_plain.unacknowledged(stream);
}

static const hs_transport_t transport = {
    .recv = link_recv,
    .send = link_send,
    .sendfile = link_sendfile,
    .shutdown_write = link_shutdown_write,
    .unacknowledged = link_unacknowledged,
};

hs_link_t *hs_link_connect(hs_net_t *net, const hs_sock_endpoint_t *endpoint,
                           const hs_protocol_t *protocol, void *user, int *sys_errno)
{
    hs_link_t *link = hs_alloc_zeroed(1, sizeof(*link));
    hs_buffers_t *buffers = link != NULL ? hs_buffers_lease(&net->buffers) : NULL;
    if (buffers == NULL) {
        hs_free(link);
        *sys_errno = net->open < HS_NET_LINKS_MAX ? ENOMEM : EMFILE;
        return NULL;
    }
    int result = hs_stream_connect(net->loop, &link->stream, endpoint, protocol);
    if (result < 0) {
        hs_buffers_give_back(&net->buffers, buffers);
        hs_free(link);
        *sys_errno = -result;
        return NULL;
    }
    link->stream.transport = &transport;
    link->stream.buffers = buffers;
    link->stream.reads = false;
    link->net = net;
    link->user = user;
    hs_list_init(&link->idle);
    hs_list_init(&link->all);
    hs_list_push_back(&net->links, &link->all);
    net->open++;
    hs_stream_update(net->loop, &link->stream);
    return link;
}

void hs_link_give(hs_link_t *link, const hs_protocol_t *protocol, void *user)
{
    hs_stream_t *stream = &link->stream;
    stream->protocol = protocol;
    stream->discards = stream->waits_for_drain = stream->runs_again = stream->reads = false;
    stream->deadline_ms = 0;
    link->user = user;
}

void hs_link_updated(hs_link_t *link)
{
    hs_stream_t *stream = &link->stream;
    if (link->tls != NULL && stream->closed && stream->buffers != NULL)
        hs_tls_end(&link->tls->tls, stream->watcher.fd);
    else if (link->tls != NULL && stream->writable && !stream->closed)
        stream->writable = hs_tls_flush(&link->tls->tls, stream->watcher.fd) != -EAGAIN;
    if (!stream->closed || stream->buffers == NULL)
        return;
    hs_buffers_give_back(&link->net->buffers, stream->buffers);
    stream->buffers = NULL;
}

void hs_link_close(hs_link_t *link)
{
    link->stream.closed = true;
    hs_stream_update(link->net->loop, &link->stream);
}

void hs_link_free(hs_link_t *link)
{
    if (link->net != NULL) {
        hs_list_remove(&link->all);
        link->net->open--;
    }
    hs_tls_client_free(link->tls);
    hs_free(link);
}

/* --- a link without a user --- */

static void close_finished(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    stream->closed = true;
}

static void on_data(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    (void)stream;
}

static void on_error(hs_loop_t *loop, hs_stream_t *stream, int error)
{
    (void)loop;
    (void)error;
    stream->closed = true;
}

static void update(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    if (hs_stream_unsent(stream) == 0)
        stream->closed = true;
    hs_link_updated(hs_link_of(stream));
}

static void on_closed(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    hs_link_free(hs_link_of(stream));
}

/* Data from the peer is not read, so it cannot keep the connection open. */
static const hs_protocol_t finishing = {
    .on_data = on_data,
    .on_drained = on_data,
    .on_connected = on_data,
    .on_end = close_finished,
    .on_peer_shut = on_data,
    .on_error = on_error,
    .on_deadline = close_finished,
    .update = update,
    .on_closed = on_closed,
};

void hs_link_finish(hs_link_t *link)
{
    hs_link_give(link, &finishing, NULL);
    link->stream.deadline_ms = hs_clock_monotonic_ms() + FINISH_MS;
    hs_stream_update(link->net->loop, &link->stream);
}
