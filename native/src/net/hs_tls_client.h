/*
 * TLS of outbound connections, by OpenSSL over memory BIOs: the descriptor is read and written here
 * and never given to OpenSSL. Certificates and host names are verified unless it is switched off;
 * TLS 1.2 is the oldest version; sessions are used again.
 *
 * Inside node the functions are those of node's OpenSSL, in a C program those of the system's
 * libssl: only what OpenSSL 3.0 has is used.
 *
 * Thread: the loop's.
 */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include "net/hs_failure.h"

#define HS_TLS_CONTEXTS_MAX 64
#define HS_TLS_SESSIONS_MAX 64 /* of one context */

typedef struct hs_tls hs_tls_t;                 /* of one connection */
typedef struct hs_tls_context hs_tls_context_t; /* what connections of one configuration share */

/* Strings may be NULL: none. */
typedef struct hs_tls_config {
    bool verify;
    const char *server_name; /* asked for (SNI), and what the certificate has to be for */
    const char *ca;          /* file of certificates to trust, NULL: the system's */
    const char *cert;        /* file of the client's certificate, with its chain */
    const char *key;         /* ... and of its key; NULL: in the same file */
    const char *alpn;        /* protocols, separated by commas, the preferred first */
} hs_tls_config_t;

/* owner: a net */
typedef struct hs_tls_contexts {
    hs_tls_context_t *first;
    uint32_t count;
} hs_tls_contexts_t;

void hs_tls_contexts_free(hs_tls_contexts_t *contexts);

/*
 * The client's side of a new connection. Reads files when a configuration is used for the first
 * time, and those that a configuration names again after a minute. `peer` tells servers apart,
 * whose sessions are not mixed up. NULL: `failure`.
 */
HS_NODISCARD hs_tls_t *hs_tls_new(hs_tls_contexts_t *contexts, const hs_tls_config_t *config,
                                  const char *peer, size_t peer_len, hs_failure_t *failure);

/* NULL is ignored. */
void hs_tls_free(hs_tls_t *tls);

/* The handshake is done: until then recv and send move no content. */
bool hs_tls_is_ready(const hs_tls_t *tls);
/* Whether the peer has said that it sends nothing more. */
bool hs_tls_is_over(const hs_tls_t *tls);
/* Why it has failed, kind NONE: it has not. */
const hs_failure_t *hs_tls_failure(const hs_tls_t *tls);
/* The session of an earlier connection was used. */
bool hs_tls_is_resumed(const hs_tls_t *tls);
/* The protocol that was agreed on, "" if none. Valid as long as the connection. */
const char *hs_tls_protocol(hs_tls_t *tls);

/* As hs_transport_t.recv and send. recv goes on with the handshake; a failure of it, or of the
 * protocol, is -EPROTO. */
ptrdiff_t hs_tls_recv(hs_tls_t *tls, int fd, struct iovec *iov, int count);
ptrdiff_t hs_tls_send(hs_tls_t *tls, int fd, struct iovec *iov, int count);

/* Begins the handshake, or sends what of it or of the protocol the descriptor has not taken: 0, or
 * -errno (-EAGAIN: wait until it is writable). */
int hs_tls_flush(hs_tls_t *tls, int fd);

/* Says that nothing more will be sent (close_notify), as far as the descriptor takes it. */
void hs_tls_end(hs_tls_t *tls, int fd);
