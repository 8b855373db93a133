/*
 * A datagram socket (UDP) to one address: for resolvers of DNS and what else speaks in datagrams.
 * Nothing is sent again, kept in order or tried at other addresses: that is its user's business.
 *
 * Calls report as those of net/hs_socket.h do. Thread: the loop's.
 */
#pragma once

#include "net/hs_failure.h"
#include "net/hs_net.h"

/* Bytes of one datagram. */
#define HS_DATAGRAM_MAX 65507

typedef struct hs_datagram hs_datagram_t;

typedef void (*hs_datagram_done_fn)(void *context, hs_datagram_t *datagram);

typedef enum hs_datagram_state {
    HS_DATAGRAM_NEW,
    HS_DATAGRAM_RESOLVING,
    HS_DATAGRAM_OPEN,
    HS_DATAGRAM_OVER,
} hs_datagram_state_t;

/* owner: its user; the loop's thread */
struct hs_datagram {
    hs_ev_io_t watcher; /* first */
    hs_list_t all;      /* in net->datagrams */
    hs_net_t *net;      /* NULL: it is gone */
    hs_datagram_done_fn done;
    void *context;
    hs_datagram_state_t state;
    uint16_t port;
    hs_resolver_wait_t resolve;
    hs_timer_t timer;
    bool waits;           /* open or receive */
    hs_failure_t failure; /* of the last call */
    char *data;           /* the last datagram, until the next call */
    size_t len;
    size_t max;
};

/* NULL: out of memory. */
HS_NODISCARD hs_datagram_t *hs_datagram_new(hs_net_t *net, hs_datagram_done_fn done, void *context);

/* Closes, and reports nothing more. NULL is ignored. */
void hs_datagram_free(hs_datagram_t *datagram);

/* True: finished, `failure` says how; false: `done` is called later. `timeout_ms` 0: no limit. */
HS_NODISCARD bool hs_datagram_open(hs_datagram_t *datagram, const char *host, uint16_t port,
                                   uint32_t timeout_ms);

/* The next datagram, cut to `max` bytes. As hs_datagram_open. */
HS_NODISCARD bool hs_datagram_receive(hs_datagram_t *datagram, size_t max, uint32_t timeout_ms);

/* Returns at once: `failure` NONE or why not. A port-unreachable reply is reported by a later
 * call. */
void hs_datagram_send(hs_datagram_t *datagram, const char *data, size_t len);

/* Closes; a waiting call fails with CLOSED and is reported before this returns. */
void hs_datagram_end(hs_datagram_t *datagram);

/* Closes it and removes it from its net, as hs_socket_abandon. */
void hs_datagram_abandon(hs_datagram_t *datagram);
