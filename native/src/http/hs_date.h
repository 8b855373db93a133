/*
 * The Date field, an IMF-fixdate (RFC 9110 §5.6.7). Pure: the caller passes the second, and the
 * text is formatted again only when it changes.
 */
#pragma once

#include "base/hs_span.h"

#define HS_DATE_LEN 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */

#define HS_DATE_LINE_LEN (sizeof("Date: \r\n") - 1 + HS_DATE_LEN)

typedef struct hs_date {
    int64_t second;                  /* seconds since 1970 UTC of the line */
    char line[HS_DATE_LINE_LEN + 1]; /* "Date: Sun, … GMT\r\n"; empty before the first second */
} hs_date_t;

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
