#include "exec/hs_worker.h"

#include "exec/hs_res.h"
#include "os/hs_clock.h"
#include "os/hs_thread.h"

/* A sleeping worker is woken for so many requests, or after so many turns with fewer. */
#define WAKE_COUNT 32
#define WAKE_TURNS 4
/* A worker with more to do announces what it has finished after so many answers or so long: each
 * announcement may cost it its processor. Where a crowd waits, and so for long anyway, it lets more
 * come together. */
#define ANNOUNCE_COUNT 64
#define ANNOUNCE_NS (150 * 1000)
#define ANNOUNCE_CROWD_NS (1000 * 1000)
#define CROWD 16
/* How long an idle worker with background tasks waits before it resumes them. */
#define TASK_INTERVAL_MS 10
/* While exchanges are lent the I/O thread looks for unannounced answers by itself, at first so
 * soon, then, while nothing happens, at twice the interval, up to the longest. */
#define LOOK_FIRST_MS 1
#define LOOK_LONGEST_MS 64

typedef enum worker_state {
    WORKER_UNUSED,
    WORKER_RUNNING,
    WORKER_STUCK, /* its request took too long; it may still come back */
} worker_state_t;

typedef struct worker {
    hs_workers_t *pool;
    pthread_t thread;
    uint32_t number;
    worker_state_t state; /* owner: io */
    /* owner: the worker; io calls interrupt, which is for any thread, after it has seen
     * HS_LOAN_RUNNING with acquire */
    hs_handler_t handler;
    bool has_handler;

    /* owner: the worker */
    hs_stats_area_t *stats; /* NULL: none is left for it */
    uint64_t announced_ns;
    uint32_t unannounced;
    bool ended; /* under pool->lock */
} worker_t;

struct hs_workers {
    hs_workq_t queue;
    hs_mailbox_t mailbox;
    hs_workers_config_t config; /* read-only */

    /* owner: io */
    uint32_t outstanding;
    uint32_t started;
    uint32_t stuck;
    uint32_t unwoken;       /* shown since a sleeper was last woken */
    uint32_t unwoken_turns; /* for so many turns */
    uint32_t lent;          /* not shown yet */
    int look_ms;
    bool bound_reported;

    pthread_mutex_t lock;
    pthread_cond_t ended;
    worker_t workers[]; /* 2 × count; thread ids stay valid until joined */
};

static uint32_t most_threads(const hs_workers_t *workers)
{
    return 2 * workers->config.count;
}

hs_workers_t *hs_workers_new(const hs_workers_config_t *config)
{
    HS_ASSERT(config->count >= 1 && config->count <= HS_WORKERS_MAX);
    size_t size = sizeof(hs_workers_t) + 2 * (size_t)config->count * sizeof(worker_t);
    size = (size + HS_CACHE_LINE - 1) / HS_CACHE_LINE * HS_CACHE_LINE;
    hs_workers_t *workers = hs_alloc_aligned(HS_CACHE_LINE, size);
    if (workers == NULL)
        return NULL;
    memset(workers, 0, size);
    if (!hs_workq_init(&workers->queue, config->queue_capacity)) {
        hs_free(workers);
        return NULL;
    }
    hs_mailbox_init(&workers->mailbox, config->ev);
    workers->config = *config;
    workers->look_ms = LOOK_FIRST_MS;
    pthread_mutex_init(&workers->lock, NULL);
    hs_cond_init(&workers->ended);
    return workers;
}

static void announce(worker_t *worker, uint64_t now_ns)
{
    hs_mailbox_announce(&worker->pool->mailbox);
    worker->announced_ns = now_ns;
    worker->unannounced = 0;
}

/* Makes the handler of this thread, again if it failed before. */
static bool ensure_handler(worker_t *worker)
{
    if (worker->has_handler)
        return true;
    const hs_handler_maker_t *maker = &worker->pool->config.maker;
    hs_errinfo_t error = { 0 };
    worker->has_handler = maker->make(maker->context, &worker->handler, &error) == HS_OK;
    if (!worker->has_handler)
        hs_log_write(worker->pool->config.log, HS_LOG_ERROR, "worker %u has no handler: %s",
                     worker->number, error.text);
    return worker->has_handler;
}

/* The page has room for some of the threads that may be: the I/O thread has the first area. */
static hs_stats_area_t *stats_of(const worker_t *worker)
{
    const hs_workers_config_t *config = &worker->pool->config;
    uint32_t thread = worker->number + 1;
    if (config->page == NULL || thread >= HS_STATS_THREADS)
        return NULL;
    return hs_stats_page_area(config->page, config->slot, config->side, thread);
}

static void say_serving(const worker_t *worker, const hs_exchange_t *exchange, uint64_t now_ns)
{
    if (worker->stats == NULL)
        return;
    const hs_msg_t *msg = &exchange->request.msg;
    hs_stats_set(&worker->stats->heartbeat_ms, now_ns / 1000000);
    hs_stats_serve(worker->stats, exchange->number, msg->method, hs_msg_url(msg).data, msg->url_len,
                   now_ns / 1000000);
}

static void say_served(const worker_t *worker, uint64_t now_ns)
{
    if (worker->stats == NULL)
        return;
    hs_stats_serve_end(worker->stats);
    hs_stats_set(&worker->stats->heartbeat_ms, now_ns / 1000000);
}

static bool must_announce(const worker_t *worker, uint64_t now_ns)
{
    uint64_t silent_ns = now_ns - worker->announced_ns;
    if (worker->unannounced >= ANNOUNCE_COUNT || silent_ns > ANNOUNCE_CROWD_NS)
        return true;
    return silent_ns > ANNOUNCE_NS && hs_workq_length(&worker->pool->queue) < CROWD;
}

/* Runs what was lent and posts it. `begin_ns`: now. Returns the time at the end. */
static uint64_t run_one(worker_t *worker, hs_exchange_t *exchange, uint64_t begin_ns)
{
    int queued = HS_LOAN_QUEUED;
    uint64_t end_ns = begin_ns;
    exchange->worker = worker->number;
    HS_OWNER_TAKE(exchange->owner);
    bool has_handler = ensure_handler(worker);
    if (atomic_compare_exchange_strong_explicit(&exchange->loan, &queued, HS_LOAN_RUNNING,
                                                memory_order_acq_rel, memory_order_acquire)) {
        exchange->in_worker = true;
        exchange->view.in_worker = 1;
        say_serving(worker, exchange, begin_ns);
        if (has_handler) {
            hs_handler_answer(&worker->handler, exchange);
        } else {
            hs_res_begin(&exchange->response);
            hs_res_replace(&exchange->response, 500);
        }
        end_ns = hs_clock_monotonic_ns();
        say_served(worker, end_ns);
        uint64_t cost_us = (end_ns - begin_ns) / 1000;
        exchange->cost_us = cost_us < UINT32_MAX ? (uint32_t)cost_us : UINT32_MAX;
    }
    hs_mailbox_post(&worker->pool->mailbox, exchange);
    worker->unannounced++;
    if (must_announce(worker, end_ns))
        announce(worker, end_ns);
    return end_ns;
}

static void run_tasks(worker_t *worker)
{
    if (worker->has_handler && hs_handler_has_tasks(&worker->handler))
        worker->handler.run_tasks(worker->handler.self);
}

static hs_workq_wait_t wait_for_work(worker_t *worker)
{
    hs_workq_t *queue = &worker->pool->queue;
    if (!worker->has_handler || !hs_handler_has_tasks(&worker->handler))
        return hs_workq_wait(queue, NULL);
    hs_deadline_t until = hs_thread_time_in(TASK_INTERVAL_MS);
    return hs_workq_wait(queue, &until);
}

static void *work(void *argument)
{
    worker_t *worker = argument;
    hs_workers_t *pool = worker->pool;
    const hs_handler_maker_t *maker = &pool->config.maker;
    hs_workq_wait_t wait = HS_WORKQ_WORK;
    worker->stats = stats_of(worker);
    (void)ensure_handler(worker);
    while (wait != HS_WORKQ_CLOSED) {
        uint64_t now_ns = hs_clock_monotonic_ns();
        hs_exchange_t *exchange;
        while ((exchange = hs_workq_pop(&pool->queue)) != NULL) {
            hs_workq_share(&pool->queue);
            now_ns = run_one(worker, exchange, now_ns);
        }
        if (worker->unannounced > 0)
            announce(worker, now_ns);
        run_tasks(worker);
        wait = wait_for_work(worker);
    }
    if (worker->has_handler)
        maker->end(maker->context, &worker->handler);
    pthread_mutex_lock(&pool->lock);
    worker->ended = true;
    pthread_cond_signal(&pool->ended);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static void start_one(hs_workers_t *workers)
{
    worker_t *worker = &workers->workers[workers->started];
    hs_errinfo_t error = { 0 };
    worker->pool = workers;
    worker->number = workers->started;
    char name[16];
    snprintf(name, sizeof(name), "hs-worker-%u", worker->number);
    if (hs_thread_start(&worker->thread, HS_THREAD_WORK, name, work, worker, &error) != HS_OK) {
        hs_log_write(workers->config.log, HS_LOG_ERROR, "no worker more: %s", error.text);
        return;
    }
    worker->state = WORKER_RUNNING;
    workers->started++;
}

bool hs_workers_lend(hs_workers_t *workers, hs_exchange_t *exchange)
{
    HS_ASSERT_OWNER(exchange->owner);
    HS_OWNER_RELEASE(exchange->owner);
    atomic_store_explicit(&exchange->loan, HS_LOAN_QUEUED, memory_order_relaxed);
    if (!hs_workq_reserve(&workers->queue, exchange)) {
        atomic_store_explicit(&exchange->loan, HS_LOAN_NONE, memory_order_relaxed);
        HS_OWNER_TAKE(exchange->owner);
        return false;
    }
    workers->outstanding++;
    workers->lent++;
    return true;
}

void hs_workers_flush(hs_workers_t *workers)
{
    if (workers->lent == 0)
        return;
    hs_workq_show(&workers->queue);
    workers->look_ms = LOOK_FIRST_MS;
    workers->unwoken += workers->lent;
    workers->unwoken_turns++;
    workers->lent = 0;
    if (hs_workq_has_idle(&workers->queue)) {
        if (workers->unwoken >= WAKE_COUNT || workers->unwoken_turns >= WAKE_TURNS)
            hs_workers_wake(workers);
        return;
    }
    workers->unwoken = workers->unwoken_turns = 0;
    if (workers->started < workers->config.count + workers->stuck &&
        workers->started < most_threads(workers))
        start_one(workers);
}

bool hs_workers_want_wake(const hs_workers_t *workers)
{
    return workers->unwoken > 0;
}

void hs_workers_wake(hs_workers_t *workers)
{
    workers->unwoken = workers->unwoken_turns = 0;
    if (hs_workq_has_idle(&workers->queue))
        hs_workq_wake_one(&workers->queue);
}

uint64_t hs_workers_queued(const hs_workers_t *workers)
{
    return hs_workq_length(&workers->queue);
}

uint32_t hs_workers_outstanding(const hs_workers_t *workers)
{
    return workers->outstanding;
}

static void take_back(hs_workers_t *workers, hs_exchange_t *exchange)
{
    HS_OWNER_TAKE(exchange->owner);
    int loan = atomic_load_explicit(&exchange->loan, memory_order_relaxed);
    worker_t *worker = &workers->workers[exchange->worker];
    if (loan == HS_LOAN_RUNNING && worker->state == WORKER_STUCK) {
        hs_log_write(workers->config.log, HS_LOG_WARN, "worker %u has come back after %u ms",
                     worker->number, exchange->cost_us / 1000);
        worker->state = WORKER_RUNNING;
        workers->stuck--;
    }
    atomic_store_explicit(&exchange->loan, HS_LOAN_NONE, memory_order_relaxed);
    HS_ASSERT(workers->outstanding > 0);
    workers->outstanding--;
}

void hs_workers_collect(hs_workers_t *workers,
                        void (*returned)(void *context, hs_exchange_t *exchange), void *context)
{
    hs_mpsc_node_t *node = hs_mailbox_collect(&workers->mailbox);
    if (node != NULL)
        workers->look_ms = LOOK_FIRST_MS;
    while (node != NULL) {
        hs_exchange_t *exchange = hs_exchange_of_node(node);
        node = node->next;
        take_back(workers, exchange);
        returned(context, exchange);
    }
}

void hs_workers_cancel(hs_workers_t *workers, hs_exchange_t *exchange)
{
    (void)workers;
    int queued = HS_LOAN_QUEUED;
    (void)atomic_compare_exchange_strong_explicit(&exchange->loan, &queued, HS_LOAN_CANCELLED,
                                                  memory_order_acq_rel, memory_order_acquire);
}

bool hs_workers_give_up(hs_workers_t *workers, hs_exchange_t *exchange)
{
    hs_workers_cancel(workers, exchange);
    if (atomic_load_explicit(&exchange->loan, memory_order_acquire) != HS_LOAN_RUNNING)
        return false;
    worker_t *worker = &workers->workers[exchange->worker];
    if (worker->handler.interrupt != NULL)
        worker->handler.interrupt(worker->handler.self, exchange);
    if (worker->state != WORKER_STUCK) {
        worker->state = WORKER_STUCK;
        workers->stuck++;
    }
    if (workers->started < most_threads(workers)) {
        start_one(workers);
    } else if (!workers->bound_reported) {
        workers->bound_reported = true;
        hs_log_write(workers->config.log, HS_LOG_ERROR,
                     "%u of %u workers are stuck: no further one replaces them", workers->stuck,
                     workers->started);
    }
    return true;
}

int hs_workers_begin_sleep(hs_workers_t *workers, int timeout_ms)
{
    if (workers->outstanding == 0 || timeout_ms == 0)
        return timeout_ms;
    HS_ASSERT(workers->unwoken == 0 && workers->lent == 0);
    if (!hs_mailbox_begin_sleep(&workers->mailbox))
        return 0;
    int look_ms = workers->look_ms;
    if (workers->look_ms < LOOK_LONGEST_MS)
        workers->look_ms *= 2;
    return timeout_ms < 0 || look_ms < timeout_ms ? look_ms : timeout_ms;
}

void hs_workers_end_sleep(hs_workers_t *workers)
{
    if (workers->outstanding > 0)
        hs_mailbox_end_sleep(&workers->mailbox);
}

/* True once this worker has ended, which is waited for until `until`. */
static bool wait_for_end(hs_workers_t *workers, const worker_t *worker, const hs_deadline_t *until)
{
    int timed_out = 0;
    pthread_mutex_lock(&workers->lock);
    while (!worker->ended && timed_out == 0)
        timed_out = hs_cond_wait_until(&workers->ended, &workers->lock, until);
    bool ended = worker->ended;
    pthread_mutex_unlock(&workers->lock);
    return ended;
}

uint32_t hs_workers_stop(hs_workers_t *workers, uint32_t wait_ms)
{
    hs_workq_close(&workers->queue);
    hs_deadline_t until = hs_thread_time_in(wait_ms);
    hs_deadline_t now = hs_thread_time_in(0);
    uint32_t left = 0;
    for (uint32_t i = 0; i < workers->started; i++) {
        worker_t *worker = &workers->workers[i];
        if (wait_for_end(workers, worker, worker->state == WORKER_STUCK ? &now : &until)) {
            pthread_join(worker->thread, NULL);
        } else {
            pthread_detach(worker->thread);
            left++;
        }
    }
    return left;
}

void hs_workers_free(hs_workers_t *workers)
{
    if (workers == NULL)
        return;
    pthread_cond_destroy(&workers->ended);
    pthread_mutex_destroy(&workers->lock);
    hs_workq_free(&workers->queue);
    hs_free(workers);
}
