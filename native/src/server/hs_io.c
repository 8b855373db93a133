#include "server/hs_io.h"

#include <errno.h>
#include <inttypes.h>

#include "os/hs_affinity.h"
#include "os/hs_clock.h"
#include "os/hs_sock.h"
#include "os/hs_thread.h"
#include "server/hs_accept.h"
#include "server/hs_inbox.h"
#include "server/hs_io_conn.h"
#include "server/hs_io_observe.h"

#define SLOTS_PER_CHUNK 128
/* Connections over the limit that may be told so at the same time. */
#define SHED_SLOTS 64
/* How long an orphaned reactor goes on with what is in flight. */
#define ORPHAN_DRAIN_MS 500
/*
 * A client that keeps its connection busy has its next request on the wire while we decide to
 * close. For so long idle connections stay open in a drain, so that it is answered, with
 * `Connection: close`.
 */
#define IDLE_GRACE_MS 500
/* While nothing happens background tasks are resumed so often. */
#define TASK_INTERVAL_MS 10

static void end_idle_grace(hs_io_t *io)
{
    io->env.idle_grace = false;
    hs_io_conn_drain_all(io);
}

static void begin_drain(hs_io_t *io, uint32_t timeout_ms, uint32_t grace_ms)
{
    if (io->env.draining)
        return;
    hs_io_begin_turn(io);
    hs_accept_take_all(io);
    hs_inbox_take_all(io);
    io->env.draining = true;
    io->drain_deadline_ms = io->env.now_ms + timeout_ms;
    io->idle_grace_end_ms = io->env.now_ms + hs_min(timeout_ms, grace_ms);
    io->env.idle_grace = io->idle_grace_end_ms > io->env.now_ms;
    hs_accept_close_all(io);
    if (!io->env.idle_grace)
        end_idle_grace(io);
}

static void begin_hand_over(hs_io_t *io, uint32_t timeout_ms)
{
    if (io->env.draining || io->inbox.handing_over)
        return;
    hs_io_begin_turn(io);
    hs_accept_take_all(io);
    io->drain_deadline_ms = io->env.now_ms + timeout_ms;
    hs_accept_close_all(io);
    if (!hs_inbox_begin_hand_over(io))
        begin_drain(io, timeout_ms, IDLE_GRACE_MS);
}

static void on_control_event(hs_ev_t *ev, hs_ev_io_t *watcher, unsigned events)
{
    (void)events;
    hs_io_t *io = hs_ev_context(ev);
    struct iovec iov = { io->discard, sizeof(io->discard) };
    ptrdiff_t received = hs_sock_recv(watcher->fd, &iov, 1);
    if (received > 0 || received == -EAGAIN || received == -EINTR)
        return;
    io->control_open = false;
    hs_ev_io_close(ev, watcher, NULL);
    if (io->on_event != NULL)
        io->on_event(HS_EVENT_ORPHANED, io->on_event_ud);
    /* What a boss gives its reactors too. */
    atomic_store_explicit(&io->drain_timeout_ms, ORPHAN_DRAIN_MS, memory_order_relaxed);
    begin_drain(io, ORPHAN_DRAIN_MS, 0);
}

static int init_dispatch(hs_io_t *io, const hs_io_config_t *config, hs_errinfo_t *error)
{
    if (config->worker_count > 0) {
        hs_workers_config_t workers = {
            .maker = config->maker,
            .log = config->log,
            .ev = io->ev,
            .count = config->worker_count,
            .queue_capacity = config->queue_capacity,
            .page = io->page,
            .slot = config->station != NULL ? config->station->stats_slot : 0,
            .side = config->station != NULL ? config->station->stats_side : 0,
        };
        io->workers = hs_workers_new(&workers);
        if (io->workers == NULL)
            return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for workers");
    }
    hs_dispatch_init(&io->env.dispatch, config->handler, config->dispatch, io->workers,
                     config->log);
    return HS_OK;
}

int hs_io_init(hs_io_t *io, const hs_io_config_t *config, hs_errinfo_t *error)
{
    *io = (hs_io_t){ .on_event = config->on_event, .on_event_ud = config->on_event_ud };
    io->access_file.fd = -1;
    io->observer.stats = &io->private_stats;
    io->ev = hs_ev_new(io, HS_IO_BATCH);
    if (io->ev == NULL) {
        if (config->station != NULL)
            hs_sock_close(config->station->stats_fd);
        return hs_errinfo_set(error, HS_ERR_SYSTEM, errno, "cannot make an event loop: %s",
                              strerror(errno));
    }
    hs_exchange_pool_init(&io->pool, config->limits, config->log);
    hs_slab_init(&io->slots, sizeof(hs_io_conn_t), SLOTS_PER_CHUNK,
                 config->limits->max_connections + SHED_SLOTS);
    hs_list_init(&io->connections);
    hs_list_init(&io->to_send);
    hs_list_init(&io->held);
    hs_list_init(&io->again);
    io->env = (hs_conn_env_t){
        .limits = config->limits,
        .pool = &io->pool,
        .log = config->log,
        .discard = { io->discard, sizeof(io->discard) },
    };
    int result = hs_io_observe_init(io, config->station, error);
    if (result != HS_OK)
        return result;
    hs_io_begin_turn(io);
    hs_wheel_init(&io->wheel, io->env.now_ms);
    return init_dispatch(io, config, error);
}

int hs_io_set_control(hs_io_t *io, int fd, hs_errinfo_t *error)
{
    int result = hs_sock_set_nonblock(fd);
    if (result == 0)
        result = hs_ev_io_start(io->ev, &io->control, fd, HS_EV_READ | HS_EV_PEER_SHUT,
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
    if (!hs_list_empty(&io->again) || !hs_list_empty(&io->to_send))
        return 0;
    int timeout_ms = hs_wheel_timeout_ms(&io->wheel, now_ms);
    if (!hs_list_empty(&io->held))
        timeout_ms = earlier_ms(timeout_ms, 1);
    if (hs_handler_has_tasks(&io->env.dispatch.handler))
        timeout_ms = earlier_ms(timeout_ms, TASK_INTERVAL_MS);
    const uint64_t own[] = {
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
    int timeout_ms = poll_timeout_ms(io, io->env.now_ms);
    if (io->workers == NULL)
        return hs_ev_poll(io->ev, timeout_ms);
    if (hs_workers_want_wake(io->workers)) {
        /* More requests may be here already: then they are worth the same wake. The turn goes on
         * either way: this poll may have taken the wake that tells of a stop or an answer. */
        int ready = hs_ev_poll(io->ev, 0);
        if (ready == 0)
            hs_workers_wake(io->workers);
        return ready;
    }
    int polled = hs_ev_poll(io->ev, hs_workers_begin_sleep(io->workers, timeout_ms));
    hs_workers_end_sleep(io->workers);
    return polled;
}

static void take_handed_over(hs_io_t *io)
{
    int fd;
    while ((fd = hs_handoff_take(io->handoff)) >= 0)
        hs_accept_take(io, fd);
}

static void take_requests(hs_io_t *io)
{
    if (atomic_load_explicit(&io->reopen_requested, memory_order_relaxed)) {
        atomic_store_explicit(&io->reopen_requested, false, memory_order_relaxed);
        hs_io_observe_reopen(io);
    }
    if (atomic_load_explicit(&io->hand_over_requested, memory_order_acquire))
        begin_hand_over(io, atomic_load_explicit(&io->hand_over_timeout_ms, memory_order_relaxed));
    if (atomic_load_explicit(&io->drain_requested, memory_order_acquire))
        begin_drain(io, atomic_load_explicit(&io->drain_timeout_ms, memory_order_relaxed),
                    IDLE_GRACE_MS);
    if (io->env.idle_grace && io->env.now_ms >= io->idle_grace_end_ms)
        end_idle_grace(io);
}

/* What the events have begun: requests go to workers, answers come back, everything is sent. */
static void finish_turn(hs_io_t *io)
{
    hs_io_conn_go_on_all(io);
    hs_dispatch_flush(&io->env.dispatch);
    /* Again, as late as possible: a worker's answer says that the connection closes if the drain
     * was asked for before the worker had finished. */
    take_requests(io);
    hs_io_conn_collect(io);
    hs_dispatch_flush(&io->env.dispatch);
    if (io->env.dispatch.mode == HS_DISPATCH_AUTO)
        hs_dispatch_end_turn(&io->env.dispatch, hs_clock_monotonic_ns() - io->turn_begin_ns);
    hs_io_conn_send_all(io);
    hs_io_observe_sent(io);
    if (hs_handler_has_tasks(&io->env.dispatch.handler))
        io->env.dispatch.handler.run_tasks(io->env.dispatch.handler.self);
}

static bool is_finished(const hs_io_t *io)
{
    if (atomic_load_explicit(&io->stop_requested, memory_order_acquire))
        return true;
    return is_ending(io) &&
           (hs_list_empty(&io->connections) || io->env.now_ms >= io->drain_deadline_ms);
}

static void pin(hs_io_t *io)
{
    if (io->pin_cpu < 0)
        return;
    int cpu = hs_os_pin((unsigned)io->pin_cpu);
    if (cpu >= 0)
        hs_log_write(io->env.log, HS_LOG_DEBUG, "bound to processor %d", cpu);
    else
        hs_log_write(io->env.log, HS_LOG_WARN, "cannot bind the I/O thread to a processor: %s",
                     strerror(-cpu));
}

/* Connections to which something is owed: those that linger have their answer. */
static uint64_t count_owed(const hs_io_t *io)
{
    uint64_t owed = 0;
    for (unsigned state = 0; state < HS_STATS_STATES; state++)
        if (state != HS_STATS_LINGERING)
            owed += io->by_state[state];
    return owed;
}

/* Whoever drains wants to know that the time did not do. */
static void report_cut(hs_io_t *io)
{
    bool is_stopped = atomic_load_explicit(&io->stop_requested, memory_order_acquire);
    uint64_t owed = count_owed(io);
    if (is_stopped || !is_ending(io) || owed == 0)
        return;
    hs_log_write(io->env.log, HS_LOG_WARN,
                 "the time to drain is over: %" PRIu64 " connection%s cut", owed,
                 owed == 1 ? " is" : "s are");
    io->has_cut = true;
}

int hs_io_run(hs_io_t *io)
{
    int result = HS_OK;
    pin(io);
    if (io->workers != NULL)
        hs_thread_become(HS_THREAD_IO);
    /* The time and the heartbeat of hs_io_init may be minutes old: whoever has loaded may wait. */
    io->turn_begun = false;
    hs_io_begin_turn(io);
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
        take_requests(io); /* before answers are written: they say that the connection closes */
        if (io->handoff != NULL)
            take_handed_over(io);
        finish_turn(io);
        hs_io_conn_check_deadlines(io);
        hs_accept_resume_if_due(io);
        hs_inbox_resume_if_due(io);
    }
    report_cut(io);
    hs_accept_close_all(io);
    hs_io_conn_for_each(io, hs_conn_abort);
    hs_io_observe_sent(io);
    hs_io_observe_end(io);
    return result;
}

/* At the end nobody waits for what the workers still had. */
static void give_back(void *context, hs_exchange_t *exchange, void *lender)
{
    hs_io_t *io = context;
    HS_ASSERT(lender == NULL);
    (void)lender;
    hs_exchange_give_back(&io->pool, exchange);
}

uint32_t hs_io_free(hs_io_t *io, uint32_t wait_ms)
{
    if (io->ev == NULL)
        return 0;
    hs_accept_close_all(io);
    if (io->control_open)
        hs_ev_io_close(io->ev, &io->control, NULL);
    hs_inbox_close(io);
    io->control_open = false;
    if (io->workers != NULL) {
        uint32_t left = hs_workers_stop(io->workers, wait_ms);
        if (left > 0)
            return left;
        hs_dispatch_collect(&io->env.dispatch, give_back, io);
        hs_workers_free(io->workers);
        io->workers = NULL;
    }
    hs_io_observe_free(io);
    hs_ev_free(io->ev);
    hs_exchange_pool_free(&io->pool);
    hs_slab_free(&io->slots);
    io->ev = NULL;
    return 0;
}

void hs_io_request_stop(hs_io_t *io)
{
    atomic_store_explicit(&io->stop_requested, true, memory_order_release);
    hs_ev_wake(io->ev);
}

void hs_io_request_drain(hs_io_t *io, uint32_t timeout_ms)
{
    atomic_store_explicit(&io->drain_timeout_ms, timeout_ms, memory_order_relaxed);
    atomic_store_explicit(&io->drain_requested, true, memory_order_release);
    hs_ev_wake(io->ev);
}

void hs_io_request_hand_over(hs_io_t *io, uint32_t timeout_ms)
{
    atomic_store_explicit(&io->hand_over_timeout_ms, timeout_ms, memory_order_relaxed);
    atomic_store_explicit(&io->hand_over_requested, true, memory_order_release);
    hs_ev_wake(io->ev);
}

void hs_io_request_reopen(hs_io_t *io)
{
    atomic_store_explicit(&io->reopen_requested, true, memory_order_relaxed);
    hs_ev_wake(io->ev);
}
