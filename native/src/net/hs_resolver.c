#include "net/hs_resolver.h"

#include <string.h>

#include "base/hs_alloc.h"
#include "os/hs_clock.h"
#include "os/hs_notify.h"
#include "os/hs_thread.h"

/* A thread without work ends after this time. */
#define THREAD_IDLE_MS 5000

/* One lookup. owner: the pool's lists under its lock; a lookup thread while it runs; then the loop
 */
typedef struct lookup {
    hs_list_t link;
    struct name *name; /* of the loop's thread */
    int result;        /* as of hs_names_resolve */
    hs_addresses_t addresses;
    char host[HS_RESOLVER_HOST_MAX + 1];
} lookup_t;

/* What the loop and its lookup threads share. owner: all of them, under `lock`; freed by the last
 */
typedef struct hs_resolver_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    hs_list_t queue;    /* lookups that wait for a thread */
    hs_list_t finished; /* ... and that wait for the loop */
    uint32_t queued;
    uint32_t threads;
    uint32_t idle;
    bool closed; /* the loop is gone */
    hs_notify_t notify;
    hs_resolver_fn resolve; /* read-only, as is context */
    void *context;
} hs_resolver_pool_t;

/* A name of the cache. owner: the loop's thread */
typedef struct name {
    hs_list_t link;
    hs_resolver_t *resolver;
    bool pending; /* a lookup is under way */
    bool known;   /* `addresses` was an answer once */
    bool missing; /* the last answer was that there is no such name */
    bool is_slow; /* the lookup that is under way takes long */
    uint64_t answered_ms;
    hs_list_t waits;
    hs_timer_t slow; /* while pending and known: from then on the old answer will do */
    hs_addresses_t addresses;
    char host[HS_RESOLVER_HOST_MAX + 1];
} name_t;

static int resolve_by_system(void *context, const char *host, hs_sock_endpoint_t *endpoints,
                             size_t max)
{
    (void)context;
    return hs_names_resolve(host, endpoints, max);
}

void hs_resolver_init(hs_resolver_t *resolver, hs_loop_t *loop)
{
    *resolver = (hs_resolver_t){ .loop = loop, .resolve = resolve_by_system };
    hs_list_init(&resolver->names);
}

void hs_resolver_set(hs_resolver_t *resolver, hs_resolver_fn resolve, void *context)
{
    HS_ASSERT(resolver->pool == NULL);
    resolver->resolve = resolve;
    resolver->context = context;
}

void hs_resolver_age(hs_resolver_t *resolver, uint64_t by_ms)
{
    for (hs_list_t *node = resolver->names.next; node != &resolver->names; node = node->next)
        HS_CONTAINER_OF(node, name_t, link)->answered_ms -= by_ms;
}

/* --- lookup threads --- */

static void pool_free(hs_resolver_pool_t *pool)
{
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    hs_free(pool);
}

/* The next lookup, NULL: the thread is to end. Called and returns with the lock held. */
static lookup_t *next_lookup(hs_resolver_pool_t *pool)
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
        return NULL; /* what is queued is freed by the loop's thread */
    lookup_t *lookup = HS_CONTAINER_OF(pool->queue.next, lookup_t, link);
    hs_list_remove(&lookup->link);
    pool->queued--;
    return lookup;
}

static void *run_thread(void *argument)
{
    hs_resolver_pool_t *pool = argument;
    pthread_mutex_lock(&pool->lock);
    for (lookup_t *lookup; (lookup = next_lookup(pool)) != NULL;) {
        pthread_mutex_unlock(&pool->lock);
        lookup->result = pool->resolve(pool->context, lookup->host, lookup->addresses.list,
                                       HS_RESOLVER_ADDRESSES);
        pthread_mutex_lock(&pool->lock);
        if (pool->closed) {
            hs_free(lookup);
            break;
        }
        hs_list_push_back(&pool->finished, &lookup->link);
        hs_notify_send(&pool->notify);
    }
    bool is_last = --pool->threads == 0 && pool->closed;
    pthread_mutex_unlock(&pool->lock);
    if (is_last)
        pool_free(pool);
    return NULL;
}

/* With the lock held. False: there is no thread at all that could do the work. */
static bool have_thread(hs_resolver_pool_t *pool)
{
    if (pool->idle >= pool->queued || pool->threads == HS_RESOLVER_THREADS)
        return true;
    pthread_t thread;
    if (hs_thread_start(&thread, HS_THREAD_IO, "resolver", run_thread, pool, NULL) == HS_OK) {
        pthread_detach(thread);
        pool->threads++;
    }
    return pool->threads > 0;
}

/* --- the loop's side --- */

static void name_free(hs_resolver_t *resolver, name_t *name)
{
    HS_ASSERT(hs_list_empty(&name->waits) && !name->pending);
    hs_timer_stop(resolver->loop, &name->slow);
    hs_list_remove(&name->link);
    resolver->name_count--;
    hs_free(name);
}

static void tell_waits(name_t *name, hs_resolved_t resolved)
{
    hs_list_t waits;
    hs_list_init(&waits);
    hs_list_take_all(&waits, &name->waits);
    while (!hs_list_empty(&waits)) {
        hs_resolver_wait_t *wait = HS_CONTAINER_OF(waits.next, hs_resolver_wait_t, link);
        hs_list_remove(&wait->link);
        wait->done(wait, resolved, resolved == HS_RESOLVED_FOUND ? &name->addresses : NULL);
    }
}

static bool is_younger(const name_t *name, uint64_t age_ms)
{
    return hs_clock_monotonic_ms() - name->answered_ms < age_ms;
}

/* The lookup takes long: whoever waits gets the old answer. */
static void on_slow(hs_loop_t *loop, hs_timer_t *timer)
{
    (void)loop;
    name_t *name = HS_CONTAINER_OF(timer, name_t, slow);
    name->is_slow = true;
    if (name->known && is_younger(name, HS_RESOLVER_STALE_MS))
        tell_waits(name, HS_RESOLVED_FOUND);
}

static void take_answer(hs_resolver_t *resolver, lookup_t *lookup)
{
    name_t *name = lookup->name;
    hs_resolved_t resolved = HS_RESOLVED_FAILED;
    hs_timer_stop(resolver->loop, &name->slow);
    name->pending = name->is_slow = false;
    if (lookup->result > 0) {
        resolved = HS_RESOLVED_FOUND;
        name->addresses = lookup->addresses;
        name->addresses.count = (size_t)lookup->result;
        name->answered_ms = hs_clock_monotonic_ms();
        name->known = true;
        name->missing = false;
    } else if (lookup->result == HS_NAMES_NOT_FOUND) {
        resolved = HS_RESOLVED_NOT_FOUND;
        name->answered_ms = hs_clock_monotonic_ms();
        name->known = false;
        name->missing = true;
    } else if (name->known && is_younger(name, HS_RESOLVER_STALE_MS)) {
        resolved = HS_RESOLVED_FOUND;
    }
    tell_waits(name, resolved);
    if (!name->known && !name->missing && hs_list_empty(&name->waits) && !name->pending)
        name_free(resolver, name);
}

static void on_notify(hs_ev_t *ev, hs_ev_io_t *watcher, unsigned events)
{
    (void)events;
    hs_resolver_t *resolver = HS_CONTAINER_OF(watcher, hs_resolver_t, watcher);
    hs_loop_t *loop = hs_ev_context(ev);
    if (loop->on_turn != NULL)
        loop->on_turn(loop);
    hs_resolver_pool_t *pool = resolver->pool;
    hs_list_t finished;
    hs_list_init(&finished);
    hs_notify_take(&pool->notify);
    pthread_mutex_lock(&pool->lock);
    hs_list_take_all(&finished, &pool->finished);
    pthread_mutex_unlock(&pool->lock);
    while (!hs_list_empty(&finished)) {
        lookup_t *lookup = HS_CONTAINER_OF(finished.next, lookup_t, link);
        hs_list_remove(&lookup->link);
        take_answer(resolver, lookup);
        hs_free(lookup);
    }
}

/* Opened by the first lookup: a thread that never connects by name needs no descriptor. */
static bool open_pool(hs_resolver_t *resolver)
{
    if (resolver->pool != NULL)
        return true;
    hs_resolver_pool_t *pool = hs_alloc_zeroed(1, sizeof(*pool));
    if (pool == NULL)
        return false;
    if (hs_notify_open(&pool->notify) < 0) {
        hs_free(pool);
        return false;
    }
    resolver->watcher = (hs_ev_io_t){ .fd = -1 };
    if (hs_ev_io_start(resolver->loop->ev, &resolver->watcher, pool->notify.read_fd, HS_EV_READ,
                       on_notify) < 0) {
        hs_notify_close(&pool->notify);
        hs_free(pool);
        return false;
    }
    pthread_mutex_init(&pool->lock, NULL);
    hs_cond_init(&pool->work);
    hs_list_init(&pool->queue);
    hs_list_init(&pool->finished);
    pool->resolve = resolver->resolve;
    pool->context = resolver->context;
    resolver->pool = pool;
    return true;
}

void hs_resolver_free(hs_resolver_t *resolver)
{
    hs_resolver_pool_t *pool = resolver->pool;
    hs_list_t unused;
    hs_list_init(&unused);
    bool is_last = false;
    if (pool != NULL) {
        hs_ev_io_stop(resolver->loop->ev, &resolver->watcher);
        pthread_mutex_lock(&pool->lock);
        pool->closed = true;
        hs_notify_close(&pool->notify);
        hs_list_take_all(&unused, &pool->queue);
        hs_list_take_all(&unused, &pool->finished);
        is_last = pool->threads == 0;
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->lock);
    }
    if (is_last)
        pool_free(pool);
    while (!hs_list_empty(&unused)) {
        lookup_t *lookup = HS_CONTAINER_OF(unused.next, lookup_t, link);
        hs_list_remove(&lookup->link);
        hs_free(lookup);
    }
    while (!hs_list_empty(&resolver->names)) {
        name_t *name = HS_CONTAINER_OF(resolver->names.next, name_t, link);
        name->pending = false;
        name_free(resolver, name);
    }
    resolver->pool = NULL;
}

static hs_resolved_t begin_lookup(hs_resolver_t *resolver, name_t *name)
{
    if (!open_pool(resolver))
        return HS_RESOLVED_NO_MEMORY;
    lookup_t *lookup = hs_alloc_zeroed(1, sizeof(*lookup));
    if (lookup == NULL)
        return HS_RESOLVED_NO_MEMORY;
    hs_list_init(&lookup->link);
    lookup->name = name;
    memcpy(lookup->host, name->host, sizeof(lookup->host));
    hs_resolver_pool_t *pool = resolver->pool;
    pthread_mutex_lock(&pool->lock);
    bool is_queued = pool->queued < HS_RESOLVER_QUEUE;
    if (is_queued) {
        hs_list_push_back(&pool->queue, &lookup->link);
        pool->queued++;
        if (!have_thread(pool)) {
            hs_list_remove(&lookup->link);
            pool->queued--;
            is_queued = false;
        }
        pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
    if (!is_queued) {
        hs_free(lookup);
        return HS_RESOLVED_BUSY;
    }
    resolver->lookups++;
    name->pending = true;
    name->is_slow = false;
    if (name->known)
        hs_timer_set(resolver->loop, &name->slow, hs_clock_monotonic_ms() + HS_RESOLVER_SLOW_MS);
    return HS_RESOLVED_LATER;
}

/* The name of the cache that was looked up longest ago and that no lookup needs. */
static void evict_name(hs_resolver_t *resolver)
{
    for (hs_list_t *node = resolver->names.next; node != &resolver->names; node = node->next) {
        name_t *name = HS_CONTAINER_OF(node, name_t, link);
        if (name->pending)
            continue;
        name_free(resolver, name);
        return;
    }
}

static name_t *find_name(hs_resolver_t *resolver, const char *host)
{
    for (hs_list_t *node = resolver->names.prev; node != &resolver->names; node = node->prev) {
        name_t *name = HS_CONTAINER_OF(node, name_t, link);
        if (strcmp(name->host, host) == 0)
            return name;
    }
    return NULL;
}

static name_t *add_name(hs_resolver_t *resolver, const char *host)
{
    if (resolver->name_count >= HS_RESOLVER_NAMES)
        evict_name(resolver);
    name_t *name = hs_alloc_zeroed(1, sizeof(*name));
    if (name == NULL)
        return NULL;
    name->resolver = resolver;
    memcpy(name->host, host, strlen(host));
    hs_list_init(&name->link);
    hs_list_init(&name->waits);
    hs_timer_init(&name->slow, on_slow);
    hs_list_push_back(&resolver->names, &name->link);
    resolver->name_count++;
    return name;
}

/* What is cached and may be used without a wait; LATER: nothing. */
static hs_resolved_t from_cache(const name_t *name, hs_addresses_t *addresses)
{
    if (name->missing && is_younger(name, HS_RESOLVER_NEGATIVE_MS))
        return HS_RESOLVED_NOT_FOUND;
    uint64_t age_ms = name->is_slow ? HS_RESOLVER_STALE_MS : HS_RESOLVER_CACHED_MS;
    if (!name->known || !is_younger(name, age_ms))
        return HS_RESOLVED_LATER;
    *addresses = name->addresses;
    return HS_RESOLVED_FOUND;
}

hs_resolved_t hs_resolver_lookup(hs_resolver_t *resolver, const char *host,
                                 hs_addresses_t *addresses, hs_resolver_wait_t *wait)
{
    hs_list_init(&wait->link);
    if (hs_sock_endpoint_tcp(&addresses->list[0], host, 0) == HS_OK) {
        addresses->count = 1;
        return HS_RESOLVED_FOUND;
    }
    size_t len = strlen(host);
    if (len == 0 || len > HS_RESOLVER_HOST_MAX)
        return HS_RESOLVED_NOT_FOUND;
    name_t *name = find_name(resolver, host);
    if (name == NULL)
        name = add_name(resolver, host);
    if (name == NULL)
        return HS_RESOLVED_NO_MEMORY;
    hs_resolved_t cached = from_cache(name, addresses);
    if (cached == HS_RESOLVED_NOT_FOUND)
        return cached;
    if (!name->pending &&
        !(cached == HS_RESOLVED_FOUND && is_younger(name, HS_RESOLVER_FRESH_MS))) {
        hs_resolved_t begun = begin_lookup(resolver, name);
        if (begun != HS_RESOLVED_LATER && cached == HS_RESOLVED_LATER) {
            if (!name->known && !name->missing)
                name_free(resolver, name);
            return begun;
        }
    }
    hs_list_remove(&name->link);
    hs_list_push_back(&resolver->names, &name->link);
    if (cached == HS_RESOLVED_LATER)
        hs_list_push_back(&name->waits, &wait->link);
    return cached;
}

void hs_resolver_cancel(hs_resolver_wait_t *wait)
{
    hs_list_remove(&wait->link);
}
