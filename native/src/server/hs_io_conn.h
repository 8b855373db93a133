/*
 * Driving connections: moves bytes between a descriptor and its hs_conn, and keeps it on the lists
 * of the io. Thread: the io's.
 */
#pragma once

#include "server/hs_io.h"

/* Reads the clocks once a turn, before anything that needs the time. */
void hs_io_begin_turn(hs_io_t *io);

/*
 * Takes an accepted, non-blocking descriptor. `shed`: only to tell it 503. On failure (out of
 * memory or slots, or the loop refuses it) the descriptor stays the caller's.
 */
HS_NODISCARD int hs_io_conn_open(hs_io_t *io, int fd, bool shed);

/* Goes on with the connections that need no event: received bytes, or more than one read's worth.
 */
void hs_io_conn_go_on_all(hs_io_t *io);

/* Answers what workers have finished. */
void hs_io_conn_collect(hs_io_t *io);

/* Sends what this turn has produced. */
void hs_io_conn_send_all(hs_io_t *io);

void hs_io_conn_check_deadlines(hs_io_t *io);

/* Applies a connection event (hs_conn_drain, hs_conn_abort) to every connection. */
void hs_io_conn_for_each(hs_io_t *io, void (*visit)(hs_conn_t *, hs_conn_env_t *));
