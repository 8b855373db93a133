/*
 * Which parts of a file are in the page cache, so that reading them does not wait for a disk. Linux
 * only: elsewhere every file counts as cached.
 */
#pragma once

#include "base/hs_base.h"

/*
 * Reads `len` bytes from `offset` on, as far as possible without waiting: the number of bytes,
 * fewer at the end of the file or of the cached part; -EAGAIN if not even the first is cached; or
 * -errno. On a file system that cannot tell, it reads and may wait.
 */
HS_NODISCARD ptrdiff_t hs_page_cache_read(int fd, char *to, size_t len, uint64_t offset);

/* How many of the `len` bytes from `offset` on can be sent without waiting: a few pages are
 * checked, so data read ahead or sent before counts as cached. `len` if unknown. */
size_t hs_page_cache_resident(int fd, uint64_t offset, size_t len);

/* Reads `len` bytes from `offset` on into the page cache, and waits. Thread: one that may block. */
void hs_page_cache_load(int fd, uint64_t offset, size_t len);
