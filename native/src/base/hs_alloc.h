/*
 * The one place that names an allocator. Which malloc this is, is a link or preload choice
 * (docs/architecture.md): the core never calls je_*.
 */
#pragma once

#include <stdlib.h>

#include "base/hs_base.h"

HS_NODISCARD static inline void *hs_alloc(size_t size)
{
    return malloc(size);
}

HS_NODISCARD static inline void *hs_alloc_zeroed(size_t count, size_t size)
{
    return calloc(count, size);
}

HS_NODISCARD static inline void *hs_realloc(void *memory, size_t size)
{
    return realloc(memory, size);
}

/* `alignment` is a power of two and a multiple of sizeof(void *). Freed with hs_free. */
HS_NODISCARD static inline void *hs_alloc_aligned(size_t alignment, size_t size)
{
    void *memory = NULL;
    return posix_memalign(&memory, alignment, size) == 0 ? memory : NULL;
}

static inline void hs_free(void *memory)
{
    free(memory);
}
