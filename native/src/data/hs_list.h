/*
 * An intrusive, circular, doubly linked list: the node is a member of the listed struct, so linking
 * never allocates and unlinking needs no search. An unlinked node points to itself.
 * Single-threaded.
 */
#pragma once

#include "base/hs_base.h"

typedef struct hs_list {
    struct hs_list *next;
    struct hs_list *prev;
} hs_list_t;

static inline void hs_list_init(hs_list_t *node)
{
    node->next = node->prev = node;
}

/* True for an empty list, and for an unlinked node. */
static inline bool hs_list_empty(const hs_list_t *node)
{
    return node->next == node;
}

static inline void hs_list_push_back(hs_list_t *list, hs_list_t *node)
{
    HS_ASSERT(hs_list_empty(node));
    node->prev = list->prev;
    node->next = list;
    list->prev->next = node;
    list->prev = node;
}

/* Leaves the node unlinked, so that removing twice is harmless. */
static inline void hs_list_remove(hs_list_t *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    hs_list_init(node);
}

/* Moves all nodes of `from` to the end of `to`. */
static inline void hs_list_take_all(hs_list_t *to, hs_list_t *from)
{
    if (hs_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    hs_list_init(from);
}
