/*
 * One outbound connection: a stream with what belongs to the connection and not to its user, so
 * that it can be made by a dial, used by a socket, kept idle, and be used by another one later. Who
 * uses it says so by the stream's protocol and by `user`.
 *
 * Thread: the loop's.
 */
#pragma once

#include "net/hs_net.h"

/* owner: net->links; its memory is freed when its descriptor is closed */
typedef struct hs_link {
    hs_stream_t stream; /* first */
    hs_net_t *net;      /* NULL: the net is gone */
    void *user;         /* by the stream's protocol */
    hs_tls_t *tls;      /* NULL: plain */
    struct hs_reuse_key *key;
    hs_list_t all;  /* in net->links */
    hs_list_t idle; /* in key->idle */
    uint64_t connected_ms;
    uint32_t reused; /* how often */
    bool ended;      /* the peer sends nothing more */
    bool broken;     /* nothing can be sent any more; what had arrived may still be unread */
} hs_link_t;

static inline hs_link_t *hs_link_of(hs_stream_t *stream)
{
    return (hs_link_t *)(void *)stream;
}

/* A connection that is being made, for `user` whose `protocol` is told. NULL: *sys_errno. */
HS_NODISCARD hs_link_t *hs_link_connect(hs_net_t *net, const hs_sock_endpoint_t *endpoint,
                                        const hs_protocol_t *protocol, void *user, int *sys_errno);

/* Another user. Nothing is waited for from here on. */
void hs_link_give(hs_link_t *link, const hs_protocol_t *protocol, void *user);

/* At the end of every protocol's `update`: sends what TLS has to say, and gives back what a link
 * has that is to be closed. */
void hs_link_updated(hs_link_t *link);

/* Closes at once, what is unsent is lost. The protocol's on_closed is called from the loop, whose
 * last act is hs_link_free. */
void hs_link_close(hs_link_t *link);
void hs_link_free(hs_link_t *link);

/* Nobody uses it any more: sends what is unsent, then closes. */
void hs_link_finish(hs_link_t *link);
