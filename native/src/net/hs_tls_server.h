/*
 * TLS of accepted connections: certificates by requested name, tickets accepted by any reactor, and
 * the connection's data for handlers.
 *
 * The shared state is built from one piece of memory (hs_tls_material_read), which a supervisor
 * passes on by descriptor, and is replaced as a whole: a connection keeps the one it started with.
 *
 * TLS 1.2 is the oldest version; ciphers and groups are Mozilla's "intermediate"; no renegotiation,
 * no early data, no compression.
 */
#pragma once

#include "base/hs_err.h"
#include "base/hs_span.h"
#include "httpserver.h"
#include "net/hs_tls.h"

#define HS_TLS_PAIRS_MAX 64
#define HS_TLS_TICKET_KEYS 3
/* A name, a key for the MAC and one for the cipher. */
#define HS_TLS_TICKET_KEY_BYTES (16 + 32 + 32)
/* How long a session can be resumed. */
#define HS_TLS_SESSION_S (8 * 3600)

/* A certificate and its key. Spans as long as the memory they are in. */
typedef struct hs_tls_pair {
    hs_span_t certificate; /* PEM, with its chain */
    hs_span_t key;         /* PEM */
} hs_tls_pair_t;

typedef struct hs_tls_material {
    hs_tls_pair_t pairs[HS_TLS_PAIRS_MAX]; /* the first is for clients that request no known name */
    size_t pair_count;
    hs_span_t ocsp[HS_TLS_PAIRS_MAX]; /* DER, in any order: stapled until they expire */
    size_t ocsp_count;
    hs_span_t client_ca;   /* PEM: clients are asked for a certificate; empty: they are not */
    bool requires_client;  /* ... and have none: refused */
    hs_span_t ticket_keys; /* up to HS_TLS_TICKET_KEYS; the first is for new tickets. Empty: a
                              random one */
} hs_tls_material_t;

/*
 * Parses `data`: lines "NAME LENGTH\n", each followed by that many bytes. Names: certificate
 * (starts a new pair), key, ocsp, client-ca, client-required (no bytes), ticket-keys. Nothing is
 * copied. False: malformed, or too much. Pure.
 */
HS_NODISCARD bool hs_tls_material_read(hs_tls_material_t *material, hs_span_t data);

/* A random one. False: the system has no random bytes. */
HS_NODISCARD bool hs_tls_ticket_key_make(char key[HS_TLS_TICKET_KEY_BYTES]);

/* Shared by connections. Any thread may create it, then only the loop's thread uses it. */
typedef struct hs_tls_server hs_tls_server_t;

/* `material` is copied. NULL: HS_ERR_INVALID, with the certificate or key that is wrong. */
HS_NODISCARD hs_tls_server_t *hs_tls_server_new(const hs_tls_material_t *material,
                                                hs_errinfo_t *error);

/* Releases it: existing connections keep it. NULL is ignored. */
void hs_tls_server_leave(hs_tls_server_t *server);

/* The connection's data for handlers: constant from the end of the handshake on, and referenced by
 * each request (hs_tls_info_keep). */
typedef struct hs_tls_info {
    hs_tls_peer_t peer;
    uint32_t users; /* loop */
    char text[];    /* of the peer's strings */
} hs_tls_info_t;

static inline hs_tls_info_t *hs_tls_info_keep(hs_tls_info_t *info)
{
    if (info != NULL)
        info->users++;
    return info;
}

static inline void hs_tls_info_drop(hs_tls_info_t *info)
{
    if (info != NULL && --info->users == 0)
        hs_free(info);
}

/* The server's side of one connection. owner: it */
typedef struct hs_tls_accepted {
    hs_tls_t tls; /* first */
    hs_tls_server_t *server;
    hs_tls_info_t *info; /* NULL before hs_tls_accepted_ready */
} hs_tls_accepted_t;

/* NULL: out of memory. */
HS_NODISCARD hs_tls_accepted_t *hs_tls_accept(hs_tls_server_t *server, hs_tls_wire_t *wire);

/* The handshake is done: makes `info`. False: out of memory. */
HS_NODISCARD bool hs_tls_accepted_ready(hs_tls_accepted_t *accepted);

/* NULL is ignored. */
void hs_tls_accepted_free(hs_tls_accepted_t *accepted);
