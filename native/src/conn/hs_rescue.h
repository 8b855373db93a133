/*
 * Decides what happens to a connection whose process died, from the memory that outlives it
 * (docs/crashes.md has the rules). Pure: reads that memory, changes nothing, makes no system call
 * and allocates nothing.
 *
 * The memory may hold anything: the process may have died of a stray write. Nothing is read outside
 * the view's memory, and what is handed on is copied from inside it.
 *
 * Thread: the keeper's.
 */
#pragma once

#include "conn/hs_conn_move.h"

/* Blocks of one size in a row. */
typedef struct hs_rescue_blocks {
    const char *memory;
    size_t block_size;
    size_t count;
} hs_rescue_blocks_t;

/* The memory layout, recorded while the process was healthy. owner: the keeper */
typedef struct hs_rescue_view {
    hs_rescue_blocks_t conns;
    hs_rescue_blocks_t jobs;
    hs_rescue_blocks_t buffers;
    const char *kept; /* data/hs_kept.h */
    size_t kept_size;
    const hs_ledger_t *ledger;
    const hs_transport_t *transport; /* a stream with another one has no plain bytes */
    uint32_t fd_cap;                 /* of the ledger */
    uint32_t ring_size;
    char id_prefix[HS_REQUEST_ID_PREFIX_CAP]; /* of the ids of its requests */
    bool only_idle;                           /* what is not idle is closed */
} hs_rescue_view_t;

/* Total bytes that the kernel accepted from, and delivered to, the socket's owner, modulo 2^32. */
typedef struct hs_rescue_kernel {
    bool is_known; /* of TCP only */
    uint32_t taken;
    uint32_t given;
} hs_rescue_kernel_t;

typedef enum hs_rescue_fate {
    HS_RESCUE_IDLE,   /* handed over as it is */
    HS_RESCUE_REPLAY, /* with received bytes to handle again */
    HS_RESCUE_OWING,  /* with response bytes still to send */
    HS_RESCUE_REFUSE, /* its request is answered 503 */
    HS_RESCUE_CLOSE,  /* closed */
} hs_rescue_fate_t;

#define HS_RESCUE_FATES 5

/* owner: the keeper */
typedef struct hs_rescue {
    hs_rescue_fate_t fate;
    hs_conn_moved_t moved;
    bool is_handled; /* REFUSE, CLOSE: a handler had a request */
    /* REPLAY of a request that waits for a worker: must first be swapped from HS_JOB_QUEUED to
     * HS_JOB_CANCELLED. If that fails, a worker has it: decide again. NULL: nothing. */
    _Atomic int *claim;
    char received[HS_CONN_MOVE_BYTES_MAX];
    char unsent[HS_CONN_MOVE_UNSENT_MAX];
} hs_rescue_t;

/* The view of an environment with a ledger. */
void hs_rescue_view(const hs_conn_env_t *env, hs_rescue_view_t *view);

/* Makes memory that the dead process marked as free readable, for AddressSanitizer. */
void hs_rescue_expose(const hs_rescue_view_t *view);

/* The stream being processed when the process died, and its stage; NULL: none. */
const void *hs_rescue_current(const hs_rescue_view_t *view, hs_stage_t *stage);

/* For the connection that the ledger has for `fd`. `kernel` matters only for the current one. */
void hs_rescue_decide(const hs_rescue_view_t *view, const void *conn, int fd,
                      const hs_rescue_kernel_t *kernel, hs_rescue_t *out);

/* The request of a connection, for a report: copied into `head` (NUL-terminated, with its first
 * bytes), 0 if there is none. `id`: as logs have it. */
HS_NODISCARD size_t hs_rescue_request(const hs_rescue_view_t *view, const void *conn, char *head,
                                      size_t head_size, char id[HS_REQUEST_ID_CAP]);

/* Whether a worker ran the handler of its request. */
bool hs_rescue_is_on_worker(const hs_rescue_view_t *view, const void *conn);
