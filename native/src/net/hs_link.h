/*
 * One outbound connection: a stream with the state that belongs to the connection and not to its
 * user, so that it can be opened by a dial, used by a socket, kept idle, and reused by another
 * socket. The stream's protocol and `user` identify the current user.
 *
 * Thread: the loop's.
 */
#pragma once

#include "net/hs_net.h"

/* owner: net->links; its memory is freed when its descriptor is closed */
typedef struct hs_link {
    hs_stream_t stream;   /* first */
    hs_net_t *net;        /* NULL: the net is gone */
    void *user;           /* by the stream's protocol */
    hs_tls_client_t *tls; /* NULL: plain */
    struct hs_reuse_key *key;
    hs_list_t all;  /* in net->links */
    hs_list_t idle; /* in key->idle */
    uint64_t connected_ms;
    uint32_t reused; /* how often */
    bool ended;      /* the peer sends nothing more */
    bool broken;     /* nothing can be sent any more; received data may still be unread */
} hs_link_t;

static inline hs_link_t *hs_link_of(hs_stream_t *stream)
{
    return (hs_link_t *)(void *)stream;
}

/* Starts connecting, for `user`, whose `protocol` gets the events. NULL: *sys_errno. */
HS_NODISCARD hs_link_t *hs_link_connect(hs_net_t *net, const hs_sock_endpoint_t *endpoint,
                                        const hs_protocol_t *protocol, void *user, int *sys_errno);

/* Passes it to another user. Clears waits and deadline. */
void hs_link_give(hs_link_t *link, const hs_protocol_t *protocol, void *user);

/* Called at the end of every protocol's `update`: sends pending TLS records, and releases the
 * resources of a link being closed. */
void hs_link_updated(hs_link_t *link);

/* Closes at once, dropping unsent output. The loop calls the protocol's on_closed, which finally
 * calls hs_link_free. */
void hs_link_close(hs_link_t *link);
void hs_link_free(hs_link_t *link);

/* Releases it: sends unsent output, then closes. */
void hs_link_finish(hs_link_t *link);
