/*
 * Driving connections: moves bytes between a descriptor and its hs_conn, and keeps it on the lists
 * of the io. Thread: the io's.
 */
#pragma once

#include "conn/hs_conn_move.h"
#include "server/hs_io.h"

/* Reads the clocks once a turn, before anything that needs the time. */
void hs_io_begin_turn(hs_io_t *io);

/*
 * Takes an accepted, non-blocking descriptor. `shed`: only to tell it 503. On failure (out of
 * memory or slots, or the loop refuses it) the descriptor stays the caller's.
 */
HS_NODISCARD int hs_io_conn_open(hs_io_t *io, int fd, bool shed);

/* Takes a connection that was open in another reactor; fails as hs_io_conn_open. */
HS_NODISCARD int hs_io_conn_adopt(hs_io_t *io, int fd, const hs_conn_moved_t *moved,
                                  const char *bytes);

/* Another process has it: nothing is sent or shut, only this copy of the descriptor is closed. */
void hs_io_conn_forget(hs_io_t *io, hs_io_conn_t *c);

/* Every answer closes its connection from now on. Idle ones are read once more, since a request may
 * be on its way while we decide to close, and then closed. */
void hs_io_conn_drain_all(hs_io_t *io);

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
