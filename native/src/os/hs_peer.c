#include "os/hs_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

hs_peer_t hs_peer_v4(const void *address, uint16_t port)
{
    hs_peer_t peer = { .family = 4, .port = port };
    memcpy(peer.bytes, address, 4);
    return peer;
}

hs_peer_t hs_peer_v6(const void *address, uint16_t port)
{
    struct in6_addr v6;
    memcpy(&v6, address, sizeof(v6));
    /* An IPv4 peer of a dual-stack socket, for example. */
    if (IN6_IS_ADDR_V4MAPPED(&v6))
        return hs_peer_v4(&v6.s6_addr[12], port);
    hs_peer_t peer = { .family = 6, .port = port };
    memcpy(peer.bytes, &v6, sizeof(peer.bytes));
    return peer;
}

hs_peer_t hs_peer_from(const struct sockaddr *address)
{
    if (address->sa_family == AF_UNIX)
        return (hs_peer_t){ .family = HS_PEER_UNIX };
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        return hs_peer_v4(&v4->sin_addr, ntohs(v4->sin_port));
    }
    if (address->sa_family != AF_INET6)
        return (hs_peer_t){ .family = 0 };
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    return hs_peer_v6(&v6->sin6_addr, ntohs(v6->sin6_port));
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

bool hs_peer_parse(hs_span_t text, hs_peer_t *peer)
{
    char terminated[HS_PEER_TEXT_CAP];
    if (text.len >= sizeof(terminated) || memchr(text.data, '\0', text.len) != NULL)
        return false;
    memcpy(terminated, text.data, text.len);
    terminated[text.len] = '\0';
    uint8_t bytes[16];
    if (inet_pton(AF_INET, terminated, bytes) == 1)
        *peer = hs_peer_v4(bytes, 0);
    else if (inet_pton(AF_INET6, terminated, bytes) == 1)
        *peer = hs_peer_v6(bytes, 0);
    else
        return false;
    return true;
}

const char *hs_peer_text(const hs_peer_t *peer, char text[HS_PEER_TEXT_CAP])
{
    text[0] = '\0';
    if (hs_peer_has_address(peer))
        (void)inet_ntop(peer->family == 4 ? AF_INET : AF_INET6, peer->bytes, text,
                        HS_PEER_TEXT_CAP);
    return text;
}
