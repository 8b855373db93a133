/*
 * Host names to addresses by the system's resolver, getaddrinfo: hosts file, search domains and
 * name servers as configured on the machine. It blocks as long as name servers take: never called
 * on a serving thread. Any thread.
 */
#pragma once

#include "os/hs_sock.h"

enum {
    HS_NAMES_NOT_FOUND = -1, /* the name does not exist, or has no address */
    HS_NAMES_FAILED = -2,    /* no name server answered, or memory ran out */
};

/* Up to `max` addresses of `host`, the preferred first (RFC 6724), with port 0: how many, or one of
 * the above. */
HS_NODISCARD int hs_names_resolve(const char *host, hs_sock_endpoint_t *endpoints, size_t max);
