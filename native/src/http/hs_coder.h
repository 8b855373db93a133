/*
 * Encodes content with gzip and brotli (RFC 9110 §8.4.1): libdeflate for whole content, zlib and
 * brotli for content in pieces. Pure: bytes to bytes, no system call. hs_inflate.h decodes.
 *
 * Contexts are created at first use and reused. At most CODERS_KEPT gzip stream contexts are kept;
 * a gzip stream uses about 270 KiB, a brotli stream up to 2 MiB.
 */
#pragma once

#include "data/hs_buf.h"
#include "http/hs_accept_encoding.h"

/* Levels: gzip 1 to 9, brotli 0 to 11. */
#define HS_GZIP_LEVEL_MIN 1
#define HS_GZIP_LEVEL_MAX 9
#define HS_BR_LEVEL_MIN 0
#define HS_BR_LEVEL_MAX 11

/* The coders of one thread. owner: the thread that created it */
typedef struct hs_coders hs_coders_t;

/* NULL: out of memory. */
HS_NODISCARD hs_coders_t *hs_coders_new(int gzip_level, int br_level);

/* No stream is open. NULL is allowed. */
void hs_coders_free(hs_coders_t *coders);

/* Replaces `out` with the coded content, GZIP or BR. False: it would not be shorter than `content`,
 * or there is no memory. */
HS_NODISCARD bool hs_coders_code(hs_coders_t *coders, hs_coding_t coding, hs_span_t content,
                                 hs_buf_t *out);

/* Memory for coded content, to be swapped with the buffers of a message: one of HS_CODERS_BUFFERS.
 */
#define HS_CODERS_BUFFERS 2
hs_buf_t *hs_coders_buffer(hs_coders_t *coders, int number);

/* A stream of content. owner: as its hs_coders_t */
typedef struct hs_coder hs_coder_t;

typedef enum hs_code {
    HS_CODE_MORE,  /* the coder may hold some of it back */
    HS_CODE_FLUSH, /* everything so far can be decoded */
    HS_CODE_END,   /* the content is complete */
} hs_code_t;

/* GZIP or BR. NULL: out of memory. */
HS_NODISCARD hs_coder_t *hs_coder_begin(hs_coders_t *coders, hs_coding_t coding);

/* Appends the coded next piece to `out`. False: out of memory, the stream is broken. */
HS_NODISCARD bool hs_coder_put(hs_coder_t *coder, hs_span_t piece, hs_code_t code, hs_buf_t *out);

/* At its end, or before. NULL is allowed. */
void hs_coder_end(hs_coder_t *coder);

/* For checking that calls to the libraries stay in our own binary: the address of one function of
 * each. */
#define HS_CODER_LIBRARIES 2
const void *hs_coder_library_address(int library);
