/*
 * The output chain of a stream: the data to send, in order. Pure: it treats descriptors as numbers.
 *
 *   BYTES   copies of small pieces, coalesced in one buffer, so that a batch of responses is one
 *           piece for the kernel
 *   OWNED   a whole buffer that the chain has taken over
 *   PINNED  memory of somebody else that stays valid until its release is called
 *   FILE    a range of a file, for sendfile
 *
 * A release is called exactly once: when the last byte was sent, or by hs_out_clear.
 *
 * Owner: the loop's thread.
 */
#pragma once

#include <sys/uio.h>

#include "data/hs_buf.h"

/* A buffer of copies keeps at most this capacity when the chain is empty. */
#define HS_OUT_KEEP_BYTES (64 * 1024)
/* Pieces handed to one send. */
#define HS_OUT_IOV_MAX 8
/* A file that may change while it is sent. */
#define HS_OUT_ANY_TIME INT64_MIN

/* Called when memory or a file is no longer needed. `function` NULL: nothing. */
typedef struct hs_release {
    void (*function)(void *context, uintptr_t token);
    void *context;
    uintptr_t token;
} hs_release_t;

static inline void hs_release(hs_release_t release)
{
    if (release.function != NULL)
        release.function(release.context, release.token);
}

typedef enum hs_out_kind {
    HS_OUT_OWNED,
    HS_OUT_PINNED,
    HS_OUT_FILE,
} hs_out_kind_t;

/* Everything but BYTES. owner: the chain that holds it */
typedef struct hs_out_segment {
    struct hs_out_segment *next;
    size_t at; /* it is sent when `bytes` has been sent up to here */
    hs_out_kind_t kind;
    int file;            /* FILE */
    uint64_t offset;     /* FILE: of the next byte */
    int64_t modified_ns; /* FILE: as it was, or HS_OUT_ANY_TIME */
    uint64_t resident;   /* FILE: up to here it was in the page cache when checked */
    char *data;          /* OWNED: of the next byte; PINNED: likewise */
    size_t left;         /* bytes not taken yet, never 0 */
    hs_buf_t owned;      /* OWNED */
    hs_release_t release;
} hs_out_segment_t;

/* owner: the stream that holds it */
typedef struct hs_out {
    hs_buf_t bytes;
    size_t bytes_taken;      /* of `bytes` */
    size_t segments_left;    /* bytes of all segments */
    hs_out_segment_t *first; /* NULL: only BYTES */
    hs_out_segment_t *last;
    hs_buf_t spare;           /* the last OWNED buffer sent: swapped for the next one */
    hs_out_segment_t inlined; /* the first segment of a chain needs no allocation */
    bool inlined_used;
} hs_out_t;

static inline size_t hs_out_unsent(const hs_out_t *out)
{
    return out->bytes.len - out->bytes_taken + out->segments_left;
}

/* Appends a copy. False: out of memory, nothing was appended. */
HS_NODISCARD static inline bool hs_out_append(hs_out_t *out, const char *data, size_t len)
{
    return hs_buf_append(&out->bytes, data, len);
}

/*
 * Appends the content of the non-empty `buf`, taking over its memory; `buf` is then an empty
 * buffer, with memory of an earlier one if available. False: out of memory, nothing changed.
 */
HS_NODISCARD bool hs_out_take_buf(hs_out_t *out, hs_buf_t *buf);

/* Appends memory that must not change until `release`. `len` > 0. False: out of memory; then
 * `release` is not called. */
HS_NODISCARD bool hs_out_pin(hs_out_t *out, const char *data, size_t len, hs_release_t release);

/* Appends `len` > 0 bytes of `file` from `offset` on. `modified_ns` is the file's modification
 * time, which must not change while it is sent; HS_OUT_ANY_TIME: it may. Up to `resident` it is
 * known to be in the page cache. False: as hs_out_pin. */
HS_NODISCARD bool hs_out_add_file(hs_out_t *out, int file, uint64_t offset, size_t len,
                                  int64_t modified_ns, uint64_t resident, hs_release_t release);

/* The next pieces in memory, at most HS_OUT_IOV_MAX: up to the first FILE. 0: there are none, or a
 * FILE is next (hs_out_next_file). */
HS_NODISCARD int hs_out_pieces(const hs_out_t *out, struct iovec iov[HS_OUT_IOV_MAX]);

/* The FILE to send next, NULL if the next data is in memory. */
hs_out_segment_t *hs_out_next_file(const hs_out_t *out);

void hs_out_taken_segments(hs_out_t *out, size_t len);

/* The chain is empty: bounds what it keeps. */
static inline void hs_out_reset(hs_out_t *out, size_t keep)
{
    HS_ASSERT(hs_out_unsent(out) == 0 && out->first == NULL);
    hs_buf_reset(&out->bytes, keep);
    hs_buf_reset(&out->spare, keep);
    out->bytes_taken = 0;
}

/* The next `len` bytes have been sent. */
static inline void hs_out_taken(hs_out_t *out, size_t len)
{
    HS_ASSERT(len <= hs_out_unsent(out));
    if (HS_UNLIKELY(out->first != NULL)) {
        hs_out_taken_segments(out, len);
        return;
    }
    out->bytes_taken += len;
    if (out->bytes_taken == out->bytes.len)
        hs_out_reset(out, HS_OUT_KEEP_BYTES);
}

/* Whether something of it is released with this context. */
HS_NODISCARD bool hs_out_holds(const hs_out_t *out, const void *context);

/* Forgets what is unsent. */
void hs_out_clear(hs_out_t *out);

/* hs_out_clear, and frees all memory. */
void hs_out_free(hs_out_t *out);

/* Drops sent bytes from the front of the copies once they are large: for a chain that is filled as
 * fast as it drains. */
void hs_out_compact(hs_out_t *out);
