/* UTF-8: where a well-formed sequence ends. Pure; any thread. */
#pragma once

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
