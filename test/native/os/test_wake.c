/* hs_ev: waiting, waking, several loops, misuse, and destroying a loop. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/hs_clock.h"
#include "os/hs_ev.h"

/* Counters of the loop under test; its context. */
typedef struct counts {
    int wakes;
    int events;
    unsigned last_events;
    int closed;
    int wakes_wanted; /* wakes to ask for from on_wake itself */
    hs_ev_io_t *chain;
    int nested;
} counts_t;

/* A signal handler has no other access. Set before the handler is installed, read by it. */
static hs_ev_t *signalled;

static counts_t *counts_of(hs_ev_t *ev)
{
    return hs_ev_context(ev);
}

static void on_wake(hs_ev_t *ev)
{
    counts_t *counts = counts_of(ev);
    counts->wakes++;
    if (counts->wakes < counts->wakes_wanted)
        hs_ev_wake(ev);
}

static void on_event(hs_ev_t *ev, hs_ev_io_t *io, unsigned events)
{
    (void)io;
    counts_of(ev)->events++;
    counts_of(ev)->last_events = events;
    counts_of(ev)->nested = hs_ev_poll(ev, 0);
}

static void on_closed(hs_ev_t *ev, hs_ev_io_t *io)
{
    counts_t *counts = counts_of(ev);
    assert_int_equal(io->fd, -1);
    counts->closed++;
    if (counts->chain != NULL) {
        hs_ev_io_t *next = counts->chain;
        counts->chain = NULL;
        hs_ev_io_close(ev, next, on_closed);
    }
}

static hs_ev_t *make_loop(counts_t *counts)
{
    memset(counts, 0, sizeof(*counts));
    hs_ev_t *ev = hs_ev_new(counts, 32);
    assert_non_null(ev);
    hs_ev_on_wake(ev, on_wake);
    return ev;
}

static void make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_not_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), -1);
}

static void many_wakes_give_one_on_wake(void **state)
{
    (void)state;
    counts_t counts;
    hs_ev_t *ev = make_loop(&counts);
    for (int i = 0; i < 100000; i++)
        hs_ev_wake(ev);
    assert_int_equal(hs_ev_poll(ev, -1), 0); /* a wake is not an I/O event */
    assert_int_equal(counts.wakes, 1);
    assert_int_equal(hs_ev_poll(ev, 0), 0);
    assert_int_equal(counts.wakes, 1);
    hs_ev_free(ev);
}

static void a_wake_from_on_wake_is_not_lost(void **state)
{
    (void)state;
    counts_t counts;
    hs_ev_t *ev = make_loop(&counts);
    counts.wakes_wanted = 3;
    hs_ev_wake(ev);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(hs_ev_poll(ev, -1), 0);
        assert_int_equal(counts.wakes, i);
    }
    assert_int_equal(hs_ev_poll(ev, 0), 0);
    assert_int_equal(counts.wakes, 3);
    hs_ev_free(ev);
}

static void a_wake_nobody_asked_for_ends_the_wait(void **state)
{
    (void)state;
    counts_t counts;
    hs_ev_t *ev = make_loop(&counts);
    hs_ev_on_wake(ev, NULL);
    hs_ev_wake(ev);
    assert_int_equal(hs_ev_poll(ev, -1), 0);
    assert_int_equal(counts.wakes, 0);
    hs_ev_free(ev);
}

typedef struct producer {
    pthread_t thread;
    hs_ev_t *ev;
    long *posted; /* plain on purpose: hs_ev_wake is what makes it visible */
    _Atomic long *acknowledged;
} producer_t;

enum {
    ROUNDS = 2000
};

static void *produce(void *ud)
{
    producer_t *self = ud;
    for (long i = 1; i <= ROUNDS; i++) {
        *self->posted = i;
        hs_ev_wake(self->ev);
        while (atomic_load_explicit(self->acknowledged, memory_order_acquire) < i)
            (void)sched_yield();
    }
    return NULL;
}

static void wakes_from_a_thread_arrive_with_what_was_written(void **state)
{
    (void)state;
    counts_t counts;
    hs_ev_t *ev = make_loop(&counts);
    long posted = 0;
    _Atomic long acknowledged = 0;
    producer_t producer = { .ev = ev, .posted = &posted, .acknowledged = &acknowledged };
    assert_int_equal(pthread_create(&producer.thread, NULL, produce, &producer), 0);
    for (long i = 1; i <= ROUNDS; i++) {
        int before = counts.wakes;
        while (counts.wakes == before)
            assert_int_equal(hs_ev_poll(ev, -1), 0);
        assert_int_equal(posted, i);
        atomic_store_explicit(&acknowledged, i, memory_order_release);
    }
    assert_int_equal(pthread_join(producer.thread, NULL), 0);
    assert_int_equal(counts.wakes, ROUNDS);
    hs_ev_free(ev);
}

static void *wake_often(void *ud)
{
    for (int i = 0; i < 20000; i++)
        hs_ev_wake(ud);
    return NULL;
}

static void wakes_from_several_threads_are_not_lost(void **state)
{
    (void)state;
    enum {
        THREADS = 3
    };
    counts_t counts;
    hs_ev_t *ev = make_loop(&counts);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wake_often, ev), 0);
    assert_int_equal(hs_ev_poll(ev, -1), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    hs_ev_wake(ev);
    int before = counts.wakes;
    assert_int_equal(hs_ev_poll(ev, -1), 0);
    assert_int_equal(counts.wakes, before + 1);
    hs_ev_free(ev);
}

static void wake_handler(int number)
{
    (void)number;
    hs_ev_wake(signalled);
}

static void idle_handler(int number)
{
    (void)number;
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = handler;
    assert_int_equal(sigaction(number, &action, NULL), 0);
}

/* SIGALRM every few milliseconds, so that one interrupts the wait; 0 stops it. */
static void alarm_every_ms(int ms)
{
    struct itimerval timer = { { 0, ms * 1000 }, { 0, ms * 1000 } };
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static void a_wake_from_a_signal_handler(void **state)
{
    (void)state;
    counts_t counts;
    hs_ev_t *ev = make_loop(&counts);
    signalled = ev;
    handle(SIGALRM, wake_handler);
    assert_int_equal(raise(SIGALRM), 0);
    assert_int_equal(hs_ev_poll(ev, -1), 0);
    assert_int_equal(counts.wakes, 1);

    alarm_every_ms(2);
    while (counts.wakes < 5)
        assert_int_equal(hs_ev_poll(ev, -1), 0);
    alarm_every_ms(0);
    handle(SIGALRM, SIG_DFL);
    hs_ev_free(ev);
}

static void a_signal_ends_the_wait(void **state)
{
    (void)state;
    counts_t counts;
    hs_ev_t *ev = make_loop(&counts);
    handle(SIGALRM, idle_handler);
    alarm_every_ms(5);
    uint64_t start_ms = hs_clock_monotonic_ms();
    assert_int_equal(hs_ev_poll(ev, 60000), 0);
    assert_true(hs_clock_monotonic_ms() - start_ms < 60000);
    alarm_every_ms(0);
    handle(SIGALRM, SIG_DFL);
    hs_ev_free(ev);
}

static void the_timeout_is_waited_for(void **state)
{
    (void)state;
    counts_t counts;
    hs_ev_t *ev = make_loop(&counts);
    uint64_t start_ns = hs_clock_monotonic_ns();
    assert_int_equal(hs_ev_poll(ev, 20), 0);
    assert_true(hs_clock_monotonic_ns() - start_ns >= 19000000u);
    hs_ev_free(ev);
}

static int listen_on_loopback(struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof(*address);
    memset(address, 0, sizeof(*address));
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)address, len), 0);
    assert_int_equal(listen(fd, 128), 0);
    assert_int_not_equal(fcntl(fd, F_SETFL, O_NONBLOCK), -1);
    assert_int_equal(getsockname(fd, (struct sockaddr *)address, &len), 0);
    return fd;
}

static int connect_to(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)address, sizeof(*address)), 0);
    return fd;
}

static void a_reset_is_a_hangup(void **state)
{
    (void)state;
    counts_t counts;
    hs_ev_t *ev = make_loop(&counts);
    struct sockaddr_in address;
    int listener = listen_on_loopback(&address);
    int client = connect_to(&address);
    int server = accept(listener, NULL, NULL);
    hs_ev_io_t io = { 0 };
    assert_int_equal(hs_ev_io_start(ev, &io, server, HS_EV_READ, on_event), 0);
    struct linger reset = { 1, 0 };
    assert_int_equal(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    assert_int_equal(close(client), 0);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(counts.last_events, HS_EV_READ | HS_EV_HANGUP);
    hs_ev_io_close(ev, &io, NULL);
    close(listener);
    hs_ev_free(ev);
}

/* One of several loops that accept from one listening socket. */
typedef struct acceptor {
    hs_ev_io_t io; /* first: callbacks cast */
    pthread_t thread;
    hs_ev_t *ev;
    int listener;
    int accepted;
    int stop; /* set by on_wake, on this acceptor's thread */
} acceptor_t;

static void on_stop(hs_ev_t *ev)
{
    ((acceptor_t *)hs_ev_context(ev))->stop = 1;
}

static void on_connection(hs_ev_t *ev, hs_ev_io_t *io, unsigned events)
{
    (void)ev;
    (void)events;
    acceptor_t *self = (acceptor_t *)io;
    int fd = accept(self->listener, NULL, NULL);
    if (fd == -1)
        return;
    self->accepted++;
    (void)!write(fd, "x", 1);
    close(fd);
}

static void *run_acceptor(void *ud)
{
    acceptor_t *self = ud;
    while (!self->stop && hs_ev_poll(self->ev, -1) >= 0) {
    }
    return NULL;
}

static void acceptors_start(acceptor_t *acceptors, int count, int listener)
{
    for (int i = 0; i < count; i++) {
        acceptor_t *self = &acceptors[i];
        memset(self, 0, sizeof(*self));
        self->listener = listener;
        self->ev = hs_ev_new(self, 4);
        assert_non_null(self->ev);
        hs_ev_on_wake(self->ev, on_stop);
        const unsigned interest = HS_EV_READ | HS_EV_EXCLUSIVE;
        assert_int_equal(hs_ev_io_start(self->ev, &self->io, listener, interest, on_connection), 0);
        assert_int_equal(hs_ev_io_change(self->ev, &self->io, HS_EV_EXCLUSIVE), 0);
        assert_int_equal(hs_ev_io_change(self->ev, &self->io, interest), 0);
        assert_int_equal(pthread_create(&self->thread, NULL, run_acceptor, self), 0);
    }
}

static void every_connection_is_accepted_once_by_exclusive_loops(void **state)
{
    (void)state;
    enum {
        LOOPS = 3,
        CONNECTIONS = 200
    };
    struct sockaddr_in address;
    int listener = listen_on_loopback(&address);
    acceptor_t acceptors[LOOPS];
    acceptors_start(acceptors, LOOPS, listener);
    for (int i = 0; i < CONNECTIONS; i++) {
        int fd = connect_to(&address);
        char byte = 0;
        assert_int_equal(read(fd, &byte, 1), 1);
        close(fd);
    }
    int accepted = 0;
    for (int i = 0; i < LOOPS; i++) {
        hs_ev_wake(acceptors[i].ev);
        assert_int_equal(pthread_join(acceptors[i].thread, NULL), 0);
        hs_ev_io_stop(acceptors[i].ev, &acceptors[i].io);
        hs_ev_free(acceptors[i].ev);
        accepted += acceptors[i].accepted;
    }
    assert_int_equal(accepted, CONNECTIONS);
    close(listener);
}

static void misuse_is_answered(void **state)
{
    (void)state;
    errno = 0;
    assert_null(hs_ev_new(NULL, 0));
    assert_int_equal(errno, EINVAL);
    assert_null(hs_ev_new(NULL, 4097));
    hs_ev_free(NULL);

    counts_t counts;
    hs_ev_t *ev = make_loop(&counts);
    int fds[2];
    make_pair(fds);
    hs_ev_io_t io = { 0 };
    hs_ev_io_stop(ev, &io);
    hs_ev_io_close(ev, &io, NULL); /* never started: must not close descriptor 0 */
    assert_int_not_equal(fcntl(0, F_GETFD), -1);
    assert_int_equal(hs_ev_io_change(ev, &io, HS_EV_READ), -EINVAL);
    assert_int_equal(hs_ev_io_start(ev, &io, -1, HS_EV_READ, on_event), -EINVAL);
    assert_int_equal(hs_ev_io_start(ev, &io, fds[0], HS_EV_HANGUP, on_event), -EINVAL);
    assert_int_equal(hs_ev_io_start(ev, &io, fds[0], HS_EV_READ, NULL), -EINVAL);
    const unsigned clash = HS_EV_READ | HS_EV_PEER_SHUT | HS_EV_EXCLUSIVE;
    assert_int_equal(hs_ev_io_start(ev, &io, fds[0], clash, on_event), -EINVAL);
    int gone = dup(fds[0]);
    close(gone);
    assert_int_equal(hs_ev_io_start(ev, &io, gone, HS_EV_READ | HS_EV_WRITE, on_event), -EBADF);

    assert_int_equal(hs_ev_io_start(ev, &io, fds[0], HS_EV_WRITE, on_event), 0);
    assert_int_equal(hs_ev_io_start(ev, &io, fds[0], HS_EV_WRITE, on_event), -EBUSY);
    assert_int_equal(hs_ev_poll(ev, -1), 1);
    assert_int_equal(counts.nested, -EBUSY);
    hs_ev_io_close(ev, &io, NULL);
    close(fds[1]);
    hs_ev_free(ev);
}

static void a_close_between_polls_is_told_without_waiting(void **state)
{
    (void)state;
    counts_t counts;
    hs_ev_t *ev = make_loop(&counts);
    int fds[2][2];
    hs_ev_io_t watchers[2] = { 0 };
    for (int i = 0; i < 2; i++) {
        make_pair(fds[i]);
        assert_int_equal(hs_ev_io_start(ev, &watchers[i], fds[i][0], HS_EV_READ, on_event), 0);
    }
    counts.chain = &watchers[1];
    hs_ev_io_close(ev, &watchers[0], on_closed);
    assert_int_equal(counts.closed, 0);
    assert_int_equal(hs_ev_poll(ev, -1), 0);
    assert_int_equal(counts.closed, 1);
    assert_int_equal(hs_ev_poll(ev, -1), 0); /* what an on_closed closes is reported next time */
    assert_int_equal(counts.closed, 2);
    assert_int_equal(counts.events, 0);
    close(fds[0][1]);
    close(fds[1][1]);
    hs_ev_free(ev);
}

static void free_tells_what_is_closed_and_keeps_the_rest_open(void **state)
{
    (void)state;
    counts_t counts;
    hs_ev_t *ev = make_loop(&counts);
    int fds[2];
    int more[2];
    make_pair(fds);
    make_pair(more);
    hs_ev_io_t watchers[3] = { 0 };
    const int watched[] = { fds[0], fds[1], more[0] };
    for (int i = 0; i < 3; i++)
        assert_int_equal(hs_ev_io_start(ev, &watchers[i], watched[i], HS_EV_READ, on_event), 0);
    counts.chain = &watchers[1];
    hs_ev_io_close(ev, &watchers[0], on_closed);
    hs_ev_free(ev);
    assert_int_equal(counts.closed, 2);
    assert_int_equal(fcntl(fds[0], F_GETFD), -1);
    assert_int_equal(fcntl(fds[1], F_GETFD), -1);
    assert_int_not_equal(fcntl(more[0], F_GETFD), -1);
    close(more[0]);
    close(more[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_wakes_give_one_on_wake),
        cmocka_unit_test(a_wake_from_on_wake_is_not_lost),
        cmocka_unit_test(a_wake_nobody_asked_for_ends_the_wait),
        cmocka_unit_test(wakes_from_a_thread_arrive_with_what_was_written),
        cmocka_unit_test(wakes_from_several_threads_are_not_lost),
        cmocka_unit_test(a_wake_from_a_signal_handler),
        cmocka_unit_test(a_signal_ends_the_wait),
        cmocka_unit_test(the_timeout_is_waited_for),
        cmocka_unit_test(a_reset_is_a_hangup),
        cmocka_unit_test(every_connection_is_accepted_once_by_exclusive_loops),
        cmocka_unit_test(misuse_is_answered),
        cmocka_unit_test(a_close_between_polls_is_told_without_waiting),
        cmocka_unit_test(free_tells_what_is_closed_and_keeps_the_rest_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
