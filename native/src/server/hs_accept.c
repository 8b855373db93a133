#include "server/hs_accept.h"

#include <errno.h>

#include "http/hs_wire.h"
#include "os/hs_pass.h"
#include "os/hs_sock.h"

/* Connections taken from one listener before others get their turn. */
#define ACCEPTS_PER_TURN 64
/* How long accepting pauses when descriptors run out and no connection is closed meanwhile. */
#define PAUSE_MS 500
/* Descriptors reserved for handlers, as a maximum and as a fraction: for files, outbound sockets,
 * and Lua files loaded by a worker. */
#define KEPT_FOR_HANDLERS 64
#define KEPT_PART 8
/* More than any listen queue holds: bounds the loop under a flood of connections. */
#define QUEUE_MAX 8192

static void pause_accepting(hs_io_t *io, int reason)
{
    if (io->accept_paused)
        return;
    io->accept_paused = true;
    io->conn_freed = false;
    io->accept_resume_ms = io->env.loop.now_ms + PAUSE_MS;
    for (size_t i = 0; i < io->listener_count; i++)
        if (io->listeners[i].open)
            hs_ev_io_stop(io->env.loop.ev, &io->listeners[i].watcher);
    hs_stats_add(io->observer.stats, HS_STATS_REJECTED_DESCRIPTORS, 1);
    if (hs_log_due(&io->accept_log_ms, io->env.loop.now_ms))
        hs_log_write(io->env.log, HS_LOG_WARN, "accepting is paused: %s", strerror(reason));
}

/* There is no slot even for a refused connection: the response is sent blindly, and data received
 * so far is read, so that closing does not reset the connection. */
static void refuse_directly(hs_io_t *io, int fd)
{
    hs_buf_t out = { 0 };
    if (hs_wire_put_refusal(&out, 503, true, &io->env.date)) {
        struct iovec response = { out.data, out.len };
        struct iovec discard = { io->env.loop.discard, sizeof(io->env.loop.discard) };
        (void)!hs_sock_send(fd, &response, 1);
        hs_sock_shutdown_write(fd);
        (void)!hs_sock_recv(fd, &discard, 1);
        hs_stats_refused(io->observer.stats, 503);
    }
    hs_buf_free(&out);
    hs_sock_close(fd);
}

bool hs_accept_is_tls(const hs_io_t *io, int fd)
{
    hs_sock_address_t address;
    return io->tls_port != 0 && hs_sock_local_address(fd, &address) == 0 && address.family != 1 &&
           address.port == io->tls_port;
}

/* A refused client is not told why: that would take a handshake. */
static void take_tls(hs_io_t *io, int fd, const hs_peer_t *peer, bool shed)
{
    bool may_begin = !shed && hs_handshakes_take(&io->handshakes, peer, io->env.loop.now_ms);
    if (!shed && !may_begin)
        hs_stats_add(io->observer.stats, HS_STATS_REJECTED_HANDSHAKE, 1);
    if (!may_begin || hs_io_open_tls(io, fd, peer) != HS_OK)
        hs_sock_close(fd);
}

void hs_accept_take(hs_io_t *io, int fd, const hs_peer_t *peer, bool is_tls)
{
    bool shed = hs_pool_in_use(&io->env.conn_blocks) >= io->env.http1.limits->max_connections;
    hs_stats_add(io->observer.stats, HS_STATS_ACCEPTED, 1);
    if (shed)
        hs_stats_add(io->observer.stats, HS_STATS_REJECTED_LIMIT, 1);
    if (is_tls)
        take_tls(io, fd, peer, shed);
    else if (hs_io_open_conn(io, fd, peer, shed) != HS_OK)
        refuse_directly(io, fd);
}

static void accept_up_to(hs_io_t *io, const hs_io_listener_t *listener, int count)
{
    for (int i = 0; i < count; i++) {
        hs_peer_t peer;
        int fd = hs_sock_accept(listener->watcher.fd, &peer);
        if (fd >= 0) {
            if (io->accepted != NULL)
                io->accepted(io->accepted_context, fd);
            else
                hs_accept_take(io, fd, &peer, listener->is_tls);
            if ((size_t)fd < io->accept_fd_end)
                continue;
            pause_accepting(io, EMFILE);
            return;
        }
        switch (-fd) {
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            pause_accepting(io, -fd);
            return;
        case ECONNABORTED:
        case EINTR:
        case EPROTO:
            continue;
        default:
            return; /* EAGAIN: the queue is empty */
        }
    }
}

static void on_listener_event(hs_ev_t *ev, hs_ev_io_t *watcher, unsigned events)
{
    (void)events;
    hs_io_t *io = hs_ev_context(ev);
    hs_io_begin_turn(io);
    accept_up_to(io, HS_CONTAINER_OF(watcher, hs_io_listener_t, watcher), ACCEPTS_PER_TURN);
}

void hs_accept_take_all(hs_io_t *io)
{
    for (size_t i = 0; i < io->listener_count; i++)
        if (io->listeners[i].open && !io->accept_paused)
            accept_up_to(io, &io->listeners[i], QUEUE_MAX);
}

static int watch(hs_io_t *io, hs_io_listener_t *listener, int fd)
{
    /* All reactors share a Unix socket: only one is woken per connection. */
    hs_sock_address_t address;
    bool shared = hs_sock_local_address(fd, &address) == 0 && address.family == 1;
    unsigned events = HS_EV_READ | (shared ? HS_EV_EXCLUSIVE : 0u);
    return hs_ev_io_start(io->env.loop.ev, &listener->watcher, fd, events, on_listener_event);
}

int hs_accept_add_listener(hs_io_t *io, int fd, hs_errinfo_t *error)
{
    if (io->listener_count == HS_IO_LISTENERS_MAX) {
        hs_sock_close(fd);
        return hs_errinfo_set(error, HS_ERR_LIMIT, 0, "more than %d listeners",
                              HS_IO_LISTENERS_MAX);
    }
    size_t limit = hs_pass_descriptor_limit();
    io->accept_fd_end = limit - hs_min(limit / KEPT_PART, KEPT_FOR_HANDLERS);
    hs_io_listener_t *listener = &io->listeners[io->listener_count];
    int result = hs_sock_set_nonblock(fd);
    if (result == 0)
        result = watch(io, listener, fd);
    if (result < 0) {
        hs_sock_close(fd);
        return hs_errinfo_set(error, HS_ERR_SYSTEM, -result, "cannot watch listener %d: %s", fd,
                              strerror(-result));
    }
    listener->open = true;
    listener->is_tls = hs_accept_is_tls(io, fd);
    io->listener_count++;
    return HS_OK;
}

void hs_accept_close_all(hs_io_t *io)
{
    for (size_t i = 0; i < io->listener_count; i++) {
        hs_io_listener_t *listener = &io->listeners[i];
        if (!listener->open)
            continue;
        listener->open = false;
        hs_ev_io_close(io->env.loop.ev, &listener->watcher, NULL);
    }
    io->accept_paused = false;
}

static void resume_accepting(hs_io_t *io)
{
    io->accept_paused = false;
    for (size_t i = 0; i < io->listener_count; i++) {
        hs_io_listener_t *listener = &io->listeners[i];
        if (listener->open && watch(io, listener, listener->watcher.fd) < 0)
            pause_accepting(io, ENOMEM);
    }
}

void hs_accept_resume_if_due(hs_io_t *io)
{
    if (io->accept_paused && (io->conn_freed || io->env.loop.now_ms >= io->accept_resume_ms))
        resume_accepting(io);
}
