/*
 * A server on a separate thread, and clients that connect to it over the loopback. Every wait is
 * bounded: a test that would hang fails instead. Include after cmocka.h.
 */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "httpserver.h"

#define WAIT_MS 20000 /* longer than anything here takes, sanitizers included */

typedef struct server_bench {
    hs_config_t config;
    hs_server_t *server;
    pthread_t thread;
    int ended[2];        /* pipe: the thread writes a byte when hs_server_run has returned */
    int result;          /* of hs_server_run; read after the thread was joined */
    atomic_int ready;    /* counted by the server's thread, read by the test's; relaxed */
    atomic_int orphaned; /* as ready */
    atomic_int cut;      /* as ready */
    int lowest_fd;       /* the number that the next descriptor would get, before the test */
} server_bench_t;

static inline int lowest_free_fd(void)
{
    int fd = open("/dev/null", O_RDONLY);
    assert_true(fd >= 0);
    close(fd);
    return fd;
}

static inline void on_server_event(hs_event_t event, void *user_data)
{
    server_bench_t *sb = user_data;
    atomic_int *counts[] = { [HS_EVENT_READY] = &sb->ready,
                             [HS_EVENT_ORPHANED] = &sb->orphaned,
                             [HS_EVENT_CUT] = &sb->cut };
    assert_true(event < sizeof(counts) / sizeof(counts[0]));
    atomic_fetch_add_explicit(counts[event], 1, memory_order_relaxed);
}

/* Responds to "/<n>" with n bytes and to anything else with the target. */
static inline void answer_size(hs_request_t *request, hs_response_t *response, void *user_data)
{
    static char data[32 * 1000 * 1000];
    (void)user_data;
    const char *url = hs_req_url(request);
    size_t len = (size_t)atoi(url + 1);
    if (len > sizeof(data))
        abort();
    if (len > 0 ? hs_res_body(response, data, len) : hs_res_body_str(response, url))
        abort();
    if (hs_res_send(response) != 0)
        abort();
}

static inline void server_bench_init(server_bench_t *sb)
{
    memset(sb, 0, sizeof(*sb));
    sb->lowest_fd = lowest_free_fd();
    hs_config_init(&sb->config);
    sb->config.port = 0;
    sb->config.handler = answer_size;
    sb->config.log_level = HS_LOG_OFF;
    sb->config.on_event = on_server_event;
    sb->config.on_event_ud = sb;
}

static inline void *server_thread(void *argument)
{
    server_bench_t *sb = argument;
    sb->result = hs_server_run(sb->server);
    if (write(sb->ended[1], "e", 1) != 1)
        abort();
    return NULL;
}

static inline void server_bench_create(server_bench_t *sb)
{
    char error[512];
    sb->server = hs_server_create(&sb->config, NULL, error, sizeof(error));
    if (sb->server == NULL)
        fail_msg("%s", error);
}

static inline void server_bench_run(server_bench_t *sb)
{
    assert_int_equal(pipe(sb->ended), 0);
    assert_int_equal(pthread_create(&sb->thread, NULL, server_thread, sb), 0);
}

static inline void server_bench_start(server_bench_t *sb)
{
    server_bench_create(sb);
    server_bench_run(sb);
}

/* hs_server_run has returned 0, in time; the server has left nothing open. */
static inline void server_bench_join(server_bench_t *sb)
{
    struct pollfd ended = { .fd = sb->ended[0], .events = POLLIN };
    assert_int_equal(poll(&ended, 1, WAIT_MS), 1);
    assert_int_equal(pthread_join(sb->thread, NULL), 0);
    assert_int_equal(sb->result, 0);
    close(sb->ended[0]);
    close(sb->ended[1]);
    hs_server_free(sb->server);
    sb->server = NULL;
    assert_int_equal(lowest_free_fd(), sb->lowest_fd);
}

static inline void server_bench_stop(server_bench_t *sb)
{
    hs_server_stop(sb->server);
    server_bench_join(sb);
}

static inline int client_connect_to(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    struct timeval wait = { .tv_sec = WAIT_MS / 1000 };
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)), 0);
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (connect(fd, (struct sockaddr *)(void *)&address, sizeof(address)) == 0)
        return fd;
    int reason = errno;
    close(fd);
    return -reason;
}

static inline int client_connect(const server_bench_t *sb)
{
    int fd = client_connect_to(hs_server_port(sb->server));
    assert_true(fd >= 0);
    return fd;
}

static inline void client_send(int fd, const char *text)
{
    size_t len = strlen(text);
    for (size_t done = 0; done < len;) {
        ssize_t sent = send(fd, text + done, len - done, MSG_NOSIGNAL);
        assert_true(sent > 0);
        done += (size_t)sent;
    }
}

typedef struct client_answer {
    int status;
    bool close;
    size_t body_len;
    char head[2048];
} client_answer_t;

/* Reads one response and drops its content. Reads no byte after it. */
static inline client_answer_t client_read(int fd)
{
    client_answer_t answer = { 0 };
    size_t at = 0;
    while (at < 4 || memcmp(answer.head + at - 4, "\r\n\r\n", 4) != 0) {
        assert_true(at + 1 < sizeof(answer.head));
        assert_int_equal(recv(fd, answer.head + at, 1, 0), 1);
        at++;
    }
    assert_int_equal(sscanf(answer.head, "HTTP/1.1 %d ", &answer.status), 1);
    answer.close = strstr(answer.head, "\r\nConnection: close\r\n") != NULL;
    const char *length = strstr(answer.head, "\r\nContent-Length: ");
    answer.body_len = length != NULL ? strtoul(length + 18, NULL, 10) : 0;
    static char content[65536];
    for (size_t left = answer.body_len; left > 0;) {
        ssize_t got = recv(fd, content, left < sizeof(content) ? left : sizeof(content), 0);
        assert_true(got > 0);
        left -= (size_t)got;
    }
    return answer;
}

static inline client_answer_t client_get(int fd, const char *path)
{
    char request[256];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
    client_send(fd, request);
    return client_read(fd);
}

/* The server has closed: the stream ends, possibly by a reset if bytes were dropped. */
static inline void client_expect_end(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);
    assert_true(got == 0 || (got < 0 && errno == ECONNRESET));
    close(fd);
}
