/*
 * A preloaded shim that counts calls of malloc, calloc, realloc, posix_memalign and aligned_alloc,
 * by thread, and passes them on to the allocator behind it. The counters live in the file
 * $MOONRING_MALLOC_COUNT_DIR/<pid>, mapped shared, so that another process reads them while this
 * one runs. Without the variable it only passes calls on.
 *
 * File: SLOT_CAP slots of two native-endian 64-bit words, thread id and calls; a slot with thread
 * id 0 is free. Threads beyond SLOT_CAP share the last slot, whose thread id is then UINT64_MAX.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLOT_CAP 256
#define EARLY_CAP 65536

typedef struct {
    _Atomic uint64_t thread_id;
    _Atomic uint64_t
        calls; /* written by its thread (the last slot: by several), read by another process */
} slot_t;

/* Interposed functions have no argument to carry a context, so this shim has globals. */
static slot_t *slots;
static _Atomic unsigned slots_used;
static __thread slot_t *own_slot __attribute__((tls_model("initial-exec")));

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void (*next_free)(void *);
static int (*next_posix_memalign)(void **, size_t, size_t);
static void *(*next_aligned_alloc)(size_t, size_t);

/* dlsym may allocate before the real functions are known: these few bytes are never freed. */
static char early[EARLY_CAP] __attribute__((aligned(16)));
static size_t early_used;

static void *early_alloc(size_t size)
{
    size_t rounded = (size + 15) & ~(size_t)15;
    if (rounded > EARLY_CAP - early_used)
        abort();
    void *memory = early + early_used;
    early_used += rounded;
    return memory;
}

static int is_early(const void *memory)
{
    uintptr_t address = (uintptr_t)memory;
    return address >= (uintptr_t)early && address < (uintptr_t)early + EARLY_CAP;
}

static void *find_next(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);
    if (function == NULL)
        abort();
    return function;
}

static void map_slots(void)
{
    const char *dir = getenv("MOONRING_MALLOC_COUNT_DIR");
    if (dir == NULL)
        return;
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/%ld", dir, (long)getpid()) >= (int)sizeof(path))
        return;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (ftruncate(fd, SLOT_CAP * sizeof(slot_t)) == 0) {
        void *map =
            mmap(NULL, SLOT_CAP * sizeof(slot_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        slots = map == MAP_FAILED ? NULL : map;
    }
    close(fd);
}

/* A forked child that does not exec would count into its parent's file. */
static void forget_slots(void)
{
    slots = NULL;
    own_slot = NULL;
}

/* Other libraries allocate before the constructors of this one run, so the first call resolves, on
 * one thread still. */
static int ready(void)
{
    static int resolving;
    if (next_malloc != NULL)
        return 1;
    if (resolving)
        return 0;
    resolving = 1;
    int saved_errno = errno;
    next_calloc = find_next("calloc");
    next_realloc = find_next("realloc");
    next_free = find_next("free");
    next_posix_memalign = find_next("posix_memalign");
    next_aligned_alloc = find_next("aligned_alloc");
    next_malloc = find_next("malloc");
    errno = saved_errno;
    return 1;
}

__attribute__((constructor)) static void start(void)
{
    map_slots();
    pthread_atfork(NULL, NULL, forget_slots);
}

static slot_t *claim_slot(void)
{
    unsigned index = atomic_fetch_add_explicit(&slots_used, 1, memory_order_relaxed);
    uint64_t thread_id = (uint64_t)syscall(SYS_gettid);
    if (index >= SLOT_CAP - 1) {
        index = SLOT_CAP - 1;
        thread_id = UINT64_MAX;
    }
    atomic_store_explicit(&slots[index].thread_id, thread_id, memory_order_relaxed);
    return &slots[index];
}

static void count(void)
{
    if (slots == NULL)
        return;
    if (own_slot == NULL)
        own_slot = claim_slot();
    atomic_fetch_add_explicit(&own_slot->calls, 1, memory_order_relaxed);
}

void *malloc(size_t size)
{
    if (!ready())
        return early_alloc(size);
    count();
    return next_malloc(size);
}

void *calloc(size_t items, size_t size)
{
    if (!ready())
        return early_alloc(items * size);
    count();
    return next_calloc(items, size);
}

void *realloc(void *memory, size_t size)
{
    if (!ready() || is_early(memory)) {
        void *moved = malloc(size);
        if (moved != NULL && memory != NULL) {
            size_t available = (size_t)(early + EARLY_CAP - (char *)memory);
            memcpy(moved, memory, size < available ? size : available);
        }
        return moved;
    }
    count();
    return next_realloc(memory, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    if (!ready())
        return ENOMEM;
    count();
    return next_posix_memalign(memory, alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    if (!ready())
        return NULL;
    count();
    return next_aligned_alloc(alignment, size);
}

void free(void *memory)
{
    if (memory == NULL || is_early(memory))
        return;
    if (ready())
        next_free(memory);
}
