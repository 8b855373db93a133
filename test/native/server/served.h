/*
 * Servers that run on threads of the test, and clients that wait for expected bytes: a read that
 * gets nothing for WAIT_S seconds fails the test.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka requires these first. */
#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "exec/gate.h"
#include "httpserver.h"
#include "httpserver_socket.h"
#include "httpserver_supervise.h"

#define WAIT_S 10

typedef struct served {
    hs_server_t *server;
    pthread_t thread;
} served_t;

/* Responds with "METHOD target" and the number of content bytes. */
static void echo_handler(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)user_data;
    char text[256];
    size_t len;
    (void)hs_req_body(request, &len);
    if (strcmp(hs_req_url(request), "/fails") == 0)
        return;
    (void)snprintf(text, sizeof(text), "%s %.128s %zu", hs_req_method_str(request),
                   hs_req_url(request), len);
    (void)hs_res_body_str(response, text);
    (void)hs_res_send(response);
}

/* Like echo_handler; requests for /waits wait at the gate. */
static inline void gate_handler(hs_request_t *request, hs_response_t *response, void *user_data)
{
    if (strcmp(hs_req_url(request), "/waits") == 0)
        gate_pass(user_data);
    echo_handler(request, response, NULL);
}

static void *served_run(void *argument)
{
    served_t *served = argument;
    assert_int_equal(0, hs_server_run(served->server));
    return NULL;
}

/* Defaults for a test: quiet, any port, echo_handler. */
static inline void served_config(hs_config_t *config)
{
    hs_config_init(config);
    config->port = 0;
    config->handler = echo_handler;
    config->log_level = HS_LOG_OFF;
}

static inline void served_start(served_t *served, const hs_config_t *config)
{
    char error[512] = "";
    served->server = hs_server_create(config, NULL, error, sizeof(error));
    if (served->server == NULL)
        fail_msg("%s", error);
    assert_int_equal(0, pthread_create(&served->thread, NULL, served_run, served));
}

/* Waits until the server has stopped by itself. */
static inline void served_join(served_t *served)
{
    assert_int_equal(0, pthread_join(served->thread, NULL));
    hs_server_free(served->server);
}

static inline void served_stop(served_t *served)
{
    hs_server_stop(served->server);
    served_join(served);
}

static inline int client_open(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct timeval wait = { .tv_sec = WAIT_S };
    assert_int_equal(0, setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)));
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    assert_int_equal(0, connect(fd, (struct sockaddr *)&to, sizeof(to)));
    return fd;
}

static inline void client_send(int fd, const char *text)
{
    assert_int_equal((int)strlen(text), (int)send(fd, text, strlen(text), MSG_NOSIGNAL));
}

/* Reads until `text` has come `count` times; the connection must not close or break before. */
static inline void client_expect_times(int fd, const char *text, int count)
{
    static __thread char buffer[256 * 1024];
    size_t len = 0;
    for (;;) {
        buffer[len] = '\0';
        int seen = 0;
        for (char *at = buffer; (at = strstr(at, text)) != NULL; at++)
            seen++;
        if (seen >= count)
            return;
        ssize_t got = recv(fd, buffer + len, sizeof(buffer) - 1 - len, 0);
        if (got <= 0)
            fail_msg("%d of %d \"%s\" came, then %s: %s", seen, count, text,
                     got == 0 ? "the end" : strerror(errno), buffer);
        len += (size_t)got;
    }
}

static inline void client_expect(int fd, const char *text)
{
    client_expect_times(fd, text, 1);
}

/* The server has closed. */
static inline void client_expect_end(int fd)
{
    char byte[512];
    ssize_t got;
    while ((got = recv(fd, byte, sizeof(byte), 0)) > 0) {
    }
    assert_int_equal(0, (int)got);
}

static inline void client_ask(int fd, const char *path)
{
    char request[256];
    char answer[256];
    (void)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path);
    (void)snprintf(answer, sizeof(answer), "GET %s 0", path);
    client_send(fd, request);
    client_expect(fd, answer);
}

/* Waits for a condition set by another thread. */
#define WAIT_UNTIL(condition)                                                                      \
    do {                                                                                           \
        uint64_t wait_until_ms = hs_monotonic_ms() + WAIT_S * 1000;                                \
        while (!(condition)) {                                                                     \
            if (hs_monotonic_ms() > wait_until_ms)                                                 \
                fail_msg("never: %s", #condition);                                                 \
            (void)poll(NULL, 0, 1);                                                                \
        }                                                                                          \
    } while (0)
