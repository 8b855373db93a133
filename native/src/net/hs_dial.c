#include "net/hs_dial.h"

#include <errno.h>

#include "os/hs_clock.h"

/* owner: who began it */
struct hs_dial {
    hs_net_t *net;
    hs_dial_done_fn done;
    void *context;
    hs_timer_t timer; /* the earlier of the two */
    uint64_t deadline_ms;
    uint64_t stagger_ms; /* when the next address is tried while others are still in progress; 0:
                            never */
    hs_resolver_wait_t wait;
    bool resolving;
    bool beginning; /* hs_dial_begin is running */
    uint16_t port;
    hs_addresses_t addresses;
    size_t next; /* address to be tried */
    hs_link_t *attempts[HS_RESOLVER_ADDRESSES];
    size_t attempt_count;
    hs_failure_t failure; /* of the first that failed */
};

static void try_next(hs_dial_t *dial);

static void dial_free(hs_dial_t *dial)
{
    hs_resolver_cancel(&dial->wait);
    hs_timer_stop(dial->net->loop, &dial->timer);
    for (size_t i = 0; i < dial->attempt_count; i++) {
        dial->attempts[i]->user = NULL;
        hs_link_close(dial->attempts[i]);
    }
    hs_free(dial);
}

void hs_dial_cancel(hs_dial_t *dial)
{
    dial_free(dial);
}

static void fail(hs_dial_t *dial, hs_failure_t failure)
{
    hs_dial_done_fn done = dial->done;
    void *context = dial->context;
    dial->net->counters.failed++;
    dial_free(dial);
    done(context, NULL, &failure);
}

static void set_timer(hs_dial_t *dial)
{
    uint64_t due_ms = dial->deadline_ms;
    if (dial->stagger_ms != 0 && (due_ms == 0 || dial->stagger_ms < due_ms))
        due_ms = dial->stagger_ms;
    hs_timer_set(dial->net->loop, &dial->timer, due_ms);
}

static void on_timer(hs_loop_t *loop, hs_timer_t *timer)
{
    (void)loop;
    hs_dial_t *dial = HS_CONTAINER_OF(timer, hs_dial_t, timer);
    if (dial->deadline_ms != 0 && hs_clock_monotonic_ms() >= dial->deadline_ms)
        fail(dial,
             hs_failure_of(dial->resolving ? HS_FAILURE_RESOLVER_TIMEOUT : HS_FAILURE_TIMEOUT));
    else
        try_next(dial);
}

static void remove_attempt(hs_dial_t *dial, const hs_link_t *link)
{
    for (size_t i = 0; i < dial->attempt_count; i++)
        if (dial->attempts[i] == link)
            dial->attempts[i] = dial->attempts[--dial->attempt_count];
}

/* --- events of an attempt; `user` NULL: it no longer counts --- */

static void on_connected(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    hs_link_t *link = hs_link_of(stream);
    hs_dial_t *dial = link->user;
    if (dial == NULL)
        return;
    hs_dial_done_fn done = dial->done;
    void *context = dial->context;
    remove_attempt(dial, link);
    link->net->counters.connected++;
    link->connected_ms = hs_clock_monotonic_ms();
    link->user = NULL;
    dial_free(dial);
    done(context, link, NULL);
}

static void note_failure(hs_dial_t *dial, int sys_errno)
{
    if (dial->failure.kind != HS_FAILURE_NONE)
        return;
    dial->failure = dial->net->open < HS_NET_LINKS_MAX ? hs_failure_of_errno(sys_errno)
                                                       : hs_failure_of(HS_FAILURE_LIMIT);
}

static void on_error(hs_loop_t *loop, hs_stream_t *stream, int error)
{
    (void)loop;
    hs_link_t *link = hs_link_of(stream);
    hs_dial_t *dial = link->user;
    stream->closed = true;
    if (dial == NULL)
        return;
    link->user = NULL;
    remove_attempt(dial, link);
    note_failure(dial, error);
    try_next(dial);
}

static void nothing(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    (void)stream;
}

static void update(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    hs_link_updated(hs_link_of(stream));
}

static void on_closed(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    hs_link_free(hs_link_of(stream));
}

static const hs_protocol_t attempting = {
    .on_data = nothing,
    .on_drained = nothing,
    .on_connected = on_connected,
    .on_end = nothing,
    .on_peer_shut = nothing,
    .on_error = on_error,
    .on_deadline = nothing,
    .update = update,
    .on_closed = on_closed,
};

static bool is_on_its_way(const hs_dial_t *dial)
{
    return dial->attempt_count > 0 || dial->stagger_ms != 0;
}

/* Tries addresses until an attempt is in progress. With none left and none in progress it has
 * failed, which hs_dial_begin itself reports while it runs. */
static void try_next(hs_dial_t *dial)
{
    bool begun = false;
    int error = 0;
    while (!begun && error != EAGAIN && dial->next < dial->addresses.count) {
        error = 0;
        hs_link_t *link = hs_link_connect(dial->net, &dial->addresses.list[dial->next++],
                                          &attempting, dial, &error);
        if (link != NULL)
            dial->attempts[dial->attempt_count++] = link;
        else if (error != EAGAIN)
            note_failure(dial, error);
        begun = link != NULL;
    }
    bool has_more = dial->next < dial->addresses.count;
    dial->stagger_ms = begun && has_more ? hs_clock_monotonic_ms() + HS_DIAL_STAGGER_MS : 0;
    if (error == EAGAIN) {
        /* The backlog of the Unix socket is full: retry a little later. */
        dial->next--;
        dial->stagger_ms = hs_clock_monotonic_ms() + HS_DIAL_RETRY_MS;
    }
    if (is_on_its_way(dial))
        set_timer(dial);
    else if (!dial->beginning)
        fail(dial, dial->failure);
}

/* Alternates families, starting with that of the first address (RFC 8305 §4). */
static void interleave(hs_addresses_t *addresses)
{
    const hs_addresses_t all = *addresses;
    bool taken[HS_RESOLVER_ADDRESSES] = { false };
    int wanted = hs_sock_endpoint_family(&all.list[0]);
    for (size_t filled = 0; filled < all.count; filled++) {
        size_t pick = all.count;
        for (size_t i = all.count; i-- > 0;)
            if (!taken[i] &&
                (hs_sock_endpoint_family(&all.list[i]) == wanted || pick == all.count ||
                 hs_sock_endpoint_family(&all.list[pick]) != wanted))
                pick = i;
        taken[pick] = true;
        addresses->list[filled] = all.list[pick];
        wanted = hs_sock_endpoint_family(&all.list[pick]) == 6 ? 4 : 6;
    }
}

static void take_addresses(hs_dial_t *dial)
{
    interleave(&dial->addresses);
    for (size_t i = 0; i < dial->addresses.count; i++)
        hs_sock_endpoint_set_port(&dial->addresses.list[i], dial->port);
    try_next(dial);
}

static void on_resolved(hs_resolver_wait_t *wait, hs_resolved_t resolved,
                        const hs_addresses_t *addresses)
{
    hs_dial_t *dial = HS_CONTAINER_OF(wait, hs_dial_t, wait);
    dial->resolving = false;
    if (resolved != HS_RESOLVED_FOUND) {
        fail(dial, hs_failure_of_resolved(resolved));
        return;
    }
    dial->addresses = *addresses;
    take_addresses(dial);
}

/* Looks up the addresses, or has them. False: dial->failure. */
static bool begin(hs_dial_t *dial, const hs_dial_target_t *target)
{
    if (target->path != NULL) {
        if (hs_sock_endpoint_uds(&dial->addresses.list[0], target->path) != HS_OK) {
            dial->failure = hs_failure_of_errno(ENAMETOOLONG);
            return false;
        }
        dial->addresses.count = 1;
        try_next(dial);
        return is_on_its_way(dial);
    }
    hs_resolved_t resolved =
        hs_resolver_lookup(&dial->net->resolver, target->host, &dial->addresses, &dial->wait);
    if (resolved == HS_RESOLVED_LATER) {
        dial->resolving = true;
        set_timer(dial);
        return true;
    }
    if (resolved != HS_RESOLVED_FOUND) {
        dial->failure = hs_failure_of_resolved(resolved);
        return false;
    }
    take_addresses(dial);
    return is_on_its_way(dial);
}

hs_dial_t *hs_dial_begin(hs_net_t *net, const hs_dial_target_t *target, hs_dial_done_fn done,
                         void *context, hs_failure_t *failure)
{
    hs_dial_t *dial = hs_alloc_zeroed(1, sizeof(*dial));
    if (dial == NULL) {
        *failure = hs_failure_of(HS_FAILURE_NO_MEMORY);
        return NULL;
    }
    dial->net = net;
    dial->done = done;
    dial->context = context;
    dial->deadline_ms = target->deadline_ms;
    dial->port = target->port;
    hs_timer_init(&dial->timer, on_timer);
    hs_list_init(&dial->wait.link);
    dial->wait.done = on_resolved;
    dial->beginning = true;
    bool has_begun = begin(dial, target);
    dial->beginning = false;
    if (has_begun)
        return dial;
    net->counters.failed++;
    *failure = dial->failure;
    dial_free(dial);
    return NULL;
}
