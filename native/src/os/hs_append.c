#include "os/hs_append.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/hs_sock.h"

/* Linux's PIPE_BUF; others promise less and then may mix long lines. */
#define PIECE_MAX 4096

static bool may_be_full(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 &&
           (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode) || S_ISCHR(info.st_mode));
}

int hs_append_open(hs_append_t *append, const char *path, hs_errinfo_t *error)
{
    *append = (hs_append_t){ .fd = STDOUT_FILENO, .path = path };
    if (path != NULL) {
        append->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
        if (append->fd == -1)
            return hs_errinfo_set(error, HS_ERR_SYSTEM, errno, "cannot open the log %.200s: %s",
                                  path, strerror(errno));
        append->is_owned = true;
    }
    append->may_be_full = may_be_full(append->fd);
    return HS_OK;
}

void hs_append_adopt(hs_append_t *append, int fd)
{
    *append = (hs_append_t){ .fd = fd, .may_be_full = may_be_full(fd) };
}

int hs_append_reopen(hs_append_t *append, hs_errinfo_t *error)
{
    if (append->path == NULL || append->fd == -1)
        return HS_OK;
    hs_append_t next;
    int result = hs_append_open(&next, append->path, error);
    if (result != HS_OK)
        return result;
    hs_append_close(append);
    *append = next;
    return HS_OK;
}

/* What is writable takes PIPE_BUF bytes without waiting, whatever its mode. */
static bool has_room(int fd)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLOUT };
    return poll(&poll_fd, 1, 0) != 0;
}

static size_t whole_lines(const char *data, size_t len)
{
    if (len <= PIECE_MAX)
        return len;
    size_t end = PIECE_MAX;
    while (end > 0 && data[end - 1] != '\n')
        end--;
    return end > 0 ? end : PIECE_MAX;
}

ptrdiff_t hs_append_lines(const hs_append_t *append, const char *data, size_t len)
{
    size_t done = 0;
    while (done < len) {
        size_t piece = append->may_be_full ? whole_lines(data + done, len - done) : len - done;
        if (append->may_be_full && !has_room(append->fd))
            break;
        ssize_t written = write(append->fd, data + done, piece);
        if (written == -1 && errno == EINTR)
            continue;
        if (written == -1 && errno == EAGAIN)
            break;
        if (written == -1)
            return -errno;
        done += (size_t)written;
    }
    return (ptrdiff_t)done;
}

void hs_append_close(hs_append_t *append)
{
    if (append->is_owned)
        hs_sock_close(append->fd);
    append->fd = -1;
}
