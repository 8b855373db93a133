/*
 * What the load generators of this directory share: a connection that asks one thing at a time.
 * Linux, IPv4 on loopback. A fault of the set-up ends the program with a sentence.
 */
#ifndef BENCH_HTTP_CLIENT_H
#define BENCH_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct client {
    int fd;
    bool closing; /* the last answer said that no other follows on this connection */
    size_t len;
    char bytes[4096];
} client_t;

typedef enum client_result {
    CLIENT_WAITS,    /* the answer is not complete */
    CLIENT_ANSWERED, /* with a status of 200 */
    CLIENT_REFUSED,  /* with any other status */
    CLIENT_GONE      /* the connection has ended */
} client_result_t;

/* Ends the program, with errno in the sentence. */
void client_die(const char *what);

/* Monotonic nanoseconds. */
uint64_t client_now_ns(void);

/* Connects; `client` may have been connected before and have been closed by the server. */
void client_connect(client_t *client, uint16_t port);

/* Writes a GET request as wrk would, NUL-terminated; with a User-Agent unless `agent` is NULL. */
void client_write_request(char *text, size_t size, uint16_t port, const char *path,
                          const char *agent);

/* False if the connection has ended. */
bool client_send(client_t *client, const char *text, size_t len);

/* Reads what has arrived. Needs a Content-Length in the answer. */
client_result_t client_receive(client_t *client);

void client_sort(uint32_t *samples, size_t count);

/* Of sorted samples; 0 if there are none. */
uint32_t client_percentile(const uint32_t *sorted, size_t count, double share);

#endif
