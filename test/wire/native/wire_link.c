#include "wire_link.h"

#include <stdio.h>

#define DATE_SECOND 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */

static void check(bool holds, const char *sentence)
{
    if (holds)
        return;
    fprintf(stderr, "the connection broke a rule: %s\n", sentence);
    abort();
}

void wire_link_init(wire_link_t *link, const hs_limits_t *limits, hs_handler_fn handler,
                    void *user_data)
{
    *link = (wire_link_t){ .limits = *limits };
    hs_log_init(&link->log, HS_LOG_OFF, NULL, NULL);
    hs_exchange_pool_init(&link->pool, &link->limits, &link->log);
    link->app = (hs_c_handler_t){ .function = handler, .user_data = user_data };
    link->env = (hs_conn_env_t){
        .limits = &link->limits,
        .pool = &link->pool,
        .log = &link->log,
        .now_ms = 1,
        .discard = { link->discard, sizeof(link->discard) },
    };
    hs_dispatch_init(&link->env.dispatch, hs_c_handler_as_handler(&link->app), HS_DISPATCH_INLINE,
                     NULL, &link->log);
    hs_date_set(&link->env.date, DATE_SECOND);
}

void wire_link_free(wire_link_t *link)
{
    hs_exchange_pool_free(&link->pool);
    hs_buf_free(&link->got);
}

void wire_link_open(wire_link_t *link)
{
    link->got.len = 0;
    hs_conn_init(&link->conn, &link->env);
}

static bool is_over(const wire_link_t *link)
{
    return link->conn.phase == HS_CONN_CLOSED || link->conn.phase == HS_CONN_LINGERING;
}

/* Sends until nothing is unsent, and lets a connection go on that had to wait for that. */
static void pump(wire_link_t *link)
{
    for (;;) {
        struct iovec iov[2];
        int count = hs_conn_send_vec(&link->conn, iov);
        if (count == 0 && !link->conn.stalled)
            return;
        if (count == 0) {
            hs_conn_resume(&link->conn, &link->env);
            continue;
        }
        size_t len = iov[0].iov_len;
        if (link->send_max > 0)
            len = hs_min(len, link->send_max);
        check(hs_buf_append(&link->got, iov[0].iov_base, len), "memory for what is sent");
        hs_conn_sent(&link->conn, &link->env, len);
    }
}

static size_t copy_in(const struct iovec *iov, int count, const char *data, size_t len)
{
    size_t copied = 0;
    for (int i = 0; i < count && copied < len; i++) {
        size_t part = hs_min(iov[i].iov_len, len - copied);
        memcpy(iov[i].iov_base, data + copied, part);
        copied += part;
    }
    return copied;
}

void wire_link_feed(wire_link_t *link, const char *data, size_t len)
{
    pump(link);
    while (len > 0 && link->conn.phase != HS_CONN_CLOSED) {
        bool was_over = is_over(link);
        struct iovec iov[2];
        int count = hs_conn_recv_vec(&link->conn, &link->env, iov);
        check(count > 0, "a connection with nothing unsent reads, lingers or is closed");
        size_t copied = copy_in(iov, count, data, len);
        check(copied > 0, "there is room to receive");
        data += copied;
        len -= copied;
        hs_conn_received(&link->conn, &link->env, copied);
        check(!was_over || hs_conn_send_vec(&link->conn, iov) == 0,
              "nothing is said after the end");
        check(!was_over || is_over(link), "the end is the end");
        pump(link);
    }
    check(is_over(link) || link->conn.phase < HS_CONN_FLUSHING, "a finished flush moves on");
}

void wire_link_shut(wire_link_t *link)
{
    pump(link);
    if (link->conn.phase != HS_CONN_CLOSED)
        hs_conn_peer_shut(&link->conn, &link->env);
    pump(link);
    check(link->conn.phase == HS_CONN_CLOSED, "after the peer's end the connection is over");
    check(link->conn.exchange == NULL, "a closed connection holds nothing");
}

void wire_link_close(wire_link_t *link)
{
    if (link->conn.phase != HS_CONN_CLOSED)
        hs_conn_abort(&link->conn, &link->env);
    check(link->pool.leased == 0, "every exchange was given back");
}
