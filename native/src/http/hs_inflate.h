/*
 * Decodes gzip and deflate (RFC 9110 §8.4.1) as the bytes arrive: zlib behind a small, pure
 * interface. No system call. The output is bounded: by the caller from call to call, and by
 * HS_INFLATE_RATIO_MAX against decompression bombs.
 */
#pragma once

#include "base/hs_span.h"

/* Decoded bytes per input byte, on average, after the first HS_INFLATE_FREE bytes. */
#define HS_INFLATE_RATIO_MAX 256
#define HS_INFLATE_FREE (1024 * 1024)

typedef enum hs_inflate_format {
    HS_INFLATE_GZIP,    /* members of RFC 1952, one or more */
    HS_INFLATE_DEFLATE, /* RFC 1950, or RFC 1951 without it, as some servers send */
} hs_inflate_format_t;

typedef enum hs_inflate_outcome {
    HS_INFLATE_NEED_MORE, /* all input is consumed, all output was returned */
    HS_INFLATE_OUTPUT,    /* `*out` has output; call again, with the unconsumed input */

    /* Nothing more is decoded. */
    HS_INFLATE_CORRUPT,
    HS_INFLATE_RATIO, /* it inflates to more than HS_INFLATE_RATIO_MAX times its size */
    HS_INFLATE_OUT_OF_MEMORY,
} hs_inflate_outcome_t;

/* owner: the thread that made it */
typedef struct hs_inflate hs_inflate_t;

/* About 40 KiB, and 32 KiB for output. NULL: out of memory. */
HS_NODISCARD hs_inflate_t *hs_inflate_new(hs_inflate_format_t format);

void hs_inflate_free(hs_inflate_t *decoder);

/* Decodes the next bytes; `*taken` is how many it consumed. `*out` is valid until the next call. */
HS_NODISCARD hs_inflate_outcome_t hs_inflate_next(hs_inflate_t *decoder, const char *data,
                                                  size_t len, size_t *taken, hs_span_t *out);

/* Whether the content may end here: after a whole member, or before the first byte. */
bool hs_inflate_is_complete(const hs_inflate_t *decoder);

/* The address of zlib's inflate, to check that it is in our own binary. */
const void *hs_inflate_library_address(void);
