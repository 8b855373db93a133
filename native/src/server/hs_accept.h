/*
 * Accepting: listeners of an io, the connection limit, and what to do when descriptors run out.
 * Thread: the io's.
 */
#pragma once

#include "server/hs_io.h"

/* Watches a listening descriptor; the io owns it from here on, also when this fails. */
HS_NODISCARD int hs_accept_add_listener(hs_io_t *io, int fd, hs_errinfo_t *error);

/* Takes the connections that wait now: before the listeners are closed for good. */
void hs_accept_take_all(hs_io_t *io);

/* Serves an accepted descriptor of `peer`; beyond the limit the client gets 503. */
void hs_accept_take(hs_io_t *io, int fd, const hs_peer_t *peer);

/* Closes the listeners that are open. */
void hs_accept_close_all(hs_io_t *io);

/* Goes on after a pause when a connection has been closed or enough time has passed. */
void hs_accept_resume_if_due(hs_io_t *io);
