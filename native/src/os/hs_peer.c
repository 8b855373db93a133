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

hs_peer_t hs_peer_from(const struct sockaddr *address)
{
    hs_peer_t peer = { .family = 0 };
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        return peer_v4(&v4->sin_addr, ntohs(v4->sin_port));
    }
    if (address->sa_family != AF_INET6)
        return peer;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    uint16_t port = ntohs(v6->sin6_port);
    /* An IPv4 peer of a dual-stack socket is the IPv4 address that it is. */
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        return peer_v4(&v6->sin6_addr.s6_addr[12], port);
    peer = (hs_peer_t){ .family = 6, .port = port };
    memcpy(peer.bytes, &v6->sin6_addr, sizeof(peer.bytes));
    return peer;
}

hs_peer_t hs_peer_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    address.ss_family = AF_UNSPEC;
    if (getpeername(fd, (struct sockaddr *)&address, &len) == -1)
        return (hs_peer_t){ .family = 0 };
    return hs_peer_from((struct sockaddr *)&address);
}

const char *hs_peer_text(const hs_peer_t *peer, char text[HS_PEER_TEXT_CAP])
{
    text[0] = '\0';
    if (peer->family != 0)
        (void)inet_ntop(peer->family == 4 ? AF_INET : AF_INET6, peer->bytes, text,
                        HS_PEER_TEXT_CAP);
    return text;
}
