/*
 * Requests at a fixed rate, whatever the server does: the latency of each counts from the moment at
 * which it was due, not from when a connection was free to send it.
 *
 *     paced <port> <connections> <seconds> <requests a second> <path> [user agent]
 *
 * It needs a core of its own: it never sleeps, so that it is late for nothing. Prints one line of
 * JSON: how many requests were due and how many answered, failures (an answer other than 200, or a
 * connection that ended with a request on it), and the latency in microseconds. A connection that
 * the server closes between two requests is opened again and is no failure. What is still due a
 * second after the end is given up.
 */
#include "http-client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define GRACE_NS 1000000000u

typedef struct connection {
    client_t client;
    bool busy;
    uint64_t due_ns;
} connection_t;

typedef struct load {
    int epoll;
    uint16_t port;
    char text[512];
    size_t text_len;
    connection_t *connections;
    connection_t **idle; /* a queue in a ring: whoever waited longest is next */
    size_t count;
    size_t idle_from;
    size_t idle_count;
    uint32_t *samples;
    size_t answered;
    size_t failed;
    size_t reopened;
} load_t;

static void rest(load_t *load, connection_t *connection)
{
    connection->busy = false;
    load->idle[(load->idle_from + load->idle_count++) % load->count] = connection;
}

static void open_connection(load_t *load, connection_t *connection)
{
    client_connect(&connection->client, load->port);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = connection };
    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, connection->client.fd, &event) != 0)
        client_die("paced: epoll_ctl");
}

static void reopen(load_t *load, connection_t *connection)
{
    close(connection->client.fd);
    open_connection(load, connection);
    load->reopened++;
}

static void ask(load_t *load, uint64_t due_ns)
{
    connection_t *connection = load->idle[load->idle_from];
    load->idle_from = (load->idle_from + 1) % load->count;
    load->idle_count--;
    connection->busy = true;
    connection->due_ns = due_ns;
    /* The server may have closed it since we looked: nothing was asked of it then. */
    if (client_send(&connection->client, load->text, load->text_len))
        return;
    reopen(load, connection);
    if (!client_send(&connection->client, load->text, load->text_len))
        client_die("paced: send");
}

static void take_answer(load_t *load, connection_t *connection)
{
    client_result_t result = client_receive(&connection->client);
    if (result == CLIENT_WAITS)
        return;
    if (result == CLIENT_GONE || connection->client.closing)
        reopen(load, connection);
    if (!connection->busy)
        return;
    if (result == CLIENT_ANSWERED)
        load->samples[load->answered++] = (uint32_t)((client_now_ns() - connection->due_ns) / 1000);
    else
        load->failed++;
    rest(load, connection);
}

static void receive(load_t *load)
{
    struct epoll_event events[64];
    int ready = epoll_wait(load->epoll, events, 64, 0);
    for (int i = 0; i < ready; i++)
        take_answer(load, events[i].data.ptr);
}

static size_t run(load_t *load, double seconds, double rate)
{
    size_t total = (size_t)(seconds * rate);
    double interval_ns = 1e9 / rate;
    uint64_t begin_ns = client_now_ns();
    uint64_t give_up_ns = begin_ns + (uint64_t)(seconds * 1e9) + GRACE_NS;
    size_t asked = 0;
    while (load->answered + load->failed < total) {
        uint64_t now_ns = client_now_ns();
        if (now_ns > give_up_ns)
            break;
        while (asked < total && load->idle_count > 0) {
            uint64_t due_ns = begin_ns + (uint64_t)((double)asked * interval_ns);
            if (due_ns > now_ns)
                break;
            ask(load, due_ns);
            asked++;
        }
        receive(load);
    }
    return total;
}

int main(int argc, char **argv)
{
    if (argc < 6 || argc > 7) {
        fprintf(stderr,
                "paced <port> <connections> <seconds> <requests a second> <path> [agent]\n");
        return 2;
    }
    static load_t load;
    load.port = (uint16_t)atoi(argv[1]);
    load.count = (size_t)atoi(argv[2]);
    double seconds = atof(argv[3]);
    double rate = atof(argv[4]);
    client_write_request(load.text, sizeof(load.text), load.port, argv[5],
                         argc > 6 ? argv[6] : NULL);
    load.text_len = strlen(load.text);

    load.connections = calloc(load.count, sizeof(*load.connections));
    load.idle = calloc(load.count, sizeof(connection_t *));
    load.samples = calloc((size_t)(seconds * rate) + 1, sizeof(*load.samples));
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load.connections == NULL || load.idle == NULL || load.samples == NULL || load.epoll == -1)
        client_die("paced: set-up");
    for (size_t i = 0; i < load.count; i++) {
        open_connection(&load, &load.connections[i]);
        rest(&load, &load.connections[i]);
    }
    size_t due = run(&load, seconds, rate);
    client_sort(load.samples, load.answered);
    printf("{\"due\":%zu,\"answered\":%zu,\"failed\":%zu,\"reopened\":%zu,\"p50\":%u,\"p99\":%u,"
           "\"p999\":%u,\"max\":%u}\n",
           due, load.answered, load.failed, load.reopened,
           client_percentile(load.samples, load.answered, 0.5),
           client_percentile(load.samples, load.answered, 0.99),
           client_percentile(load.samples, load.answered, 0.999),
           client_percentile(load.samples, load.answered, 1));
    return 0;
}
