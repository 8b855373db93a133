/* hs_server: connections and descriptors beyond the limit, timeouts in real time, and
 * invalid configurations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "os/hs_clock.h"
#include "server/server_bench.h"

/* A place is free again: the client that had it is gone. */
static void await_room(const server_bench_t *sb)
{
    uint64_t until_ms = hs_clock_monotonic_ms() + WAIT_MS;
    int status = 503;
    while (status == 503 && hs_clock_monotonic_ms() < until_ms) {
        int fd = client_connect(sb);
        client_send(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        status = client_read(fd).status;
        close(fd);
        poll(NULL, 0, 1); /* each attempt uses up a port for a while */
    }
    assert_int_equal(status, 200);
}

static void connections_beyond_the_limit_get_503(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    sb.config.conn_pool_cap = 2;
    server_bench_start(&sb);
    int first = client_connect(&sb), second = client_connect(&sb);
    assert_int_equal(client_get(first, "/").status, 200);
    assert_int_equal(client_get(second, "/").status, 200);
    for (int i = 0; i < 5; i++) {
        int fd = client_connect(&sb);
        client_answer_t answer = client_read(fd); /* even without a request */
        assert_int_equal(answer.status, 503);
        assert_true(answer.close);
        client_expect_end(fd);
    }
    assert_int_equal(client_get(first, "/").status, 200);
    close(second);
    /* Room again, as soon as the server has noticed the end of the second. */
    await_room(&sb);
    close(first);
    server_bench_stop(&sb);
}

/* More at once than the server keeps places for: each gets a response, none is just closed. */
static void everyone_beyond_the_limit_is_told(void **state)
{
    (void)state;
    enum {
        EXCESS = 110
    };
    server_bench_t sb;
    server_bench_init(&sb);
    sb.config.conn_pool_cap = 2;
    server_bench_start(&sb);
    int first = client_connect(&sb), second = client_connect(&sb);
    assert_int_equal(client_get(first, "/").status, 200);
    assert_int_equal(client_get(second, "/").status, 200);
    for (unsigned asks = 0; asks < 2; asks++) {
        int fds[EXCESS];
        for (int i = 0; i < EXCESS; i++) {
            fds[i] = client_connect(&sb);
            if (asks)
                client_send(fds[i], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        for (int i = 0; i < EXCESS; i++) {
            client_answer_t answer = client_read(fds[i]);
            assert_int_equal(answer.status, 503);
            assert_true(answer.close);
            client_expect_end(fds[i]);
        }
    }
    assert_int_equal(client_get(first, "/").status, 200);
    close(first);
    close(second);
    server_bench_stop(&sb);
}

typedef struct child {
    pid_t pid;
    uint16_t port;
    int control; /* closing it stops the child */
    int log;     /* its log lines can be read here */
} child_t;

/* Runs in the child: serves with only that many spare descriptors until the control pair closes. */
static void serve_with_descriptors(int spare, int control_fd, int log_fd, int port_fd)
{
    static server_bench_t sb;
    hs_config_init(&sb.config);
    sb.config.port = 0;
    sb.config.handler = answer_size;
    sb.config.log_level = HS_LOG_WARN;
    sb.config.log_json_fd = log_fd;
    sb.config.control_fd = control_fd;
    sb.server = hs_server_new(&sb.config);
    uint16_t port = sb.server != NULL ? hs_server_port(sb.server) : 0;
    if (port == 0 || write(port_fd, &port, sizeof(port)) != sizeof(port))
        _exit(10);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        _exit(11);
    limit.rlim_cur = (rlim_t)(lowest_free_fd() + spare);
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        _exit(12);
    int result = hs_server_run(sb.server);
    hs_server_free(sb.server);
    _exit(result == 0 ? 0 : 13);
}

/* A separate process, because the descriptor limit is per process. */
static child_t fork_server(int spare)
{
    child_t child;
    int control[2], log[2], port[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, control), 0);
    assert_int_equal(pipe(log), 0);
    assert_int_equal(pipe(port), 0);
    child.pid = fork();
    if (child.pid == 0) {
        close(control[1]);
        close(log[0]);
        serve_with_descriptors(spare, control[0], log[1], port[1]);
    }
    assert_true(child.pid > 0);
    close(control[0]);
    close(log[1]);
    close(port[1]);
    assert_int_equal(read(port[0], &child.port, sizeof(child.port)), sizeof(child.port));
    close(port[0]);
    child.control = control[1];
    child.log = log[0];
    return child;
}

static void expect_line(int fd, const char *expected)
{
    static char seen[8192];
    size_t len = 0;
    while (len == 0 || seen[len - 1] != '\n') {
        struct pollfd readable = { .fd = fd, .events = POLLIN };
        assert_int_equal(poll(&readable, 1, WAIT_MS), 1);
        ssize_t got = read(fd, seen + len, sizeof(seen) - 1 - len);
        assert_true(got > 0);
        len += (size_t)got;
    }
    seen[len] = '\0';
    if (strstr(seen, expected) == NULL)
        fail_msg("no \"%s\" in: %s", expected, seen);
}

static uint64_t cpu_ms(const struct rusage *usage)
{
    return (uint64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000 +
           (uint64_t)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1000;
}

/* Without free descriptors the server stops accepting, logs it, waits without spinning, serves the
 * connections it has, and resumes when one is closed. */
static void out_of_descriptors_accepting_pauses_and_recovers(void **state)
{
    (void)state;
    enum {
        COUNT = 30,
        SPARE = 6,
        PAUSE_MS = 1200,
        RETRY_MS = 500
    };
    int fds[COUNT], lowest_fd = lowest_free_fd();
    child_t child = fork_server(SPARE);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = client_connect_to(child.port); /* the kernel queues it */
        assert_true(fds[i] >= 0);
        client_send(fds[i], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    expect_line(child.log, "accepting is paused: ");
    for (int i = 0; i < SPARE; i++)
        assert_int_equal(client_read(fds[i]).status, 200);
    struct pollfd last = { .fd = fds[COUNT - 1], .events = POLLIN };
    assert_int_equal(poll(&last, 1, PAUSE_MS), 0);
    assert_int_equal(client_get(fds[0], "/").status, 200);
    /* Each that is closed makes room for the next in the queue at once: waiting for the server's
     * next retry each time would take twice as long as allowed. */
    uint64_t begin_ms = hs_clock_monotonic_ms();
    for (int i = SPARE; i < COUNT; i++) {
        close(fds[i - SPARE]);
        assert_int_equal(client_read(fds[i]).status, 200);
    }
    assert_true(hs_clock_monotonic_ms() - begin_ms < (COUNT - SPARE) * RETRY_MS / 2);
    close(child.control);
    int status;
    struct rusage usage;
    assert_int_equal(wait4(child.pid, &status, 0, &usage), child.pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(cpu_ms(&usage) < PAUSE_MS / 2);
    for (int i = COUNT - SPARE; i < COUNT; i++)
        client_expect_end(fds[i]);
    close(child.log);
    assert_int_equal(lowest_free_fd(), lowest_fd);
}

static bool can_send(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        data += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* A refused client that is still sending. False: it was slower than the server waits for it. */
static bool refusal_reaches_a_sender(const server_bench_t *sb)
{
    enum {
        LINGER_MS = 500 /* of the server, without another byte */
    };
    static char rest[100000], response[2048];
    memset(rest, 'x', sizeof(rest));
    int fd = client_connect(sb);
    uint64_t begin_ms = hs_clock_monotonic_ms();
    bool has_sent = can_send(fd, "NONSENSE\r\n\r\n", 12) && can_send(fd, rest, sizeof(rest));
    size_t len = 0;
    ssize_t got;
    while ((got = recv(fd, response + len, sizeof(response) - 1 - len, 0)) > 0)
        len += (size_t)got;
    response[len] = '\0';
    for (int more = 0; more < 5; more++) /* would fail after a reset */
        has_sent = has_sent && can_send(fd, rest, sizeof(rest));
    bool is_whole = strncmp(response, "HTTP/1.1 400 ", 13) == 0 &&
                    strstr(response, "\r\n\r\nBad Request\n") != NULL;
    close(fd);
    if (has_sent && got == 0 && is_whole)
        return true;
    assert_true(hs_clock_monotonic_ms() - begin_ms >= LINGER_MS);
    return false;
}

/* It can read the response: the server shuts down its side, drops what arrives for a while, and
 * only then closes. */
static void a_refusal_is_not_lost_to_a_reset(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    server_bench_start(&sb);
    int attempts = 0;
    for (int i = 0; i < 20; i++)
        while (!refusal_reaches_a_sender(&sb))
            assert_true(++attempts < 50);
    server_bench_stop(&sb);
}

/* False: the clients were slower than their deadlines. */
static bool deadlines_pass(const server_bench_t *sb, uint32_t timeout_ms)
{
    uint64_t begin_ms = hs_clock_monotonic_ms();
    int silent = client_connect(sb), head = client_connect(sb), content = client_connect(sb);
    int idle = client_connect(sb);
    client_send(head, "GET / HTTP/1.1\r\n");
    client_send(content, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n01");
    client_send(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    if (hs_clock_monotonic_ms() - begin_ms >= timeout_ms) {
        int fds[] = { silent, head, content, idle };
        for (int i = 0; i < 4; i++)
            close(fds[i]);
        return false;
    }
    assert_int_equal(client_read(idle).status, 200);
    assert_int_equal(client_read(head).status, 408);
    assert_int_equal(client_read(content).status, 408);
    client_expect_end(head);
    client_expect_end(content);
    client_expect_end(silent);
    client_expect_end(idle);
    return true;
}

static void deadlines_pass_in_real_time(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    sb.config.header_timeout_ms = 150;
    sb.config.body_timeout_ms = 150;
    sb.config.keepalive_timeout_ms = 150;
    server_bench_start(&sb);
    int attempts = 0;
    while (!deadlines_pass(&sb, sb.config.header_timeout_ms))
        assert_true(++attempts < 50);
    server_bench_stop(&sb);
}

static void a_client_that_does_not_read_is_closed_in_time(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    sb.config.conn_pool_cap = 1;
    sb.config.write_timeout_ms = 150;
    server_bench_start(&sb);
    int deaf = client_connect(&sb);
    client_send(deaf, "GET /32000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    await_room(&sb);
    close(deaf);
    server_bench_stop(&sb);
}

enum {
    TOTAL = 16 * 1000 * 1000,
    TIMEOUT_MS = 500,
    STEP = 4000,
    STEP_MS = 10
};

/* Bytes that a client has read, and its longest pause. */
typedef struct reading {
    int fd;
    size_t len;
    uint64_t last_ms;
    uint64_t pause_ms;
} reading_t;

/* False at the end. */
static bool read_some(reading_t *reading, size_t most)
{
    static char data[64 * 1024];
    ssize_t got = recv(reading->fd, data, most < sizeof(data) ? most : sizeof(data), 0);
    uint64_t now_ms = hs_clock_monotonic_ms();
    if (now_ms - reading->last_ms > reading->pause_ms)
        reading->pause_ms = now_ms - reading->last_ms;
    reading->last_ms = now_ms;
    reading->len += got > 0 ? (size_t)got : 0;
    return got > 0;
}

/* False: the client did not run for so long that it looked like one that has stopped. */
static bool slow_reader_is_served(bool stops)
{
    server_bench_t sb;
    server_bench_init(&sb);
    sb.config.conn_pool_cap = 1;
    sb.config.write_timeout_ms = TIMEOUT_MS;
    server_bench_start(&sb);
    reading_t reading = { .fd = client_connect(&sb) };
    int small = 16 * 1024;
    assert_int_equal(setsockopt(reading.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    client_send(reading.fd, "GET /16000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    uint64_t begin_ms = reading.last_ms = hs_clock_monotonic_ms();
    bool goes_on = true;
    while (goes_on && hs_clock_monotonic_ms() - begin_ms < 4 * TIMEOUT_MS) {
        goes_on = read_some(&reading, STEP);
        poll(NULL, 0, STEP_MS);
    }
    assert_true(reading.len < TOTAL / 4);
    if (stops && goes_on)
        await_room(&sb);
    while (reading.len < TOTAL && read_some(&reading, SIZE_MAX)) {
    }
    close(reading.fd);
    server_bench_stop(&sb);
    if (stops && goes_on)
        assert_true(reading.len < TOTAL);
    else if (reading.len < TOTAL)
        assert_true(reading.pause_ms > TIMEOUT_MS / 2);
    return stops ? goes_on : reading.len >= TOTAL;
}

/*
 * The kernel has accepted megabytes, and reports room only when a third of them is sent:
 * until then only the client's acknowledgements show progress.
 */
static void a_client_that_reads_slowly_is_not_cut_and_one_that_stops_is(void **state)
{
    (void)state;
    int attempts = 0;
    for (unsigned stops = 0; stops < 2; stops++)
        while (!slow_reader_is_served(stops))
            assert_true(++attempts < 20);
}

/* Blocks the loop's thread for as many ms as the target says, after it has reported that. */
typedef struct staller {
    int begun; /* a pipe's end */
} staller_t;

static void stall(hs_request_t *request, hs_response_t *response, void *user_data)
{
    const staller_t *staller = user_data;
    int ms = atoi(hs_req_url(request) + 1);
    if (ms > 0 && write(staller->begun, "b", 1) == 1)
        poll(NULL, 0, ms);
    hs_res_body_str(response, "done");
    hs_res_send(response);
}

/*
 * A hundred connections, of which half have sent a part of their head, while a handler blocks the
 * loop's thread beyond the header timeout. Returns false if the machine was too slow to set
 * that up in time; the connections' requests arrive during the stall.
 */
static bool stall_past_the_deadlines(const server_bench_t *sb, int begun, uint32_t timeout_ms)
{
    enum {
        COUNT = 100
    };
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    int fds[COUNT];
    uint64_t begin_ms = hs_clock_monotonic_ms();
    for (int i = 0; i < COUNT; i++) {
        fds[i] = client_connect(sb);
        if (i % 2 == 0)
            assert_int_equal(send(fds[i], request, 10, MSG_NOSIGNAL), 10);
    }
    int staller = client_connect(sb);
    client_send(staller, request);
    if (hs_clock_monotonic_ms() - begin_ms >= timeout_ms) {
        close(staller);
        for (int i = 0; i < COUNT; i++)
            close(fds[i]);
        return false;
    }
    assert_int_equal(client_read(staller).status, 200); /* all before it have been accepted */
    char text[128], byte;
    snprintf(text, sizeof(text), "GET /%u HTTP/1.1\r\nHost: a\r\n\r\n", timeout_ms + 100);
    client_send(staller, text);
    assert_int_equal(read(begun, &byte, 1), 1);
    bool in_time = hs_clock_monotonic_ms() - begin_ms < timeout_ms;
    for (int i = 0; i < COUNT; i++)
        client_send(fds[i], request + (i % 2 == 0 ? 10 : 0));
    assert_int_equal(client_read(staller).status, 200);
    close(staller);
    for (int i = 0; i < COUNT; i++) {
        if (in_time)
            assert_int_equal(client_read(fds[i]).status, 200);
        close(fds[i]);
    }
    return in_time;
}

static void after_a_stall_what_has_arrived_is_received_first(void **state)
{
    (void)state;
    int begun[2];
    server_bench_t sb;
    assert_int_equal(pipe(begun), 0);
    server_bench_init(&sb);
    staller_t staller = { begun[1] };
    sb.config.handler = stall;
    sb.config.handler_ud = &staller;
    sb.config.dispatch = HS_DISPATCH_INLINE;
    sb.config.header_timeout_ms = 200;
    server_bench_start(&sb);
    int attempts = 0;
    while (!stall_past_the_deadlines(&sb, begun[0], sb.config.header_timeout_ms))
        assert_true(++attempts < 50);
    server_bench_stop(&sb);
    close(begun[0]);
    close(begun[1]);
}

static void expect_refused(hs_config_t config, const char *expected)
{
    int code = 0;
    char error[512] = "";
    assert_null(hs_server_create(&config, &code, error, sizeof(error)));
    assert_int_equal(code, -3);
    if (strstr(error, expected) == NULL)
        fail_msg("no \"%s\" in: %s", expected, error);
}

#define REFUSED(field, value)                                                                      \
    do {                                                                                           \
        hs_config_t changed = config;                                                              \
        changed.field = (value);                                                                   \
        expect_refused(changed, #field);                                                           \
    } while (0)

static void configurations_that_are_refused(void **state)
{
    (void)state;
    hs_config_t config;
    hs_config_init(&config);
    config.handler = answer_size;
    config.port = 0;
    REFUSED(ring_size, 0);
    REFUSED(ring_size, 32);
    REFUSED(ring_size, 100);
    REFUSED(ring_size, 2 * 1024 * 1024);
    REFUSED(conn_pool_cap, 0);
    REFUSED(conn_pool_cap, -1);
    REFUSED(backlog, 0);
    REFUSED(max_headers, 0);
    REFUSED(max_headers, 1025);
    REFUSED(max_url_len, 0);
    REFUSED(max_body_size, (size_t)UINT32_MAX + 1);
    REFUSED(listen_flags, 0);
    REFUSED(listen_flags, 1024);
    REFUSED(host, NULL);
    REFUSED(handler, NULL);
    REFUSED(listen_flags, HS_LISTEN_UDS | 1024);
    REFUSED(reactor_mode, (hs_reactor_mode_t)2);
    REFUSED(num_io_threads, -1);
    REFUSED(num_threads, -2);
    REFUSED(dispatch, (hs_dispatch_mode_t)3);
    REFUSED(work_queue_cap, 0);
    REFUSED(work_queue_cap, 3);
    hs_config_t changed = config;
    changed.listen_flags = HS_LISTEN_FDS;
    expect_refused(changed, "listen_fds");
    changed.listen_flags = HS_LISTEN_UDS;
    expect_refused(changed, "uds_path");
}

static void what_cannot_be_opened_is_said(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    server_bench_create(&sb);
    int code = 0;
    char error[512];
    hs_config_t config = sb.config;
    config.port = hs_server_port(sb.server);
    assert_null(hs_server_create(&config, &code, error, sizeof(error)));
    assert_int_equal(code, -2);
    assert_non_null(strstr(error, "127.0.0.1"));
    config.port = 0;
    config.lua_script = "/nowhere/handler.lua";
    config.lua_root = "lua";
    assert_null(hs_server_create(&config, &code, error, sizeof(error)));
    assert_int_equal(code, -6);
    assert_non_null(strstr(error, "/nowhere/handler.lua"));
    assert_int_equal(hs_check_lua("/nowhere/handler.lua", "lua", error, sizeof(error)), -6);
    assert_int_equal(hs_check_lua("examples/hello.lua", "lua", error, sizeof(error)), 0);
    hs_server_free(sb.server);
    assert_int_equal(lowest_free_fd(), sb.lowest_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_beyond_the_limit_get_503),
        cmocka_unit_test(everyone_beyond_the_limit_is_told),
        cmocka_unit_test(out_of_descriptors_accepting_pauses_and_recovers),
        cmocka_unit_test(a_refusal_is_not_lost_to_a_reset),
        cmocka_unit_test(deadlines_pass_in_real_time),
        cmocka_unit_test(a_client_that_does_not_read_is_closed_in_time),
        cmocka_unit_test(a_client_that_reads_slowly_is_not_cut_and_one_that_stops_is),
        cmocka_unit_test(after_a_stall_what_has_arrived_is_received_first),
        cmocka_unit_test(configurations_that_are_refused),
        cmocka_unit_test(what_cannot_be_opened_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
