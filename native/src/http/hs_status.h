/*
 * Status lines. Reason phrases are those of the IANA registry; a status without one gets an empty
 * phrase, which RFC 9112 §4 allows.
 */
#pragma once

#include "base/hs_span.h"

#define HS_STATUS_MIN 200
#define HS_STATUS_MAX 599

/* A known status line is stored in this much memory, so that it can be copied with a fixed size.
 * The longest, of 431, has 46 bytes. */
#define HS_STATUS_LINE_MAX 48

/* "HTTP/1.1 200 OK\r\n" for a status with a known phrase, an empty span for others. */
hs_span_t hs_status_line(int status);

/* "OK"; "" for a status without a known phrase. */
const char *hs_status_reason(int status);

/* 1xx, 204 and 304 never carry content: RFC 9110 §6.4.1. */
static inline bool hs_status_has_content(int status)
{
    return status >= 200 && status != 204 && status != 304;
}
