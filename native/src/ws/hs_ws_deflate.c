#include "ws/hs_ws_deflate.h"

#include <limits.h>
#include <zlib.h>

#include "base/hs_alloc.h"

/* The end of a sync flush, which messages omit (RFC 7692 §7.2.1). */
static const char tail[] = { 0, 0, (char)0xFF, (char)0xFF };

/* memLevel of deflateInit2. Those of a connection are smaller: with a window of 12 bits, 48 KiB
 * instead of 268. */
#define SHARED_MEMORY 8
#define OWN_MEMORY 6
/* Contexts of each kind that wait for the next connection. */
#define KEPT 32
/* Output space for inflating: a multiple of the input, within these bounds. */
#define STEP_MIN 512
#define STEP_MAX (64 * 1024)
#define WINDOW_SIZE (32 * 1024)
/* z_stream.data_type: as inflateBack's manual says, also behind inflate. */
#define BETWEEN_BLOCKS 128

struct hs_ws_context {
    z_stream stream;
    bool is_deflate;
    uint8_t bits;
    hs_ws_context_t *next; /* of those that wait */
};

typedef struct waiting {
    hs_ws_context_t *first;
    unsigned count;
} waiting_t;

struct hs_ws_deflates {
    int level;
    hs_ws_context_t *inflate;                       /* shared, created at first use */
    hs_ws_context_t *deflate[HS_WS_WINDOW_MAX + 1]; /* likewise, by their bits */
    waiting_t idle_inflates;
    waiting_t idle_deflates;
    unsigned char *window; /* inflate_next_stream: created at first use */
};

/* ---- Contexts. ---- */

hs_ws_deflates_t *hs_ws_deflates_new(int level)
{
    hs_ws_deflates_t *all = hs_alloc_zeroed(1, sizeof(*all));
    if (all != NULL)
        all->level = level;
    return all;
}

static void free_context(hs_ws_context_t *context)
{
    if (context == NULL)
        return;
    if (context->is_deflate)
        deflateEnd(&context->stream);
    else
        inflateEnd(&context->stream);
    hs_free(context);
}

static void free_waiting(waiting_t *waiting)
{
    for (hs_ws_context_t *context; (context = waiting->first) != NULL;) {
        waiting->first = context->next;
        free_context(context);
    }
}

void hs_ws_deflates_free(hs_ws_deflates_t *all)
{
    if (all == NULL)
        return;
    free_context(all->inflate);
    for (int bits = HS_WS_WINDOW_MIN; bits <= HS_WS_WINDOW_MAX; bits++)
        free_context(all->deflate[bits]);
    free_waiting(&all->idle_inflates);
    free_waiting(&all->idle_deflates);
    hs_free(all->window);
    hs_free(all);
}

static hs_ws_context_t *new_context(bool is_deflate, int bits, int level, int memory)
{
    hs_ws_context_t *context = hs_alloc_zeroed(1, sizeof(*context));
    if (context == NULL)
        return NULL;
    context->is_deflate = is_deflate;
    context->bits = (uint8_t)bits;
    int result = is_deflate ? deflateInit2(&context->stream, level, Z_DEFLATED, -bits, memory,
                                           Z_DEFAULT_STRATEGY)
                            : inflateInit2(&context->stream, -bits);
    if (result == Z_OK)
        return context;
    hs_free(context);
    return NULL;
}

/* A context for the connection, from the free ones or a new one. */
static hs_ws_context_t *lend_deflate(hs_ws_deflates_t *all, uint8_t bits)
{
    waiting_t *waiting = &all->idle_deflates;
    for (hs_ws_context_t **link = &waiting->first; *link != NULL; link = &(*link)->next) {
        hs_ws_context_t *context = *link;
        if (context->bits != bits)
            continue;
        *link = context->next;
        waiting->count--;
        return context;
    }
    return new_context(true, bits, all->level, OWN_MEMORY);
}

static hs_ws_context_t *lend_inflate(hs_ws_deflates_t *all, uint8_t bits)
{
    waiting_t *waiting = &all->idle_inflates;
    hs_ws_context_t *context = waiting->first;
    if (context == NULL)
        return new_context(false, bits, 0, 0);
    if (inflateReset2(&context->stream, -bits) != Z_OK)
        return NULL;
    waiting->first = context->next;
    waiting->count--;
    return context;
}

static void give_back(waiting_t *waiting, hs_ws_context_t *context)
{
    if (context == NULL)
        return;
    int result =
        context->is_deflate ? deflateReset(&context->stream) : inflateReset(&context->stream);
    if (result != Z_OK || waiting->count == KEPT) {
        free_context(context);
        return;
    }
    context->next = waiting->first;
    waiting->first = context;
    waiting->count++;
}

void hs_ws_contexts_end(hs_ws_deflates_t *all, hs_ws_contexts_t *contexts)
{
    give_back(&all->idle_inflates, contexts->inflate);
    give_back(&all->idle_deflates, contexts->deflate);
    *contexts = (hs_ws_contexts_t){ 0 };
}

/* ---- Inflating. ---- */

/*
 * A block ended the stream (BFINAL), as RFC 7692 §7.2.3.4 allows, and more follows, which may refer
 * to earlier data.
 */
static hs_ws_inflated_t inflate_next_stream(hs_ws_deflates_t *all, z_stream *stream)
{
    uInt len = 0;
    if (all->window == NULL)
        all->window = hs_alloc(WINDOW_SIZE);
    if (all->window == NULL)
        return HS_WS_INFLATE_NO_MEMORY;
    if (inflateGetDictionary(stream, all->window, &len) != Z_OK || inflateReset(stream) != Z_OK ||
        (len > 0 && inflateSetDictionary(stream, all->window, len) != Z_OK))
        return HS_WS_INFLATE_CORRUPT;
    return HS_WS_INFLATED;
}

/* The result of one zlib call; INFLATED: continue. */
static hs_ws_inflated_t outcome_of(hs_ws_deflates_t *all, z_stream *stream, int result)
{
    if (result == Z_STREAM_END)
        return inflate_next_stream(all, stream);
    if (result == Z_MEM_ERROR)
        return HS_WS_INFLATE_NO_MEMORY;
    return result == Z_OK || result == Z_BUF_ERROR ? HS_WS_INFLATED : HS_WS_INFLATE_CORRUPT;
}

/* Inflates `coded` until all input is consumed and all output is written. `end`: how long `out` may
 * become. */
static hs_ws_inflated_t inflate_piece(hs_ws_deflates_t *all, z_stream *stream, hs_span_t coded,
                                      size_t end, hs_buf_t *out)
{
    size_t taken = 0;
    bool is_full = false;
    while (taken < coded.len || is_full) {
        /* One byte over the limit, to detect an excess. */
        size_t left = end - out->len + 1;
        size_t step = hs_min(4 * (coded.len - taken) + STEP_MIN, STEP_MAX);
        if (!hs_buf_reserve(out, hs_min(step, left)))
            return HS_WS_INFLATE_NO_MEMORY;
        uInt room = (uInt)hs_min(hs_min(out->capacity - out->len, left), INT_MAX);
        uInt given = (uInt)hs_min(coded.len - taken, INT_MAX);
        stream->next_in = (z_const Bytef *)(uintptr_t)(coded.data + taken);
        stream->avail_in = given;
        stream->next_out = (Bytef *)(out->data + out->len);
        stream->avail_out = room;
        int result = inflate(stream, Z_SYNC_FLUSH);
        taken += given - stream->avail_in;
        out->len += room - stream->avail_out;
        is_full = stream->avail_out == 0 && result != Z_STREAM_END;
        if (out->len > end)
            return HS_WS_INFLATE_TOO_BIG;
        hs_ws_inflated_t outcome = outcome_of(all, stream, result);
        if (outcome != HS_WS_INFLATED)
            return outcome;
    }
    return HS_WS_INFLATED;
}

static hs_ws_context_t *context_to_inflate(hs_ws_deflates_t *all, const hs_ws_terms_t *terms,
                                           hs_ws_contexts_t *contexts)
{
    if (!terms->client_takeover) {
        if (all->inflate == NULL)
            all->inflate = new_context(false, HS_WS_WINDOW_MAX, 0, 0);
        return all->inflate;
    }
    if (contexts->inflate == NULL)
        contexts->inflate = lend_inflate(all, terms->client_bits);
    return contexts->inflate;
}

hs_ws_inflated_t hs_ws_inflate(hs_ws_deflates_t *all, const hs_ws_terms_t *terms,
                               hs_ws_contexts_t *contexts, hs_span_t coded, size_t max,
                               hs_buf_t *out)
{
    hs_ws_context_t *context = context_to_inflate(all, terms, contexts);
    if (context == NULL || max >= SIZE_MAX / 2 - out->len)
        return HS_WS_INFLATE_NO_MEMORY;
    size_t end = out->len + max;
    hs_ws_inflated_t outcome = inflate_piece(all, &context->stream, coded, end, out);
    if (outcome == HS_WS_INFLATED)
        outcome = inflate_piece(all, &context->stream, hs_span(tail, sizeof(tail)), end, out);
    /* The tail is a separate block, unless the message was cut. */
    if (outcome == HS_WS_INFLATED && (context->stream.data_type & BETWEEN_BLOCKS) == 0)
        outcome = HS_WS_INFLATE_CORRUPT;
    if (!terms->client_takeover && inflateReset(&context->stream) != Z_OK)
        return HS_WS_INFLATE_CORRUPT;
    return outcome;
}

/* ---- Deflating. ---- */

static hs_ws_context_t *context_to_deflate(hs_ws_deflates_t *all, const hs_ws_terms_t *terms,
                                           hs_ws_contexts_t *contexts)
{
    uint8_t bits = terms->server_bits;
    if (!terms->server_takeover) {
        if (all->deflate[bits] == NULL)
            all->deflate[bits] = new_context(true, bits, all->level, SHARED_MEMORY);
        return all->deflate[bits];
    }
    if (contexts->deflate == NULL)
        contexts->deflate = lend_deflate(all, bits);
    return contexts->deflate;
}

/* Appends to `out`. False: out of memory. */
static bool deflate_whole(z_stream *stream, hs_span_t message, hs_buf_t *out)
{
    size_t taken = 0;
    bool is_full = true;
    while (taken < message.len || is_full) {
        size_t left = message.len - taken;
        if (!hs_buf_reserve(out, hs_min(left / 2 + STEP_MIN, STEP_MAX)))
            return false;
        uInt given = (uInt)hs_min(left, INT_MAX);
        uInt room = (uInt)hs_min(out->capacity - out->len, INT_MAX);
        stream->next_in = (z_const Bytef *)(uintptr_t)(message.data + taken);
        stream->avail_in = given;
        stream->next_out = (Bytef *)(out->data + out->len);
        stream->avail_out = room;
        (void)deflate(stream, given == left ? Z_SYNC_FLUSH : Z_NO_FLUSH);
        taken += given - stream->avail_in;
        out->len += room - stream->avail_out;
        is_full = stream->avail_out == 0;
    }
    return true;
}

hs_ws_deflated_t hs_ws_deflate(hs_ws_deflates_t *all, const hs_ws_terms_t *terms,
                               hs_ws_contexts_t *contexts, hs_span_t message, hs_buf_t *out)
{
    size_t before = out->len;
    /* zlib outputs nothing for empty input after a flush: this is the block it would write. */
    if (message.len == 0 && terms->server_takeover)
        return hs_buf_append(out, "", 1) ? HS_WS_DEFLATED : HS_WS_DEFLATE_NO_MEMORY;
    if (message.len == 0)
        return HS_WS_DEFLATE_AS_IS;
    hs_ws_context_t *context = context_to_deflate(all, terms, contexts);
    if (context == NULL)
        return HS_WS_DEFLATE_NO_MEMORY;
    bool made = deflate_whole(&context->stream, message, out);
    if (!terms->server_takeover && deflateReset(&context->stream) != Z_OK)
        made = false;
    HS_ASSERT(!made || (out->len - before >= sizeof(tail) &&
                        memcmp(out->data + out->len - sizeof(tail), tail, sizeof(tail)) == 0));
    /* Once it is in our window, it must reach the peer's. */
    bool is_shorter = made && out->len - before - sizeof(tail) < message.len;
    if (made && (is_shorter || terms->server_takeover)) {
        out->len -= sizeof(tail);
        return HS_WS_DEFLATED;
    }
    out->len = before;
    return made ? HS_WS_DEFLATE_AS_IS : HS_WS_DEFLATE_NO_MEMORY;
}
