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
/* One lookup per character. Those above 127 are in no class. */
#define HS_CHAR_TABLE(is)                                                                          \
    {                                                                                              \
        HS_CHAR_16(is, 0x00), HS_CHAR_16(is, 0x10), HS_CHAR_16(is, 0x20), HS_CHAR_16(is, 0x30),    \
            HS_CHAR_16(is, 0x40), HS_CHAR_16(is, 0x50), HS_CHAR_16(is, 0x60),                      \
            HS_CHAR_16(is, 0x70),                                                                  \
    }

static const bool hs_char_is_token[256] = HS_CHAR_TABLE(HS_CHAR_IS_TOKEN);           /* tchar */
static const bool hs_char_is_unreserved[256] = HS_CHAR_TABLE(HS_CHAR_IS_UNRESERVED); /* of a URI */
static const bool hs_char_is_target[256] = HS_CHAR_TABLE(HS_CHAR_IS_TARGET);

/*
 * Most names, values and targets consist of a few kinds of characters, which are compared sixteen
 * at a time. The vector types are GCC's and Clang's, for every target: SSE2, NEON, or words of the
 * processor. A comparison gives a mark, 0xff, for each byte that it holds for.
 */
typedef uint8_t hs_bytes16_t __attribute__((vector_size(16)));
typedef int8_t hs_marks16_t __attribute__((vector_size(16)));
typedef uint64_t hs_words2_t __attribute__((vector_size(16)));

static inline bool hs_is_marked(hs_marks16_t marks)
{
    hs_words2_t words = (hs_words2_t)marks;
    return (words[0] | words[1]) != 0;
}

/* Not a letter, digit or '-', which make up nearly all field names. */
static inline hs_marks16_t hs_mark_unusual_in_name(hs_bytes16_t c)
{
    return ~(((c | 0x20) - 'a' <= 'z' - 'a') | (c - '0' <= '9' - '0') | (c == '-'));
}

/* A control character, HTAB among them. */
static inline hs_marks16_t hs_mark_controls(hs_bytes16_t c)
{
    return (c < ' ') | (c == 0x7f);
}

/* What HS_CHAR_IS_TARGET excludes. Each of `"#` and `<>` differ in one bit. */
static inline hs_marks16_t hs_mark_not_target(hs_bytes16_t c)
{
    return (c - 0x21 > 0x7e - 0x21) | ((c | 1) == '#') | ((c | 2) == '>');
}

static inline hs_bytes16_t hs_bytes16_at(const char *at)
{
    hs_bytes16_t bytes;
    memcpy(&bytes, at, sizeof(bytes));
    return bytes;
}

/* Eight to fifteen bytes, those in the middle twice. */
static inline hs_bytes16_t hs_bytes16_of(const char *at, size_t len)
{
    uint64_t first, last;
    memcpy(&first, at, sizeof(first));
    memcpy(&last, at + len - sizeof(last), sizeof(last));
    return (hs_bytes16_t)(hs_words2_t){ first, last };
}

/* Whether `mark` marks any of eight bytes or more. The last sixteen are looked at together,
 * whatever the length. */
static inline bool hs_span_has_marked(hs_span_t span, hs_marks16_t (*mark)(hs_bytes16_t))
{
    hs_bytes16_t last;
    if (span.len < 16) {
        last = hs_bytes16_of(span.data, span.len);
    } else {
        for (size_t at = 0; at < span.len - 16; at += 16)
            if (hs_is_marked(mark(hs_bytes16_at(span.data + at))))
                return true;
        last = hs_bytes16_at(span.data + span.len - 16);
    }
    return hs_is_marked(mark(last));
}

/* How many characters from `at` on are in the table. */
static inline size_t hs_span_run(hs_span_t span, size_t at, const bool table[256])
{
    size_t end = at;
    while (end < span.len && table[(unsigned char)span.data[end]])
        end++;
    return end - at;
}

/* At least one character, and all of them tchar. */
static inline bool hs_span_is_token(hs_span_t span)
{
    if (HS_LIKELY(span.len >= 8 && !hs_span_has_marked(span, hs_mark_unusual_in_name)))
        return true;
    return span.len > 0 && hs_span_run(span, 0, hs_char_is_token) == span.len;
}

/* True if all bytes are ones that a field value may hold: HTAB, or neither a control nor DEL
 * (RFC 9110 §5.5). */
static inline bool hs_span_is_field_value(hs_span_t span)
{
    if (HS_LIKELY(span.len >= 8 && !hs_span_has_marked(span, hs_mark_controls)))
        return true;
    for (size_t at = 0; at < span.len; at++) {
        unsigned char c = (unsigned char)span.data[at];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static inline bool hs_span_is_target(hs_span_t span)
{
    return span.len >= 8 ? !hs_span_has_marked(span, hs_mark_not_target)
                         : hs_span_run(span, 0, hs_char_is_target) == span.len;
}
