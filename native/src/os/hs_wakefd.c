#include "os/hs_wakefd.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "os/hs_sock.h"

#if defined(__linux__)
#include <sys/eventfd.h>

int hs_wakefd_new(int fds[HS_WAKEFD_FDS])
{
    fds[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fds[0] == -1 ? -errno : 0;
}

void hs_wakefd_seen(const int fds[HS_WAKEFD_FDS])
{
    (void)fds; /* edge-triggered watching needs no read, and the counter never overflows */
}
#else
int hs_wakefd_new(int fds[HS_WAKEFD_FDS])
{
    if (pipe(fds) == -1)
        return -errno;
    for (int i = 0; i < HS_WAKEFD_FDS; i++) {
        (void)hs_sock_set_cloexec(fds[i]);
        (void)hs_sock_set_nonblock(fds[i]);
    }
    return 0;
}

void hs_wakefd_seen(const int fds[HS_WAKEFD_FDS])
{
    char bytes[64];
    while (read(fds[0], bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes))
        continue;
}
#endif

void hs_wakefd_close(int fds[HS_WAKEFD_FDS])
{
    for (int i = 0; i < HS_WAKEFD_FDS; i++) {
        hs_sock_close(fds[i]);
        fds[i] = -1;
    }
}

void hs_wakefd_signal(const int fds[HS_WAKEFD_FDS])
{
    uint64_t one = 1;
    /* A full pipe wakes as well. */
    ssize_t written = write(fds[HS_WAKEFD_FDS - 1], &one, sizeof(one));
    (void)written;
}

void hs_wakefd_wait(const int fds[HS_WAKEFD_FDS], int timeout_ms)
{
    struct pollfd watched = { .fd = fds[0], .events = POLLIN };
    uint64_t count;
    if (poll(&watched, 1, timeout_ms) > 0)
        while (read(fds[0], &count, sizeof(count)) > 0)
            continue;
}
