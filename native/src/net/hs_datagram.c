#include "net/hs_datagram.h"

#include <errno.h>
#include <string.h>

#include "os/hs_clock.h"

static void report(hs_datagram_t *datagram, hs_failure_t failure)
{
    if (!datagram->waits)
        return;
    datagram->waits = false;
    datagram->failure = failure;
    hs_timer_stop(datagram->net->loop, &datagram->timer);
    datagram->done(datagram->context, datagram);
}

static void on_timeout(hs_loop_t *loop, hs_timer_t *timer)
{
    (void)loop;
    hs_datagram_t *datagram = HS_CONTAINER_OF(timer, hs_datagram_t, timer);
    bool is_resolving = datagram->state == HS_DATAGRAM_RESOLVING;
    if (is_resolving) {
        hs_resolver_cancel(&datagram->resolve);
        datagram->state = HS_DATAGRAM_OVER;
    }
    report(datagram,
           hs_failure_of(is_resolving ? HS_FAILURE_RESOLVER_TIMEOUT : HS_FAILURE_TIMEOUT));
}

hs_datagram_t *hs_datagram_new(hs_net_t *net, hs_datagram_done_fn done, void *context)
{
    hs_datagram_t *datagram = hs_alloc_zeroed(1, sizeof(*datagram));
    if (datagram == NULL)
        return NULL;
    datagram->net = net;
    datagram->done = done;
    datagram->context = context;
    datagram->watcher.fd = -1;
    hs_list_init(&datagram->resolve.link);
    hs_timer_init(&datagram->timer, on_timeout);
    hs_list_init(&datagram->all);
    hs_list_push_back(&net->datagrams, &datagram->all);
    return datagram;
}

static void begin_wait(hs_datagram_t *datagram, uint32_t timeout_ms)
{
    datagram->waits = true;
    datagram->failure = hs_failure_of(HS_FAILURE_NONE);
    if (timeout_ms != 0)
        hs_timer_set(datagram->net->loop, &datagram->timer, hs_clock_monotonic_ms() + timeout_ms);
}

/* True: `failure` says how it ended; false: there is no datagram. */
static bool take(hs_datagram_t *datagram)
{
    struct iovec iov = { datagram->data, datagram->max };
    ptrdiff_t received = hs_sock_recv(datagram->watcher.fd, &iov, 1);
    if (received == -EAGAIN)
        return false;
    datagram->len = received > 0 ? (size_t)received : 0;
    datagram->failure =
        received < 0 ? hs_failure_of_errno((int)-received) : hs_failure_of(HS_FAILURE_NONE);
    return true;
}

static void on_event(hs_ev_t *ev, hs_ev_io_t *watcher, unsigned events)
{
    (void)events;
    hs_datagram_t *datagram = (hs_datagram_t *)(void *)watcher;
    hs_loop_t *loop = hs_ev_context(ev);
    if (loop->on_turn != NULL)
        loop->on_turn(loop);
    if (datagram->waits && take(datagram))
        report(datagram, datagram->failure);
}

static void open_to(hs_datagram_t *datagram, const hs_addresses_t *addresses)
{
    hs_sock_endpoint_t endpoint = addresses->list[0];
    hs_sock_endpoint_set_port(&endpoint, datagram->port);
    datagram->state = HS_DATAGRAM_OVER;
    int fd = hs_sock_connect_udp(&endpoint);
    if (fd < 0) {
        datagram->failure = hs_failure_of_errno(-fd);
        return;
    }
    /* Edge-triggered: unread datagrams are not reported again. */
    int failed = hs_ev_io_start(datagram->net->loop->ev, &datagram->watcher, fd,
                                HS_EV_READ | HS_EV_EDGE, on_event);
    if (failed < 0) {
        hs_sock_close(fd);
        datagram->failure = hs_failure_of_errno(-failed);
        return;
    }
    datagram->state = HS_DATAGRAM_OPEN;
    datagram->failure = hs_failure_of(HS_FAILURE_NONE);
}

static void on_resolved(hs_resolver_wait_t *wait, hs_resolved_t resolved,
                        const hs_addresses_t *addresses)
{
    hs_datagram_t *datagram = HS_CONTAINER_OF(wait, hs_datagram_t, resolve);
    if (resolved == HS_RESOLVED_FOUND) {
        open_to(datagram, addresses);
    } else {
        datagram->state = HS_DATAGRAM_OVER;
        datagram->failure = hs_failure_of_resolved(resolved);
    }
    report(datagram, datagram->failure);
}

bool hs_datagram_open(hs_datagram_t *datagram, const char *host, uint16_t port, uint32_t timeout_ms)
{
    hs_addresses_t addresses;
    if (datagram->net == NULL || datagram->state != HS_DATAGRAM_NEW) {
        datagram->failure = hs_failure_of(HS_FAILURE_CLOSED);
        return true;
    }
    datagram->port = port;
    datagram->resolve.done = on_resolved;
    hs_resolved_t resolved =
        hs_resolver_lookup(&datagram->net->resolver, host, &addresses, &datagram->resolve);
    if (resolved == HS_RESOLVED_LATER) {
        datagram->state = HS_DATAGRAM_RESOLVING;
        begin_wait(datagram, timeout_ms);
        return false;
    }
    if (resolved == HS_RESOLVED_FOUND) {
        open_to(datagram, &addresses);
    } else {
        datagram->state = HS_DATAGRAM_OVER;
        datagram->failure = hs_failure_of_resolved(resolved);
    }
    return true;
}

bool hs_datagram_receive(hs_datagram_t *datagram, size_t max, uint32_t timeout_ms)
{
    if (datagram->waits) {
        datagram->failure = hs_failure_of(HS_FAILURE_BUSY);
        return true;
    }
    datagram->len = 0;
    if (datagram->state != HS_DATAGRAM_OPEN) {
        datagram->failure = hs_failure_of(HS_FAILURE_CLOSED);
        return true;
    }
    max = max == 0 ? 1 : hs_min(max, HS_DATAGRAM_MAX);
    char *data = max > datagram->max ? hs_realloc(datagram->data, max) : datagram->data;
    if (data == NULL) {
        datagram->failure = hs_failure_of(HS_FAILURE_NO_MEMORY);
        return true;
    }
    datagram->data = data;
    datagram->max = max;
    if (take(datagram))
        return true;
    begin_wait(datagram, timeout_ms);
    return false;
}

void hs_datagram_send(hs_datagram_t *datagram, const char *data, size_t len)
{
    hs_failure_t failure = hs_failure_of(HS_FAILURE_NONE);
    if (datagram->state != HS_DATAGRAM_OPEN) {
        failure = hs_failure_of(HS_FAILURE_CLOSED);
    } else if (len == 0 || len > HS_DATAGRAM_MAX) {
        failure = hs_failure_of(HS_FAILURE_TOO_LONG);
    } else {
        struct iovec iov = { (char *)(uintptr_t)data, len };
        ptrdiff_t sent = hs_sock_send(datagram->watcher.fd, &iov, 1);
        if (sent < 0)
            failure = hs_failure_of_errno((int)-sent);
    }
    datagram->failure = failure;
}

void hs_datagram_end(hs_datagram_t *datagram)
{
    if (datagram->net == NULL)
        return;
    hs_resolver_cancel(&datagram->resolve);
    hs_ev_io_close(datagram->net->loop->ev, &datagram->watcher, NULL);
    datagram->state = HS_DATAGRAM_OVER;
    datagram->len = 0;
    report(datagram, hs_failure_of(HS_FAILURE_CLOSED));
}

void hs_datagram_abandon(hs_datagram_t *datagram)
{
    if (datagram->net == NULL)
        return;
    hs_timer_stop(datagram->net->loop, &datagram->timer);
    datagram->waits = false;
    hs_datagram_end(datagram);
    datagram->net = NULL;
    hs_list_remove(&datagram->all);
}

void hs_datagram_free(hs_datagram_t *datagram)
{
    if (datagram == NULL)
        return;
    hs_datagram_abandon(datagram);
    hs_free(datagram->data);
    hs_free(datagram);
}
