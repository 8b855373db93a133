#include "server/hs_io.h"

#include <errno.h>
#include <inttypes.h>

#include "conn/hs_conn_tls.h"
#include "conn/hs_conn_ws.h"
#include "os/hs_affinity.h"
#include "os/hs_clock.h"
#include "os/hs_entropy.h"
#include "os/hs_sock.h"
#include "os/hs_thread.h"
#include "server/hs_accept.h"
#include "server/hs_inbox.h"
#include "server/hs_io_observe.h"
#include "server/hs_keeper.h"

/* Generations released by one switch: more than one only if something else kept them. */
#define OVERDUE_MAX 4
/* How many connections over the limit may be refused with a response at the same time. */
#define SHED_SLOTS 64
/* How long an orphaned reactor continues requests in flight. */
#define ORPHAN_DRAIN_MS 500
/*
 * A busy client may have its next request on the wire while we decide to close. Idle connections
 * stay open this long in a drain, so that it gets a response, with `Connection: close`.
 */
#define IDLE_GRACE_MS 500
/* How long a small response may wait for the next one on its connection. */
#define HOLD_NS (1000 * 1000)
/* How often free memory is returned to the system; sooner while there is more. */
#define TRIM_MS 1000
#define TRIM_MORE_MS 20
/* How often the wall clock is compared with the monotonic one. */
#define REAL_OFFSET_MS 500
/* Topic messages delivered per turn. */
#define MESSAGES 256

void hs_io_begin_turn(hs_io_t *io)
{
    if (io->turn_begun)
        return;
    io->turn_begun = true;
    hs_loop_t *loop = &io->env.loop;
    loop->now_ns = hs_clock_monotonic_ns();
    loop->now_ms = loop->now_ns / 1000000;
    if (loop->now_ms >= io->real_offset_until_ms) {
        io->real_offset_ms = hs_clock_real_offset_ms(io->real_offset_ms);
        io->real_offset_until_ms = loop->now_ms + REAL_OFFSET_MS;
        atomic_store_explicit(&io->spans.real_offset_ms, io->real_offset_ms, memory_order_relaxed);
    }
    int64_t time_ms = (int64_t)loop->now_ms + io->real_offset_ms;
    hs_date_update(&io->env.date, time_ms / 1000);
    hs_executor_begin_turn(&io->env.executor, loop->now_ms);
    hs_io_observe_turn(io, loop->now_ns / 1000, time_ms);
}

static void on_turn(hs_loop_t *loop)
{
    hs_io_begin_turn((hs_io_t *)(void *)loop);
}

static hs_stats_state_t state_of(const hs_conn_t *conn)
{
    if (conn->phase == HS_CONN_LINGERING)
        return HS_STATS_LINGERING;
    if (hs_conn_is_websocket(conn))
        return HS_STATS_WEBSOCKET;
    if (conn->away)
        return HS_STATS_HANDLING;
    if (conn->job == NULL && conn->phase == HS_CONN_OPEN)
        return HS_STATS_IDLE;
    /* What the kernel accepts at once needs no state: most responses never wait. */
    if (!conn->stream.writable && hs_stream_unsent(&conn->stream) > 0)
        return HS_STATS_WRITING;
    return hs_http1_is_receiving(&conn->http1) || conn->stream.runs_again ? HS_STATS_READING
                                                                          : HS_STATS_IDLE;
}

static void count_state(hs_io_t *io, hs_conn_t *conn, hs_stats_state_t state)
{
    if (conn->stream.state == (uint8_t)state)
        return;
    io->by_state[conn->stream.state]--;
    io->by_state[state]++;
    conn->stream.state = (uint8_t)state;
}

static bool on_event_done(hs_loop_t *loop, hs_stream_t *stream)
{
    hs_io_t *io = (hs_io_t *)(void *)loop;
    hs_conn_t *conn = hs_conn_of(stream);
    if (HS_UNLIKELY(io->observer.has_lines))
        hs_io_observe_make_room(io);
    if (stream->closed) {
        io->by_state[stream->state]--;
        return false;
    }
    if (HS_UNLIKELY(io->inbox.handing_over) && !io->env.draining && hs_inbox_hand_over(io, conn))
        return true;
    count_state(io, conn, state_of(conn));
    return false;
}

static void on_conn_closed(hs_conn_env_t *env, hs_conn_t *conn)
{
    hs_io_t *io = (hs_io_t *)(void *)env;
    hs_pool_give(&env->conn_blocks, conn);
    io->conn_freed = true;
}

/* A connection that is watched, NULL on failure. */
static hs_conn_t *open_conn(hs_io_t *io, int fd, const hs_peer_t *peer)
{
    hs_conn_t *conn = hs_pool_take(&io->env.conn_blocks);
    if (conn == NULL)
        return NULL;
    if (hs_conn_open(conn, &io->env, fd, peer) < 0) {
        hs_pool_give(&io->env.conn_blocks, conn);
        return NULL;
    }
    io->by_state[HS_STATS_IDLE]++;
    return conn;
}

int hs_io_open_conn(hs_io_t *io, int fd, const hs_peer_t *peer, bool shed)
{
    hs_conn_t *conn = open_conn(io, fd, peer);
    if (conn == NULL)
        return HS_ERR_NOMEM;
    if (shed)
        hs_conn_refuse(conn, &io->env, 503);
    else if (io->env.proxy_protocol)
        hs_conn_expect_proxy(conn, &io->env);
    hs_stream_update(&io->env.loop, &conn->stream);
    return HS_OK;
}

int hs_io_open_tls(hs_io_t *io, int fd, const hs_peer_t *peer)
{
    hs_conn_t *conn = open_conn(io, fd, peer);
    if (conn == NULL)
        return HS_ERR_NOMEM;
    if (!hs_conn_expect_tls(conn, &io->env))
        hs_conn_abort(conn, &io->env);
    else if (io->env.proxy_protocol)
        hs_conn_expect_proxy(conn, &io->env);
    else
        hs_conn_begin_tls(conn, &io->env);
    hs_stream_update(&io->env.loop, &conn->stream);
    return HS_OK;
}

int hs_io_adopt_conn(hs_io_t *io, int fd, const hs_conn_moved_t *moved, const char *bytes)
{
    hs_conn_t *conn = open_conn(io, fd, &moved->peer);
    if (conn == NULL)
        return HS_ERR_NOMEM;
    if (!hs_conn_import(conn, &io->env, moved, bytes))
        hs_log_write(io->env.log, HS_LOG_ERROR, "a moved connection does not fit: closed");
    hs_stream_update(&io->env.loop, &conn->stream);
    return HS_OK;
}

void hs_io_forget_conn(hs_io_t *io, hs_conn_t *conn)
{
    hs_conn_abort(conn, &io->env);
    hs_list_remove(&conn->all);
    io->by_state[conn->stream.state]--;
    hs_stream_close(&io->env.loop, &conn->stream);
}

/* An idle connection may have a request on the wire: it is read first. */
static void drain_conn(hs_conn_t *conn, hs_conn_env_t *env)
{
    if (hs_conn_is_idle(conn) && conn->stream.buffers == NULL)
        hs_stream_receive(&env->loop, &conn->stream);
}

static void end_idle_grace(hs_io_t *io)
{
    io->env.idle_grace = false;
    hs_conn_for_each(&io->env, drain_conn);
}

/* Periodic tasks run once more, event streams end. */
static void drain_handler(hs_io_t *io)
{
    const hs_handler_t *handler = &io->env.executor.handler;
    atomic_store_explicit(&io->env.executor.completions.draining, true, memory_order_relaxed);
    if (handler->drain != NULL)
        handler->drain(handler->self);
}

static void begin_drain(hs_io_t *io, uint32_t timeout_ms, uint32_t grace_ms)
{
    if (io->env.draining)
        return;
    hs_io_begin_turn(io);
    hs_accept_take_all(io);
    hs_inbox_take_all(io);
    io->env.draining = true;
    io->drain_deadline_ms = io->env.loop.now_ms + timeout_ms;
    io->idle_grace_end_ms = io->env.loop.now_ms + hs_min(timeout_ms, grace_ms);
    io->env.idle_grace = io->idle_grace_end_ms > io->env.loop.now_ms;
    if (io->accepted_all != NULL)
        io->accepted_all(io->accepted_context, timeout_ms);
    hs_accept_close_all(io);
    if (!io->env.idle_grace)
        end_idle_grace(io);
    hs_conn_close_websockets(&io->env, HS_WS_GOING_AWAY, timeout_ms);
    drain_handler(io);
}

static void end_if_it_cannot_move(hs_conn_t *conn, hs_conn_env_t *env)
{
    (void)env;
    if (conn->tls != NULL)
        conn->ends = true;
}

/* TLS state is not in the descriptor: these connections are closed gracefully. */
static void end_what_cannot_move(hs_io_t *io, uint32_t timeout_ms)
{
    if (io->tls_port == 0)
        return;
    io->idle_grace_end_ms = io->env.loop.now_ms + hs_min(timeout_ms, IDLE_GRACE_MS);
    io->env.idle_grace = true;
    hs_conn_for_each(&io->env, end_if_it_cannot_move);
}

static void begin_hand_over(hs_io_t *io, uint32_t timeout_ms)
{
    if (io->env.draining || io->inbox.handing_over)
        return;
    hs_io_begin_turn(io);
    hs_accept_take_all(io);
    io->drain_deadline_ms = io->env.loop.now_ms + timeout_ms;
    hs_accept_close_all(io);
    if (hs_inbox_begin_hand_over(io)) {
        end_what_cannot_move(io, timeout_ms);
        hs_conn_close_websockets(&io->env, HS_WS_RESTART, timeout_ms);
        drain_handler(io);
    } else
        begin_drain(io, timeout_ms, IDLE_GRACE_MS);
}

static void on_control_event(hs_ev_t *ev, hs_ev_io_t *watcher, unsigned events)
{
    (void)events;
    hs_io_t *io = hs_ev_context(ev);
    struct iovec iov = { io->env.loop.discard, sizeof(io->env.loop.discard) };
    ptrdiff_t received = hs_sock_recv(watcher->fd, &iov, 1);
    if (received > 0 || received == -EAGAIN || received == -EINTR)
        return;
    io->control_open = false;
    hs_ev_io_close(ev, watcher, NULL);
    if (io->on_event != NULL)
        io->on_event(HS_EVENT_ORPHANED, io->on_event_ud);
    /* Settings that a boss also passes to its reactors. */
    atomic_store_explicit(&io->drain_timeout_ms, ORPHAN_DRAIN_MS, memory_order_relaxed);
    begin_drain(io, ORPHAN_DRAIN_MS, 0);
}

static int init_executor(hs_io_t *io, const hs_io_config_t *config, hs_errinfo_t *error)
{
    hs_executor_init(&io->env.executor, config->handler, config->dispatch, io->env.loop.ev);
    if (config->worker_count == 0)
        return HS_OK;
    hs_workers_config_t workers = {
        .factory = config->factory,
        .log = config->log,
        .completions = &io->env.executor.completions,
        .count = config->worker_count,
        .queue_capacity = config->queue_capacity,
        .handler_timeout_ms = config->limits->handler_timeout_ms,
        .compression = config->compression,
        .page = io->page,
        .slot = config->identity != NULL ? config->identity->stats_slot : 0,
        .side = config->identity != NULL ? config->identity->stats_side : 0,
    };
    io->workers = hs_workers_new(&workers);
    if (io->workers == NULL)
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for workers");
    hs_executor_set_workers(&io->env.executor, io->workers);
    return HS_OK;
}

int hs_io_init(hs_io_t *io, const hs_io_config_t *config, hs_errinfo_t *error)
{
    *io = (hs_io_t){ .on_event = config->on_event, .on_event_ud = config->on_event_ud };
    for (unsigned i = 0; i < HS_IO_LINES; i++)
        io->lines[i].file.fd = -1;
    io->observer.stats = &io->private_stats;
    hs_ev_t *ev = hs_ev_new(io, HS_IO_BATCH);
    if (ev == NULL)
        return hs_errinfo_set(error, HS_ERR_SYSTEM, errno, "cannot create an event loop: %s",
                              strerror(errno));
    hs_ledger_t *ledger = config->keeper != NULL ? hs_keeper_ledger(config->keeper) : NULL;
    int result = hs_conn_env_init(&io->env, config->limits, SHED_SLOTS, ledger, config->log, ev,
                                  &hs_transport_plain, hs_clock_monotonic_ms(), error);
    if (result != HS_OK)
        return result;
    if (io->env.survives)
        io->keeper = config->keeper;
    io->env.streams_content = config->streams_content;
    io->env.proxy_protocol = config->proxy_protocol;
    io->env.jobs.forwarding = config->forwarding;
    if (!hs_handshakes_init(&io->handshakes, config->handshake_rate, hs_entropy()))
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for TLS");
    io->env.jobs.shared = config->shared;
    io->env.jobs.topics = config->topics;
    if (config->compression != NULL) {
        io->env.compression = config->compression;
        io->env.coders = hs_compression_coders(config->compression);
        if (io->env.coders == NULL)
            return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for compression");
    }
    io->env.on_conn_closed = on_conn_closed;
    io->env.loop.on_turn = on_turn;
    io->env.loop.on_event_done = on_event_done;
    hs_readahead_init(&io->readahead, &io->env.loop);
    io->env.loop.readahead = &io->readahead;
    result = hs_io_observe_init(io, config->identity, error);
    if (result != HS_OK)
        return result;
    io->env.websockets.stats = io->observer.stats;
    result = init_executor(io, config, error);
    if (result == HS_OK) {
        result = hs_net_init(&io->net, &io->env.loop, config->log);
        io->has_net = result == HS_OK;
        if (result != HS_OK)
            hs_errinfo_set(error, result, 0, "cannot prepare outbound sockets");
    }
    hs_topic_hub_init(&io->topics, config->topics, ev, config->topics_waiter);
    hs_rooms_init(&io->rooms, &io->topics);
    io->env.websockets.rooms = config->topics != NULL ? &io->rooms : NULL;
    hs_websocket_deflates_init(&io->deflates, &io->env.websockets, &config->websocket_deflate);
    io->host = (hs_handler_host_t){
        .executor = &io->env.executor,
        .net = &io->net,
        .topics = config->topics != NULL ? &io->topics : NULL,
        .websockets = &io->env.websockets,
        .busy = &io->env.executor.busy,
        .reactor_index = config->identity != NULL ? config->identity->reactor_index : -1,
        .port = config->port,
    };
    hs_io_begin_turn(io);
    return result;
}

int hs_io_set_control(hs_io_t *io, int fd, hs_errinfo_t *error)
{
    int result = hs_sock_set_nonblock(fd);
    if (result == 0)
        result = hs_ev_io_start(io->env.loop.ev, &io->control, fd, HS_EV_READ | HS_EV_PEER_SHUT,
                                on_control_event);
    if (result < 0) {
        hs_sock_close(fd);
        return hs_errinfo_set(error, HS_ERR_SYSTEM, -result,
                              "cannot watch the control descriptor: %s", strerror(-result));
    }
    io->control_open = true;
    return HS_OK;
}

static bool is_ending(const hs_io_t *io)
{
    return io->env.draining || io->inbox.handing_over;
}

static int earlier_ms(int a_ms, int b_ms)
{
    return a_ms < 0 || b_ms < a_ms ? b_ms : a_ms;
}

static int poll_timeout_ms(const hs_io_t *io, uint64_t now_ms)
{
    const hs_loop_t *loop = &io->env.loop;
    if (hs_loop_is_busy(loop) || io->is_switching || hs_conn_has_websockets_to_update(&io->env))
        return 0;
    int timeout_ms = hs_wheel_timeout_ms(&loop->wheel, now_ms);
    if (!hs_list_empty(&loop->held))
        timeout_ms = earlier_ms(timeout_ms, 1);
    uint64_t tasks_due_ms = hs_handler_due_ms(&io->env.executor.handler, false);
    if (tasks_due_ms == 0)
        return 0;
    const uint64_t own[] = {
        tasks_due_ms != HS_NEVER ? tasks_due_ms : 0,
        is_ending(io) ? io->drain_deadline_ms : 0,
        io->env.idle_grace ? io->idle_grace_end_ms : 0,
        io->accept_paused ? io->accept_resume_ms : 0,
        hs_inbox_due_ms(io),
        hs_io_observe_due_ms(io),
    };
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (own[i] != 0)
            timeout_ms = earlier_ms(timeout_ms,
                                    own[i] > now_ms ? (int)hs_min(own[i] - now_ms, INT32_MAX) : 0);
    return timeout_ms;
}

static int poll(hs_io_t *io)
{
    hs_ev_t *ev = io->env.loop.ev;
    int timeout_ms = poll_timeout_ms(io, io->env.loop.now_ms);
    if (io->workers != NULL && hs_workers_want_wake(io->workers)) {
        /* More requests may have arrived already and can share the same wake. The turn continues
         * either way: this poll may have consumed the wake for a stop or a response. */
        int ready = hs_ev_poll(ev, 0);
        if (ready == 0)
            hs_workers_wake(io->workers);
        return ready;
    }
    int topics_ms = hs_topic_hub_begin_sleep(&io->topics);
    if (HS_UNLIKELY(topics_ms >= 0))
        timeout_ms = earlier_ms(timeout_ms, topics_ms);
    int polled = hs_ev_poll(ev, hs_executor_begin_sleep(&io->env.executor, timeout_ms));
    hs_executor_end_sleep(&io->env.executor);
    hs_topic_hub_end_sleep(&io->topics);
    return polled;
}

/*
 * The time up to which all arrived data has been received, after a poll with `ready` events.
 * Deadlines are judged by it, so that a client whose bytes wait in the kernel because this thread
 * was busy or stopped is not considered slow. A poll that was not full has seen everything. Full
 * ones have once there were enough of them to report each descriptor: epoll reports those that
 * waited longest first.
 */
static void move_horizon(hs_io_t *io, int ready)
{
    uint64_t now_ms = io->env.loop.now_ms;
    if (ready < HS_IO_BATCH) {
        io->horizon_ms = now_ms;
        io->full_polls = 0;
        return;
    }
    if (io->full_polls++ == 0)
        io->full_since_ms = now_ms;
    if ((uint64_t)io->full_polls * HS_IO_BATCH >
        hs_pool_in_use(&io->env.conn_blocks) + io->net.open + 2 * HS_IO_LISTENERS_MAX) {
        io->horizon_ms = io->full_since_ms;
        io->full_polls = 0;
    }
}

static void take_handed_over(hs_io_t *io)
{
    int fd;
    while ((fd = hs_handoff_take(io->handoff)) >= 0) {
        hs_peer_t peer = hs_peer_of(fd);
        hs_accept_take(io, fd, &peer, hs_accept_is_tls(io, fd));
    }
}

static void take_requests(hs_io_t *io)
{
    if (HS_UNLIKELY(atomic_load_explicit(&io->next_tls, memory_order_relaxed) != NULL))
        hs_conn_set_tls(&io->env,
                        atomic_exchange_explicit(&io->next_tls, NULL, memory_order_acquire));
    if (atomic_load_explicit(&io->switched_to, memory_order_relaxed) != 0) {
        hs_io_observe_generation(
            io, atomic_exchange_explicit(&io->switched_to, 0, memory_order_relaxed));
        io->is_switching = true;
    }
    if (atomic_load_explicit(&io->reopen_requested, memory_order_relaxed)) {
        atomic_store_explicit(&io->reopen_requested, false, memory_order_relaxed);
        hs_io_observe_reopen(io);
    }
    if (atomic_load_explicit(&io->hand_over_requested, memory_order_acquire))
        begin_hand_over(io, atomic_load_explicit(&io->hand_over_timeout_ms, memory_order_relaxed));
    if (atomic_load_explicit(&io->drain_requested, memory_order_acquire))
        begin_drain(io, atomic_load_explicit(&io->drain_timeout_ms, memory_order_relaxed),
                    IDLE_GRACE_MS);
    if (io->env.idle_grace && io->env.loop.now_ms >= io->idle_grace_end_ms)
        end_idle_grace(io);
}

static void abort_overdue(hs_conn_t *conn, hs_conn_env_t *env)
{
    const hs_handler_t *handler = &env->executor.handler;
    const void *context = handler->overdue(handler->self);
    bool is_sent_from = context != NULL && conn->stream.buffers != NULL &&
                        hs_out_holds(&conn->stream.buffers->out, context);
    bool is_suspended = context != NULL && conn->away && conn->job->suspended_by == context;
    if (!is_sent_from && !is_suspended)
        return;
    hs_log_write(env->log, HS_LOG_WARN,
                 "a response of an earlier generation of the handler was aborted: too many "
                 "generations are in use");
    hs_conn_abort(conn, env);
}

/* The handler was replaced, and responses of earlier ones keep too many of those alive. */
static void end_overdue(hs_io_t *io)
{
    const hs_handler_t *handler = &io->env.executor.handler;
    if (handler->overdue == NULL)
        return;
    for (int i = 0; i < OVERDUE_MAX && handler->overdue(handler->self) != NULL; i++)
        hs_conn_for_each(&io->env, abort_overdue);
    const void *context = handler->overdue(handler->self);
    if (context != NULL)
        handler->stop(handler->self, context);
}

static void run_tasks(hs_io_t *io)
{
    const hs_handler_t *handler = &io->env.executor.handler;
    if (hs_handler_due_ms(handler, true) <= io->env.loop.now_ms)
        handler->run_tasks(handler->self);
}

/* Finishes what the events started: requests go to workers, responses come back, everything is
 * sent. */
static void finish_turn(hs_io_t *io)
{
    hs_loop_resume(&io->env.loop);
    if (HS_UNLIKELY(hs_topic_hub_is_used(&io->topics)))
        (void)hs_topic_hub_dispatch(&io->topics, MESSAGES);
    run_tasks(io);
    bool has_switched = io->is_switching; /* before run_tasks, which has switched */
    hs_executor_flush(&io->env.executor);
    /* Again, as late as possible: a worker's response carries `Connection: close` if the drain was
     * requested before the worker finished. */
    take_requests(io);
    hs_conn_collect(&io->env);
    hs_executor_flush(&io->env.executor);
    hs_conn_update_websockets(&io->env);
    hs_loop_send(&io->env.loop, HOLD_NS);
    hs_io_observe_sent(io);
    if (!has_switched)
        return;
    end_overdue(io);
    io->is_switching = false;
}

static bool is_finished(const hs_io_t *io)
{
    if (atomic_load_explicit(&io->stop_requested, memory_order_acquire))
        return true;
    if (!is_ending(io))
        return false;
    if (io->env.loop.now_ms >= io->drain_deadline_ms)
        return true;
    const hs_handler_t *handler = &io->env.executor.handler;
    return hs_list_empty(&io->env.connections) &&
           (handler->is_ending == NULL || !handler->is_ending(handler->self));
}

static void pin(hs_io_t *io)
{
    if (io->pin_cpu < 0)
        return;
    int cpu = hs_os_pin((unsigned)io->pin_cpu);
    if (cpu >= 0)
        hs_log_write(io->env.log, HS_LOG_DEBUG, "pinned to CPU %d", cpu);
    else
        hs_log_write(io->env.log, HS_LOG_WARN, "cannot pin the I/O thread to a CPU: %s",
                     strerror(-cpu));
}

/* Connections with unfinished responses: lingering ones have theirs. */
static uint64_t count_owed(const hs_io_t *io)
{
    uint64_t owed = 0;
    for (unsigned state = 0; state < HS_STATS_STATES; state++)
        if (state != HS_STATS_LINGERING)
            owed += io->by_state[state];
    return owed;
}

/* The drain's caller must learn that time ran out. */
static void report_cut(hs_io_t *io)
{
    bool is_stopped = atomic_load_explicit(&io->stop_requested, memory_order_acquire);
    uint64_t owed = count_owed(io);
    if (is_stopped || !is_ending(io) || owed == 0)
        return;
    hs_log_write(io->env.log, HS_LOG_WARN,
                 "the drain timeout has expired: %" PRIu64 " connection%s closed", owed,
                 owed == 1 ? " is" : "s are");
    io->has_cut = true;
}

/* True: there is more. */
static bool trim(hs_io_t *io)
{
    return hs_conn_env_trim(&io->env) || (io->keeper != NULL && hs_keeper_trim(io->keeper));
}

int hs_io_run(hs_io_t *io)
{
    const hs_handler_t *handler = &io->env.executor.handler;
    int result = HS_OK;
    pin(io);
    if (io->workers != NULL)
        hs_thread_become(HS_THREAD_IO);
    /* The time and the heartbeat of hs_io_init may be minutes old: a loaded process may have to
     * wait. */
    io->turn_begun = false;
    hs_io_begin_turn(io);
    if (io->keeper != NULL)
        hs_keeper_begin(io->keeper, &io->env, (uint16_t[]){ io->host.port, io->tls_port });
    if (handler->attach != NULL)
        handler->attach(handler->self, &io->host);
    if (io->on_event != NULL)
        io->on_event(HS_EVENT_READY, io->on_event_ud);
    take_requests(io);
    while (!is_finished(io)) {
        io->turn_begun = false;
        int polled = poll(io);
        if (polled < 0) {
            hs_log_write(io->env.log, HS_LOG_FATAL, "the event loop failed: %s", strerror(-polled));
            result = HS_ERR_SYSTEM;
            break;
        }
        hs_io_begin_turn(io);
        take_requests(io); /* before responses are written: they carry `Connection: close` */
        if (io->handoff != NULL)
            take_handed_over(io);
        finish_turn(io);
        move_horizon(io, polled);
        hs_loop_check_deadlines(&io->env.loop, io->horizon_ms);
        if (polled == 0 && io->env.loop.now_ms >= io->trim_ms)
            io->trim_ms = io->env.loop.now_ms + (trim(io) ? TRIM_MORE_MS : TRIM_MS);
        hs_accept_resume_if_due(io);
        hs_inbox_resume_if_due(io);
    }
    report_cut(io);
    hs_accept_close_all(io);
    hs_conn_for_each(&io->env, hs_conn_abort);
    if (handler->stop != NULL)
        handler->stop(handler->self, NULL);
    hs_io_observe_sent(io);
    hs_io_observe_end(io);
    if (io->keeper != NULL)
        hs_keeper_end(io->keeper);
    return result;
}

/* Waits at most `wait_ms` for deferred jobs still held by threads of the program. Returns how many
 * are left. */
static uint32_t wait_for_deferred(hs_io_t *io, uint32_t wait_ms)
{
    const hs_completions_t *completions = &io->env.executor.completions;
    uint64_t now_ms = hs_clock_monotonic_ms();
    uint64_t until_ms = now_ms + wait_ms;
    hs_conn_collect(&io->env);
    while (completions->away > 0 && now_ms < until_ms) {
        int timeout_ms = (int)hs_min(until_ms - now_ms, 1000);
        (void)hs_ev_poll(io->env.loop.ev, hs_executor_begin_sleep(&io->env.executor, timeout_ms));
        hs_executor_end_sleep(&io->env.executor);
        hs_conn_collect(&io->env);
        now_ms = hs_clock_monotonic_ms();
    }
    return completions->away;
}

uint32_t hs_io_free(hs_io_t *io, uint32_t wait_ms)
{
    hs_ev_t *ev = io->env.loop.ev;
    if (ev == NULL)
        return 0;
    hs_accept_close_all(io);
    if (io->control_open)
        hs_ev_io_close(ev, &io->control, NULL);
    hs_inbox_close(io);
    io->control_open = false;
    if (io->workers != NULL) {
        uint32_t left = hs_workers_stop(io->workers, wait_ms);
        if (left > 0)
            return left;
    }
    uint32_t left = wait_for_deferred(io, wait_ms);
    if (left > 0)
        return left;
    hs_workers_free(io->workers);
    io->workers = NULL;
    hs_io_observe_free(io);
    hs_tls_server_leave(atomic_exchange_explicit(&io->next_tls, NULL, memory_order_acquire));
    if (io->has_net)
        hs_net_free(&io->net);
    hs_readahead_free(&io->readahead);
    hs_rooms_end(&io->rooms);
    hs_topic_hub_end(&io->topics);
    hs_websocket_deflates_end(&io->deflates);
    hs_handshakes_free(&io->handshakes);
    hs_ev_free(ev);
    hs_conn_env_free(&io->env);
    io->env.loop.ev = NULL;
    return 0;
}

void hs_io_request_stop(hs_io_t *io)
{
    atomic_store_explicit(&io->stop_requested, true, memory_order_release);
    hs_ev_wake(io->env.loop.ev);
}

void hs_io_request_drain(hs_io_t *io, uint32_t timeout_ms)
{
    atomic_store_explicit(&io->drain_timeout_ms, timeout_ms, memory_order_relaxed);
    atomic_store_explicit(&io->drain_requested, true, memory_order_release);
    hs_ev_wake(io->env.loop.ev);
}

void hs_io_request_hand_over(hs_io_t *io, uint32_t timeout_ms)
{
    atomic_store_explicit(&io->hand_over_timeout_ms, timeout_ms, memory_order_relaxed);
    atomic_store_explicit(&io->hand_over_requested, true, memory_order_release);
    hs_ev_wake(io->env.loop.ev);
}

void hs_io_request_reopen(hs_io_t *io)
{
    atomic_store_explicit(&io->reopen_requested, true, memory_order_relaxed);
    hs_ev_wake(io->env.loop.ev);
}

void hs_io_set_tls(hs_io_t *io, hs_tls_server_t *server)
{
    hs_tls_server_leave(atomic_exchange_explicit(&io->next_tls, server, memory_order_acq_rel));
    hs_ev_wake(io->env.loop.ev);
}

void hs_io_switch(hs_io_t *io, uint64_t generation)
{
    atomic_store_explicit(&io->switched_to, generation, memory_order_relaxed);
    hs_ev_wake(io->env.loop.ev);
    if (io->workers != NULL)
        hs_workers_wake_all(io->workers);
}
