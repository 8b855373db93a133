/*
 * Host names to addresses by the system's resolver, getaddrinfo: hosts file, search domains and
 * name servers as the machine is set up. It blocks, for as long as name servers take: never called
 * on a thread that serves. Any thread.
 */
#pragma once

#include "os/hs_sock.h"

enum {
    HS_NAMES_NOT_FOUND = -1, /* there is no such name, or it has no address */
    HS_NAMES_FAILED = -2,    /* no name server gave an answer, or memory was short */
};

/* Up to `max` addresses of `host`, the preferred first (RFC 6724), with port 0: how many, or one of
 * the above. */
HS_NODISCARD int hs_names_resolve(const char *host, hs_sock_endpoint_t *endpoints, size_t max);
