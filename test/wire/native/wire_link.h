/*
 * A connection without sockets: plays the I/O thread for one hs_conn. Bytes go in at any
 * segmentation, answers come out; no system call, the clock stands still.
 */
#pragma once

#include "conn/hs_conn.h"

typedef struct wire_link {
    hs_limits_t limits;
    hs_exchange_pool_t pool;
    hs_log_t log;
    hs_conn_env_t env;
    hs_conn_t conn;
    hs_buf_t got;    /* everything that was sent on the connection */
    size_t send_max; /* bytes that one send takes, 0: all */
    hs_c_handler_t app;
    char discard[256];
} wire_link_t;

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

/* Ends the connection whatever its state: afterwards no exchange is leased. */
void wire_link_close(wire_link_t *link);
