#include "data/hs_kept.h"

#include <pthread.h>

#include "data/hs_pool.h"

/* The maximum address space per block size. */
#define CLASS_BYTES_MAX (256u * 1024 * 1024)
/* Free blocks of each size that keep their memory, and ranges released per trim. */
#define KEEP_IDLE 16
#define TRIM_RANGES 64

static struct {
    char *memory; /* read-only once open, like size */
    size_t size;
    size_t begin[HS_KEPT_CLASSES + 1]; /* where each pool begins, and the end of the last */
    pthread_mutex_t lock;              /* guards the pools */
    hs_pool_t pools[HS_KEPT_CLASSES];
} heap = { .lock = PTHREAD_MUTEX_INITIALIZER };

bool hs_kept_is_open;

static size_t block_size(unsigned class_of)
{
    return (size_t)HS_KEPT_MIN << class_of;
}

static uint32_t blocks_of(uint32_t buffers, unsigned class_of)
{
    size_t most = CLASS_BYTES_MAX / block_size(class_of);
    return (uint32_t)hs_min(buffers > 0 ? buffers : 1, most);
}

static size_t class_size(uint32_t buffers, unsigned class_of, size_t page_size)
{
    size_t size = block_size(class_of) * blocks_of(buffers, class_of);
    return (size + page_size - 1) / page_size * page_size;
}

size_t hs_kept_size(uint32_t buffers, size_t page_size)
{
    size_t size = 0;
    for (unsigned class_of = 0; class_of < HS_KEPT_CLASSES; class_of++)
        size += class_size(buffers, class_of, page_size);
    return size;
}

bool hs_kept_open(char *memory, uint32_t buffers, size_t page_size)
{
    if (hs_kept_is_open)
        return false;
    size_t at = 0;
    for (unsigned class_of = 0; class_of < HS_KEPT_CLASSES; class_of++) {
        heap.begin[class_of] = at;
        if (!hs_pool_init(&heap.pools[class_of], memory + at, page_size, block_size(class_of),
                          HS_CACHE_LINE, blocks_of(buffers, class_of))) {
            while (class_of-- > 0)
                hs_pool_free(&heap.pools[class_of]);
            return false;
        }
        at += class_size(buffers, class_of, page_size);
    }
    heap.begin[HS_KEPT_CLASSES] = at;
    heap.memory = memory;
    heap.size = at;
    hs_kept_is_open = true;
    return true;
}

const char *hs_kept_memory(size_t *size)
{
    *size = heap.size;
    return heap.memory;
}

bool hs_kept_has(const void *memory)
{
    return memory != NULL && (uintptr_t)memory - (uintptr_t)heap.memory < heap.size;
}

static unsigned class_for(size_t size)
{
    unsigned class_of = 0;
    while (block_size(class_of) < size)
        class_of++;
    return class_of;
}

void *hs__kept_alloc(size_t size)
{
    if (size > HS_KEPT_MAX)
        return hs_alloc(size);
    pthread_mutex_lock(&heap.lock);
    void *block = hs_pool_take(&heap.pools[class_for(size)]);
    pthread_mutex_unlock(&heap.lock);
    return block != NULL ? block : hs_alloc(size);
}

void hs__kept_free(void *memory)
{
    if (!hs_kept_has(memory)) {
        hs_free(memory);
        return;
    }
    size_t offset = (size_t)((char *)memory - heap.memory);
    unsigned class_of = 0;
    while (offset >= heap.begin[class_of + 1])
        class_of++;
    pthread_mutex_lock(&heap.lock);
    hs_pool_give(&heap.pools[class_of], memory);
    pthread_mutex_unlock(&heap.lock);
}

bool hs_kept_trim(void (*release)(void *context, void *memory, size_t len), void *context)
{
    uint32_t ranges = 0;
    for (unsigned class_of = 0; class_of < HS_KEPT_CLASSES && ranges < TRIM_RANGES; class_of++) {
        pthread_mutex_lock(&heap.lock);
        ranges +=
            hs_pool_trim(&heap.pools[class_of], KEEP_IDLE, TRIM_RANGES - ranges, release, context);
        pthread_mutex_unlock(&heap.lock);
    }
    return ranges == TRIM_RANGES;
}
