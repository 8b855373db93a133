#include "os/hs_object.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/hs_shm.h"
#include "os/hs_sock.h"

bool hs_object_is_same(const void *a, const void *b)
{
    Dl_info info_a;
    Dl_info info_b;
    return dladdr(a, &info_a) != 0 && dladdr(b, &info_b) != 0 &&
           info_a.dli_fbase == info_b.dli_fbase;
}

typedef int (*mallctl_fn)(const char *name, void *old, size_t *old_len, void *new, size_t new_len);

static mallctl_fn find_mallctl(void)
{
    void *symbol = dlsym(RTLD_DEFAULT, "mallctl");
    /* ISO C has no cast from an object pointer to a function pointer; POSIX promises that the bits
     * fit. */
    mallctl_fn mallctl;
    memcpy(&mallctl, &symbol, sizeof(mallctl));
    return mallctl;
}

bool hs_object_memory(hs_memory_t *memory)
{
    mallctl_fn mallctl = find_mallctl();
    uint64_t epoch = 1; /* to write it brings the figures up to date */
    size_t allocated;
    size_t resident;
    size_t len = sizeof(allocated);
    if (mallctl == NULL || mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch)) != 0 ||
        mallctl("stats.allocated", &allocated, &len, NULL, 0) != 0 ||
        mallctl("stats.resident", &resident, &len, NULL, 0) != 0)
        return false;
    *memory = (hs_memory_t){ .allocated = allocated, .resident = resident };
    return true;
}

const char *hs_object_allocator(void)
{
    mallctl_fn mallctl = find_mallctl();
    if (mallctl == NULL)
        return "system";
    const char *version = NULL;
    size_t len = sizeof(version);
    if (mallctl("version", &version, &len, NULL, 0) != 0 || version == NULL)
        return "jemalloc";
    return version;
}

void hs_object_show_symbols(const void *address)
{
    Dl_info holder;
    if (dladdr(address, &holder) != 0 && holder.dli_fname != NULL) {
        void *object = dlopen(holder.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
        if (object != NULL)
            dlclose(object); /* the flag stays, as does the object */
    }
}

void *hs_object_open(const char *path, hs_errinfo_t *error)
{
    hs_object_show_symbols((const void *)(uintptr_t)hs_object_open);
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (object == NULL)
        hs_errinfo_set(error, HS_ERR_HANDLER, 0, "cannot load %s: %s", path, dlerror());
    return object;
}

static void *open_descriptor(int fd, hs_errinfo_t *error)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return hs_object_open(path, error);
}

static bool write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* A descriptor of a file without a name that holds what the memory behind `fd` does, or -1. */
static int copy_to_file(int fd)
{
    const char *directory = getenv("TMPDIR");
    char path[4096];
    const void *memory;
    size_t size = hs_shm_size(fd);
    if (size == 0 || hs_shm_map_read(fd, size, &memory) < 0)
        return -1;
    snprintf(path, sizeof(path), "%s/moonring-XXXXXX", directory != NULL ? directory : "/tmp");
    int file = mkstemp(path);
    if (file != -1) {
        (void)unlink(path);
        (void)hs_sock_set_cloexec(file);
    }
    if (file != -1 && !write_all(file, memory, size)) {
        hs_sock_close(file);
        file = -1;
    }
    hs_shm_unmap(memory, size);
    return file;
}

void *hs_object_open_memory(int fd, hs_errinfo_t *error)
{
    void *object = open_descriptor(fd, error);
    if (object != NULL)
        return object;
    int file = copy_to_file(fd);
    if (file == -1)
        return NULL;
    object = open_descriptor(file, error);
    hs_sock_close(file);
    return object;
}

void hs_object_close(void *object)
{
    if (object != NULL)
        dlclose(object);
}

void *hs_object_symbol(void *object, const char *name)
{
    return dlsym(object, name);
}
