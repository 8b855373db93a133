#include "data/hs_pool.h"

#include <string.h>

#define CHUNK_BLOCKS 64u
/* In place of a count in span_free. */
#define SPAN_RELEASED UINT16_MAX

static uint32_t blocks_per_span(size_t block_size, size_t page_size)
{
    if (block_size >= page_size)
        return 1;
    size_t common = block_size & (~block_size + 1); /* its largest power of two divides the page */
    return (uint32_t)(page_size / common);
}

bool hs_pool_init(hs_pool_t *pool, void *memory, size_t page_size, size_t size, size_t alignment,
                  uint32_t max_blocks)
{
    HS_ASSERT(size > 0 && max_blocks > 0 && alignment >= 8 && hs_is_power_of_two(alignment));
    HS_ASSERT(hs_is_power_of_two(page_size) && alignment <= page_size);
    HS_ASSERT(((uintptr_t)memory & (page_size - 1)) == 0);
    *pool = (hs_pool_t){
        .block_size = hs_pool_block_size(size, alignment),
        .alignment = alignment,
        .page_size = page_size,
        .max_blocks = max_blocks,
        .memory = memory,
        .settled_keep = UINT32_MAX,
    };
    pool->span_blocks = blocks_per_span(pool->block_size, page_size);
    HS_ASSERT(pool->span_blocks < SPAN_RELEASED);
    if (memory != NULL) {
        pool->next_fresh = memory;
        pool->fresh_count = max_blocks;
        pool->span_free = hs_alloc(sizeof(*pool->span_free) * (max_blocks / pool->span_blocks + 1));
    }
    pool->free_blocks = hs_alloc(sizeof(*pool->free_blocks) * max_blocks);
    if (pool->free_blocks != NULL && (memory == NULL || pool->span_free != NULL))
        return true;
    hs_pool_free(pool);
    return false;
}

void hs_pool_free(hs_pool_t *pool)
{
    /* The addresses will be reused for other memory. */
    for (uint32_t i = 0; i < pool->free_count; i++)
        hs_unpoison(pool->free_blocks[i], pool->block_size);
    while (pool->chunks != NULL) {
        void *chunk = pool->chunks;
        memcpy(&pool->chunks, chunk, sizeof(pool->chunks));
        hs_free(chunk);
    }
    hs_free(pool->free_blocks);
    hs_free(pool->span_free);
    *pool = (hs_pool_t){ .memory = NULL };
}

bool hs__pool_grow(hs_pool_t *pool)
{
    if (pool->memory != NULL || pool->taken_count >= pool->max_blocks)
        return false;
    uint32_t count = (uint32_t)hs_min(CHUNK_BLOCKS, pool->max_blocks - pool->taken_count);
    /* The link is padded to keep the blocks aligned. */
    char *chunk = hs_alloc_aligned(pool->alignment, pool->alignment + count * pool->block_size);
    if (chunk == NULL)
        return false;
    memcpy(chunk, &pool->chunks, sizeof(pool->chunks));
    pool->chunks = chunk;
    pool->next_fresh = chunk + pool->alignment;
    pool->fresh_count = count;
    return true;
}

static size_t span_of(const hs_pool_t *pool, const void *block)
{
    size_t index = (size_t)((const char *)block - pool->memory) / pool->block_size;
    return index / pool->span_blocks;
}

/* Blocks of the span that were ever taken: the last one may be incomplete. */
static uint32_t taken_in_span(const hs_pool_t *pool, size_t span)
{
    return (uint32_t)hs_min(pool->span_blocks, pool->taken_count - span * pool->span_blocks);
}

static void count_free(hs_pool_t *pool)
{
    size_t span_count = pool->taken_count / pool->span_blocks + 1;
    memset(pool->span_free, 0, span_count * sizeof(*pool->span_free));
    for (uint32_t i = 0; i < pool->free_count; i++)
        pool->span_free[span_of(pool, pool->free_blocks[i])]++;
}

/* The whole pages of the span. False: it has none. */
static bool span_pages(const hs_pool_t *pool, size_t span, char **begin, size_t *len)
{
    size_t span_size = pool->span_blocks * pool->block_size;
    size_t from = span * span_size;
    size_t to = hs_min(from + span_size, pool->max_blocks * pool->block_size);
    from = (from + pool->page_size - 1) & ~(pool->page_size - 1);
    to &= ~(pool->page_size - 1);
    if (from >= to)
        return false;
    *begin = pool->memory + from;
    *len = to - from;
    return true;
}

uint32_t hs_pool_trim(hs_pool_t *pool, uint32_t keep, uint32_t max_ranges,
                      void (*release)(void *context, void *memory, size_t len), void *context)
{
    if (pool->memory == NULL || hs_pool_idle(pool) <= keep || keep >= pool->settled_keep)
        return 0;
    count_free(pool);
    uint32_t ranges = 0;
    for (uint32_t i = pool->trimmed_count; i < pool->free_count; i++) {
        void *block = pool->free_blocks[i];
        size_t span = span_of(pool, block);
        char *begin;
        size_t len;
        if (pool->span_free[span] == taken_in_span(pool, span) && ranges < max_ranges &&
            hs_pool_idle(pool) > keep && span_pages(pool, span, &begin, &len)) {
            release(context, begin, len);
            ranges++;
            pool->span_free[span] = SPAN_RELEASED;
        }
        if (pool->span_free[span] != SPAN_RELEASED)
            continue;
        pool->free_blocks[i] = pool->free_blocks[pool->trimmed_count];
        pool->free_blocks[pool->trimmed_count++] = block;
    }
    if (ranges < max_ranges)
        pool->settled_keep = keep;
    return ranges;
}
