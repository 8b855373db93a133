/*
 * A reactor: an I/O thread's io with its handler, its workers and, behind a boss, the descriptors
 * that wait for it.
 *
 * Threads: made and freed on the server's thread; run on the one that calls hs_io_run, which is the
 * server's or the reactor's own.
 */
#pragma once

#include "os/hs_thread.h"
#include "server/hs_io.h"

typedef struct hs_reactor {
    hs_io_t io;
    hs_handoff_t handoff;
    hs_handler_factory_t factory;
    hs_handler_t handler; /* of the I/O thread */
    bool has_handler;
    bool running; /* on a thread of its own */
    pthread_t thread;
} hs_reactor_t;

/* `config` without handler: the factory makes it. */
HS_NODISCARD int hs_reactor_init(hs_reactor_t *reactor, const hs_io_config_t *config,
                                 hs_errinfo_t *error);

/* As hs_io_free. */
uint32_t hs_reactor_free(hs_reactor_t *reactor, uint32_t wait_ms);

/* Runs it on a separate thread, fed by hs_reactor_hand_over. */
HS_NODISCARD int hs_reactor_start(hs_reactor_t *reactor, unsigned number, hs_errinfo_t *error);
void hs_reactor_join(hs_reactor_t *reactor);

/* Called by the boss: passes it a connection. False: the reactor does not keep up, the caller keeps
 * `fd`. */
HS_NODISCARD bool hs_reactor_hand_over(hs_reactor_t *reactor, int fd);
