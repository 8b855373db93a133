#include "http/hs_inflate.h"

#include <limits.h>
#include <zlib.h>

#include "base/hs_alloc.h"

#define OUT_SIZE (32 * 1024)

/* windowBits of inflateInit2: the format's wrapper is part of it. */
#define GZIP_BITS (15 + 16)
#define ZLIB_BITS 15
#define RAW_BITS (-15)

struct hs_inflate {
    z_stream stream;
    hs_inflate_format_t format;
    bool has_begun;    /* a byte has come in, the stream is initialised */
    bool member_ended; /* another member follows, or nothing */
    bool is_full;      /* the last call filled `out`: there may be more output without new input */
    uint64_t total_in;
    uint64_t total_out;
    char out[OUT_SIZE];
};

hs_inflate_t *hs_inflate_new(hs_inflate_format_t format)
{
    hs_inflate_t *decoder = hs_alloc(sizeof(*decoder));
    if (decoder == NULL)
        return NULL;
    *decoder = (hs_inflate_t){ .format = format };
    return decoder;
}

void hs_inflate_free(hs_inflate_t *decoder)
{
    if (decoder == NULL)
        return;
    if (decoder->has_begun)
        inflateEnd(&decoder->stream);
    hs_free(decoder);
}

/* The first byte of zlib's wrapper: method 8 and a window of at most 32 KiB. Compressors do not
 * start a raw deflate stream with such a byte. */
static bool is_zlib(char first)
{
    return (first & 0x0f) == 8 && (unsigned char)first >> 4 <= 7;
}

static bool begin(hs_inflate_t *decoder, char first)
{
    int bits = GZIP_BITS;
    if (decoder->format == HS_INFLATE_DEFLATE)
        bits = is_zlib(first) ? ZLIB_BITS : RAW_BITS;
    decoder->has_begun = inflateInit2(&decoder->stream, bits) == Z_OK;
    return decoder->has_begun;
}

/* Interprets zlib's result, and counts the bytes consumed and produced. */
static hs_inflate_outcome_t outcome_of(hs_inflate_t *decoder, int result, size_t made)
{
    if (result == Z_MEM_ERROR)
        return HS_INFLATE_OUT_OF_MEMORY;
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        return HS_INFLATE_CORRUPT;
    decoder->member_ended = result == Z_STREAM_END;
    uint64_t allowed = HS_INFLATE_FREE + decoder->total_in * HS_INFLATE_RATIO_MAX;
    if (decoder->total_out > allowed)
        return HS_INFLATE_RATIO;
    return made > 0 ? HS_INFLATE_OUTPUT : HS_INFLATE_NEED_MORE;
}

hs_inflate_outcome_t hs_inflate_next(hs_inflate_t *decoder, const char *data, size_t len,
                                     size_t *taken, hs_span_t *out)
{
    z_stream *stream = &decoder->stream;
    hs_inflate_outcome_t outcome = HS_INFLATE_NEED_MORE;
    *taken = 0;
    *out = hs_span("", 0);
    while (outcome == HS_INFLATE_NEED_MORE && (*taken < len || decoder->is_full)) {
        if (!decoder->has_begun && !begin(decoder, data[0]))
            return HS_INFLATE_OUT_OF_MEMORY;
        if (decoder->member_ended && decoder->format == HS_INFLATE_DEFLATE)
            return HS_INFLATE_CORRUPT; /* bytes behind the end */
        if (decoder->member_ended && inflateReset(stream) != Z_OK)
            return HS_INFLATE_CORRUPT;
        decoder->member_ended = false;
        uInt given = (uInt)hs_min(len - *taken, INT_MAX);
        stream->next_in = (z_const Bytef *)(uintptr_t)(data + *taken);
        stream->avail_in = given;
        stream->next_out = (Bytef *)decoder->out;
        stream->avail_out = OUT_SIZE;
        int result = inflate(stream, Z_NO_FLUSH);
        size_t made = OUT_SIZE - stream->avail_out;
        *taken += given - stream->avail_in;
        decoder->is_full = stream->avail_out == 0 && result != Z_STREAM_END;
        decoder->total_in += given - stream->avail_in;
        decoder->total_out += made;
        *out = hs_span(decoder->out, made);
        outcome = outcome_of(decoder, result, made);
    }
    return outcome;
}

bool hs_inflate_is_complete(const hs_inflate_t *decoder)
{
    return !decoder->has_begun || decoder->member_ended;
}

const void *hs_inflate_library_address(void)
{
    return (const void *)(uintptr_t)inflate;
}
