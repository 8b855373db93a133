/*
 * Compares and exchanges two neighbouring words at once, in memory that processes share.
 * HS_HAS_CAS16 is 0 where the processor has no such instruction, or we do not know it.
 *
 * Written as assembler, because compilers call a library for 16 bytes, whose locks are of one
 * process.
 */
#pragma once

#include <stdatomic.h>

#include "base/hs_base.h"

/* Sixteen bytes at a multiple of 16. Both halves may also be read and written alone. */
typedef struct hs_pair {
    _Alignas(16) _Atomic uint64_t low;
    _Atomic uint64_t high;
} hs_pair_t;

#if defined(__x86_64__)
#define HS_HAS_CAS16 1
/* True: it held (*low, *high) and now holds (new_low, new_high). False: *low and *high are set to
 * its current value. A full barrier. */
static inline bool hs_cas16(hs_pair_t *pair, uint64_t *low, uint64_t *high, uint64_t new_low,
                            uint64_t new_high)
{
    bool done;
    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@ccz"(done), "+m"(*pair), "+a"(*low), "+d"(*high)
                     : "b"(new_low), "c"(new_high)
                     : "memory");
    return done;
}
#elif defined(__aarch64__)
#define HS_HAS_CAS16 1
static inline bool hs_cas16(hs_pair_t *pair, uint64_t *low, uint64_t *high, uint64_t new_low,
                            uint64_t new_high)
{
    uint64_t seen_low;
    uint64_t seen_high;
    uint32_t failed;
    do {
        __asm__ volatile("ldaxp %0, %1, %2"
                         : "=&r"(seen_low), "=&r"(seen_high)
                         : "Q"(*pair)
                         : "memory");
        bool is_same = seen_low == *low && seen_high == *high;
        /* The two halves read are one value only if storing it back succeeds. */
        __asm__ volatile("stlxp %w0, %2, %3, %1"
                         : "=&r"(failed), "=Q"(*pair)
                         : "r"(is_same ? new_low : seen_low), "r"(is_same ? new_high : seen_high)
                         : "memory");
        if (!failed && is_same)
            return true;
    } while (failed);
    *low = seen_low;
    *high = seen_high;
    return false;
}
#else
#define HS_HAS_CAS16 0
static inline bool hs_cas16(hs_pair_t *pair, uint64_t *low, uint64_t *high, uint64_t new_low,
                            uint64_t new_high)
{
    (void)pair, (void)low, (void)high, (void)new_low, (void)new_high;
    return false;
}
#endif
