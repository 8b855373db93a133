/*
 * A bounded queue of work: one thread pushes batches, many pop single items. Pushing never blocks
 * and never allocates; a full queue is reported at once.
 *
 * Items lie in a ring of slots. The producer publishes a whole batch with one store of `tail`; a
 * consumer takes the oldest item with one compare-and-swap of `head`. Consumers take one item at a
 * time, so that no quick item waits behind a slow one in a consumer's private batch. Only going to
 * sleep and waking a sleeper take the lock: a batch wakes at most one consumer, which wakes the
 * next if there is more to do (hs_workq_wake_next).
 */
#pragma once

#include <errno.h>
#include <stdatomic.h>

#include "base/hs_alloc.h"
#include "base/hs_cond.h"

typedef struct hs_workq {
    _Atomic(void *) *slots; /* written by the producer, read by consumers; ordered by tail, head */
    uint64_t mask;

    /* Count of items ever pushed. Written by the producer with release (the items are seen with
     * it), read by consumers with acquire. */
    _Alignas(HS_CACHE_LINE) _Atomic uint64_t tail;
    uint64_t
        next; /* owner: producer. Items reserved so far; published by hs_workq_publish_and_wake */
    uint64_t head_seen; /* owner: producer. A value that head has had, to read head seldom */

    /* Count of items ever taken. Advanced by consumers, with release so that the producer, which
     * reads it with acquire, overwrites a slot only after it was read. */
    _Alignas(HS_CACHE_LINE) _Atomic uint64_t head;

    /* Sleeping consumers that were not woken yet. Changed under the lock, read by the producer
     * without it. A consumer adds itself, then reads tail; the producer writes tail, then reads
     * idle: all four sequentially consistent, so that either the producer sees the sleeper or the
     * sleeper sees the item. */
    _Alignas(HS_CACHE_LINE) _Atomic uint32_t idle;
    uint32_t wakes; /* under the lock: sleepers that were woken and have not noticed yet */
    bool closed;    /* under the lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;
} hs_workq_t;

typedef enum hs_workq_wait {
    HS_WORKQ_WORK,    /* there may be something to pop */
    HS_WORKQ_TIMEOUT, /* the time is over */
    HS_WORKQ_CLOSED,  /* closed and empty: nothing will follow */
} hs_workq_wait_t;

/* `capacity` is a power of two. False: out of memory. */
HS_NODISCARD static inline bool hs_workq_init(hs_workq_t *queue, uint32_t capacity)
{
    HS_ASSERT(hs_is_power_of_two(capacity));
    *queue = (hs_workq_t){ .mask = capacity - 1u };
    queue->slots = hs_alloc_zeroed(capacity, sizeof(*queue->slots));
    if (queue->slots == NULL)
        return false;
    pthread_mutex_init(&queue->lock, NULL);
    hs_cond_init(&queue->wake);
    return true;
}

/* No thread uses the queue any more; items still in it are dropped. */
static inline void hs_workq_free(hs_workq_t *queue)
{
    if (queue->slots == NULL)
        return;
    pthread_cond_destroy(&queue->wake);
    pthread_mutex_destroy(&queue->lock);
    hs_free(queue->slots);
    queue->slots = NULL;
}

/* The producer. Adds one item to the batch; false: the queue is full and nothing was added. */
HS_NODISCARD static inline bool hs_workq_reserve(hs_workq_t *queue, void *item)
{
    if (queue->next - queue->head_seen > queue->mask) {
        queue->head_seen = atomic_load_explicit(&queue->head, memory_order_acquire);
        if (queue->next - queue->head_seen > queue->mask)
            return false;
    }
    atomic_store_explicit(&queue->slots[queue->next & queue->mask], item, memory_order_relaxed);
    queue->next++;
    return true;
}

/* True if there is a sleeping consumer that was not woken. */
static inline bool hs_workq_has_idle(const hs_workq_t *queue)
{
    return atomic_load_explicit(&queue->idle, memory_order_seq_cst) > 0;
}

static inline void hs_workq_wake_one(hs_workq_t *queue)
{
    pthread_mutex_lock(&queue->lock);
    uint32_t idle = atomic_load_explicit(&queue->idle, memory_order_relaxed);
    bool wake = idle > 0;
    if (wake) {
        atomic_store_explicit(&queue->idle, idle - 1, memory_order_relaxed);
        queue->wakes++;
    }
    pthread_mutex_unlock(&queue->lock);
    if (wake)
        pthread_cond_signal(&queue->wake);
}

/* The producer: whether the batch holds anything. */
static inline bool hs_workq_has_unpublished(const hs_workq_t *queue)
{
    return queue->next != atomic_load_explicit(&queue->tail, memory_order_relaxed);
}

/*
 * The producer. Makes the batch visible to consumers that are awake. The producer must wake
 * sleepers, now or a little later.
 */
static inline void hs_workq_publish(hs_workq_t *queue)
{
    atomic_store_explicit(&queue->tail, queue->next, memory_order_seq_cst);
}

/* The producer. Makes the batch visible and wakes at most one sleeper. */
static inline void hs_workq_publish_and_wake(hs_workq_t *queue)
{
    if (!hs_workq_has_unpublished(queue))
        return;
    hs_workq_publish(queue);
    if (hs_workq_has_idle(queue))
        hs_workq_wake_one(queue);
}

/* Waiting items, as far as this thread can tell. Any thread. */
static inline uint64_t hs_workq_length(const hs_workq_t *queue)
{
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&queue->tail, memory_order_seq_cst);
    return tail > head ? tail - head : 0;
}

/* A consumer. The oldest item, NULL if there is none now. */
HS_NODISCARD static inline void *hs_workq_pop(hs_workq_t *queue)
{
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);
    for (;;) {
        /* An old head may predate a slot's next use: then the swap fails and returns the new one.
         */
        if (atomic_load_explicit(&queue->tail, memory_order_acquire) <= head)
            return NULL;
        void *item = atomic_load_explicit(&queue->slots[head & queue->mask], memory_order_relaxed);
        if (atomic_compare_exchange_weak_explicit(&queue->head, &head, head + 1,
                                                  memory_order_acq_rel, memory_order_relaxed))
            return item;
    }
}

/* A consumer that just got an item: if more are waiting and a consumer sleeps, wakes one. */
static inline void hs_workq_wake_next(hs_workq_t *queue)
{
    if (hs_workq_length(queue) > 0 && hs_workq_has_idle(queue))
        hs_workq_wake_one(queue);
}

/*
 * A consumer that found nothing: sleeps until there may be something, until `until`
 * (NULL: no limit), or until the queue is closed and empty.
 */
HS_NODISCARD static inline hs_workq_wait_t hs_workq_wait(hs_workq_t *queue,
                                                         const hs_deadline_t *until)
{
    hs_workq_wait_t result = HS_WORKQ_WORK;
    int timed_out = 0;
    pthread_mutex_lock(&queue->lock);
    atomic_fetch_add_explicit(&queue->idle, 1, memory_order_seq_cst);
    while (queue->wakes == 0 && !queue->closed && hs_workq_length(queue) == 0 &&
           timed_out != ETIMEDOUT)
        timed_out = until ? hs_cond_wait_until(&queue->wake, &queue->lock, until)
                          : pthread_cond_wait(&queue->wake, &queue->lock);
    /* A thread that leaves consumes one wake, or removes itself from the sleepers: their sum is the
     * number of threads in here. */
    if (queue->wakes > 0)
        queue->wakes--;
    else
        atomic_fetch_sub_explicit(&queue->idle, 1, memory_order_relaxed);
    if (hs_workq_length(queue) == 0)
        result = queue->closed ? HS_WORKQ_CLOSED : timed_out ? HS_WORKQ_TIMEOUT : HS_WORKQ_WORK;
    pthread_mutex_unlock(&queue->lock);
    return result;
}

/* Any thread. Queued items can still be popped; waiting consumers wake up. */
static inline void hs_workq_close(hs_workq_t *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_mutex_unlock(&queue->lock);
    pthread_cond_broadcast(&queue->wake);
}
