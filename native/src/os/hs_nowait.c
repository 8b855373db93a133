#include "os/hs_nowait.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* Linux's PIPE_BUF; others promise less and then may mix long lines. */
#define PIPE_PIECE 4096
/* Linux calls a terminal writable while fewer bytes than this wait in it. */
#define TERMINAL_PIECE 256

size_t hs_nowait_piece(int fd)
{
    struct stat info;
    if (fstat(fd, &info) == -1)
        return SIZE_MAX;
    bool may_wait = (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
    if (S_ISCHR(info.st_mode))
        return may_wait && isatty(fd) == 1 ? TERMINAL_PIECE : PIPE_PIECE;
    return S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode) ? PIPE_PIECE : SIZE_MAX;
}

bool hs_nowait_has_room(int fd, int wait_ms)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
    return poll(&poll_fd, 1, wait_ms) != 0;
}

ssize_t hs_nowait_write(int fd, size_t piece, const char *data, size_t len)
{
    if (piece == SIZE_MAX)
        return write(fd, data, len);
    ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n != -1 || errno != ENOTSOCK)
        return n;
    if (hs_nowait_has_room(fd, 0))
        return write(fd, data, hs_min(len, piece));
    errno = EAGAIN;
    return -1;
}
