/*
 * Messages of permessage-deflate (RFC 7692 §7.2): zlib behind whole messages. Pure: bytes to bytes,
 * no system call. The inflated size is bounded.
 *
 * Without context takeover, the usual case, one context of each kind serves all connections of a
 * thread. With it a connection has its own, taken from those that others released.
 */
#pragma once

#include "data/hs_buf.h"
#include "ws/hs_ws_terms.h"

/* 1, fast, to 9. */
#define HS_WS_LEVEL_MIN 1
#define HS_WS_LEVEL_MAX 9

/* The contexts of one thread. owner: the thread that made it */
typedef struct hs_ws_deflates hs_ws_deflates_t;

/* NULL: out of memory. */
HS_NODISCARD hs_ws_deflates_t *hs_ws_deflates_new(int level);

/* No connection has contexts. NULL is allowed. */
void hs_ws_deflates_free(hs_ws_deflates_t *all);

/* A zlib context; the two of a connection, NULL until needed. Initially zeroed. owner: as
 * hs_ws_deflates_t */
typedef struct hs_ws_context hs_ws_context_t;

typedef struct hs_ws_contexts {
    hs_ws_context_t *inflate;
    hs_ws_context_t *deflate;
} hs_ws_contexts_t;

/* The connection has ended. */
void hs_ws_contexts_end(hs_ws_deflates_t *all, hs_ws_contexts_t *contexts);

typedef enum hs_ws_inflated {
    HS_WS_INFLATED,
    HS_WS_INFLATE_CORRUPT,
    HS_WS_INFLATE_TOO_BIG, /* the message is longer than `max` */
    HS_WS_INFLATE_NO_MEMORY,
} hs_ws_inflated_t;

/* Appends the message to `out`, at most `max` bytes. On failure the connection must be closed, and
 * `out` has part of the message. */
HS_NODISCARD hs_ws_inflated_t hs_ws_inflate(hs_ws_deflates_t *all, const hs_ws_terms_t *terms,
                                            hs_ws_contexts_t *contexts, hs_span_t coded, size_t max,
                                            hs_buf_t *out);

typedef enum hs_ws_deflated {
    HS_WS_DEFLATED,
    HS_WS_DEFLATE_AS_IS,     /* it would not be shorter: send it uncompressed; `out` is unchanged */
    HS_WS_DEFLATE_NO_MEMORY, /* likewise without the connection's own context, else it is broken */
} hs_ws_deflated_t;

/* Appends the compressed message to `out`. */
HS_NODISCARD hs_ws_deflated_t hs_ws_deflate(hs_ws_deflates_t *all, const hs_ws_terms_t *terms,
                                            hs_ws_contexts_t *contexts, hs_span_t message,
                                            hs_buf_t *out);
