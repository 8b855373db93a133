/*
 * Common definitions for all floors: assertions, attributes, small arithmetic.
 *
 * HS_ASSERT states an invariant of our own code. It is compiled in when HS_DEBUG is defined (the
 * debug and sanitizer presets) and has no side effect. External input is never asserted: it is
 * checked and handled.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HS_NODISCARD __attribute__((warn_unused_result))
#define HS_PRINTF(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))
#define HS_LIKELY(condition) __builtin_expect(!!(condition), 1)
#define HS_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#define HS_CACHE_LINE 64

/* Out of the way of the caller's code, whose registers it would take. */
#define HS_NOINLINE __attribute__((noinline))

/* Into each caller, of which one is on the way of every request. */
#define HS_ALWAYS_INLINE inline __attribute__((always_inline))

/* The struct that holds `member` at address `pointer`. */
#define HS_CONTAINER_OF(pointer, type, member)                                                     \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#ifdef HS_DEBUG
#include <stdio.h>
#include <stdlib.h>
#define HS_ASSERT(condition)                                                                       \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, #condition);      \
            abort();                                                                               \
        }                                                                                          \
    } while (0)
#else
#define HS_ASSERT(condition) ((void)sizeof(condition))
#endif

static inline size_t hs_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline bool hs_is_power_of_two(size_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}
