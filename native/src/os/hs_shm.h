/*
 * Anonymous shared memory, passed by descriptor. Any thread.
 */
#pragma once

#include <sys/uio.h>

#include "base/hs_base.h"

/* A close-on-exec descriptor of `size` zero bytes that no process can shrink (Linux), or -errno. */
HS_NODISCARD int hs_shm_new(size_t size);

/* Bytes behind the descriptor; 0 if it has no size. */
size_t hs_shm_size(int fd);

/* Maps for reading and writing. 0 or -errno. */
HS_NODISCARD int hs_shm_map(int fd, size_t size, void **memory);
void hs_shm_unmap(const void *memory, size_t size);

/*
 * A close-on-exec descriptor of memory that contains the concatenated pieces, sealed against
 * changes (Linux). `is_program`: it can be loaded as a shared object (not on macOS: -ENOTSUP).
 * -errno on failure.
 */
HS_NODISCARD int hs_shm_store(const struct iovec *pieces, size_t count, bool is_program);

/* Maps for reading; hs_shm_unmap undoes it. 0 or -errno. */
HS_NODISCARD int hs_shm_map_read(int fd, size_t size, const void **memory);
