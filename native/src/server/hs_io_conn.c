#include "server/hs_io_conn.h"

#include <errno.h>

#include "os/hs_clock.h"
#include "os/hs_sock.h"
#include "server/hs_inbox.h"
#include "server/hs_io_observe.h"

/* Answers wait for the next one on their connection at most so long, and while they are so small.
 */
#define HOLD_NS (1000 * 1000)
#define HOLD_BYTES (16 * 1024)

void hs_io_begin_turn(hs_io_t *io)
{
    if (io->turn_begun)
        return;
    io->turn_begun = true;
    io->turn_begin_ns = hs_clock_monotonic_ns();
    int64_t time_ms = hs_clock_realtime_ms();
    io->env.now_ms = io->turn_begin_ns / 1000000;
    hs_date_update(&io->env.date, time_ms / 1000);
    hs_io_observe_turn(io, io->turn_begin_ns / 1000, time_ms);
}

static void on_slot_closed(hs_ev_t *ev, hs_ev_io_t *watcher)
{
    hs_io_t *io = hs_ev_context(ev);
    hs_slab_give(&io->slots, watcher);
    io->slot_freed = true;
}

static void close_conn(hs_io_t *io, hs_io_conn_t *c)
{
    hs_list_remove(&c->all);
    hs_list_remove(&c->turn);
    hs_wheel_disarm(&io->wheel, &c->timer);
    io->by_state[c->state]--;
    hs_ev_io_close(io->ev, &c->watcher, on_slot_closed);
}

void hs_io_conn_forget(hs_io_t *io, hs_io_conn_t *c)
{
    hs_conn_abort(&c->conn, &io->env);
    close_conn(io, c);
}

static hs_stats_state_t state_of(const hs_conn_t *conn, bool has_unsent)
{
    if (conn->phase == HS_CONN_LINGERING)
        return HS_STATS_LINGERING;
    if (conn->phase == HS_CONN_HANDLING)
        return HS_STATS_HANDLING;
    if (has_unsent)
        return HS_STATS_WRITING;
    return conn->phase == HS_CONN_IDLE && !conn->stalled ? HS_STATS_IDLE : HS_STATS_READING;
}

static void count_state(hs_io_t *io, hs_io_conn_t *c, hs_stats_state_t state)
{
    if (c->state == (uint8_t)state)
        return;
    io->by_state[c->state]--;
    io->by_state[state]++;
    c->state = (uint8_t)state;
}

static bool may_read(const hs_io_conn_t *c)
{
    return c->conn.phase != HS_CONN_HANDLING && c->conn.phase != HS_CONN_FLUSHING;
}

/* Answers to pipelined requests leave together, if the next one is not long in coming. */
static void queue_to_send(hs_io_t *io, hs_io_conn_t *c)
{
    bool hold =
        c->conn.phase == HS_CONN_HANDLING && hs_exchange_unsent(c->conn.exchange) < HOLD_BYTES;
    if (hold && hs_list_empty(&io->held))
        io->held_since_ns = io->turn_begin_ns;
    hs_list_push_back(hold ? &io->held : &io->to_send, &c->turn);
}

/* Does what the connection wants after an event. */
static void follow(hs_io_t *io, hs_io_conn_t *c)
{
    hs_list_remove(&c->turn);
    if (HS_UNLIKELY(io->observer.access_log != NULL))
        hs_io_observe_make_room(io);
    if (c->conn.phase == HS_CONN_CLOSED) {
        close_conn(io, c);
        return;
    }
    if (c->conn.phase == HS_CONN_LINGERING && !c->write_shut) {
        c->write_shut = true;
        hs_sock_shutdown_write(c->watcher.fd);
    }
    if (HS_UNLIKELY(io->inbox.handing_over) && !io->env.draining && hs_inbox_hand_over(io, c))
        return;
    bool has_unsent = c->conn.exchange != NULL && hs_exchange_unsent(c->conn.exchange) > 0;
    count_state(io, c, state_of(&c->conn, has_unsent));
    if (has_unsent) {
        if (c->writable)
            queue_to_send(io, c);
    } else if (c->conn.stalled || (c->readable && may_read(c))) {
        hs_list_push_back(&io->again, &c->turn);
    }
    if (c->conn.deadline_ms != 0)
        hs_wheel_arm(&io->wheel, &c->timer, c->conn.deadline_ms);
}

/* The descriptor is dead. */
static void lose(hs_io_t *io, hs_io_conn_t *c)
{
    if (c->conn.exchange != NULL && c->conn.phase != HS_CONN_LINGERING)
        hs_stats_add(io->observer.stats, HS_STATS_CLIENT_ABORTS, 1);
    hs_conn_abort(&c->conn, &io->env);
}

static void receive(hs_io_t *io, hs_io_conn_t *c)
{
    struct iovec iov[2];
    int count = hs_conn_recv_vec(&c->conn, &io->env, iov);
    if (count == 0)
        return;
    size_t room = iov[0].iov_len + (count > 1 ? iov[1].iov_len : 0);
    ptrdiff_t received = hs_sock_recv(c->watcher.fd, iov, count);
    if (received > 0) {
        /* A short read has emptied the socket: the next byte is a new edge. */
        c->readable = (size_t)received == room || c->shut_seen;
        hs_stats_add(io->observer.stats, HS_STATS_BYTES_IN, (size_t)received);
        hs_conn_received(&c->conn, &io->env, (size_t)received);
    } else if (received == 0) {
        c->readable = false;
        hs_conn_peer_shut(&c->conn, &io->env);
    } else if (received == -EAGAIN || received == -EINTR) {
        c->readable = received == -EINTR;
        hs_conn_received(&c->conn, &io->env, 0);
    } else {
        lose(io, c);
    }
}

static void on_conn_event(hs_ev_t *ev, hs_ev_io_t *watcher, unsigned events)
{
    hs_io_t *io = hs_ev_context(ev);
    hs_io_conn_t *c = (hs_io_conn_t *)(void *)watcher;
    hs_io_begin_turn(io);
    if (events & HS_EV_WRITE)
        c->writable = true;
    if (events & (HS_EV_READ | HS_EV_PEER_SHUT | HS_EV_HANGUP))
        c->readable = true;
    if (events & (HS_EV_PEER_SHUT | HS_EV_HANGUP))
        c->shut_seen = true;
    if (c->readable)
        receive(io, c);
    follow(io, c);
}

/* A watched connection whose hs_conn is not made yet, NULL on failure. */
static hs_io_conn_t *watch_conn(hs_io_t *io, int fd)
{
    hs_io_conn_t *c = hs_slab_take(&io->slots);
    if (c == NULL)
        return NULL;
    *c = (hs_io_conn_t){ .writable = true };
    hs_wheel_entry_init(&c->timer);
    hs_list_init(&c->all);
    hs_list_init(&c->turn);
    unsigned interest = HS_EV_READ | HS_EV_WRITE | HS_EV_PEER_SHUT | HS_EV_EDGE;
    if (hs_ev_io_start(io->ev, &c->watcher, fd, interest, on_conn_event) < 0) {
        hs_slab_give(&io->slots, c);
        return NULL;
    }
    hs_list_push_back(&io->connections, &c->all);
    io->by_state[HS_STATS_IDLE]++;
    return c;
}

int hs_io_conn_open(hs_io_t *io, int fd, bool shed)
{
    hs_io_conn_t *c = watch_conn(io, fd);
    if (c == NULL)
        return HS_ERR_NOMEM;
    hs_conn_init(&c->conn, &io->env);
    c->conn.peer = hs_peer_of(fd);
    if (shed)
        hs_conn_shed(&c->conn, &io->env);
    follow(io, c);
    return HS_OK;
}

int hs_io_conn_adopt(hs_io_t *io, int fd, const hs_conn_moved_t *moved, const char *bytes)
{
    hs_io_conn_t *c = watch_conn(io, fd);
    if (c == NULL)
        return HS_ERR_NOMEM;
    if (!hs_conn_import(&c->conn, &io->env, moved, bytes))
        hs_log_write(io->env.log, HS_LOG_ERROR, "a moved connection does not fit: closed");
    c->conn.peer = hs_peer_of(fd);
    if (c->conn.exchange != NULL)
        c->conn.exchange->peer = c->conn.peer;
    follow(io, c);
    return HS_OK;
}

static void send_one(hs_io_t *io, hs_io_conn_t *c)
{
    struct iovec iov[2];
    int count = hs_conn_send_vec(&c->conn, iov);
    size_t wanted = iov[0].iov_len + (count > 1 ? iov[1].iov_len : 0);
    ptrdiff_t sent = hs_sock_send(c->watcher.fd, iov, count);
    if (sent >= 0) {
        c->writable = (size_t)sent == wanted;
        hs_stats_add(io->observer.stats, HS_STATS_BYTES_OUT, (size_t)sent);
        hs_conn_sent(&c->conn, &io->env, (size_t)sent);
    } else if (sent == -EAGAIN || sent == -EINTR) {
        c->writable = sent == -EINTR;
    } else {
        lose(io, c);
    }
    follow(io, c);
}

/* Every connection of the list once; what is linked meanwhile waits for the next turn. */
static void for_each_once(hs_io_t *io, hs_list_t *list, void (*visit)(hs_io_t *, hs_io_conn_t *))
{
    hs_list_t batch;
    hs_list_init(&batch);
    hs_list_take_all(&batch, list);
    while (!hs_list_empty(&batch)) {
        hs_io_conn_t *c = HS_CONTAINER_OF(batch.next, hs_io_conn_t, turn);
        hs_list_remove(&c->turn);
        visit(io, c);
    }
}

static void go_on(hs_io_t *io, hs_io_conn_t *c)
{
    if (c->conn.stalled)
        hs_conn_resume(&c->conn, &io->env);
    else
        receive(io, c);
    follow(io, c);
}

void hs_io_conn_go_on_all(hs_io_t *io)
{
    for_each_once(io, &io->again, go_on);
}

void hs_io_conn_send_all(hs_io_t *io)
{
    if (!hs_list_empty(&io->held) && io->turn_begin_ns - io->held_since_ns >= HOLD_NS)
        hs_list_take_all(&io->to_send, &io->held);
    for_each_once(io, &io->to_send, send_one);
}

static void on_returned(void *context, hs_exchange_t *exchange, void *lender)
{
    hs_io_t *io = context;
    if (lender == NULL) {
        hs_exchange_give_back(&io->pool, exchange);
        return;
    }
    hs_conn_t *conn = lender;
    hs_conn_handled(conn, &io->env);
    follow(io, HS_CONTAINER_OF(conn, hs_io_conn_t, conn));
}

void hs_io_conn_collect(hs_io_t *io)
{
    hs_dispatch_collect(&io->env.dispatch, on_returned, io);
}

static uint64_t deadline_of(hs_wheel_entry_t *entry)
{
    return HS_CONTAINER_OF(entry, hs_io_conn_t, timer)->conn.deadline_ms;
}

static void on_deadline(void *context, hs_wheel_entry_t *entry)
{
    hs_io_t *io = context;
    hs_io_conn_t *c = HS_CONTAINER_OF(entry, hs_io_conn_t, timer);
    hs_conn_deadline_passed(&c->conn, &io->env);
    follow(io, c);
}

void hs_io_conn_check_deadlines(hs_io_t *io)
{
    hs_wheel_advance(&io->wheel, io->env.now_ms, deadline_of, on_deadline, io);
}

void hs_io_conn_for_each(hs_io_t *io, void (*visit)(hs_conn_t *, hs_conn_env_t *))
{
    hs_list_t *next;
    for (hs_list_t *node = io->connections.next; node != &io->connections; node = next) {
        next = node->next;
        hs_io_conn_t *c = HS_CONTAINER_OF(node, hs_io_conn_t, all);
        visit(&c->conn, &io->env);
        follow(io, c);
    }
}

void hs_io_conn_drain_all(hs_io_t *io)
{
    hs_list_t *next;
    for (hs_list_t *node = io->connections.next; node != &io->connections; node = next) {
        next = node->next;
        hs_io_conn_t *c = HS_CONTAINER_OF(node, hs_io_conn_t, all);
        if (c->conn.phase == HS_CONN_IDLE && c->conn.exchange == NULL)
            receive(io, c);
        else
            hs_conn_drain(&c->conn, &io->env);
        follow(io, c);
    }
}
