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

/* After this time a configuration's files are checked for replacement. */
#define FILES_AGE_MS 60000

/* A session received from a server. owner: its context */
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
    char *key; /* the configuration except the server's name */
    size_t key_len;
    bool has_files;
    bool verify;
    uint32_t users;
    uint64_t made_ms;
    uint64_t uses;
    session_t sessions[HS_TLS_SESSIONS_MAX];
};

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

/* The server issued a session. 1: it is kept here. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    hs_tls_client_t *client = HS_CONTAINER_OF(SSL_get_app_data(ssl), hs_tls_client_t, tls);
    hs_tls_context_t *context = client->context;
    session_t *place = session_find(context, client->peer, client->peer_len);
    if (place == NULL) {
        place = &context->sessions[0];
        for (size_t i = 1; i < HS_TLS_SESSIONS_MAX; i++)
            if (context->sessions[i].used < place->used)
                place = &context->sessions[i];
        char *peer = hs_alloc(client->peer_len + 1);
        if (peer == NULL)
            return 0;
        session_clear(place);
        memcpy(peer, client->peer, client->peer_len);
        place->peer = peer;
        place->peer_len = client->peer_len;
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

/* Where systems keep trusted certificates. A directory is searched when a certificate is needed, a
 * file is read as a whole. OpenSSL's own default comes first, which honours SSL_CERT_FILE and
 * SSL_CERT_DIR; inside node it is not a location of the system. */
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

/* "h2,http/1.1" in wire format: each with its length. False: one is empty or too long. */
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
        *failure = hs_tls_failure_of("certificates of the system: ", hs_tls_reason());
        return false;
    }
    if (config->ca != NULL && SSL_CTX_load_verify_file(ctx, config->ca) != 1) {
        *failure = hs_tls_failure_of("cannot read certificates from ", config->ca);
        return false;
    }
    if (config->cert != NULL && SSL_CTX_use_certificate_chain_file(ctx, config->cert) != 1) {
        *failure = hs_tls_failure_of("cannot read a certificate from ", config->cert);
        return false;
    }
    const char *key = config->key != NULL ? config->key : config->cert;
    if (config->cert != NULL && SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
        *failure = hs_tls_failure_of("cannot read the certificate's key from ", key);
        return false;
    }
    if (config->alpn != NULL && !set_protocols(ctx, config->alpn)) {
        *failure = hs_tls_failure_of("not a list of protocols: ", config->alpn);
        return false;
    }
    return true;
}

/* Each part with its length, so that no two configurations have the same key. */
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

/* Removes the one at `place` from the list. */
static void drop_context(hs_tls_contexts_t *contexts, hs_tls_context_t **place)
{
    hs_tls_context_t *context = *place;
    *place = context->next;
    contexts->count--;
    context_leave(context);
}

/* The context of a configuration, moved to the front of the list. */
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
    hs_tls_wire_free(&contexts->wire);
}

/* --- a connection --- */

/* A name is requested and verified; an address is only verified. */
static bool set_name(SSL *ssl, const hs_tls_config_t *config, hs_failure_t *failure)
{
    const char *name = config->server_name;
    hs_sock_endpoint_t address;
    if (name == NULL) {
        if (!config->verify)
            return true;
        *failure = hs_tls_failure_of("", "no server name to verify");
        return false;
    }
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    bool is_address = hs_sock_endpoint_tcp(&address, name, 0) == HS_OK;
    bool is_set;
    if (is_address) {
        is_set = !config->verify || X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
    } else {
        is_set = SSL_set_tlsext_host_name(ssl, name) == 1;
        X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        if (config->verify)
            is_set = is_set && SSL_set1_host(ssl, name) == 1;
    }
    if (!is_set)
        *failure = hs_tls_failure_of("not a server name: ", name);
    return is_set;
}

hs_tls_client_t *hs_tls_client_new(hs_tls_contexts_t *contexts, const hs_tls_config_t *config,
                                   const char *peer, size_t peer_len, hs_failure_t *failure)
{
    ERR_clear_error();
    hs_tls_context_t *context = context_of(contexts, config, failure);
    if (context == NULL)
        return NULL;
    hs_tls_client_t *client = hs_alloc_zeroed(1, sizeof(*client) + peer_len);
    if (client == NULL || !hs_tls_init(&client->tls, &contexts->wire, context->ctx, false)) {
        hs_free(client);
        *failure = hs_failure_of(HS_FAILURE_NO_MEMORY);
        return NULL;
    }
    client->context = context;
    context->users++;
    client->peer_len = peer_len;
    memcpy(client->peer, peer, peer_len);
    if (!set_name(client->tls.ssl, config, failure)) {
        hs_tls_client_free(client);
        return NULL;
    }
    session_t *session = session_find(context, peer, peer_len);
    if (session != NULL) {
        session->used = ++context->uses;
        (void)SSL_set_session(client->tls.ssl, session->session);
    }
    return client;
}

void hs_tls_client_free(hs_tls_client_t *client)
{
    if (client == NULL)
        return;
    hs_tls_clear(&client->tls);
    context_leave(client->context);
    hs_free(client);
}

const char *hs_tls_client_protocol(hs_tls_client_t *client)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(client->tls.ssl, &name, &len);
    memcpy(client->protocol, name != NULL ? (const char *)name : "", len);
    client->protocol[len] = '\0';
    return client->protocol;
}

size_t hs_tls_client_binding(const hs_tls_client_t *client, unsigned char *to)
{
    X509 *certificate = SSL_get1_peer_certificate(client->tls.ssl);
    if (certificate == NULL)
        return 0;
    int digest = NID_undef;
    unsigned len = 0;
    (void)OBJ_find_sigid_algs(X509_get_signature_nid(certificate), &digest, NULL);
    const EVP_MD *md = digest == NID_md5 || digest == NID_sha1
                           ? EVP_sha256()
                           : EVP_get_digestbynid(digest); /* NULL for those without one */
    if (md == NULL || X509_digest(certificate, md, to, &len) != 1)
        len = 0;
    X509_free(certificate);
    return len;
}
