/*
 * The buffers of a stream while bytes are pending: the receive ring, the output chain, and scratch
 * memory for its protocol. Leased from a pool when bytes arrive and released when nothing is
 * pending, so an idle stream costs little more than its descriptor, and the most recently used
 * memory is reused first.
 *
 * Owner: the stream that leased them; the pool's is the loop's thread.
 */
#pragma once

#include "data/hs_hot.h"
#include "data/hs_out.h"
#include "data/hs_pool.h"
#include "data/hs_ring.h"

typedef struct hs_buffers hs_buffers_t;

struct hs_buffers {
    hs_ring_t ring;
    uint32_t parsed; /* ring position of the first byte not consumed by the protocol */
    uint32_t took;   /* bytes of `out` that the kernel accepted since it was empty, modulo 2^32 */
    uint64_t unsent_since_ms; /* since when `out` has not been empty */
    hs_out_t out;
    char
        *arena; /* ring.capacity bytes and a cache line, for a head that straddles the ring's end */
    void *scratch;                     /* the protocol's */
    struct hs_readahead_piece *awaits; /* of a file, before more is sent; NULL: none */
    hs_buffers_t *next;                /* in the pool */
};

/* owner: the loop's thread */
typedef struct hs_buffers_pool {
    hs_hot_t hot;       /* free ones that keep their output buffers */
    hs_buffers_t *cold; /* free ones that keep little */
    uint32_t cold_count;
    uint32_t leased;
    hs_pool_t *blocks; /* borrowed */
    size_t scratch_size;
    uint32_t ring_size;
} hs_buffers_pool_t;

/* The block size of a pool of buffers. */
size_t hs_buffers_block_size(uint32_t ring_size, size_t scratch_size);

/* `blocks` of hs_buffers_block_size; it outlives the pool. */
void hs_buffers_pool_init(hs_buffers_pool_t *pool, hs_pool_t *blocks, uint32_t ring_size,
                          size_t scratch_size);

/* All must have been given back. */
void hs_buffers_pool_free(hs_buffers_pool_t *pool);

/* With empty ring and output, NULL when out of memory or at the limit. */
HS_NODISCARD hs_buffers_t *hs_buffers_lease(hs_buffers_pool_t *pool);
void hs_buffers_give_back(hs_buffers_pool_t *pool, hs_buffers_t *buffers);

/* The bytes up to `parsed` are no longer used. */
static inline void hs_buffers_release_parsed(hs_buffers_t *buffers)
{
    hs_ring_release(&buffers->ring, buffers->parsed);
    if (hs_ring_used(&buffers->ring) > 0)
        return;
    hs_ring_rewind(&buffers->ring);
    buffers->parsed = 0;
}

static inline bool hs_buffers_has_unparsed(const hs_buffers_t *buffers)
{
    return buffers->ring.head != buffers->parsed;
}
