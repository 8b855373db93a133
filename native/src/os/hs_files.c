#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* d_type */
#endif

#include "os/hs_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hs_alloc.h"

/* No source tree is deeper; links may make a directory seem endless. */
#define DEPTH_MAX 64

static int read_all(int fd, size_t max, char **text, size_t *len)
{
    struct stat info;
    if (fstat(fd, &info) == -1)
        return -errno;
    if (!S_ISREG(info.st_mode))
        return -EINVAL;
    if ((uintmax_t)info.st_size > max)
        return -EFBIG;
    size_t size = (size_t)info.st_size;
    char *memory = hs_alloc(size + 1);
    if (memory == NULL)
        return -ENOMEM;
    size_t done = 0;
    ssize_t n = 1;
    while (done < size && n != 0) {
        n = read(fd, memory + done, size - done);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1) {
            int error = errno;
            hs_free(memory);
            return -error;
        }
        done += (size_t)n;
    }
    memory[done] = '\0';
    *text = memory;
    *len = done;
    return 0;
}

int hs_files_read(const char *path, size_t max, char **text, size_t *len)
{
    /* O_NONBLOCK: not to wait for the writer of a pipe. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd == -1)
        return -errno;
    int result = read_all(fd, max, text, len);
    (void)close(fd);
    return result;
}

/* A directory that is being walked. */
typedef struct visit {
    const struct visit *parent;
    dev_t device;
    ino_t inode;
    unsigned depth;
} visit_t;

typedef struct walk {
    const char *ending;
    size_t entries_left;
    bool (*found)(void *context, const char *relative);
    void *context;
    size_t root_len; /* of path, up to and with the slash behind the directory */
    size_t len;
    char path[PATH_MAX];
} walk_t;

static bool ends_with(const char *text, const char *ending)
{
    size_t len = strlen(text);
    size_t ending_len = strlen(ending);
    return len > ending_len && strcmp(text + len - ending_len, ending) == 0;
}

static bool is_being_walked(const visit_t *visit, const struct stat *info)
{
    for (; visit != NULL; visit = visit->parent)
        if (visit->device == info->st_dev && visit->inode == info->st_ino)
            return true;
    return false;
}

static int walk_directory(walk_t *walk, const visit_t *visit);

/* walk->path is the entry. */
static int take_entry(walk_t *walk, const visit_t *visit, const struct dirent *entry)
{
    bool is_wanted = ends_with(entry->d_name, walk->ending);
    if (entry->d_type == DT_REG && !is_wanted)
        return 0;
    struct stat info;
    if (stat(walk->path, &info) == -1)
        return 0;
    if (S_ISREG(info.st_mode))
        return !is_wanted || walk->found(walk->context, walk->path + walk->root_len) ? 0
                                                                                     : -ECANCELED;
    if (!S_ISDIR(info.st_mode) || strcmp(entry->d_name, "node_modules") == 0 ||
        visit->depth == DEPTH_MAX || is_being_walked(visit, &info))
        return 0;
    visit_t next = { visit, info.st_dev, info.st_ino, visit->depth + 1 };
    return walk_directory(walk, &next);
}

static int walk_directory(walk_t *walk, const visit_t *visit)
{
    DIR *directory = opendir(walk->path);
    if (directory == NULL)
        return 0;
    int result = 0;
    size_t len = walk->len;
    const struct dirent *entry;
    while (result == 0 && (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if (walk->entries_left-- == 0) {
            result = -E2BIG;
            break;
        }
        size_t name_len = strlen(entry->d_name);
        if (len + 1 + name_len >= sizeof(walk->path))
            continue;
        walk->path[len] = '/';
        memcpy(walk->path + len + 1, entry->d_name, name_len + 1);
        walk->len = len + 1 + name_len;
        result = take_entry(walk, visit, entry);
        walk->len = len;
        walk->path[len] = '\0';
    }
    closedir(directory);
    return result;
}

int hs_files_walk(const char *directory, const char *ending, size_t entries_max,
                  bool (*found)(void *context, const char *relative), void *context)
{
    /* An empty one is what stands before the slash of a file in the root directory. */
    const char *root = *directory != '\0' ? directory : "/.";
    walk_t walk = {
        .ending = ending,
        .entries_left = entries_max,
        .found = found,
        .context = context,
        .len = strlen(root),
    };
    if (walk.len + 1 >= sizeof(walk.path))
        return -ENAMETOOLONG;
    memcpy(walk.path, root, walk.len + 1);
    walk.root_len = walk.len + 1;
    struct stat info;
    if (stat(root, &info) == -1)
        return -errno;
    visit_t visit = { NULL, info.st_dev, info.st_ino, 0 };
    return walk_directory(&walk, &visit);
}

void hs_files_path(int fd, char *path, size_t size)
{
    snprintf(path, size, "a file");
    if (fd < 0)
        return;
#ifdef __linux__
    char link[64];
    char found[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, found, sizeof(found) - 1);
    if (len > 0)
        snprintf(path, size, "%.*s", (int)len, found);
#elif defined(F_GETPATH)
    char found[PATH_MAX];
    if (fcntl(fd, F_GETPATH, found) == 0)
        snprintf(path, size, "%s", found);
#endif
}
