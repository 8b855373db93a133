#include "exec/hs_worker.h"

#include "exec/hs_res.h"
#include "exec/hs_watched.h"
#include "http/hs_parse.h"
#include "os/hs_clock.h"
#include "os/hs_thread.h"

/* A sleeping worker is woken for this many requests, or after this many turns with fewer. */
#define WAKE_COUNT 32
#define WAKE_TURNS 4
/* A worker with more work announces finished requests after this many or this long: each
 * announcement may cost it its processor. If many are waiting, which takes long anyway, it batches
 * more. */
#define ANNOUNCE_COUNT 64
#define ANNOUNCE_NS (150 * 1000)
#define ANNOUNCE_CROWD_NS (1000 * 1000)
#define CROWD 16
/* While jobs are away the loop itself checks for unannounced responses, at first this soon, then,
 * while nothing happens, at double the interval, up to the maximum. */
#define LOOK_FIRST_MS 1
#define LOOK_LONGEST_MS 64
/* Running handlers are watched so many times per handler timeout, and at least this often. */
#define WATCHES 8
#define WATCH_LONGEST_MS 1000

typedef enum worker_state {
    WORKER_UNUSED,
    WORKER_RUNNING,
    WORKER_STUCK, /* its request took too long; it may still come back */
} worker_state_t;

typedef struct worker {
    hs_workers_t *pool;
    pthread_t thread;
    uint32_t number;
    worker_state_t state;  /* owner: loop */
    hs_job_t *stuck_job;   /* owner: loop. Why it is WORKER_STUCK: a job, */
    hs_call_t *stuck_call; /* or a call */
    hs_watched_t watched;  /* owner: loop */
    /* The job whose handler it runs; NULL: none. Written by the worker, read by the loop; release,
     * acquire. The job stays valid until the loop takes it back. */
    _Atomic(hs_job_t *) job;
    /* owner: the worker; io calls interrupt, which any thread may, after seeing HS_JOB_RUNNING with
     * acquire */
    hs_handler_t handler;
    bool has_handler;
    hs_coders_t *coders; /* owner: the worker. NULL: none yet */

    /* owner: the worker */
    hs_stats_area_t *stats; /* NULL: none is left for it */
    uint64_t announced_ns;
    uint32_t unannounced;
    bool ended; /* under pool->lock */
} worker_t;

struct hs_workers {
    hs_workq_t queue;
    hs_workers_config_t config; /* read-only */

    /* owner: loop */
    uint32_t outstanding;
    uint32_t started;
    uint32_t stuck;
    uint32_t unwoken;       /* made visible since a sleeper was last woken */
    uint32_t unwoken_turns; /* for so many turns */
    uint32_t submitted;     /* not visible yet */
    int look_ms;
    hs_looks_t looks;
    uint64_t watch_due_ms;
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
    workers->config = *config;
    workers->look_ms = LOOK_FIRST_MS;
    workers->looks.interval_ms =
        (uint32_t)hs_min(config->handler_timeout_ms / WATCHES + 1, WATCH_LONGEST_MS);
    pthread_mutex_init(&workers->lock, NULL);
    hs_cond_init(&workers->ended);
    return workers;
}

static void announce(worker_t *worker, uint64_t now_ns)
{
    hs_completions_announce(worker->pool->config.completions);
    worker->announced_ns = now_ns;
    worker->unannounced = 0;
}

/* Creates this thread's handler, again if it failed before. */
static bool ensure_handler(worker_t *worker)
{
    if (worker->has_handler)
        return true;
    const hs_handler_factory_t *factory = &worker->pool->config.factory;
    hs_errinfo_t error = { 0 };
    worker->has_handler = factory->make(factory->context, &worker->handler, &error) == HS_OK;
    if (!worker->has_handler)
        hs_log_write(worker->pool->config.log, HS_LOG_ERROR,
                     "worker %u could not load the handler: %s", worker->number, error.text);
    else if (worker->handler.attach != NULL)
        worker->handler.attach(worker->handler.self, NULL);
    return worker->has_handler;
}

/* The page has room only for some of the possible threads: the I/O thread has the first area. */
static hs_stats_area_t *stats_of(const worker_t *worker)
{
    const hs_workers_config_t *config = &worker->pool->config;
    uint32_t thread = worker->number + 1;
    if (config->page == NULL || thread >= HS_STATS_THREADS)
        return NULL;
    return hs_stats_page_area(config->page, config->slot, config->side, thread);
}

static void publish_serving(const worker_t *worker, const hs_job_t *job, uint64_t now_ns)
{
    if (worker->stats == NULL)
        return;
    const hs_msg_t *msg = &job->request.msg;
    char path[HS_STATS_PATH] = { 0 }; /* whole words are read */
    memcpy(path, hs_msg_url(msg).data, hs_min(msg->url_len, sizeof(path)));
    hs_stats_set(&worker->stats->heartbeat_ms, now_ns / 1000000);
    hs_stats_serve(worker->stats, job->number, msg->method, path, msg->url_len, now_ns / 1000000);
}

static void publish_served(const worker_t *worker, uint64_t now_ns)
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

static hs_ran_t run_handler(worker_t *worker, hs_job_t *job)
{
    if (worker->has_handler)
        return hs_handler_start(&worker->handler, job);
    hs_res_begin(&job->response);
    hs_res_replace(&job->response, 500);
    return HS_RAN_DONE;
}

/* Long computations are allowed here. */
static void compress(worker_t *worker, hs_job_t *job)
{
    const hs_compression_t *compression = worker->pool->config.compression;
    if (worker->coders == NULL)
        worker->coders = hs_compression_coders(compression);
    if (worker->coders != NULL && !job->response.streamed)
        (void)hs_compression_apply(compression, worker->coders, job, SIZE_MAX);
}

/* A job cancelled before it ran: unchanged. */
static void post_cancelled(hs_job_t *job)
{
    hs_completions_t *completions = job->completions;
    HS_OWNER_RELEASE(job->owner);
    job->done.kind = HS_POST_DONE;
    hs_completions_push(completions, &job->done);
}

/* Runs a submitted item and posts it. `begin_ns`: now. Returns the time at the end. */
static uint64_t run_one(worker_t *worker, hs_job_t *job, uint64_t begin_ns)
{
    int queued = HS_JOB_QUEUED;
    uint64_t end_ns = begin_ns;
    job->worker = worker->number;
    HS_OWNER_TAKE(job->owner);
    (void)ensure_handler(worker);
    if (atomic_compare_exchange_strong_explicit(&job->state, &queued, HS_JOB_RUNNING,
                                                memory_order_acq_rel, memory_order_acquire)) {
        job->in_worker = true;
        job->view.in_worker = 1;
        publish_serving(worker, job, begin_ns);
        hs_job_progress(job, 2);
        atomic_store_explicit(&worker->job, job, memory_order_release);
        hs_ran_t ran = run_handler(worker, job);
        atomic_store_explicit(&worker->job, NULL, memory_order_relaxed);
        if (ran == HS_RAN_DONE && worker->pool->config.compression != NULL)
            compress(worker, job);
        end_ns = hs_clock_monotonic_ns();
        publish_served(worker, end_ns);
        if (ran == HS_RAN_DEFERRED)
            return end_ns;
        job->cost_us = (uint32_t)hs_min((end_ns - begin_ns) / 1000, UINT32_MAX);
        hs_completions_finish(job);
    } else {
        post_cancelled(job);
    }
    worker->unannounced++;
    if (must_announce(worker, end_ns))
        announce(worker, end_ns);
    return end_ns;
}

static uint64_t run_call(worker_t *worker, hs_call_t *call, uint64_t begin_ns)
{
    uint64_t end_ns = begin_ns;
    bool is_wanted = !atomic_load_explicit(&call->cancelled, memory_order_relaxed);
    call->failed = true;
    if (is_wanted && ensure_handler(worker) && worker->handler.call != NULL) {
        atomic_store_explicit(&call->worker, worker->number + 1, memory_order_release);
        worker->handler.call(worker->handler.self, call);
        atomic_store_explicit(&call->worker, 0, memory_order_relaxed);
        end_ns = hs_clock_monotonic_ns();
    } else {
        call->data.len = 0;
    }
    call->done.kind = HS_POST_CALL;
    hs_completions_push(worker->pool->config.completions, &call->done);
    worker->unannounced++;
    if (must_announce(worker, end_ns))
        announce(worker, end_ns);
    return end_ns;
}

static void run_tasks(worker_t *worker)
{
    if (worker->has_handler && hs_handler_due_ms(&worker->handler, true) == 0)
        worker->handler.run_tasks(worker->handler.self);
}

static hs_workq_wait_t wait_for_work(worker_t *worker)
{
    hs_workq_t *queue = &worker->pool->queue;
    uint64_t due_ms = worker->has_handler ? hs_handler_due_ms(&worker->handler, false) : HS_NEVER;
    if (due_ms == HS_NEVER)
        return hs_workq_wait(queue, NULL);
    uint64_t now_ms = hs_clock_monotonic_ms();
    hs_deadline_t until = hs_thread_time_in(due_ms > now_ms ? (uint32_t)(due_ms - now_ms) : 0);
    return hs_workq_wait(queue, &until);
}

static void *work(void *argument)
{
    worker_t *worker = argument;
    hs_workers_t *pool = worker->pool;
    const hs_handler_factory_t *factory = &pool->config.factory;
    hs_workq_wait_t wait = HS_WORKQ_WORK;
    worker->stats = stats_of(worker);
    (void)ensure_handler(worker);
    while (wait != HS_WORKQ_CLOSED) {
        uint64_t now_ns = hs_clock_monotonic_ns();
        void *item;
        while ((item = hs_workq_pop(&pool->queue)) != NULL) {
            hs_call_t *call = hs_call_of_item(item);
            hs_workq_wake_next(&pool->queue);
            now_ns = call != NULL ? run_call(worker, call, now_ns) : run_one(worker, item, now_ns);
        }
        if (worker->unannounced > 0)
            announce(worker, now_ns);
        run_tasks(worker);
        wait = wait_for_work(worker);
    }
    if (worker->has_handler)
        factory->end(factory->context, &worker->handler);
    hs_coders_free(worker->coders);
    pthread_mutex_lock(&pool->lock);
    worker->ended = true;
    pthread_cond_signal(&pool->ended);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static bool may_start(const hs_workers_t *workers)
{
    return workers->started < workers->config.count + workers->stuck &&
           workers->started < most_threads(workers);
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
        hs_log_write(workers->config.log, HS_LOG_ERROR, "cannot start another worker: %s",
                     error.text);
        return;
    }
    worker->state = WORKER_RUNNING;
    workers->started++;
}

bool hs_workers_submit(hs_workers_t *workers, hs_job_t *job)
{
    HS_ASSERT_OWNER(job->owner);
    HS_OWNER_RELEASE(job->owner);
    hs_job_set_state(job, HS_JOB_QUEUED);
    if (!hs_workq_reserve(&workers->queue, job)) {
        hs_job_set_state(job, HS_JOB_NEW);
        HS_OWNER_TAKE(job->owner);
        return false;
    }
    workers->outstanding++;
    workers->submitted++;
    return true;
}

bool hs_workers_submit_call(hs_workers_t *workers, hs_call_t *call)
{
    if (!hs_workq_reserve(&workers->queue, hs_call_as_item(call)))
        return false;
    workers->outstanding++;
    workers->submitted++;
    return true;
}

static void mark_stuck(hs_workers_t *workers, worker_t *worker, hs_job_t *job, hs_call_t *call)
{
    if (worker->state != WORKER_STUCK) {
        worker->state = WORKER_STUCK;
        worker->stuck_job = job;
        worker->stuck_call = call;
        workers->stuck++;
    }
    if (workers->started < most_threads(workers))
        start_one(workers);
    if (hs_workers_are_lost(workers) && !workers->bound_reported) {
        workers->bound_reported = true;
        hs_log_write(workers->config.log, HS_LOG_ERROR,
                     "%u of %u workers are stuck: the process is replaced unless one comes back",
                     workers->stuck, workers->started);
    }
}

static void mark_back(hs_workers_t *workers, worker_t *worker)
{
    worker->state = WORKER_RUNNING;
    worker->stuck_job = NULL;
    worker->stuck_call = NULL;
    workers->stuck--;
}

static void interrupt(const worker_t *worker, hs_job_t *job)
{
    if (worker->handler.interrupt != NULL)
        worker->handler.interrupt(worker->handler.self, job, 0);
}

void hs_workers_call_returned(hs_workers_t *workers, const hs_call_t *call)
{
    HS_ASSERT(workers->outstanding > 0);
    workers->outstanding--;
    for (uint32_t i = 0; workers->stuck > 0 && i < workers->started; i++)
        if (workers->workers[i].stuck_call == call)
            mark_back(workers, &workers->workers[i]);
}

void hs_workers_give_up_call(hs_workers_t *workers, hs_call_t *call)
{
    uint32_t number = atomic_load_explicit(&call->worker, memory_order_acquire);
    if (number == 0)
        return;
    worker_t *worker = &workers->workers[number - 1];
    interrupt(worker, NULL);
    mark_stuck(workers, worker, NULL, call);
}

static void publish_submitted(hs_workers_t *workers)
{
    hs_workq_publish(&workers->queue);
    workers->look_ms = LOOK_FIRST_MS;
    workers->unwoken += workers->submitted;
    workers->submitted = 0;
    if (hs_workq_has_idle(&workers->queue))
        return;
    workers->unwoken = workers->unwoken_turns = 0;
    if (may_start(workers))
        start_one(workers);
}

void hs_workers_flush(hs_workers_t *workers)
{
    if (workers->submitted > 0)
        publish_submitted(workers);
    if (workers->unwoken == 0)
        return;
    /* Also in turns that submit nothing: a saturated loop may not sleep for long. */
    workers->unwoken_turns++;
    if (workers->unwoken >= WAKE_COUNT || workers->unwoken_turns >= WAKE_TURNS)
        hs_workers_wake(workers);
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

void hs_workers_wake_all(hs_workers_t *workers)
{
    while (hs_workq_has_idle(&workers->queue))
        hs_workq_wake_one(&workers->queue);
}

uint64_t hs_workers_queued(const hs_workers_t *workers)
{
    return hs_workq_length(&workers->queue);
}

void hs_workers_returned(hs_workers_t *workers, hs_job_t *job)
{
    worker_t *worker = &workers->workers[job->worker];
    if (worker->stuck_job == job) {
        hs_log_write(workers->config.log, HS_LOG_WARN, "worker %u returned after %u ms",
                     worker->number, job->cost_us / 1000);
        mark_back(workers, worker);
    }
    HS_ASSERT(workers->outstanding > 0);
    workers->outstanding--;
}

void hs_workers_collected(hs_workers_t *workers)
{
    workers->look_ms = LOOK_FIRST_MS;
}

void hs_workers_cancel(hs_workers_t *workers, hs_job_t *job)
{
    (void)workers;
    int queued = HS_JOB_QUEUED;
    (void)atomic_compare_exchange_strong_explicit(&job->state, &queued, HS_JOB_CANCELLED,
                                                  memory_order_acq_rel, memory_order_acquire);
}

/* A call that has ended may wait to be collected while its worker runs another. */
static bool is_running(const hs_call_t *call)
{
    return atomic_load_explicit(&call->worker, memory_order_acquire) != 0;
}

/* Those that did not notice, or were waiting and now compute. */
static void insist(const hs_workers_t *workers)
{
    for (uint32_t i = 0; i < workers->started; i++) {
        const worker_t *worker = &workers->workers[i];
        if (worker->state == WORKER_STUCK &&
            (worker->stuck_call == NULL || is_running(worker->stuck_call)))
            interrupt(worker, worker->stuck_job);
    }
}

bool hs_workers_give_up(hs_workers_t *workers, hs_job_t *job)
{
    if (hs_job_state(job) != HS_JOB_RUNNING)
        return false;
    worker_t *worker = &workers->workers[job->worker];
    interrupt(worker, job);
    mark_stuck(workers, worker, job, NULL);
    return true;
}

static void watch(hs_workers_t *workers, worker_t *worker, uint64_t elapsed_ms)
{
    hs_job_t *job = atomic_load_explicit(&worker->job, memory_order_acquire);
    if (job != NULL && worker->handler.interrupt == NULL)
        return;
    uint32_t progress =
        job != NULL ? atomic_load_explicit(&job->progress, memory_order_relaxed) : 0;
    bool waits = progress % 2 != 0;
    uint64_t for_ms = hs_watched_look(&worker->watched, waits ? NULL : job, progress, elapsed_ms);
    if (for_ms < workers->config.handler_timeout_ms || !hs_workers_give_up(workers, job))
        return;
    const hs_msg_t *msg = &job->request.msg;
    hs_job_log(job, HS_LOG_ERROR,
               "the handler of %s %.128s has neither written nor waited for %llu ms: worker %u is "
               "stuck. It is being interrupted; if no traceback follows, it runs compiled code or "
               "is in a C call",
               hs_parse_method_name(msg->method), hs_msg_url(msg).data, (unsigned long long)for_ms,
               worker->number);
}

void hs_workers_watch(hs_workers_t *workers, uint64_t now_ms)
{
    if (workers->config.handler_timeout_ms == 0 || now_ms < workers->watch_due_ms)
        return;
    uint64_t elapsed_ms = hs_looks_next(&workers->looks, now_ms);
    workers->watch_due_ms = now_ms + workers->looks.interval_ms;
    for (uint32_t i = 0; i < workers->started; i++) {
        worker_t *worker = &workers->workers[i];
        if (worker->state == WORKER_RUNNING)
            watch(workers, worker, elapsed_ms);
    }
}

bool hs_workers_are_lost(const hs_workers_t *workers)
{
    return workers->stuck > 0 && workers->stuck == workers->started;
}

/* Requests wait, and for a while none has come back: those that are handled may wait, too. */
static void reinforce(hs_workers_t *workers)
{
    if (hs_workq_length(&workers->queue) > 0 && !hs_workq_has_idle(&workers->queue) &&
        may_start(workers))
        start_one(workers);
}

int hs_workers_look_ms(hs_workers_t *workers, int timeout_ms)
{
    HS_ASSERT(workers->unwoken == 0 && workers->submitted == 0);
    if (workers->outstanding == 0)
        return timeout_ms;
    int look_ms = workers->look_ms;
    if (workers->look_ms < LOOK_LONGEST_MS) {
        workers->look_ms *= 2;
    } else {
        if (workers->stuck > 0)
            insist(workers);
        reinforce(workers);
    }
    return timeout_ms < 0 || look_ms < timeout_ms ? look_ms : timeout_ms;
}

/* Waits until `until` for this worker to end; true if it has. */
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
    hs_workq_close(&workers->queue); /* wakes all */
    workers->unwoken = workers->unwoken_turns = 0;
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
