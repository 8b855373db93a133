#include "net/hs_net.h"

#include "net/hs_datagram.h"
#include "net/hs_link.h"
#include "net/hs_reuse.h"
#include "net/hs_socket.h"

/* Bytes are received into the socket's buffer, so the ring can be small. */
#define RING_SIZE 64

int hs_net_init(hs_net_t *net, hs_loop_t *loop, hs_log_t *log)
{
    *net = (hs_net_t){ .loop = loop, .log = log };
    hs_list_init(&net->links);
    hs_list_init(&net->sockets);
    hs_list_init(&net->datagrams);
    size_t block_size = hs_buffers_block_size(RING_SIZE, 0);
    if (!hs_pool_init(&net->blocks, NULL, 4096, block_size, HS_CACHE_LINE, HS_NET_LINKS_MAX))
        return HS_ERR_NOMEM;
    hs_buffers_pool_init(&net->buffers, &net->blocks, RING_SIZE, 0);
    hs_resolver_init(&net->resolver, loop);
    return HS_OK;
}

void hs_net_free(hs_net_t *net)
{
    while (!hs_list_empty(&net->sockets))
        hs_socket_abandon(HS_CONTAINER_OF(net->sockets.next, hs_socket_t, all));
    while (!hs_list_empty(&net->datagrams))
        hs_datagram_abandon(HS_CONTAINER_OF(net->datagrams.next, hs_datagram_t, all));
    while (!hs_list_empty(&net->links)) {
        hs_link_t *link = HS_CONTAINER_OF(net->links.next, hs_link_t, all);
        link->user = NULL;
        if (!link->stream.closed)
            hs_link_close(link);
        hs_list_remove(&link->all);
        hs_tls_client_free(link->tls);
        link->tls = NULL;
        link->net = NULL; /* its on_closed is still pending */
    }
    hs_reuse_free(net);
    hs_tls_contexts_free(&net->tls);
    hs_resolver_free(&net->resolver);
    hs_buffers_pool_free(&net->buffers);
    hs_pool_free(&net->blocks);
}
