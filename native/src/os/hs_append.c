#include "os/hs_append.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "os/hs_nowait.h"
#include "os/hs_sock.h"

/* The mode of an inherited descriptor is shared with other processes; that of a newly opened
 * description of the same terminal is not. -1: it is not a terminal, or has no name here. */
static int open_terminal_without_waiting(int inherited)
{
    char name[128];
    if (ttyname_r(inherited, name, sizeof(name)) != 0)
        return -1;
    return open(name, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

int hs_append_open(hs_append_t *append, const char *path, int inherited, hs_errinfo_t *error)
{
    *append = (hs_append_t){ .fd = inherited, .path = path };
    if (path == NULL) {
        int fd = open_terminal_without_waiting(inherited);
        append->is_owned = fd != -1;
        if (append->is_owned)
            append->fd = fd;
    } else {
        /* Non-blocking: opening a FIFO without a reader would block this thread indefinitely. */
        append->fd =
            open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
        if (append->fd == -1)
            return hs_errinfo_set(error, HS_ERR_SYSTEM, errno, "cannot open the log %.200s: %s",
                                  path,
                                  errno == ENXIO ? "no process reads this pipe; start its reader "
                                                   "first"
                                                 : strerror(errno));
        append->is_owned = true;
    }
    append->piece = hs_nowait_piece(append->fd);
    return HS_OK;
}

void hs_append_adopt(hs_append_t *append, int fd)
{
    *append = (hs_append_t){ .fd = fd, .piece = hs_nowait_piece(fd) };
}

int hs_append_reopen(hs_append_t *append, hs_errinfo_t *error)
{
    if (append->path == NULL || append->fd == -1)
        return HS_OK;
    hs_append_t next;
    int result = hs_append_open(&next, append->path, -1, error);
    if (result != HS_OK)
        return result;
    hs_append_close(append);
    *append = next;
    return HS_OK;
}

static size_t whole_lines(const char *data, size_t len, size_t piece)
{
    if (len <= piece)
        return len;
    size_t end = piece;
    while (end > 0 && data[end - 1] != '\n')
        end--;
    return end > 0 ? end : piece;
}

/* Bytes written, perhaps 0, or -errno. */
static ptrdiff_t write_piece(hs_append_t *append, const char *data, size_t len)
{
    for (;;) {
        ssize_t written = hs_nowait_write(append->fd, append->piece, data, len);
        if (written > 0)
            append->is_mid_line = data[written - 1] != '\n';
        if (written >= 0)
            return written;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

ptrdiff_t hs_append_lines(hs_append_t *append, const char *data, size_t len)
{
    ptrdiff_t written = append->owes_newline ? write_piece(append, "\n", 1) : 1;
    size_t done = 0;
    if (written > 0)
        append->owes_newline = false;
    while (written > 0 && done < len) {
        size_t piece = whole_lines(data + done, len - done, append->piece);
        written = write_piece(append, data + done, piece);
        if (written > 0)
            done += (size_t)written;
    }
    if (written >= 0 || done > 0)
        return (ptrdiff_t)done;
    append->owes_newline = append->is_mid_line;
    return written;
}

void hs_append_close(hs_append_t *append)
{
    if (append->is_owned)
        hs_sock_close(append->fd);
    append->fd = -1;
}
