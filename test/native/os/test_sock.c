/* hs_sock: listening, probing, Unix sockets, moving bytes, addresses. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/hs_sock.h"

static uint16_t port_of(int fd)
{
    hs_sock_address_t address;
    assert_int_equal(hs_sock_local_address(fd, &address), 0);
    return address.port;
}

static int listen_or_skip(const char *host, uint16_t port, unsigned flags)
{
    hs_errinfo_t err = { 0 };
    int fd = hs_sock_listen_tcp(host, port, 16, flags, &err);
    if (fd < 0 && (err.sys_errno == EAFNOSUPPORT || err.sys_errno == EADDRNOTAVAIL))
        skip(); /* no IPv6 on this machine */
    if (fd < 0)
        fail_msg("%s", err.text);
    return fd;
}

/* A blocking connection; -1 if nothing listens. */
static int connect_v4(uint16_t port)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static int connect_v6(uint16_t port)
{
    struct sockaddr_in6 address;
    memset(&address, 0, sizeof(address));
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    address.sin6_addr = in6addr_loopback;
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

static int accept_one(int listener)
{
    struct pollfd ready = { .fd = listener, .events = POLLIN };
    assert_int_equal(poll(&ready, 1, -1), 1);
    int fd = hs_sock_accept(listener, NULL);
    assert_true(fd >= 0);
    return fd;
}

static void assert_properties(int fd)
{
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);
    assert_int_equal(getsockopt(fd, level, option, &value, &len), 0);
    return value;
}

static void an_accepted_connection_has_its_properties(void **state)
{
    (void)state;
    int listener = listen_or_skip("127.0.0.1", 0, 0);
    assert_properties(listener);
    assert_int_equal(hs_sock_accept(listener, NULL), -EAGAIN);
    int client = connect_v4(port_of(listener));
    assert_true(client >= 0);
    int server = accept_one(listener);
    assert_properties(server);
    assert_true(option_of(server, IPPROTO_TCP, TCP_NODELAY) != 0);
    assert_int_equal(hs_sock_accept(listener, NULL), -EAGAIN);
    hs_sock_close(server);
    hs_sock_close(client);
    hs_sock_close(listener);
    assert_int_equal(hs_sock_accept(-1, NULL), -EBADF);
}

static void no_descriptor_left_keeps_the_connection_queued(void **state)
{
    (void)state;
    int listener = listen_or_skip("127.0.0.1", 0, 0);
    int client = connect_v4(port_of(listener));
    assert_true(client >= 0);
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    struct rlimit none = { .rlim_cur = (rlim_t)client + 1, .rlim_max = files.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int refused = hs_sock_accept(listener, NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    assert_int_equal(refused, -EMFILE);
    int server = hs_sock_accept(listener, NULL);
    assert_true(server >= 0);
    hs_sock_close(server);
    hs_sock_close(client);
    hs_sock_close(listener);
}

static void a_group_shares_the_port_the_kernel_chose(void **state)
{
    (void)state;
    int fds[4];
    fds[0] = listen_or_skip("127.0.0.1", 0, HS_SOCK_REUSEPORT);
    uint16_t port = port_of(fds[0]);
    assert_int_not_equal(port, 0);
    for (int i = 1; i < 4; i++) {
        fds[i] = listen_or_skip("127.0.0.1", port, HS_SOCK_REUSEPORT);
        assert_int_equal(port_of(fds[i]), port);
    }
    for (int i = 0; i < 4; i++)
        hs_sock_close(fds[i]);
}

static void a_taken_port_is_refused_by_name(void **state)
{
    (void)state;
    int listener = listen_or_skip("127.0.0.1", 0, 0);
    uint16_t port = port_of(listener);
    char name[64];
    (void)snprintf(name, sizeof(name), "127.0.0.1:%u: ", (unsigned)port);
    for (unsigned flags = 0; flags <= HS_SOCK_REUSEPORT; flags++) {
        hs_errinfo_t err = { 0 };
        assert_int_equal(hs_sock_listen_tcp("127.0.0.1", port, 16, flags, &err), HS_ERR_SYSTEM);
        assert_int_equal(err.code, HS_ERR_SYSTEM);
        assert_int_equal(err.sys_errno, EADDRINUSE);
        assert_non_null(strstr(err.text, name));
        assert_non_null(strstr(err.text, strerror(EADDRINUSE)));
    }
    assert_int_equal(hs_sock_listen_tcp("127.0.0.1", port, 16, 0, NULL), HS_ERR_SYSTEM);
    hs_sock_close(listener);
}

static void a_probe_refuses_a_live_group(void **state)
{
    (void)state;
    int first = listen_or_skip("127.0.0.1", 0, HS_SOCK_REUSEPORT);
    uint16_t port = port_of(first);
    int second = listen_or_skip("127.0.0.1", port, HS_SOCK_REUSEPORT);
    const char *const hosts[] = { "127.0.0.1", "0.0.0.0", "*", "" };
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        hs_errinfo_t err = { 0 };
        assert_int_equal(hs_sock_probe_tcp(hosts[i], port, &err), HS_ERR_SYSTEM);
        assert_int_equal(err.sys_errno, EADDRINUSE);
    }
    hs_sock_close(first);
    assert_int_equal(hs_sock_probe_tcp("127.0.0.1", port, NULL), HS_ERR_SYSTEM);
    hs_sock_close(second);
    assert_int_equal(hs_sock_probe_tcp("127.0.0.1", port, NULL), 0);
    assert_int_equal(hs_sock_probe_tcp("127.0.0.1", 0, NULL), 0);
}

static void connections_in_time_wait_do_not_fail_a_probe(void **state)
{
    (void)state;
    int listener = listen_or_skip("127.0.0.1", 0, 0);
    uint16_t port = port_of(listener);
    int client = connect_v4(port);
    int server = accept_one(listener);
    hs_sock_close(server); /* first: this end gets TIME_WAIT */
    char byte;
    assert_int_equal(read(client, &byte, 1), 0);
    hs_sock_close(client);
    hs_sock_close(listener);
    assert_int_equal(hs_sock_probe_tcp("127.0.0.1", port, NULL), 0);
    hs_sock_close(listen_or_skip("127.0.0.1", port, HS_SOCK_REUSEPORT));
}

static void ipv6_and_its_error_text(void **state)
{
    (void)state;
    int listener = listen_or_skip("::1", 0, 0);
    uint16_t port = port_of(listener);
    hs_sock_address_t address;
    assert_int_equal(hs_sock_local_address(listener, &address), 0);
    assert_int_equal(address.family, 6);
    assert_string_equal(address.text, "::1");
    int client = connect_v6(port);
    assert_true(client >= 0);
    hs_errinfo_t err = { 0 };
    assert_int_equal(hs_sock_listen_tcp("::1", port, 16, 0, &err), HS_ERR_SYSTEM);
    char name[64];
    (void)snprintf(name, sizeof(name), "[::1]:%u: ", (unsigned)port);
    assert_non_null(strstr(err.text, name));
    assert_int_equal(hs_sock_probe_tcp("::", port, &err), HS_ERR_SYSTEM);
    hs_sock_close(client);
    hs_sock_close(listener);
}

static void a_dual_stack_wildcard_takes_both_families(void **state)
{
    (void)state;
    hs_sock_close(listen_or_skip("::1", 0, 0)); /* a wildcard needs no address to be bound */
    int listener = listen_or_skip("::", 0, HS_SOCK_DUAL_STACK);
    uint16_t port = port_of(listener);
    int v4 = connect_v4(port);
    int v6 = connect_v6(port);
    assert_true(v4 >= 0 && v6 >= 0);
    int server = accept_one(listener);
    hs_sock_address_t address;
    hs_sock_address_t client;
    assert_int_equal(hs_sock_peer_address(server, &address), 0);
    assert_int_equal(hs_sock_local_address(v4, &client), 0);
    assert_int_equal(address.family, 4); /* not ::ffff:127.0.0.1 */
    assert_string_equal(address.text, "127.0.0.1");
    assert_int_equal(address.port, client.port);
    hs_sock_close(server);
    server = accept_one(listener);
    assert_int_equal(hs_sock_peer_address(server, &address), 0);
    assert_int_equal(address.family, 6);
    hs_sock_close(server);
    hs_sock_close(v4);
    hs_sock_close(v6);
    hs_sock_close(listener);
}

static void without_dual_stack_the_wildcard_takes_one_family(void **state)
{
    (void)state;
    int listener = listen_or_skip("::", 0, 0);
    assert_int_equal(connect_v4(port_of(listener)), -1);
    hs_sock_close(listener);
    const char *const any[] = { "*", "", NULL, "0.0.0.0" };
    for (size_t i = 0; i < sizeof(any) / sizeof(any[0]); i++) {
        listener = listen_or_skip(any[i], 0, 0);
        hs_sock_address_t address;
        assert_int_equal(hs_sock_local_address(listener, &address), 0);
        assert_int_equal(address.family, 4);
        assert_string_equal(address.text, "0.0.0.0");
        hs_sock_close(listener);
    }
    listener = listen_or_skip("*", 0, HS_SOCK_DUAL_STACK);
    int v4 = connect_v4(port_of(listener));
    assert_true(v4 >= 0);
    hs_sock_close(v4);
    hs_sock_close(listener);
}

static void names_are_resolved(void **state)
{
    (void)state;
    hs_sock_close(listen_or_skip("localhost", 0, 0));
    hs_errinfo_t err = { 0 };
    assert_int_equal(hs_sock_listen_tcp("no such host", 80, 16, 0, &err), HS_ERR_SYSTEM);
    assert_int_equal(err.sys_errno, 0);
    assert_non_null(strstr(err.text, "no such host:80"));
    assert_int_equal(hs_sock_listen_tcp("192.0.2.1", 0, 16, 0, &err), HS_ERR_SYSTEM);
    assert_int_equal(err.sys_errno, EADDRNOTAVAIL);
    assert_int_equal(hs_sock_listen_tcp("127.0.0.1", 0, 0, 0, &err), HS_ERR_INVALID);
    assert_int_equal(hs_sock_listen_tcp("127.0.0.1", 0, 1, 4, &err), HS_ERR_INVALID);
}

static void make_stream_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hs_sock_set_nonblock(fds[i]), 0);
        assert_int_equal(hs_sock_set_cloexec(fds[i]), 0);
        assert_properties(fds[i]);
    }
}

static void bytes_move_through_one_and_several_buffers(void **state)
{
    (void)state;
    int fds[2];
    make_stream_pair(fds);
    char in[2][4] = { "", "" };
    struct iovec into[2] = { { in[0], 4 }, { in[1], 4 } };
    assert_int_equal(hs_sock_recv(fds[1], into, 1), -EAGAIN);
    assert_int_equal(hs_sock_recv(fds[1], into, 2), -EAGAIN);

    char a[] = "ab";
    char b[] = "cde";
    char c[] = "f";
    struct iovec from[3] = { { a, 2 }, { b, 3 }, { c, 1 } };
    assert_int_equal(hs_sock_send(fds[0], from, 3), 6);
    assert_int_equal(hs_sock_send(fds[0], from, 1), 2);
    assert_int_equal(hs_sock_recv(fds[1], into, 2), 8);
    assert_memory_equal(in[0], "abcd", 4);
    assert_memory_equal(in[1], "efab", 4);
    assert_int_equal(into[0].iov_len, 4);

    assert_int_equal(hs_sock_send(fds[0], from, 3), 6);
    assert_int_equal(hs_sock_shutdown_write(fds[0]), 0);
    assert_int_equal(hs_sock_recv(fds[1], into, 1), 4);
    assert_int_equal(hs_sock_recv(fds[1], into, 1), 2);
    assert_int_equal(hs_sock_recv(fds[1], into, 1), 0);
    assert_int_equal(hs_sock_recv(fds[1], into, 2), 0);
    hs_sock_close(fds[0]);
    hs_sock_close(fds[1]);
}

static void sending_says_full_and_gone_without_a_signal(void **state)
{
    (void)state;
    int fds[2];
    make_stream_pair(fds);
    static char bulk[65536];
    struct iovec from[2] = { { bulk, sizeof(bulk) }, { bulk, sizeof(bulk) } };
    ptrdiff_t sent = 0;
    while ((sent = hs_sock_send(fds[0], from, 2)) > 0) {
    }
    assert_int_equal(sent, -EAGAIN);
    assert_int_equal(hs_sock_send(fds[0], from, 1), -EAGAIN);
    hs_sock_close(fds[1]);
    /* SIGPIPE would kill this program. */
    assert_int_equal(hs_sock_send(fds[0], from, 1), -EPIPE);
    assert_int_equal(hs_sock_send(fds[0], from, 2), -EPIPE);
    errno = EDOM;
    hs_sock_close(fds[0]);
    hs_sock_close(fds[0]);
    hs_sock_close(-1);
    assert_int_equal(errno, EDOM);
    assert_int_equal(hs_sock_send(fds[0], from, 1), -EBADF);
    assert_int_equal(hs_sock_recv(fds[0], from, 1), -EBADF);
    assert_int_equal(hs_sock_shutdown_write(fds[0]), -EBADF);
    assert_int_equal(hs_sock_set_nodelay(fds[0]), -EBADF);
    assert_int_equal(hs_sock_set_cloexec(fds[0]), -EBADF);
    assert_int_equal(hs_sock_set_nonblock(fds[0]), -EBADF);
}

static void a_pair_keeps_message_boundaries(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(hs_sock_pair(fds), 0);
    assert_properties(fds[0]);
    assert_properties(fds[1]);
    char text[] = "onetwo";
    struct iovec one = { text, 3 };
    struct iovec two = { text + 3, 3 };
    assert_int_equal(hs_sock_send(fds[0], &one, 1), 3);
    assert_int_equal(hs_sock_send(fds[0], &two, 1), 3);
    char in[16];
    struct iovec into = { in, sizeof(in) };
    assert_int_equal(hs_sock_recv(fds[1], &into, 1), 3);
    assert_memory_equal(in, "one", 3);
    assert_int_equal(hs_sock_recv(fds[1], &into, 1), 3);
    hs_sock_close(fds[0]);
#ifndef __APPLE__
    assert_int_equal(hs_sock_recv(fds[1], &into, 1),
                     0); /* how the death of the master is noticed */
#endif
    hs_sock_close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_accepted_connection_has_its_properties),
        cmocka_unit_test(no_descriptor_left_keeps_the_connection_queued),
        cmocka_unit_test(a_group_shares_the_port_the_kernel_chose),
        cmocka_unit_test(a_taken_port_is_refused_by_name),
        cmocka_unit_test(a_probe_refuses_a_live_group),
        cmocka_unit_test(connections_in_time_wait_do_not_fail_a_probe),
        cmocka_unit_test(ipv6_and_its_error_text),
        cmocka_unit_test(a_dual_stack_wildcard_takes_both_families),
        cmocka_unit_test(without_dual_stack_the_wildcard_takes_one_family),
        cmocka_unit_test(names_are_resolved),
        cmocka_unit_test(bytes_move_through_one_and_several_buffers),
        cmocka_unit_test(sending_says_full_and_gone_without_a_signal),
        cmocka_unit_test(a_pair_keeps_message_boundaries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
