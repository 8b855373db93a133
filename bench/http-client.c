#include "http-client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void client_die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

uint64_t client_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void client_connect(client_t *client, uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->len = 0;
    client->closing = false;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd == -1)
        client_die("socket");
    if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) == -1)
        client_die("connect");
    int on = 1;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

void client_write_request(char *text, size_t size, uint16_t port, const char *path,
                          const char *agent)
{
    snprintf(text, size, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n%s%s%s\r\n", path,
             (unsigned)port, agent ? "User-Agent: " : "", agent ? agent : "", agent ? "\r\n" : "");
}

bool client_send(client_t *client, const char *text, size_t len)
{
    return send(client->fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

client_result_t client_receive(client_t *client)
{
    ssize_t received = recv(client->fd, client->bytes + client->len,
                            sizeof(client->bytes) - 1 - client->len, MSG_DONTWAIT);
    if (received == -1 && errno == EAGAIN)
        return CLIENT_WAITS;
    if (received <= 0)
        return CLIENT_GONE;
    client->len += (size_t)received;
    client->bytes[client->len] = '\0';
    const char *end = strstr(client->bytes, "\r\n\r\n");
    if (end == NULL)
        return CLIENT_WAITS;
    const char *length = strcasestr(client->bytes, "\r\nContent-Length: ");
    if (length == NULL)
        return CLIENT_REFUSED;
    size_t wanted = (size_t)(end - client->bytes) + 4 + strtoul(length + 18, NULL, 10);
    if (client->len < wanted)
        return CLIENT_WAITS;
    client->len = 0;
    client->closing = strcasestr(client->bytes, "\r\nConnection: close\r\n") != NULL;
    return strncmp(client->bytes, "HTTP/1.1 200", 12) == 0 ? CLIENT_ANSWERED : CLIENT_REFUSED;
}

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

void client_sort(uint32_t *samples, size_t count)
{
    qsort(samples, count, sizeof(*samples), compare);
}

uint32_t client_percentile(const uint32_t *sorted, size_t count, double share)
{
    return count == 0 ? 0 : sorted[(size_t)((double)(count - 1) * share)];
}
