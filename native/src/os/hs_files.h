/* Reading whole files and walking directories. Thread: any; both block. */
#pragma once

#include "base/hs_base.h"

/*
 * Reads a regular file of at most `max` bytes into memory of its own, which hs_free frees; a NUL
 * follows the `*len` bytes. 0 or -errno: -EFBIG for a larger one, -EINVAL for what is no file.
 */
HS_NODISCARD int hs_files_read(const char *path, size_t max, char **text, size_t *len);

/*
 * Calls `found` with the path, relative to `directory`, of every file below it whose name ends with
 * `ending`, until it returns false. Entries that begin with a dot and directories of the name
 * node_modules are left out; links are followed, but not into a directory that is being walked.
 * Directories that cannot be read are left out too.
 *
 * 0; -ECANCELED if `found` returned false; -E2BIG after `entries_max` entries of any kind.
 */
HS_NODISCARD int hs_files_walk(const char *directory, const char *ending, size_t entries_max,
                               bool (*found)(void *context, const char *relative), void *context);
