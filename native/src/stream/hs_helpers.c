#include "stream/hs_helpers.h"

#include "base/hs_alloc.h"
#include "os/hs_notify.h"
#include "os/hs_thread.h"

/* A thread without work ends after this time. */
#define THREAD_IDLE_MS 5000

/* owner: loop and threads, under `lock`; freed by the last */
typedef struct hs_helpers_pool {
    const hs_helpers_kind_t *kind;
    pthread_mutex_t lock;
    pthread_cond_t work;
    hs_list_t queue;    /* chores that wait for a thread */
    hs_list_t finished; /* ... and that wait for the loop */
    uint32_t queued;
    uint32_t threads;
    uint32_t idle;
    bool closed; /* the loop is gone */
    hs_notify_t notify;
} pool_t;

void hs_helpers_init(hs_helpers_t *helpers, hs_loop_t *loop, const hs_helpers_kind_t *kind)
{
    *helpers = (hs_helpers_t){ .loop = loop, .kind = kind };
}

static hs_chore_t *take_first(hs_list_t *list)
{
    hs_chore_t *chore = HS_CONTAINER_OF(list->next, hs_chore_t, link);
    hs_list_remove(&chore->link);
    return chore;
}

static void pool_free(pool_t *pool)
{
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    hs_free(pool);
}

/* --- the threads --- */

/* NULL: the thread must end. Called and returns with the lock held. */
static hs_chore_t *next_chore(pool_t *pool)
{
    hs_deadline_t until = hs_thread_time_in(THREAD_IDLE_MS);
    while (!pool->closed && hs_list_empty(&pool->queue)) {
        pool->idle++;
        int ended = hs_cond_wait_until(&pool->work, &pool->lock, &until);
        pool->idle--;
        if (ended != 0 && hs_list_empty(&pool->queue))
            return NULL;
    }
    if (pool->closed)
        return NULL; /* the loop's thread drops what is queued */
    pool->queued--;
    return take_first(&pool->queue);
}

static void *run_thread(void *argument)
{
    pool_t *pool = argument;
    pthread_mutex_lock(&pool->lock);
    for (hs_chore_t *chore; (chore = next_chore(pool)) != NULL;) {
        pthread_mutex_unlock(&pool->lock);
        pool->kind->run(chore);
        pthread_mutex_lock(&pool->lock);
        if (pool->closed) {
            pool->kind->drop(chore);
            break;
        }
        hs_list_push_back(&pool->finished, &chore->link);
        hs_notify_send(&pool->notify);
    }
    bool is_last = --pool->threads == 0 && pool->closed;
    pthread_mutex_unlock(&pool->lock);
    if (is_last)
        pool_free(pool);
    return NULL;
}

/* With the lock held. False: there is no thread to do the work. */
static bool have_thread(pool_t *pool)
{
    const hs_helpers_kind_t *kind = pool->kind;
    if (pool->idle >= pool->queued || pool->threads == kind->threads_max)
        return true;
    pthread_t thread;
    if (hs_thread_start(&thread, HS_THREAD_IO, kind->thread_name, run_thread, pool, NULL) ==
        HS_OK) {
        pthread_detach(thread);
        pool->threads++;
    }
    return pool->threads > 0;
}

/* --- the loop's side --- */

static void on_notify(hs_ev_t *ev, hs_ev_io_t *watcher, unsigned events)
{
    (void)events;
    hs_helpers_t *helpers = HS_CONTAINER_OF(watcher, hs_helpers_t, watcher);
    hs_loop_t *loop = hs_ev_context(ev);
    if (loop->on_turn != NULL)
        loop->on_turn(loop);
    pool_t *pool = helpers->pool;
    hs_list_t finished;
    hs_list_init(&finished);
    hs_notify_take(&pool->notify);
    pthread_mutex_lock(&pool->lock);
    hs_list_take_all(&finished, &pool->finished);
    pthread_mutex_unlock(&pool->lock);
    while (!hs_list_empty(&finished))
        helpers->kind->done(helpers, take_first(&finished));
}

bool hs_helpers_open(hs_helpers_t *helpers)
{
    if (helpers->pool != NULL)
        return true;
    pool_t *pool = hs_alloc_zeroed(1, sizeof(*pool));
    if (pool == NULL)
        return false;
    if (hs_notify_open(&pool->notify) < 0) {
        hs_free(pool);
        return false;
    }
    helpers->watcher = (hs_ev_io_t){ .fd = -1 };
    if (hs_ev_io_start(helpers->loop->ev, &helpers->watcher, pool->notify.read_fd, HS_EV_READ,
                       on_notify) < 0) {
        hs_notify_close(&pool->notify);
        hs_free(pool);
        return false;
    }
    pthread_mutex_init(&pool->lock, NULL);
    hs_cond_init(&pool->work);
    hs_list_init(&pool->queue);
    hs_list_init(&pool->finished);
    pool->kind = helpers->kind;
    helpers->pool = pool;
    return true;
}

bool hs_helpers_begin(hs_helpers_t *helpers, hs_chore_t *chore)
{
    pool_t *pool = helpers->pool;
    hs_list_init(&chore->link);
    pthread_mutex_lock(&pool->lock);
    bool is_queued = pool->queued < pool->kind->queue_max;
    if (is_queued) {
        hs_list_push_back(&pool->queue, &chore->link);
        pool->queued++;
        if (!have_thread(pool)) {
            hs_list_remove(&chore->link);
            pool->queued--;
            is_queued = false;
        }
        pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
    return is_queued;
}

void hs_helpers_free(hs_helpers_t *helpers)
{
    pool_t *pool = helpers->pool;
    if (pool == NULL)
        return;
    hs_list_t unused;
    hs_list_init(&unused);
    hs_ev_io_stop(helpers->loop->ev, &helpers->watcher);
    pthread_mutex_lock(&pool->lock);
    pool->closed = true;
    hs_notify_close(&pool->notify);
    hs_list_take_all(&unused, &pool->queue);
    hs_list_take_all(&unused, &pool->finished);
    bool is_last = pool->threads == 0;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    if (is_last)
        pool_free(pool);
    while (!hs_list_empty(&unused))
        helpers->kind->drop(take_first(&unused));
    helpers->pool = NULL;
}
