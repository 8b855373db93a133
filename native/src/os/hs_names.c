#include "os/hs_names.h"

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

int hs_names_resolve(const char *host, hs_sock_endpoint_t *endpoints, size_t max)
{
    struct addrinfo hints;
    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(host, NULL, &hints, &found);
    switch (failed) {
    case 0:
        break;
    case EAI_NONAME:
#if defined(EAI_NODATA) && EAI_NODATA != EAI_NONAME
    case EAI_NODATA:
#endif
#ifdef EAI_ADDRFAMILY
    case EAI_ADDRFAMILY:
#endif
        return HS_NAMES_NOT_FOUND;
    default:
        return HS_NAMES_FAILED;
    }
    size_t count = 0;
    for (const struct addrinfo *item = found; item != NULL && count < max; item = item->ai_next) {
        hs_sock_endpoint_t *endpoint = &endpoints[count];
        if (item->ai_addrlen > sizeof(endpoint->address))
            continue;
        memset(endpoint, 0, sizeof(*endpoint));
        memcpy(endpoint->address, item->ai_addr, item->ai_addrlen);
        endpoint->address_len = (uint32_t)item->ai_addrlen;
        count++;
    }
    freeaddrinfo(found);
    return count > 0 ? (int)count : HS_NAMES_NOT_FOUND;
}
