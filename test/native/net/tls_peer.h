/*
 * A TLS server for one test: a thread that accepts one connection after the other and echoes
 * what it receives. Certificates are generated here. Include after cmocka.h.
 */
#pragma once

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "os/hs_sock.h"

typedef struct certificate {
    X509 *x509;
    EVP_PKEY *key;
    char file[64]; /* of both */
} certificate_t;

/* Self-signed, for `names`; takes `key`. `days`: valid for this long from yesterday. */
static inline void certificate_make_for(certificate_t *made, const char *name, const char *names,
                                        EVP_PKEY *key, int days)
{
    made->key = key;
    made->x509 = X509_new();
    assert_true(made->key != NULL && made->x509 != NULL);
    X509_set_version(made->x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made->x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(made->x509), -2L * 24 * 3600);
    X509_gmtime_adj(X509_getm_notAfter(made->x509), (days - 2L) * 24 * 3600);
    X509_set_pubkey(made->x509, made->key);
    X509_NAME *subject = X509_get_subject_name(made->x509);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(made->x509, subject);
    X509V3_CTX context;
    X509V3_set_ctx(&context, made->x509, made->x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, names);
    assert_non_null(extension);
    X509_add_ext(made->x509, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(made->x509, made->key, EVP_sha256()) > 0);
    snprintf(made->file, sizeof(made->file), "/tmp/moonring-tls-%s-%ld.pem", name, (long)getpid());
    FILE *file = fopen(made->file, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, made->x509), 1);
    assert_int_equal(PEM_write_PrivateKey(file, made->key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
}

/* For localhost and 127.0.0.1. */
static inline void certificate_make(certificate_t *made, const char *name, int days)
{
    certificate_make_for(made, name, "DNS:localhost,IP:127.0.0.1", EVP_EC_gen("P-256"), days);
}

static inline void certificate_free(certificate_t *made)
{
    unlink(made->file);
    X509_free(made->x509);
    EVP_PKEY_free(made->key);
}

/* owner: the test; the thread runs between tls_peer_start and tls_peer_stop */
typedef struct tls_peer {
    SSL_CTX *ctx;
    int listener;
    int stop[2]; /* closed to stop */
    pthread_t thread;
    bool is_plain;           /* not a TLS server */
    _Atomic unsigned served; /* connections that completed the handshake; relaxed: counts */
    _Atomic unsigned resumed;
    _Atomic unsigned ended_well; /* ... with close_notify */
} tls_peer_t;

static inline int tls_peer_choose(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                                  const unsigned char *in, unsigned in_len, void *context)
{
    static const unsigned char own[] = "\x08http/1.1";
    (void)ssl;
    (void)context;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, own, sizeof(own) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Waits until the descriptor is readable; false: the peer should stop. */
static inline bool tls_peer_wait(tls_peer_t *peer, int fd)
{
    struct pollfd both[2] = { { .fd = fd, .events = POLLIN },
                              { .fd = peer->stop[0], .events = POLLIN } };
    (void)poll(both, 2, -1);
    return both[1].revents == 0;
}

static inline void tls_peer_echo(tls_peer_t *peer, SSL *ssl, int fd)
{
    char buffer[16 * 1024];
    while (SSL_pending(ssl) > 0 || tls_peer_wait(peer, fd)) {
        int len = SSL_read(ssl, buffer, sizeof(buffer));
        if (len <= 0) {
            peer->ended_well += SSL_get_error(ssl, len) == SSL_ERROR_ZERO_RETURN;
            return;
        }
        for (int at = 0; at < len;) {
            int sent = SSL_write(ssl, buffer + at, len - at);
            if (sent <= 0)
                return;
            at += sent;
        }
    }
}

static inline void tls_peer_serve(tls_peer_t *peer, int fd)
{
    if (peer->is_plain) {
        struct iovec iov = { (char *)(uintptr_t) "220 hello\r\n", 11 };
        (void)!hs_sock_send(fd, &iov, 1);
        (void)tls_peer_wait(peer, fd);
        return;
    }
    SSL *ssl = SSL_new(peer->ctx);
    SSL_set_fd(ssl, fd);
    if (tls_peer_wait(peer, fd) && SSL_accept(ssl) == 1) {
        peer->resumed += SSL_session_reused(ssl) == 1;
        peer->served++;
        tls_peer_echo(peer, ssl, fd);
    }
    SSL_free(ssl);
    ERR_clear_error();
}

static inline void *tls_peer_run(void *argument)
{
    tls_peer_t *peer = argument;
    while (tls_peer_wait(peer, peer->listener)) {
        int fd = accept(peer->listener, NULL, NULL); /* one that blocks */
        if (fd < 0)
            continue;
        tls_peer_serve(peer, fd);
        hs_sock_close(fd);
    }
    OPENSSL_thread_stop();
    return NULL;
}

/* `listener` remains the caller's. */
static inline void tls_peer_start(tls_peer_t *peer, int listener, const certificate_t *certificate)
{
    *peer = (tls_peer_t){ .listener = listener, .ctx = SSL_CTX_new(TLS_server_method()) };
    assert_non_null(peer->ctx);
    assert_int_equal(SSL_CTX_use_certificate(peer->ctx, certificate->x509), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(peer->ctx, certificate->key), 1);
    SSL_CTX_set_alpn_select_cb(peer->ctx, tls_peer_choose, NULL);
    SSL_CTX_set_session_id_context(peer->ctx, (const unsigned char *)"test", 4);
    assert_int_equal(pipe(peer->stop), 0);
}

/* After the test has changed `ctx`. */
static inline void tls_peer_go(tls_peer_t *peer)
{
    assert_int_equal(pthread_create(&peer->thread, NULL, tls_peer_run, peer), 0);
}

static inline void tls_peer_stop(tls_peer_t *peer)
{
    hs_sock_close(peer->stop[1]);
    pthread_join(peer->thread, NULL);
    hs_sock_close(peer->stop[0]);
    SSL_CTX_free(peer->ctx);
}
