#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* preadv2, readahead */
#endif

#include "os/hs_page_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef RWF_NOWAIT
/* One page is checked per this many bytes: reads are read ahead. */
#define SAMPLE_BYTES ((size_t)256 * 1024)

static ptrdiff_t read_now(int fd, char *to, size_t len, uint64_t offset)
{
    struct iovec iov = { to, len };
    for (;;) {
        ssize_t n = preadv2(fd, &iov, 1, (off_t)offset, RWF_NOWAIT);
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return -errno;
    }
}
#endif

static ptrdiff_t read_waiting(int fd, char *to, size_t len, uint64_t offset)
{
    for (;;) {
        ssize_t n = pread(fd, to, len, (off_t)offset);
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return -errno;
    }
}

ptrdiff_t hs_page_cache_read(int fd, char *to, size_t len, uint64_t offset)
{
#ifdef RWF_NOWAIT
    ptrdiff_t n = read_now(fd, to, len, offset);
    if (n != -EOPNOTSUPP && n != -ENOSYS && n != -EINVAL)
        return n;
#endif
    return read_waiting(fd, to, len, offset);
}

size_t hs_page_cache_resident(int fd, uint64_t offset, size_t len)
{
#ifdef RWF_NOWAIT
    char byte;
    for (size_t at = 0; at < len;) {
        ptrdiff_t n = read_now(fd, &byte, 1, offset + at);
        if (n == -EAGAIN)
            return at;
        if (n < 0)
            return len;
        if (at == len - 1)
            break;
        at = hs_min(at + SAMPLE_BYTES, len - 1);
    }
#else
    (void)fd;
    (void)offset;
#endif
    return len;
}

void hs_page_cache_load(int fd, uint64_t offset, size_t len)
{
#ifdef RWF_NOWAIT
    (void)readahead(fd, (off_t)offset, len);
#endif
    /* Waits for what readahead only requested. */
    char piece[16 * 1024];
    for (size_t at = 0; at < len;) {
        ptrdiff_t n = read_waiting(fd, piece, hs_min(sizeof(piece), len - at), offset + at);
        if (n <= 0)
            return;
        at += (size_t)n;
    }
}
