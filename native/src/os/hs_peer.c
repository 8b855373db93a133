#include "os/hs_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static hs_peer_t peer_v4(const void *address, uint16_t port)
{
    hs_peer_t peer = { .family = 4, .port = port };
    memcpy(peer.bytes, address, 4);
    return peer;
}

hs_peer_t hs_peer_of(int fd)
{
    union {
        struct sockaddr base;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage storage;
    } address;
    socklen_t len = sizeof(address);
    hs_peer_t peer = { .family = 0 };
    if (getpeername(fd, &address.base, &len) == -1)
        return peer;
    if (address.base.sa_family == AF_INET)
        return peer_v4(&address.v4.sin_addr, ntohs(address.v4.sin_port));
    if (address.base.sa_family != AF_INET6)
        return peer;
    uint16_t port = ntohs(address.v6.sin6_port);
    /* An IPv4 peer of a dual-stack socket is the IPv4 address that it is. */
    if (IN6_IS_ADDR_V4MAPPED(&address.v6.sin6_addr))
        return peer_v4(&address.v6.sin6_addr.s6_addr[12], port);
    peer = (hs_peer_t){ .family = 6, .port = port };
    memcpy(peer.bytes, &address.v6.sin6_addr, sizeof(peer.bytes));
    return peer;
}

const char *hs_peer_text(const hs_peer_t *peer, char text[HS_PEER_TEXT_CAP])
{
    text[0] = '\0';
    if (peer->family != 0)
        (void)inet_ntop(peer->family == 4 ? AF_INET : AF_INET6, peer->bytes, text,
                        HS_PEER_TEXT_CAP);
    return text;
}
