#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_PATH, syscall */
#endif

#include "os/hs_beneath.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/openat2.h>
#include <sys/syscall.h>
#endif

/* O_NONBLOCK: a FIFO is not waited for. O_NOCTTY: a terminal does not become this process's. */
#define READ_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
/* A directory was renamed while ".." was resolved: EAGAIN. */
#define RACES_MAX 8

#ifdef O_PATH
#define ROOT_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)
#else
#define ROOT_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#endif

#if defined(__linux__) && defined(SYS_openat2)
static int open_beneath(int directory, const char *name)
{
    struct open_how how = { .flags = READ_FLAGS,
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    for (int tries = 0;; tries++) {
        long fd = syscall(SYS_openat2, directory, name, &how, sizeof(how));
        if (fd >= 0)
            return (int)fd;
        if (errno != EINTR && (errno != EAGAIN || tries == RACES_MAX))
            return -errno;
    }
}
#else
static int open_beneath(int directory, const char *name)
{
    (void)directory;
    (void)name;
    return -ENOSYS;
}
#endif

/* EPERM: the result in a sandbox that does not know the call. */
static bool lacks_openat2(int directory)
{
    int fd = open_beneath(directory, ".");
    hs_file_close(fd);
    return fd == -ENOSYS || fd == -EPERM;
}

int hs_beneath_open_root(hs_beneath_t *root, const char *path)
{
    root->fd = open(path, ROOT_FLAGS);
    if (root->fd == -1)
        return -errno;
    root->by_component = lacks_openat2(root->fd);
    return 0;
}

void hs_beneath_close_root(hs_beneath_t *root)
{
    hs_file_close(root->fd);
    root->fd = -1;
}

/* The next component of `*name`, which advances past it; false: invalid. */
static bool take_component(const char **name, char component[NAME_MAX + 1])
{
    size_t len = strcspn(*name, "/");
    if (len == 0 || len > NAME_MAX)
        return false;
    memcpy(component, *name, len);
    component[len] = '\0';
    *name += len;
    *name += strspn(*name, "/");
    return strcmp(component, "..") != 0;
}

/* For systems that cannot confine names: one component after the other, without links. */
static int open_by_component(int directory, const char *name)
{
    char component[NAME_MAX + 1];
    if (name[0] == '/')
        return -EXDEV;
    int at = openat(directory, ".", READ_FLAGS | O_DIRECTORY);
    while (at != -1 && *name != '\0') {
        if (!take_component(&name, component)) {
            hs_file_close(at);
            return -EXDEV;
        }
        int flags = READ_FLAGS | O_NOFOLLOW | (*name != '\0' ? O_DIRECTORY : 0);
        int next = openat(at, component, flags);
        int error = errno;
        hs_file_close(at);
        at = next;
        errno = error;
    }
    return at == -1 ? -errno : at;
}

int hs_beneath_open(const hs_beneath_t *root, const char *name)
{
    if (root->fd == -1) {
        int fd = open(name, READ_FLAGS);
        return fd == -1 ? -errno : fd;
    }
    if (root->by_component)
        return open_by_component(root->fd, name);
    return open_beneath(root->fd, name[0] == '\0' ? "." : name);
}

static void describe(const struct stat *from, hs_file_info_t *info)
{
#ifdef __APPLE__
    struct timespec modified = from->st_mtimespec;
#else
    struct timespec modified = from->st_mtim;
#endif
    *info = (hs_file_info_t){
        .kind = S_ISREG(from->st_mode)   ? HS_FILE_REGULAR
                : S_ISDIR(from->st_mode) ? HS_FILE_DIRECTORY
                                         : HS_FILE_OTHER,
        .device = (uint64_t)from->st_dev,
        .inode = (uint64_t)from->st_ino,
        .size = (uint64_t)from->st_size,
        .modified_ns = (int64_t)modified.tv_sec * 1000000000 + modified.tv_nsec,
    };
}

int hs_file_stat(int fd, hs_file_info_t *info)
{
    struct stat found;
    if (fstat(fd, &found) == -1)
        return -errno;
    describe(&found, info);
    return 0;
}

int hs_file_stat_path(const char *path, hs_file_info_t *info)
{
    struct stat found;
    if (stat(path, &found) == -1)
        return -errno;
    describe(&found, info);
    return 0;
}

void hs_file_close(int fd)
{
    if (fd >= 0)
        (void)close(fd);
}

int hs_file_duplicate(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return copy == -1 ? -errno : copy;
}

/* A link counts as its target, which must be beneath the root. */
static int describe_entry(const hs_beneath_t *root, int directory, const char *path,
                          const char *entry, hs_file_info_t *info)
{
    struct stat found;
    if (fstatat(directory, entry, &found, AT_SYMLINK_NOFOLLOW) == -1)
        return -errno;
    if (!S_ISLNK(found.st_mode)) {
        describe(&found, info);
        return 0;
    }
    char name[PATH_MAX];
    size_t path_len = strlen(path);
    size_t entry_len = strlen(entry);
    if (path_len + entry_len + 2 > sizeof(name))
        return -ENAMETOOLONG;
    memcpy(name, path, path_len);
    if (path_len > 0)
        name[path_len++] = '/';
    memcpy(name + path_len, entry, entry_len + 1);
    int fd = hs_beneath_open(root, name);
    if (fd < 0)
        return fd;
    int result = hs_file_stat(fd, info);
    hs_file_close(fd);
    return result;
}

int hs_beneath_list(const hs_beneath_t *root, const char *name, hs_entry_fn take, void *context)
{
    int fd = hs_beneath_open(root, name);
    if (fd < 0)
        return fd;
    DIR *directory = fdopendir(fd);
    if (directory == NULL) {
        int error = errno;
        hs_file_close(fd);
        return -error;
    }
    const struct dirent *entry;
    hs_file_info_t info;
    while ((entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            describe_entry(root, fd, name, entry->d_name, &info) < 0)
            continue;
        if (!take(context, entry->d_name, &info))
            break;
    }
    (void)closedir(directory);
    return 0;
}
