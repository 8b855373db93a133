/* Outbound sockets with real connections; the test is the peer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "net/net_rig.h"

static void messages_go_both_ways(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    char heard[16];
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    assert_true(hs_socket_put(user.socket, "PI", 2));
    assert_true(hs_socket_put(user.socket, "NG\n", 3));
    assert_int_equal(hs_socket_send(user.socket, WAIT_MS), HS_SOCKET_DONE);
    assert_int_equal(peer_hear(&rig, peer, heard, 5), 5);
    assert_memory_equal(heard, "PING\n", 5);
    peer_say(&rig, peer, "PONG\r\nrest", 10);
    expect_receive(&rig, &user, HS_RECEIVE_LINE, 0, NULL, "PONG");
    expect_receive(&rig, &user, HS_RECEIVE_BYTES, 4, NULL, "rest");
    assert_int_equal(rig.net.open, 1);
    assert_int_equal(rig.net.counters.bytes_in, 10);
    assert_int_equal(rig.net.counters.bytes_out, 5);
    hs_socket_free(user.socket);
    assert_int_equal(peer_hear(&rig, peer, heard, 1), 0);
    TURN_UNTIL(&rig, rig.net.open == 0);
    hs_sock_close(peer);
    rig_close(&rig);
}

static void a_unix_socket_is_connected(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    char path[64];
    rig_open(&rig);
    snprintf(path, sizeof(path), "/tmp/moonring-socket-%ld.sock", (long)getpid());
    rig.listener = hs_sock_listen_uds(path, 0600, 8, NULL);
    assert_true(rig.listener >= 0);
    user_open(&rig, &user);
    hs_socket_target_t target = { .path = path, .timeout_ms = WAIT_MS };
    assert_int_equal(connect_to(&rig, &user, &target), HS_FAILURE_NONE);
    int peer = rig_accept(&rig);
    peer_say(&rig, peer, "x\n", 2);
    expect_receive(&rig, &user, HS_RECEIVE_LINE, 0, NULL, "x");
    hs_socket_free(user.socket);
    user_open(&rig, &user);
    unlink(path);
    assert_int_equal(connect_to(&rig, &user, &target), HS_FAILURE_REFUSED);
    hs_socket_free(user.socket);
    hs_sock_close(peer);
    rig_close(&rig);
}

/* Every kind of receive, whatever the pieces in which the bytes arrive. */
static void bytes_are_found_in_pieces_of_any_size(void **state)
{
    (void)state;
    static const char text[] = "first\r\n\nab--b--boundary12345tail";
    for (size_t piece = 1; piece < sizeof(text); piece++) {
        rig_t rig;
        user_t user;
        rig_open(&rig);
        int peer = user_connect(&rig, &user);
        size_t sent = 0;
        const struct {
            hs_socket_receive_t what;
            size_t wanted;
            const char *pattern;
            const char *expected;
        } steps[] = {
            { HS_RECEIVE_LINE, 0, NULL, "first" },           { HS_RECEIVE_LINE, 0, NULL, "" },
            { HS_RECEIVE_UNTIL, 11, "--boundary", "ab--b" }, { HS_RECEIVE_BYTES, 0, NULL, "" },
            { HS_RECEIVE_BYTES, 5, NULL, "12345" },
        };
        for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
            size_t wanted = steps[i].pattern != NULL ? strlen(steps[i].pattern) : steps[i].wanted;
            unsigned before = user.done[HS_SOCKET_READ];
            hs_socket_progress_t progress =
                hs_socket_receive(user.socket, steps[i].what, wanted, steps[i].pattern, WAIT_MS);
            while (progress == HS_SOCKET_WAITS && user.done[HS_SOCKET_READ] == before) {
                size_t len = hs_min(piece, sizeof(text) - 1 - sent);
                peer_say(&rig, peer, text + sent, len);
                sent += len;
                rig_turn(&rig);
            }
            const hs_socket_outcome_t *outcome = &user.socket->outcomes[HS_SOCKET_READ];
            assert_int_equal(outcome->failure.kind, HS_FAILURE_NONE);
            assert_int_equal(outcome->len, strlen(steps[i].expected));
            assert_memory_equal(outcome->data, steps[i].expected, outcome->len);
        }
        hs_socket_free(user.socket);
        hs_sock_close(peer);
        rig_close(&rig);
    }
}

static void what_is_there_is_received_up_to_a_number(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    peer_say(&rig, peer, "abcdef", 6);
    expect_receive(&rig, &user, HS_RECEIVE_ANY, 4, NULL, "abcd");
    expect_receive(&rig, &user, HS_RECEIVE_ANY, 0, NULL, "ef");
    hs_socket_free(user.socket);
    hs_sock_close(peer);
    rig_close(&rig);
}

static void a_message_larger_than_buffers_arrives_whole(void **state)
{
    (void)state;
    const size_t size = 3 * 1024 * 1024 + 17;
    rig_t rig;
    user_t user;
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    char *message = malloc(size);
    assert_non_null(message);
    for (size_t i = 0; i < size; i++)
        message[i] = (char)(i * 31 + i / 4096);
    hs_socket_progress_t progress =
        hs_socket_receive(user.socket, HS_RECEIVE_BYTES, size, NULL, WAIT_MS);
    assert_int_equal(progress, HS_SOCKET_WAITS);
    peer_say(&rig, peer, message, size);
    TURN_UNTIL(&rig, user.done[HS_SOCKET_READ] == 2); /* after the event of connect */
    assert_int_equal(user.socket->outcomes[HS_SOCKET_READ].len, size);
    assert_memory_equal(user.socket->outcomes[HS_SOCKET_READ].data, message, size);
    free(message);
    hs_socket_free(user.socket);
    hs_sock_close(peer);
    rig_close(&rig);
}

static void nothing_is_received_while_no_receive_waits(void **state)
{
    (void)state;
    static char much[256 * 1024];
    rig_t rig;
    user_t user;
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    struct iovec iov = { much, sizeof(much) };
    while (hs_sock_send(peer, &iov, 1) > 0) {
    }
    for (int i = 0; i < 20; i++)
        rig_turn(&rig);
    assert_int_equal(rig.net.counters.bytes_in, 0);
    unsigned before = user.done[HS_SOCKET_READ];
    hs_socket_progress_t progress =
        hs_socket_receive(user.socket, HS_RECEIVE_LINE, 0, NULL, WAIT_MS);
    while (progress == HS_SOCKET_WAITS && user.done[HS_SOCKET_READ] == before) {
        (void)!hs_sock_send(peer, &iov, 1); /* small buffers have not taken a whole line */
        rig_turn(&rig);
    }
    assert_int_equal(failure_of_side(&user, HS_SOCKET_READ), HS_FAILURE_TOO_LONG);
    assert_int_equal(user.socket->outcomes[HS_SOCKET_READ].len, 0);
    assert_true(rig.net.counters.bytes_in < HS_SOCKET_LINE_MAX + 256 * 1024);
    hs_socket_free(user.socket);
    hs_sock_close(peer);
    rig_close(&rig);
}

static void numbers_and_patterns_have_limits(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    char pattern[HS_SOCKET_PATTERN_MAX + 1] = { 0 };
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    assert_int_equal(
        hs_socket_receive(user.socket, HS_RECEIVE_BYTES, HS_SOCKET_BYTES_MAX + 1, NULL, WAIT_MS),
        HS_SOCKET_DONE);
    assert_int_equal(failure_of_side(&user, HS_SOCKET_READ), HS_FAILURE_TOO_LONG);
    assert_int_equal(
        hs_socket_receive(user.socket, HS_RECEIVE_UNTIL, sizeof(pattern), pattern, WAIT_MS),
        HS_SOCKET_DONE);
    assert_int_equal(failure_of_side(&user, HS_SOCKET_READ), HS_FAILURE_TOO_LONG);
    hs_socket_free(user.socket);
    hs_sock_close(peer);
    rig_close(&rig);
}

static void a_timeout_gives_what_arrived_and_the_socket_lives(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    peer_say(&rig, peer, "half", 4);
    expect_failed_receive(&rig, &user, HS_RECEIVE_LINE, 0, 30, HS_FAILURE_TIMEOUT, "half");
    peer_say(&rig, peer, "whole\n", 6);
    expect_receive(&rig, &user, HS_RECEIVE_LINE, 0, NULL, "whole");
    hs_socket_free(user.socket);
    hs_sock_close(peer);
    rig_close(&rig);
}

static void the_end_of_the_stream_gives_what_arrived(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    char heard[4];
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    peer_say(&rig, peer, "line\nhalf", 9);
    assert_int_equal(hs_sock_shutdown_write(peer), 0);
    expect_receive(&rig, &user, HS_RECEIVE_LINE, 0, NULL, "line");
    expect_failed_receive(&rig, &user, HS_RECEIVE_LINE, 0, WAIT_MS, HS_FAILURE_CLOSED, "half");
    expect_failed_receive(&rig, &user, HS_RECEIVE_ANY, 0, WAIT_MS, HS_FAILURE_CLOSED, "");
    /* Half-closed: the other direction still works. */
    assert_true(hs_socket_put(user.socket, "bye", 3));
    assert_int_equal(hs_socket_send(user.socket, WAIT_MS), HS_SOCKET_DONE);
    assert_int_equal(peer_hear(&rig, peer, heard, 3), 3);
    hs_socket_free(user.socket);
    hs_sock_close(peer);
    rig_close(&rig);
}

static void peer_reset(int peer)
{
    const struct linger now = { .l_onoff = 1, .l_linger = 0 };
    assert_int_equal(setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    hs_sock_close(peer);
}

static void a_reset_fails_both_directions(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    assert_int_equal(hs_socket_receive(user.socket, HS_RECEIVE_LINE, 0, NULL, WAIT_MS),
                     HS_SOCKET_WAITS);
    peer_reset(peer);
    TURN_UNTIL(&rig, user.done[HS_SOCKET_READ] == 2);
    assert_int_equal(failure_of_side(&user, HS_SOCKET_READ), HS_FAILURE_CLOSED);
    (void)hs_socket_put(user.socket, "x", 1);
    assert_int_equal(hs_socket_send(user.socket, WAIT_MS), HS_SOCKET_DONE);
    assert_int_equal(failure_of_side(&user, HS_SOCKET_WRITE), HS_FAILURE_CLOSED);
    hs_socket_free(user.socket);
    rig_close(&rig);
}

/* A server that refuses a request while it is being sent: its response is readable although it has
 * closed. */
static void a_response_before_a_reset_is_received(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    assert_true(hs_socket_put(user.socket, "request", 7));
    assert_int_equal(hs_socket_send(user.socket, WAIT_MS), HS_SOCKET_DONE);
    rig_turn(&rig);
    struct iovec iov = { (char *)(uintptr_t) "refused\n", 8 };
    assert_int_equal(hs_sock_send(peer, &iov, 1), 8);
    hs_sock_close(peer); /* with bytes unread: a reset */
    for (int i = 0; i < 5; i++) {
        if (hs_socket_put(user.socket, "more", 4))
            assert_int_equal(hs_socket_send(user.socket, WAIT_MS), HS_SOCKET_DONE);
        rig_turn(&rig);
    }
    expect_receive(&rig, &user, HS_RECEIVE_LINE, 0, NULL, "refused");
    expect_failed_receive(&rig, &user, HS_RECEIVE_LINE, 0, WAIT_MS, HS_FAILURE_CLOSED, "");
    hs_socket_free(user.socket);
    rig_close(&rig);
}

/* Like moonring.redis: unused bytes stay, and are delivered again with those that follow. */
static void what_is_not_taken_is_given_again_with_more(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    const hs_socket_outcome_t *outcome = &user.socket->outcomes[HS_SOCKET_READ];
    peer_say(&rig, peer, "one,tw", 6);
    expect_receive(&rig, &user, HS_RECEIVE_MORE, 0, NULL, "one,tw");
    hs_socket_take(user.socket, 4);
    unsigned before = user.done[HS_SOCKET_READ];
    assert_int_equal(hs_socket_receive(user.socket, HS_RECEIVE_MORE, 3, NULL, WAIT_MS),
                     HS_SOCKET_WAITS);
    peer_say(&rig, peer, "o", 1); /* no more than that */
    rig_turn(&rig);
    assert_int_equal(user.done[HS_SOCKET_READ], before);
    peer_say(&rig, peer, ",", 1);
    TURN_UNTIL(&rig, user.done[HS_SOCKET_READ] > before);
    assert_int_equal(outcome->len, 4);
    assert_memory_equal(outcome->data, "two,", 4);
    hs_socket_take(user.socket, 4);
    hs_socket_free(user.socket);
    hs_sock_close(peer);
    rig_close(&rig);
}

static void a_look_finds_what_no_turn_has_told(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    assert_int_equal(hs_socket_receive(user.socket, HS_RECEIVE_MORE, 0, NULL, 0), HS_SOCKET_WAITS);
    assert_true(hs_socket_look(user.socket));
    hs_sock_close(peer);
    TURN_UNTIL(&rig, !hs_socket_look(user.socket));
    assert_int_equal(user.socket->outcomes[HS_SOCKET_READ].failure.kind, HS_FAILURE_CLOSED);
    hs_socket_free(user.socket);
    rig_close(&rig);
}

static void what_was_unsent_when_the_connection_broke_is_known(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    assert_int_equal(hs_socket_unsent(user.socket), 0);
    char *bytes = calloc(1, 16 * 1024 * 1024);
    assert_non_null(bytes);
    assert_true(hs_socket_put(user.socket, bytes, 16 * 1024 * 1024));
    assert_int_equal(hs_socket_send(user.socket, 0), HS_SOCKET_WAITS);
    assert_int_equal(hs_socket_receive(user.socket, HS_RECEIVE_MORE, 0, NULL, 0), HS_SOCKET_WAITS);
    for (int i = 0; i < 20; i++) /* the buffers of the kernel fill up */
        rig_turn(&rig);
    size_t unsent = hs_socket_unsent(user.socket);
    assert_in_range(unsent, 1, 16 * 1024 * 1024 - 1);
    peer_reset(peer);
    TURN_UNTIL(&rig, user.done[HS_SOCKET_READ] == 2); /* after the event of connect */
    assert_int_equal(user.socket->outcomes[HS_SOCKET_READ].failure.kind, HS_FAILURE_CLOSED);
    assert_in_range(hs_socket_unsent(user.socket), 1, unsent);
    hs_socket_free(user.socket);
    free(bytes);
    rig_close(&rig);
}

static void sending_waits_for_a_peer_that_does_not_read(void **state)
{
    (void)state;
    const size_t size = 16 * 1024 * 1024;
    rig_t rig;
    user_t user;
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    char *message = malloc(size);
    char *heard = malloc(size);
    assert_true(message != NULL && heard != NULL);
    for (size_t i = 0; i < size; i++)
        message[i] = (char)(i * 7 + i / 65536);
    assert_true(hs_socket_put(user.socket, message, size));
    assert_int_equal(hs_socket_send(user.socket, WAIT_MS), HS_SOCKET_WAITS);
    for (int i = 0; i < 10; i++)
        rig_turn(&rig);
    assert_int_equal(user.done[HS_SOCKET_WRITE], 0);
    /* The other direction continues in the meantime; a second send has to wait for the first. */
    peer_say(&rig, peer, "x\n", 2);
    expect_receive(&rig, &user, HS_RECEIVE_LINE, 0, NULL, "x");
    assert_int_equal(peer_hear(&rig, peer, heard, size), size);
    TURN_UNTIL(&rig, user.done[HS_SOCKET_WRITE] == 1);
    assert_memory_equal(heard, message, size);
    assert_int_equal(failure_of_side(&user, HS_SOCKET_WRITE), HS_FAILURE_NONE);
    free(message);
    free(heard);
    hs_socket_free(user.socket);
    hs_sock_close(peer);
    rig_close(&rig);
}

static void a_send_that_takes_too_long_closes(void **state)
{
    (void)state;
    static char much[16 * 1024 * 1024];
    rig_t rig;
    user_t user;
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    assert_true(hs_socket_put(user.socket, much, sizeof(much)));
    hs_socket_progress_t progress = hs_socket_send(user.socket, 50);
    assert_int_equal(progress, HS_SOCKET_WAITS);
    assert_int_equal(settle(&rig, &user, HS_SOCKET_WRITE, progress), HS_FAILURE_TIMEOUT);
    TURN_UNTIL(&rig, rig.net.open == 0);
    assert_int_equal(hs_socket_send(user.socket, WAIT_MS), HS_SOCKET_DONE);
    assert_int_equal(failure_of_side(&user, HS_SOCKET_WRITE), HS_FAILURE_TIMEOUT);
    hs_socket_free(user.socket);
    hs_sock_close(peer);
    rig_close(&rig);
}

static void one_call_of_a_kind_waits_at_a_time(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    assert_int_equal(hs_socket_receive(user.socket, HS_RECEIVE_LINE, 0, NULL, WAIT_MS),
                     HS_SOCKET_WAITS);
    hs_failure_t failure;
    assert_int_equal(hs_socket_receive(user.socket, HS_RECEIVE_LINE, 0, NULL, WAIT_MS),
                     HS_SOCKET_DONE);
    failure = user.socket->outcomes[HS_SOCKET_READ].failure;
    assert_int_equal(failure.kind, HS_FAILURE_BUSY);
    peer_say(&rig, peer, "line\n", 5);
    TURN_UNTIL(&rig, user.done[HS_SOCKET_READ] == 2);
    assert_int_equal(failure_of_side(&user, HS_SOCKET_READ), HS_FAILURE_NONE);
    assert_int_equal(user.socket->outcomes[HS_SOCKET_READ].len, 4);
    hs_socket_free(user.socket);
    hs_sock_close(peer);
    rig_close(&rig);
}

static void closing_sends_the_rest_and_ends_what_waits(void **state)
{
    (void)state;
    static char much[4 * 1024 * 1024];
    rig_t rig;
    user_t user;
    rig_open(&rig);
    int peer = user_connect(&rig, &user);
    assert_int_equal(hs_socket_receive(user.socket, HS_RECEIVE_LINE, 0, NULL, WAIT_MS),
                     HS_SOCKET_WAITS);
    assert_true(hs_socket_put(user.socket, much, sizeof(much)));
    hs_socket_end(user.socket);
    assert_int_equal(user.done[HS_SOCKET_READ], 2);
    assert_int_equal(failure_of_side(&user, HS_SOCKET_READ), HS_FAILURE_CLOSED);
    char *heard = malloc(sizeof(much) + 1);
    assert_non_null(heard);
    assert_int_equal(peer_hear(&rig, peer, heard, sizeof(much) + 1), sizeof(much));
    free(heard);
    TURN_UNTIL(&rig, rig.net.open == 0);
    hs_socket_free(user.socket);
    hs_sock_close(peer);
    rig_close(&rig);
}

static void a_refused_connection_says_so(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    rig_open(&rig);
    rig_listen(&rig, "127.0.0.1", 8);
    hs_sock_close(rig.listener);
    rig.listener = -1;
    user_open(&rig, &user);
    hs_socket_target_t target = target_of(&rig);
    assert_int_equal(connect_to(&rig, &user, &target), HS_FAILURE_REFUSED);
    assert_int_equal(hs_socket_receive(user.socket, HS_RECEIVE_LINE, 0, NULL, WAIT_MS),
                     HS_SOCKET_DONE);
    assert_int_equal(failure_of_side(&user, HS_SOCKET_READ), HS_FAILURE_REFUSED);
    assert_int_equal(rig.net.counters.failed, 1);
    hs_socket_free(user.socket);
    rig_close(&rig);
}

static void a_socket_that_never_connected_says_so(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    rig_open(&rig);
    user_open(&rig, &user);
    assert_int_equal(hs_socket_receive(user.socket, HS_RECEIVE_LINE, 0, NULL, WAIT_MS),
                     HS_SOCKET_DONE);
    assert_int_equal(failure_of_side(&user, HS_SOCKET_READ), HS_FAILURE_NOT_CONNECTED);
    assert_false(hs_socket_put(user.socket, "x", 1));
    assert_int_equal(hs_socket_send(user.socket, WAIT_MS), HS_SOCKET_DONE);
    assert_int_equal(failure_of_side(&user, HS_SOCKET_WRITE), HS_FAILURE_NOT_CONNECTED);
    hs_socket_free(user.socket);
    rig_close(&rig);
}

/* The net ends first: its user is left with a closed socket. */
static void a_socket_outlives_its_net(void **state)
{
    (void)state;
    rig_t rig;
    user_t open;
    user_t dialing;
    rig_open(&rig);
    int peer = user_connect(&rig, &open);
    user_open(&rig, &dialing);
    hs_socket_target_t target = target_of(&rig);
    assert_int_equal(hs_socket_connect(dialing.socket, &target), HS_SOCKET_WAITS);
    assert_int_equal(hs_socket_receive(open.socket, HS_RECEIVE_LINE, 0, NULL, WAIT_MS),
                     HS_SOCKET_WAITS);
    hs_sock_close(peer);
    rig_close(&rig);
    assert_int_equal(hs_socket_receive(open.socket, HS_RECEIVE_LINE, 0, NULL, WAIT_MS),
                     HS_SOCKET_DONE);
    assert_int_equal(failure_of_side(&open, HS_SOCKET_READ), HS_FAILURE_CLOSED);
    assert_false(hs_socket_keep(open.socket, 0));
    hs_socket_free(open.socket);
    hs_socket_free(dialing.socket);
}

/* A peer that always has more data does not starve others: here a second connection. */
static void a_busy_peer_does_not_keep_the_loop(void **state)
{
    (void)state;
    static char much[64 * 1024];
    rig_t rig;
    user_t busy;
    user_t other;
    rig_open(&rig);
    int fast = user_connect(&rig, &busy);
    int slow = user_connect(&rig, &other);
    struct iovec iov = { much, sizeof(much) };
    while (hs_sock_send(fast, &iov, 1) > 0) {
    }
    assert_int_equal(
        hs_socket_receive(busy.socket, HS_RECEIVE_BYTES, 64 * 1024 * 1024, NULL, WAIT_MS),
        HS_SOCKET_WAITS);
    uint64_t before = rig.net.counters.bytes_in;
    rig_turn(&rig);
    rig_turn(&rig);
    assert_in_range(rig.net.counters.bytes_in - before, 1, 4 * 64 * 1024);
    peer_say(&rig, slow, "x\n", 2);
    expect_receive(&rig, &other, HS_RECEIVE_LINE, 0, NULL, "x");
    hs_socket_free(busy.socket);
    hs_socket_free(other.socket);
    hs_sock_close(fast);
    hs_sock_close(slow);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_go_both_ways),
        cmocka_unit_test(a_unix_socket_is_connected),
        cmocka_unit_test(bytes_are_found_in_pieces_of_any_size),
        cmocka_unit_test(what_is_there_is_received_up_to_a_number),
        cmocka_unit_test(a_message_larger_than_buffers_arrives_whole),
        cmocka_unit_test(nothing_is_received_while_no_receive_waits),
        cmocka_unit_test(numbers_and_patterns_have_limits),
        cmocka_unit_test(a_timeout_gives_what_arrived_and_the_socket_lives),
        cmocka_unit_test(the_end_of_the_stream_gives_what_arrived),
        cmocka_unit_test(a_reset_fails_both_directions),
        cmocka_unit_test(a_response_before_a_reset_is_received),
        cmocka_unit_test(what_is_not_taken_is_given_again_with_more),
        cmocka_unit_test(a_look_finds_what_no_turn_has_told),
        cmocka_unit_test(what_was_unsent_when_the_connection_broke_is_known),
        cmocka_unit_test(sending_waits_for_a_peer_that_does_not_read),
        cmocka_unit_test(a_send_that_takes_too_long_closes),
        cmocka_unit_test(one_call_of_a_kind_waits_at_a_time),
        cmocka_unit_test(closing_sends_the_rest_and_ends_what_waits),
        cmocka_unit_test(a_refused_connection_says_so),
        cmocka_unit_test(a_socket_that_never_connected_says_so),
        cmocka_unit_test(a_socket_outlives_its_net),
        cmocka_unit_test(a_busy_peer_does_not_keep_the_loop),
    };
    return cmocka_run_group_tests_name("socket", tests, NULL, NULL);
}
