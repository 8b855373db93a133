/*
 * A log of lines: a file opened for appending, or an inherited descriptor. Lines of several
 * processes do not mix: a file gets whole lines in one write(2), a pipe at most PIPE_BUF bytes at a
 * time, which is atomic. On a terminal that is full, or cannot be reopened, long lines may. One
 * thread at a time.
 */
#pragma once

#include <stddef.h>

#include "base/hs_err.h"

typedef struct hs_append {
    int fd;            /* -1: closed */
    bool is_owned;     /* opened here */
    bool is_mid_line;  /* the last byte written was not a newline */
    bool owes_newline; /* the rest of that line is lost */
    size_t piece;      /* hs_nowait_piece */
    const char *path;  /* borrowed; NULL: an inherited descriptor */
} hs_append_t;

/* Opens `path` (created with mode 0640 if missing) or, if it is NULL, borrows `inherited`. Never
 * waits: a FIFO without a reader is HS_ERR_SYSTEM with ENXIO. */
HS_NODISCARD int hs_append_open(hs_append_t *append, const char *path, int inherited,
                                hs_errinfo_t *error);

/* For a borrowed descriptor. */
void hs_append_adopt(hs_append_t *append, int fd);

/* Reopens the file under its name; on failure the old one stays open. An inherited descriptor is
 * kept. */
HS_NODISCARD int hs_append_reopen(hs_append_t *append, hs_errinfo_t *error);

/*
 * Writes whole lines from the front of `data`, which ends in a newline and has no line longer than
 * PIPE_BUF. Bytes written: fewer than `len`, perhaps 0, if a pipe or a terminal is full or another
 * process is writing to the terminal, because this never waits, or if an error followed. -errno if
 * nothing can be written: the data is then lost, and a partly written line is ended before the next
 * one begins.
 */
HS_NODISCARD ptrdiff_t hs_append_lines(hs_append_t *append, const char *data, size_t len);

void hs_append_close(hs_append_t *append);
