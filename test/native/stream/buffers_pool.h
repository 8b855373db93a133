/* A pool of buffers whose blocks come from the allocator. Include after cmocka.h. */
#pragma once

#include "stream/hs_buffers.h"

static inline void buffers_pool_begin(hs_buffers_pool_t *pool, hs_pool_t *blocks,
                                      uint32_t ring_size, size_t scratch_size, uint32_t limit)
{
    size_t size = hs_buffers_block_size(ring_size, scratch_size);
    assert_true(hs_pool_init(blocks, NULL, 4096, size, HS_CACHE_LINE, limit));
    hs_buffers_pool_init(pool, blocks, ring_size, scratch_size);
}

static inline void buffers_pool_end(hs_buffers_pool_t *pool)
{
    hs_buffers_pool_free(pool);
    hs_pool_free(pool->blocks);
}
