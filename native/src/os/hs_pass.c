#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* MSG_CMSG_CLOEXEC */
#endif

#include "os/hs_pass.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/hs_sock.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: SO_NOSIGPIPE is set on every socket instead */
#endif
#ifndef MSG_CMSG_CLOEXEC
#define MSG_CMSG_CLOEXEC 0 /* macOS: set below */
#endif

/* Room for the control message, aligned as one. */
typedef union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(HS_PASS_FDS * sizeof(int))];
} control_t;

int hs_pass_send(int fd, struct iovec *iov, int iov_count, const int *fds, size_t fd_count)
{
    HS_ASSERT(fd_count <= HS_PASS_FDS);
    control_t control;
    memset(&control, 0, sizeof(control));
    struct msghdr message = { 0 };
    message.msg_iov = iov;
    message.msg_iovlen = (__typeof__(message.msg_iovlen))iov_count;
    if (fd_count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen =
            (__typeof__(message.msg_controllen))CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *rights = &control.align; /* the first one */
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = (__typeof__(rights->cmsg_len))CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, fd_count * sizeof(int));
    }
    ssize_t sent;
    do
        sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent == -1 && errno == EINTR);
    if (sent >= 0)
        return 0;
    return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

static void take_rights(struct msghdr *message, hs_passed_t *out)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = ((size_t)c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count && out->fd_count < HS_PASS_FDS; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (MSG_CMSG_CLOEXEC == 0)
                (void)hs_sock_set_cloexec(fd);
            out->fds[out->fd_count++] = fd;
        }
    }
}

int hs_pass_recv(int fd, void *data, size_t size, hs_passed_t *out)
{
    control_t control;
    struct iovec iov = { data, size };
    struct msghdr message = { 0 };
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof(control.bytes);
    ssize_t received;
    do
        received = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (received == -1 && errno == EINTR);
    if (received == -1)
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    out->len = (size_t)received;
    out->fd_count = 0;
    out->is_cut = (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0;
    take_rights(&message, out);
    return 0;
}

bool hs_pass_is_empty(int fd)
{
    int bytes = 0; /* no message is empty */
    return ioctl(fd, FIONREAD, &bytes) == 0 && bytes == 0;
}

size_t hs_pass_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur == RLIM_INFINITY)
        return SIZE_MAX;
    return (size_t)limit.rlim_cur;
}
