/* UTF-8: where a well-formed sequence ends, and whether text that arrives in pieces is well-formed.
 * Pure; any thread. */
#pragma once

#include <string.h>

#include "base/hs_base.h"

/*
 * The length of the well-formed UTF-8 sequence at `bytes` (Unicode 15, table 3-7: no overlong form,
 * no surrogate, nothing above U+10FFFF), 0 if there is none. `available` is at least 1.
 */
static inline size_t hs_utf8_len(const unsigned char *bytes, size_t available)
{
    unsigned first = bytes[0];
    if (first < 0x80)
        return 1;
    size_t len = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || available < len)
        return 0;
    unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (bytes[1] < low || bytes[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if (bytes[i] < 0x80 || bytes[i] > 0xBF)
            return 0;
    return len;
}

/* Text that arrives in pieces: what the current sequence still needs. Zeroed: between two
 * sequences. */
typedef struct hs_utf8_state {
    uint8_t missing; /* bytes of the sequence in hand */
    uint8_t low;     /* the next one is not below */
    uint8_t high;    /* ... nor above */
} hs_utf8_state_t;

/* One byte that is not ASCII, or that a sequence in hand needs. False: it cannot stand here. */
HS_NODISCARD static inline bool hs_utf8_step(hs_utf8_state_t *state, unsigned byte)
{
    if (state->missing > 0) {
        if (byte < state->low || byte > state->high)
            return false;
        state->missing--;
        state->low = 0x80;
        state->high = 0xBF;
        return true;
    }
    if (byte < 0x80)
        return true;
    if (byte < 0xC2 || byte > 0xF4)
        return false;
    state->missing = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : 1;
    state->low = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
    state->high = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
    return true;
}

/* The bytes that are not ASCII among the first 32: their highest bits, mixed. */
static inline uint64_t hs_utf8_not_ascii_32(const char *text)
{
    uint64_t a, b, c, d;
    memcpy(&a, text, sizeof(a));
    memcpy(&b, text + 8, sizeof(b));
    memcpy(&c, text + 16, sizeof(c));
    memcpy(&d, text + 24, sizeof(d));
    return (a | b | c | d) & UINT64_C(0x8080808080808080);
}

/* Whether the text is valid so far: false at the first invalid byte. It is complete if nothing is
 * missing. */
HS_NODISCARD static inline bool hs_utf8_feed(hs_utf8_state_t *state, const char *text, size_t len)
{
    const uint64_t high_bits = UINT64_C(0x8080808080808080);
    size_t at = 0;
    if (state->missing == 0)
        while (len - at >= 32 && hs_utf8_not_ascii_32(text + at) == 0)
            at += 32;
    while (at < len) {
        if (state->missing == 0) {
            uint64_t word;
            while (len - at >= sizeof(word)) {
                memcpy(&word, text + at, sizeof(word));
                if ((word & high_bits) != 0)
                    break;
                at += sizeof(word);
            }
            if (at == len)
                break;
        }
        if (!hs_utf8_step(state, (unsigned char)text[at++]))
            return false;
    }
    return true;
}

/* Whether all of the text is well-formed. */
HS_NODISCARD static inline bool hs_utf8_is_valid(const char *text, size_t len)
{
    hs_utf8_state_t state = { 0 };
    return hs_utf8_feed(&state, text, len) && state.missing == 0;
}
