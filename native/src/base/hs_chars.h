/*
 * What tokens and field values are made of: RFC 9110 §5.5, §5.6.2.
 */
#pragma once

#include "base/hs_span.h"

#define HS_CHAR_IS_TOKEN(c)                                                                        \
    (((c) >= '0' && (c) <= '9') || ((c) >= 'A' && (c) <= 'Z') || ((c) >= 'a' && (c) <= 'z') ||     \
     (c) == '!' || ((c) >= '#' && (c) <= '\'') || (c) == '*' || (c) == '+' || (c) == '-' ||        \
     (c) == '.' || ((c) >= '^' && (c) <= '`') || (c) == '|' || (c) == '~')
#define HS_CHAR_4(c)                                                                               \
    HS_CHAR_IS_TOKEN(c), HS_CHAR_IS_TOKEN((c) + 1), HS_CHAR_IS_TOKEN((c) + 2),                     \
        HS_CHAR_IS_TOKEN((c) + 3)
#define HS_CHAR_16(c) HS_CHAR_4(c), HS_CHAR_4((c) + 4), HS_CHAR_4((c) + 8), HS_CHAR_4((c) + 12)

/* tchar, one look-up each. Characters above 127 are none. */
static const bool hs_char_is_token[256] = {
    HS_CHAR_16(0x00), HS_CHAR_16(0x10), HS_CHAR_16(0x20), HS_CHAR_16(0x30),
    HS_CHAR_16(0x40), HS_CHAR_16(0x50), HS_CHAR_16(0x60), HS_CHAR_16(0x70),
};

/* At least one character, and all of them tchar. */
static inline bool hs_span_is_token(hs_span_t span)
{
    for (size_t i = 0; i < span.len; i++)
        if (!hs_char_is_token[(unsigned char)span.data[i]])
            return false;
    return span.len > 0;
}

/* True if all bytes are ones that a field value may hold: HTAB, or neither a control nor DEL
 * (RFC 9110 §5.5). Eight at a time, since values are the longest things that are checked. */
static inline bool hs_span_is_field_value(hs_span_t span)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t high_bits = ones << 7;
    size_t at = 0;
    for (; at + sizeof(uint64_t) <= span.len; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, span.data + at, sizeof(word));
        /* A borrow marks bytes below 0x20 and, after the exclusive or, bytes equal to 0x7f; a byte
         * above 0x7f is never marked. A borrow may mark a neighbour too, so this only suspects. */
        uint64_t below = (word - ones * 0x20) & ~word;
        uint64_t delete = word ^ (ones * 0x7f);
        uint64_t equal = (delete - ones) & ~delete;
        if (((below | equal) & high_bits) != 0)
            break;
    }
    for (; at < span.len; at++) {
        unsigned char c = (unsigned char)span.data[at];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}
