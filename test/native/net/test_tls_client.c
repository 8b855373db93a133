/* TLS of outbound sockets, with an OpenSSL server on a thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "net/net_rig.h"
#include "net/tls_peer.h"

/* owner: the test */
typedef struct bench {
    rig_t rig;
    tls_peer_t peer;
} bench_t;

/* Shared by all tests: generating keys is slow. */
static certificate_t trusted;
static certificate_t other;
static certificate_t expired;

static void prepare(bench_t *bench, const certificate_t *certificate)
{
    rig_open(&bench->rig);
    rig_listen(&bench->rig, "127.0.0.1", 16);
    tls_peer_start(&bench->peer, bench->rig.listener, certificate);
}

static void begin(bench_t *bench, const certificate_t *certificate)
{
    prepare(bench, certificate);
    tls_peer_go(&bench->peer);
}

static void end(bench_t *bench)
{
    tls_peer_stop(&bench->peer);
    rig_close(&bench->rig);
}

static hs_socket_target_t secure(const bench_t *bench)
{
    hs_socket_target_t target = target_of(&bench->rig);
    target.secure = true;
    target.tls =
        (hs_tls_config_t){ .verify = true, .server_name = "localhost", .ca = trusted.file };
    return target;
}

static const char *failure_text(const user_t *user)
{
    static char text[HS_FAILURE_TEXT_CAP];
    hs_failure_text(&user->socket->outcomes[HS_SOCKET_READ].failure, text, sizeof(text));
    return text;
}

static void expect_echo(bench_t *bench, user_t *user, const char *line)
{
    assert_true(hs_socket_put(user->socket, line, strlen(line)));
    assert_true(hs_socket_put(user->socket, "\n", 1));
    assert_int_equal(hs_socket_send(user->socket, WAIT_MS), HS_SOCKET_DONE);
    expect_receive(&bench->rig, user, HS_RECEIVE_LINE, 0, NULL, line);
}

static void expect_connected(bench_t *bench, user_t *user, const hs_socket_target_t *target)
{
    user_open(&bench->rig, user);
    if (connect_to(&bench->rig, user, target) != HS_FAILURE_NONE)
        fail_msg("%s", failure_text(user));
}

static void expect_refused(bench_t *bench, const hs_socket_target_t *target, const char *text)
{
    user_t user;
    user_open(&bench->rig, &user);
    assert_int_not_equal(connect_to(&bench->rig, &user, target), HS_FAILURE_NONE);
    assert_string_equal(failure_text(&user), text);
    hs_socket_free(user.socket);
    TURN_UNTIL(&bench->rig, bench->rig.net.open == 0);
}

static void a_verified_connection_carries_messages(void **state)
{
    (void)state;
    bench_t bench;
    user_t user;
    begin(&bench, &trusted);
    hs_socket_target_t target = secure(&bench);
    target.tls.alpn = "h2,http/1.1";
    expect_connected(&bench, &user, &target);
    expect_echo(&bench, &user, "hello");
    assert_string_equal(hs_socket_protocol(user.socket), "http/1.1");
    hs_socket_free(user.socket);
    /* Both sides know that nothing is missing. */
    TURN_UNTIL(&bench.rig, bench.peer.ended_well == 1);
    target.tls.server_name = "127.0.0.1"; /* an address, as the certificate has it too */
    expect_connected(&bench, &user, &target);
    expect_echo(&bench, &user, "again");
    hs_socket_free(user.socket);
    end(&bench);
}

static void much_goes_both_ways_at_once(void **state)
{
    (void)state;
    const size_t size = 6 * 1024 * 1024 + 5;
    bench_t bench;
    user_t user;
    begin(&bench, &trusted);
    hs_socket_target_t target = secure(&bench);
    expect_connected(&bench, &user, &target);
    char *message = malloc(size);
    assert_non_null(message);
    for (size_t i = 0; i < size; i++)
        message[i] = (char)(i * 13 + i / 16384);
    assert_true(hs_socket_put(user.socket, message, size));
    assert_int_equal(hs_socket_send(user.socket, WAIT_MS), HS_SOCKET_WAITS);
    hs_socket_progress_t progress =
        hs_socket_receive(user.socket, HS_RECEIVE_BYTES, size, NULL, WAIT_MS);
    assert_int_equal(settle(&bench.rig, &user, HS_SOCKET_READ, progress), HS_FAILURE_NONE);
    assert_int_equal(user.done[HS_SOCKET_WRITE], 1);
    assert_memory_equal(user.socket->outcomes[HS_SOCKET_READ].data, message, size);
    free(message);
    hs_socket_free(user.socket);
    end(&bench);
}

static void a_certificate_must_be_trusted_valid_and_for_the_name(void **state)
{
    (void)state;
    bench_t bench;
    begin(&bench, &trusted);
    hs_socket_target_t target = secure(&bench);
    target.tls.server_name = "elsewhere.test";
    expect_refused(&bench, &target, "certificate: hostname mismatch");
    target.tls.server_name = "127.0.0.9";
    expect_refused(&bench, &target, "certificate: IP address mismatch");
    target.tls.server_name = NULL; /* the host's */
    target.tls.ca = other.file;
    expect_refused(&bench, &target, "certificate: self-signed certificate");
    target.tls.ca = NULL; /* the system's */
    expect_refused(&bench, &target, "certificate: self-signed certificate");
    target.tls.ca = "/nonexistent.pem";
    expect_refused(&bench, &target, "TLS: cannot read certificates from /nonexistent.pem");
    end(&bench);
    begin(&bench, &expired);
    target = secure(&bench);
    target.tls.ca = expired.file;
    expect_refused(&bench, &target, "certificate: certificate has expired");
    end(&bench);
}

static void verification_can_be_switched_off(void **state)
{
    (void)state;
    bench_t bench;
    user_t user;
    begin(&bench, &expired);
    hs_socket_target_t target = secure(&bench);
    target.tls = (hs_tls_config_t){ .verify = false };
    expect_connected(&bench, &user, &target);
    expect_echo(&bench, &user, "hello");
    hs_socket_free(user.socket);
    end(&bench);
}

static void a_unix_socket_has_no_name_to_verify(void **state)
{
    (void)state;
    bench_t bench;
    begin(&bench, &trusted);
    hs_socket_target_t target = secure(&bench);
    char path[64];
    snprintf(path, sizeof(path), "/tmp/moonring-tls-%ld.sock", (long)getpid());
    int listener = hs_sock_listen_uds(path, 0600, 8, NULL);
    assert_true(listener >= 0);
    target.host = NULL;
    target.path = path;
    target.tls.server_name = NULL;
    expect_refused(&bench, &target, "TLS: no server name to verify");
    hs_sock_close(listener);
    unlink(path);
    end(&bench);
}

static void sessions_are_used_again(void **state)
{
    (void)state;
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        bench_t bench;
        user_t user;
        prepare(&bench, &trusted);
        SSL_CTX_set_max_proto_version(bench.peer.ctx, version);
        tls_peer_go(&bench.peer);
        hs_socket_target_t target = secure(&bench);
        for (unsigned i = 0; i < 3; i++) {
            expect_connected(&bench, &user, &target);
            expect_echo(&bench, &user, "hello");
            assert_int_equal(hs_tls_is_resumed(&user.socket->link->tls->tls), i > 0);
            hs_socket_free(user.socket);
            TURN_UNTIL(&bench.rig, bench.peer.ended_well == i + 1);
        }
        /* A different configuration does not get them: its verification would fail. */
        target.tls.server_name = "elsewhere.test";
        expect_refused(&bench, &target, "certificate: hostname mismatch");
        end(&bench);
    }
}

/* Its tickets arrive while it is idle. */
static void a_kept_connection_is_used_again(void **state)
{
    (void)state;
    bench_t bench;
    user_t user;
    begin(&bench, &trusted);
    hs_socket_target_t target = secure(&bench);
    target.pooled = true;
    target.limits = (hs_reuse_limits_t){ .size = 4, .idle_ms = WAIT_MS };
    expect_connected(&bench, &user, &target);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(hs_socket_keep(user.socket, 0));
        hs_socket_free(user.socket);
        if (i == 0)
            TURN_UNTIL(&bench.rig, bench.peer.served == 1);
        for (int turn = 0; turn < 10; turn++)
            rig_turn(&bench.rig);
        expect_connected(&bench, &user, &target);
        assert_int_equal(hs_socket_reused(user.socket), i + 1);
        expect_echo(&bench, &user, "again");
    }
    assert_true(hs_socket_keep(user.socket, 0));
    hs_socket_free(user.socket);
    assert_int_equal(bench.rig.net.idle, 1);
    /* A connection that was not verified is not reused, nor one without TLS. */
    hs_reuse_key_t *key = NULL;
    for (size_t i = 0; i < HS_NET_KEY_BUCKETS; i++)
        key = bench.rig.net.keys[i] != NULL ? bench.rig.net.keys[i] : key;
    assert_non_null(key);
    hs_socket_target_t others[5] = { target, target, target, target, target };
    others[0].secure = false;
    others[1].tls.verify = false;
    others[2].tls.ca = NULL;
    others[3].tls.alpn = "http/1.1";
    others[4].tls.cert = trusted.file;
    for (size_t i = 0; i < 5; i++) {
        user_open(&bench.rig, &user);
        assert_int_equal(hs_socket_connect(user.socket, &others[i]), HS_SOCKET_WAITS);
        assert_ptr_not_equal(user.socket->key, key);
        hs_socket_free(user.socket);
    }
    end(&bench);
}

static void a_client_certificate_is_shown(void **state)
{
    (void)state;
    bench_t bench;
    user_t user;
    prepare(&bench, &trusted);
    SSL_CTX_set_verify(bench.peer.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    assert_int_equal(SSL_CTX_load_verify_file(bench.peer.ctx, other.file), 1);
    SSL_CTX_set_max_proto_version(bench.peer.ctx, TLS1_2_VERSION);
    tls_peer_go(&bench.peer);
    hs_socket_target_t target = secure(&bench);
    user_open(&bench.rig, &user);
    assert_int_equal(connect_to(&bench.rig, &user, &target), HS_FAILURE_TLS);
    hs_socket_free(user.socket);
    target.tls.cert = other.file;
    expect_connected(&bench, &user, &target);
    expect_echo(&bench, &user, "hello");
    hs_socket_free(user.socket);
    target.tls.key = "/nonexistent.pem";
    expect_refused(&bench, &target, "TLS: cannot read the certificate's key from /nonexistent.pem");
    end(&bench);
}

static void a_server_without_tls_is_an_error(void **state)
{
    (void)state;
    bench_t bench;
    user_t user;
    prepare(&bench, &trusted);
    bench.peer.is_plain = true;
    tls_peer_go(&bench.peer);
    hs_socket_target_t target = secure(&bench);
    user_open(&bench.rig, &user);
    assert_int_equal(connect_to(&bench.rig, &user, &target), HS_FAILURE_TLS);
    hs_socket_free(user.socket);
    end(&bench);
}

static void old_versions_are_refused(void **state)
{
    (void)state;
    bench_t bench;
    user_t user;
    prepare(&bench, &trusted);
    SSL_CTX_set_security_level(bench.peer.ctx, 0);
    SSL_CTX_set_min_proto_version(bench.peer.ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(bench.peer.ctx, TLS1_1_VERSION);
    tls_peer_go(&bench.peer);
    hs_socket_target_t target = secure(&bench);
    user_open(&bench.rig, &user);
    assert_int_equal(connect_to(&bench.rig, &user, &target), HS_FAILURE_TLS);
    hs_socket_free(user.socket);
    end(&bench);
}

/* The listening socket accepts the connection, and nothing responds. */
static void a_silent_handshake_has_the_deadline_of_connect(void **state)
{
    (void)state;
    bench_t bench;
    user_t user;
    rig_open(&bench.rig);
    rig_listen(&bench.rig, "127.0.0.1", 16);
    hs_socket_target_t target = secure(&bench);
    target.timeout_ms = 50;
    user_open(&bench.rig, &user);
    assert_int_equal(connect_to(&bench.rig, &user, &target), HS_FAILURE_TIMEOUT);
    hs_socket_free(user.socket);
    target.timeout_ms = WAIT_MS;
    user_open(&bench.rig, &user);
    assert_int_equal(hs_socket_connect(user.socket, &target), HS_SOCKET_WAITS);
    int first = rig_accept(&bench.rig);
    int second = rig_accept(&bench.rig);
    hs_sock_close(second);
    TURN_UNTIL(&bench.rig, user.done[HS_SOCKET_READ] == 1);
    assert_int_equal(failure_of_side(&user, HS_SOCKET_READ), HS_FAILURE_CLOSED);
    hs_socket_free(user.socket);
    /* Abandoned in the middle. */
    user_open(&bench.rig, &user);
    assert_int_equal(hs_socket_connect(user.socket, &target), HS_SOCKET_WAITS);
    second = rig_accept(&bench.rig);
    rig_turn(&bench.rig);
    hs_socket_free(user.socket);
    hs_sock_close(first);
    hs_sock_close(second);
    rig_close(&bench.rig);
}

static void many_configurations_are_bounded(void **state)
{
    (void)state;
    bench_t bench;
    user_t kept;
    begin(&bench, &trusted);
    hs_socket_target_t target = secure(&bench);
    expect_connected(&bench, &kept, &target);
    for (int i = 0; i < HS_TLS_CONTEXTS_MAX + 8; i++) {
        char alpn[16];
        snprintf(alpn, sizeof(alpn), "test/%d", i);
        target.tls.alpn = alpn;
        hs_failure_t failure;
        hs_tls_client_t *tls = hs_tls_client_new(&bench.rig.net.tls, &target.tls, "", 0, &failure);
        assert_non_null(tls);
        hs_tls_client_free(tls);
    }
    assert_int_equal(bench.rig.net.tls.count, HS_TLS_CONTEXTS_MAX);
    expect_echo(&bench, &kept, "its context is kept");
    hs_socket_free(kept.socket);
    end(&bench);
}

static int make_certificates(void **state)
{
    (void)state;
    certificate_make(&trusted, "trusted", 30);
    certificate_make(&other, "other", 30);
    certificate_make(&expired, "expired", 1);
    return 0;
}

static int free_certificates(void **state)
{
    (void)state;
    certificate_free(&trusted);
    certificate_free(&other);
    certificate_free(&expired);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_verified_connection_carries_messages),
        cmocka_unit_test(much_goes_both_ways_at_once),
        cmocka_unit_test(a_certificate_must_be_trusted_valid_and_for_the_name),
        cmocka_unit_test(verification_can_be_switched_off),
        cmocka_unit_test(a_unix_socket_has_no_name_to_verify),
        cmocka_unit_test(sessions_are_used_again),
        cmocka_unit_test(a_kept_connection_is_used_again),
        cmocka_unit_test(a_client_certificate_is_shown),
        cmocka_unit_test(a_server_without_tls_is_an_error),
        cmocka_unit_test(old_versions_are_refused),
        cmocka_unit_test(a_silent_handshake_has_the_deadline_of_connect),
        cmocka_unit_test(many_configurations_are_bounded),
    };
    return cmocka_run_group_tests_name("tls_client", tests, make_certificates, free_certificates);
}
