/*
 * Slots of one size, allocated in chunks and reused last-in first-out, so that the hottest memory
 * is used next. Chunks are freed only with the slab: a pointer to a slot stays readable as long as
 * the slab lives. Single-threaded.
 */
#pragma once

#include "base/hs_alloc.h"

typedef struct hs_slab_slot {
    struct hs_slab_slot *next;
} hs_slab_slot_t;

typedef struct hs_slab {
    hs_slab_slot_t *free_slots;
    hs_slab_slot_t *chunks; /* each chunk starts with the link to the one before */
    size_t slot_size;
    uint32_t slots_per_chunk;
    uint32_t in_use;
    uint32_t limit;
} hs_slab_t;

static inline void hs_slab_init(hs_slab_t *slab, size_t slot_size, uint32_t slots_per_chunk,
                                uint32_t limit)
{
    size_t rounded = (slot_size + HS_CACHE_LINE - 1) / HS_CACHE_LINE * HS_CACHE_LINE;
    *slab = (hs_slab_t){ .slot_size = rounded, .slots_per_chunk = slots_per_chunk, .limit = limit };
}

HS_NODISCARD static inline bool hs_slab_grow(hs_slab_t *slab)
{
    /* The chunk's link takes one cache line, which keeps the slots aligned. */
    char *chunk =
        hs_alloc_aligned(HS_CACHE_LINE, HS_CACHE_LINE + slab->slot_size * slab->slots_per_chunk);
    if (chunk == NULL)
        return false;
    hs_slab_slot_t *link = (hs_slab_slot_t *)(void *)chunk;
    link->next = slab->chunks;
    slab->chunks = link;
    for (uint32_t i = slab->slots_per_chunk; i > 0; i--) {
        hs_slab_slot_t *slot =
            (hs_slab_slot_t *)(void *)(chunk + HS_CACHE_LINE + (i - 1) * slab->slot_size);
        slot->next = slab->free_slots;
        slab->free_slots = slot;
    }
    return true;
}

/* A slot with undefined content, NULL at the limit or out of memory. */
HS_NODISCARD static inline void *hs_slab_take(hs_slab_t *slab)
{
    if (slab->in_use == slab->limit)
        return NULL;
    if (slab->free_slots == NULL && !hs_slab_grow(slab))
        return NULL;
    hs_slab_slot_t *slot = slab->free_slots;
    slab->free_slots = slot->next;
    slab->in_use++;
    return slot;
}

static inline void hs_slab_give(hs_slab_t *slab, void *memory)
{
    HS_ASSERT(slab->in_use > 0);
    hs_slab_slot_t *slot = memory;
    slot->next = slab->free_slots;
    slab->free_slots = slot;
    slab->in_use--;
}

static inline void hs_slab_free(hs_slab_t *slab)
{
    while (slab->chunks != NULL) {
        hs_slab_slot_t *chunk = slab->chunks;
        slab->chunks = chunk->next;
        hs_free(chunk);
    }
    slab->free_slots = NULL;
}
