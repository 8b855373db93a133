#include "server/hs_watchdog.h"

#include "exec/hs_lua.h"
#include "exec/hs_watched.h"
#include "os/hs_clock.h"
#include "os/hs_resident.h"
#include "server/hs_io_observe.h"

/* Checks per handler timeout. */
#define LOOKS 8
#define LONGEST_LOOK_MS 1000
#define MEMORY_MS 1000
/* How often memory is checked above half of the limit, so that fast growth does not pass both marks
 * between two checks. */
#define MEMORY_NEAR_MS 100

#if defined(__SANITIZE_THREAD__)
#define UNSYNCHRONISED __attribute__((no_sanitize("thread")))
#else
#define UNSYNCHRONISED
#endif

/* owner: its thread, except what is under the lock */
struct hs_watchdog {
    hs_watchdog_config_t config;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stop;
    bool stopping; /* under the lock */
    uint64_t memory_due_ms;
    uint64_t limit_due_ms;  /* when it is compared with the limit again */
    uint64_t told_until_ms; /* high memory was reported, and is not reported again before this */
    hs_looks_t looks;
    hs_watched_t watched[]; /* two per I/O thread: what it does, and whether it has workers */
};

/*
 * The I/O thread has been in one handler for the whole timeout, so the request is unlikely to
 * change now; if it ends at this moment, the line names another. Reads memory that is never freed
 * while the watchdog lives, within bounds.
 */
UNSYNCHRONISED
static void report_request(hs_watchdog_t *watchdog, const hs_job_t *job, uint64_t for_ms,
                           const char *next)
{
    char url[129] = "";
    const char *from = job->view.url;
    for (size_t i = 0; from != NULL && i < sizeof(url) - 1 && from[i] != '\0'; i++)
        url[i] = from[i];
    hs_log_write(watchdog->config.log, HS_LOG_ERROR,
                 "the handler of %s %s has blocked the I/O thread for %llu ms: no other client of "
                 "this reactor is served. %s",
                 hs_parse_method_name(job->view.method), url, (unsigned long long)for_ms, next);
}

static void report(hs_watchdog_t *watchdog, const hs_job_t *job, uint64_t for_ms,
                   bool is_interruptible)
{
    const char *next = !is_interruptible ? "It is not Lua and cannot be interrupted"
                       : hs_lua_interrupts_compiled()
                           ? "It is being interrupted; if no traceback follows, it is in a C call"
                           : "It is being interrupted; if no traceback follows, it runs compiled "
                             "code, which this LuaJIT cannot interrupt, or is in a C call";
    if (job != NULL)
        report_request(watchdog, job, for_ms, next);
    else
        hs_log_write(watchdog->config.log, HS_LOG_ERROR,
                     "a background task has blocked the I/O thread for %llu ms: no client of this "
                     "reactor is served. %s",
                     (unsigned long long)for_ms, next);
}

static void tell(const hs_watchdog_t *watchdog, hs_event_t event)
{
    if (watchdog->config.on_event != NULL)
        watchdog->config.on_event(event, watchdog->config.on_event_ud);
}

/* Without workers, jobs that need one are refused until the process is replaced. */
static void look_at_workers(const hs_watchdog_t *watchdog, hs_watched_t *watched,
                            const hs_busy_t *busy, uint64_t elapsed_ms)
{
    bool are_lost = atomic_load_explicit(&busy->no_workers, memory_order_relaxed);
    if (hs_watched_look(watched, are_lost ? busy : NULL, 0, elapsed_ms) >=
        watchdog->config.timeout_ms)
        tell(watchdog, HS_EVENT_STUCK);
}

static void look_at(hs_watchdog_t *watchdog, hs_watched_t *watched, hs_io_t *io,
                    uint64_t elapsed_ms)
{
    hs_busy_t *busy = &io->env.executor.busy;
    look_at_workers(watchdog, &watched[1], busy, elapsed_ms);
    hs_job_t *job = atomic_load_explicit(&busy->job, memory_order_acquire);
    bool in_task = atomic_load_explicit(&busy->in_task, memory_order_acquire);
    uint32_t count = atomic_load_explicit(&busy->count, memory_order_relaxed);
    const void *doing = job != NULL ? (const void *)job : in_task ? busy : NULL;
    uint64_t for_ms = hs_watched_look(watched, doing, count, elapsed_ms);
    if (doing == NULL)
        return;
    const hs_handler_t *handler = &io->env.executor.handler;
    if (for_ms >= watchdog->config.timeout_ms) {
        if (!watched->is_reported)
            report(watchdog, job, for_ms, handler->interrupt != NULL);
        watched->is_reported = true;
        /* Repeated at each check: what waited in a call may now compute. */
        if (handler->interrupt != NULL)
            handler->interrupt(handler->self, job, count);
    }
    if (for_ms >= 2 * (uint64_t)watchdog->config.timeout_ms)
        tell(watchdog, HS_EVENT_STUCK);
}

/* All I/O threads share process and page, so one of them stands for it. */
static void note_memory(hs_watchdog_t *watchdog, uint64_t now_ms)
{
    if (now_ms < watchdog->memory_due_ms)
        return;
    watchdog->memory_due_ms = now_ms + MEMORY_MS;
    hs_io_observe_memory(watchdog->config.ios[0]);
}

/* Compares memory with the limit. Returns when to check again, in ms. */
static uint32_t watch_limit(hs_watchdog_t *watchdog, uint64_t now_ms)
{
    uint64_t limit = watchdog->config.memory_limit;
    uint64_t resident = hs_resident_bytes();
    bool is_high = resident >= limit / 5 * 4;
    if (resident >= limit)
        tell(watchdog, HS_EVENT_MEMORY_LIMIT);
    else if (is_high && now_ms >= watchdog->told_until_ms)
        tell(watchdog, HS_EVENT_MEMORY_HIGH);
    if (is_high && now_ms >= watchdog->told_until_ms)
        watchdog->told_until_ms = now_ms + MEMORY_MS;
    return resident >= limit / 2 ? MEMORY_NEAR_MS : MEMORY_MS;
}

/* Returns how long until the next check. */
static uint32_t look_around(hs_watchdog_t *watchdog)
{
    const hs_watchdog_config_t *config = &watchdog->config;
    uint64_t now_ms = hs_clock_monotonic_ms();
    uint64_t elapsed_ms = hs_looks_next(&watchdog->looks, now_ms);
    for (size_t i = 0; config->timeout_ms > 0 && i < config->count; i++)
        look_at(watchdog, &watchdog->watched[2 * i], config->ios[i], elapsed_ms);
    note_memory(watchdog, now_ms);
    if (config->memory_limit == 0)
        return watchdog->looks.interval_ms;
    if (now_ms >= watchdog->limit_due_ms)
        watchdog->limit_due_ms = now_ms + watch_limit(watchdog, now_ms);
    uint64_t limit_in_ms = watchdog->limit_due_ms - now_ms;
    return (uint32_t)hs_min(limit_in_ms, watchdog->looks.interval_ms);
}

static void *watch(void *argument)
{
    hs_watchdog_t *watchdog = argument;
    pthread_mutex_lock(&watchdog->lock);
    while (!watchdog->stopping) {
        pthread_mutex_unlock(&watchdog->lock);
        uint32_t pause_ms = look_around(watchdog);
        pthread_mutex_lock(&watchdog->lock);
        hs_deadline_t until = hs_thread_time_in(pause_ms);
        if (!watchdog->stopping)
            (void)hs_cond_wait_until(&watchdog->stop, &watchdog->lock, &until);
    }
    pthread_mutex_unlock(&watchdog->lock);
    return NULL;
}

hs_watchdog_t *hs_watchdog_start(const hs_watchdog_config_t *config)
{
    hs_watchdog_t *watchdog =
        hs_alloc_zeroed(1, sizeof(*watchdog) + 2 * config->count * sizeof(hs_watched_t));
    if (watchdog == NULL)
        return NULL;
    watchdog->config = *config;
    watchdog->looks.interval_ms = LONGEST_LOOK_MS;
    if (config->timeout_ms > 0 && config->timeout_ms / LOOKS < LONGEST_LOOK_MS)
        watchdog->looks.interval_ms = config->timeout_ms / LOOKS + 1;
    pthread_mutex_init(&watchdog->lock, NULL);
    hs_cond_init(&watchdog->stop);
    hs_errinfo_t error = { 0 };
    if (hs_thread_start(&watchdog->thread, HS_THREAD_IO, "hs-watchdog", watch, watchdog, &error) ==
        HS_OK)
        return watchdog;
    hs_log_write(config->log, HS_LOG_WARN, "no watchdog: %s", error.text);
    hs_free(watchdog);
    return NULL;
}

void hs_watchdog_stop(hs_watchdog_t *watchdog)
{
    if (watchdog == NULL)
        return;
    pthread_mutex_lock(&watchdog->lock);
    watchdog->stopping = true;
    pthread_cond_signal(&watchdog->stop);
    pthread_mutex_unlock(&watchdog->lock);
    pthread_join(watchdog->thread, NULL);
    pthread_cond_destroy(&watchdog->stop);
    pthread_mutex_destroy(&watchdog->lock);
    hs_free(watchdog);
}
