/*
 * The minimal server and the load generator of websocket.mjs: epoll, recv, send.
 *
 *     bench_websocket serve                                      an echo; prints its port
 *     bench_websocket echo <port> <connections> <bytes> <seconds> [<path>]
 *     bench_websocket follow <port> <connections> <seconds>
 *
 * `serve` supports unfragmented frames of less than 64 KiB, unmasks them and sends their payload
 * back; it checks nothing and blocks on clients that do not read. `echo` sends a message on each
 * connection when the previous one has come back, for a second and then for <seconds>. `follow`
 * receives messages whose payload begins with the time of publication: microseconds since 1970,
 * 16 digits. Both print JSON; `echo` with 0 seconds and `follow` open their
 * connections, print a line, and wait for a line.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_PER_WAIT 64
#define RECEIVE_SIZE 65536
#define FRAME_MAX 4096
#define CONNECTION_CAP 65536
#define CONNECTIONS_PER_ADDRESS 4000
#define LATENCIES_MAX (1 << 22)

static const char ACCEPTED[] = "HTTP/1.1 101 Switching Protocols\r\n"
                               "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/* By descriptor. */
typedef struct {
    bool is_open;
    uint16_t carried; /* bytes of an incomplete frame */
    char carry[FRAME_MAX];
} connection_t;

static connection_t *connections[CONNECTION_CAP];
static int epoll_fd;

static void die(const char *step)
{
    perror(step);
    exit(1);
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void watch(int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data = { .fd = fd } };
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl");
}

static void open_connection(int fd)
{
    int on = 1;
    if (fd >= CONNECTION_CAP)
        die("too many connections");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connections[fd] == NULL)
        connections[fd] = calloc(1, sizeof(connection_t));
    connections[fd]->is_open = false;
    connections[fd]->carried = 0;
    watch(fd);
}

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

/* The carried bytes and the newly received ones; 0: none, or closed. */
static size_t receive(int fd, char *input)
{
    connection_t *connection = connections[fd];
    memcpy(input, connection->carry, connection->carried);
    ssize_t received = recv(fd, input + connection->carried, RECEIVE_SIZE, MSG_DONTWAIT);
    if (received <= 0) {
        if (received == 0 || errno != EAGAIN)
            close(fd);
        return 0;
    }
    size_t len = connection->carried + (size_t)received;
    connection->carried = 0;
    return len;
}

static void carry(int fd, const char *rest, size_t len)
{
    if (len > FRAME_MAX)
        die("a frame is too long");
    memcpy(connections[fd]->carry, rest, len);
    connections[fd]->carried = (uint16_t)len;
}

/* The length of the frame at `bytes` and where its payload begins; 0: it is incomplete.
 */
static size_t frame_len(const unsigned char *bytes, size_t len, size_t *payload)
{
    size_t head = 2;
    if (len < 4)
        return 0;
    size_t size = bytes[1] & 0x7f;
    if (size == 126) {
        size = (size_t)bytes[2] << 8 | bytes[3];
        head = 4;
    } else if (size == 127) {
        die("a frame is too long");
    }
    if (bytes[1] & 0x80)
        head += 4;
    *payload = head;
    return len < head + size ? 0 : head + size;
}

/* ---- serve ---- */

static void unmask(char *to, const unsigned char *from, size_t len, const unsigned char *key)
{
    uint64_t wide;
    memcpy(&wide, key, 4);
    memcpy((char *)&wide + 4, key, 4);
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t word;
        memcpy(&word, from + i, 8);
        word ^= wide;
        memcpy(to + i, &word, 8);
    }
    for (; i < len; i++)
        to[i] = (char)(from[i] ^ key[i % 4]);
}

static void serve_frames(int fd, const char *input, size_t len)
{
    static char output[RECEIVE_SIZE + FRAME_MAX];
    size_t at = 0, out = 0, size, payload;
    while ((size = frame_len((const unsigned char *)input + at, len - at, &payload)) > 0) {
        const unsigned char *frame = (const unsigned char *)input + at;
        size_t content = size - payload;
        size_t head = payload - 4;
        memcpy(output + out, frame, head);
        output[out + 1] &= 0x7f;
        unmask(output + out + head, frame + payload, content, frame + head);
        out += head + content;
        at += size;
    }
    carry(fd, input + at, len - at);
    if (out > 0 && !send_all(fd, output, out))
        close(fd);
}

static void serve(void)
{
    static char input[FRAME_MAX + RECEIVE_SIZE];
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t address_len = sizeof(address);
    int listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listen_fd < 0 || bind(listen_fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(listen_fd, 1024) != 0 ||
        getsockname(listen_fd, (struct sockaddr *)&address, &address_len) != 0)
        die("listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    watch(listen_fd);
    for (;;) {
        struct epoll_event events[EVENTS_PER_WAIT];
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listen_fd) {
                for (int accepted; (accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
                    open_connection(accepted);
                continue;
            }
            size_t len = receive(fd, input);
            if (len == 0)
                continue;
            if (connections[fd]->is_open)
                serve_frames(fd, input, len);
            else if (len >= 4 && memcmp(input + len - 4, "\r\n\r\n", 4) == 0)
                connections[fd]->is_open = send_all(fd, ACCEPTED, sizeof(ACCEPTED) - 1);
            else
                carry(fd, input, len);
        }
    }
}

/* ---- The load. ---- */

/* A connection after its handshake; bytes that followed it are carried. */
static int connect_to(uint16_t port, const char *path, unsigned number)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr = { htonl(INADDR_LOOPBACK + 1 +
                                                       number / CONNECTIONS_PER_ADDRESS) } };
    struct sockaddr_in server = { .sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr = { htonl(INADDR_LOOPBACK) } };
    char request[512], response[4096];
    size_t len = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        connect(fd, (struct sockaddr *)&server, sizeof(server)) != 0)
        die("connect");
    int request_len =
        snprintf(request, sizeof(request),
                 "GET %s HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                 path);
    if (!send_all(fd, request, (size_t)request_len))
        die("send");
    char *end = NULL;
    while (end == NULL) {
        ssize_t received = recv(fd, response + len, sizeof(response) - 1 - len, 0);
        if (received <= 0)
            die("handshake");
        len += (size_t)received;
        response[len] = '\0';
        end = strstr(response, "\r\n\r\n");
    }
    if (strncmp(response, "HTTP/1.1 101", 12) != 0)
        die("not a WebSocket");
    open_connection(fd);
    carry(fd, end + 4, len - (size_t)(end + 4 - response));
    return fd;
}

static void wait_for_line(void)
{
    printf("open\n");
    fflush(stdout);
    if (getchar() == EOF)
        exit(0);
}

static void echo(uint16_t port, unsigned count, size_t bytes, unsigned seconds, const char *path)
{
    static char input[FRAME_MAX + RECEIVE_SIZE];
    static char frame[8 + FRAME_MAX];
    size_t head = bytes < 126 ? 2 : 4;
    frame[0] = (char)0x81;
    frame[1] = (char)(0x80 | (bytes < 126 ? bytes : 126));
    if (head == 4) {
        frame[2] = (char)(bytes >> 8);
        frame[3] = (char)bytes;
    }
    memcpy(frame + head, "\x37\xfa\x21\x3d", 4);
    for (size_t i = 0; i < bytes; i++)
        frame[head + 4 + i] = (char)('a' ^ frame[head + i % 4]);
    int *fds = malloc(count * sizeof(*fds));
    for (unsigned i = 0; i < count; i++)
        fds[i] = connect_to(port, path, i);
    if (seconds == 0)
        wait_for_line();
    else
        for (unsigned i = 0; i < count; i++)
            if (!send_all(fds[i], frame, head + 4 + bytes))
                die("send");
    uint64_t begin = now_us() + 1000000;
    uint64_t end = begin + seconds * (uint64_t)1000000;
    uint64_t messages = 0, before = 0, now;
    bool has_begun = false;
    while ((now = now_us()) < end) {
        struct epoll_event events[EVENTS_PER_WAIT];
        int ready = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, 100);
        if (!has_begun && now >= begin) {
            has_begun = true;
            before = messages;
            printf("begin\n");
            fflush(stdout);
        }
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            size_t len = receive(fd, input), payload;
            if (len == 0)
                die("closed");
            if (len < head + bytes) {
                carry(fd, input, len);
                continue;
            }
            if (len != head + bytes || frame_len((unsigned char *)input, len, &payload) != len)
                die("not what was sent");
            messages++;
            if (!send_all(fd, frame, head + 4 + bytes))
                die("send");
        }
    }
    printf("{\"messages\":%llu}\n", (unsigned long long)(messages - before));
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void follow(uint16_t port, unsigned count, unsigned seconds)
{
    static char input[FRAME_MAX + RECEIVE_SIZE + 1];
    static uint32_t latencies[LATENCIES_MAX];
    size_t deliveries = 0;
    for (unsigned i = 0; i < count; i++)
        (void)connect_to(port, "/follow", i);
    wait_for_line();
    uint64_t begin = now_us();
    uint64_t end = begin + seconds * (uint64_t)1000000;
    while (now_us() < end) {
        struct epoll_event events[EVENTS_PER_WAIT];
        int ready = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, 100);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            size_t len = receive(fd, input), at = 0, size, payload;
            if (len == 0)
                die("closed");
            while ((size = frame_len((unsigned char *)input + at, len - at, &payload)) > 0) {
                uint64_t sent_us = strtoull(input + at + payload, NULL, 10);
                if (sent_us >= begin && deliveries < LATENCIES_MAX)
                    latencies[deliveries++] = (uint32_t)(now_us() - sent_us);
                at += size;
            }
            carry(fd, input + at, len - at);
        }
    }
    qsort(latencies, deliveries, sizeof(*latencies), compare);
    printf("{\"deliveries\":%zu,\"p50Ms\":%.3f,\"p99Ms\":%.3f}\n", deliveries,
           deliveries > 0 ? latencies[deliveries / 2] / 1e3 : 0,
           deliveries > 0 ? latencies[deliveries * 99 / 100] / 1e3 : 0);
}

int main(int argc, char **argv)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (argc == 2 && strcmp(argv[1], "serve") == 0) {
        serve();
        return 0;
    }
    if ((argc == 6 || argc == 7) && strcmp(argv[1], "echo") == 0) {
        echo((uint16_t)atoi(argv[2]), (unsigned)atoi(argv[3]), (size_t)atoi(argv[4]),
             (unsigned)atoi(argv[5]), argc == 7 ? argv[6] : "/echo");
        return 0;
    }
    if (argc == 5 && strcmp(argv[1], "follow") == 0) {
        follow((uint16_t)atoi(argv[2]), (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]));
        return 0;
    }
    fprintf(stderr,
            "bench_websocket serve | echo <port> <connections> <bytes> <seconds> [<path>] | "
            "follow <port> <connections> <seconds>\n");
    return 2;
}
