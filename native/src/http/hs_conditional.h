/*
 * Conditional requests and ranges: RFC 9110 §13 and §14. Pure: what the fields of a request say
 * about a representation that the caller describes by its validators and its size.
 *
 * All fields are optional and none is trusted: a malformed date or range is as if it were absent, a
 * malformed entity tag matches nothing.
 */
#pragma once

#include "http/hs_msg.h"

/* Bits of hs_conditional_fields. */
#define HS_IF_MATCH 1u
#define HS_IF_NONE_MATCH 2u
#define HS_IF_MODIFIED_SINCE 4u
#define HS_IF_UNMODIFIED_SINCE 8u
#define HS_IF_RANGE 16u
#define HS_RANGE 32u

#define HS_MODIFIED_UNKNOWN INT64_MIN

/* Of the representation that would be sent now. */
typedef struct hs_validators {
    hs_span_t etag;     /* `"…"`, or `W/"…"`; empty: it has none */
    int64_t modified_s; /* Last-Modified, seconds since 1970; HS_MODIFIED_UNKNOWN */
    int64_t now_s;      /* Date of the response */
    bool is_missing;    /* there is no representation: "*" matches nothing */
} hs_validators_t;

typedef enum hs_precondition {
    HS_PRECONDITION_MET,          /* respond as if the fields were absent */
    HS_PRECONDITION_NOT_MODIFIED, /* 304 */
    HS_PRECONDITION_FAILED,       /* 412 */
} hs_precondition_t;

typedef enum hs_range {
    HS_RANGE_WHOLE,         /* 200 with all of it */
    HS_RANGE_PART,          /* 206 */
    HS_RANGE_UNSATISFIABLE, /* 416 */
} hs_range_t;

/* Which of the fields the request has; 0 for most requests, for which the calls below return MET
 * and WHOLE. */
unsigned hs_conditional_fields(const hs_msg_t *msg);

/* The preconditions in the order of §13.2.2, steps 1 to 4. For a request whose response would
 * otherwise be 2xx or 412 (§13.2.1). */
hs_precondition_t hs_conditional_check(const hs_msg_t *msg, const hs_validators_t *validators);

/*
 * Step 5: which part of `size` bytes is asked for. PART sets `*first` and `*len` (> 0). Several
 * ranges get the whole, which §14.2 allows; so does a Range whose If-Range fails, one in units
 * other than bytes, and a malformed one. After MET, only for GET.
 */
hs_range_t hs_conditional_range(const hs_msg_t *msg, const hs_validators_t *validators,
                                uint64_t size, uint64_t *first, uint64_t *len);
