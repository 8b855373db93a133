#define OPENSSL_API_COMPAT 30000
#define OPENSSL_NO_DEPRECATED

#include "net/hs_tls_client.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/hs_buf.h"
#include "os/hs_clock.h"
#include "os/hs_sock.h"

/* Ciphertext of one receive: a record and its header. */
#define RECORD_BYTES (16 * 1024 + 512)
/* Plaintext of one record. */
#define CHUNK_BYTES (16 * 1024)
/* Files that a configuration names may have been replaced after this time. */
#define FILES_AGE_MS 60000

/* A session that a server has given. owner: its context */
typedef struct session {
    SSL_SESSION *session; /* NULL: the place is free */
    char *peer;
    size_t peer_len;
    uint64_t used; /* a count: the smallest is replaced */
} session_t;

/* owner: hs_tls_contexts_t, and the connections that use it */
struct hs_tls_context {
    hs_tls_context_t *next;
    SSL_CTX *ctx;
    char *key; /* what the configuration says but for the server's name */
    size_t key_len;
    bool has_files;
    bool verify;
    uint32_t users;
    uint64_t made_ms;
    uint64_t uses;
    session_t sessions[HS_TLS_SESSIONS_MAX];
};

/* owner: its connection */
struct hs_tls {
    SSL *ssl;
    BIO *in;  /* of ssl */
    BIO *out; /* of ssl */
    hs_tls_context_t *context;
    hs_buf_t unsent; /* ciphertext from unsent_at on */
    size_t unsent_at;
    size_t accepted; /* plaintext whose ciphertext is in `unsent` and was not reported as sent */
    bool ready;
    bool ended;  /* nothing more will arrive */
    int pending; /* an error of recv that waits until the bytes before it are taken */
    hs_failure_t failure;
    char protocol[256];
    size_t peer_len;
    char peer[];
};

/* --- failures --- */

static hs_failure_t tls_failure(const char *problem, const char *what)
{
    hs_failure_t failure = hs_failure_of(HS_FAILURE_TLS);
    (void)snprintf(failure.detail, sizeof(failure.detail), "%s%s", problem, what);
    return failure;
}

/* In OpenSSL's words, of the oldest error: the later ones follow from it. */
static const char *reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;
    return text != NULL ? text : "protocol error";
}

static void note_failure(hs_tls_t *tls)
{
    long verified = SSL_get_verify_result(tls->ssl);
    if (tls->failure.kind != HS_FAILURE_NONE)
        return;
    if (!tls->ready && tls->context->verify && verified != X509_V_OK) {
        tls->failure = hs_failure_of(HS_FAILURE_CERTIFICATE);
        (void)snprintf(tls->failure.detail, sizeof(tls->failure.detail), "%s",
                       X509_verify_cert_error_string(verified));
    } else {
        tls->failure = tls_failure("", reason());
    }
}

/* --- sessions --- */

static void session_clear(session_t *place)
{
    if (place->session != NULL)
        SSL_SESSION_free(place->session);
    hs_free(place->peer);
    *place = (session_t){ 0 };
}

static session_t *session_find(hs_tls_context_t *context, const char *peer, size_t peer_len)
{
    for (size_t i = 0; i < HS_TLS_SESSIONS_MAX; i++) {
        session_t *place = &context->sessions[i];
        if (place->session != NULL && place->peer_len == peer_len &&
            memcmp(place->peer, peer, peer_len) == 0)
            return place;
    }
    return NULL;
}

/* The server has given a session. 1: it is kept here. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    hs_tls_t *tls = SSL_get_app_data(ssl);
    hs_tls_context_t *context = tls->context;
    session_t *place = session_find(context, tls->peer, tls->peer_len);
    if (place == NULL) {
        place = &context->sessions[0];
        for (size_t i = 1; i < HS_TLS_SESSIONS_MAX; i++)
            if (context->sessions[i].used < place->used)
                place = &context->sessions[i];
        char *peer = hs_alloc(tls->peer_len + 1);
        if (peer == NULL)
            return 0;
        session_clear(place);
        memcpy(peer, tls->peer, tls->peer_len);
        place->peer = peer;
        place->peer_len = tls->peer_len;
    } else {
        SSL_SESSION_free(place->session);
    }
    place->session = session;
    place->used = ++context->uses;
    return 1;
}

/* --- contexts --- */

static void context_free(hs_tls_context_t *context)
{
    for (size_t i = 0; i < HS_TLS_SESSIONS_MAX; i++)
        session_clear(&context->sessions[i]);
    SSL_CTX_free(context->ctx);
    hs_free(context->key);
    hs_free(context);
}

static void context_leave(hs_tls_context_t *context)
{
    if (--context->users == 0)
        context_free(context);
}

static bool is_there(const char *path)
{
    return hs_sock_file_at(path).inode != 0;
}

/* Where systems keep the certificates that they trust. A directory is looked into when a
 * certificate is needed, a file is read as a whole. OpenSSL's own default comes first, which
 * follows SSL_CERT_FILE and SSL_CERT_DIR; inside node it names no place of the system. */
static bool trust_system(SSL_CTX *ctx)
{
    static const char *const files[] = {
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
        "/opt/homebrew/etc/openssl@3/cert.pem",
    };
    bool is_told = getenv("SSL_CERT_FILE") != NULL || getenv("SSL_CERT_DIR") != NULL;
    if (SSL_CTX_set_default_verify_paths(ctx) != 1)
        return false;
    if (is_told)
        return true;
    if (is_there("/etc/ssl/certs/ca-certificates.crt"))
        return SSL_CTX_load_verify_dir(ctx, "/etc/ssl/certs") == 1;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (is_there(files[i]))
            return SSL_CTX_load_verify_file(ctx, files[i]) == 1;
    return true;
}

/* "h2,http/1.1" as the protocol has it: each with its length. False: one is empty or too long. */
static bool set_protocols(SSL_CTX *ctx, const char *list)
{
    unsigned char wire[256];
    size_t len = 0;
    for (const char *from = list; from != NULL;) {
        const char *comma = strchr(from, ',');
        size_t part = comma != NULL ? (size_t)(comma - from) : strlen(from);
        if (part == 0 || part + 1 > sizeof(wire) - len)
            return false;
        wire[len++] = (unsigned char)part;
        memcpy(wire + len, from, part);
        len += part;
        from = comma != NULL ? comma + 1 : NULL;
    }
    return SSL_CTX_set_alpn_protos(ctx, wire, (unsigned)len) == 0; /* 0 is success here */
}

static bool set_up(SSL_CTX *ctx, const hs_tls_config_t *config, hs_failure_t *failure)
{
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    SSL_CTX_set_verify(ctx, config->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (config->verify && config->ca == NULL && !trust_system(ctx)) {
        *failure = tls_failure("certificates of the system: ", reason());
        return false;
    }
    if (config->ca != NULL && SSL_CTX_load_verify_file(ctx, config->ca) != 1) {
        *failure = tls_failure("cannot read certificates from ", config->ca);
        return false;
    }
    if (config->cert != NULL && SSL_CTX_use_certificate_chain_file(ctx, config->cert) != 1) {
        *failure = tls_failure("cannot read a certificate from ", config->cert);
        return false;
    }
    const char *key = config->key != NULL ? config->key : config->cert;
    if (config->cert != NULL && SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
        *failure = tls_failure("cannot read the certificate's key from ", key);
        return false;
    }
    if (config->alpn != NULL && !set_protocols(ctx, config->alpn)) {
        *failure = tls_failure("not a list of protocols: ", config->alpn);
        return false;
    }
    return true;
}

/* Each part with its length, so that no two configurations have one key. */
static bool make_key(const hs_tls_config_t *config, hs_buf_t *key)
{
    const char *parts[] = { config->verify ? "1" : "0", config->ca, config->cert, config->key,
                            config->alpn };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        size_t len = parts[i] != NULL ? strlen(parts[i]) : SIZE_MAX;
        if (!hs_buf_append(key, (const char *)&len, sizeof(len)) ||
            (parts[i] != NULL && !hs_buf_append(key, parts[i], len)))
            return false;
    }
    return true;
}

static hs_tls_context_t *context_new(hs_tls_contexts_t *contexts, const hs_tls_config_t *config,
                                     hs_buf_t *key, hs_failure_t *failure)
{
    hs_tls_context_t *context = hs_alloc_zeroed(1, sizeof(*context));
    SSL_CTX *ctx = context != NULL ? SSL_CTX_new(TLS_client_method()) : NULL;
    if (ctx == NULL) {
        hs_free(context);
        *failure = hs_failure_of(HS_FAILURE_NO_MEMORY);
        return NULL;
    }
    if (!set_up(ctx, config, failure)) {
        SSL_CTX_free(ctx);
        hs_free(context);
        return NULL;
    }
    context->ctx = ctx;
    context->verify = config->verify;
    context->has_files = config->ca != NULL || config->cert != NULL;
    context->made_ms = hs_clock_monotonic_ms();
    context->key = key->data;
    context->key_len = key->len;
    *key = (hs_buf_t){ 0 };
    context->users = 1;
    context->next = contexts->first;
    contexts->first = context;
    contexts->count++;
    return context;
}

/* Takes the one at `place` out of the list. */
static void drop_context(hs_tls_contexts_t *contexts, hs_tls_context_t **place)
{
    hs_tls_context_t *context = *place;
    *place = context->next;
    contexts->count--;
    context_leave(context);
}

/* The context of a configuration, which comes to the front of the list. */
static hs_tls_context_t *context_of(hs_tls_contexts_t *contexts, const hs_tls_config_t *config,
                                    hs_failure_t *failure)
{
    hs_buf_t key = { 0 };
    hs_tls_context_t *context = NULL;
    if (!make_key(config, &key)) {
        hs_buf_free(&key);
        *failure = hs_failure_of(HS_FAILURE_NO_MEMORY);
        return NULL;
    }
    hs_tls_context_t **place = &contexts->first;
    while (*place != NULL &&
           ((*place)->key_len != key.len || memcmp((*place)->key, key.data, key.len) != 0))
        place = &(*place)->next;
    if (*place != NULL && (*place)->has_files &&
        hs_clock_monotonic_ms() - (*place)->made_ms >= FILES_AGE_MS)
        drop_context(contexts, place);
    else if (*place != NULL) {
        context = *place;
        *place = context->next;
        context->next = contexts->first;
        contexts->first = context;
    }
    if (context == NULL) {
        context = context_new(contexts, config, &key, failure);
        if (contexts->count > HS_TLS_CONTEXTS_MAX) {
            place = &contexts->first;
            while ((*place)->next != NULL)
                place = &(*place)->next;
            drop_context(contexts, place);
        }
    }
    hs_buf_free(&key);
    return context;
}

void hs_tls_contexts_free(hs_tls_contexts_t *contexts)
{
    while (contexts->first != NULL)
        drop_context(contexts, &contexts->first);
}

/* --- a connection --- */

/* The name is asked for and verified; of an address only the latter. */
static bool set_name(hs_tls_t *tls, const hs_tls_config_t *config, hs_failure_t *failure)
{
    const char *name = config->server_name;
    hs_sock_endpoint_t address;
    if (name == NULL) {
        if (!config->verify)
            return true;
        *failure = tls_failure("", "no server name to verify");
        return false;
    }
    X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);
    bool is_address = hs_sock_endpoint_tcp(&address, name, 0) == HS_OK;
    bool is_set;
    if (is_address) {
        is_set = !config->verify || X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
    } else {
        is_set = SSL_set_tlsext_host_name(tls->ssl, name) == 1;
        X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        if (config->verify)
            is_set = is_set && SSL_set1_host(tls->ssl, name) == 1;
    }
    if (!is_set)
        *failure = tls_failure("not a server name: ", name);
    return is_set;
}

hs_tls_t *hs_tls_new(hs_tls_contexts_t *contexts, const hs_tls_config_t *config, const char *peer,
                     size_t peer_len, hs_failure_t *failure)
{
    ERR_clear_error();
    hs_tls_context_t *context = context_of(contexts, config, failure);
    if (context == NULL)
        return NULL;
    hs_tls_t *tls = hs_alloc_zeroed(1, sizeof(*tls) + peer_len);
    SSL *ssl = tls != NULL ? SSL_new(context->ctx) : NULL;
    BIO *in = ssl != NULL ? BIO_new(BIO_s_mem()) : NULL;
    BIO *out = in != NULL ? BIO_new(BIO_s_mem()) : NULL;
    if (out == NULL) {
        BIO_free(in);
        SSL_free(ssl);
        hs_free(tls);
        *failure = hs_failure_of(HS_FAILURE_NO_MEMORY);
        return NULL;
    }
    SSL_set_bio(ssl, in, out); /* they belong to it */
    SSL_set_connect_state(ssl);
    SSL_set_app_data(ssl, tls);
    tls->ssl = ssl;
    tls->in = in;
    tls->out = out;
    tls->context = context;
    context->users++;
    tls->peer_len = peer_len;
    memcpy(tls->peer, peer, peer_len);
    if (!set_name(tls, config, failure)) {
        hs_tls_free(tls);
        return NULL;
    }
    session_t *session = session_find(context, peer, peer_len);
    if (session != NULL) {
        session->used = ++context->uses;
        (void)SSL_set_session(ssl, session->session);
    }
    return tls;
}

void hs_tls_free(hs_tls_t *tls)
{
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    hs_buf_free(&tls->unsent);
    context_leave(tls->context);
    hs_free(tls);
}

bool hs_tls_is_ready(const hs_tls_t *tls)
{
    return tls->ready;
}

bool hs_tls_is_over(const hs_tls_t *tls)
{
    return (SSL_get_shutdown(tls->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
}

const hs_failure_t *hs_tls_failure(const hs_tls_t *tls)
{
    return &tls->failure;
}

bool hs_tls_is_resumed(const hs_tls_t *tls)
{
    return SSL_session_reused(tls->ssl) == 1;
}

const char *hs_tls_protocol(hs_tls_t *tls)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(tls->ssl, &name, &len);
    memcpy(tls->protocol, name != NULL ? (const char *)name : "", len);
    tls->protocol[len] = '\0';
    return tls->protocol;
}

/* --- bytes --- */

/* What OpenSSL has written goes behind what the descriptor has not taken, then to it. */
static int send_ciphertext(hs_tls_t *tls, int fd)
{
    size_t written = (size_t)BIO_ctrl_pending(tls->out);
    if (written > 0) {
        if (!hs_buf_reserve(&tls->unsent, written))
            return -ENOMEM;
        int read = BIO_read(tls->out, tls->unsent.data + tls->unsent.len, (int)written);
        HS_ASSERT(read == (int)written);
        tls->unsent.len += (size_t)read;
    }
    while (tls->unsent_at < tls->unsent.len) {
        struct iovec iov = { tls->unsent.data + tls->unsent_at, tls->unsent.len - tls->unsent_at };
        ptrdiff_t sent = hs_sock_send(fd, &iov, 1);
        if (sent < 0)
            return (int)sent;
        tls->unsent_at += (size_t)sent;
    }
    tls->unsent_at = 0;
    hs_buf_reset(&tls->unsent, 0);
    return 0;
}

int hs_tls_flush(hs_tls_t *tls, int fd)
{
    if (!tls->ready && tls->failure.kind == HS_FAILURE_NONE) {
        ERR_clear_error();
        (void)SSL_do_handshake(tls->ssl); /* its outcome is recv's business */
    }
    return send_ciphertext(tls, fd);
}

/* More ciphertext of the descriptor: 1, or 0 (the end), or -errno. */
static int receive_ciphertext(hs_tls_t *tls, int fd)
{
    char record[RECORD_BYTES];
    struct iovec iov = { record, sizeof(record) };
    ptrdiff_t received = hs_sock_recv(fd, &iov, 1);
    if (received <= 0)
        return (int)received;
    return BIO_write(tls->in, record, (int)received) == (int)received ? 1 : -ENOMEM;
}

/* One step: bytes of content > 0; 0: the end; -EAGAIN: the descriptor has no more; else an error.
 */
static int step(hs_tls_t *tls, int fd, void *to, size_t room)
{
    for (;;) {
        ERR_clear_error();
        int result = tls->ready ? SSL_read(tls->ssl, to, (int)hs_min(room, 1 << 30))
                                : SSL_do_handshake(tls->ssl);
        int error = result > 0 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, result);
        if (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ &&
            error != SSL_ERROR_ZERO_RETURN)
            note_failure(tls);
        /* Messages of the protocol, and the alert that tells the peer what is wrong. */
        int flushed = send_ciphertext(tls, fd);
        if (flushed < 0 && flushed != -EAGAIN)
            return flushed;
        if (result > 0 && tls->ready)
            return result;
        if (result > 0) {
            tls->ready = true;
            continue;
        }
        if (error == SSL_ERROR_ZERO_RETURN)
            return 0;
        if (error != SSL_ERROR_WANT_READ)
            return -EPROTO;
        int received = receive_ciphertext(tls, fd);
        if (received <= 0)
            return received == 0 && !tls->ready ? -ECONNRESET : received;
    }
}

ptrdiff_t hs_tls_recv(hs_tls_t *tls, int fd, struct iovec *iov, int count)
{
    size_t total = 0;
    if (tls->pending != 0 || tls->ended)
        return tls->pending;
    for (int i = 0; i < count; i++) {
        for (size_t at = 0; at < iov[i].iov_len;) {
            int result = step(tls, fd, (char *)iov[i].iov_base + at, iov[i].iov_len - at);
            if (result > 0) {
                at += (size_t)result;
                total += (size_t)result;
                continue;
            }
            tls->ended = tls->ended || result == 0;
            if (total == 0)
                return result;
            tls->pending = result == -EAGAIN ? 0 : result;
            return (ptrdiff_t)total;
        }
    }
    return (ptrdiff_t)total;
}

/*
 * Plaintext counts as sent when its ciphertext is the kernel's: so what is unsent stays in the
 * output chain, whose head it is again at the next call, and a full descriptor looks full.
 */
ptrdiff_t hs_tls_send(hs_tls_t *tls, int fd, struct iovec *iov, int count)
{
    size_t total = 0;
    if (!tls->ready)
        return -EAGAIN;
    int flushed = send_ciphertext(tls, fd);
    if (flushed < 0)
        return flushed;
    size_t skip = tls->accepted;
    tls->accepted = 0;
    total = skip;
    for (int i = 0; i < count; i++) {
        size_t at = hs_min(skip, iov[i].iov_len);
        skip -= at;
        while (at < iov[i].iov_len) {
            size_t chunk = hs_min(iov[i].iov_len - at, CHUNK_BYTES);
            ERR_clear_error();
            int written = SSL_write(tls->ssl, (const char *)iov[i].iov_base + at, (int)chunk);
            if (written <= 0) {
                note_failure(tls);
                return -EPROTO;
            }
            flushed = send_ciphertext(tls, fd);
            if (flushed < 0) {
                tls->accepted = (size_t)written;
                if (flushed != -EAGAIN || total == 0)
                    return flushed;
                return (ptrdiff_t)total;
            }
            at += (size_t)written;
            total += (size_t)written;
        }
    }
    return (ptrdiff_t)total;
}

void hs_tls_end(hs_tls_t *tls, int fd)
{
    if (!tls->ready || tls->failure.kind != HS_FAILURE_NONE)
        return;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl);
    (void)send_ciphertext(tls, fd);
}
