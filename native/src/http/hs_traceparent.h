/*
 * The traceparent field of W3C Trace Context: the trace of a request, for log records. Pure.
 * lua/moonring/trace.lua implements the rest of the specification.
 */
#pragma once

#include "http/hs_msg.h"

/* version "-" trace "-" parent "-" flags */
#define HS_TRACEPARENT_LEN 55
#define HS_TRACE_ID_AT 3
#define HS_TRACE_ID_LEN 32
#define HS_SPAN_ID_AT 36
#define HS_SPAN_ID_LEN 16
#define HS_TRACE_FLAGS_AT 53

/* Whether a value names a trace and a span, in any version (§3.2). */
bool hs_traceparent_is_valid(hs_span_t value);

/* The low four flags of a valid one. */
static inline int hs_traceparent_flags(hs_span_t value)
{
    char low = value.data[HS_TRACE_FLAGS_AT + 1];
    return low >= 'a' ? low - 'a' + 10 : low - '0';
}

/* Whether a valid one says that its trace is recorded (§3.2.2.5.1). */
static inline bool hs_traceparent_is_sampled(hs_span_t value)
{
    return (hs_traceparent_flags(value) & 1) != 0;
}

/* Whether a valid one says that its trace id is random (Level 2, §3.2.2.5.2). */
static inline bool hs_traceparent_is_random(hs_span_t value)
{
    return (hs_traceparent_flags(value) & 2) != 0;
}

/* The request's field; empty if there is none, several, or an invalid one. */
hs_span_t hs_traceparent_of(const hs_msg_t *msg);
