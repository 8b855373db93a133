#include "wire_link.h"

static void check(bool holds, const char *rule)
{
    if (holds)
        return;
    fprintf(stderr, "the connection broke a rule: %s\n", rule);
    abort();
}

void wire_link_init(wire_link_t *link, const hs_limits_t *limits, hs_handler_fn handler,
                    void *user_data)
{
    byte_peer_init(link, limits, handler, user_data);
}

void wire_link_free(wire_link_t *link)
{
    byte_peer_free(link);
}

void wire_link_open(wire_link_t *link)
{
    byte_peer_open(link);
}

static void check_rest(const wire_link_t *link)
{
    check(wire_link_is_over(link) || link->conn.phase == HS_CONN_OPEN, "a finished flush moves on");
    check(link->is_closed || link->conn.stream.deadline_ms != 0 ||
              link->conn.wait != HS_CONN_WAIT_NONE,
          "a connection waits for something");
    if (wire_link_is_over(link))
        check(link->conn.job == NULL && link->conn.stream.buffers == NULL,
              "a connection that is over holds nothing");
}

void wire_link_feed(wire_link_t *link, const char *data, size_t len)
{
    byte_peer_pump(link);
    if (link->is_closed || len == 0)
        return;
    bool was_over = wire_link_is_over(link);
    size_t sent = link->got.len;
    size_t received = byte_peer_feed(link, data, len);
    check(received == len || wire_link_is_over(link), "a connection that is not over reads");
    check(!was_over || sent == link->got.len, "nothing is said after the end");
    check(!was_over || wire_link_is_over(link), "the end is the end");
    check_rest(link);
}

void wire_link_shut(wire_link_t *link)
{
    byte_peer_shut(link);
    check(link->is_closed, "after the peer's end the connection is over");
}

void wire_link_close(wire_link_t *link)
{
    byte_peer_abort(link);
    hs_conn_collect(&link->env); /* jobs whose owners have heard of it */
    check(link->env.loop.buffers.leased == 0 && link->env.jobs.leased == 0,
          "everything was given back");
    check(link->env.jobs.content_bytes == 0, "no content is held");
}
