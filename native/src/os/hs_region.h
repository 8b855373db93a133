/*
 * One large mapping, reserved at once and touched as needed, from which pools of fixed-size blocks
 * are cut (data/hs_pool.h): everything that a server keeps per connection is in one place, whose
 * size follows from the options. A shared region means the same addresses in a process that is
 * forked from this one. Made and freed by one thread.
 */
#pragma once

#include "base/hs_err.h"
#include "data/hs_pool.h"

enum {
    HS_REGION_SHARED = 1,  /* stays shared across a fork */
    HS_REGION_NO_DUMP = 2, /* not in a core dump, which would be as large as the reservation */
};

/* owner: the thread that made it */
typedef struct hs_region {
    char *memory; /* NULL: not available; the pools take chunks from the allocator */
    size_t size;
    size_t used; /* by pools, whole pages */
    size_t page_size;
    unsigned flags;
} hs_region_t;

/* What a pool takes of a region: sum it up for hs_region_init. */
HS_NODISCARD size_t hs_region_pool_size(size_t block_size, size_t alignment, uint32_t max_blocks);

/*
 * Reserves `size` bytes of addresses; memory is used where blocks are. If a private region is not
 * available (a limit on address space), its pools allocate chunks instead, which is not a failure:
 * `region->memory` is NULL then. HS_ERR_SYSTEM: a shared region is not available. HS_ERR_INVALID:
 * `size` is 0.
 */
HS_NODISCARD int hs_region_init(hs_region_t *region, size_t size, unsigned flags,
                                hs_errinfo_t *error);

/* The pools are freed already. A region that is all zero is left alone. */
void hs_region_free(hs_region_t *region);

/*
 * Cuts a pool out of the region: at most `max_blocks` blocks of `block_size` bytes. `alignment` is
 * a power of two from 8 to the size of a page. HS_ERR_LIMIT: the region is too small;
 * HS_ERR_NOMEM. Freed by hs_pool_free, before the region.
 */
HS_NODISCARD int hs_region_pool_init(hs_region_t *region, hs_pool_t *pool, size_t block_size,
                                     size_t alignment, uint32_t max_blocks, hs_errinfo_t *error);

/*
 * Returns memory of free blocks to the system, except about `keep` blocks. One call does a bounded
 * amount of work, some 100 us: call it now and then while idle. True: there is more to do.
 */
bool hs_region_trim(hs_region_t *region, hs_pool_t *pool, uint32_t keep);

/* The same for whole pages of it that hold nothing. */
void hs_region_release(const hs_region_t *region, void *memory, size_t len);
