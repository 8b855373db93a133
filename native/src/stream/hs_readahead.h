/*
 * Reads files being sent that are not in the page cache: a few threads read them from disk, so that
 * the loop does not wait. The stream continues when the piece is available.
 *
 * Thread: the loop's.
 */
#pragma once

#include "stream/hs_helpers.h"

#define HS_READAHEAD_THREADS 4
/* What is read for one stream at a time. */
#define HS_READAHEAD_BYTES ((size_t)1024 * 1024)

/* owner: the loop's thread */
typedef struct hs_readahead {
    hs_helpers_t helpers;
    uint64_t pieces; /* that were read */
} hs_readahead_t;

/* `loop` outlives it and has an event loop. */
void hs_readahead_init(hs_readahead_t *readahead, hs_loop_t *loop);
void hs_readahead_free(hs_readahead_t *readahead);

/*
 * Reads up to HS_READAHEAD_BYTES of `file` from `offset` on; the stream sends nothing until then.
 * The descriptor may be closed meanwhile. False: no memory, descriptor or thread for it.
 */
HS_NODISCARD bool hs_readahead_begin(hs_readahead_t *readahead, hs_stream_t *stream, int file,
                                     uint64_t offset, size_t len);
