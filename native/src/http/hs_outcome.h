/*
 * The result of parsing. Every refusal has one status; the caller sends it, closes, and parses
 * nothing more.
 */
#pragma once

#include "base/hs_base.h"

typedef enum hs_parse_outcome {
    HS_PARSE_NEED_MORE, /* all bytes consumed, the head or content is not complete */
    HS_PARSE_COMPLETE,  /* head (hs_parse_head) or content (hs_parse_chunked) is complete */

    /* Refusals. */
    HS_PARSE_BAD_REQUEST,        /* 400: does not follow RFC 9112 */
    HS_PARSE_CONTENT_TOO_LARGE,  /* 413 */
    HS_PARSE_URI_TOO_LONG,       /* 414 */
    HS_PARSE_EXPECTATION_FAILED, /* 417 */
    HS_PARSE_FIELDS_TOO_LARGE, /* 431: too many fields, or a head or trailer larger than the ring */
    HS_PARSE_OUT_OF_MEMORY,    /* 500 */
    HS_PARSE_NOT_IMPLEMENTED,  /* 501: unknown method, CONNECT, unknown transfer coding */
    HS_PARSE_VERSION_UNSUPPORTED, /* 505 */
} hs_parse_outcome_t;

/* The status of a refusal; 0 for the two outcomes that are not refusals. */
static inline int hs_parse_status(hs_parse_outcome_t outcome)
{
    switch (outcome) {
    case HS_PARSE_NEED_MORE:
    case HS_PARSE_COMPLETE:
        return 0;
    case HS_PARSE_BAD_REQUEST:
        return 400;
    case HS_PARSE_CONTENT_TOO_LARGE:
        return 413;
    case HS_PARSE_URI_TOO_LONG:
        return 414;
    case HS_PARSE_EXPECTATION_FAILED:
        return 417;
    case HS_PARSE_FIELDS_TOO_LARGE:
        return 431;
    case HS_PARSE_OUT_OF_MEMORY:
        return 500;
    case HS_PARSE_NOT_IMPLEMENTED:
        return 501;
    case HS_PARSE_VERSION_UNSUPPORTED:
        return 505;
    }
    return 400;
}
