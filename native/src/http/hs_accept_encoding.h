/*
 * Which content coding a client prefers, by its Accept-Encoding fields (RFC 9110 §12.5.3): for
 * compressed responses and precompressed files. Pure.
 */
#pragma once

#include "http/hs_msg.h"

typedef enum hs_coding {
    HS_CODING_IDENTITY, /* none */
    HS_CODING_GZIP,
    HS_CODING_BR,
    HS_CODING_ZSTD,
    HS_CODINGS,
} hs_coding_t;

/* The bit of a coding in a set of codings. */
#define HS_CODING_BIT(coding) (1u << (coding))

/* Weights in thousandths, for each coding; HS_WEIGHT_NONE: the client does not name it. */
#define HS_WEIGHT_NONE (-1)
typedef struct hs_accept_encoding {
    int16_t weights[HS_CODINGS];
    int16_t others; /* of `*` */
} hs_accept_encoding_t;

/* The initial value for hs_accept_encoding_add: no coding is named. */
void hs_accept_encoding_init(hs_accept_encoding_t *accepted);

/* Adds the value of one field. Malformed elements and unsupported codings are ignored; of several
 * elements for one coding the first counts. */
void hs_accept_encoding_add(hs_accept_encoding_t *accepted, hs_span_t value);

/*
 * The coding of the set `offered` (HS_CODING_BIT) with the highest weight; at equal weights, the
 * first in `preferred`: `count` codings, in the server's order. Identity if none of them is
 * acceptable, or if the client gives identity a higher weight by name.
 *
 * Without Accept-Encoding, and for codings it does not name, the result is identity: RFC 9110
 * allows any coding for a request without the field, but clients that do not send it do not decode
 * any.
 */
hs_coding_t hs_accept_encoding_choose(const hs_accept_encoding_t *accepted, unsigned offered,
                                      const hs_coding_t *preferred, size_t count);

/* The same for all Accept-Encoding fields of a request. */
hs_coding_t hs_accept_encoding_of(const hs_msg_t *msg, unsigned offered,
                                  const hs_coding_t *preferred, size_t count);

/* As in Content-Encoding: "gzip"; "identity". */
const char *hs_coding_name(hs_coding_t coding);
