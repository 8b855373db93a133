/*
 * The messages on a connection: from received bytes through parser and handler to serialised
 * answers. The lower half of hs_conn.c, which knows the events; it changes the phase and never the
 * deadline.
 *
 * Thread: the reactor's I/O thread.
 */
#pragma once

#include "conn/hs_conn.h"

/* True until the connection has decided to read no further request; not while a worker has the
 * exchange. */
static inline bool hs_conn_reads_requests(const hs_conn_t *conn)
{
    return conn->phase < HS_CONN_HANDLING;
}

/* Handles what has been received, until more is needed, the budget is used up or too much is
 * unsent. */
void hs_conn_advance(hs_conn_t *conn, hs_conn_env_t *env);

/* Answers a request that a worker has handled, then goes on as hs_conn_advance. */
void hs_conn_complete(hs_conn_t *conn, hs_conn_env_t *env);

/* Answers with an error of the server's own behind what is already unsent; nothing more is parsed.
 */
void hs_conn_refuse(hs_conn_t *conn, hs_conn_env_t *env, int status);

/* No further request is read; what is unsent still goes out. `linger`: then shut, drop what
 * arrives, close. */
void hs_conn_stop_reading(hs_conn_t *conn, bool linger);
