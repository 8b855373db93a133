#include "stream/hs_buffers.h"

/* Free ones that keep their output buffers for the next lease: as many as one turn uses. */
#define KEEP_HOT 32
/* Further ones keep a buffer for small responses; the memory of still others goes back. */
#define KEEP_FREE 256
#define KEEP_BYTES 4096

static size_t round_up(size_t size)
{
    return (size + HS_CACHE_LINE - 1) / HS_CACHE_LINE * HS_CACHE_LINE;
}

/* One block: the struct, the scratch memory, the ring, the arena. A reader of whole words may look
 * a cache line past the arena's end. */
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

void hs_buffers_pool_free(hs_buffers_pool_t *pool)
{
    HS_ASSERT(pool->leased == 0);
    while (pool->free != NULL) {
        hs_buffers_t *buffers = pool->free;
        pool->free = buffers->next;
        give_block(pool, buffers);
    }
    pool->free_count = 0;
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
    hs_buffers_t *buffers = pool->free;
    if (HS_LIKELY(buffers != NULL)) {
        pool->free = buffers->next;
        pool->free_count--;
    } else {
        buffers = buffers_new(pool);
        if (buffers == NULL)
            return NULL;
    }
    pool->leased++;
    return buffers;
}

void hs_buffers_give_back(hs_buffers_pool_t *pool, hs_buffers_t *buffers)
{
    HS_ASSERT(pool->leased > 0);
    if (HS_UNLIKELY(hs_out_unsent(&buffers->out) > 0 || buffers->out.first != NULL))
        hs_out_clear(&buffers->out);
    pool->leased--;
    if (HS_UNLIKELY(pool->free_count == KEEP_FREE)) {
        give_block(pool, buffers);
        return;
    }
    if (HS_UNLIKELY(pool->free_count >= KEEP_HOT))
        hs_out_reset(&buffers->out, KEEP_BYTES);
    buffers->ring.tail = buffers->ring.head;
    hs_ring_rewind(&buffers->ring);
    buffers->parsed = 0;
    buffers->took = 0;
    buffers->unsent_since_ms = 0;
    buffers->next = pool->free;
    pool->free = buffers;
    pool->free_count++;
}
