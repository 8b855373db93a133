#include "conn/hs_observer.h"

/* `client` has that of the job. */
static hs_access_log_entry_t entry_of(const hs_observer_t *observer, const hs_job_t *job,
                                      const hs_peer_t *client)
{
    return (hs_access_log_entry_t){
        .job = job,
        .peer = &job->peer,
        .client = job->pool->forwarding != NULL ? client : NULL,
        .time_ms = observer->time_ms,
        .begun_us = job->number != 0 ? job->begun_us : observer->now_us,
        .status = job->response.status,
        .now_us = observer->now_us,
    };
}

static void add_line(hs_observer_t *observer, hs_access_log_t *log,
                     const hs_access_log_entry_t *entry)
{
    if (hs_access_log_is_full(log))
        hs_stats_add(observer->stats, HS_STATS_LOG_LOST, 1);
    else
        hs_access_log_add(log, entry);
}

void hs_observer_log_response(hs_observer_t *observer, const hs_job_t *job, int status,
                              size_t content_len, bool is_refused)
{
    /* A refused request may have no fields. */
    hs_peer_t client = is_refused ? job->peer : hs_job_client(job);
    hs_access_log_entry_t entry = entry_of(observer, job, &client);
    entry.bytes_out = content_len;
    entry.status = status;
    entry.is_refused = is_refused;
    if (observer->access_log != NULL)
        add_line(observer, observer->access_log, &entry);
    if (observer->spans != NULL && !is_refused && hs_job_is_sampled(job, observer->sample_every))
        add_line(observer, observer->spans, &entry);
}

hs_access_kept_t *hs_observe_upgrade(hs_observer_t *observer, const hs_job_t *job, uint32_t given)
{
    if (observer == NULL)
        return NULL;
    unsigned series = hs_stats_series(job->request.msg.method, job->response.status);
    hs_stats_turn_add(&observer->turn, observer->stats, series, job->begun_us, observer->now_us);
    if (!observer->has_lines)
        return NULL;
    hs_peer_t client = hs_job_client(job);
    hs_access_log_entry_t entry = entry_of(observer, job, &client);
    entry.bytes_out = given;
    if (observer->spans != NULL && hs_job_is_sampled(job, observer->sample_every))
        add_line(observer, observer->spans, &entry);
    if (observer->access_log == NULL)
        return NULL;
    hs_access_kept_t *kept = hs_access_log_keep(observer->access_log, &entry);
    if (kept == NULL)
        hs_stats_add(observer->stats, HS_STATS_LOG_LOST, 1);
    return kept;
}

void hs_observe_websocket_end(hs_observer_t *observer, hs_access_kept_t *kept, uint32_t given,
                              int code)
{
    if (kept == NULL)
        return;
    hs_access_log_t *log = observer->access_log;
    if (hs_access_log_is_full(log))
        hs_stats_add(observer->stats, HS_STATS_LOG_LOST, 1);
    else
        hs_access_log_add_kept(log, kept, observer->time_ms, given, code);
    hs_free(kept);
}

void hs_observe_refusal(hs_observer_t *observer, const hs_job_t *job, int status, bool has_request)
{
    if (observer == NULL)
        return;
    hs_stats_refused(observer->stats, status);
    if (observer->has_lines)
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
