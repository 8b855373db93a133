#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* memfd_create */
#endif

#include "os/hs_shm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/hs_clock.h"
#include "os/hs_sock.h"

static int open_nameless(void)
{
#if defined(__linux__)
    int fd = memfd_create("moonring-stats", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd == -1 ? -errno : fd;
#else
    char name[32]; /* macOS takes 31 characters */
    (void)snprintf(name, sizeof(name), "/moonring-%ld-%llx", (long)getpid(),
                   (unsigned long long)hs_clock_monotonic_ns() & 0xffffffffu);
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd == -1)
        return -errno;
    (void)shm_unlink(name);
    (void)hs_sock_set_cloexec(fd);
    return fd;
#endif
}

int hs_shm_new(size_t size)
{
    int fd = open_nameless();
    if (fd < 0)
        return fd;
    int failed = ftruncate(fd, (off_t)size) == -1 ? -errno : 0;
#if defined(__linux__)
    /* Memory that shrinks under a mapping is a SIGBUS in every process that has it. */
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

void hs_shm_unmap(void *memory, size_t size)
{
    (void)munmap(memory, size);
}
