/* A TLS server, and OpenSSL as its client. */
#include "served.h"

#include <openssl/ocsp.h>
#include <stdlib.h>

#include "net/hs_tls_server.h"
#include "net/tls_peer.h"

#define LARGE ((size_t)3 * 1024 * 1024)

typedef struct fixture {
    served_t served;
    certificate_t first;    /* EC, localhost */
    certificate_t rsa;      /* RSA, localhost */
    certificate_t wildcard; /* EC, *.example.org and example.org */
    certificate_t client;
    hs_tls_certificate_t files[3];
    hs_tls_options_t tls;
    SSL_CTX *ctx;
    char *large;
} fixture_t;

/* Chosen by the path: properties of the connection, the length of the content, or a long response.
 */
static void answer(hs_request_t *request, hs_response_t *response, void *user_data)
{
    fixture_t *fixture = user_data;
    const hs_tls_peer_t *peer = hs_req_tls(request);
    char text[1024];
    size_t len;
    if (strcmp(hs_req_url(request), "/large") == 0) {
        (void)hs_res_body(response, fixture->large, LARGE);
        return;
    }
    if (strcmp(hs_req_url(request), "/length") == 0) {
        (void)hs_req_body(request, &len);
        (void)snprintf(text, sizeof(text), "<%zu>", len);
    } else {
        (void)snprintf(text, sizeof(text), "<%s %s %s %s %s>", hs_req_scheme(request),
                       peer != NULL ? peer->version : "-", peer != NULL ? peer->server_name : "-",
                       peer != NULL ? peer->client_subject : "-",
                       peer != NULL && peer->client_fingerprint[0] != '\0' ? "print" : "");
    }
    (void)hs_res_body_str(response, text);
}

static int make_fixture(void **state)
{
    fixture_t *fixture = calloc(1, sizeof(*fixture));
    certificate_make(&fixture->first, "first", 10);
    certificate_make_for(&fixture->rsa, "rsa", "DNS:localhost", EVP_RSA_gen(2048), 10);
    certificate_make_for(&fixture->wildcard, "wildcard", "DNS:*.example.org,DNS:example.org",
                         EVP_EC_gen("P-256"), 10);
    certificate_make(&fixture->client, "client", 10);
    const certificate_t *all[] = { &fixture->first, &fixture->rsa, &fixture->wildcard };
    for (size_t i = 0; i < 3; i++)
        fixture->files[i] =
            (hs_tls_certificate_t){ .certificate = all[i]->file, .key = all[i]->file };
    fixture->tls = (hs_tls_options_t){ .certificates = fixture->files, .certificate_count = 3 };
    fixture->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(fixture->ctx, SSL_SESS_CACHE_CLIENT);
    fixture->large = malloc(LARGE);
    for (size_t i = 0; i < LARGE; i++)
        fixture->large[i] = (char)(i * 7 + (i >> 9));
    *state = fixture;
    return 0;
}

static int free_fixture(void **state)
{
    fixture_t *fixture = *state;
    certificate_free(&fixture->first);
    certificate_free(&fixture->rsa);
    certificate_free(&fixture->wildcard);
    certificate_free(&fixture->client);
    SSL_CTX_free(fixture->ctx);
    free(fixture->large);
    free(fixture);
    return 0;
}

static void start_with(fixture_t *fixture, hs_config_t *config)
{
    config->handler = answer;
    config->handler_ud = fixture;
    config->tls = &fixture->tls;
    config->tls_port = 0;
    served_start(&fixture->served, config);
}

static void start(fixture_t *fixture)
{
    hs_config_t config;
    served_config(&config);
    start_with(fixture, &config);
}

/* A blocking client; NULL: the handshake failed. */
static SSL *try_client(fixture_t *fixture, SSL_CTX *ctx, const char *name)
{
    SSL *ssl = SSL_new(ctx);
    int fd = client_open(hs_server_tls_port(fixture->served.server));
    SSL_set_fd(ssl, fd);
    if (name != NULL)
        SSL_set_tlsext_host_name(ssl, name);
    if (SSL_connect(ssl) == 1)
        return ssl;
    ERR_clear_error();
    close(fd);
    SSL_free(ssl);
    return NULL;
}

static SSL *client(fixture_t *fixture, const char *name)
{
    SSL *ssl = try_client(fixture, fixture->ctx, name);
    assert_non_null(ssl);
    return ssl;
}

static void leave(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    (void)SSL_shutdown(ssl);
    SSL_free(ssl);
    close(fd);
    ERR_clear_error();
}

/* One complete response, whose content is text in angle brackets. */
static void expect(SSL *ssl, const char *request, const char *expected)
{
    char text[4096];
    size_t len = 0;
    assert_int_equal(SSL_write(ssl, request, (int)strlen(request)), (int)strlen(request));
    do {
        int got = SSL_read(ssl, text + len, (int)(sizeof(text) - 1 - len));
        assert_true(got > 0);
        len += (size_t)got;
        text[len] = '\0';
    } while (strchr(text, '>') == NULL);
    if (strstr(text, expected) == NULL)
        fail_msg("'%s' is not in '%s'", expected, text);
}

#define GET "GET / HTTP/1.1\r\nHost: test\r\n\r\n"

static void a_handler_knows_the_connection(void **state)
{
    fixture_t *fixture = *state;
    start(fixture);
    SSL *ssl = client(fixture, "localhost");
    expect(ssl, GET, "<https TLSv1.3 localhost  >");
    expect(ssl, GET, "<https TLSv1.3 localhost  >");
    leave(ssl);
    int fd = client_open(hs_server_port(fixture->served.server));
    client_send(fd, GET);
    client_expect(fd, "<http - - - >");
    close(fd);
    served_stop(&fixture->served);
}

static void assert_certificate(SSL *ssl, const certificate_t *expected)
{
    X509 *shown = SSL_get1_peer_certificate(ssl);
    assert_int_equal(X509_cmp(shown, expected->x509), 0);
    X509_free(shown);
}

static void the_name_chooses_the_certificate(void **state)
{
    fixture_t *fixture = *state;
    start(fixture);
    const struct {
        const char *name;
        const certificate_t *certificate;
    } cases[] = {
        { NULL, &fixture->first },
        { "localhost", &fixture->first },
        { "LOCALHOST", &fixture->first },
        { "example.org", &fixture->wildcard },
        { "www.Example.org", &fixture->wildcard },
        { "a.b.example.org", &fixture->first }, /* a wildcard matches one label */
        { "unknown.test", &fixture->first },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        SSL *ssl = client(fixture, cases[i].name);
        assert_certificate(ssl, cases[i].certificate);
        leave(ssl);
    }
    /* A client that supports no elliptic curves for signatures gets the other certificate. */
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set1_sigalgs_list(ctx, "rsa_pss_rsae_sha256:RSA+SHA256");
    SSL *ssl = try_client(fixture, ctx, "localhost");
    assert_non_null(ssl);
    assert_certificate(ssl, &fixture->rsa);
    leave(ssl);
    SSL_CTX_free(ctx);
    served_stop(&fixture->served);
}

static void what_is_not_spoken_is_refused(void **state)
{
    fixture_t *fixture = *state;
    start(fixture);
    SSL_CTX *old = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(old, 0);
    SSL_CTX_set_min_proto_version(old, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(old, TLS1_1_VERSION);
    assert_null(try_client(fixture, old, NULL));
    SSL_CTX_free(old);
    SSL_CTX *other = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_alpn_protos(other, (const unsigned char *)"\x02h2", 3);
    assert_null(try_client(fixture, other, NULL));
    SSL_CTX_set_alpn_protos(other, (const unsigned char *)"\x02h2\x08http/1.1", 12);
    SSL *ssl = try_client(fixture, other, NULL);
    assert_non_null(ssl);
    const unsigned char *chosen;
    unsigned len;
    SSL_get0_alpn_selected(ssl, &chosen, &len);
    assert_int_equal(len, 8);
    assert_memory_equal(chosen, "http/1.1", 8);
    leave(ssl);
    SSL_CTX_free(other);
    served_stop(&fixture->served);
}

static void a_request_in_plain_text_is_answered_in_plain_text(void **state)
{
    fixture_t *fixture = *state;
    start(fixture);
    int fd = client_open(hs_server_tls_port(fixture->served.server));
    client_send(fd, GET);
    client_expect(fd, "HTTP/1.1 400 Bad Request");
    close(fd);
    fd = client_open(hs_server_tls_port(fixture->served.server));
    client_send(fd, "\x16\x03\x01\x00\x05hello, this is no handshake");
    char alert[64];
    while (read(fd, alert, sizeof(alert)) > 0) {
    }
    close(fd);
    served_stop(&fixture->served);
}

/* From the session of the connection, after its first response: in TLS 1.3 tickets come after the
 * handshake. */
static SSL_SESSION *session_of(fixture_t *fixture, SSL_CTX *ctx)
{
    SSL *ssl = try_client(fixture, ctx, "localhost");
    assert_non_null(ssl);
    expect(ssl, GET, "<https");
    SSL_SESSION *session = SSL_get1_session(ssl);
    leave(ssl);
    return session;
}

static bool resumes(fixture_t *fixture, SSL_CTX *ctx, SSL_SESSION *session)
{
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, client_open(hs_server_tls_port(fixture->served.server)));
    SSL_set_tlsext_host_name(ssl, "localhost");
    assert_int_equal(SSL_set_session(ssl, session), 1);
    assert_int_equal(SSL_connect(ssl), 1);
    bool is_resumed = SSL_session_reused(ssl) == 1;
    expect(ssl, GET, "<https");
    leave(ssl);
    return is_resumed;
}

static void sessions_resume_on_every_reactor_and_with_new_certificates(void **state)
{
    fixture_t *fixture = *state;
    hs_config_t config;
    served_config(&config);
    config.reactor_mode = HS_REACTOR_MULTI;
    config.num_io_threads = 3;
    start_with(fixture, &config);
    const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    for (size_t v = 0; v < 2; v++) {
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_max_proto_version(ctx, versions[v]);
        SSL_SESSION *session = session_of(fixture, ctx);
        for (int i = 0; i < 6; i++)
            assert_true(resumes(fixture, ctx, session));
        for (int i = 0; i < 2; i++) {
            char error[256] = "";
            assert_int_equal(
                hs_server_set_tls(fixture->served.server, &fixture->tls, error, sizeof(error)), 0);
            for (int j = 0; j < 3; j++)
                assert_true(resumes(fixture, ctx, session));
        }
        SSL_SESSION_free(session);
        SSL_CTX_free(ctx);
    }
    served_stop(&fixture->served);
}

static void new_connections_use_new_certificates(void **state)
{
    fixture_t *fixture = *state;
    char error[256] = "";
    start(fixture);
    SSL *before = client(fixture, "localhost");
    hs_tls_options_t other = { .certificates = &fixture->files[2], .certificate_count = 1 };
    assert_int_equal(hs_server_set_tls(fixture->served.server, &other, error, sizeof(error)), 0);
    bool is_new = false;
    while (!is_new) {
        SSL *ssl = client(fixture, "localhost");
        X509 *shown = SSL_get1_peer_certificate(ssl);
        is_new = X509_cmp(shown, fixture->wildcard.x509) == 0;
        X509_free(shown);
        leave(ssl);
    }
    expect(before, GET, "<https TLSv1.3 localhost");
    /* Invalid material changes nothing. */
    hs_tls_certificate_t mixed = { fixture->first.file, fixture->rsa.file, NULL };
    hs_tls_options_t wrong = { .certificates = &mixed, .certificate_count = 1 };
    assert_int_equal(hs_server_set_tls(fixture->served.server, &wrong, error, sizeof(error)),
                     HS_ERR_INVALID);
    assert_non_null(strstr(error, "the key of certificate 1 belongs to another certificate"));
    mixed.key = "/nonexistent/key.pem";
    assert_int_equal(hs_server_set_tls(fixture->served.server, &wrong, error, sizeof(error)),
                     HS_ERR_SYSTEM);
    assert_non_null(strstr(error, "/nonexistent/key.pem cannot be read"));
    expect(before, GET, "<https");
    leave(before);
    SSL *ssl = client(fixture, "localhost");
    assert_certificate(ssl, &fixture->wildcard);
    leave(ssl);
    served_stop(&fixture->served);
}

static void clients_show_certificates(void **state)
{
    fixture_t *fixture = *state;
    fixture->tls.client_ca = fixture->client.file;
    start(fixture);
    SSL_CTX *known = SSL_CTX_new(TLS_client_method());
    SSL_CTX_use_certificate(known, fixture->client.x509);
    SSL_CTX_use_PrivateKey(known, fixture->client.key);
    SSL_CTX *unknown = SSL_CTX_new(TLS_client_method());
    SSL_CTX_use_certificate(unknown, fixture->wildcard.x509);
    SSL_CTX_use_PrivateKey(unknown, fixture->wildcard.key);
    /* In TLS 1.3 a client learns only after its handshake that it was rejected. */
    SSL_CTX_set_max_proto_version(unknown, TLS1_2_VERSION);
    SSL *ssl = try_client(fixture, known, NULL);
    assert_non_null(ssl);
    expect(ssl, GET, "CN=client print>");
    leave(ssl);
    ssl = client(fixture, NULL);
    expect(ssl, GET, "<https TLSv1.3   >");
    leave(ssl);
    assert_null(try_client(fixture, unknown, NULL));
    served_stop(&fixture->served);

    fixture->tls.requires_client = true;
    start(fixture);
    ssl = try_client(fixture, known, NULL);
    assert_non_null(ssl);
    expect(ssl, GET, "CN=client print>");
    leave(ssl);
    SSL_CTX *none = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(none, TLS1_2_VERSION);
    assert_null(try_client(fixture, none, NULL));
    served_stop(&fixture->served);
    SSL_CTX_free(none);
    SSL_CTX_free(known);
    SSL_CTX_free(unknown);
    fixture->tls.client_ca = NULL;
    fixture->tls.requires_client = false;
}

/* A response about the certificate, which signs it itself; valid since yesterday, expires in
 * `seconds`. */
static void write_ocsp(const char *file, const certificate_t *about, int status, long seconds)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, about->x509, about->x509);
    ASN1_TIME *now = X509_gmtime_adj(NULL, -24L * 3600);
    ASN1_TIME *next = X509_gmtime_adj(NULL, seconds);
    ASN1_TIME *revoked = status == V_OCSP_CERTSTATUS_REVOKED ? now : NULL;
    assert_non_null(OCSP_basic_add1_status(basic, id, status, 0, revoked, now, next));
    assert_int_equal(OCSP_basic_sign(basic, about->x509, about->key, EVP_sha256(), NULL, 0), 1);
    OCSP_RESPONSE *response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    BIO *bio = BIO_new_file(file, "wb");
    assert_true(bio != NULL && i2d_OCSP_RESPONSE_bio(bio, response) == 1);
    BIO_free(bio);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(now);
    ASN1_TIME_free(next);
}

/* The length of the response stapled for a client that requests it; -1: none. */
static long stapled(fixture_t *fixture)
{
    SSL *ssl = SSL_new(fixture->ctx);
    const unsigned char *response;
    SSL_set_fd(ssl, client_open(hs_server_tls_port(fixture->served.server)));
    SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
    assert_int_equal(SSL_connect(ssl), 1);
    long len = SSL_get_tlsext_status_ocsp_resp(ssl, &response);
    leave(ssl);
    return len;
}

static void a_stapled_response_is_sent_while_it_is_good(void **state)
{
    fixture_t *fixture = *state;
    char file[80];
    (void)snprintf(file, sizeof(file), "%s.ocsp", fixture->first.file);
    fixture->files[0].ocsp = file;
    const struct {
        int status;
        long seconds;
        bool is_stapled;
    } cases[] = {
        { V_OCSP_CERTSTATUS_GOOD, 3600, true },
        { V_OCSP_CERTSTATUS_GOOD, -3600, false },
        { V_OCSP_CERTSTATUS_REVOKED, 3600, false },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_ocsp(file, &fixture->first, cases[i].status, cases[i].seconds);
        start(fixture);
        assert_int_equal(stapled(fixture) > 0, cases[i].is_stapled);
        served_stop(&fixture->served);
    }
    remove(file);
    fixture->files[0].ocsp = NULL;
}

static void much_goes_out_to_who_reads_slowly(void **state)
{
    fixture_t *fixture = *state;
    start(fixture);
    SSL *ssl = client(fixture, NULL);
    int small = 512 * 1024;
    setsockopt(SSL_get_fd(ssl), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    const char request[] = "GET /large HTTP/1.1\r\nHost: test\r\n\r\n";
    for (int round = 0; round < 2; round++) {
        assert_true(SSL_write(ssl, request, sizeof(request) - 1) > 0);
        char *all = malloc(LARGE + 1024);
        size_t len = 0;
        char *content = NULL;
        while (content == NULL || (size_t)(all + len - content) < LARGE) {
            int got = SSL_read(ssl, all + len, 1 + (int)(len % 9000));
            assert_true(got > 0);
            len += (size_t)got;
            all[len] = '\0';
            if (content == NULL && strstr(all, "\r\n\r\n") != NULL)
                content = strstr(all, "\r\n\r\n") + 4;
        }
        assert_memory_equal(content, fixture->large, LARGE);
        free(all);
    }
    leave(ssl);
    served_stop(&fixture->served);
}

static void much_comes_in_records_of_any_size(void **state)
{
    fixture_t *fixture = *state;
    start(fixture);
    SSL *ssl = client(fixture, NULL);
    for (int round = 0; round < 2; round++) {
        char head[128];
        int len =
            snprintf(head, sizeof(head),
                     "POST /length HTTP/1.1\r\nHost: test\r\nContent-Length: %zu\r\n\r\n", LARGE);
        for (int at = 0; at < len; at++)
            assert_int_equal(SSL_write(ssl, head + at, 1), 1);
        uint32_t seed = 7;
        for (size_t at = 0; at + 1 < LARGE;) {
            seed = seed * 1664525 + 1013904223;
            size_t part = (seed >> 16) % 20000 + 1;
            part = part < LARGE - 1 - at ? part : LARGE - 1 - at;
            assert_int_equal(SSL_write(ssl, fixture->large + at, (int)part), (int)part);
            at += part;
        }
        expect(ssl, "x", "<3145728>");
    }
    leave(ssl);
    served_stop(&fixture->served);
}

static void the_last_response_is_followed_by_close_notify(void **state)
{
    fixture_t *fixture = *state;
    start(fixture);
    SSL *ssl = client(fixture, NULL);
    expect(ssl, "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", "<https");
    char byte;
    assert_int_equal(SSL_get_error(ssl, SSL_read(ssl, &byte, 1)), SSL_ERROR_ZERO_RETURN);
    leave(ssl);
    served_stop(&fixture->served);
}

static void a_handshake_has_the_deadline_of_a_head(void **state)
{
    fixture_t *fixture = *state;
    hs_config_t config;
    served_config(&config);
    config.header_timeout_ms = 100;
    start_with(fixture, &config);
    const char *beginnings[] = { "", "\x16\x03\x01", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03" };
    for (size_t i = 0; i < 3; i++) {
        int fd = client_open(hs_server_tls_port(fixture->served.server));
        client_send(fd, beginnings[i]);
        char byte;
        ssize_t got = read(fd, &byte, 1);
        /* A reset: the deadline had passed before the client sent. */
        assert_true(got == 0 || (got < 0 && errno == ECONNRESET));
        close(fd);
    }
    served_stop(&fixture->served);
}

static void what_is_no_handshake_harms_nobody(void **state)
{
    fixture_t *fixture = *state;
    start(fixture);
    SSL *ssl = client(fixture, NULL);
    uint32_t seed = 1;
    for (int i = 0; i < 300; i++) {
        char bytes[600];
        size_t len = 1 + (size_t)i * 2 % sizeof(bytes);
        for (size_t at = 0; at < len; at++) {
            seed = seed * 1664525 + 1013904223;
            bytes[at] = (char)(seed >> 24);
        }
        if (i % 2 == 0)
            memcpy(bytes, "\x16\x03\x01", hs_min(3, len));
        int fd = client_open(hs_server_tls_port(fixture->served.server));
        (void)!send(fd, bytes, len, MSG_NOSIGNAL);
        shutdown(fd, SHUT_WR);
        while (read(fd, bytes, sizeof(bytes)) > 0) {
        }
        close(fd);
    }
    expect(ssl, GET, "<https");
    leave(ssl);
    served_stop(&fixture->served);
}

static void material_is_read_within_its_bounds(void **state)
{
    (void)state;
    static const char good[] =
        "certificate 3\nabckey 2\ndeocsp 0\nclient-ca 1\nxclient-required 0\n";
    hs_tls_material_t material;
    assert_true(hs_tls_material_read(&material, hs_span(good, sizeof(good) - 1)));
    assert_int_equal(material.pair_count, 1);
    assert_memory_equal(material.pairs[0].certificate.data, "abc", 3);
    assert_int_equal(material.pairs[0].key.len, 2);
    assert_int_equal(material.client_ca.len, 1);
    assert_true(material.requires_client);
    static const char *const bad[] = {
        "",
        "key 1\nx",
        "certificate",
        "certificate ",
        "certificate 1",
        "certificate 1\n",
        "certificate 2\nx",
        "certificate 99999999999999999999999\nx",
        "certificate 1\nxwhat 1\ny",
        "certificate -1\nx",
        "certificate 1\nxticket-keys 1\ny",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(hs_tls_material_read(&material, hs_span(bad[i], strlen(bad[i]))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handler_knows_the_connection),
        cmocka_unit_test(the_name_chooses_the_certificate),
        cmocka_unit_test(what_is_not_spoken_is_refused),
        cmocka_unit_test(a_request_in_plain_text_is_answered_in_plain_text),
        cmocka_unit_test(sessions_resume_on_every_reactor_and_with_new_certificates),
        cmocka_unit_test(new_connections_use_new_certificates),
        cmocka_unit_test(clients_show_certificates),
        cmocka_unit_test(a_stapled_response_is_sent_while_it_is_good),
        cmocka_unit_test(much_goes_out_to_who_reads_slowly),
        cmocka_unit_test(much_comes_in_records_of_any_size),
        cmocka_unit_test(the_last_response_is_followed_by_close_notify),
        cmocka_unit_test(a_handshake_has_the_deadline_of_a_head),
        cmocka_unit_test(what_is_no_handshake_harms_nobody),
        cmocka_unit_test(material_is_read_within_its_bounds),
    };
    return cmocka_run_group_tests(tests, make_fixture, free_fixture);
}
