/*
 * What tokens, field values, hosts and targets are made of: RFC 9110 §5.5, §5.6.2, RFC 3986 §2.3.
 */
#pragma once

#include "base/hs_span.h"

#define HS_CHAR_IS_ALNUM(c)                                                                        \
    (((c) >= '0' && (c) <= '9') || ((c) >= 'A' && (c) <= 'Z') || ((c) >= 'a' && (c) <= 'z'))
#define HS_CHAR_IS_TOKEN(c)                                                                        \
    (HS_CHAR_IS_ALNUM(c) || (c) == '!' || ((c) >= '#' && (c) <= '\'') || (c) == '*' ||             \
     (c) == '+' || (c) == '-' || (c) == '.' || ((c) >= '^' && (c) <= '`') || (c) == '|' ||         \
     (c) == '~')
#define HS_CHAR_IS_UNRESERVED(c)                                                                   \
    (HS_CHAR_IS_ALNUM(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~')
/* RFC 3986, and the signs [ ] { } | \ ^ ` that it forbids but browsers leave unencoded in queries.
 * Not `#`: no form of a target has a fragment. */
#define HS_CHAR_IS_TARGET(c)                                                                       \
    ((c) > ' ' && (c) < 0x7f && (c) != '#' && (c) != '"' && (c) != '<' && (c) != '>')

#define HS_CHAR_4(is, c) is(c), is((c) + 1), is((c) + 2), is((c) + 3)
#define HS_CHAR_16(is, c)                                                                          \
    HS_CHAR_4(is, c), HS_CHAR_4(is, (c) + 4), HS_CHAR_4(is, (c) + 8), HS_CHAR_4(is, (c) + 12)
/* One look-up a character. Those above 127 are none of them. */
#define HS_CHAR_TABLE(is)                                                                          \
    {                                                                                              \
        HS_CHAR_16(is, 0x00), HS_CHAR_16(is, 0x10), HS_CHAR_16(is, 0x20), HS_CHAR_16(is, 0x30),    \
            HS_CHAR_16(is, 0x40), HS_CHAR_16(is, 0x50), HS_CHAR_16(is, 0x60),                      \
            HS_CHAR_16(is, 0x70),                                                                  \
    }

static const bool hs_char_is_token[256] = HS_CHAR_TABLE(HS_CHAR_IS_TOKEN);           /* tchar */
static const bool hs_char_is_unreserved[256] = HS_CHAR_TABLE(HS_CHAR_IS_UNRESERVED); /* of a URI */
static const bool hs_char_is_target[256] = HS_CHAR_TABLE(HS_CHAR_IS_TARGET);

/* Whether the next eight characters are in the table: without a branch for each of them. */
static inline bool hs_chars_are_in(const char *at, const bool table[256])
{
    const unsigned char *c = (const unsigned char *)at;
    return table[c[0]] & table[c[1]] & table[c[2]] & table[c[3]] & table[c[4]] & table[c[5]] &
           table[c[6]] & table[c[7]];
}

/* How many characters from `at` on are in the table. */
static inline size_t hs_span_run(hs_span_t span, size_t at, const bool table[256])
{
    size_t end = at;
    while (span.len - end >= 8 && hs_chars_are_in(span.data + end, table))
        end += 8;
    while (end < span.len && table[(unsigned char)span.data[end]])
        end++;
    return end - at;
}

/* Whether all characters are in the table; true if there are none. The last eight are looked at
 * together, whatever the length. */
static inline bool hs_span_is_all(hs_span_t span, const bool table[256])
{
    if (span.len < 8)
        return hs_span_run(span, 0, table) == span.len;
    for (size_t at = 0; at < span.len - 8; at += 8)
        if (!hs_chars_are_in(span.data + at, table))
            return false;
    return hs_chars_are_in(span.data + span.len - 8, table);
}

/* At least one character, and all of them tchar. */
static inline bool hs_span_is_token(hs_span_t span)
{
    return span.len > 0 && hs_span_is_all(span, hs_char_is_token);
}

/* Whether eight bytes may hold one that no field value has. A borrow marks bytes below 0x20 and,
 * after the exclusive or, bytes equal to 0x7f; a byte above 0x7f is never marked. A borrow may mark
 * a neighbour too, and HTAB is marked, so this only suspects. */
static inline bool hs_word_is_suspect(const char *at)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    uint64_t below = (word - ones * 0x20) & ~word;
    uint64_t delete = word ^ (ones * 0x7f);
    uint64_t equal = (delete - ones) & ~delete;
    return ((below | equal) & (ones << 7)) != 0;
}

/* True if all bytes are ones that a field value may hold: HTAB, or neither a control nor DEL
 * (RFC 9110 §5.5). Eight at a time, since values are the longest things that are checked. */
static inline bool hs_span_is_field_value(hs_span_t span)
{
    size_t at = 0;
    while (span.len - at >= sizeof(uint64_t) && !hs_word_is_suspect(span.data + at))
        at += sizeof(uint64_t);
    if (at > 0 && span.len - at < sizeof(uint64_t) &&
        !hs_word_is_suspect(span.data + span.len - sizeof(uint64_t)))
        return true;
    for (; at < span.len; at++) {
        unsigned char c = (unsigned char)span.data[at];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}
