/*
 * The limits of one server. Each is enforced in one place and answered with one status; the comment
 * names both. Read-only after hs_server_new.
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
    uint32_t header_timeout_ms;    /* conn/hs_conn.c: 408 */
    uint32_t body_timeout_ms;      /* conn/hs_conn.c: 408 */
    uint32_t body_min_rate;        /* conn/hs_conn.c: 408; bytes per second */
    uint32_t keepalive_timeout_ms; /* conn/hs_conn.c: closed */
    uint32_t handler_timeout_ms;   /* conn/hs_conn.c: 503; server/hs_watchdog.c: reported */
    uint32_t write_timeout_ms;     /* conn/hs_conn.c: closed */
    uint32_t write_min_rate;       /* conn/hs_conn.c: closed; bytes per second */
} hs_limits_t;
