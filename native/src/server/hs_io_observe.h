/*
 * The observing side of an io: its area on the stats page, the heartbeat, and writing the access
 * log. Thread: the io's.
 */
#pragma once

#include "server/hs_io.h"

HS_NODISCARD int hs_io_observe_init(hs_io_t *io, const hs_io_identity_t *identity,
                                    hs_errinfo_t *error);
void hs_io_observe_free(hs_io_t *io);

/* Records the allocator's figures for the process on the page: some 50 us, and it takes locks of
 * the allocator, so not on the I/O thread. Any single thread, while the server runs. */
void hs_io_observe_memory(const hs_io_t *io);

/* The clocks were read: a turn begins. */
void hs_io_observe_turn(hs_io_t *io, uint64_t now_us, int64_t time_ms);

/* All that this turn could send was sent. */
void hs_io_observe_sent(hs_io_t *io);

/* Makes room in the access log when it is half full: called between connections, so that no line is
 * lost however many requests a turn handles. */
void hs_io_observe_make_room(hs_io_t *io);

/* Writes the rest of the access log, as far as possible without waiting. */
void hs_io_observe_flush(hs_io_t *io);

/* Writes the last lines: waits briefly for a slow reader, and counts the rest as lost. */
void hs_io_observe_end(hs_io_t *io);

/* The log file was renamed: reopens it under its name. */
/* Log and stats page show this generation from now on. */
void hs_io_observe_generation(hs_io_t *io, uint64_t generation);
void hs_io_observe_reopen(hs_io_t *io);

/* When the io should wake at the latest, for the heartbeat and for log lines; 0: never. */
uint64_t hs_io_observe_due_ms(const hs_io_t *io);
