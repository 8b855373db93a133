/*
 * A handler whose responses come later, from another thread:
 *
 *     ./build.sh libasync.so async.c
 *     node dist/master.js examples/c/libasync.so
 *     curl localhost:8080/          one line, a moment later
 *     curl -N localhost:8080/count  ten lines, one after the other, as they come
 *
 * The handler queues the request and returns, so that no thread of the server waits. The ticker,
 * one for each thread that runs the handler, checks the queue every TICK_MS, and responds.
 */
#define _POSIX_C_SOURCE 200809L

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "httpserver.h"

HS_HANDLER_MODULE

#define TICK_MS 100
#define LINES 10

typedef struct ticker ticker_t;

/* A deferred request. owner: the ticker until it has sent, then the server, which
 * calls on_end */
typedef struct waiting {
    ticker_t *ticker;
    hs_deferred_t job;
    bool counts;    /* it requested lines */
    unsigned lines; /* sent so far; under ticker->lock, like what follows */
    bool full;      /* write nothing until on_drain */
    bool gone;      /* the client has disconnected, or was sent 503 */
    struct waiting *next;
} waiting_t;

/* owner: the thread that runs the handler */
struct ticker {
    pthread_t thread;
    pthread_mutex_t lock;
    waiting_t *first; /* under the lock, like `ends` */
    bool ends;
};

/* The three callbacks run on the reactor's thread, while the ticker may be using the request. */
static void on_drain(hs_deferred_t job, void *user_data)
{
    waiting_t *waiting = user_data;
    (void)job;
    pthread_mutex_lock(&waiting->ticker->lock);
    waiting->full = false;
    pthread_mutex_unlock(&waiting->ticker->lock);
}

static void on_abort(hs_deferred_t job, hs_abort_reason_t reason, void *user_data)
{
    waiting_t *waiting = user_data;
    (void)job;
    if (reason == HS_ABORT_SHUT)
        return; /* it will send nothing more, but may still read */
    pthread_mutex_lock(&waiting->ticker->lock);
    waiting->gone = true;
    unsigned lines = waiting->lines;
    pthread_mutex_unlock(&waiting->ticker->lock);
    hs_log(HS_LOG_INFO, "a client has left after %u lines", lines);
}

static void on_end(void *user_data)
{
    free(user_data);
}

/* Writes what is due now. True: the response is complete. */
static bool say(waiting_t *waiting)
{
    hs_response_t *response = hs_deferred_response(waiting->job);
    if (!waiting->counts) {
        hs_res_body_str(response, "later\n");
        return true;
    }
    if (waiting->gone)
        return true;
    if (waiting->full)
        return false;
    char line[32];
    int length = snprintf(line, sizeof(line), "%u\n", ++waiting->lines);
    int result = hs_res_write(response, line, (size_t)length);
    waiting->full = result == HS_WRITE_WAIT;
    return result < 0 || waiting->lines == LINES;
}

/* Under the lock, for which on_drain and on_abort wait: nothing here may take long. */
static void tick(ticker_t *ticker)
{
    waiting_t **at = &ticker->first;
    while (*at != NULL) {
        waiting_t *waiting = *at;
        if (!say(waiting)) {
            at = &waiting->next;
            continue;
        }
        *at = waiting->next;
        hs_res_send(hs_deferred_response(waiting->job)); /* from here on the server owns it */
    }
}

static void *run(void *argument)
{
    ticker_t *ticker = argument;
    bool ends = false;
    while (!ends) {
        poll(NULL, 0, TICK_MS);
        pthread_mutex_lock(&ticker->lock);
        tick(ticker);
        ends = ticker->ends && ticker->first == NULL;
        pthread_mutex_unlock(&ticker->lock);
    }
    return NULL;
}

int hs_handler_init(void **user_data)
{
    ticker_t *ticker = calloc(1, sizeof(*ticker));
    if (ticker == NULL)
        return 1;
    pthread_mutex_init(&ticker->lock, NULL);
    if (pthread_create(&ticker->thread, NULL, run, ticker) != 0) {
        free(ticker);
        return 2;
    }
    *user_data = ticker;
    return 0;
}

/* All requests deferred by this thread have finished: nothing uses the ticker afterwards. */
void hs_handler_exit(void *user_data)
{
    ticker_t *ticker = user_data;
    pthread_mutex_lock(&ticker->lock);
    ticker->ends = true;
    pthread_mutex_unlock(&ticker->lock);
    pthread_join(ticker->thread, NULL);
    pthread_mutex_destroy(&ticker->lock);
    free(ticker);
}

void hs_handler(hs_request_t *request, hs_response_t *response, void *user_data)
{
    ticker_t *ticker = user_data;
    waiting_t *waiting = calloc(1, sizeof(*waiting));
    if (waiting == NULL)
        return; /* nothing was built: 500 */
    waiting->ticker = ticker;
    waiting->counts = strcmp(hs_req_url(request), "/count") == 0;
    hs_res_header(response, "Content-Type", "text/plain");
    const hs_callbacks_t callbacks = {
        .on_drain = on_drain, .on_abort = on_abort, .on_end = on_end, .user_data = waiting
    };
    hs_res_callbacks(response, &callbacks);
    /* The ticker finds the request in its list when all fields are set. */
    pthread_mutex_lock(&ticker->lock);
    hs_deferred_t job = hs_res_defer(response);
    if (job != 0) {
        waiting->job = job;
        waiting->next = ticker->first;
        ticker->first = waiting;
    }
    pthread_mutex_unlock(&ticker->lock);
    if (job == 0) {
        free(waiting); /* no callback will be called for it */
        hs_res_status(response, 503);
        hs_res_send(response);
    }
}
