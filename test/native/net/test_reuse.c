/* Idle connections: which are reused, which are not, and who waits for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "net/net_rig.h"

static hs_socket_target_t pooled(const rig_t *rig)
{
    hs_socket_target_t target = target_of(rig);
    target.pooled = true;
    target.limits = (hs_reuse_limits_t){ .size = 4, .idle_ms = WAIT_MS };
    return target;
}

static void begin(rig_t *rig)
{
    rig_open(rig);
    rig_listen(rig, "127.0.0.1", 64);
}

static void open_with(rig_t *rig, user_t *user, const hs_socket_target_t *target)
{
    user_open(rig, user);
    assert_int_equal(connect_to(rig, user, target), HS_FAILURE_NONE);
}

static void keep(user_t *user)
{
    assert_true(hs_socket_keep(user->socket, 0));
    hs_socket_free(user->socket);
}

static void a_kept_connection_serves_the_next_socket(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    begin(&rig);
    hs_socket_target_t target = pooled(&rig);
    open_with(&rig, &user, &target);
    int peer = rig_accept(&rig);
    assert_int_equal(hs_socket_reused(user.socket), 0);
    keep(&user);
    assert_int_equal(rig.net.idle, 1);
    for (uint32_t i = 1; i <= 3; i++) {
        user_open(&rig, &user);
        assert_int_equal(hs_socket_connect(user.socket, &target), HS_SOCKET_DONE);
        assert_int_equal(failure_of_side(&user, HS_SOCKET_READ), HS_FAILURE_NONE);
        assert_int_equal(hs_socket_reused(user.socket), i);
        peer_say(&rig, peer, "again\n", 6);
        expect_receive(&rig, &user, HS_RECEIVE_LINE, 0, NULL, "again");
        keep(&user);
    }
    assert_int_equal(rig.net.counters.connected, 1);
    assert_int_equal(rig.net.counters.reused, 3);
    assert_int_equal(rig.net.open, 1);
    hs_sock_close(peer);
    rig_close(&rig);
}

static void other_targets_get_other_connections(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    begin(&rig);
    hs_socket_target_t target = pooled(&rig);
    open_with(&rig, &user, &target);
    int peer = rig_accept(&rig);
    keep(&user);
    hs_socket_target_t others[3] = { target, target, target };
    others[0].pool = "other";
    others[1].host = "127.0.0.2";
    others[2].pooled = false;
    others[1].port = 1; /* nothing listens there */
    for (size_t i = 0; i < 3; i++) {
        user_open(&rig, &user);
        assert_int_equal(connect_to(&rig, &user, &others[i]),
                         i == 1 ? HS_FAILURE_REFUSED : HS_FAILURE_NONE);
        assert_int_equal(hs_socket_reused(user.socket), 0);
        hs_socket_free(user.socket);
    }
    hs_sock_close(peer);
    rig_close(&rig);
}

static void a_connection_in_the_middle_of_something_is_not_kept(void **state)
{
    (void)state;
    static char much[8 * 1024 * 1024];
    rig_t rig;
    user_t user;
    begin(&rig);
    hs_socket_target_t target = pooled(&rig);
    for (int i = 0; i < 5; i++) {
        if (i == 4)
            target.pooled = false;
        open_with(&rig, &user, &target);
        int peer = rig_accept(&rig);
        if (i == 0) { /* unread */
            peer_say(&rig, peer, "ab", 2);
            expect_receive(&rig, &user, HS_RECEIVE_BYTES, 1, NULL, "a");
        } else if (i == 1) { /* unsent */
            assert_true(hs_socket_put(user.socket, much, sizeof(much)));
        } else if (i == 2) { /* ended */
            assert_int_equal(hs_sock_shutdown_write(peer), 0);
            expect_failed_receive(&rig, &user, HS_RECEIVE_ANY, 0, WAIT_MS, HS_FAILURE_CLOSED, "");
        } else if (i == 3) { /* a receive waits */
            assert_int_equal(hs_socket_receive(user.socket, HS_RECEIVE_ANY, 0, NULL, WAIT_MS),
                             HS_SOCKET_WAITS);
        }
        assert_false(hs_socket_keep(user.socket, 0));
        hs_socket_free(user.socket);
        hs_sock_close(peer);
    }
    assert_int_equal(rig.net.idle, 0);
    TURN_UNTIL(&rig, rig.net.open == 0);
    rig_close(&rig);
}

/* Unsolicited bytes would be taken for the next response. */
static void an_idle_connection_that_becomes_readable_is_closed(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    begin(&rig);
    hs_socket_target_t target = pooled(&rig);
    for (int i = 0; i < 2; i++) {
        open_with(&rig, &user, &target);
        int peer = rig_accept(&rig);
        keep(&user);
        if (i == 0)
            peer_say(&rig, peer, "x", 1);
        else
            hs_sock_close(peer);
        TURN_UNTIL(&rig, rig.net.open == 0);
        assert_int_equal(rig.net.idle, 0);
        if (i == 0)
            hs_sock_close(peer);
    }
    rig_close(&rig);
}

/* The same if the loop has had no time to notice. */
static void an_idle_connection_is_looked_at_before_it_is_used(void **state)
{
    (void)state;
    rig_t rig;
    user_t user;
    begin(&rig);
    hs_socket_target_t target = pooled(&rig);
    for (int i = 0; i < 2; i++) {
        open_with(&rig, &user, &target);
        int peer = rig_accept(&rig);
        keep(&user);
        struct iovec iov = { (char *)(uintptr_t) "x", 1 };
        if (i == 0)
            assert_int_equal(hs_sock_send(peer, &iov, 1), 1);
        else
            hs_sock_shutdown_write(peer);
        user_open(&rig, &user);
        assert_int_equal(hs_socket_connect(user.socket, &target), HS_SOCKET_WAITS);
        TURN_UNTIL(&rig, user.done[HS_SOCKET_READ] == 1);
        assert_int_equal(hs_socket_reused(user.socket), 0);
        hs_socket_free(user.socket);
        hs_sock_close(peer);
        hs_sock_close(rig_accept(&rig));
    }
    assert_int_equal(rig.net.counters.reused, 0);
    rig_close(&rig);
}

static void idle_connections_have_a_number_a_time_and_an_age(void **state)
{
    (void)state;
    rig_t rig;
    user_t users[3];
    int peers[3];
    begin(&rig);
    hs_socket_target_t target = pooled(&rig);
    target.limits.size = 2;
    for (int i = 0; i < 3; i++) {
        open_with(&rig, &users[i], &target);
        peers[i] = rig_accept(&rig);
    }
    for (int i = 0; i < 3; i++)
        keep(&users[i]);
    assert_int_equal(rig.net.idle, 2);
    TURN_UNTIL(&rig, rig.net.open == 2);
    char heard[1];
    assert_int_equal(peer_hear(&rig, peers[0], heard, 1), 0); /* the oldest */
    target.limits.idle_ms = 20;
    for (int i = 0; i < 2; i++) {
        open_with(&rig, &users[i], &target);
        assert_int_equal(hs_socket_reused(users[i].socket), 1);
    }
    keep(&users[0]);
    keep(&users[1]);
    TURN_UNTIL(&rig, rig.net.open == 0);
    target.limits = (hs_reuse_limits_t){ .size = 2, .idle_ms = WAIT_MS, .max_age_ms = 20 };
    open_with(&rig, &users[0], &target);
    keep(&users[0]);
    TURN_UNTIL(&rig, rig.net.open == 0);
    for (int i = 0; i < 3; i++)
        hs_sock_close(peers[i]);
    rig_close(&rig);
}

static void a_full_pool_makes_sockets_wait_in_order(void **state)
{
    (void)state;
    rig_t rig;
    user_t first;
    user_t waiting[2];
    user_t refused;
    begin(&rig);
    hs_socket_target_t target = pooled(&rig);
    target.limits.max = 1;
    target.limits.queue = 2;
    open_with(&rig, &first, &target);
    int peer = rig_accept(&rig);
    for (int i = 0; i < 2; i++) {
        user_open(&rig, &waiting[i]);
        assert_int_equal(hs_socket_connect(waiting[i].socket, &target), HS_SOCKET_WAITS);
    }
    user_open(&rig, &refused);
    assert_int_equal(hs_socket_connect(refused.socket, &target), HS_SOCKET_DONE);
    assert_int_equal(failure_of_side(&refused, HS_SOCKET_READ), HS_FAILURE_QUEUE_FULL);
    hs_socket_free(refused.socket);
    for (int i = 0; i < 5; i++)
        rig_turn(&rig);
    assert_int_equal(waiting[0].done[HS_SOCKET_READ], 0);
    /* Kept: the connection goes to the longest waiting request. */
    keep(&first);
    assert_int_equal(waiting[0].done[HS_SOCKET_READ], 1);
    assert_int_equal(hs_socket_reused(waiting[0].socket), 1);
    assert_int_equal(waiting[1].done[HS_SOCKET_READ], 0);
    /* Closed: the next request opens a new one. */
    hs_socket_free(waiting[0].socket);
    TURN_UNTIL(&rig, waiting[1].done[HS_SOCKET_READ] == 1);
    assert_int_equal(failure_of_side(&waiting[1], HS_SOCKET_READ), HS_FAILURE_NONE);
    assert_int_equal(hs_socket_reused(waiting[1].socket), 0);
    hs_socket_free(waiting[1].socket);
    hs_sock_close(peer);
    rig_close(&rig);
}

static void the_wait_for_the_pool_has_the_deadline_of_connect(void **state)
{
    (void)state;
    rig_t rig;
    user_t first;
    user_t late;
    user_t gone;
    begin(&rig);
    hs_socket_target_t target = pooled(&rig);
    target.limits.max = 1;
    target.limits.queue = 2;
    open_with(&rig, &first, &target);
    target.timeout_ms = 30;
    user_open(&rig, &late);
    user_open(&rig, &gone);
    assert_int_equal(hs_socket_connect(gone.socket, &target), HS_SOCKET_WAITS);
    assert_int_equal(connect_to(&rig, &late, &target), HS_FAILURE_TIMEOUT);
    hs_socket_free(gone.socket);
    hs_socket_free(late.socket);
    keep(&first);
    assert_int_equal(rig.net.idle, 1);
    rig_close(&rig);
}

/* Requests that wait for a connection to a server that is gone all fail, without recursion. */
static void waiting_sockets_learn_that_the_server_is_gone(void **state)
{
    (void)state;
    enum {
        COUNT = 200
    };
    rig_t rig;
    user_t first;
    static user_t waiting[COUNT];
    char path[64];
    rig_open(&rig);
    snprintf(path, sizeof(path), "/tmp/moonring-reuse-%ld.sock", (long)getpid());
    rig.listener = hs_sock_listen_uds(path, 0600, 8, NULL);
    assert_true(rig.listener >= 0);
    hs_socket_target_t target = { .path = path, .pooled = true, .timeout_ms = WAIT_MS };
    target.limits = (hs_reuse_limits_t){ .size = 1, .max = 1, .queue = COUNT, .idle_ms = WAIT_MS };
    open_with(&rig, &first, &target);
    for (int i = 0; i < COUNT; i++) {
        user_open(&rig, &waiting[i]);
        assert_int_equal(hs_socket_connect(waiting[i].socket, &target), HS_SOCKET_WAITS);
    }
    hs_sock_close(rig.listener);
    rig.listener = -1;
    unlink(path);
    hs_socket_free(first.socket);
    for (int i = 0; i < COUNT; i++) {
        TURN_UNTIL(&rig, waiting[i].done[HS_SOCKET_READ] == 1);
        assert_int_equal(failure_of_side(&waiting[i], HS_SOCKET_READ), HS_FAILURE_REFUSED);
        hs_socket_free(waiting[i].socket);
    }
    rig_close(&rig);
}

static void a_dead_connection_makes_room(void **state)
{
    (void)state;
    rig_t rig;
    user_t first;
    user_t waiting;
    begin(&rig);
    hs_socket_target_t target = pooled(&rig);
    target.limits.max = 1;
    target.limits.queue = 1;
    open_with(&rig, &first, &target);
    int peer = rig_accept(&rig);
    user_open(&rig, &waiting);
    assert_int_equal(hs_socket_connect(waiting.socket, &target), HS_SOCKET_WAITS);
    hs_sock_close(peer);
    expect_failed_receive(&rig, &first, HS_RECEIVE_LINE, 0, WAIT_MS, HS_FAILURE_CLOSED, "");
    assert_false(hs_socket_keep(first.socket, 0));
    TURN_UNTIL(&rig, waiting.done[HS_SOCKET_READ] == 1);
    assert_int_equal(failure_of_side(&waiting, HS_SOCKET_READ), HS_FAILURE_NONE);
    hs_socket_free(waiting.socket);
    hs_socket_free(first.socket);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kept_connection_serves_the_next_socket),
        cmocka_unit_test(other_targets_get_other_connections),
        cmocka_unit_test(a_connection_in_the_middle_of_something_is_not_kept),
        cmocka_unit_test(an_idle_connection_that_becomes_readable_is_closed),
        cmocka_unit_test(an_idle_connection_is_looked_at_before_it_is_used),
        cmocka_unit_test(idle_connections_have_a_number_a_time_and_an_age),
        cmocka_unit_test(a_full_pool_makes_sockets_wait_in_order),
        cmocka_unit_test(the_wait_for_the_pool_has_the_deadline_of_connect),
        cmocka_unit_test(waiting_sockets_learn_that_the_server_is_gone),
        cmocka_unit_test(a_dead_connection_makes_room),
    };
    return cmocka_run_group_tests_name("reuse", tests, NULL, NULL);
}
