/*
 * A growable run of bytes with an upper bound. Growing doubles; a failed growth changes nothing.
 * Owned by the struct that holds it, one thread at a time.
 */
#pragma once

#include <stdatomic.h>
#include <string.h>

#include "data/hs_kept.h"

typedef struct hs_buf {
    char *data;
    size_t len;
    size_t capacity;
} hs_buf_t;

#define HS_BUF_FIRST_CAPACITY 512

static inline void hs_buf_free(hs_buf_t *buf)
{
    hs_kept_free(buf->data);
    *buf = (hs_buf_t){ 0 };
}

/* Drops the content; frees memory above `keep` bytes, so that one large message does not keep its
 * memory. */
static inline void hs_buf_reset(hs_buf_t *buf, size_t keep)
{
    if (buf->capacity > keep)
        hs_buf_free(buf);
    buf->len = 0;
}

/* `data` holds the content at every moment: if the process dies here, another one reads it. */
HS_NODISCARD static inline bool hs__buf_move(hs_buf_t *buf, size_t capacity)
{
    char *before = buf->data;
    bool is_foreign = capacity > HS_KEPT_MAX && !hs_kept_has(before);
    if (capacity > SIZE_MAX / 2)
        return false;
    char *data = is_foreign ? hs_realloc(before, capacity) : hs__kept_alloc(capacity);
    if (data == NULL)
        return false;
    if (is_foreign) {
        buf->data = data;
        buf->capacity = capacity;
        return true;
    }
    if (buf->len > 0)
        memcpy(data, before, buf->len);
    atomic_signal_fence(memory_order_seq_cst);
    buf->data = data;
    buf->capacity = capacity;
    atomic_signal_fence(memory_order_seq_cst);
    hs__kept_free(before);
    return true;
}

/* Makes room for exactly `capacity` bytes in total: for content of known size. False: out of
 * memory. */
HS_NODISCARD static inline bool hs_buf_reserve_exact(hs_buf_t *buf, size_t capacity)
{
    if (capacity <= buf->capacity)
        return true;
    if (HS_UNLIKELY(hs_kept_is_open))
        return hs__buf_move(buf, capacity);
    char *data = capacity <= SIZE_MAX / 2 ? hs_realloc(buf->data, capacity) : NULL;
    if (data == NULL)
        return false;
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

/* Makes room for `extra` more bytes. False: out of memory. */
HS_NODISCARD static inline bool hs_buf_reserve(hs_buf_t *buf, size_t extra)
{
    if (HS_LIKELY(extra <= buf->capacity - buf->len))
        return true;
    if (extra > SIZE_MAX / 2 - buf->len)
        return false;
    size_t capacity = buf->capacity ? buf->capacity : HS_BUF_FIRST_CAPACITY;
    while (capacity - buf->len < extra)
        capacity *= 2;
    return hs_buf_reserve_exact(buf, capacity);
}

/* Appends without a check: the caller has reserved the room. */
static inline void hs_buf_put(hs_buf_t *buf, const char *data, size_t len)
{
    HS_ASSERT(len <= buf->capacity - buf->len);
    memcpy(buf->data + buf->len, data, len);
    buf->len += len;
}

HS_NODISCARD static inline bool hs_buf_append(hs_buf_t *buf, const char *data, size_t len)
{
    if (!hs_buf_reserve(buf, len))
        return false;
    if (len > 0)
        hs_buf_put(buf, data, len);
    return true;
}
