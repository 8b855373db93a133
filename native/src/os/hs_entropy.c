#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* getentropy */
#endif

#include "os/hs_entropy.h"

#include <sys/random.h>
#include <unistd.h>

#include "os/hs_clock.h"

uint64_t hs_entropy(void)
{
    uint64_t bits;
    if (getentropy(&bits, sizeof(bits)) == 0)
        return bits;
    /* A sandbox may forbid the call. */
    return hs_clock_monotonic_ns() * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)getpid() << 32 ^
           (uintptr_t)&bits;
}
