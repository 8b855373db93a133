/*
 * A descriptor that another thread makes readable: for a separate watcher beside the loop's wake
 * (hs_ev_wake), which has only one callback.
 */
#pragma once

#include "base/hs_base.h"

/* owner: who opened it; hs_notify_send from any thread while it is open */
typedef struct hs_notify {
    int read_fd;
    int write_fd; /* the same one where the system has eventfd */
} hs_notify_t;

/* 0 or -errno; then both are -1. */
HS_NODISCARD int hs_notify_open(hs_notify_t *notify);
void hs_notify_close(hs_notify_t *notify);

/* Makes it readable. Never blocks; several before one hs_notify_take count as one. */
void hs_notify_send(const hs_notify_t *notify);

/* Resets it to not readable. */
void hs_notify_take(const hs_notify_t *notify);
