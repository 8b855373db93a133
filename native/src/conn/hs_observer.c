#include "conn/hs_observer.h"

void hs_observer_log_response(hs_observer_t *observer, const hs_job_t *job, int status,
                              size_t content_len, bool is_refused)
{
    hs_access_log_t *log = observer->access_log;
    if (hs_access_log_is_full(log)) {
        hs_stats_add(observer->stats, HS_STATS_LOG_LOST, 1);
        return;
    }
    /* Of a request that was refused the fields may be missing. */
    hs_peer_t client = is_refused ? job->peer : hs_job_client(job);
    hs_access_log_entry_t entry = {
        .job = job,
        .peer = &job->peer,
        .client = job->pool->forwarding != NULL ? &client : NULL,
        .time_ms = observer->time_ms,
        .begun_us = job->number != 0 ? job->begun_us : observer->now_us,
        .bytes_out = content_len,
        .status = status,
        .is_refused = is_refused,
    };
    hs_access_log_add(log, &entry);
}

void hs_observe_refusal(hs_observer_t *observer, const hs_job_t *job, int status, bool has_request)
{
    if (observer == NULL)
        return;
    hs_stats_refused(observer->stats, status);
    if (observer->access_log != NULL)
        hs_observer_log_response(observer, job, status, 0, !has_request);
}

static hs_stats_timeout_t phase_of(hs_conn_wait_t wait)
{
    switch (wait) {
    case HS_CONN_WAIT_HANDLER:
        return HS_STATS_TIMEOUT_HANDLER;
    case HS_CONN_WAIT_CONTENT:
        return HS_STATS_TIMEOUT_BODY;
    case HS_CONN_WAIT_WRITE:
        return HS_STATS_TIMEOUT_WRITE;
    case HS_CONN_WAIT_REQUEST:
        return HS_STATS_TIMEOUT_KEEPALIVE;
    case HS_CONN_WAIT_HEAD:
    case HS_CONN_WAIT_NONE:
    case HS_CONN_WAIT_LINGER:
        return HS_STATS_TIMEOUT_HEADER;
    }
    return HS_STATS_TIMEOUT_HEADER;
}

void hs_observe_timeout(hs_observer_t *observer, hs_conn_wait_t wait)
{
    bool is_phase = wait != HS_CONN_WAIT_NONE && wait != HS_CONN_WAIT_LINGER;
    if (observer != NULL && is_phase)
        hs_stats_add(observer->stats, HS_STATS_TIMEOUT + (unsigned)phase_of(wait), 1);
}
