/*
 * Opens one connection to a host or a Unix socket: asks the resolver, then tries the addresses,
 * alternating families, each 250 ms after the previous one or as soon as that failed; the first to
 * connect wins (Happy Eyeballs, RFC 8305).
 *
 * Thread: the loop's.
 */
#pragma once

#include "net/hs_failure.h"
#include "net/hs_link.h"

#define HS_DIAL_STAGGER_MS 250
/* A Unix socket whose backlog is full is retried after this time. */
#define HS_DIAL_RETRY_MS 20

typedef struct hs_dial hs_dial_t;

/* Called by the loop, once, unless the dial is cancelled: `link`, which must then be passed to its
 * user (hs_link_give), or NULL and why. The dial is freed afterwards. */
typedef void (*hs_dial_done_fn)(void *context, hs_link_t *link, const hs_failure_t *failure);

typedef struct hs_dial_target {
    const char *path; /* NULL: host and port */
    const char *host;
    uint16_t port;
    uint64_t deadline_ms; /* on the loop's clock; 0: none */
} hs_dial_target_t;

/* `target` is copied. NULL: it failed at once. */
HS_NODISCARD hs_dial_t *hs_dial_begin(hs_net_t *net, const hs_dial_target_t *target,
                                      hs_dial_done_fn done, void *context, hs_failure_t *failure);

void hs_dial_cancel(hs_dial_t *dial);
