/*
 * Classes of ASCII characters, one table look-up each.
 */
#pragma once

#include "base/hs_span.h"

typedef enum hs_char_class {
    HS_CHAR_TOKEN = 1, /* tchar of RFC 9110 §5.6.2 */
    HS_CHAR_HOST = 2,  /* what a uri-host or IP literal is made of: RFC 3986 §3.2.2 */
} hs_char_class_t;

#define HS_CHAR_IS_ALPHANUMERIC(c)                                                                 \
    (((c) >= '0' && (c) <= '9') || ((c) >= 'A' && (c) <= 'Z') || ((c) >= 'a' && (c) <= 'z'))
#define HS_CHAR_IS_TOKEN(c)                                                                        \
    (HS_CHAR_IS_ALPHANUMERIC(c) || (c) == '!' || ((c) >= '#' && (c) <= '\'') || (c) == '*' ||      \
     (c) == '+' || (c) == '-' || (c) == '.' || ((c) >= '^' && (c) <= '`') || (c) == '|' ||         \
     (c) == '~')
/* unreserved, sub-delims, "%", and ":" "[" "]" of literals. */
#define HS_CHAR_IS_HOST(c)                                                                         \
    (HS_CHAR_IS_ALPHANUMERIC(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~' ||         \
     (c) == '!' || ((c) >= '$' && (c) <= ',') || (c) == ';' || (c) == '=' || (c) == '%' ||         \
     (c) == ':' || (c) == '[' || (c) == ']')
#define HS_CHAR_CLASSES(c)                                                                         \
    ((HS_CHAR_IS_TOKEN(c) ? HS_CHAR_TOKEN : 0) | (HS_CHAR_IS_HOST(c) ? HS_CHAR_HOST : 0))
#define HS_CHAR_4(c)                                                                               \
    HS_CHAR_CLASSES(c), HS_CHAR_CLASSES((c) + 1), HS_CHAR_CLASSES((c) + 2), HS_CHAR_CLASSES((c) + 3)
#define HS_CHAR_16(c) HS_CHAR_4(c), HS_CHAR_4((c) + 4), HS_CHAR_4((c) + 8), HS_CHAR_4((c) + 12)

/* Characters above 127 belong to no class. */
static const uint8_t hs_char_classes[256] = {
    HS_CHAR_16(0x00), HS_CHAR_16(0x10), HS_CHAR_16(0x20), HS_CHAR_16(0x30),
    HS_CHAR_16(0x40), HS_CHAR_16(0x50), HS_CHAR_16(0x60), HS_CHAR_16(0x70),
};

/* True if every character belongs to one of `classes`; of an empty span too. */
static inline bool hs_span_all_in(hs_span_t span, unsigned classes)
{
    for (size_t i = 0; i < span.len; i++)
        if ((hs_char_classes[(unsigned char)span.data[i]] & classes) == 0)
            return false;
    return true;
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
