#include "server/hs_inbox.h"

#include <errno.h>

#include "base/hs_alloc.h"
#include "os/hs_sock.h"
#include "server/hs_accept.h"
#include "server/hs_passage.h"

/* Messages taken before connections get their turn. */
#define MESSAGES_PER_TURN 8
/* Descriptors kept free for files, pipes and messages in transit, and the maximum fraction. */
#define RESERVED_DESCRIPTORS 64
#define RESERVED_PART 4
/* How long to wait when no event reports readiness. */
#define PAUSE_MS 50
/* After a crash: how often, and how many times, reactors that have got connections see whether
 * others have fewer. A successor is up long before the last time. */
#define LEVEL_MS 500
#define LEVEL_LOOKS 120
/* This part more than the average is as good as even. */
#define LEVEL_PART 8

static void on_inbox_event(hs_ev_t *ev, hs_ev_io_t *watcher, unsigned events);

static void set_interest(hs_io_t *io, unsigned interest)
{
    if (io->inbox.open && hs_ev_io_change(io->env.loop.ev, &io->inbox.watcher, interest) < 0)
        io->inbox.resume_ms = io->env.loop.now_ms + PAUSE_MS;
}

static void pause_for(hs_io_t *io, uint32_t ms)
{
    io->inbox.resume_ms = io->env.loop.now_ms + ms;
    set_interest(io, 0);
}

int hs_inbox_set(hs_io_t *io, int fd, hs_errinfo_t *error)
{
    io->inbox.limit = hs_pass_descriptor_limit();
    io->inbox.buffer = hs_alloc(HS_PASSAGE_MAX);
    int result = io->inbox.buffer == NULL ? -ENOMEM : hs_sock_set_nonblock(fd);
    if (result == 0)
        result =
            hs_ev_io_start(io->env.loop.ev, &io->inbox.watcher, fd, HS_EV_READ, on_inbox_event);
    if (result < 0) {
        hs_sock_close(fd);
        return hs_errinfo_set(error, HS_ERR_SYSTEM, -result, "cannot watch the inbox: %s",
                              strerror(-result));
    }
    io->inbox.open = true;
    return HS_OK;
}

void hs_inbox_close(hs_io_t *io)
{
    if (io->inbox.open)
        hs_ev_io_close(io->env.loop.ev, &io->inbox.watcher, NULL);
    io->inbox.open = false;
    hs_free(io->inbox.buffer);
    io->inbox.buffer = NULL;
}

static void open_one(hs_io_t *io, int fd, const hs_passage_record_t *record, const char *bytes)
{
    if ((record->flags & HS_PASSAGE_MOVED) == 0) {
        hs_peer_t peer = hs_peer_of(fd);
        hs_accept_take(io, fd, &peer, hs_accept_is_tls(io, fd));
        return;
    }
    /* A moved connection was admitted before: it may use the room reserved for refusals too. */
    hs_conn_moved_t moved;
    hs_passage_moved(record, &moved);
    hs_stats_add(io->observer.stats, HS_STATS_MOVED_IN, 1);
    if (hs_io_adopt_conn(io, fd, &moved, bytes) != HS_OK)
        hs_sock_close(fd);
}

static void open_all(hs_io_t *io, const hs_passed_t *passed)
{
    hs_passage_head_t head;
    const char *bytes = NULL;
    bool is_read = hs_passage_read(io->inbox.buffer, passed->len, &head, &bytes);
    size_t count = is_read ? head.count : 0;
    io->inbox.taken += hs_min(count, HS_PASS_FDS);
    if (!is_read || passed->fd_count != count) {
        hs_stats_add(io->observer.stats, HS_STATS_REJECTED_DESCRIPTORS, 1);
        hs_log_write(io->env.log, HS_LOG_ERROR, "%zu of %zu passed connections were lost",
                     count - hs_min(passed->fd_count, count), count);
    }
    if (is_read && head.dead_pid != 0) {
        io->inbox.level_looks = LEVEL_LOOKS;
        io->inbox.level_ms = io->env.loop.now_ms + LEVEL_MS;
    }
    for (size_t i = 0; i < passed->fd_count; i++) {
        if (i < count)
            open_one(io, passed->fds[i], &head.records[i], bytes);
        else
            hs_sock_close(passed->fds[i]);
        bytes += i < count ? head.records[i].len + head.records[i].unsent : 0;
    }
}

/* Descriptors that exceed this process's limit are lost: take none when it is nearly full. */
static bool has_room(const hs_io_t *io)
{
    size_t limit = io->inbox.limit;
    size_t reserved = hs_min(RESERVED_DESCRIPTORS, limit / RESERVED_PART);
    return hs_pool_in_use(&io->env.conn_blocks) + HS_PASS_FDS + reserved <= limit;
}

/* True: there may be more. */
static bool take_one(hs_io_t *io)
{
    if (!has_room(io)) {
        hs_stats_add(io->observer.stats, HS_STATS_REJECTED_DESCRIPTORS, 1);
        if (hs_log_due(&io->inbox.log_ms, io->env.loop.now_ms))
            hs_log_write(io->env.log, HS_LOG_WARN, "receiving connections is paused: %s",
                         strerror(EMFILE));
        io->inbox.is_full = true;
        pause_for(io, 10 * PAUSE_MS);
        return false;
    }
    hs_passed_t passed;
    int result = hs_pass_recv(io->inbox.watcher.fd, io->inbox.buffer, HS_PASSAGE_MAX, &passed);
    if (result == -EAGAIN)
        return false;
    if (result < 0 || passed.len == 0) { /* the supervisor is gone: the control pair reports it
                                            too */
        hs_inbox_close(io);
        return false;
    }
    open_all(io, &passed);
    if (passed.is_cut)
        pause_for(io, 10 * PAUSE_MS);
    return !passed.is_cut;
}

void hs_inbox_take_all(hs_io_t *io)
{
    while (io->inbox.open && !io->inbox.handing_over && take_one(io)) {
    }
}

static void hand_over_all(hs_io_t *io)
{
    io->inbox.resume_ms = 0;
    io->inbox.blocked = false;
    set_interest(io, 0);
    hs_list_t *next;
    for (hs_list_t *node = io->env.connections.next;
         node != &io->env.connections && !io->inbox.blocked && io->inbox.open; node = next) {
        next = node->next;
        hs_conn_t *conn = HS_CONTAINER_OF(node, hs_conn_t, all);
        if (!hs_inbox_hand_over(io, conn))
            continue; /* it is served here until it can be handed over */
    }
}

static void on_inbox_event(hs_ev_t *ev, hs_ev_io_t *watcher, unsigned events)
{
    (void)watcher;
    hs_io_t *io = hs_ev_context(ev);
    hs_io_begin_turn(io);
    if (io->inbox.handing_over) {
        if (events & HS_EV_WRITE)
            hand_over_all(io);
        else
            hs_inbox_close(io);
        return;
    }
    for (int i = 0; i < MESSAGES_PER_TURN && take_one(io); i++) {
    }
}

bool hs_inbox_begin_hand_over(hs_io_t *io)
{
    if (!io->inbox.open)
        return false;
    io->inbox.handing_over = true;
    hand_over_all(io);
    return true;
}

static int send_connection(hs_io_t *io, const hs_conn_t *conn, uint32_t flags)
{
    hs_conn_moved_t moved;
    hs_passage_head_t head;
    struct iovec iov[3];
    int pieces = hs_conn_export(conn, &moved, iov + 1);
    hs_passage_begin(&head, 1);
    hs_passage_write(&moved, &head.records[0]);
    head.records[0].flags |= flags;
    iov[0] = (struct iovec){ &head, hs_passage_head_size(1) };
    return hs_pass_send(io->inbox.watcher.fd, iov, 1 + pieces, &conn->stream.watcher.fd, 1);
}

/* 0: it is gone. */
static int give_away(hs_io_t *io, hs_conn_t *conn, uint32_t flags)
{
    /* It is either sent or here: a process that dies in between loses it, but a connection never
     * has two owners. */
    hs_loop_t *loop = &io->env.loop;
    if (conn->stream.kept)
        hs_ledger_remove(loop->ledger, conn->stream.watcher.fd);
    int result = send_connection(io, conn, flags);
    if (result != 0 && conn->stream.kept)
        hs_ledger_add(loop->ledger, conn->stream.watcher.fd, conn);
    if (result == 0) {
        hs_stats_add(io->observer.stats, HS_STATS_MOVED_OUT, 1);
        hs_io_forget_conn(io, conn);
    }
    return result;
}

bool hs_inbox_hand_over(hs_io_t *io, hs_conn_t *conn)
{
    if (!io->inbox.open || io->inbox.blocked || !hs_conn_is_movable(conn))
        return false;
    int result = give_away(io, conn, 0);
    if (result == 0)
        return true;
    /* Whatever the reason, the connection is served here until it can be handed over. */
    if (result == -EMSGSIZE)
        return false;
    io->inbox.blocked = true;
    if (result == -EAGAIN)
        set_interest(io, HS_EV_WRITE);
    else
        io->inbox.resume_ms = io->env.loop.now_ms + PAUSE_MS;
    return false;
}

/* Whether the process has begun to serve: one that loads has the heartbeat of its start. */
static bool serves(hs_stats_page_t *page, uint32_t slot, uint32_t side,
                   const hs_stats_process_t *process)
{
    bool is_serving;
    hs_stats_serving_t serving;
    uint64_t heartbeat_ms = hs_stats_page_thread(page, slot, side, 0, &is_serving, &serving);
    return process->pid != 0 && heartbeat_ms > process->started_ms + LEVEL_MS;
}

/* Connections that this reactor has beyond its share. */
static uint64_t surplus(const hs_io_t *io)
{
    uint64_t all = 0;
    uint64_t reactors = 0;
    for (uint32_t slot = 0; slot < hs_stats_page_slots(io->page); slot++) {
        bool is_used = false;
        for (uint32_t side = 0; side < HS_STATS_SIDES; side++) {
            hs_stats_process_t process;
            if (!hs_stats_page_read(io->page, slot, side, &process) ||
                !serves(io->page, slot, side, &process))
                continue;
            is_used = true;
            for (unsigned s = 0; s < HS_STATS_STATES; s++)
                all += process.connections[s];
        }
        reactors += is_used;
    }
    uint64_t own = hs_pool_in_use(&io->env.conn_blocks);
    uint64_t share = reactors > 0 ? (all + reactors - 1) / reactors : own;
    return own > share + share / LEVEL_PART ? own - share : 0;
}

/* After a crash the others have the connections of the dead process, and its successor has none:
 * idle ones move on until all have as many. */
static void level(hs_io_t *io)
{
    hs_inbox_t *inbox = &io->inbox;
    if (inbox->level_ms == 0 || io->env.loop.now_ms < inbox->level_ms)
        return;
    inbox->level_ms = 0;
    if (!inbox->open || inbox->handing_over || io->env.draining || io->page == NULL)
        return;
    if (--inbox->level_looks > 0)
        inbox->level_ms = io->env.loop.now_ms + LEVEL_MS;
    uint64_t left = surplus(io);
    hs_list_t *next;
    for (hs_list_t *node = io->env.connections.next; node != &io->env.connections && left > 0;
         node = next) {
        next = node->next;
        hs_conn_t *conn = HS_CONTAINER_OF(node, hs_conn_t, all);
        if (!hs_conn_is_idle(conn) || conn->stream.buffers != NULL || !hs_conn_is_movable(conn))
            continue;
        if (give_away(io, conn, HS_PASSAGE_SPREAD) != 0)
            break; /* the pair is full: the next look goes on */
        left--;
    }
}

void hs_inbox_resume_if_due(hs_io_t *io)
{
    level(io);
    bool has_room_again = io->inbox.is_full && has_room(io);
    if (io->inbox.resume_ms == 0 || (io->env.loop.now_ms < io->inbox.resume_ms && !has_room_again))
        return;
    io->inbox.resume_ms = 0;
    io->inbox.is_full = false;
    if (io->inbox.handing_over)
        hand_over_all(io);
    else
        set_interest(io, HS_EV_READ);
}

uint64_t hs_inbox_due_ms(const hs_io_t *io)
{
    const hs_inbox_t *inbox = &io->inbox;
    if (inbox->resume_ms == 0 || inbox->level_ms == 0)
        return inbox->resume_ms + inbox->level_ms;
    return hs_min(inbox->resume_ms, inbox->level_ms);
}
