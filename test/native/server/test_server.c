/* hs_server: serving, stopping, draining and configuration, in process and over the loopback. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/server_bench.h"

static void requests_are_answered(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    server_bench_start(&sb);
    int fd = client_connect(&sb);
    for (int i = 0; i < 10; i++) {
        client_answer_t answer = client_get(fd, "/path");
        assert_int_equal(answer.status, 200);
        assert_int_equal(answer.body_len, 5);
        assert_false(answer.close);
    }
    client_send(fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_true(client_read(fd).close);
    client_expect_end(fd);
    assert_int_equal(atomic_load(&sb.ready), 1);
    server_bench_stop(&sb);
}

static void a_thousand_pipelined_requests(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    server_bench_start(&sb);
    int fd = client_connect(&sb);
    static char text[40000];
    text[0] = '\0';
    for (int i = 0; i < 1000; i++)
        snprintf(text + strlen(text), 40, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", 1 + i % 100);
    client_send(fd, text);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(client_read(fd).body_len, 1 + i % 100);
    close(fd);
    server_bench_stop(&sb);
}

static void many_connections_at_once(void **state)
{
    (void)state;
    enum {
        COUNT = 300
    };
    server_bench_t sb;
    server_bench_init(&sb);
    server_bench_start(&sb);
    int fds[COUNT];
    for (int i = 0; i < COUNT; i++)
        fds[i] = client_connect(&sb);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++)
            client_send(fds[i], "GET /1000 HTTP/1.1\r\nHost: a\r\n\r\n");
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(client_read(fds[i]).body_len, 1000);
    }
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    server_bench_stop(&sb);
}

static void a_large_answer_to_a_client_that_reads_late(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    server_bench_start(&sb);
    int slow = client_connect(&sb), other = client_connect(&sb);
    client_send(slow,
                "GET /20000000 HTTP/1.1\r\nHost: a\r\n\r\nGET /7 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_get(other, "/3").body_len, 3); /* others are served meanwhile */
    assert_int_equal(client_read(slow).body_len, 20000000);
    assert_int_equal(client_read(slow).body_len, 7);
    close(slow);
    close(other);
    server_bench_stop(&sb);
}

static void clients_that_reset_do_no_harm(void **state)
{
    (void)state;
    static const char *const begun[] = { "", "GET / HT",
                                         "POST / HTTP/1.1\r\nHost: a\r\n"
                                         "Content-Length: 100000\r\n\r\nabc",
                                         "GET /8000000 HTTP/1.1\r\nHost: a\r\n\r\n" };
    server_bench_t sb;
    server_bench_init(&sb);
    server_bench_start(&sb);
    struct linger reset = { .l_onoff = 1 };
    for (int i = 0; i < 100; i++) {
        int fd = client_connect(&sb);
        client_send(fd, begun[i % 4]);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
        close(fd);
    }
    int fd = client_connect(&sb);
    assert_int_equal(client_get(fd, "/").status, 200);
    close(fd);
    server_bench_stop(&sb);
}

static void stopping_closes_what_is_open(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    server_bench_start(&sb);
    int idle = client_connect(&sb), begun = client_connect(&sb);
    assert_int_equal(client_get(idle, "/").status, 200);
    client_send(begun, "GET / HTTP/1.1\r\n");
    uint16_t port = hs_server_port(sb.server);
    hs_server_stop(sb.server);
    client_expect_end(idle);
    client_expect_end(begun);
    server_bench_join(&sb);
    assert_int_equal(client_connect_to(port), -ECONNREFUSED);
}

static void stopping_before_running(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    server_bench_create(&sb);
    hs_server_stop(sb.server);
    hs_server_stop(sb.server);
    server_bench_run(&sb);
    server_bench_join(&sb);
}

static void a_server_that_never_ran(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    server_bench_create(&sb);
    assert_int_not_equal(hs_server_port(sb.server), 0);
    hs_server_free(sb.server);
    hs_server_free(NULL);
    assert_int_equal(lowest_free_fd(), sb.lowest_fd);
}

static hs_server_t *signalled_server; /* a signal handler has no argument */

static void stop_on_signal(int number)
{
    (void)number;
    hs_server_stop(signalled_server);
}

static void stopping_from_a_signal_handler(void **state)
{
    (void)state;
    struct sigaction action = { .sa_handler = stop_on_signal }, before;
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    for (int on_server_thread = 0; on_server_thread < 2; on_server_thread++) {
        server_bench_t sb;
        server_bench_init(&sb);
        server_bench_start(&sb);
        signalled_server = sb.server;
        int fd = client_connect(&sb);
        assert_int_equal(client_get(fd, "/").status, 200);
        pthread_t target = on_server_thread ? sb.thread : pthread_self();
        assert_int_equal(pthread_kill(target, SIGUSR1), 0);
        client_expect_end(fd);
        server_bench_join(&sb);
    }
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
}

/* Idle connections are closed at once, requests in progress get responses that announce the
 * close. */
static void draining_answers_what_is_in_flight(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    server_bench_start(&sb);
    int idle = client_connect(&sb), head = client_connect(&sb), content = client_connect(&sb);
    int unread = client_connect(&sb);
    /* The responses to the first requests show that the server has read what came before them. */
    assert_int_equal(client_get(idle, "/").status, 200);
    client_send(head, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /begun HTTP/1.1\r\n");
    assert_int_equal(client_read(head).status, 200);
    client_send(content, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
                         "POST /10 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n01");
    assert_int_equal(client_read(content).status, 200);
    client_send(unread,
                "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /20000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(client_read(unread).status, 200);
    uint16_t port = hs_server_port(sb.server);
    hs_server_drain(sb.server, WAIT_MS);
    client_expect_end(idle);
    assert_int_equal(client_connect_to(port), -ECONNREFUSED);
    client_send(head, "Host: a\r\n\r\n");
    client_answer_t answer = client_read(head);
    assert_int_equal(answer.status, 200);
    assert_true(answer.close);
    client_expect_end(head);
    client_send(content, "234");
    answer = client_read(content);
    assert_int_equal(answer.body_len, 10);
    assert_true(answer.close);
    client_expect_end(content);
    assert_int_equal(client_read(unread).body_len, 20000000);
    client_expect_end(unread);
    server_bench_join(&sb);
    assert_int_equal(sb.cut, 0);
}

static void draining_ends_in_time_and_says_what_it_cut(void **state)
{
    (void)state;
    for (int mode = HS_REACTOR_SINGLE; mode <= HS_REACTOR_MULTI; mode++) {
        server_bench_t sb;
        server_bench_init(&sb);
        sb.config.reactor_mode = (hs_reactor_mode_t)mode;
        sb.config.num_io_threads = mode == HS_REACTOR_MULTI ? 2 : 0;
        server_bench_start(&sb);
        int first = client_connect(&sb), second = client_connect(&sb);
        assert_int_equal(client_get(first, "/").status, 200);
        assert_int_equal(client_get(second, "/").status, 200);
        client_send(first, "GET / HTTP/1.1\r\n");
        client_send(second, "GET / HTTP/1.1\r\n");
        hs_server_drain(sb.server, 200);
        server_bench_join(&sb);
        client_expect_end(first);
        client_expect_end(second);
        assert_int_equal(sb.cut, 1);
    }
}

static void draining_before_running_and_then_stopping(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    server_bench_create(&sb);
    hs_server_drain(sb.server, WAIT_MS);
    server_bench_run(&sb);
    server_bench_join(&sb);
    server_bench_init(&sb);
    server_bench_start(&sb);
    int fd = client_connect(&sb);
    client_send(fd, "GET / HTTP/1.1\r\n");
    hs_server_drain(sb.server, WAIT_MS);
    hs_server_stop(sb.server);
    server_bench_join(&sb);
    client_expect_end(fd);
}

static void the_end_of_the_control_descriptor_ends_the_server(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    sb.config.control_fd = pair[0];
    server_bench_start(&sb);
    int fd = client_connect(&sb);
    assert_int_equal(write(pair[1], "ignored", 7), 7);
    assert_int_equal(client_get(fd, "/").status, 200);
    assert_int_equal(atomic_load(&sb.orphaned), 0);
    close(pair[1]);
    client_expect_end(fd);
    server_bench_join(&sb);
    assert_int_equal(atomic_load(&sb.orphaned), 1);
}

static void listeners_made_by_somebody_else(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    int fds[2];
    uint16_t ports[2];
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(address);
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(bind(fds[i], (struct sockaddr *)(void *)&address, len), 0);
        assert_int_equal(listen(fds[i], 10), 0);
        assert_int_equal(getsockname(fds[i], (struct sockaddr *)(void *)&address, &len), 0);
        ports[i] = ntohs(address.sin_port);
    }
    sb.config.listen_flags = HS_LISTEN_FDS;
    sb.config.listen_fds = fds;
    sb.config.listen_fd_count = 2;
    server_bench_start(&sb);
    for (int i = 0; i < 2; i++) {
        int fd = client_connect_to(ports[i]);
        assert_int_equal(client_get(fd, "/").status, 200);
        close(fd);
    }
    server_bench_stop(&sb);
}

/* Four descriptors of a supervisor: two listeners, control, inbox. */
static void give_descriptors(hs_config_t *config, int fds[4])
{
    for (int i = 0; i < 4; i++) {
        fds[i] = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_true(fds[i] >= 0);
    }
    config->listen_flags = HS_LISTEN_FDS;
    config->listen_fds = fds;
    config->listen_fd_count = 2;
    config->control_fd = fds[2];
    config->inbox_fd = fds[3];
    config->stats_fd = open("/dev/null", O_RDONLY);
}

static void bad_limits(hs_config_t *config)
{
    config->ring_size = 3;
}

static void bad_script(hs_config_t *config)
{
    config->lua_script = "/no/such/file.lua";
    config->handler = NULL;
}

static void bad_page(hs_config_t *config)
{
    (void)config; /* /dev/null is not one */
}

static void bad_listener(hs_config_t *config)
{
    close(config->stats_fd);
    config->stats_fd = -1;
    close(config->listen_fds[0]); /* so that it cannot be watched */
}

static void a_server_that_cannot_be_made_closes_what_it_was_given(void **state)
{
    (void)state;
    void (*const spoil[])(hs_config_t *) = { bad_limits, bad_script, bad_page, bad_listener };
    for (size_t i = 0; i < sizeof(spoil) / sizeof(spoil[0]); i++) {
        server_bench_t sb;
        int fds[4];
        server_bench_init(&sb);
        give_descriptors(&sb.config, fds);
        spoil[i](&sb.config);
        int code = 0;
        assert_null(hs_server_create(&sb.config, &code, NULL, 0));
        assert_int_not_equal(code, 0);
        for (int k = 0; k < 4; k++)
            assert_int_equal(fcntl(fds[k], F_GETFD), -1);
        assert_int_equal(lowest_free_fd(), sb.lowest_fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered),
        cmocka_unit_test(a_thousand_pipelined_requests),
        cmocka_unit_test(many_connections_at_once),
        cmocka_unit_test(a_large_answer_to_a_client_that_reads_late),
        cmocka_unit_test(clients_that_reset_do_no_harm),
        cmocka_unit_test(stopping_closes_what_is_open),
        cmocka_unit_test(stopping_before_running),
        cmocka_unit_test(a_server_that_never_ran),
        cmocka_unit_test(stopping_from_a_signal_handler),
        cmocka_unit_test(draining_answers_what_is_in_flight),
        cmocka_unit_test(draining_ends_in_time_and_says_what_it_cut),
        cmocka_unit_test(draining_before_running_and_then_stopping),
        cmocka_unit_test(the_end_of_the_control_descriptor_ends_the_server),
        cmocka_unit_test(listeners_made_by_somebody_else),
        cmocka_unit_test(a_server_that_cannot_be_made_closes_what_it_was_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
