/*
 * A receive ring: a fixed power-of-two block of bytes with a write end and a release end.
 *
 * Positions are ever-growing counters (modulo 2^32); the byte at position p is at data[p &
 * (capacity - 1)]. `head` is where the next received byte goes, `tail` the oldest byte still in
 * use. The ring does not track the parser: the reader keeps its own position between the two, so
 * bytes stay put until they are released. Single-threaded: owned by what holds it.
 */
#pragma once

#include <string.h>
#include <sys/uio.h>

#include "base/hs_base.h"

typedef struct hs_ring {
    char *data;
    uint32_t capacity;
    uint32_t head;
    uint32_t tail;
} hs_ring_t;

static inline void hs_ring_init(hs_ring_t *ring, char *memory, uint32_t capacity)
{
    HS_ASSERT(hs_is_power_of_two(capacity));
    *ring = (hs_ring_t){ .data = memory, .capacity = capacity };
}

static inline uint32_t hs_ring_used(const hs_ring_t *ring)
{
    return ring->head - ring->tail;
}

static inline uint32_t hs_ring_free(const hs_ring_t *ring)
{
    return ring->capacity - hs_ring_used(ring);
}

static inline char *hs_ring_at(const hs_ring_t *ring, uint32_t position)
{
    return ring->data + (position & (ring->capacity - 1));
}

/* Bytes from `position` to the end of the memory block: the contiguous part, used or not. */
static inline uint32_t hs_ring_room(const hs_ring_t *ring, uint32_t position)
{
    return ring->capacity - (position & (ring->capacity - 1));
}

/* Contiguous received bytes from `position` on. */
static inline uint32_t hs_ring_readable(const hs_ring_t *ring, uint32_t position)
{
    uint32_t pending = ring->head - position;
    uint32_t room = hs_ring_room(ring, position);
    return pending < room ? pending : room;
}

/* The free space as one or two pieces; 0 when the ring is full. */
static inline int hs_ring_write_vec(const hs_ring_t *ring, struct iovec iov[2])
{
    uint32_t space = hs_ring_free(ring);
    if (space == 0)
        return 0;
    uint32_t room = hs_ring_room(ring, ring->head);
    if (room >= space) {
        iov[0] = (struct iovec){ hs_ring_at(ring, ring->head), space };
        return 1;
    }
    iov[0] = (struct iovec){ hs_ring_at(ring, ring->head), room };
    iov[1] = (struct iovec){ ring->data, space - room };
    return 2;
}

static inline void hs_ring_commit(hs_ring_t *ring, uint32_t received)
{
    HS_ASSERT(received <= hs_ring_free(ring));
    ring->head += received;
}

/* The bytes before `position` are no longer used. */
static inline void hs_ring_release(hs_ring_t *ring, uint32_t position)
{
    HS_ASSERT(position - ring->tail <= hs_ring_used(ring));
    ring->tail = position;
}

/* Restarts at the first byte of memory, so that the next message is contiguous. Only when empty. */
static inline void hs_ring_rewind(hs_ring_t *ring)
{
    HS_ASSERT(hs_ring_used(ring) == 0);
    ring->head = ring->tail = 0;
}

/* Copies `len` received bytes from `position` on, wrapping at the end of the block if necessary. */
static inline void hs_ring_copy(const hs_ring_t *ring, uint32_t position, char *to, uint32_t len)
{
    HS_ASSERT(len <= ring->head - position);
    uint32_t room = hs_ring_room(ring, position);
    uint32_t first = len < room ? len : room;
    memcpy(to, hs_ring_at(ring, position), first);
    if (len > first)
        memcpy(to + first, ring->data, len - first);
}
