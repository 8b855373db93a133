#include "http/hs_coder.h"

#include <brotli/encode.h>
#include <libdeflate.h>
#include <limits.h>
#include <zlib.h>

/* windowBits and memLevel of deflateInit2: gzip's wrapper, zlib's defaults. */
#define GZIP_BITS (15 + 16)
#define GZIP_MEMORY 8
/* Space reserved for a stream's output. */
#define OUT_STEP (16 * 1024)
/* Stream contexts kept for reuse. */
#define CODERS_KEPT 8
/* The window of a brotli stream: 256 KiB. A larger one costs more memory than it saves bytes. */
#define BR_STREAM_WINDOW 18
#define BR_WINDOW_MIN BROTLI_MIN_WINDOW_BITS

struct hs_coder {
    hs_coders_t *coders;
    hs_coding_t coding;
    z_stream gzip;
    BrotliEncoderState *br;
    hs_coder_t *next; /* of those that wait */
};

struct hs_coders {
    int gzip_level;
    int br_level;
    struct libdeflate_compressor *whole_gzip;
    hs_coder_t *idle; /* streams of gzip */
    unsigned idle_count;
    hs_buf_t buffers[HS_CODERS_BUFFERS];
};

hs_coders_t *hs_coders_new(int gzip_level, int br_level)
{
    hs_coders_t *coders = hs_alloc(sizeof(*coders));
    if (coders == NULL)
        return NULL;
    *coders = (hs_coders_t){ .gzip_level = gzip_level, .br_level = br_level };
    return coders;
}

static void free_coder(hs_coder_t *coder)
{
    if (coder->coding == HS_CODING_GZIP)
        deflateEnd(&coder->gzip);
    else if (coder->br != NULL)
        BrotliEncoderDestroyInstance(coder->br);
    hs_free(coder);
}

void hs_coders_free(hs_coders_t *coders)
{
    if (coders == NULL)
        return;
    libdeflate_free_compressor(coders->whole_gzip);
    for (hs_coder_t *coder; (coder = coders->idle) != NULL;) {
        coders->idle = coder->next;
        free_coder(coder);
    }
    for (int i = 0; i < HS_CODERS_BUFFERS; i++)
        hs_buf_free(&coders->buffers[i]);
    hs_free(coders);
}

hs_buf_t *hs_coders_buffer(hs_coders_t *coders, int number)
{
    return &coders->buffers[number];
}

static size_t whole_gzip(hs_coders_t *coders, hs_span_t content, char *out, size_t room)
{
    if (coders->whole_gzip == NULL)
        coders->whole_gzip = libdeflate_alloc_compressor(coders->gzip_level);
    if (coders->whole_gzip == NULL)
        return 0;
    return libdeflate_gzip_compress(coders->whole_gzip, content.data, content.len, out, room);
}

/* The smallest window that holds all of it. */
static int br_window(size_t len)
{
    int bits = BR_WINDOW_MIN;
    while (bits < BR_STREAM_WINDOW && (size_t)1 << bits < len + 16)
        bits++;
    return bits;
}

static size_t whole_br(const hs_coders_t *coders, hs_span_t content, char *out, size_t room)
{
    size_t made = room;
    bool is_made =
        BrotliEncoderCompress(coders->br_level, br_window(content.len), BROTLI_MODE_GENERIC,
                              content.len, (const uint8_t *)content.data, &made, (uint8_t *)out);
    return is_made ? made : 0;
}

bool hs_coders_code(hs_coders_t *coders, hs_coding_t coding, hs_span_t content, hs_buf_t *out)
{
    if (content.len < 2 || !hs_buf_reserve_exact(out, content.len))
        return false;
    size_t room = content.len - 1;
    out->len = coding == HS_CODING_GZIP ? whole_gzip(coders, content, out->data, room)
                                        : whole_br(coders, content, out->data, room);
    return out->len > 0;
}

static hs_coder_t *begin_gzip(hs_coders_t *coders)
{
    hs_coder_t *coder = coders->idle;
    if (coder != NULL) {
        coders->idle = coder->next;
        coders->idle_count--;
        return coder;
    }
    coder = hs_alloc_zeroed(1, sizeof(*coder));
    if (coder == NULL)
        return NULL;
    if (deflateInit2(&coder->gzip, coders->gzip_level, Z_DEFLATED, GZIP_BITS, GZIP_MEMORY,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        hs_free(coder);
        return NULL;
    }
    return coder;
}

static hs_coder_t *begin_br(const hs_coders_t *coders)
{
    hs_coder_t *coder = hs_alloc_zeroed(1, sizeof(*coder));
    if (coder == NULL)
        return NULL;
    coder->br = BrotliEncoderCreateInstance(NULL, NULL, NULL);
    if (coder->br == NULL) {
        hs_free(coder);
        return NULL;
    }
    (void)BrotliEncoderSetParameter(coder->br, BROTLI_PARAM_QUALITY, (uint32_t)coders->br_level);
    (void)BrotliEncoderSetParameter(coder->br, BROTLI_PARAM_LGWIN, BR_STREAM_WINDOW);
    return coder;
}

hs_coder_t *hs_coder_begin(hs_coders_t *coders, hs_coding_t coding)
{
    hs_coder_t *coder = coding == HS_CODING_GZIP ? begin_gzip(coders) : begin_br(coders);
    if (coder != NULL) {
        coder->coders = coders;
        coder->coding = coding;
    }
    return coder;
}

static bool put_gzip(z_stream *gzip, hs_span_t piece, hs_code_t code, hs_buf_t *out)
{
    const int flush = code == HS_CODE_END     ? Z_FINISH
                      : code == HS_CODE_FLUSH ? Z_SYNC_FLUSH
                                              : Z_NO_FLUSH;
    size_t left = piece.len;
    gzip->next_in = (z_const Bytef *)(uintptr_t)piece.data;
    do {
        uInt given = (uInt)hs_min(left, INT_MAX);
        if (!hs_buf_reserve(out, OUT_STEP))
            return false;
        size_t room = hs_min(out->capacity - out->len, INT_MAX);
        gzip->avail_in = given;
        gzip->next_out = (Bytef *)out->data + out->len;
        gzip->avail_out = (uInt)room;
        /* The rest comes in the next round. */
        if (deflate(gzip, given < left ? Z_NO_FLUSH : flush) == Z_STREAM_ERROR)
            return false;
        left -= given - gzip->avail_in;
        out->len += room - gzip->avail_out;
    } while (left > 0 || gzip->avail_out == 0);
    return true;
}

static bool put_br(BrotliEncoderState *br, hs_span_t piece, hs_code_t code, hs_buf_t *out)
{
    BrotliEncoderOperation operation = code == HS_CODE_END     ? BROTLI_OPERATION_FINISH
                                       : code == HS_CODE_FLUSH ? BROTLI_OPERATION_FLUSH
                                                               : BROTLI_OPERATION_PROCESS;
    const uint8_t *next_in = (const uint8_t *)piece.data;
    size_t left = piece.len;
    do {
        if (!hs_buf_reserve(out, OUT_STEP))
            return false;
        size_t room = out->capacity - out->len;
        uint8_t *next_out = (uint8_t *)out->data + out->len;
        if (!BrotliEncoderCompressStream(br, operation, &left, &next_in, &room, &next_out, NULL))
            return false;
        out->len = out->capacity - room;
    } while (left > 0 || BrotliEncoderHasMoreOutput(br));
    return true;
}

bool hs_coder_put(hs_coder_t *coder, hs_span_t piece, hs_code_t code, hs_buf_t *out)
{
    if (piece.len == 0 && code == HS_CODE_MORE)
        return true;
    return coder->coding == HS_CODING_GZIP ? put_gzip(&coder->gzip, piece, code, out)
                                           : put_br(coder->br, piece, code, out);
}

void hs_coder_end(hs_coder_t *coder)
{
    if (coder == NULL)
        return;
    hs_coders_t *coders = coder->coders;
    if (coder->coding != HS_CODING_GZIP || coders->idle_count == CODERS_KEPT ||
        deflateReset(&coder->gzip) != Z_OK) {
        free_coder(coder);
        return;
    }
    coder->next = coders->idle;
    coders->idle = coder;
    coders->idle_count++;
}

const void *hs_coder_library_address(int library)
{
    return library == 0 ? (const void *)(uintptr_t)libdeflate_gzip_compress
                        : (const void *)(uintptr_t)BrotliEncoderCompress;
}
