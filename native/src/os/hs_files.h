/* Reading whole files and walking directories. Thread: any; both block. */
#pragma once

#include "base/hs_base.h"

/*
 * Reads a regular file of at most `max` bytes into new memory, to be freed with hs_free; a NUL
 * follows the `*len` bytes. 0 or -errno: -EFBIG for a larger one, -EINVAL if it is not a regular
 * file.
 */
HS_NODISCARD int hs_files_read(const char *path, size_t max, char **text, size_t *len);

/* The path of an open file, "a file" if the system does not tell. Does not block. */
void hs_files_path(int fd, char *path, size_t size);

/*
 * Calls `found` with the path, relative to `directory`, of every file below it whose name ends with
 * `ending`, until it returns false. Entries that begin with a dot and directories of the name
 * node_modules are left out; links are followed, but not into a directory being walked. Unreadable
 * directories are skipped too.
 *
 * 0; -ECANCELED if `found` returned false; -E2BIG after `entries_max` entries of any kind.
 */
HS_NODISCARD int hs_files_walk(const char *directory, const char *ending, size_t entries_max,
                               bool (*found)(void *context, const char *relative), void *context);
