/*
 * Writes to any kind of descriptor without waiting for its reader, even in blocking mode: pipes and
 * terminals are shared with other processes, so we must not change their mode. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/hs_base.h"

/*
 * How many bytes a write to `fd` should have at most: SIZE_MAX for a file, which is never full.
 * A writable pipe accepts PIPE_BUF bytes at once. A terminal in blocking mode guarantees only one
 * byte: small pieces make it improbable, not impossible, that a stopped terminal blocks the writer.
 */
HS_NODISCARD size_t hs_nowait_piece(int fd);

/* As write(2), of at most `piece` bytes (hs_nowait_piece) unless `fd` is a socket; EAGAIN if
 * full. */
HS_NODISCARD ssize_t hs_nowait_write(int fd, size_t piece, const char *data, size_t len);

/* False if nothing can be written within `wait_ms`. */
HS_NODISCARD bool hs_nowait_has_room(int fd, int wait_ms);
