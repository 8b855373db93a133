#include "os/hs_sock.h"
#include "stream/hs_stream.h"

static ptrdiff_t plain_recv(hs_stream_t *stream, struct iovec *iov, int count)
{
    return hs_sock_recv(stream->watcher.fd, iov, count);
}

static ptrdiff_t plain_send(hs_stream_t *stream, struct iovec *iov, int count, bool more)
{
    if (HS_UNLIKELY(more))
        return hs_sock_send_more(stream->watcher.fd, iov, count);
    return hs_sock_send(stream->watcher.fd, iov, count);
}

static ptrdiff_t plain_sendfile(hs_stream_t *stream, int file, uint64_t offset, size_t len)
{
    return hs_sock_sendfile(stream->watcher.fd, file, offset, len);
}

static void plain_shutdown_write(hs_stream_t *stream)
{
    hs_sock_shutdown_write(stream->watcher.fd);
}

static size_t plain_unacknowledged(hs_stream_t *stream)
{
    ptrdiff_t unsent = hs_sock_unsent(stream->watcher.fd);
    return unsent > 0 ? (size_t)unsent : 0;
}

const hs_transport_t hs_transport_plain = {
    .recv = plain_recv,
    .send = plain_send,
    .sendfile = plain_sendfile,
    .shutdown_write = plain_shutdown_write,
    .unacknowledged = plain_unacknowledged,
};
