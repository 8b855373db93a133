/* A minimal blocking HTTP client, for tests that serve in the same process. */
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define CLIENT_BYTES (256 * 1024)

typedef struct client {
    int fd;
    size_t len;
    char bytes[CLIENT_BYTES]; /* received and not yet taken, NUL-terminated */
} client_t;

typedef struct answer {
    int status;
    bool closes;
    size_t body_len;
    char body[CLIENT_BYTES];
} answer_t;

static inline client_t *client_adopt(int fd)
{
    struct timeval patience = { .tv_sec = 20 };
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    client_t *client = calloc(1, sizeof(*client));
    assert_non_null(client);
    client->fd = fd;
    return client;
}

static inline client_t *client_tcp(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return client_adopt(fd);
}

static inline client_t *client_uds(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return client_adopt(fd);
}

static inline void client_close(client_t *client)
{
    close(client->fd);
    free(client);
}

static inline void client_send(client_t *client, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(client->fd, data, len, MSG_NOSIGNAL);
        assert_true(sent > 0);
        data += sent;
        len -= (size_t)sent;
    }
}

static inline void client_text(client_t *client, const char *text)
{
    client_send(client, text, strlen(text));
}

/* False at the end of the stream. */
static inline bool client_receive(client_t *client)
{
    assert_true(client->len < CLIENT_BYTES - 1);
    ssize_t received =
        recv(client->fd, client->bytes + client->len, CLIENT_BYTES - 1 - client->len, 0);
    assert_true(received >= 0);
    client->len += (size_t)received;
    client->bytes[client->len] = '\0';
    return received > 0;
}

/* The next response with Content-Length. */
static inline void client_next(client_t *client, answer_t *answer)
{
    char *end;
    while ((end = strstr(client->bytes, "\r\n\r\n")) == NULL)
        assert_true(client_receive(client));
    size_t head = (size_t)(end - client->bytes) + 4;
    assert_int_equal(sscanf(client->bytes, "HTTP/1.1 %d ", &answer->status), 1);
    const char *length = strstr(client->bytes, "Content-Length: ");
    assert_true(length != NULL && length < end);
    answer->body_len = strtoul(length + strlen("Content-Length: "), NULL, 10);
    const char *close_field = strstr(client->bytes, "Connection: close");
    answer->closes = close_field != NULL && close_field < end;
    while (client->len < head + answer->body_len)
        assert_true(client_receive(client));
    memcpy(answer->body, client->bytes + head, answer->body_len);
    answer->body[answer->body_len] = '\0';
    client->len -= head + answer->body_len;
    memmove(client->bytes, client->bytes + head + answer->body_len, client->len);
    client->bytes[client->len] = '\0';
}

/* GET; returns the complete response. */
static inline void client_get(client_t *client, const char *target, answer_t *answer)
{
    char text[512];
    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", target);
    client_text(client, text);
    client_next(client, answer);
}
