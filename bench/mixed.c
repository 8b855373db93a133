/*
 * A load of quick requests with a few slow ones among them, which measures the quick ones alone.
 *
 *     mixed <port> <connections> <seconds> <slow in 10000> <quick path> <slow path>
 *
 * Every connection asks again as soon as it is answered. Prints one line of JSON: how many requests
 * of each kind were answered, and percentiles of the quick ones' latency in microseconds.
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

#define SAMPLES_MAX (8 * 1024 * 1024)

typedef struct connection {
    int fd;
    bool slow;
    uint64_t asked_ns;
    size_t len;
    char bytes[4096];
} connection_t;

static char quick_text[512];
static char slow_text[512];
static uint64_t random_state = 88172645463325252u;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint32_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

static void die(const char *what)
{
    fprintf(stderr, "mixed: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void ask(connection_t *connection, uint32_t slow_share)
{
    connection->slow = next_random() % 10000 < slow_share;
    const char *text = connection->slow ? slow_text : quick_text;
    connection->asked_ns = now_ns();
    if (send(connection->fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
        die("send");
}

static void connect_to(connection_t *connection, uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof(address)) == -1)
        die("connect");
    int on = 1;
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* True once the answer is complete. */
static bool receive(connection_t *connection)
{
    ssize_t received = recv(connection->fd, connection->bytes + connection->len,
                            sizeof(connection->bytes) - 1 - connection->len, MSG_DONTWAIT);
    if (received <= 0) {
        if (received == -1 && errno == EAGAIN)
            return false;
        die("recv");
    }
    connection->len += (size_t)received;
    connection->bytes[connection->len] = '\0';
    const char *end = strstr(connection->bytes, "\r\n\r\n");
    const char *length = strstr(connection->bytes, "Content-Length: ");
    if (end == NULL || length == NULL)
        return false;
    size_t wanted = (size_t)(end - connection->bytes) + 4 + strtoul(length + 16, NULL, 10);
    if (connection->len < wanted)
        return false;
    if (strncmp(connection->bytes, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "mixed: %.40s\n", connection->bytes);
        exit(1);
    }
    connection->len = 0;
    return true;
}

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static uint32_t percentile(const uint32_t *sorted, size_t count, double share)
{
    return count == 0 ? 0 : sorted[(size_t)((double)(count - 1) * share)];
}

static void write_request(char *text, size_t size, const char *path)
{
    snprintf(text, size, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "mixed <port> <connections> <seconds> <slow in 10000> <quick> <slow>\n");
        return 2;
    }
    uint16_t port = (uint16_t)atoi(argv[1]);
    size_t count = (size_t)atoi(argv[2]);
    uint64_t end_ns = now_ns() + (uint64_t)(atof(argv[3]) * 1e9);
    uint32_t slow_share = (uint32_t)atoi(argv[4]);
    write_request(quick_text, sizeof(quick_text), argv[5]);
    write_request(slow_text, sizeof(slow_text), argv[6]);

    connection_t *connections = calloc(count, sizeof(*connections));
    uint32_t *samples = malloc(SAMPLES_MAX * sizeof(*samples));
    int epoll = epoll_create1(0);
    if (connections == NULL || samples == NULL || epoll == -1)
        die("set-up");
    for (size_t i = 0; i < count; i++) {
        connect_to(&connections[i], port);
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = &connections[i] };
        epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event);
        ask(&connections[i], slow_share);
    }
    size_t quick = 0;
    size_t slow = 0;
    while (now_ns() < end_ns) {
        struct epoll_event events[64];
        int ready = epoll_wait(epoll, events, 64, 100);
        for (int i = 0; i < ready; i++) {
            connection_t *connection = events[i].data.ptr;
            if (!receive(connection))
                continue;
            if (connection->slow)
                slow++;
            else if (quick < SAMPLES_MAX)
                samples[quick++] = (uint32_t)((now_ns() - connection->asked_ns) / 1000);
            ask(connection, slow_share);
        }
    }
    qsort(samples, quick, sizeof(*samples), compare);
    printf("{\"quick\":%zu,\"slow\":%zu,\"p50\":%u,\"p99\":%u,\"p999\":%u}\n", quick, slow,
           percentile(samples, quick, 0.5), percentile(samples, quick, 0.99),
           percentile(samples, quick, 0.999));
    return 0;
}
