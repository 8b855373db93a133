/*
 * Parses responses: llhttp in its response role, strict, behind a pure interface. No system call;
 * memory only for the head, and for chunked content that lies in several chunks.
 *
 * A response is read by calls of hs_parse_response_next, until HS_RESPONSE_COMPLETE or a refusal:
 *   HS_RESPONSE_HEAD comes once, for the final response: informational ones (1xx) are skipped.
 *   After it, every call may find content in the bytes it consumes: `content`. HS_RESPONSE_COMPLETE
 *   needs no further byte if nothing follows the head.
 * hs_parse_response_end reports the end of the connection. Wherever the bytes are cut, head,
 * content, outcome and the number of bytes taken are the same. Bytes left over when a response is
 * complete belong to no response: nothing more may be sent on such a connection.
 *
 * RFC 9112 §4, §5, §6.3, §7, §8, §9.3.
 */
#pragma once

#include <llhttp.h>

#include "base/hs_span.h"
#include "data/hs_buf.h"

/* Bytes of all heads of a response, including informational responses. */
#define HS_RESPONSE_HEAD_MAX (64 * 1024)
#define HS_RESPONSE_FIELDS_MAX 256
#define HS_RESPONSE_INTERIM_MAX 16
/* Bytes of chunked coding that are not content: extensions, trailers, padding. A chunk may have
 * HS_RESPONSE_FRAMING_PER_CHUNK that do not count: eight digits and two line ends. */
#define HS_RESPONSE_FRAMING_MAX 8192
#define HS_RESPONSE_FRAMING_PER_CHUNK 12

#define HS_RESPONSE_LENGTH_UNKNOWN UINT64_MAX

typedef enum hs_response_outcome {
    HS_RESPONSE_NEED_MORE, /* all bytes are taken */
    HS_RESPONSE_HEAD,
    HS_RESPONSE_COMPLETE,

    /* Refusals: nothing more is parsed, the connection must be closed. */
    HS_RESPONSE_MALFORMED,
    HS_RESPONSE_VERSION_UNSUPPORTED, /* neither HTTP/1.0 nor 1.1 */
    HS_RESPONSE_HEAD_TOO_LARGE,      /* bytes, fields */
    HS_RESPONSE_TOO_MANY_INTERIM,
    HS_RESPONSE_UPGRADED,           /* 101, which was not requested */
    HS_RESPONSE_BAD_LENGTH,         /* of the content: none, several, or one beside chunked */
    HS_RESPONSE_CODING_UNSUPPORTED, /* a transfer coding other than chunked */
    HS_RESPONSE_FRAMING_TOO_LARGE,  /* chunk extensions, trailers */
    HS_RESPONSE_TRUNCATED,          /* the connection ended before the response */
    HS_RESPONSE_OUT_OF_MEMORY,
} hs_response_outcome_t;

typedef enum hs_response_phase {
    HS_RESPONSE_IN_HEAD,
    HS_RESPONSE_IN_LENGTH, /* `remaining` bytes of content follow */
    HS_RESPONSE_IN_CHUNKS,
    HS_RESPONSE_IN_REST, /* the content ends with the connection */
    HS_RESPONSE_OVER,
} hs_response_phase_t;

/* owner: the thread that reads the connection */
typedef struct hs_parse_response {
    llhttp_t llhttp;
    hs_response_phase_t phase;
    hs_response_outcome_t refusal; /* why a callback stopped llhttp */
    bool to_head;                  /* the request is a HEAD: no response to it has content */
    bool keep_alive;               /* the server keeps the connection: valid from the head on */
    bool at_chunk;                 /* llhttp has stopped at a chunk's first line */
    bool in_extension_word;        /* a name or value of a chunk extension has begun */
    uint16_t status;
    uint16_t interim_count;
    uint32_t head_taken;     /* bytes of heads so far */
    uint64_t content_length; /* HS_RESPONSE_LENGTH_UNKNOWN if not in the head */
    uint64_t remaining;
    uint32_t framing;        /* bytes that are not content since the last chunk's first line */
    uint32_t framing_excess; /* those of earlier lines beyond what a chunk needs */

    /* Until the head is complete, its bytes; then, as text, "reason\n" and "name:value\n" for each
     * field, names in lower case, values without surrounding white space. Names and values contain
     * no line feed, carriage return or NUL. */
    hs_buf_t head;

    /* Content in the bytes consumed by the last call. It is in them or, if they contain several
     * chunks, in `joined`: valid until the next call, and no longer than those bytes. */
    hs_span_t content;
    hs_buf_t joined;
} hs_parse_response_t;

/* Initializes a parser, with nothing to free yet. */
void hs_parse_response_init(hs_parse_response_t *parse);

void hs_parse_response_free(hs_parse_response_t *parse);

/* Prepares for the first byte of the response to a request; `to_head`: to a HEAD. */
void hs_parse_response_begin(hs_parse_response_t *parse, bool to_head);

/* Parses the next bytes, up to one outcome; `*taken` is how many belong to it. */
HS_NODISCARD hs_response_outcome_t hs_parse_response_next(hs_parse_response_t *parse,
                                                          const char *data, size_t len,
                                                          size_t *taken);

/* The connection has ended: HS_RESPONSE_COMPLETE if that is the end of the content, else
 * HS_RESPONSE_TRUNCATED. */
HS_NODISCARD hs_response_outcome_t hs_parse_response_end(hs_parse_response_t *parse);

/* Whether the connection may carry another request; no bytes may be left over. */
static inline bool hs_parse_response_is_reusable(const hs_parse_response_t *parse)
{
    return parse->phase == HS_RESPONSE_OVER && parse->keep_alive;
}

/* The name of a refusal in errors: a static string. NULL for outcomes that are not refusals. */
const char *hs_response_refusal_name(hs_response_outcome_t outcome);
