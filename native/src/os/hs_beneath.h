/*
 * Opens files below a directory, so that no name leads out of it: neither "..", nor an absolute
 * one, nor a symbolic link. Linux 5.6 and newer enforce that (openat2 with RESOLVE_BENEATH), and
 * links that stay below the directory work. Elsewhere each component is opened separately, and no
 * link is followed.
 *
 * Calls block while directories are read from a disk.
 */
#pragma once

#include "base/hs_base.h"

/* owner: its opener; its calls may run on several threads */
typedef struct hs_beneath {
    int fd;            /* the directory; -1: names are ordinary paths, and nothing confines them */
    bool by_component; /* the system has no openat2 */
} hs_beneath_t;

typedef enum hs_file_kind {
    HS_FILE_REGULAR,
    HS_FILE_DIRECTORY,
    HS_FILE_OTHER, /* devices, pipes, sockets */
} hs_file_kind_t;

/* The identity of a file, to detect changes. */
typedef struct hs_file_info {
    hs_file_kind_t kind;
    uint64_t device;
    uint64_t inode;
    uint64_t size;
    int64_t modified_ns; /* since 1970 */
} hs_file_info_t;

/* 0, or -errno. */
HS_NODISCARD int hs_beneath_open_root(hs_beneath_t *root, const char *path);
void hs_beneath_close_root(hs_beneath_t *root);

/* The file may be of any type; a FIFO without a writer is opened at once. `name` is relative, "" or
 * "." the directory itself. A descriptor for reading, or -errno: EXDEV or ELOOP for a name that
 * leads out. */
HS_NODISCARD int hs_beneath_open(const hs_beneath_t *root, const char *name);

/* 0, or -errno. */
HS_NODISCARD int hs_file_stat(int fd, hs_file_info_t *info);
/* The same for a path, links followed. */
HS_NODISCARD int hs_file_stat_path(const char *path, hs_file_info_t *info);

static inline bool hs_file_is_same(const hs_file_info_t *a, const hs_file_info_t *b)
{
    return a->kind == b->kind && a->device == b->device && a->inode == b->inode &&
           a->size == b->size && a->modified_ns == b->modified_ns;
}

void hs_file_close(int fd);
/* Another descriptor of the same file, or -errno. */
HS_NODISCARD int hs_file_duplicate(int fd);

typedef bool (*hs_entry_fn)(void *context, const char *name, const hs_file_info_t *info);

/* The entries of a directory in the system's order, without "." and "..", until `take` returns
 * false. Links that lead out of the directory are left out. 0, or -errno. */
HS_NODISCARD int hs_beneath_list(const hs_beneath_t *root, const char *name, hs_entry_fn take,
                                 void *context);
