/*
 * The limits of one server. Each is enforced in one place and has one status; the comment names
 * both. Read-only after hs_server_new.
 */
#pragma once

#include "base/hs_base.h"

typedef struct hs_limits {
    uint32_t ring_size;            /* conn/hs_conn.c: a head that fills the ring is 431 */
    uint32_t max_url;              /* http/hs_parse.c: 414 */
    uint32_t max_headers;          /* http/hs_parse.c: 431 */
    uint32_t max_connections;      /* server/hs_io.c: 503 */
    uint64_t max_body;             /* http/hs_parse.c: 413 */
    uint64_t max_body_memory;      /* exec/hs_job.c: 503; 0: none */
    uint64_t memory;               /* server/hs_watchdog.c: told, of the process; 0: none */
    uint32_t header_timeout_ms;    /* conn/hs_conn.c: 408 */
    uint32_t body_timeout_ms;      /* conn/hs_conn.c: 408 */
    uint32_t body_min_rate;        /* conn/hs_conn.c: 408; bytes per second */
    uint32_t keepalive_timeout_ms; /* conn/hs_conn.c: closed */
    uint32_t handler_timeout_ms;   /* conn/hs_conn.c: 503; server/hs_watchdog.c: reported */
    uint32_t write_timeout_ms;     /* conn/hs_conn.c: closed */
    uint32_t write_min_rate;       /* conn/hs_conn.c: closed; bytes per second */
    uint64_t ws_max_message;       /* ws/hs_ws_frame.c: closed with 1009 */
    uint64_t ws_max_unsent;        /* exec/hs_websocket.c: closed */
    uint32_t ws_max_frames;        /* per second; exec/hs_websocket.c: closed with 1008; 0: any */
    uint32_t ws_ping_interval_ms;  /* conn/hs_conn_ws.c: closed after two of silence; 0: never */
} hs_limits_t;
