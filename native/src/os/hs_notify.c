#include "os/hs_notify.h"

#include <errno.h>
#include <unistd.h>

#include "os/hs_sock.h"

#ifdef __linux__
#include <sys/eventfd.h>

int hs_notify_open(hs_notify_t *notify)
{
    notify->read_fd = notify->write_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return notify->read_fd == -1 ? -errno : 0;
}
#else
int hs_notify_open(hs_notify_t *notify)
{
    int fds[2];
    notify->read_fd = notify->write_fd = -1;
    if (pipe(fds) == -1)
        return -errno;
    notify->read_fd = fds[0];
    notify->write_fd = fds[1];
    for (int i = 0; i < 2; i++) {
        int failed = hs_sock_set_cloexec(fds[i]);
        if (failed == 0)
            failed = hs_sock_set_nonblock(fds[i]);
        if (failed < 0) {
            hs_notify_close(notify);
            return failed;
        }
    }
    return 0;
}
#endif

void hs_notify_close(hs_notify_t *notify)
{
    if (notify->write_fd != notify->read_fd)
        hs_sock_close(notify->write_fd);
    hs_sock_close(notify->read_fd);
    notify->read_fd = notify->write_fd = -1;
}

/* A full pipe or counter is readable already. */
void hs_notify_send(const hs_notify_t *notify)
{
    const uint64_t one = 1;
    while (write(notify->write_fd, &one, sizeof(one)) == -1 && errno == EINTR) {
    }
}

void hs_notify_take(const hs_notify_t *notify)
{
    uint64_t sink[16];
    ssize_t n;
    do {
        n = read(notify->read_fd, sink, sizeof(sink));
    } while ((n == -1 && errno == EINTR) || n == (ssize_t)sizeof(sink));
}
