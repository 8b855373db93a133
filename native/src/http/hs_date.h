/*
 * The Date field, an IMF-fixdate (RFC 9110 §5.6.7). Pure: the caller passes the second, and the
 * text is formatted again only when it changes.
 */
#pragma once

#include "base/hs_span.h"

#define HS_DATE_LEN 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */

#define HS_DATE_LINE_LEN (sizeof("Date: \r\n") - 1 + HS_DATE_LEN)
#define HS_DATE_OK_LINE "HTTP/1.1 200 OK\r\n"
#define HS_DATE_OK_LINE_LEN (sizeof(HS_DATE_OK_LINE) - 1)
#define HS_DATE_START_LEN (HS_DATE_OK_LINE_LEN + HS_DATE_LINE_LEN)
/* At least this many bytes are readable, so that a fixed-size copy covers a whole line. */
#define HS_DATE_START_MAX 56

typedef struct hs_date {
    int64_t second; /* seconds since 1970 UTC of the line */
    union {
        char start[HS_DATE_START_MAX]; /* the start of nearly every response */
        struct {
            char ok_line[HS_DATE_OK_LINE_LEN];
            char line[HS_DATE_LINE_LEN + 1]; /* "Date: Sun, … GMT\r\n"; empty before the first
                                                second */
        };
    };
} hs_date_t;

_Static_assert(HS_DATE_START_LEN < HS_DATE_START_MAX, "a start and the NUL behind it");

/* Formats `second`. The year must have four digits, which holds for any clock between 1970 and
 * 9999.
 */
void hs_date_set(hs_date_t *date, int64_t second);

/* hs_date_set if the second has changed. */
static inline void hs_date_update(hs_date_t *date, int64_t second)
{
    if (HS_UNLIKELY(date->second != second || date->line[0] == '\0'))
        hs_date_set(date, second);
}

/* The second of a date in one of the three forms of RFC 9110 §5.6.7. A two-digit year is in the
 * century that puts the date at most 50 years after `now_s`. False: not a date. */
HS_NODISCARD bool hs_date_parse(hs_span_t text, int64_t now_s, int64_t *second);
