/*
 * The state of one thread for outbound sockets: its loop, the resolver, open and pooled
 * connections, and the counters. One for each reactor, which outlives Lua states and reloads, and
 * one for each worker thread.
 *
 * Owner: the loop's thread, which makes all calls here.
 */
#pragma once

#include "net/hs_resolver.h"
#include "net/hs_tls_client.h"
#include "os/hs_log.h"

/* Connections of one hs_net_t at a time. */
#define HS_NET_LINKS_MAX 16384
#define HS_NET_KEY_BUCKETS 64

/* Totals since the start. owner: the loop's thread */
typedef struct hs_net_counters {
    uint64_t connected; /* connections established */
    uint64_t failed;    /* connection attempts that failed */
    uint64_t reused;    /* number of times an idle connection was reused */
    uint64_t bytes_in;  /* received and sent by all of them: included in the loop's */
    uint64_t bytes_out;
} hs_net_counters_t;

/* owner: the loop's thread */
typedef struct hs_net {
    hs_loop_t *loop; /* borrowed, as is log */
    hs_log_t *log;
    hs_list_t links;     /* all connections: of sockets, connecting, idle, closing */
    uint32_t open;       /* ... and how many */
    uint32_t idle;       /* of these, the number kept for reuse */
    hs_list_t sockets;   /* of callers: they may outlive this */
    hs_list_t datagrams; /* likewise */
    hs_buffers_pool_t buffers;
    hs_pool_t blocks; /* of buffers */
    hs_resolver_t resolver;
    hs_tls_contexts_t tls;
    struct hs_reuse_key *keys[HS_NET_KEY_BUCKETS]; /* net/hs_reuse.h */
    hs_net_counters_t counters;
} hs_net_t;

/* `loop` and `log` outlive it. HS_ERR_NOMEM, HS_ERR_SYSTEM; then there is nothing to free. */
HS_NODISCARD int hs_net_init(hs_net_t *net, hs_loop_t *loop, hs_log_t *log);

/* Closes everything; sockets still held by callers are closed from here on. Not from a callback of
 * the loop; the event loop must be freed later, since it finishes pending closes. */
void hs_net_free(hs_net_t *net);
