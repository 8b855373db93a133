/*
 * The header of the PROXY protocol, versions 1 (text) and 2 (binary), with which a proxy starts a
 * connection to name its client. Pure. Specification: HAProxy's doc/proxy-protocol.txt.
 */
#pragma once

#include "os/hs_peer.h"

/* The longest of version 1, CR LF included. */
#define HS_PROXY_HEADER_V1_MAX 107

typedef enum hs_proxy_outcome {
    HS_PROXY_NEED_MORE, /* of a header that is well-formed so far */
    HS_PROXY_COMPLETE,
    HS_PROXY_MALFORMED, /* or no header */
} hs_proxy_outcome_t;

typedef struct hs_proxy_header {
    size_t len;       /* of the header, including data after the addresses */
    bool has_source;  /* else (LOCAL, UNKNOWN, not TCP): the connection is the proxy's own, or its
                         client has no address; the socket's peer is kept */
    hs_peer_t source; /* address and port of the client */
} hs_proxy_header_t;

/* Parses a header from the first `len` bytes of a connection, any number of them. */
HS_NODISCARD hs_proxy_outcome_t hs_proxy_header_read(const char *data, size_t len,
                                                     hs_proxy_header_t *header);
