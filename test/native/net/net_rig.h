/*
 * A loop with an hs_net_t, and peers that the test operates on plain descriptors between two
 * turns. Include after cmocka.h.
 */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/hs_net.h"
#include "net/hs_socket.h"
#include "os/hs_clock.h"

/* Longer than any of this takes, even on a busy machine. */
#define WAIT_MS 30000

typedef struct rig {
    hs_loop_t loop; /* first: the context of its event loop */
    hs_pool_t blocks;
    hs_log_t log;
    hs_net_t net;
    int listener;
    uint16_t port;
    size_t descriptors;
} rig_t;

/* A socket with what the callback reported. */
typedef struct user {
    hs_socket_t *socket;
    unsigned done[2];
} user_t;

static inline size_t count_descriptors(void)
{
    size_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL)
        return 0;
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static inline void rig_listen(rig_t *rig, const char *host, int backlog)
{
    hs_sock_address_t address;
    rig->listener = hs_sock_listen_tcp(host, rig->port, backlog, 0, NULL);
    assert_true(rig->listener >= 0);
    assert_int_equal(hs_sock_local_address(rig->listener, &address), 0);
    rig->port = address.port;
}

static inline void rig_open(rig_t *rig)
{
    memset(rig, 0, sizeof(*rig));
    rig->descriptors = count_descriptors();
    hs_log_init(&rig->log, HS_LOG_OFF, NULL, NULL);
    hs_ev_t *ev = hs_ev_new(rig, 8);
    assert_non_null(ev);
    hs_loop_init(&rig->loop, ev, &hs_transport_plain, hs_clock_monotonic_ms());
    assert_int_equal(hs_net_init(&rig->net, &rig->loop, &rig->log), HS_OK);
    rig->listener = -1;
}

static inline void rig_turn(rig_t *rig)
{
    int timeout_ms = hs_wheel_timeout_ms(&rig->loop.wheel, hs_clock_monotonic_ms());
    if (timeout_ms < 0 || timeout_ms > 5)
        timeout_ms = 5;
    assert_true(hs_ev_poll(rig->loop.ev, hs_loop_is_busy(&rig->loop) ? 0 : timeout_ms) >= 0);
    rig->loop.now_ns = hs_clock_monotonic_ns();
    rig->loop.now_ms = rig->loop.now_ns / 1000000;
    hs_loop_resume(&rig->loop);
    hs_loop_send(&rig->loop, 0);
    hs_loop_check_deadlines(&rig->loop, rig->loop.now_ms);
}

#define TURN_UNTIL(rig, condition)                                                                 \
    do {                                                                                           \
        uint64_t until_ms = hs_clock_monotonic_ms() + WAIT_MS;                                     \
        while (!(condition)) {                                                                     \
            if (hs_clock_monotonic_ms() >= until_ms)                                               \
                fail_msg("waited too long for %s", #condition);                                    \
            rig_turn(rig);                                                                         \
        }                                                                                          \
    } while (0)

/* Nothing is left open: no descriptor, no connection. */
static inline void rig_close(rig_t *rig)
{
    hs_net_free(&rig->net);
    hs_sock_close(rig->listener);
    hs_ev_free(rig->loop.ev);
    assert_int_equal(count_descriptors(), rig->descriptors);
}

static inline void on_done(void *context, hs_socket_t *socket, hs_socket_side_t side)
{
    user_t *user = context;
    assert_ptr_equal(user->socket, socket);
    user->done[side]++;
}

static inline void user_open(rig_t *rig, user_t *user)
{
    *user = (user_t){ .socket = hs_socket_new(&rig->net, on_done, user) };
    assert_non_null(user->socket);
}

static inline hs_failure_kind_t failure_of_side(const user_t *user, hs_socket_side_t side)
{
    return user->socket->outcomes[side].failure.kind;
}

/* Waits if necessary, until the operation started by `progress` has finished. */
static inline hs_failure_kind_t settle(rig_t *rig, user_t *user, hs_socket_side_t side,
                                       hs_socket_progress_t progress)
{
    if (progress == HS_SOCKET_WAITS) {
        unsigned before = user->done[side];
        TURN_UNTIL(rig, user->done[side] > before);
    }
    return failure_of_side(user, side);
}

static inline hs_socket_target_t target_of(const rig_t *rig)
{
    return (hs_socket_target_t){ .host = "127.0.0.1", .port = rig->port, .timeout_ms = WAIT_MS };
}

static inline hs_failure_kind_t connect_to(rig_t *rig, user_t *user,
                                           const hs_socket_target_t *target)
{
    return settle(rig, user, HS_SOCKET_READ, hs_socket_connect(user->socket, target));
}

static inline int rig_accept(rig_t *rig)
{
    int fd;
    while ((fd = hs_sock_accept(rig->listener, NULL)) == -EAGAIN)
        rig_turn(rig);
    assert_true(fd >= 0);
    return fd;
}

/* A socket of a new connection, and the peer's descriptor. */
static inline int user_connect(rig_t *rig, user_t *user)
{
    if (rig->listener < 0)
        rig_listen(rig, "127.0.0.1", 16);
    hs_socket_target_t target = target_of(rig);
    user_open(rig, user);
    assert_int_equal(connect_to(rig, user, &target), HS_FAILURE_NONE);
    return rig_accept(rig);
}

/* The peer sends all of it, while the loop runs. */
static inline void peer_say(rig_t *rig, int fd, const char *text, size_t len)
{
    while (len > 0) {
        struct iovec iov = { (char *)(uintptr_t)text, len };
        ptrdiff_t sent = hs_sock_send(fd, &iov, 1);
        assert_true(sent > 0 || sent == -EAGAIN);
        if (sent > 0) {
            text += sent;
            len -= (size_t)sent;
        }
        rig_turn(rig);
    }
}

/* The peer receives exactly that many bytes, or fewer if the stream ends. */
static inline size_t peer_hear(rig_t *rig, int fd, char *to, size_t len)
{
    size_t got = 0;
    uint64_t until_ms = hs_clock_monotonic_ms() + WAIT_MS;
    while (got < len) {
        struct iovec iov = { to + got, len - got };
        ptrdiff_t received = hs_sock_recv(fd, &iov, 1);
        if (received == 0)
            break;
        assert_true(received > 0 || received == -EAGAIN);
        assert_true(hs_clock_monotonic_ms() < until_ms);
        if (received > 0)
            got += (size_t)received;
        else
            rig_turn(rig);
    }
    return got;
}

static inline void expect_receive(rig_t *rig, user_t *user, hs_socket_receive_t what, size_t wanted,
                                  const char *pattern, const char *expected)
{
    hs_socket_progress_t progress = hs_socket_receive(user->socket, what, wanted, pattern, WAIT_MS);
    assert_int_equal(settle(rig, user, HS_SOCKET_READ, progress), HS_FAILURE_NONE);
    assert_int_equal(user->socket->outcomes[HS_SOCKET_READ].len, strlen(expected));
    assert_memory_equal(user->socket->outcomes[HS_SOCKET_READ].data, expected, strlen(expected));
}

static inline void expect_failed_receive(rig_t *rig, user_t *user, hs_socket_receive_t what,
                                         size_t wanted, uint32_t timeout_ms,
                                         hs_failure_kind_t failure, const char *partial)
{
    hs_socket_progress_t progress = hs_socket_receive(user->socket, what, wanted, NULL, timeout_ms);
    assert_int_equal(settle(rig, user, HS_SOCKET_READ, progress), failure);
    assert_int_equal(user->socket->outcomes[HS_SOCKET_READ].len, strlen(partial));
    assert_memory_equal(user->socket->outcomes[HS_SOCKET_READ].data, partial, strlen(partial));
}
