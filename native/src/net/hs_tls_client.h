/*
 * TLS of outbound connections. Certificates and host names are verified unless turned off; TLS 1.2
 * is the oldest version; sessions are resumed.
 *
 * Thread: the loop's.
 */
#pragma once

#include "net/hs_tls.h"

#define HS_TLS_CONTEXTS_MAX 64
#define HS_TLS_SESSIONS_MAX 64 /* of one context */

typedef struct hs_tls_context hs_tls_context_t; /* shared by connections with one configuration */

/* Strings may be NULL: none. */
typedef struct hs_tls_config {
    bool verify;
    const char *server_name; /* requested (SNI), and the name required in the certificate */
    const char *ca;          /* file of certificates to trust, NULL: the system's */
    const char *cert;        /* file of the client's certificate, with its chain */
    const char *key;         /* ... and of its key; NULL: in the same file */
    const char *alpn;        /* protocols, comma-separated, in order of preference */
} hs_tls_config_t;

/* owner: a net */
typedef struct hs_tls_contexts {
    hs_tls_context_t *first;
    uint32_t count;
    hs_tls_wire_t wire;
} hs_tls_contexts_t;

/* owner: its connection */
typedef struct hs_tls_client {
    hs_tls_t tls;
    hs_tls_context_t *context;
    char protocol[256];
    size_t peer_len;
    char peer[];
} hs_tls_client_t;

void hs_tls_contexts_free(hs_tls_contexts_t *contexts);

/*
 * The client side of a new connection. Reads files at the first use of a configuration, and rereads
 * those it names after a minute. `peer` identifies the server, to keep sessions of different
 * servers apart. NULL: `failure`.
 */
HS_NODISCARD hs_tls_client_t *hs_tls_client_new(hs_tls_contexts_t *contexts,
                                                const hs_tls_config_t *config, const char *peer,
                                                size_t peer_len, hs_failure_t *failure);

/* NULL is ignored. */
void hs_tls_client_free(hs_tls_client_t *client);

/* The negotiated protocol, "" if none. Valid as long as the connection. */
const char *hs_tls_client_protocol(hs_tls_client_t *client);

/* The digest of the peer's certificate (tls-server-end-point of RFC 5929): its length, 0 if it has
 * none. */
#define HS_TLS_BINDING_MAX 64
size_t hs_tls_client_binding(const hs_tls_client_t *client, unsigned char *to);
