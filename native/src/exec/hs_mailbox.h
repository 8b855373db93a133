/*
 * The way back: workers post exchanges they have finished, the I/O thread collects them.
 *
 * Posting costs one compare-and-swap. Waking the I/O thread costs a system call and often a context
 * switch, so it is a call of its own (announce) that does nothing unless that thread sleeps; a
 * worker with more work at hand announces several answers at once.
 */
#pragma once

#include "data/hs_mpsc.h"
#include "exec/hs_exchange.h"
#include "os/hs_ev.h"

typedef struct hs_mailbox {
    hs_mpsc_t posted;
    /* True while the I/O thread sleeps or is about to. Written by it; exchanged for false by the
     * worker that wakes it. Sequentially consistent with hs_mpsc_push and hs_mpsc_empty: either the
     * worker sees the sleeper or the sleeper sees the answer. */
    _Atomic bool sleeping;
    hs_ev_t *ev; /* read-only; hs_ev_wake is for any thread */
} hs_mailbox_t;

static inline void hs_mailbox_init(hs_mailbox_t *mailbox, hs_ev_t *ev)
{
    hs_mpsc_init(&mailbox->posted);
    atomic_init(&mailbox->sleeping, false);
    mailbox->ev = ev;
}

/* A worker: gives the exchange back. It is not to be touched afterwards. */
static inline void hs_mailbox_post(hs_mailbox_t *mailbox, hs_exchange_t *exchange)
{
    HS_OWNER_RELEASE(exchange->owner);
    (void)hs_mpsc_push(&mailbox->posted, &exchange->way_back);
}

/* A worker: sees to it that what it has posted is collected. */
static inline void hs_mailbox_announce(hs_mailbox_t *mailbox)
{
    if (atomic_load_explicit(&mailbox->sleeping, memory_order_seq_cst) &&
        atomic_exchange_explicit(&mailbox->sleeping, false, memory_order_seq_cst))
        hs_ev_wake(mailbox->ev);
}

/* The I/O thread, before it waits. False: something was posted, do not wait. */
HS_NODISCARD static inline bool hs_mailbox_begin_sleep(hs_mailbox_t *mailbox)
{
    atomic_store_explicit(&mailbox->sleeping, true, memory_order_seq_cst);
    if (hs_mpsc_empty(&mailbox->posted))
        return true;
    atomic_store_explicit(&mailbox->sleeping, false, memory_order_relaxed);
    return false;
}

static inline void hs_mailbox_end_sleep(hs_mailbox_t *mailbox)
{
    atomic_store_explicit(&mailbox->sleeping, false, memory_order_relaxed);
}

/* The I/O thread: the finished exchanges, linked by way_back, in each worker's order. */
HS_NODISCARD static inline hs_mpsc_node_t *hs_mailbox_collect(hs_mailbox_t *mailbox)
{
    return hs_mpsc_take_all(&mailbox->posted);
}

static inline hs_exchange_t *hs_exchange_of_node(hs_mpsc_node_t *node)
{
    return HS_CONTAINER_OF(node, hs_exchange_t, way_back);
}
