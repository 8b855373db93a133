/* hs_sock: outbound connections, unsent bytes, sending files, many buffers, the accepted peer. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/hs_sock.h"
#include "os/hs_thread.h"

static uint16_t port_of(int fd)
{
    hs_sock_address_t address;
    assert_int_equal(hs_sock_local_address(fd, &address), 0);
    return address.port;
}

static int listen_tcp(int backlog)
{
    int fd = hs_sock_listen_tcp("127.0.0.1", 0, backlog, 0, NULL);
    assert_true(fd >= 0);
    return fd;
}

static hs_sock_endpoint_t endpoint_of(int listener)
{
    hs_sock_endpoint_t endpoint;
    assert_int_equal(hs_sock_endpoint_tcp(&endpoint, "127.0.0.1", port_of(listener)), HS_OK);
    return endpoint;
}

static void wait_for(int fd, short events)
{
    struct pollfd ready = { .fd = fd, .events = events };
    assert_int_equal(poll(&ready, 1, 10000), 1);
}

/* A connected TCP pair over loopback, both ends non-blocking. */
static void connect_pair(int *client, int *server, hs_peer_t *peer)
{
    int listener = listen_tcp(16);
    hs_sock_endpoint_t endpoint = endpoint_of(listener);
    *client = hs_sock_connect(&endpoint);
    assert_true(*client >= 0);
    wait_for(listener, POLLIN);
    *server = hs_sock_accept(listener, peer);
    assert_true(*server >= 0);
    wait_for(*client, POLLOUT);
    assert_int_equal(hs_sock_connect_result(*client), 0);
    hs_sock_close(listener);
}

static void an_outbound_connection_reaches_its_listener(void **state)
{
    (void)state;
    int client;
    int server;
    hs_peer_t peer;
    connect_pair(&client, &server, &peer);
    assert_true(fcntl(client, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(client, F_GETFD) & FD_CLOEXEC);
    char text[HS_PEER_TEXT_CAP];
    assert_string_equal(hs_peer_text(&peer, text), "127.0.0.1");
    assert_int_equal(peer.port, port_of(client));
    hs_peer_t asked = hs_peer_of(server);
    assert_memory_equal(&peer, &asked, sizeof(peer));
    hs_sock_close(client);
    hs_sock_close(server);
}

static void a_refused_connection_says_so_once(void **state)
{
    (void)state;
    int listener = listen_tcp(16);
    hs_sock_endpoint_t endpoint = endpoint_of(listener);
    hs_sock_close(listener);
    int client = hs_sock_connect(&endpoint);
    if (client >= 0) { /* the refusal is reported by readiness */
        wait_for(client, POLLOUT);
        assert_int_equal(hs_sock_connect_result(client), -ECONNREFUSED);
        hs_sock_close(client);
    } else {
        assert_int_equal(client, -ECONNREFUSED);
    }
}

static void a_connection_in_progress_is_not_taken_for_connected(void **state)
{
    (void)state;
    int listener = listen_tcp(1);
    hs_sock_endpoint_t endpoint = endpoint_of(listener);
    int clients[64];
    int count = 0;
    int result = 0;
    /* Beyond the backlog the kernel drops the SYN: that client keeps retrying. */
    while (count < 64 && result != -EINPROGRESS) {
        clients[count] = hs_sock_connect(&endpoint);
        assert_true(clients[count] >= 0);
        struct pollfd ready = { .fd = clients[count], .events = POLLOUT };
        (void)poll(&ready, 1, 20);
        result = hs_sock_connect_result(clients[count++]);
    }
    assert_int_equal(result, -EINPROGRESS);
    for (int i = 0; i < count; i++)
        hs_sock_close(clients[i]);
    hs_sock_close(listener);
}

static void unix_sockets_connect_at_once_or_say_why_not(void **state)
{
    (void)state;
    char folder[] = "/tmp/moonring-sock-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char path[64];
    (void)snprintf(path, sizeof(path), "%s/s", folder);
    hs_sock_endpoint_t endpoint;
    assert_int_equal(hs_sock_endpoint_uds(&endpoint, path), HS_OK);
    assert_int_equal(hs_sock_connect(&endpoint), -ENOENT);
    int listener = hs_sock_listen_uds(path, 0600, 1, NULL);
    assert_true(listener >= 0);
    int client = hs_sock_connect(&endpoint);
    assert_true(client >= 0);
    assert_int_equal(hs_sock_connect_result(client), 0);
    hs_peer_t peer = { .family = 4 };
    int server = hs_sock_accept(listener, &peer);
    assert_true(server >= 0);
    assert_int_equal(peer.family, HS_PEER_UNIX);
    hs_sock_close(client);
    hs_sock_close(server);
    hs_sock_close(listener);
    assert_int_equal(hs_sock_connect(&endpoint), -ECONNREFUSED);
    (void)unlink(path);
    (void)rmdir(folder);
}

static void only_literals_and_short_paths_are_endpoints(void **state)
{
    (void)state;
    hs_sock_endpoint_t endpoint;
    assert_int_equal(hs_sock_endpoint_tcp(&endpoint, "::1", 80), HS_OK);
    assert_int_equal(hs_sock_endpoint_tcp(&endpoint, "localhost", 80), HS_ERR_INVALID);
    assert_int_equal(hs_sock_endpoint_tcp(&endpoint, "", 80), HS_ERR_INVALID);
    assert_int_equal(hs_sock_endpoint_tcp(&endpoint, "[::1]", 80), HS_ERR_INVALID);
    char path[200];
    memset(path, 'a', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(hs_sock_endpoint_uds(&endpoint, path), HS_ERR_INVALID);
    assert_int_equal(hs_sock_endpoint_uds(&endpoint, ""), HS_ERR_INVALID);
}

static size_t read_all(int fd, char *into, size_t wanted)
{
    size_t done = 0;
    while (done < wanted) {
        wait_for(fd, POLLIN);
        struct iovec iov = { into + done, wanted - done };
        ptrdiff_t n = hs_sock_recv(fd, &iov, 1);
        assert_true(n > 0);
        done += (size_t)n;
    }
    return done;
}

static void sixteen_buffers_leave_in_one_call(void **state)
{
    (void)state;
    int client;
    int server;
    connect_pair(&client, &server, NULL);
    char pieces[16][2];
    struct iovec iov[16];
    for (int i = 0; i < 16; i++) {
        pieces[i][0] = (char)('a' + i);
        pieces[i][1] = (char)('A' + i);
        iov[i] = (struct iovec){ pieces[i], 2 };
    }
    assert_int_equal(hs_sock_send_more(client, iov, 16), 32);
    assert_int_equal(hs_sock_send(client, iov, 1), 2);
    char in[34];
    read_all(server, in, sizeof(in));
    assert_memory_equal(in, "aAbBcCdDeEfFgGhHiIjJkKlLmMnNoOpPaA", 34);
    hs_sock_close(client);
    hs_sock_close(server);
}

static int open_file(const char *bytes, size_t len)
{
    char path[] = "/tmp/moonring-file-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)unlink(path);
    assert_int_equal(write(fd, bytes, len), len);
    return fd;
}

static void a_file_is_sent_from_any_offset_and_ends(void **state)
{
    (void)state;
    int client;
    int server;
    connect_pair(&client, &server, NULL);
    int file = open_file("0123456789", 10);
    assert_int_equal(hs_sock_sendfile(client, file, 3, 4), 4);
    assert_int_equal(hs_sock_sendfile(client, file, 8, 100), 2);
    assert_int_equal(hs_sock_sendfile(client, file, 10, 1), 0);
    assert_int_equal(hs_sock_sendfile(client, file, 50, 1), 0);
    char in[6];
    read_all(server, in, sizeof(in));
    assert_memory_equal(in, "345689", 6);
    assert_int_equal(hs_sock_sendfile(client, -1, 0, 1), -EBADF);
    hs_sock_close(file);
    hs_sock_close(client);
    hs_sock_close(server);
}

static void a_full_socket_takes_part_of_a_file_then_none(void **state)
{
    (void)state;
    const size_t file_len = 16u << 20;
    char *content = malloc(file_len);
    assert_non_null(content);
    for (size_t i = 0; i < file_len; i++)
        content[i] = (char)(i * 31 >> 3);
    int file = open_file(content, file_len);
    int client;
    int server;
    connect_pair(&client, &server, NULL);
    size_t sent = 0;
    ptrdiff_t n;
    while ((n = hs_sock_sendfile(client, file, sent, file_len - sent)) > 0)
        sent += (size_t)n;
    assert_int_equal(n, -EAGAIN);
    assert_true(sent > 0 && sent < file_len);
    char *in = malloc(sent);
    assert_non_null(in);
    read_all(server, in, sent);
    assert_memory_equal(in, content, sent);
    free(in);
    free(content);
    hs_sock_close(file);
    hs_sock_close(client);
    hs_sock_close(server);
}

/* SIGPIPE would kill this program, which neither ignores nor blocks it. */
static void a_file_to_a_closed_peer_raises_no_signal(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    int file = open_file("x", 1);
    hs_sock_close(fds[1]);
    assert_int_equal(hs_sock_sendfile(fds[0], file, 0, 1), -EPIPE);
    sigset_t waiting;
    assert_int_equal(sigpending(&waiting), 0);
    assert_int_equal(sigismember(&waiting, SIGPIPE), 0);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &waiting), 0);
    assert_int_equal(sigismember(&waiting, SIGPIPE), 0);
    hs_sock_close(fds[0]);
    hs_sock_close(file);
}

static void *send_to_a_closed_peer(void *unused)
{
    (void)unused;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    int file = open_file("x", 1);
    hs_sock_close(fds[1]);
    ptrdiff_t *result = malloc(sizeof(*result));
    assert_non_null(result);
    *result = hs_sock_sendfile(fds[0], file, 0, 1);
    hs_sock_close(fds[0]);
    hs_sock_close(file);
    return result;
}

static void a_file_to_a_closed_peer_raises_no_signal_on_a_thread_of_the_server(void **state)
{
    (void)state;
    pthread_t thread;
    hs_errinfo_t error;
    assert_int_equal(
        hs_thread_start(&thread, HS_THREAD_IO, "sends", send_to_a_closed_peer, NULL, &error),
        HS_OK);
    void *result = NULL;
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_int_equal(*(ptrdiff_t *)result, -EPIPE);
    free(result);
}

static void unsent_counts_what_a_peer_has_not_taken(void **state)
{
    (void)state;
    int client;
    int server;
    connect_pair(&client, &server, NULL);
    assert_int_equal(hs_sock_unsent(client), 0);
    static char bulk[65536];
    struct iovec iov = { bulk, sizeof(bulk) };
    size_t sent = 0;
    ptrdiff_t n;
    while ((n = hs_sock_send(client, &iov, 1)) > 0)
        sent += (size_t)n;
    ptrdiff_t before = hs_sock_unsent(client);
    assert_true(before > 0 && (size_t)before < sent); /* the rest is in the peer's buffer */
    for (size_t done = 0; done < sent;)
        done += read_all(server, bulk, hs_min(sizeof(bulk), sent - done));
    /* The last acknowledgement may still be in flight. */
    for (int i = 0; i < 1000 && hs_sock_unsent(client) > 0; i++)
        (void)poll(NULL, 0, 1);
    assert_int_equal(hs_sock_unsent(client), 0);
    hs_sock_close(client);
    hs_sock_close(server);
    assert_int_equal(hs_sock_unsent(client), -EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_outbound_connection_reaches_its_listener),
        cmocka_unit_test(a_refused_connection_says_so_once),
        cmocka_unit_test(a_connection_in_progress_is_not_taken_for_connected),
        cmocka_unit_test(unix_sockets_connect_at_once_or_say_why_not),
        cmocka_unit_test(only_literals_and_short_paths_are_endpoints),
        cmocka_unit_test(sixteen_buffers_leave_in_one_call),
        cmocka_unit_test(a_file_is_sent_from_any_offset_and_ends),
        cmocka_unit_test(a_full_socket_takes_part_of_a_file_then_none),
        cmocka_unit_test(a_file_to_a_closed_peer_raises_no_signal),
        cmocka_unit_test(a_file_to_a_closed_peer_raises_no_signal_on_a_thread_of_the_server),
        cmocka_unit_test(unsent_counts_what_a_peer_has_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
