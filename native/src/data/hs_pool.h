/*
 * Blocks of one size from one run of memory, reused last-in first-out, so that the hottest memory
 * is used next and unneeded memory is never touched. Free blocks are tracked outside the blocks:
 * their memory can be returned to the system (hs_pool_trim), and AddressSanitizer reports every
 * access to a freed block. Pure bookkeeping: the memory comes from hs_region. One thread at a time.
 */
#pragma once

#include "base/hs_alloc.h"

/* owner: the thread that made it. The memory of a block belongs to the code that took it. */
typedef struct hs_pool {
    void **free_blocks; /* a stack: the top was freed last and is taken next */
    uint32_t free_count;
    uint32_t trimmed_count; /* the lowest entries of the stack: their memory was returned to the
                               system */
    char *next_fresh;       /* the first block that was never taken */
    uint32_t fresh_count;   /* as many follow each other from there */
    uint32_t taken_count;   /* blocks that were ever taken */
    uint32_t max_blocks;
    size_t block_size;
    char *memory;          /* borrowed, page-aligned; NULL: chunks from the allocator */
    void *chunks;          /* each begins with the address of the one before */
    size_t alignment;      /* of blocks */
    size_t page_size;      /* the unit that can be returned to the system, a power of two */
    uint32_t span_blocks;  /* blocks on the fewest pages that hold no part of another block */
    uint16_t *span_free;   /* scratch memory of a trim: free blocks of each span */
    uint32_t settled_keep; /* since a trim with this `keep` found no more, no block was freed;
                              UINT32_MAX: one was */
} hs_pool_t;

/* The size of one block: `size` rounded up to `alignment`, a power of two of at least 8. */
static inline size_t hs_pool_block_size(size_t size, size_t alignment)
{
    return (size + alignment - 1) / alignment * alignment;
}

/*
 * At most `max_blocks` blocks of `size` bytes, from `memory`, which has room for all and starts on
 * a page; NULL: from the allocator, in chunks, as they are needed. False: out of memory.
 */
HS_NODISCARD bool hs_pool_init(hs_pool_t *pool, void *memory, size_t page_size, size_t size,
                               size_t alignment, uint32_t max_blocks);

/* No block is in use any more. The owner keeps the memory. */
void hs_pool_free(hs_pool_t *pool);

HS_NODISCARD bool hs__pool_grow(hs_pool_t *pool);

/* A block with undefined content; NULL: all are taken, or out of memory. */
HS_NODISCARD static inline void *hs_pool_take(hs_pool_t *pool)
{
    char *block;
    if (HS_LIKELY(pool->free_count > 0)) {
        block = pool->free_blocks[--pool->free_count];
        if (pool->trimmed_count > pool->free_count)
            pool->trimmed_count = pool->free_count;
    } else {
        if (pool->fresh_count == 0 && !hs__pool_grow(pool))
            return NULL;
        block = pool->next_fresh;
        pool->next_fresh += pool->block_size;
        pool->fresh_count--;
        pool->taken_count++;
    }
    hs_unpoison(block, pool->block_size);
    return block;
}

/* Gives back a block of this pool. */
static inline void hs_pool_give(hs_pool_t *pool, void *block)
{
    HS_ASSERT(pool->free_count < pool->taken_count);
    HS_ASSERT(pool->memory == NULL ||
              (size_t)((char *)block - pool->memory) % pool->block_size == 0);
    hs_poison(block, pool->block_size);
    pool->free_blocks[pool->free_count++] = block;
    pool->settled_keep = UINT32_MAX;
}

/* Blocks that are taken. */
static inline uint32_t hs_pool_in_use(const hs_pool_t *pool)
{
    return pool->taken_count - pool->free_count;
}

/* Free blocks that hold memory. */
static inline uint32_t hs_pool_idle(const hs_pool_t *pool)
{
    return pool->free_count - pool->trimmed_count;
}

/*
 * Returns the memory of free blocks to the system, coldest first, until about `keep` free blocks
 * have theirs, or after `max_ranges` calls of `release(context, memory, len)`. Only whole pages can
 * be returned: a page stays while a block on it is in use. Returns the number of calls made. Takes
 * time in proportion to the free blocks: not for every request. Blocks of chunks keep their memory.
 */
uint32_t hs_pool_trim(hs_pool_t *pool, uint32_t keep, uint32_t max_ranges,
                      void (*release)(void *context, void *memory, size_t len), void *context);
