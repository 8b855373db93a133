/*
 * A connection that speaks WebSocket, from the 101 on. The stream stays, its protocol is replaced.
 * exec/hs_websocket.h implements the socket; this file handles the connection: when it is read, its
 * deadlines, its end.
 *
 *   HTTP/1 ──101──► WebSocket ──Close of both──► HTTP/1, FLUSHING ──► LINGERING ──► CLOSED
 *                       └────── lost ──────────────────────────────────────────────────▲
 *
 * Thread: the loop's.
 */
#pragma once

#include "conn/hs_conn.h"

/* Call once, after env->jobs and limits are set: requests may open WebSockets from here on. */
void hs_conn_init_websockets(hs_conn_env_t *env);

/* Writes the 101 of conn->job, with the fields of its response. False: out of memory. */
HS_NODISCARD bool hs_conn_put_upgrade(hs_conn_t *conn, const hs_conn_env_t *env);

/* The response of conn->job is a 101: writes it and switches the connection to WebSocket. */
void hs_conn_begin_websocket(hs_conn_t *conn, hs_conn_env_t *env);

/*
 * The reactor ends: closes all sockets with `code`, spread over most of `timeout_ms`, so that
 * clients do not all reconnect at once; sockets opened from here on are closed immediately.
 */
void hs_conn_close_websockets(hs_conn_env_t *env, int code, uint32_t timeout_ms);

/* Updates the connections of sockets used, closed or resumed since the last call. Called before a
 * turn sends.
 */
void hs_conn_update_websockets(hs_conn_env_t *env);

static inline bool hs_conn_has_websockets_to_update(const hs_conn_env_t *env)
{
    return env->websockets.dirty != NULL;
}
