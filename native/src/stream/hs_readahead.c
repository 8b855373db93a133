#include "stream/hs_readahead.h"

#include "base/hs_alloc.h"
#include "os/hs_beneath.h"
#include "os/hs_page_cache.h"

/* One piece. Owned as its chore is */
typedef struct hs_readahead_piece {
    hs_chore_t chore;    /* first */
    hs_stream_t *stream; /* of the loop's thread; NULL: it has ended */
    int file;            /* its own descriptor */
    uint64_t offset;
    size_t len;
} piece_t;

static piece_t *piece_of(hs_chore_t *chore)
{
    return HS_CONTAINER_OF(chore, piece_t, chore);
}

static void drop(hs_chore_t *chore)
{
    hs_file_close(piece_of(chore)->file);
    hs_free(piece_of(chore));
}

static void run(hs_chore_t *chore)
{
    piece_t *piece = piece_of(chore);
    hs_page_cache_load(piece->file, piece->offset, piece->len);
}

static void done(hs_helpers_t *helpers, hs_chore_t *chore)
{
    hs_readahead_t *readahead = HS_CONTAINER_OF(helpers, hs_readahead_t, helpers);
    hs_stream_t *stream = piece_of(chore)->stream;
    drop(chore);
    readahead->pieces++;
    if (stream == NULL)
        return;
    stream->buffers->awaits = NULL;
    hs_stream_update(helpers->loop, stream);
}

static const hs_helpers_kind_t reading = {
    .thread_name = "readahead",
    .threads_max = HS_READAHEAD_THREADS,
    .queue_max = UINT32_MAX, /* one for a stream */
    .run = run,
    .done = done,
    .drop = drop,
};

void hs_readahead_init(hs_readahead_t *readahead, hs_loop_t *loop)
{
    *readahead = (hs_readahead_t){ .pieces = 0 };
    hs_helpers_init(&readahead->helpers, loop, &reading);
}

bool hs_readahead_begin(hs_readahead_t *readahead, hs_stream_t *stream, int file, uint64_t offset,
                        size_t len)
{
    HS_ASSERT(stream->buffers->awaits == NULL);
    hs_helpers_t *helpers = &readahead->helpers;
    piece_t *piece = hs_helpers_open(helpers) ? hs_alloc_zeroed(1, sizeof(*piece)) : NULL;
    if (piece == NULL)
        return false;
    piece->stream = stream;
    piece->offset = offset;
    piece->len = hs_min(len, HS_READAHEAD_BYTES);
    piece->file = hs_file_duplicate(file);
    if (piece->file < 0 || !hs_helpers_begin(helpers, &piece->chore)) {
        drop(&piece->chore);
        return false;
    }
    stream->buffers->awaits = piece;
    return true;
}

/* The stream gives its buffers back. */
void hs_readahead_forget(hs_stream_t *stream)
{
    stream->buffers->awaits->stream = NULL;
    stream->buffers->awaits = NULL;
}

void hs_readahead_free(hs_readahead_t *readahead)
{
    hs_helpers_free(&readahead->helpers);
}
