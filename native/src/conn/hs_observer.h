/*
 * Observes requests while they are served: counters, what is being served now, latency, the access
 * log. A connection works the same with and without an observer (env->observer NULL, as in tests on
 * byte arrays).
 *
 * Thread: the reactor's I/O thread.
 */
#pragma once

#include "conn/hs_access_log.h"
#include "conn/hs_conn.h"
#include "exec/hs_stats.h"

/* owner: io */
typedef struct hs_observer {
    hs_stats_area_t *stats; /* never NULL */
    hs_stats_turn_t turn;
    bool has_lines;              /* one of the logs is on */
    hs_access_log_t *access_log; /* NULL: off */
    hs_access_log_t *spans;      /* NULL: off */
    uint32_t sample_every;       /* of this many requests without a trace, one has a span */
    uint64_t now_us;             /* monotonic: when this turn began */
    uint64_t now_ms;             /* the same in ms */
    int64_t time_ms;             /* wall clock of this turn */
    uint64_t request_number;     /* of the last request */
} hs_observer_t;

/* The first bytes of a request have arrived. */
static inline void hs_observe_begin(hs_observer_t *observer, hs_job_t *job)
{
    if (observer == NULL)
        return;
    job->begun_us = observer->now_us;
    job->number = ++observer->request_number;
}

/* A handler starts running on this thread. */
static inline void hs_observe_serve(hs_observer_t *observer, const hs_job_t *job)
{
    if (observer == NULL)
        return;
    const hs_msg_t *msg = &job->request.msg;
    hs_stats_serve(observer->stats, job->number, msg->method, msg->base + msg->url_at, msg->url_len,
                   observer->now_ms);
}

static inline void hs_observe_served(hs_observer_t *observer)
{
    if (observer != NULL)
        hs_stats_serve_end(observer->stats);
}

void hs_observer_log_response(hs_observer_t *observer, const hs_job_t *job, int status,
                              size_t content_len, bool is_refused);

/* The response of a handler was built, `content_len` bytes of content. */
static inline void hs_observe_response(hs_observer_t *observer, const hs_job_t *job,
                                       size_t content_len)
{
    if (observer == NULL)
        return;
    const hs_response_t *response = &job->response;
    if (HS_UNLIKELY(response->replaced && response->status == 500))
        hs_stats_add(observer->stats, HS_STATS_HANDLER_ERRORS, 1);
    unsigned series = hs_stats_series(job->request.msg.method, response->status);
    hs_stats_turn_add(&observer->turn, observer->stats, series, job->begun_us, observer->now_us);
    if (HS_UNLIKELY(observer->has_lines))
        hs_observer_log_response(observer, job, response->status, content_len, false);
}

/* The response of a handler is a 101, when `given` bytes had been sent in total (modulo 2^32).
 * Returns the data for its line in the access log, written when the WebSocket ends; NULL: there is
 * none. */
hs_access_kept_t *hs_observe_upgrade(hs_observer_t *observer, const hs_job_t *job, uint32_t given);

/* The WebSocket was closed; frees `kept`. */
void hs_observe_websocket_end(hs_observer_t *observer, hs_access_kept_t *kept, uint32_t given,
                              int code);

/* The server itself responded. `has_request`: the head of the request is known. */
void hs_observe_refusal(hs_observer_t *observer, const hs_job_t *job, int status, bool has_request);

/* The armed deadline has passed, and its wait is over. */
void hs_observe_timeout(hs_observer_t *observer, hs_conn_wait_t wait);
