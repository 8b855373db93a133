#define OPENSSL_API_COMPAT 30000
#define OPENSSL_NO_DEPRECATED

#include "net/hs_tls_server.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

/* Mozilla's "intermediate" without the ciphers that need Diffie-Hellman parameters. The server's
 * order applies, unless the client prefers ChaCha20, which means that it has no AES hardware. */
static const char CIPHERS_1_3[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                                  "TLS_CHACHA20_POLY1305_SHA256";
static const char CIPHERS_1_2[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                  "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                  "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
/* The first needs OpenSSL 3.5 or later. */
static const char *const GROUPS[] = { "X25519MLKEM768:X25519:P-256:P-384", "X25519:P-256:P-384" };

/* By the type of key: a client may support only one of them. */
enum {
    RSA,
    OTHER,
    KINDS
};
#define NO_PAIR SIZE_MAX

typedef struct pair {
    X509 *certificate;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
    unsigned char *ocsp; /* owned; NULL: none */
    size_t ocsp_len;
    time_t ocsp_until;
} pair_t;

/* A name of certificates. owner: hs_tls_server_t */
typedef struct name {
    char *text; /* in lower case; of a wildcard from its dot on */
    size_t len;
    size_t pairs[KINDS]; /* NO_PAIR: none of this kind */
    SSL_CTX *context;    /* of the server's `contexts` */
} name_t;

typedef struct context {
    SSL_CTX *ctx;
    size_t pairs[KINDS];
} context_t;

struct hs_tls_server {
    uint32_t users; /* loop */
    pair_t pairs[HS_TLS_PAIRS_MAX];
    size_t pair_count;
    name_t *names;
    size_t name_count;
    context_t contexts[2 * HS_TLS_PAIRS_MAX];
    size_t context_count;
    SSL_CTX *fallback; /* of `contexts` */
    EVP_CIPHER *ticket_cipher;
    char ticket_keys[HS_TLS_TICKET_KEYS * HS_TLS_TICKET_KEY_BYTES];
    size_t ticket_key_count;
};

/* --- material --- */

static bool take_entry(hs_tls_material_t *material, hs_span_t name, hs_span_t value)
{
    if (hs_span_equals(name, HS_SPAN_LITERAL("certificate"))) {
        if (material->pair_count == HS_TLS_PAIRS_MAX)
            return false;
        material->pairs[material->pair_count++].certificate = value;
        return true;
    }
    hs_tls_pair_t *pair =
        material->pair_count > 0 ? &material->pairs[material->pair_count - 1] : NULL;
    if (hs_span_equals(name, HS_SPAN_LITERAL("key")) && pair != NULL)
        pair->key = value;
    else if (hs_span_equals(name, HS_SPAN_LITERAL("ocsp")) &&
             material->ocsp_count < HS_TLS_PAIRS_MAX)
        material->ocsp[material->ocsp_count++] = value;
    else if (hs_span_equals(name, HS_SPAN_LITERAL("client-ca")))
        material->client_ca = value;
    else if (hs_span_equals(name, HS_SPAN_LITERAL("client-required")))
        material->requires_client = true;
    else if (hs_span_equals(name, HS_SPAN_LITERAL("ticket-keys")) &&
             value.len % HS_TLS_TICKET_KEY_BYTES == 0 &&
             value.len <= (size_t)HS_TLS_TICKET_KEYS * HS_TLS_TICKET_KEY_BYTES)
        material->ticket_keys = value;
    else
        return false;
    return true;
}

bool hs_tls_material_read(hs_tls_material_t *material, hs_span_t data)
{
    const char *at = data.data;
    const char *end = data.data + data.len;
    *material = (hs_tls_material_t){ 0 };
    while (at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        if (space == NULL)
            return false;
        hs_span_t name = hs_span(at, (size_t)(space - at));
        size_t len = 0;
        for (at = space + 1; at < end && *at >= '0' && *at <= '9'; at++) {
            len = len * 10 + (size_t)(*at - '0');
            if (len > data.len)
                return false;
        }
        if (at == end || *at != '\n' || len > (size_t)(end - at - 1))
            return false;
        at++;
        if (!take_entry(material, name, hs_span(at, len)))
            return false;
        at += len;
    }
    return material->pair_count > 0;
}

/* --- certificates --- */

static int no_password(char *buffer, int size, int writes, void *context)
{
    (void)buffer;
    (void)size;
    (void)writes;
    (void)context;
    return -1;
}

static BIO *bio_of(hs_span_t text)
{
    return text.len <= INT_MAX ? BIO_new_mem_buf(text.data, (int)text.len) : NULL;
}

/* The end of the text is not an error. */
static bool is_end_of_pem(void)
{
    unsigned long error = ERR_peek_last_error();
    bool is_end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
    if (is_end)
        ERR_clear_error();
    return is_end;
}

static bool read_certificates(pair_t *pair, hs_span_t text)
{
    BIO *bio = bio_of(text);
    pair->certificate = bio != NULL ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
    pair->chain = sk_X509_new_null();
    bool is_read = pair->certificate != NULL && pair->chain != NULL;
    while (is_read) {
        X509 *next = PEM_read_bio_X509(bio, NULL, no_password, NULL);
        if (next == NULL)
            break;
        is_read = sk_X509_push(pair->chain, next) > 0;
        if (!is_read)
            X509_free(next);
    }
    is_read = is_read && is_end_of_pem();
    BIO_free(bio);
    return is_read;
}

static int read_pair(pair_t *pair, const hs_tls_pair_t *from, size_t number, hs_errinfo_t *error)
{
    if (!read_certificates(pair, from->certificate))
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "certificate %zu cannot be read: %s",
                              number, hs_tls_reason());
    BIO *bio = bio_of(from->key);
    pair->key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    if (pair->key == NULL)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0,
                              "the key of certificate %zu cannot be used: %s", number,
                              hs_tls_reason());
    if (X509_check_private_key(pair->certificate, pair->key) != 1)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0,
                              "the key of certificate %zu belongs to another certificate", number);
    return HS_OK;
}

/* --- stapled responses of authorities (RFC 6066 §8) --- */

static time_t time_of(const ASN1_TIME *time)
{
    struct tm tm;
    return time != NULL && ASN1_TIME_to_tm(time, &tm) == 1 ? timegm(&tm) : 0;
}

/* The pair whose certificate an OCSP response is about; NULL: none. `*until`: when the response
 * expires, 0: it does not say that the certificate is good. */
static pair_t *pair_of(hs_tls_server_t *server, OCSP_BASICRESP *response, time_t *until)
{
    OCSP_SINGLERESP *single = OCSP_resp_get0(response, 0);
    ASN1_INTEGER *serial = NULL;
    ASN1_GENERALIZEDTIME *next = NULL;
    if (single == NULL ||
        OCSP_id_get0_info(NULL, NULL, NULL, &serial,
                          (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(single)) != 1)
        return NULL;
    bool is_good =
        OCSP_single_get0_status(single, NULL, NULL, NULL, &next) == V_OCSP_CERTSTATUS_GOOD;
    *until = is_good ? time_of(next) : 0;
    for (size_t i = 0; i < server->pair_count; i++)
        if (ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(server->pairs[i].certificate)) == 0)
            return &server->pairs[i];
    return NULL;
}

static int read_ocsp(hs_tls_server_t *server, hs_span_t der, size_t number, hs_errinfo_t *error)
{
    const unsigned char *at = (const unsigned char *)der.data;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)der.len);
    OCSP_BASICRESP *basic = response != NULL ? OCSP_response_get1_basic(response) : NULL;
    time_t until = 0;
    pair_t *pair = basic != NULL ? pair_of(server, basic, &until) : NULL;
    bool is_read = basic != NULL;
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    if (!is_read)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "OCSP response %zu cannot be read", number);
    if (pair == NULL)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0,
                              "OCSP response %zu matches none of the certificates", number);
    hs_free(pair->ocsp);
    pair->ocsp = hs_alloc(der.len);
    if (pair->ocsp == NULL)
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for TLS");
    memcpy(pair->ocsp, der.data, der.len);
    pair->ocsp_len = der.len;
    pair->ocsp_until = until;
    return HS_OK;
}

/* --- names --- */

static name_t *find_name(const hs_tls_server_t *server, const char *text, size_t len)
{
    for (size_t i = 0; i < server->name_count; i++) {
        name_t *name = &server->names[i];
        if (name->len == len && memcmp(name->text, text, len) == 0)
            return name;
    }
    return NULL;
}

/* A client's name, or the suffix for a wildcard: "www.example.org", or its ".example.org". */
static name_t *find_by_client(const hs_tls_server_t *server, const char *asked)
{
    char text[256];
    size_t len = strlen(asked);
    if (len == 0 || len >= sizeof(text))
        return NULL;
    for (size_t i = 0; i < len; i++)
        text[i] = hs_ascii_lower(asked[i]);
    if (text[len - 1] == '.')
        len--;
    name_t *name = find_name(server, text, len);
    const char *dot = memchr(text, '.', len);
    if (name == NULL && dot != NULL && dot > text)
        name = find_name(server, dot, len - (size_t)(dot - text));
    return name;
}

static bool add_name(hs_tls_server_t *server, size_t pair, const char *text, size_t len)
{
    if (len > 2 && text[0] == '*' && text[1] == '.') {
        text++;
        len--;
    }
    if (len == 0 || len > 255 || memchr(text, '\0', len) != NULL || memchr(text, '*', len) != NULL)
        return true;
    char lower[256];
    for (size_t i = 0; i < len; i++)
        lower[i] = hs_ascii_lower(text[i]);
    name_t *name = find_name(server, lower, len);
    if (name == NULL) {
        name_t *names = hs_realloc(server->names, (server->name_count + 1) * sizeof(*names));
        char *copy = names != NULL ? hs_alloc(len) : NULL;
        if (names != NULL)
            server->names = names;
        if (copy == NULL)
            return false;
        memcpy(copy, lower, len);
        name = &names[server->name_count++];
        *name = (name_t){ .text = copy, .len = len, .pairs = { NO_PAIR, NO_PAIR } };
    }
    int kind = EVP_PKEY_is_a(server->pairs[pair].key, "RSA") ? RSA : OTHER;
    if (name->pairs[kind] == NO_PAIR)
        name->pairs[kind] = pair;
    return true;
}

/* The names of a certificate: a common name counts only if there is no other. */
static bool add_names(hs_tls_server_t *server, size_t pair)
{
    X509 *certificate = server->pairs[pair].certificate;
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    bool added = true;
    if (names == NULL) {
        char text[256];
        int len = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName,
                                            text, sizeof(text));
        ERR_clear_error();
        return len <= 0 || add_name(server, pair, text, (size_t)len);
    }
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DNS)
            continue;
        const ASN1_IA5STRING *text = name->d.dNSName;
        added = added && add_name(server, pair, (const char *)ASN1_STRING_get0_data(text),
                                  (size_t)ASN1_STRING_length(text));
    }
    GENERAL_NAMES_free(names);
    return added;
}

/* --- contexts --- */

static int on_server_name(SSL *ssl, int *alert, void *argument)
{
    (void)alert;
    const char *asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const name_t *name = asked != NULL ? find_by_client(argument, asked) : NULL;
    if (name == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    return SSL_set_SSL_CTX(ssl, name->context) != NULL ? SSL_TLSEXT_ERR_OK
                                                       : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* RFC 7301 §3.2: a client that offers no supported protocol gets an alert. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *offered, unsigned len, void *argument)
{
    static const unsigned char spoken[] = "\x08http/1.1";
    (void)ssl;
    (void)argument;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, spoken, sizeof(spoken) - 1, offered, len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int on_status_request(SSL *ssl, void *argument)
{
    const hs_tls_server_t *server = argument;
    const X509 *used = SSL_get_certificate(ssl);
    for (size_t i = 0; i < server->pair_count; i++) {
        const pair_t *pair = &server->pairs[i];
        if (pair->ocsp == NULL || time(NULL) >= pair->ocsp_until || used == NULL ||
            X509_cmp(pair->certificate, used) != 0)
            continue;
        unsigned char *copy = OPENSSL_memdup(pair->ocsp, pair->ocsp_len);
        if (copy == NULL)
            break;
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)pair->ocsp_len); /* it frees it */
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* RFC 5077 §4. 1: the ticket is valid; 2: it is, and a new one is issued; 0: no ticket. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int encrypts)
{
    const hs_tls_server_t *server =
        HS_CONTAINER_OF(SSL_get_app_data(ssl), hs_tls_accepted_t, tls)->server;
    size_t i = 0;
    const char *key = server->ticket_keys;
    if (encrypts) {
        memcpy(name, key, 16);
        if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(server->ticket_cipher)) != 1)
            return -1;
    } else {
        while (i < server->ticket_key_count && memcmp(name, key, 16) != 0) {
            key += HS_TLS_TICKET_KEY_BYTES;
            i++;
        }
        if (i == server->ticket_key_count)
            return 0;
    }
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (char *)key + 16, 32),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    const unsigned char *secret = (const unsigned char *)key + 48;
    bool done = EVP_MAC_CTX_set_params(mac, params) == 1 &&
                EVP_CipherInit_ex2(cipher, server->ticket_cipher, secret, iv, encrypts, NULL) == 1;
    if (!done)
        return -1;
    return encrypts || i == 0 ? 1 : 2;
}

static bool use_pair(SSL_CTX *ctx, const pair_t *pair)
{
    return SSL_CTX_use_cert_and_key(ctx, pair->certificate, pair->key, pair->chain, 1) == 1;
}

static bool set_groups(SSL_CTX *ctx)
{
    for (size_t i = 0; i < sizeof(GROUPS) / sizeof(GROUPS[0]); i++)
        if (SSL_CTX_set1_groups_list(ctx, GROUPS[i]) == 1)
            return true;
    return false;
}

static bool set_client_ca(SSL_CTX *ctx, const hs_tls_material_t *material)
{
    BIO *bio = bio_of(material->client_ca);
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    int count = 0;
    X509 *ca;
    bool is_set = bio != NULL;
    while (is_set && (ca = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
        is_set = X509_STORE_add_cert(store, ca) == 1 && SSL_CTX_add_client_CA(ctx, ca) == 1;
        X509_free(ca);
        count++;
    }
    is_set = is_set && is_end_of_pem() && count > 0;
    BIO_free(bio);
    int mode = SSL_VERIFY_PEER;
    if (material->requires_client)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(ctx, mode, NULL);
    return is_set;
}

static SSL_CTX *make_context(hs_tls_server_t *server, const hs_tls_material_t *material,
                             const size_t pairs[KINDS], hs_errinfo_t *error)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL) {
        hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for TLS");
        return NULL;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ctx, HS_TLS_SESSION_S);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_max_early_data(ctx, 0);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, server);
    SSL_CTX_set_tlsext_status_cb(ctx, on_status_request);
    SSL_CTX_set_tlsext_status_arg(ctx, server);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
    static const unsigned char id[] = "moonring";
    bool is_set = SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
                  SSL_CTX_set_ciphersuites(ctx, CIPHERS_1_3) == 1 &&
                  SSL_CTX_set_cipher_list(ctx, CIPHERS_1_2) == 1 && set_groups(ctx) &&
                  SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1) == 1;
    ERR_clear_error();
    for (int kind = 0; kind < KINDS; kind++)
        if (is_set && pairs[kind] != NO_PAIR)
            is_set = use_pair(ctx, &server->pairs[pairs[kind]]);
    if (!is_set)
        hs_errinfo_set(error, HS_ERR_INVALID, 0, "cannot set up TLS: %s", hs_tls_reason());
    else if (material->client_ca.len > 0 && !set_client_ca(ctx, material))
        hs_errinfo_set(error, HS_ERR_INVALID, 0, "the client CA certificates cannot be read: %s",
                       hs_tls_reason());
    else
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

/* The context with these certificates, possibly shared by many names. */
static SSL_CTX *context_of(hs_tls_server_t *server, const hs_tls_material_t *material,
                           const size_t pairs[KINDS], hs_errinfo_t *error)
{
    for (size_t i = 0; i < server->context_count; i++)
        if (memcmp(server->contexts[i].pairs, pairs, sizeof(server->contexts[i].pairs)) == 0)
            return server->contexts[i].ctx;
    if (server->context_count == sizeof(server->contexts) / sizeof(server->contexts[0])) {
        hs_errinfo_set(error, HS_ERR_LIMIT, 0, "the names of the certificates overlap too often");
        return NULL;
    }
    SSL_CTX *ctx = make_context(server, material, pairs, error);
    if (ctx == NULL)
        return NULL;
    context_t *context = &server->contexts[server->context_count++];
    context->ctx = ctx;
    memcpy(context->pairs, pairs, sizeof(context->pairs));
    return ctx;
}

/* A client that requests no known name gets the first certificate with its settings. */
static bool make_contexts(hs_tls_server_t *server, const hs_tls_material_t *material,
                          hs_errinfo_t *error)
{
    int kind = EVP_PKEY_is_a(server->pairs[0].key, "RSA") ? RSA : OTHER;
    size_t first[KINDS] = { NO_PAIR, NO_PAIR };
    first[kind] = 0;
    for (size_t i = 0; i < server->name_count; i++) {
        name_t *name = &server->names[i];
        name->context = context_of(server, material, name->pairs, error);
        if (name->context == NULL)
            return false;
        if (server->fallback == NULL && name->pairs[kind] == 0)
            server->fallback = name->context;
    }
    if (server->fallback == NULL)
        server->fallback = context_of(server, material, first, error);
    return server->fallback != NULL;
}

bool hs_tls_ticket_key_make(char key[HS_TLS_TICKET_KEY_BYTES])
{
    return RAND_priv_bytes((unsigned char *)key, HS_TLS_TICKET_KEY_BYTES) == 1;
}

static bool set_ticket_keys(hs_tls_server_t *server, hs_span_t keys)
{
    server->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    server->ticket_key_count = keys.len > 0 ? keys.len / HS_TLS_TICKET_KEY_BYTES : 1;
    if (keys.len > 0)
        memcpy(server->ticket_keys, keys.data, keys.len);
    else if (!hs_tls_ticket_key_make(server->ticket_keys))
        return false;
    return server->ticket_cipher != NULL;
}

static void free_server(hs_tls_server_t *server)
{
    for (size_t i = 0; i < server->context_count; i++)
        SSL_CTX_free(server->contexts[i].ctx);
    for (size_t i = 0; i < server->name_count; i++)
        hs_free(server->names[i].text);
    hs_free(server->names);
    for (size_t i = 0; i < server->pair_count; i++) {
        X509_free(server->pairs[i].certificate);
        sk_X509_pop_free(server->pairs[i].chain, X509_free);
        EVP_PKEY_free(server->pairs[i].key);
        hs_free(server->pairs[i].ocsp);
    }
    EVP_CIPHER_free(server->ticket_cipher);
    OPENSSL_cleanse(server->ticket_keys, sizeof(server->ticket_keys));
    hs_free(server);
}

hs_tls_server_t *hs_tls_server_new(const hs_tls_material_t *material, hs_errinfo_t *error)
{
    ERR_clear_error();
    hs_tls_server_t *server = hs_alloc_zeroed(1, sizeof(*server));
    if (server == NULL) {
        hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for TLS");
        return NULL;
    }
    server->users = 1;
    for (size_t i = 0; i < material->pair_count; i++) {
        server->pair_count++;
        if (read_pair(&server->pairs[i], &material->pairs[i], i + 1, error) != HS_OK) {
            free_server(server);
            return NULL;
        }
        if (!add_names(server, i)) {
            hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for TLS");
            free_server(server);
            return NULL;
        }
    }
    for (size_t i = 0; i < material->ocsp_count; i++) {
        if (read_ocsp(server, material->ocsp[i], i + 1, error) != HS_OK) {
            free_server(server);
            return NULL;
        }
    }
    if (!set_ticket_keys(server, material->ticket_keys)) {
        hs_errinfo_set(error, HS_ERR_SYSTEM, 0, "no random bytes for TLS");
        free_server(server);
        return NULL;
    }
    if (!make_contexts(server, material, error)) {
        free_server(server);
        return NULL;
    }
    return server;
}

void hs_tls_server_leave(hs_tls_server_t *server)
{
    if (server != NULL && --server->users == 0)
        free_server(server);
}

/* --- a connection --- */

hs_tls_accepted_t *hs_tls_accept(hs_tls_server_t *server, hs_tls_wire_t *wire)
{
    ERR_clear_error();
    hs_tls_accepted_t *accepted = hs_alloc_zeroed(1, sizeof(*accepted));
    if (accepted == NULL || !hs_tls_init(&accepted->tls, wire, server->fallback, true)) {
        hs_free(accepted);
        return NULL;
    }
    accepted->server = server;
    server->users++;
    return accepted;
}

void hs_tls_accepted_free(hs_tls_accepted_t *accepted)
{
    if (accepted == NULL)
        return;
    hs_tls_clear(&accepted->tls);
    hs_tls_info_drop(accepted->info);
    hs_tls_server_leave(accepted->server);
    hs_free(accepted);
}

#define TEXT_MAX 512

/* Room for the strings of one connection. */
typedef struct texts {
    char data[2 * TEXT_MAX + 1024];
    size_t len;
} texts_t;

/* Where `from` is in what they will be: so far, an offset. */
static size_t add_text(texts_t *texts, const char *from, size_t len)
{
    size_t at = texts->len;
    size_t part = hs_min(hs_min(len, TEXT_MAX), sizeof(texts->data) - at - 1);
    memcpy(texts->data + at, from, part);
    texts->data[at + part] = '\0';
    texts->len += part + 1;
    return at;
}

static size_t add_string(texts_t *texts, const char *from)
{
    return from != NULL ? add_text(texts, from, strlen(from)) : add_text(texts, "", 0);
}

static size_t add_hex(texts_t *texts, const unsigned char *from, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    char hex[2 * EVP_MAX_MD_SIZE];
    size_t count = hs_min(len, sizeof(hex) / 2);
    for (size_t i = 0; i < count; i++) {
        hex[2 * i] = digits[from[i] >> 4];
        hex[2 * i + 1] = digits[from[i] & 15];
    }
    return add_text(texts, hex, 2 * count);
}

static size_t add_name_of(texts_t *texts, const X509_NAME *name)
{
    char *text = NULL;
    BIO *bio = name != NULL ? BIO_new(BIO_s_mem()) : NULL;
    bool is_printed = bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0;
    long len = is_printed ? BIO_get_mem_data(bio, &text) : 0;
    size_t at = add_text(texts, len > 0 ? text : "", (size_t)len);
    BIO_free(bio);
    return at;
}

bool hs_tls_accepted_ready(hs_tls_accepted_t *accepted)
{
    SSL *ssl = accepted->tls.ssl;
    X509 *client = SSL_get0_peer_certificate(ssl);
    const ASN1_INTEGER *serial = client != NULL ? X509_get0_serialNumber(client) : NULL;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_len = 0;
    if (client != NULL && X509_digest(client, EVP_sha256(), digest, &digest_len) != 1)
        digest_len = 0;
    texts_t texts = { .len = 0 };
    size_t version = add_string(&texts, SSL_get_version(ssl));
    size_t cipher = add_string(&texts, SSL_CIPHER_standard_name(SSL_get_current_cipher(ssl)));
    size_t server_name = add_string(&texts, SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
    size_t subject = add_name_of(&texts, client != NULL ? X509_get_subject_name(client) : NULL);
    size_t issuer = add_name_of(&texts, client != NULL ? X509_get_issuer_name(client) : NULL);
    size_t number = add_hex(&texts, serial != NULL ? ASN1_STRING_get0_data(serial) : NULL,
                            serial != NULL ? (size_t)ASN1_STRING_length(serial) : 0);
    size_t fingerprint = add_hex(&texts, digest, digest_len);
    hs_tls_info_t *info = hs_alloc(sizeof(*info) + texts.len);
    if (info == NULL)
        return false;
    *info = (hs_tls_info_t){
        .users = 1,
        .peer = {
            .is_resumed = hs_tls_is_resumed(&accepted->tls),
            .version = info->text + version,
            .cipher = info->text + cipher,
            .server_name = info->text + server_name,
            .client_subject = info->text + subject,
            .client_issuer = info->text + issuer,
            .client_serial = info->text + number,
            .client_fingerprint = info->text + fingerprint,
        },
    };
    /* Not earlier: the text begins in the padding at the end of the struct, which a compiler may
     * overwrite. */
    memcpy(info->text, texts.data, texts.len);
    accepted->info = info;
    return true;
}
