#include "conn/hs_observer.h"

static void log_line(hs_observer_t *observer, const hs_conn_t *conn, int status, size_t bytes_out,
                     bool is_refused)
{
    hs_access_log_t *log = observer->access_log;
    if (hs_access_log_is_full(log)) {
        hs_stats_add(observer->stats, HS_STATS_LOG_LOST, 1);
        return;
    }
    const hs_exchange_t *exchange = conn->exchange;
    hs_access_log_entry_t entry = {
        .exchange = exchange,
        .peer = &conn->peer,
        .time_ms = observer->time_ms,
        .begun_us = exchange->number != 0 ? exchange->begun_us : observer->now_us,
        .bytes_out = bytes_out,
        .status = status,
        .is_refused = is_refused,
    };
    hs_access_log_add(log, &entry);
}

void hs_observer_log_answer(hs_observer_t *observer, const hs_conn_t *conn, size_t content_len)
{
    log_line(observer, conn, conn->exchange->response.status, content_len, false);
}

void hs_observe_refusal(hs_observer_t *observer, const hs_conn_t *conn, int status)
{
    if (observer == NULL)
        return;
    hs_stats_refused(observer->stats, status);
    if (observer->access_log != NULL)
        log_line(observer, conn, status, 0, true);
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

void hs_observe_timeout(hs_observer_t *observer, const hs_conn_t *conn)
{
    bool is_phase = conn->wait != HS_CONN_WAIT_NONE && conn->wait != HS_CONN_WAIT_LINGER;
    if (observer != NULL && is_phase)
        hs_stats_add(observer->stats, HS_STATS_TIMEOUT + (unsigned)phase_of(conn->wait), 1);
}
