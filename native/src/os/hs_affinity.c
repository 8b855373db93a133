#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_setaffinity */
#endif

#include "os/hs_affinity.h"

#include <errno.h>
#if defined(__linux__)
#include <sched.h>
#include <unistd.h>
#endif

#if defined(__linux__)
int hs_os_pin(unsigned index)
{
    cpu_set_t allowed;
    /* The main thread's set: this thread's may have been narrowed before. */
    if (sched_getaffinity(getpid(), sizeof(allowed), &allowed) == -1)
        return -errno;
    int count = CPU_COUNT(&allowed);
    if (count == 0)
        return -EINVAL;
    unsigned left = index % (unsigned)count;
    unsigned cpu = 0;
    while (!CPU_ISSET(cpu, &allowed) || left-- > 0)
        cpu++;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    return sched_setaffinity(0, sizeof(one), &one) == -1 ? -errno : (int)cpu;
}

void hs_os_unpin(void)
{
    cpu_set_t allowed;
    if (sched_getaffinity(getpid(), sizeof(allowed), &allowed) == 0)
        (void)sched_setaffinity(0, sizeof(allowed), &allowed);
}
#else
int hs_os_pin(unsigned index)
{
    (void)index;
    return -ENOTSUP;
}

void hs_os_unpin(void)
{
}
#endif
