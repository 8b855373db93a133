/*
 * The keeper: a process beside a reactor's, which sleeps until the reactor's I/O thread dies, and
 * then hands that process's connections over to serving reactors: through the inbox, to the
 * supervisor's boss, which passes them to a live slot. So a process that crashes or is killed loses
 * one request, and no connection (docs/crashes.md).
 *
 * It shares the reactor's descriptor table, so descriptors stay open, and the memory of the ledger,
 * connections, buffers and jobs; it shares nothing else and never runs another program. It detects
 * the death of the I/O thread by a robust mutex, which the kernel marks before it tears down the
 * process, and decides with conn/hs_rescue.h.
 *
 * Linux only. If the system does not permit it, connections end with their process.
 *
 * Threads: open and close on the thread that creates the server; begin and end on the I/O thread.
 */
#pragma once

#include "conn/hs_conn.h"

#define HS_KEEPER_PORTS 2

typedef struct hs_keeper hs_keeper_t;

typedef struct hs_keeper_config {
    uint32_t max_connections;
    bool only_idle;
    int inbox_fd;      /* borrowed */
    int log_json_fd;   /* borrowed; -1: text to stderr */
    int reactor_index; /* for records */
    hs_log_t *log;
} hs_keeper_config_t;

/*
 * Creates the memory that outlives this process, before anything that must survive is allocated.
 * NULL: not possible, which was logged. One per process at a time; a second one gets NULL.
 */
hs_keeper_t *hs_keeper_open(const hs_keeper_config_t *config);

/* For hs_loop_t.ledger. */
hs_ledger_t *hs_keeper_ledger(hs_keeper_t *keeper);

/* This thread runs the connections of `env` from now on: starts the process, and restarts it
 * whenever it ends. `ports`: on which they are accepted, as far as they are known; else 0. */
void hs_keeper_begin(hs_keeper_t *keeper, hs_conn_env_t *env,
                     const uint16_t ports[HS_KEEPER_PORTS]);

/* All connections are closed. */
void hs_keeper_end(hs_keeper_t *keeper);

/* Returns memory of free buffers to the system, some at a time. True: there is more. */
HS_NODISCARD bool hs_keeper_trim(hs_keeper_t *keeper);

/* NULL is allowed. The memory lives as long as this process: buffers may outlive the server. */
void hs_keeper_close(hs_keeper_t *keeper);
