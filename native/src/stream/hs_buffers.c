#include "stream/hs_buffers.h"

/* This many cold ones keep a buffer for small responses; the memory of further ones is released. */
#define KEEP_COLD 256
#define KEEP_BYTES 4096

static size_t round_up(size_t size)
{
    return (size + HS_CACHE_LINE - 1) / HS_CACHE_LINE * HS_CACHE_LINE;
}

/* One block: the struct, the scratch memory, the ring, the arena. Code that reads whole words may
 * read a cache line past the arena's end. */
size_t hs_buffers_block_size(uint32_t ring_size, size_t scratch_size)
{
    return round_up(sizeof(hs_buffers_t)) + round_up(scratch_size) + 2 * (size_t)ring_size +
           HS_CACHE_LINE;
}

void hs_buffers_pool_init(hs_buffers_pool_t *pool, hs_pool_t *blocks, uint32_t ring_size,
                          size_t scratch_size)
{
    HS_ASSERT(blocks->block_size >= hs_buffers_block_size(ring_size, scratch_size));
    *pool = (hs_buffers_pool_t){ .blocks = blocks,
                                 .ring_size = ring_size,
                                 .scratch_size = scratch_size };
}

static void give_block(hs_buffers_pool_t *pool, hs_buffers_t *buffers)
{
    hs_out_free(&buffers->out);
    hs_pool_give(pool->blocks, buffers);
}

static hs_buffers_t *take_free(hs_buffers_pool_t *pool)
{
    hs_buffers_t *buffers = hs_hot_pop(&pool->hot);
    if (HS_LIKELY(buffers != NULL))
        return buffers;
    buffers = pool->cold;
    if (buffers == NULL)
        return NULL;
    pool->cold = buffers->next;
    pool->cold_count--;
    return buffers;
}

void hs_buffers_pool_free(hs_buffers_pool_t *pool)
{
    HS_ASSERT(pool->leased == 0);
    for (hs_buffers_t *buffers; (buffers = take_free(pool)) != NULL;)
        give_block(pool, buffers);
}

static hs_buffers_t *buffers_new(hs_buffers_pool_t *pool)
{
    char *block = hs_pool_take(pool->blocks);
    if (block == NULL)
        return NULL;
    hs_buffers_t *buffers = (hs_buffers_t *)(void *)block;
    memset(block, 0, sizeof(*buffers));
    char *scratch = block + round_up(sizeof(*buffers));
    char *ring = scratch + round_up(pool->scratch_size);
    buffers->scratch = scratch;
    hs_ring_init(&buffers->ring, ring, pool->ring_size);
    buffers->arena = ring + pool->ring_size;
    return buffers;
}

hs_buffers_t *hs_buffers_lease(hs_buffers_pool_t *pool)
{
    hs_buffers_t *buffers = take_free(pool);
    if (HS_UNLIKELY(buffers == NULL)) {
        buffers = buffers_new(pool);
        if (buffers == NULL)
            return NULL;
    }
    pool->leased++;
    return buffers;
}

static HS_NOINLINE void keep_cold(hs_buffers_pool_t *pool, hs_buffers_t *buffers)
{
    if (pool->cold_count == KEEP_COLD) {
        give_block(pool, buffers);
        return;
    }
    hs_out_reset(&buffers->out, KEEP_BYTES);
    buffers->next = pool->cold;
    pool->cold = buffers;
    pool->cold_count++;
}

void hs_buffers_give_back(hs_buffers_pool_t *pool, hs_buffers_t *buffers)
{
    HS_ASSERT(pool->leased > 0);
    if (HS_UNLIKELY(hs_out_unsent(&buffers->out) > 0 || buffers->out.first != NULL))
        hs_out_clear(&buffers->out);
    pool->leased--;
    buffers->ring.tail = buffers->ring.head;
    hs_ring_rewind(&buffers->ring);
    buffers->parsed = 0;
    buffers->took = 0;
    buffers->unsent_since_ms = 0;
    hs_buffers_t *cold = hs_hot_push(&pool->hot, buffers);
    if (HS_UNLIKELY(cold != NULL))
        keep_cold(pool, cold);
}
