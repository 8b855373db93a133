#include "os/hs_region.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

#define TRIM_RANGES 64

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t whole_pages(size_t size, size_t page)
{
    return (size + page - 1) / page * page;
}

size_t hs_region_pool_size(size_t block_size, size_t alignment, uint32_t max_blocks)
{
    return whole_pages(hs_pool_block_size(block_size, alignment) * max_blocks, page_size());
}

int hs_region_init(hs_region_t *region, size_t size, unsigned flags, hs_errinfo_t *error)
{
    *region = (hs_region_t){ .page_size = page_size(), .flags = flags };
    if (size == 0)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "a region of 0 bytes");
    region->size = whole_pages(size, region->page_size);
    int visibility = flags & HS_REGION_SHARED ? MAP_SHARED : MAP_PRIVATE;
    void *memory = mmap(NULL, region->size, PROT_READ | PROT_WRITE,
                        visibility | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        if ((flags & HS_REGION_SHARED) == 0)
            return HS_OK;
        return hs_errinfo_set(error, HS_ERR_SYSTEM, errno, "cannot map %zu shared bytes: %s",
                              region->size, strerror(errno));
    }
    region->memory = memory;
#ifdef MADV_NOHUGEPAGE
    /* The first block of each pool would take 2 MB. */
    (void)madvise(memory, region->size, MADV_NOHUGEPAGE);
#endif
#ifdef MADV_DONTDUMP
    if (flags & HS_REGION_NO_DUMP)
        (void)madvise(memory, region->size, MADV_DONTDUMP);
#endif
    return HS_OK;
}

void hs_region_free(hs_region_t *region)
{
    if (region->memory != NULL)
        (void)munmap(region->memory, region->size);
    *region = (hs_region_t){ .memory = NULL };
}

int hs_region_pool_init(hs_region_t *region, hs_pool_t *pool, size_t block_size, size_t alignment,
                        uint32_t max_blocks, hs_errinfo_t *error)
{
    size_t wanted = hs_region_pool_size(block_size, alignment, max_blocks);
    if (wanted > region->size - region->used)
        return hs_errinfo_set(error, HS_ERR_LIMIT, 0,
                              "a pool of %zu bytes does not fit the %zu left of a region", wanted,
                              region->size - region->used);
    char *memory = region->memory != NULL ? region->memory + region->used : NULL;
    if (!hs_pool_init(pool, memory, region->page_size, block_size, alignment, max_blocks))
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a pool of %u blocks",
                              max_blocks);
    region->used += wanted;
    return HS_OK;
}

/* A failure here costs only memory. */
void hs_region_release(const hs_region_t *region, void *memory, size_t len)
{
#ifdef MADV_REMOVE
    /* In a shared mapping MADV_DONTNEED only drops this process's view. */
    int advice = region->flags & HS_REGION_SHARED ? MADV_REMOVE : MADV_DONTNEED;
#else /* macOS: MADV_DONTNEED frees nothing there */
    int advice = MADV_FREE;
    (void)region;
#endif
    (void)madvise(memory, len, advice);
}

static void release_pages(void *context, void *memory, size_t len)
{
    hs_region_release(context, memory, len);
}

bool hs_region_trim(hs_region_t *region, hs_pool_t *pool, uint32_t keep)
{
    return hs_pool_trim(pool, keep, TRIM_RANGES, release_pages, region) == TRIM_RANGES;
}
