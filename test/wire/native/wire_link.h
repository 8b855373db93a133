/*
 * A connection that the wire documents are run against, and rules that hold for each.
 */
#pragma once

#include "byte_peer.h"

typedef byte_peer_t wire_link_t;

/* Prepares for connections with these limits. `handler` gets `user_data`. */
void wire_link_init(wire_link_t *link, const hs_limits_t *limits, hs_handler_fn handler,
                    void *user_data);
void wire_link_free(wire_link_t *link);

/* A new connection; forgets what the one before sent. */
void wire_link_open(wire_link_t *link);

/* One segment arrives. What the connection no longer wants is dropped, as the kernel would drop it.
 */
void wire_link_feed(wire_link_t *link, const char *data, size_t len);

/* The peer shuts its side; what is unsent still goes out. */
void wire_link_shut(wire_link_t *link);

/* Ends the connection whatever its state: afterwards it holds nothing. */
void wire_link_close(wire_link_t *link);

/* No further request will be served. */
static inline bool wire_link_is_over(const wire_link_t *link)
{
    return link->is_closed || link->conn.phase == HS_CONN_LINGERING;
}
