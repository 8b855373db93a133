/*
 * A load of quick requests with a few slow ones among them, which measures the quick ones alone.
 *
 *     mixed <port> <connections> <seconds> <slow in 10000> <quick path> <slow path>
 *
 * Every connection asks again as soon as it is answered. Prints one line of JSON: how many requests
 * of each kind were answered, and percentiles of the quick ones' latency in microseconds. Any
 * answer but a 200 ends it with 1.
 */
#include "http-client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define SAMPLES_MAX (8 * 1024 * 1024)

typedef struct connection {
    client_t client;
    bool slow;
    uint64_t asked_ns;
} connection_t;

static char quick_text[512];
static char slow_text[512];
static uint64_t random_state = 88172645463325252u;

static uint32_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16);
}

static void ask(connection_t *connection, uint32_t slow_share)
{
    connection->slow = next_random() % 10000 < slow_share;
    const char *text = connection->slow ? slow_text : quick_text;
    connection->asked_ns = client_now_ns();
    if (!client_send(&connection->client, text, strlen(text)))
        client_die("mixed: send");
}

static bool is_answered(connection_t *connection)
{
    client_result_t result = client_receive(&connection->client);
    if (result == CLIENT_GONE)
        client_die("mixed: the server closed a connection");
    if (result == CLIENT_REFUSED) {
        fprintf(stderr, "mixed: %.40s\n", connection->client.bytes);
        exit(1);
    }
    return result == CLIENT_ANSWERED;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "mixed <port> <connections> <seconds> <slow in 10000> <quick> <slow>\n");
        return 2;
    }
    uint16_t port = (uint16_t)atoi(argv[1]);
    size_t count = (size_t)atoi(argv[2]);
    uint64_t end_ns = client_now_ns() + (uint64_t)(atof(argv[3]) * 1e9);
    uint32_t slow_share = (uint32_t)atoi(argv[4]);
    client_write_request(quick_text, sizeof(quick_text), port, argv[5], NULL);
    client_write_request(slow_text, sizeof(slow_text), port, argv[6], NULL);

    connection_t *connections = calloc(count, sizeof(*connections));
    uint32_t *samples = malloc(SAMPLES_MAX * sizeof(*samples));
    int epoll = epoll_create1(0);
    if (connections == NULL || samples == NULL || epoll == -1)
        client_die("mixed: set-up");
    for (size_t i = 0; i < count; i++) {
        client_connect(&connections[i].client, port);
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = &connections[i] };
        epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].client.fd, &event);
        ask(&connections[i], slow_share);
    }
    size_t quick = 0;
    size_t slow = 0;
    while (client_now_ns() < end_ns) {
        struct epoll_event events[64];
        int ready = epoll_wait(epoll, events, 64, 100);
        for (int i = 0; i < ready; i++) {
            connection_t *connection = events[i].data.ptr;
            if (!is_answered(connection))
                continue;
            if (connection->slow)
                slow++;
            else if (quick < SAMPLES_MAX)
                samples[quick++] = (uint32_t)((client_now_ns() - connection->asked_ns) / 1000);
            ask(connection, slow_share);
        }
    }
    client_sort(samples, quick);
    printf("{\"quick\":%zu,\"slow\":%zu,\"p50\":%u,\"p99\":%u,\"p999\":%u}\n", quick, slow,
           client_percentile(samples, quick, 0.5), client_percentile(samples, quick, 0.99),
           client_percentile(samples, quick, 0.999));
    return 0;
}
