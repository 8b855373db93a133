/*
 * Requests at a fixed rate, whatever the server does: the latency of each is measured from the time
 * it was due, not from the time a connection was free.
 *
 *     paced <port> <connections> <seconds> <requests per second> <path> [user agent]
 *
 * It needs a core to itself, because it never sleeps. It prints one line of JSON: how many requests
 * were due, responded to with 200, and failed (another response, or a connection that ended with a
 * request on it), and the latency in milliseconds. A connection that the server closes between two
 * requests is reopened. Requests still open one second after the end are abandoned.
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

typedef struct connection {
    int fd;
    bool busy;
    uint64_t due_ns;
    size_t len;
    char bytes[4096];
} connection_t;

static struct {
    int epoll;
    uint16_t port;
    char request[512];
    connection_t *connections;
    connection_t **idle; /* a queue: the longest idle connection is next */
    size_t count, idle_from, idle_count;
    double *latencies; /* of the 200 responses, in milliseconds */
    size_t answered, failed;
} load;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void open_connection(connection_t *connection)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(load.port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    connection->len = 0;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd == -1 ||
        connect(connection->fd, (struct sockaddr *)&address, sizeof(address)) == -1)
        die("connect");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = connection };
    if (epoll_ctl(load.epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0)
        die("epoll_ctl");
}

static void become_idle(connection_t *connection)
{
    connection->busy = false;
    load.idle[(load.idle_from + load.idle_count++) % load.count] = connection;
}

static bool send_request(const connection_t *connection)
{
    size_t len = strlen(load.request);
    return send(connection->fd, load.request, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static void ask(uint64_t due_ns)
{
    connection_t *connection = load.idle[load.idle_from];
    load.idle_from = (load.idle_from + 1) % load.count;
    load.idle_count--;
    connection->busy = true;
    connection->due_ns = due_ns;
    if (send_request(connection))
        return;
    close(connection->fd);
    open_connection(connection);
    if (!send_request(connection))
        die("send");
}

static void finish(connection_t *connection, bool answered, bool closes)
{
    if (closes) {
        close(connection->fd);
        open_connection(connection);
    }
    if (!connection->busy)
        return;
    if (answered)
        load.latencies[load.answered++] = (double)(now_ns() - connection->due_ns) / 1e6;
    else
        load.failed++;
    become_idle(connection);
}

static void receive(connection_t *connection)
{
    char *bytes = connection->bytes;
    ssize_t received = recv(connection->fd, bytes + connection->len,
                            sizeof(connection->bytes) - 1 - connection->len, MSG_DONTWAIT);
    if (received == -1 && errno == EAGAIN)
        return;
    if (received <= 0) {
        finish(connection, false, true);
        return;
    }
    connection->len += (size_t)received;
    bytes[connection->len] = '\0';
    const char *end = strstr(bytes, "\r\n\r\n");
    const char *length = strcasestr(bytes, "\r\nContent-Length: ");
    if (end == NULL || length == NULL)
        return;
    size_t wanted = (size_t)(end - bytes) + 4 + strtoul(length + 18, NULL, 10);
    if (connection->len < wanted)
        return;
    connection->len = 0;
    bool closes = strcasestr(bytes, "\r\nConnection: close\r\n") != NULL;
    finish(connection, strncmp(bytes, "HTTP/1.1 200", 12) == 0, closes);
}

static void run(size_t total, double rate, double seconds)
{
    uint64_t begin_ns = now_ns();
    uint64_t give_up_ns = begin_ns + (uint64_t)((seconds + 1) * 1e9);
    size_t asked = 0;
    while (load.answered + load.failed < total && now_ns() < give_up_ns) {
        while (asked < total && load.idle_count > 0) {
            uint64_t due_ns = begin_ns + (uint64_t)((double)asked * 1e9 / rate);
            if (due_ns > now_ns())
                break;
            ask(due_ns);
            asked++;
        }
        struct epoll_event events[64];
        int ready = epoll_wait(load.epoll, events, 64, 0);
        for (int i = 0; i < ready; i++)
            receive(events[i].data.ptr);
    }
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static double percentile(double share)
{
    if (load.answered == 0)
        return 0;
    return load.latencies[(size_t)((double)(load.answered - 1) * share)];
}

int main(int argc, char **argv)
{
    if (argc < 6 || argc > 7) {
        fprintf(stderr, "paced <port> <connections> <seconds> <rate> <path> [user agent]\n");
        return 2;
    }
    load.port = (uint16_t)atoi(argv[1]);
    load.count = (size_t)atoi(argv[2]);
    double seconds = atof(argv[3]), rate = atof(argv[4]);
    size_t total = (size_t)(seconds * rate);
    snprintf(load.request, sizeof(load.request),
             "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\n%s%s%s\r\n", argv[5], argv[1],
             argc > 6 ? "User-Agent: " : "", argc > 6 ? argv[6] : "", argc > 6 ? "\r\n" : "");
    load.connections = calloc(load.count, sizeof(*load.connections));
    load.idle = calloc(load.count, sizeof(*load.idle));
    load.latencies = calloc(total + 1, sizeof(*load.latencies));
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load.connections == NULL || load.idle == NULL || load.latencies == NULL || load.epoll == -1)
        die("set-up");
    for (size_t i = 0; i < load.count; i++) {
        open_connection(&load.connections[i]);
        become_idle(&load.connections[i]);
    }
    run(total, rate, seconds);
    qsort(load.latencies, load.answered, sizeof(*load.latencies), compare);
    printf("{\"due\":%zu,\"answered\":%zu,\"failed\":%zu,\"p50Ms\":%.3f,\"p99Ms\":%.3f,"
           "\"maxMs\":%.3f}\n",
           total, load.answered, load.failed, percentile(0.5), percentile(0.99), percentile(1));
    return 0;
}
