/*
 * Buffers that outlive their process: hs_buf allocates here. Before hs_kept_open, and for anything
 * larger than HS_KEPT_MAX or without room, this is malloc. Afterwards it is pools of power-of-two
 * blocks in memory shared with another process (server/hs_keeper.h), which reads there what this
 * one owed when it died.
 *
 * One heap per process, which lives until the process ends. Any thread.
 */
#pragma once

#include "base/hs_alloc.h"

/* From 128 bytes, the head of a small request that waits, to this, in powers of two. */
#define HS_KEPT_MIN 128
#define HS_KEPT_MAX (128 * 1024)
#define HS_KEPT_CLASSES 11

/* The size of the heap for `buffers` buffers of each size, as far as its limit allows. */
HS_NODISCARD size_t hs_kept_size(uint32_t buffers, size_t page_size);

/* `memory` has hs_kept_size bytes and starts on a page. Once per process, before its first buffer
 * to be kept. False: out of memory, or there is already a heap. */
HS_NODISCARD bool hs_kept_open(char *memory, uint32_t buffers, size_t page_size);

/* Whether there is a heap: read by any thread, written once before threads are started. */
extern bool hs_kept_is_open;

/* The memory of the heap, for checking pointers. `*size` is 0 while there is none. */
const char *hs_kept_memory(size_t *size);

/* Whether these are bytes of the heap. */
HS_NODISCARD bool hs_kept_has(const void *memory);

HS_NODISCARD void *hs__kept_alloc(size_t size);
void hs__kept_free(void *memory);

/* Returns memory of free blocks to the system through `release`, some at a time. True: there is
 * more.
 */
HS_NODISCARD bool hs_kept_trim(void (*release)(void *context, void *memory, size_t len),
                               void *context);

HS_NODISCARD static inline void *hs_kept_alloc(size_t size)
{
    return HS_UNLIKELY(hs_kept_is_open) ? hs__kept_alloc(size) : hs_alloc(size);
}

static inline void hs_kept_free(void *memory)
{
    if (HS_UNLIKELY(hs_kept_is_open))
        hs__kept_free(memory);
    else
        hs_free(memory);
}
