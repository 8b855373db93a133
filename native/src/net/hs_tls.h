/*
 * One TLS connection over a descriptor, client or server, using OpenSSL: content on one side,
 * records on the other. OpenSSL never sees the descriptor: it reads and writes memory, so several
 * records are sent with one system call, and an idle connection keeps no buffer.
 *
 * Inside node this uses node's OpenSSL, in a C program the system's libssl; only functions of
 * OpenSSL 3.0 are used.
 *
 * Thread: the loop's.
 */
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include "data/hs_buf.h"
#include "net/hs_failure.h"

struct ssl_ctx_st;

typedef struct hs_tls hs_tls_t;

/* Shared by the connections of one thread: records in transit. owner: its thread */
typedef struct hs_tls_wire {
    struct bio_st *bio; /* NULL before the first connection */
    struct bio_method_st *method;
    hs_tls_t *tls; /* the current one, with its descriptor */
    int fd;
    int stopped;   /* why the descriptor has no more data in this call: -errno, 0: the end */
    bool is_dry;   /* ... valid if set: the descriptor is not read again */
    bool is_short; /* set because of a short read: the end may follow */
    size_t wants;  /* how much content is wanted: no more is received */
    char *in;
    size_t in_at;
    size_t in_len;
    hs_buf_t out; /* written by OpenSSL but not yet to the descriptor */
} hs_tls_wire_t;

/* owner: its connection */
struct hs_tls {
    struct ssl_st *ssl;
    hs_tls_wire_t *wire;
    hs_buf_t unread; /* received, unread from unread_at on: precedes what the descriptor has */
    size_t unread_at;
    hs_buf_t unsent; /* records from unsent_at on */
    size_t unsent_at;
    size_t accepted;      /* content whose records are in `unsent`, not yet reported as sent */
    bool ready;           /* the handshake is done; before that recv and send move no content */
    bool ended;           /* nothing more will arrive */
    bool is_plain;        /* it failed because the client sent a plain-text request */
    int pending;          /* an error of recv, deferred until the bytes before it are consumed */
    hs_failure_t failure; /* why it failed; kind NONE: it did not */
};

/* All its connections are gone. */
void hs_tls_wire_free(hs_tls_wire_t *wire);

/* Initializes a connection as a client or a server; `tls` is zeroed. False: out of memory, and
 * nothing needs clearing. */
HS_NODISCARD bool hs_tls_init(hs_tls_t *tls, hs_tls_wire_t *wire, struct ssl_ctx_st *ctx,
                              bool is_server);
void hs_tls_clear(hs_tls_t *tls);

/* Bytes that were received before the connection was known to be TLS. False: out of memory. */
HS_NODISCARD bool hs_tls_feed(hs_tls_t *tls, const char *data, size_t len);

/* Whether the peer announced that it sends nothing more. */
bool hs_tls_is_over(const hs_tls_t *tls);
/* Whether the session was resumed. */
bool hs_tls_is_resumed(const hs_tls_t *tls);

/* As hs_transport_t.recv, send and sendfile. recv continues the handshake; a failure of it, or of
 * the protocol, is -EPROTO. Content counts as sent when the kernel has its records. */
ptrdiff_t hs_tls_recv(hs_tls_t *tls, int fd, struct iovec *iov, int count);
ptrdiff_t hs_tls_send(hs_tls_t *tls, int fd, struct iovec *iov, int count);
ptrdiff_t hs_tls_sendfile(hs_tls_t *tls, int fd, int file, uint64_t offset, size_t len);

/* Starts the handshake, or sends records the descriptor has not accepted: 0, or -errno (-EAGAIN:
 * wait until it is writable). */
int hs_tls_flush(hs_tls_t *tls, int fd);

/* Records that the descriptor has not accepted. */
static inline size_t hs_tls_unsent(const hs_tls_t *tls)
{
    return tls->unsent.len - tls->unsent_at;
}

/* Sends close_notify, as far as the descriptor accepts it. */
void hs_tls_end(hs_tls_t *tls, int fd);

/* A failure with OpenSSL's text for its oldest error: later ones are consequences. */
const char *hs_tls_reason(void);
hs_failure_t hs_tls_failure_of(const char *problem, const char *what);
