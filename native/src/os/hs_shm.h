/*
 * Shared memory without a name, handed on by descriptor. Any thread.
 */
#pragma once

#include "base/hs_base.h"

/* A close-on-exec descriptor of `size` zero bytes that no process can shrink (Linux), or -errno. */
HS_NODISCARD int hs_shm_new(size_t size);

/* Bytes behind the descriptor; 0 if it has no size. */
size_t hs_shm_size(int fd);

/* Maps for reading and writing. 0 or -errno. */
HS_NODISCARD int hs_shm_map(int fd, size_t size, void **memory);
void hs_shm_unmap(void *memory, size_t size);
