/*
 * The most recently released items, the last one on top: they keep the memory that makes reuse
 * fast. When an item becomes cold, because enough others were released after it, its owner frees
 * its memory. Pure bookkeeping, no allocation. One thread at a time.
 */
#pragma once

#include "base/hs_base.h"

#define HS_HOT_MAX                                                                                 \
    64 /* more than a turn of a loop mostly uses: events, and responses of workers                 \
        */

/* owner: the pool that holds it. A ring: the coldest is at `begin`. */
typedef struct hs_hot {
    void *items[HS_HOT_MAX];
    uint32_t begin;
    uint32_t count;
} hs_hot_t;

/* Returns the item that became cold and was removed, NULL if there was room. */
HS_NODISCARD static inline void *hs_hot_push(hs_hot_t *hot, void *item)
{
    void *cold = NULL;
    if (HS_UNLIKELY(hot->count == HS_HOT_MAX)) {
        cold = hot->items[hot->begin];
        hot->begin = (hot->begin + 1) % HS_HOT_MAX;
        hot->count--;
    }
    hot->items[(hot->begin + hot->count++) % HS_HOT_MAX] = item;
    return cold;
}

/* The hottest, NULL if there is none. */
HS_NODISCARD static inline void *hs_hot_pop(hs_hot_t *hot)
{
    if (HS_UNLIKELY(hot->count == 0))
        return NULL;
    return hot->items[(hot->begin + --hot->count) % HS_HOT_MAX];
}
