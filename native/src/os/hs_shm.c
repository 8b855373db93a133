#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* memfd_create */
#endif

#include "os/hs_shm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/hs_clock.h"
#include "os/hs_sock.h"

#if defined(__linux__)
#ifndef MFD_EXEC
#define MFD_EXEC                                                                                   \
    0x0010U /* since Linux 6.3; some systems forbid executable memory files without                \
               it */
#endif

static int open_nameless(bool is_program)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create("moonring", flags | (is_program ? MFD_EXEC : 0));
    if (fd == -1 && errno == EINVAL && is_program)
        fd = memfd_create("moonring", flags);
    return fd == -1 ? -errno : fd;
}
#else
static int open_nameless(bool is_program)
{
    if (is_program)
        return -ENOTSUP;
    char name[32]; /* macOS takes 31 characters */
    (void)snprintf(name, sizeof(name), "/moonring-%ld-%llx", (long)getpid(),
                   (unsigned long long)hs_clock_monotonic_ns() & 0xffffffffu);
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd == -1)
        return -errno;
    (void)shm_unlink(name);
    (void)hs_sock_set_cloexec(fd);
    return fd;
}
#endif

int hs_shm_new(size_t size)
{
    int fd = open_nameless(false);
    if (fd < 0)
        return fd;
    int failed = ftruncate(fd, (off_t)size) == -1 ? -errno : 0;
#if defined(__linux__)
    /* Shrinking memory under a mapping causes a SIGBUS in every process that maps it. */
    if (!failed && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == -1)
        failed = -errno;
#endif
    if (failed)
        hs_sock_close(fd);
    return failed ? failed : fd;
}

size_t hs_shm_size(int fd)
{
    struct stat info;
    return fstat(fd, &info) == -1 || info.st_size < 0 ? 0 : (size_t)info.st_size;
}

int hs_shm_map(int fd, size_t size, void **memory)
{
    void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
        return -errno;
    *memory = mapped;
    return 0;
}

void hs_shm_unmap(const void *memory, size_t size)
{
    (void)munmap((void *)(uintptr_t)memory, size);
}

static int fill(int fd, const struct iovec *pieces, size_t count, size_t size)
{
    void *memory = NULL;
    if (ftruncate(fd, (off_t)size) == -1)
        return -errno;
    int result = hs_shm_map(fd, size, &memory);
    if (result < 0)
        return result;
    char *end = memory;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].iov_len > 0)
            memcpy(end, pieces[i].iov_base, pieces[i].iov_len);
        end += pieces[i].iov_len;
    }
    hs_shm_unmap(memory, size);
#if defined(__linux__)
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == -1)
        return -errno;
#endif
    return 0;
}

int hs_shm_store(const struct iovec *pieces, size_t count, bool is_program)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += pieces[i].iov_len;
    if (size == 0)
        return -EINVAL;
    int fd = open_nameless(is_program);
    if (fd < 0)
        return fd;
    int result = fill(fd, pieces, count, size);
    if (result < 0)
        hs_sock_close(fd);
    return result < 0 ? result : fd;
}

int hs_shm_map_read(int fd, size_t size, const void **memory)
{
    void *mapped = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
        return -errno;
    *memory = mapped;
    return 0;
}
