/*
 * The only place that names an allocator. Which malloc it is depends on linking or preloading
 * (docs/architecture.md): the core never calls je_*.
 */
#pragma once

#include <stdlib.h>

#include "base/hs_base.h"

#if defined(__SANITIZE_ADDRESS__)
#define HS_HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HS_HAS_ASAN 1
#endif
#endif
#ifdef HS_HAS_ASAN
#include <sanitizer/asan_interface.h>
#endif

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

/* Marks our memory as unused: AddressSanitizer reports any access to it. */
static inline void hs_poison(const void *memory, size_t size)
{
#ifdef HS_HAS_ASAN
    __asan_poison_memory_region(memory, size);
#else
    (void)memory;
    (void)size;
#endif
}

static inline void hs_unpoison(const void *memory, size_t size)
{
#ifdef HS_HAS_ASAN
    __asan_unpoison_memory_region(memory, size);
#else
    (void)memory;
    (void)size;
#endif
}
