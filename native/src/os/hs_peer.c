#include "os/hs_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

typedef union any_address {
    struct sockaddr base;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
} any_address_t;

void hs_peer_ask(int fd, hs_peer_t *out)
{
    any_address_t any;
    socklen_t len = sizeof(any);
    memset(out, 0, sizeof(*out));
    if (getpeername(fd, &any.base, &len) == -1)
        return;
    switch (any.base.sa_family) {
    case AF_INET:
        out->family = 4;
        out->port = ntohs(any.v4.sin_port);
        memcpy(out->address, &any.v4.sin_addr, 4);
        return;
    case AF_INET6: {
        bool is_v4 = IN6_IS_ADDR_V4MAPPED(&any.v6.sin6_addr);
        out->family = is_v4 ? 4 : 6;
        out->port = ntohs(any.v6.sin6_port);
        memcpy(out->address, any.v6.sin6_addr.s6_addr + (is_v4 ? 12 : 0), is_v4 ? 4 : 16);
        return;
    }
    case AF_UNIX:
        out->family = 1;
        return;
    default:
        return;
    }
}

size_t hs_peer_format(const hs_peer_t *peer, char text[HS_PEER_TEXT_CAP])
{
    text[0] = '\0';
    if (peer->family == 1)
        memcpy(text, "unix", sizeof("unix"));
    else if (peer->family != 0)
        (void)inet_ntop(peer->family == 4 ? AF_INET : AF_INET6, peer->address, text,
                        HS_PEER_TEXT_CAP);
    return strlen(text);
}
