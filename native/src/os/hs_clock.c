#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "os/hs_clock.h"

#include <time.h>

#include "base/hs_base.h"

static struct timespec hs_clock_read(clockid_t clock)
{
    struct timespec now = { 0, 0 };
    int failed = clock_gettime(clock, &now);
    HS_ASSERT(!failed); /* both clocks exist on every system we build for */
    (void)failed;
    return now;
}

uint64_t hs_clock_monotonic_ns(void)
{
    struct timespec now = hs_clock_read(CLOCK_MONOTONIC);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t hs_clock_monotonic_ms(void)
{
    struct timespec now = hs_clock_read(CLOCK_MONOTONIC);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

int64_t hs_clock_realtime_s(void)
{
    return (int64_t)hs_clock_read(CLOCK_REALTIME).tv_sec;
}

int64_t hs_clock_realtime_ms(void)
{
    struct timespec now = hs_clock_read(CLOCK_REALTIME);
    return (int64_t)now.tv_sec * 1000 + (int64_t)(now.tv_nsec / 1000000);
}
