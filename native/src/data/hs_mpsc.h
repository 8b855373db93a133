/*
 * Many threads push, one takes everything. Lock-free and without allocation: the link is a member
 * of the pushed struct. Items of one producer come out in order.
 *
 * The list is a stack that the consumer takes whole and reverses, so a slow producer never hides
 * what others pushed, and there is no ABA problem: no thread pops single nodes.
 */
#pragma once

#include <stdatomic.h>

#include "base/hs_base.h"

/* owner: the producer until it is pushed, then the list, then the consumer */
typedef struct hs_mpsc_node {
    struct hs_mpsc_node *next;
} hs_mpsc_node_t;

typedef struct hs_mpsc {
    /* The last node pushed. Written by producers with release, so that the node's contents are
     * visible; exchanged for NULL by the consumer with acquire. Pushing and asking whether it is
     * empty are sequentially consistent: a consumer that announces its sleep and then finds nothing
     * is seen sleeping by any later push (exec/hs_mailbox.h). */
    _Atomic(hs_mpsc_node_t *) last;
} hs_mpsc_t;

static inline void hs_mpsc_init(hs_mpsc_t *list)
{
    atomic_init(&list->last, NULL);
}

/* Any thread. True if the list was empty: the consumer may not know yet that there is something. */
static inline bool hs_mpsc_push(hs_mpsc_t *list, hs_mpsc_node_t *node)
{
    hs_mpsc_node_t *last = atomic_load_explicit(&list->last, memory_order_relaxed);
    do {
        node->next = last;
    } while (!atomic_compare_exchange_weak_explicit(&list->last, &last, node, memory_order_seq_cst,
                                                    memory_order_relaxed));
    return last == NULL;
}

/* The consumer, or any thread that only needs a hint. */
static inline bool hs_mpsc_empty(const hs_mpsc_t *list)
{
    return atomic_load_explicit(&list->last, memory_order_seq_cst) == NULL;
}

/* The consumer only. All nodes, linked by `next`, the first pushed first; NULL if there is none. */
HS_NODISCARD static inline hs_mpsc_node_t *hs_mpsc_take_all(hs_mpsc_t *list)
{
    if (hs_mpsc_empty(list))
        return NULL;
    hs_mpsc_node_t *node = atomic_exchange_explicit(&list->last, NULL, memory_order_acquire);
    hs_mpsc_node_t *first = NULL;
    while (node != NULL) {
        hs_mpsc_node_t *before = node->next;
        node->next = first;
        first = node;
        node = before;
    }
    return first;
}
