/*
 * Accepted descriptors in transit from the boss to a reactor: one producer, one consumer. Bounded
 * and lock-free.
 */
#pragma once

#include <stdatomic.h>

#include "base/hs_base.h"

#define HS_HANDOFF_CAPACITY 1024

typedef struct hs_handoff {
    int fds[HS_HANDOFF_CAPACITY]; /* a slot is the boss's until tail, the reactor's until head */
    /* Descriptors ever put. Written by the boss with release, read by the reactor with acquire. */
    _Atomic uint32_t tail;
    /* Descriptors ever taken. Written by the reactor with release, read by the boss with acquire.
     */
    _Atomic uint32_t head;
} hs_handoff_t;

/* The boss. False: the reactor does not keep up. */
HS_NODISCARD static inline bool hs_handoff_put(hs_handoff_t *handoff, int fd)
{
    uint32_t tail = atomic_load_explicit(&handoff->tail, memory_order_relaxed);
    if (tail - atomic_load_explicit(&handoff->head, memory_order_acquire) == HS_HANDOFF_CAPACITY)
        return false;
    handoff->fds[tail % HS_HANDOFF_CAPACITY] = fd;
    atomic_store_explicit(&handoff->tail, tail + 1, memory_order_release);
    return true;
}

/* The reactor. -1: there is none. */
HS_NODISCARD static inline int hs_handoff_take(hs_handoff_t *handoff)
{
    uint32_t head = atomic_load_explicit(&handoff->head, memory_order_relaxed);
    if (head == atomic_load_explicit(&handoff->tail, memory_order_acquire))
        return -1;
    int fd = handoff->fds[head % HS_HANDOFF_CAPACITY];
    atomic_store_explicit(&handoff->head, head + 1, memory_order_release);
    return fd;
}
