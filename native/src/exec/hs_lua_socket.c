#include "exec/hs_lua_socket.h"

#include <string.h>

#include "net/hs_datagram.h"
#include "net/hs_socket.h"

/* owner: the Lua object that holds it */
typedef struct socket_of_lua {
    hs_lua_socket_t seen; /* first: what Lua sees */
    hs_list_t open;       /* in hs_lua_sockets_t.open */
    hs_socket_t *socket;
    hs_lua_wakes_t *wakes;
    char text[HS_FAILURE_TEXT_CAP];
} socket_of_lua_t;

static socket_of_lua_t *own(hs_lua_socket_t *seen)
{
    return (socket_of_lua_t *)(void *)seen;
}

/* The outcome of a side is available. */
static void show(socket_of_lua_t *lua_socket, hs_socket_side_t side)
{
    const hs_socket_outcome_t *outcome = &lua_socket->socket->outcomes[side];
    lua_socket->seen.waits[side] = 0;
    bool is_cut = outcome->failure.kind == HS_FAILURE_CLOSED && outcome->failure.sys_errno != 0;
    lua_socket->seen.failed[side] = outcome->failure.kind == HS_FAILURE_NONE ? 0 : is_cut ? 2 : 1;
    if (side != HS_SOCKET_READ)
        return;
    lua_socket->seen.data = outcome->data;
    lua_socket->seen.len = outcome->len;
}

static void on_done(void *context, hs_socket_t *socket, hs_socket_side_t side)
{
    (void)socket;
    socket_of_lua_t *lua_socket = context;
    show(lua_socket, side);
    hs_lua_wake(lua_socket->wakes, lua_socket->seen.ids[side]);
}

static void progress_of(socket_of_lua_t *lua_socket, hs_socket_side_t side,
                        hs_socket_progress_t progress)
{
    if (progress == HS_SOCKET_WAITS)
        lua_socket->seen.waits[side] = 1;
    else
        show(lua_socket, side);
}

static hs_lua_socket_t *socket_open(void *self, uint32_t read_id, uint32_t write_id)
{
    hs_lua_sockets_t *sockets = self;
    hs_net_t *net = sockets->net(sockets->context);
    if (net == NULL)
        return NULL;
    socket_of_lua_t *lua_socket = hs_alloc_zeroed(1, sizeof(*lua_socket));
    if (lua_socket == NULL)
        return NULL;
    lua_socket->socket = hs_socket_new(net, on_done, lua_socket);
    if (lua_socket->socket == NULL) {
        hs_free(lua_socket);
        return NULL;
    }
    hs_list_init(&lua_socket->open);
    hs_list_push_back(&sockets->open, &lua_socket->open);
    lua_socket->wakes = sockets->wakes;
    lua_socket->seen.ids[HS_SOCKET_READ] = read_id;
    lua_socket->seen.ids[HS_SOCKET_WRITE] = write_id;
    return &lua_socket->seen;
}

static int socket_reset(hs_lua_socket_t *seen)
{
    seen->failed[HS_SOCKET_READ] = seen->failed[HS_SOCKET_WRITE] = 0;
    return hs_socket_reset(own(seen)->socket);
}

static void socket_free(hs_lua_socket_t *seen)
{
    socket_of_lua_t *lua_socket = own(seen);
    hs_socket_end(lua_socket->socket); /* wakes what waits */
    hs_socket_free(lua_socket->socket);
    hs_list_remove(&lua_socket->open);
    hs_free(lua_socket);
}

static hs_tls_config_t tls_of(const hs_lua_socket_target_t *target)
{
    return (hs_tls_config_t){ .verify = target->verifies != 0,
                              .server_name = target->server_name,
                              .ca = target->ca,
                              .cert = target->cert,
                              .key = target->key,
                              .alpn = target->alpn };
}

static void socket_connect(hs_lua_socket_t *seen, const hs_lua_socket_target_t *target)
{
    const hs_socket_target_t to = {
        .path = target->path,
        .host = target->host,
        .port = (uint16_t)target->port,
        .timeout_ms = target->timeout_ms,
        .secure = target->is_secure != 0,
        .tls = tls_of(target),
        .pooled = target->is_pooled != 0,
        .pool = target->pool,
        .limits = { .size = target->pool_size,
                    .max = target->pool_max,
                    .queue = target->pool_queue,
                    .idle_ms = target->pool_idle_ms,
                    .max_age_ms = target->pool_max_age_ms },
    };
    socket_of_lua_t *lua_socket = own(seen);
    progress_of(lua_socket, HS_SOCKET_READ, hs_socket_connect(lua_socket->socket, &to));
}

static void socket_start_tls(hs_lua_socket_t *seen, const hs_lua_socket_target_t *target)
{
    const hs_tls_config_t tls = tls_of(target);
    socket_of_lua_t *lua_socket = own(seen);
    progress_of(lua_socket, HS_SOCKET_READ,
                hs_socket_start_tls(lua_socket->socket, &tls, target->timeout_ms));
}

static void socket_receive(hs_lua_socket_t *seen, int what, size_t wanted, const char *pattern,
                           uint32_t timeout_ms)
{
    socket_of_lua_t *lua_socket = own(seen);
    hs_socket_progress_t progress = hs_socket_receive(lua_socket->socket, (hs_socket_receive_t)what,
                                                      wanted, pattern, timeout_ms);
    progress_of(lua_socket, HS_SOCKET_READ, progress);
}

static void socket_put(hs_lua_socket_t *seen, const char *data, size_t len)
{
    (void)hs_socket_put(own(seen)->socket, data, len); /* the send tells */
}

static void socket_send(hs_lua_socket_t *seen, uint32_t timeout_ms)
{
    socket_of_lua_t *lua_socket = own(seen);
    progress_of(lua_socket, HS_SOCKET_WRITE, hs_socket_send(lua_socket->socket, timeout_ms));
}

static void socket_take(hs_lua_socket_t *seen, size_t len)
{
    hs_socket_take(own(seen)->socket, len);
}

static int socket_look(hs_lua_socket_t *seen)
{
    return hs_socket_look(own(seen)->socket);
}

static size_t socket_unsent(hs_lua_socket_t *seen)
{
    return hs_socket_unsent(own(seen)->socket);
}

static int socket_keep(hs_lua_socket_t *seen, uint32_t idle_ms)
{
    return hs_socket_keep(own(seen)->socket, idle_ms);
}

static uint32_t socket_reused(hs_lua_socket_t *seen)
{
    return hs_socket_reused(own(seen)->socket);
}

static int socket_is_alive(hs_lua_socket_t *seen)
{
    return hs_socket_is_alive(own(seen)->socket);
}

static const char *socket_failure(hs_lua_socket_t *seen, int side)
{
    socket_of_lua_t *lua_socket = own(seen);
    (void)hs_failure_text(&lua_socket->socket->outcomes[side].failure, lua_socket->text,
                          sizeof(lua_socket->text));
    return lua_socket->text;
}

static const char *socket_protocol(hs_lua_socket_t *seen)
{
    return hs_socket_protocol(own(seen)->socket);
}

static size_t socket_binding(hs_lua_socket_t *seen, uint8_t *to)
{
    return hs_socket_binding(own(seen)->socket, to);
}

/* ---- Datagrams. ---- */

/* owner: the Lua object that holds it */
typedef struct udp_of_lua {
    hs_lua_socket_t seen; /* first */
    hs_list_t open;       /* in hs_lua_sockets_t.open_udp */
    hs_datagram_t *datagram;
    hs_lua_wakes_t *wakes;
    char text[HS_FAILURE_TEXT_CAP];
} udp_of_lua_t;

static udp_of_lua_t *own_udp(hs_lua_socket_t *seen)
{
    return (udp_of_lua_t *)(void *)seen;
}

static void show_udp(udp_of_lua_t *udp, hs_socket_side_t side)
{
    udp->seen.waits[side] = 0;
    udp->seen.failed[side] = udp->datagram->failure.kind != HS_FAILURE_NONE;
    udp->seen.data = udp->datagram->data;
    udp->seen.len = udp->datagram->len;
}

static void on_udp_done(void *context, hs_datagram_t *datagram)
{
    (void)datagram;
    udp_of_lua_t *udp = context;
    show_udp(udp, HS_SOCKET_READ);
    hs_lua_wake(udp->wakes, udp->seen.ids[HS_SOCKET_READ]);
}

static hs_lua_socket_t *udp_open(void *self, uint32_t id)
{
    hs_lua_sockets_t *sockets = self;
    hs_net_t *net = sockets->net(sockets->context);
    udp_of_lua_t *udp = net != NULL ? hs_alloc_zeroed(1, sizeof(*udp)) : NULL;
    if (udp == NULL)
        return NULL;
    udp->datagram = hs_datagram_new(net, on_udp_done, udp);
    if (udp->datagram == NULL) {
        hs_free(udp);
        return NULL;
    }
    hs_list_init(&udp->open);
    hs_list_push_back(&sockets->open_udp, &udp->open);
    udp->wakes = sockets->wakes;
    udp->seen.ids[HS_SOCKET_READ] = id;
    return &udp->seen;
}

static void udp_free(hs_lua_socket_t *seen)
{
    udp_of_lua_t *udp = own_udp(seen);
    hs_datagram_end(udp->datagram); /* wakes what waits */
    hs_datagram_free(udp->datagram);
    hs_list_remove(&udp->open);
    hs_free(udp);
}

static void udp_progress(udp_of_lua_t *udp, bool is_done)
{
    if (is_done)
        show_udp(udp, HS_SOCKET_READ);
    else
        udp->seen.waits[HS_SOCKET_READ] = 1;
}

static void udp_connect(hs_lua_socket_t *seen, const char *host, uint32_t port, uint32_t timeout_ms)
{
    udp_of_lua_t *udp = own_udp(seen);
    udp_progress(udp, hs_datagram_open(udp->datagram, host, (uint16_t)port, timeout_ms));
}

static void udp_receive(hs_lua_socket_t *seen, size_t max, uint32_t timeout_ms)
{
    udp_of_lua_t *udp = own_udp(seen);
    udp_progress(udp, hs_datagram_receive(udp->datagram, max, timeout_ms));
}

static void udp_send(hs_lua_socket_t *seen, const char *data, size_t len)
{
    udp_of_lua_t *udp = own_udp(seen);
    hs_datagram_send(udp->datagram, data, len);
    seen->failed[HS_SOCKET_WRITE] = udp->datagram->failure.kind != HS_FAILURE_NONE;
}

static const char *udp_failure(hs_lua_socket_t *seen)
{
    udp_of_lua_t *udp = own_udp(seen);
    (void)hs_failure_text(&udp->datagram->failure, udp->text, sizeof(udp->text));
    return udp->text;
}

void hs_lua_sockets_leave(hs_lua_sockets_t *sockets)
{
    for (hs_list_t *node = sockets->open_udp.next; node != &sockets->open_udp; node = node->next)
        hs_datagram_abandon(HS_CONTAINER_OF(node, udp_of_lua_t, open)->datagram);
    for (hs_list_t *node = sockets->open.next; node != &sockets->open; node = node->next)
        hs_socket_abandon(HS_CONTAINER_OF(node, socket_of_lua_t, open)->socket);
}

void hs_lua_sockets_init(hs_lua_sockets_t *sockets, hs_lua_wakes_t *wakes,
                         hs_net_t *(*net)(void *context), void *context)
{
    *sockets = (hs_lua_sockets_t){ .wakes = wakes, .net = net, .context = context };
    hs_list_init(&sockets->open);
    hs_list_init(&sockets->open_udp);
    sockets->api = (hs_lua_socket_api_t){
        .version = HS_LUA_SOCKET_ABI_VERSION,
        .self = sockets,
        .open = socket_open,
        .reset = socket_reset,
        .free = socket_free,
        .connect = socket_connect,
        .start_tls = socket_start_tls,
        .receive = socket_receive,
        .put = socket_put,
        .send = socket_send,
        .take = socket_take,
        .look = socket_look,
        .unsent = socket_unsent,
        .keep = socket_keep,
        .reused = socket_reused,
        .is_alive = socket_is_alive,
        .failure = socket_failure,
        .protocol = socket_protocol,
        .binding = socket_binding,
        .udp_open = udp_open,
        .udp_free = udp_free,
        .udp_connect = udp_connect,
        .udp_receive = udp_receive,
        .udp_send = udp_send,
        .udp_failure = udp_failure,
    };
}
