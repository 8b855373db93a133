/*
 * TLS on an accepted connection: its stream's transport from the first byte, and the handshake,
 * which comes before the first request and within its deadline. After that it is an ordinary
 * connection.
 *
 * Thread: the loop's.
 */
#pragma once

#include "conn/hs_conn.h"

/* `conn` begins with a handshake, now or, if a PROXY header comes first, after it
 * (hs_conn_begin_tls). `conn` was just opened. False: out of memory, nothing changed. */
HS_NODISCARD bool hs_conn_expect_tls(hs_conn_t *conn, hs_conn_env_t *env);

/* Received but unparsed bytes, and all that follow, are TLS records. */
void hs_conn_begin_tls(hs_conn_t *conn, hs_conn_env_t *env);

/* Called at the end of every update of a TLS connection: sends pending TLS records. */
void hs_conn_update_tls(hs_conn_t *conn);

/* Redirects a plain-text request to TLS. False: the request is served. */
HS_NODISCARD bool hs_conn_redirect(hs_conn_t *conn, const hs_conn_env_t *env);

/* Adds the fields of every response over TLS. */
void hs_conn_add_hsts(const hs_conn_env_t *env, hs_job_t *job);

/* New connections use `server`, which may be NULL: no TLS. The old one is released. */
void hs_conn_set_tls(hs_conn_env_t *env, hs_tls_server_t *server);
