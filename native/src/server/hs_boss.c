#include <errno.h>
#include <pthread.h>

#include "base/hs_alloc.h"
#include "os/hs_clock.h"
#include "os/hs_sock.h"
#include "os/hs_thread.h"
#include "server/hs_boss_slots.h"

/* Connections taken from one listener before pairs get their turn. */
#define ACCEPTS_PER_TURN 64
/* How often to retry when no event reports readiness. */
#define RETRY_MS 20
#define EVENTS 64
/* How long the supervisor waits for the thread to accept queued connections. */
#define CLOSE_WAIT_MS 1000

/* owner: boss */
typedef struct boss_listener {
    hs_ev_io_t watcher; /* first: the loop returns it */
    int fd;             /* borrowed */
    bool is_watched;
} boss_listener_t;

/* owner: the supervisor's thread before the start and after the end, the boss's thread in
 * between */
struct hs_boss {
    hs_ev_t *ev;
    hs_log_t log;
    hs_log_json_t log_json;
    hs_boss_slots_t slots; /* the loop's context is this member */
    boss_listener_t listeners[HS_BOSS_LISTENERS_MAX];
    size_t listener_count;
    bool is_paused;        /* no listener is watched */
    uint64_t pause_log_ms; /* another pause is logged only after this */
    bool out_of_room;      /* for lack of descriptors: resumes after RETRY_MS */

    pthread_t thread;
    bool is_started;
    _Atomic bool stop_requested;  /* supervisor sets, boss reads; release/acquire */
    _Atomic bool close_requested; /* likewise */
    pthread_mutex_t mutex;        /* guards is_closed */
    pthread_cond_t closed;
    bool is_closed;
};

static hs_boss_t *boss_of(hs_ev_t *ev)
{
    hs_boss_slots_t *slots = hs_ev_context(ev);
    return HS_CONTAINER_OF(slots, hs_boss_t, slots);
}

static void pause_accepting(hs_boss_t *boss, bool out_of_room)
{
    boss->out_of_room = boss->out_of_room || out_of_room;
    if (boss->is_paused)
        return;
    boss->is_paused = true;
    uint64_t pauses = atomic_load_explicit(&boss->slots.tally.pauses, memory_order_relaxed);
    atomic_store_explicit(&boss->slots.tally.pauses, pauses + 1, memory_order_relaxed);
    for (size_t i = 0; i < boss->listener_count; i++)
        hs_ev_io_stop(boss->ev, &boss->listeners[i].watcher);
}

static void accept_up_to(hs_boss_t *boss, int listen_fd, int limit)
{
    hs_boss_slots_refresh(&boss->slots);
    for (int i = 0; i < limit; i++) {
        /* First the slot: without one the connection stays in the listen queue. */
        hs_boss_slot_t *slot = hs_boss_slots_pick(&boss->slots);
        if (slot == NULL) {
            pause_accepting(boss, false);
            break;
        }
        int fd = hs_sock_accept(listen_fd, NULL);
        if (fd >= 0) {
            hs_boss_slots_add(&boss->slots, slot, fd);
            continue;
        }
        if (fd == -ECONNABORTED || fd == -EPROTO || fd == -EINTR)
            continue;
        if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
            if (hs_log_due(&boss->pause_log_ms, hs_clock_monotonic_ms()))
                hs_log_write(&boss->log, HS_LOG_WARN, "accepting is paused: %s", strerror(-fd));
            pause_accepting(boss, true);
        }
        break; /* EAGAIN: the queue is empty */
    }
    hs_boss_slots_flush(&boss->slots);
}

static void on_listener_event(hs_ev_t *ev, hs_ev_io_t *watcher, unsigned events)
{
    (void)events;
    accept_up_to(boss_of(ev), watcher->fd, ACCEPTS_PER_TURN);
}

static void resume_accepting(hs_boss_t *boss)
{
    if (!boss->is_paused || boss->out_of_room || hs_boss_slots_pick(&boss->slots) == NULL)
        return;
    boss->is_paused = false;
    for (size_t i = 0; i < boss->listener_count; i++) {
        boss_listener_t *listener = &boss->listeners[i];
        if (listener->is_watched && hs_ev_io_start(boss->ev, &listener->watcher, listener->fd,
                                                   HS_EV_READ, on_listener_event) < 0)
            pause_accepting(boss, true);
    }
}

static void close_listeners(hs_boss_t *boss)
{
    atomic_store_explicit(&boss->close_requested, false, memory_order_relaxed);
    for (size_t i = 0; i < boss->listener_count; i++) {
        boss_listener_t *listener = &boss->listeners[i];
        if (!listener->is_watched)
            continue;
        accept_up_to(boss, listener->fd, INT32_MAX);
        hs_ev_io_stop(boss->ev, &listener->watcher);
        listener->is_watched = false;
    }
    pthread_mutex_lock(&boss->mutex);
    boss->is_closed = true;
    pthread_cond_signal(&boss->closed);
    pthread_mutex_unlock(&boss->mutex);
}

static void *boss_thread(void *argument)
{
    hs_boss_t *boss = argument;
    while (!atomic_load_explicit(&boss->stop_requested, memory_order_acquire)) {
        bool waits = boss->slots.needs_retry || boss->out_of_room;
        int polled = hs_ev_poll(boss->ev, waits ? RETRY_MS : -1);
        if (polled < 0) {
            hs_log_write(&boss->log, HS_LOG_FATAL, "the boss's event loop failed: %s",
                         strerror(-polled));
            break;
        }
        boss->out_of_room = boss->out_of_room && polled > 0;
        hs_boss_slots_resume(&boss->slots);
        if (atomic_load_explicit(&boss->close_requested, memory_order_acquire))
            close_listeners(boss);
        resume_accepting(boss);
    }
    return NULL;
}

static int open_boss(hs_boss_t *boss, const hs_boss_config_t *config, hs_errinfo_t *error)
{
    if (config->slots < 1 || config->slots > HS_STATS_SLOTS_MAX ||
        config->listen_fd_count > HS_BOSS_LISTENERS_MAX)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "too many slots (%u) or listeners (%zu)",
                              config->slots, config->listen_fd_count);
    boss->ev = hs_ev_new(&boss->slots, EVENTS);
    if (boss->ev == NULL)
        return hs_errinfo_set(error, HS_ERR_SYSTEM, errno, "cannot create an event loop: %s",
                              strerror(errno));
    boss->slots.ev = boss->ev;
    boss->slots.log = &boss->log;
    boss->slots.stats = config->stats;
    boss->slots.policy = config->policy;
    boss->slots.count = config->slots;
    for (size_t i = 0; i < config->listen_fd_count; i++) {
        int result = hs_sock_set_nonblock(config->listen_fds[i]);
        if (result < 0)
            return hs_errinfo_set(error, HS_ERR_SYSTEM, -result, "listener %d: %s",
                                  config->listen_fds[i], strerror(-result));
        boss->listeners[i] = (boss_listener_t){ .fd = config->listen_fds[i], .is_watched = true };
    }
    boss->listener_count = config->listen_fd_count;
    boss->is_paused = true; /* no slot is up */
    return hs_boss_slots_open(&boss->slots, error);
}

hs_boss_t *hs_boss_create(const hs_boss_config_t *config, char *error, size_t error_size)
{
    hs_errinfo_t info = { .text = "out of memory for the boss" };
    hs_boss_t *boss = hs_alloc_zeroed(1, sizeof(*boss));
    if (boss != NULL) {
        boss->log_json = (hs_log_json_t){ .fd = config->log_json_fd, .reactor = -1 };
        hs_log_init(&boss->log, HS_LOG_INFO, config->log_json_fd >= 0 ? hs_log_json_sink : NULL,
                    &boss->log_json);
        (void)pthread_mutex_init(&boss->mutex, NULL);
        hs_cond_init(&boss->closed);
        if (open_boss(boss, config, &info) == HS_OK)
            return boss;
    }
    hs_boss_free(boss);
    if (error != NULL && error_size > 0)
        snprintf(error, error_size, "%s", info.text);
    return NULL;
}

int hs_boss_inbox(const hs_boss_t *boss, uint32_t slot)
{
    return slot < boss->slots.count ? boss->slots.slots[slot].inbox : -1;
}

int hs_boss_start(hs_boss_t *boss)
{
    if (boss->is_started)
        return -EALREADY;
    hs_errinfo_t error = { 0 };
    boss->is_started =
        hs_thread_start(&boss->thread, HS_THREAD_IO, "hs-boss", boss_thread, boss, &error) == HS_OK;
    return boss->is_started ? 0 : error.sys_errno != 0 ? -error.sys_errno : -ENOMEM;
}

void hs_boss_set_up(hs_boss_t *boss, uint32_t slot, bool is_up, uint32_t pid)
{
    if (slot >= boss->slots.count)
        return;
    uint32_t up = !is_up ? 0 : pid != 0 ? pid : UP_UNKNOWN;
    atomic_store_explicit(&boss->slots.slots[slot].up, up, memory_order_release);
    atomic_store_explicit(&boss->slots.slots[slot].recounts, true, memory_order_release);
    hs_ev_wake(boss->ev);
}

void hs_boss_reclaim(hs_boss_t *boss, uint32_t slot)
{
    if (slot >= boss->slots.count)
        return;
    atomic_store_explicit(&boss->slots.slots[slot].reclaim, true, memory_order_release);
    hs_ev_wake(boss->ev);
}

void hs_boss_close_listeners(hs_boss_t *boss)
{
    if (!boss->is_started)
        return;
    hs_deadline_t until = hs_thread_time_in(CLOSE_WAIT_MS);
    atomic_store_explicit(&boss->close_requested, true, memory_order_release);
    hs_ev_wake(boss->ev);
    pthread_mutex_lock(&boss->mutex);
    while (!boss->is_closed &&
           hs_cond_wait_until(&boss->closed, &boss->mutex, &until) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&boss->mutex);
}

uint64_t hs_boss_passed(hs_boss_t *boss, uint32_t slot)
{
    return slot < boss->slots.count
               ? atomic_load_explicit(&boss->slots.slots[slot].passed, memory_order_relaxed)
               : 0;
}

void hs_boss_read_counters(hs_boss_t *boss, hs_boss_counters_t *out)
{
    hs_boss_tally_t *tally = &boss->slots.tally;
    *out = (hs_boss_counters_t){
        .accepted = atomic_load_explicit(&tally->accepted, memory_order_relaxed),
        .relayed = atomic_load_explicit(&tally->relayed, memory_order_relaxed),
        .lost = atomic_load_explicit(&tally->lost, memory_order_relaxed),
        .held = atomic_load_explicit(&tally->held, memory_order_relaxed),
        .pauses = atomic_load_explicit(&tally->pauses, memory_order_relaxed),
    };
}

void hs_boss_free(hs_boss_t *boss)
{
    if (boss == NULL)
        return;
    if (boss->is_started) {
        atomic_store_explicit(&boss->stop_requested, true, memory_order_release);
        hs_ev_wake(boss->ev);
        (void)pthread_join(boss->thread, NULL);
    }
    if (boss->ev != NULL) {
        hs_boss_slots_close(&boss->slots);
        hs_ev_free(boss->ev);
    }
    (void)pthread_mutex_destroy(&boss->mutex);
    (void)pthread_cond_destroy(&boss->closed);
    hs_free(boss);
}
