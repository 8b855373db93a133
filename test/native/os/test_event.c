/* hs_ev: which events a watcher gets, and when it gets no more. Waiting and waking: test_wake.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/hs_ev.h"

typedef struct watch watch_t;
struct watch {
    hs_ev_io_t io;
    int peer; /* the other end of a socket pair */
    int calls;
    unsigned events; /* of the last call */
    int *closed;     /* counts on_closed */
    void (*act)(hs_ev_t *ev, watch_t *self);
    watch_t *other;
    int result;
};

static int setup(void **state)
{
    *state = hs_ev_new(NULL, 32);
    return *state == NULL;
}

static int teardown(void **state)
{
    hs_ev_free(*state);
    return 0;
}

static void on_event(hs_ev_t *ev, hs_ev_io_t *io, unsigned events)
{
    watch_t *self = (watch_t *)io;
    self->calls++;
    self->events = events;
    if (self->act != NULL)
        self->act(ev, self);
}

static void on_closed(hs_ev_t *ev, hs_ev_io_t *io)
{
    (void)ev;
    watch_t *self = (watch_t *)io;
    (*self->closed)++;
}

static void on_closed_free(hs_ev_t *ev, hs_ev_io_t *io)
{
    on_closed(ev, io);
    free(io);
}

static void make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    for (int i = 0; i < 2; i++)
        assert_int_not_equal(fcntl(fds[i], F_SETFL, O_NONBLOCK), -1);
}

static void watch_start(hs_ev_t *ev, watch_t *watch, unsigned interest)
{
    int fds[2];
    make_pair(fds);
    memset(watch, 0, sizeof(*watch));
    watch->peer = fds[1];
    assert_int_equal(hs_ev_io_start(ev, &watch->io, fds[0], interest, on_event), 0);
}

static void watch_end(hs_ev_t *ev, watch_t *watch)
{
    hs_ev_io_close(ev, &watch->io, NULL);
    assert_int_equal(watch->io.fd, -1);
    if (watch->peer >= 0)
        close(watch->peer);
}

static void put_byte(int fd)
{
    assert_int_equal(write(fd, "x", 1), 1);
}

static void take_byte(hs_ev_t *ev, watch_t *self)
{
    (void)ev;
    char byte;
    assert_int_equal(read(self->io.fd, &byte, 1), 1);
}

static void readiness_is_reported_once_it_is_there(void **state)
{
    hs_ev_t *ev = *state;
    watch_t watch;
    watch_start(ev, &watch, HS_EV_READ);
    assert_int_equal(hs_ev_poll(ev, 0), 0);
    assert_int_equal(watch.calls, 0);
    put_byte(watch.peer);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(watch.calls, 1);
    assert_int_equal(watch.events, HS_EV_READ);
    watch_end(ev, &watch);
}

static void both_directions_come_in_one_callback(void **state)
{
    hs_ev_t *ev = *state;
    watch_t watch;
    watch_start(ev, &watch, HS_EV_READ | HS_EV_WRITE);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(watch.events, HS_EV_WRITE);
    put_byte(watch.peer);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(watch.calls, 2);
    assert_int_equal(watch.events, HS_EV_READ | HS_EV_WRITE);
    watch_end(ev, &watch);
}

static void level_repeats_and_edge_does_not(void **state)
{
    hs_ev_t *ev = *state;
    watch_t level;
    watch_t edge;
    watch_start(ev, &level, HS_EV_READ);
    watch_start(ev, &edge, HS_EV_READ | HS_EV_EDGE);
    put_byte(level.peer);
    put_byte(edge.peer);
    assert_int_equal(hs_ev_poll(ev, -1), 2);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(level.calls, 2);
    assert_int_equal(edge.calls, 1);

    put_byte(edge.peer);
    assert_int_equal(hs_ev_poll(ev, -1), 2);
    assert_int_equal(edge.calls, 2);

    assert_int_equal(hs_ev_io_change(ev, &edge.io, HS_EV_READ | HS_EV_EDGE), 0); /* re-arms */
    assert_int_equal(hs_ev_poll(ev, -1), 2);
    assert_int_equal(edge.calls, 3);
    watch_end(ev, &level);
    watch_end(ev, &edge);
}

static void change_replaces_the_interest(void **state)
{
    hs_ev_t *ev = *state;
    watch_t watch;
    watch_start(ev, &watch, HS_EV_READ);
    put_byte(watch.peer);
    assert_int_equal(hs_ev_io_change(ev, &watch.io, HS_EV_WRITE), 0);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(watch.events, HS_EV_WRITE);
    assert_int_equal(hs_ev_io_change(ev, &watch.io, HS_EV_READ), 0);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(watch.events, HS_EV_READ);
    /* From edge-triggered to level-triggered: the event is reported again. */
    assert_int_equal(hs_ev_io_change(ev, &watch.io, HS_EV_READ | HS_EV_EDGE), 0);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(hs_ev_poll(ev, 0), 0);
    assert_int_equal(hs_ev_io_change(ev, &watch.io, HS_EV_READ), 0);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    watch_end(ev, &watch);
}

static void without_interest_not_even_a_hangup_is_reported(void **state)
{
    hs_ev_t *ev = *state;
    watch_t watch;
    watch_start(ev, &watch, HS_EV_READ);
    put_byte(watch.peer);
    assert_int_equal(hs_ev_io_change(ev, &watch.io, 0), 0);
    assert_int_equal(close(watch.peer), 0);
    watch.peer = -1;
    assert_int_equal(hs_ev_poll(ev, 0), 0);
    assert_int_equal(hs_ev_io_change(ev, &watch.io, HS_EV_READ), 0);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_true(watch.events & HS_EV_READ);
    watch_end(ev, &watch);
}

static void drop_interest_of_other(hs_ev_t *ev, watch_t *self)
{
    assert_int_equal(hs_ev_io_change(ev, &self->other->io, HS_EV_READ), 0);
}

static void a_change_counts_for_fetched_events_too(void **state)
{
    hs_ev_t *ev = *state;
    watch_t a;
    watch_t b;
    watch_start(ev, &a, HS_EV_WRITE);
    watch_start(ev, &b, HS_EV_WRITE);
    a.act = b.act = drop_interest_of_other;
    a.other = &b;
    b.other = &a;
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(a.calls + b.calls, 1);
    watch_end(ev, &a);
    watch_end(ev, &b);
}

static void stop_self(hs_ev_t *ev, watch_t *self)
{
    hs_ev_io_stop(ev, &self->io);
    hs_ev_io_stop(ev, &self->io); /* stopping twice is harmless */
}

static void stop_in_its_own_callback(void **state)
{
    hs_ev_t *ev = *state;
    watch_t watch;
    watch_start(ev, &watch, HS_EV_READ | HS_EV_WRITE);
    watch.act = stop_self;
    put_byte(watch.peer);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(hs_ev_poll(ev, 0), 0);
    assert_int_equal(watch.calls, 1);
    assert_int_equal(hs_ev_io_change(ev, &watch.io, HS_EV_READ), -EINVAL);

    watch.act = NULL;
    assert_int_equal(hs_ev_io_start(ev, &watch.io, watch.io.fd, HS_EV_READ, on_event), 0);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    hs_ev_io_stop(ev, &watch.io);
    watch_end(ev, &watch); /* a stopped watcher still closes its descriptor */
}

static void stop_other(hs_ev_t *ev, watch_t *self)
{
    hs_ev_io_stop(ev, &self->other->io);
}

static void restart_other(hs_ev_t *ev, watch_t *self)
{
    hs_ev_io_stop(ev, &self->other->io);
    self->result = hs_ev_io_start(ev, &self->other->io, self->other->io.fd, HS_EV_READ, on_event);
    self->act = NULL;
    self->other->act = NULL;
}

/* Two ready watchers of one batch; the first one called acts on the other. */
static void start_rivals(hs_ev_t *ev, watch_t *a, watch_t *b, void (*act)(hs_ev_t *, watch_t *))
{
    watch_start(ev, a, HS_EV_READ);
    watch_start(ev, b, HS_EV_READ);
    a->act = b->act = act;
    a->other = b;
    b->other = a;
    put_byte(a->peer);
    put_byte(b->peer);
}

static void stop_skips_an_event_already_fetched(void **state)
{
    hs_ev_t *ev = *state;
    watch_t a;
    watch_t b;
    start_rivals(ev, &a, &b, stop_other);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(a.calls + b.calls, 1);
    watch_end(ev, &a);
    watch_end(ev, &b);
}

static void a_restarted_watcher_does_not_inherit_a_fetched_event(void **state)
{
    hs_ev_t *ev = *state;
    watch_t a;
    watch_t b;
    start_rivals(ev, &a, &b, restart_other);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(a.result + b.result, 0);
    assert_int_equal(hs_ev_poll(ev, -1), 2); /* descriptors still ready are reported again */
    watch_end(ev, &a);
    watch_end(ev, &b);
}

/* Closes the other watcher and opens a new one that gets its descriptor number. */
static void replace_other(hs_ev_t *ev, watch_t *self)
{
    watch_t *fresh = self->other + 2;
    int number = self->other->io.fd;
    hs_ev_io_close(ev, &self->other->io, on_closed);
    assert_int_equal(hs_ev_io_start(ev, &self->other->io, 0, HS_EV_READ, on_event), -EBUSY);
    assert_int_equal(*self->other->closed, 0);
    watch_start(ev, fresh, HS_EV_READ);
    self->result = fresh->io.fd == number;
    self->act = NULL;
}

static void a_reused_descriptor_number_does_not_inherit_an_event(void **state)
{
    hs_ev_t *ev = *state;
    watch_t all[4]; /* two rivals, and a replacement for each */
    int closed = 0;
    memset(all, 0, sizeof(all));
    start_rivals(ev, &all[0], &all[1], replace_other);
    all[0].closed = all[1].closed = &closed;
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(all[0].calls + all[1].calls, 1);
    assert_int_equal(all[0].result + all[1].result, 1);
    assert_int_equal(all[2].calls + all[3].calls, 0);
    assert_int_equal(closed, 1);
    for (int i = 0; i < 4; i++) {
        if (all[i].io.fd > 0)
            hs_ev_io_close(ev, &all[i].io, NULL);
        if (all[i].peer > 0)
            close(all[i].peer);
    }
}

static void close_self(hs_ev_t *ev, watch_t *self)
{
    int *closed = self->closed;
    int before = *closed;
    hs_ev_io_close(ev, &self->io, on_closed_free);
    hs_ev_io_close(ev, &self->io, on_closed_free); /* closing twice counts once */
    self->calls = 100;                             /* not freed yet: ASan would report it */
    assert_int_equal(*closed, before);
}

static void memory_is_released_once_after_the_iteration(void **state)
{
    hs_ev_t *ev = *state;
    enum {
        COUNT = 8
    };
    int closed = 0;
    int peers[COUNT];
    for (int i = 0; i < COUNT; i++) {
        watch_t *watch = calloc(1, sizeof(*watch));
        assert_non_null(watch);
        watch_start(ev, watch, HS_EV_READ | HS_EV_WRITE);
        watch->act = close_self;
        watch->closed = &closed;
        peers[i] = watch->peer;
        put_byte(peers[i]);
    }
    assert_int_equal(hs_ev_poll(ev, -1), COUNT);
    assert_int_equal(closed, COUNT);
    assert_int_equal(hs_ev_poll(ev, 0), 0);
    assert_int_equal(closed, COUNT);
    for (int i = 0; i < COUNT; i++)
        close(peers[i]);
}

static void free_other_at_once(hs_ev_t *ev, watch_t *self)
{
    close(self->other->peer);
    hs_ev_io_close(ev, &self->other->io, NULL);
    free(self->other);
    self->other = NULL;
    self->act = NULL;
}

static void a_close_that_nobody_hears_of_frees_at_once(void **state)
{
    hs_ev_t *ev = *state;
    watch_t *a = calloc(1, sizeof(*a));
    watch_t *b = calloc(1, sizeof(*b));
    assert_true(a != NULL && b != NULL);
    start_rivals(ev, a, b, free_other_at_once);
    int peers[] = { a->peer, b->peer };
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(fcntl(peers[0], F_GETFD) == -1, fcntl(peers[1], F_GETFD) != -1);
    watch_t *left = fcntl(peers[0], F_GETFD) == -1 ? b : a;
    watch_end(ev, left);
    free(left);
}

static void a_copy_of_the_descriptor_does_not_bring_back_a_closed_watcher(void **state)
{
    hs_ev_t *ev = *state;
    watch_t *watch = calloc(1, sizeof(*watch));
    assert_non_null(watch);
    watch_start(ev, watch, HS_EV_READ);
    int peer = watch->peer;
    int copy = dup(watch->io.fd);
    hs_ev_io_close(ev, &watch->io, NULL);
    free(watch);
    put_byte(peer);
    assert_int_equal(hs_ev_poll(ev, 0), 0);
    close(copy);
    close(peer);
}

static void half_close_is_peer_shut_and_full_close_is_hangup(void **state)
{
    hs_ev_t *ev = *state;
    watch_t watch;
    watch_start(ev, &watch, HS_EV_READ | HS_EV_WRITE | HS_EV_PEER_SHUT);
    assert_int_equal(shutdown(watch.peer, SHUT_WR), 0);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(watch.events, HS_EV_READ | HS_EV_WRITE | HS_EV_PEER_SHUT);
    assert_int_equal(hs_ev_io_change(ev, &watch.io, HS_EV_READ), 0);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(watch.events, HS_EV_READ); /* not requested, not reported */

    assert_int_equal(hs_ev_io_change(ev, &watch.io, HS_EV_WRITE), 0);
    assert_int_equal(close(watch.peer), 0);
    watch.peer = -1;
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_true(watch.events & HS_EV_HANGUP);
    watch_end(ev, &watch);
}

static void peer_shut_alone_is_not_disturbed_by_bytes(void **state)
{
    hs_ev_t *ev = *state;
    watch_t watch;
    watch_start(ev, &watch, HS_EV_PEER_SHUT | HS_EV_EDGE);
    put_byte(watch.peer);
    assert_int_equal(hs_ev_poll(ev, 0), 0);
    assert_int_equal(shutdown(watch.peer, SHUT_WR), 0);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(watch.events, HS_EV_PEER_SHUT);
    assert_int_equal(hs_ev_poll(ev, 0), 0);
    watch_end(ev, &watch);
}

static void a_thousand_watchers(void **state)
{
    hs_ev_t *ev = *state;
    enum {
        COUNT = 1000
    };
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_cur < 4 * COUNT)
        skip();
    watch_t *all = calloc(COUNT, sizeof(*all));
    assert_non_null(all);
    for (int i = 0; i < COUNT; i++) {
        watch_start(ev, &all[i], HS_EV_READ);
        all[i].act = take_byte;
        put_byte(all[i].peer);
    }
    int polls = 0;
    for (int calls = 0; calls < COUNT; polls++) {
        int n = hs_ev_poll(ev, -1);
        assert_in_range(n, 1, 32);
        calls += n;
    }
    assert_in_range(polls, (COUNT + 31) / 32, COUNT);
    assert_int_equal(hs_ev_poll(ev, 0), 0);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(all[i].calls, 1);
        watch_end(ev, &all[i]);
    }
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(readiness_is_reported_once_it_is_there),
        TEST(both_directions_come_in_one_callback),
        TEST(level_repeats_and_edge_does_not),
        TEST(change_replaces_the_interest),
        TEST(without_interest_not_even_a_hangup_is_reported),
        TEST(a_change_counts_for_fetched_events_too),
        TEST(stop_in_its_own_callback),
        TEST(stop_skips_an_event_already_fetched),
        TEST(a_restarted_watcher_does_not_inherit_a_fetched_event),
        TEST(a_reused_descriptor_number_does_not_inherit_an_event),
        TEST(memory_is_released_once_after_the_iteration),
        TEST(a_close_that_nobody_hears_of_frees_at_once),
        TEST(a_copy_of_the_descriptor_does_not_bring_back_a_closed_watcher),
        TEST(half_close_is_peer_shut_and_full_close_is_hangup),
        TEST(peer_shut_alone_is_not_disturbed_by_bytes),
        TEST(a_thousand_watchers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
