/*
 * The minimum that other servers are compared with: epoll, recv, and send of a constant. It looks
 * for the blank line that ends a head, parses nothing, supports no content and never closes first.
 * One thread, level-triggered, two system calls per batch. It listens on 127.0.0.1 and prints its
 * port.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_PER_WAIT 64
#define RECEIVE_SIZE 16384
#define CARRY 3 /* bytes of a head's end that a cut leaves behind, at most */
#define ANSWERS_PER_SEND 64
#define BACKLOG 1024
#define CONNECTION_CAP 65536

static const char HEAD_END[4] = { '\r', '\n', '\r', '\n' };

/* The same length as the server's response. */
static const char ANSWER[] = "HTTP/1.1 200 OK\r\n"
                             "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                             "Content-Type: text/plain\r\n"
                             "Content-Length: 13\r\n"
                             "\r\n"
                             "hello, world\n";

#define ANSWER_LEN (sizeof(ANSWER) - 1)

typedef struct {
    char tail[CARRY]; /* the last bytes of a read that ended within a head */
    unsigned char tail_len;
} connection_t;

typedef struct {
    int epoll_fd;
    int listen_fd;
    connection_t connections[CONNECTION_CAP]; /* by descriptor */
    char answers[ANSWERS_PER_SEND * ANSWER_LEN];
    char input[CARRY + RECEIVE_SIZE];
} server_t;

static void die(const char *step)
{
    perror(step);
    exit(1);
}

static void watch(const server_t *server, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data = { .fd = fd } };
    if (epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl");
}

static void accept_all(server_t *server)
{
    for (;;) {
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (fd >= CONNECTION_CAP)
            die("too many connections");
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        server->connections[fd] = (connection_t){ .tail_len = 0 };
        watch(server, fd);
    }
}

/* Blocks: a client that does not read stops this server, which is only a reference. */
static bool send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* The number of heads that end in `bytes`; `*rest` is set to what follows the last one. */
static size_t count_heads(const char *bytes, size_t len, const char **rest)
{
    const char *end = bytes + len;
    const char *at = bytes;
    size_t heads = 0;
    while ((at = memmem(at, (size_t)(end - at), HEAD_END, sizeof(HEAD_END))) != NULL) {
        at += sizeof(HEAD_END);
        bytes = at;
        heads++;
    }
    *rest = bytes;
    return heads;
}

static bool serve(server_t *server, int fd)
{
    connection_t *connection = &server->connections[fd];
    memcpy(server->input, connection->tail, connection->tail_len);
    ssize_t received = recv(fd, server->input + connection->tail_len, RECEIVE_SIZE, MSG_DONTWAIT);
    if (received < 0)
        return errno == EAGAIN;
    if (received == 0)
        return false;

    const char *end = server->input + connection->tail_len + received;
    const char *rest = NULL;
    size_t heads = count_heads(server->input, (size_t)(end - server->input), &rest);
    size_t rest_len = (size_t)(end - rest);
    connection->tail_len = (unsigned char)(rest_len < CARRY ? rest_len : CARRY);
    memcpy(connection->tail, end - connection->tail_len, connection->tail_len);

    while (heads > 0) {
        size_t count = heads < ANSWERS_PER_SEND ? heads : ANSWERS_PER_SEND;
        if (!send_all(fd, server->answers, count * ANSWER_LEN))
            return false;
        heads -= count;
    }
    return true;
}

static int listen_anywhere(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t address_len = sizeof(address);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, BACKLOG) != 0 || getsockname(fd, (struct sockaddr *)&address, &address_len) != 0)
        die("listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(void)
{
    static server_t server;
    for (size_t i = 0; i < ANSWERS_PER_SEND; i++)
        memcpy(server.answers + i * ANSWER_LEN, ANSWER, ANSWER_LEN);
    server.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    server.listen_fd = listen_anywhere();
    watch(&server, server.listen_fd);

    for (;;) {
        struct epoll_event events[EVENTS_PER_WAIT];
        int count = epoll_wait(server.epoll_fd, events, EVENTS_PER_WAIT, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == server.listen_fd)
                accept_all(&server);
            else if (!serve(&server, fd))
                close(fd);
        }
    }
}
