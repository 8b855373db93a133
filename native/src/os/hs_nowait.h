/*
 * Writing to a descriptor of any kind without waiting for its reader, in blocking mode too: pipes
 * and terminals are shared with other processes, so their mode is not ours to change. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/hs_base.h"

/*
 * How many bytes a write to `fd` should have at most: SIZE_MAX for a file, which is never full.
 * A pipe that is writable takes PIPE_BUF bytes at once. A terminal in blocking mode promises one
 * byte only: little at a time makes it improbable, not impossible, that one which was stopped holds
 * the writer up.
 */
HS_NODISCARD size_t hs_nowait_piece(int fd);

/* As write(2), of at most `piece` bytes (hs_nowait_piece) unless `fd` is a socket; what is full is
 * EAGAIN. */
HS_NODISCARD ssize_t hs_nowait_write(int fd, size_t piece, const char *data, size_t len);

/* False if nothing can be written within `wait_ms`. */
HS_NODISCARD bool hs_nowait_has_room(int fd, int wait_ms);
