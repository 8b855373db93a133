/*
 * Accepting: the listeners of an io, the connection limit, and pauses when descriptors run out.
 * Thread: the io's.
 */
#pragma once

#include "server/hs_io.h"

/* Watches a listening descriptor; the io owns it from here on, even if this fails. */
HS_NODISCARD int hs_accept_add_listener(hs_io_t *io, int fd, hs_errinfo_t *error);

/* Accepts the waiting connections, before the listeners are closed for good. */
void hs_accept_take_all(hs_io_t *io);

/* Serves an accepted descriptor of `peer`; over the limit the client gets 503 or, with TLS,
 * nothing. */
void hs_accept_take(hs_io_t *io, int fd, const hs_peer_t *peer, bool is_tls);

/* Whether an accepted or listening descriptor uses TLS: by its local port. */
bool hs_accept_is_tls(const hs_io_t *io, int fd);

/* Closes the open listeners. */
void hs_accept_close_all(hs_io_t *io);

/* Resumes after a pause when a connection was closed or enough time has passed. */
void hs_accept_resume_if_due(hs_io_t *io);
