/*
 * A run of bytes owned elsewhere. A span does not imply a terminating NUL; functions that guarantee
 * one say so.
 */
#pragma once

#include <string.h>

#include "base/hs_base.h"

typedef struct hs_span {
    const char *data;
    size_t len;
} hs_span_t;

#define HS_SPAN_LITERAL(text) ((hs_span_t){ (text), sizeof(text) - 1 })

static inline hs_span_t hs_span(const char *data, size_t len)
{
    return (hs_span_t){ data, len };
}

/*
 * Copies the bytes to `to` and returns what is behind them. For what is mostly short, where a call
 * would cost more than the copy: up to 32 bytes are two copies of one size, which may overlap.
 */
static inline char *hs_span_copy(hs_span_t span, char *to)
{
    const char *from = span.data;
    char *end = to + span.len;
    if (span.len > 32) {
        memcpy(to, from, span.len);
    } else if (span.len >= 16) {
        struct {
            uint64_t words[2];
        } first, last;
        memcpy(&first, from, sizeof(first));
        memcpy(&last, from + span.len - sizeof(last), sizeof(last));
        memcpy(to, &first, sizeof(first));
        memcpy(end - sizeof(last), &last, sizeof(last));
    } else if (span.len >= 8) {
        uint64_t first, last;
        memcpy(&first, from, sizeof(first));
        memcpy(&last, from + span.len - sizeof(last), sizeof(last));
        memcpy(to, &first, sizeof(first));
        memcpy(end - sizeof(last), &last, sizeof(last));
    } else {
        for (size_t i = 0; i < span.len; i++)
            to[i] = from[i];
    }
    return end;
}

static inline char hs_ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static inline bool hs_span_equals(hs_span_t a, hs_span_t b)
{
    if (a.len != b.len)
        return false;
    if (a.len < sizeof(uint64_t))
        return a.len == 0 || memcmp(a.data, b.data, a.len) == 0;
    /* In words, of which the last one may overlap the one before: short for a call. */
    size_t last = a.len - sizeof(uint64_t);
    uint64_t x, y;
    for (size_t at = 0; at < last; at += sizeof(x)) {
        memcpy(&x, a.data + at, sizeof(x));
        memcpy(&y, b.data + at, sizeof(y));
        if (x != y)
            return false;
    }
    memcpy(&x, a.data + last, sizeof(x));
    memcpy(&y, b.data + last, sizeof(y));
    return x == y;
}

/* ASCII case-insensitive equality: field names and connection options (RFC 9110 §5.1, §7.6.1). */
static inline bool hs_span_equals_nocase(hs_span_t a, hs_span_t b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (hs_ascii_lower(a.data[i]) != hs_ascii_lower(b.data[i]))
            return false;
    return true;
}

/* The same where `token` is a token (RFC 9110 §5.6.2) and `lower` consists of small letters and
 * '-': of the characters of a token only a letter's two cases become equal to them. With a literal
 * it is a comparison or two of words. */
static inline bool hs_token_is(hs_span_t token, hs_span_t lower)
{
    const uint64_t case_bits = UINT64_C(0x2020202020202020);
    if (token.len != lower.len)
        return false;
    size_t at = 0;
    for (uint64_t a, b; lower.len - at >= sizeof(a); at += sizeof(a)) {
        memcpy(&a, token.data + at, sizeof(a));
        memcpy(&b, lower.data + at, sizeof(b));
        if ((a | case_bits) != b)
            return false;
    }
    for (uint32_t a, b; lower.len - at >= sizeof(a); at += sizeof(a)) {
        memcpy(&a, token.data + at, sizeof(a));
        memcpy(&b, lower.data + at, sizeof(b));
        if ((a | (uint32_t)case_bits) != b)
            return false;
    }
    for (; at < lower.len; at++)
        if ((token.data[at] | 0x20) != lower.data[at])
            return false;
    return true;
}

/* Without the optional whitespace (SP, HTAB) at both ends: OWS of RFC 9110 §5.6.3. */
static inline hs_span_t hs_span_trim(hs_span_t span)
{
    while (span.len > 0 && (span.data[0] == ' ' || span.data[0] == '\t'))
        span = hs_span(span.data + 1, span.len - 1);
    while (span.len > 0 && (span.data[span.len - 1] == ' ' || span.data[span.len - 1] == '\t'))
        span.len--;
    return span;
}
