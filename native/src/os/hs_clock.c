#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "os/hs_clock.h"

#include <time.h>

#include "base/hs_base.h"

#define NS_PER_S ((int64_t)1000000000)
#define NS_PER_MS ((int64_t)1000000)
/* Two clocks were read at the same time: the thread was not interrupted in between. */
#define AT_ONCE_NS (100 * 1000)
#define TRIES 4

static struct timespec hs_clock_read(clockid_t clock)
{
    struct timespec now = { 0, 0 };
    int failed = clock_gettime(clock, &now);
    HS_ASSERT(!failed); /* both clocks exist on every system we build for */
    (void)failed;
    return now;
}

static int64_t ns_of(struct timespec time)
{
    return (int64_t)time.tv_sec * NS_PER_S + (int64_t)time.tv_nsec;
}

uint64_t hs_clock_monotonic_ns(void)
{
    return (uint64_t)ns_of(hs_clock_read(CLOCK_MONOTONIC));
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

int64_t hs_clock_real_offset_ms(int64_t before)
{
    int64_t offset_ns = 0;
    for (int i = 0; i < TRIES; i++) {
        int64_t begun_ns = ns_of(hs_clock_read(CLOCK_MONOTONIC));
        int64_t real_ns = ns_of(hs_clock_read(CLOCK_REALTIME));
        int64_t ended_ns = ns_of(hs_clock_read(CLOCK_MONOTONIC));
        offset_ns = real_ns - ended_ns;
        if (ended_ns - begun_ns < AT_ONCE_NS)
            break;
    }
    int64_t offset_ms = offset_ns / NS_PER_MS;
    /* Whole milliseconds: results near a boundary would alternate between two. */
    return offset_ms == before + 1 ? before : offset_ms;
}
