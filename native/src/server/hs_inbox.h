/*
 * The inbox: a pair shared with the boss (server/hs_boss.h) through which a reactor gets new and
 * moved connections, and hands over its own when another process takes its place. The boss keeps
 * both ends, so connections in transit survive either side. Thread: the io's.
 */
#pragma once

#include "server/hs_io.h"

/* Watches the pair; the io owns the descriptor from here on, even if this fails. */
HS_NODISCARD int hs_inbox_set(hs_io_t *io, int fd, hs_errinfo_t *error);
void hs_inbox_close(hs_io_t *io);

/* Takes waiting connections, so that none are left behind when this reactor ends. */
void hs_inbox_take_all(hs_io_t *io);

/*
 * From now on connections are handed over as soon as possible: idle ones now, the others after
 * their responses. Nothing more is taken from the inbox. False if there is no inbox.
 */
HS_NODISCARD bool hs_inbox_begin_hand_over(hs_io_t *io);

/* Hands over `conn` if it can move now. True: it is gone. */
HS_NODISCARD bool hs_inbox_hand_over(hs_io_t *io, hs_conn_t *conn);

/* Goes on after a pause, and with what is periodic after a crash. */
void hs_inbox_resume_if_due(hs_io_t *io);

/* When to do that; 0: never. */
uint64_t hs_inbox_due_ms(const hs_io_t *io);
