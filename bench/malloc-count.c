/*
 * A preloaded shim that counts the calls of malloc, calloc, realloc, posix_memalign and
 * aligned_alloc by thread and passes them on to glibc. The counters are in the shared mapping of
 * $MOONRING_MALLOC_COUNT_DIR/<pid>, for another process to read: SLOTS pairs of native
 * 64-bit words, thread id (0: unused) and calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLOTS 256

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

typedef struct slot {
    uint64_t thread;
    _Atomic uint64_t calls; /* written by its thread, read by another process */
} slot_t;

static slot_t *slots;
static _Atomic unsigned used;
static __thread slot_t *own __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void map_slots(void)
{
    const char *directory = getenv("MOONRING_MALLOC_COUNT_DIR");
    char path[PATH_MAX];
    if (directory == NULL)
        return;
    snprintf(path, sizeof(path), "%s/%ld", directory, (long)getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, SLOTS * sizeof(slot_t)) != 0)
        return;
    void *map = mmap(NULL, SLOTS * sizeof(slot_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    slots = map == MAP_FAILED ? NULL : map;
    close(fd);
}

static void count(void)
{
    if (slots == NULL)
        return;
    if (own == NULL) {
        unsigned index = atomic_fetch_add(&used, 1);
        if (index >= SLOTS)
            abort();
        own = &slots[index];
        own->thread = (uint64_t)syscall(SYS_gettid);
    }
    atomic_fetch_add_explicit(&own->calls, 1, memory_order_relaxed);
}

void *malloc(size_t size)
{
    count();
    return __libc_malloc(size);
}

void *calloc(size_t items, size_t size)
{
    count();
    return __libc_calloc(items, size);
}

void *realloc(void *memory, size_t size)
{
    count();
    return __libc_realloc(memory, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    *memory = aligned_alloc(alignment, size);
    return *memory == NULL ? ENOMEM : 0;
}
