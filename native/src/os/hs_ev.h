/*
 * hs_ev: a readiness loop for sockets in one header, over epoll (Linux) or kqueue (BSD, macOS).
 *
 * Use: include it anywhere for the declarations, and in exactly one C11 file after
 * `#define HS_EV_IMPLEMENTATION`. That file may first define HS_EV_MALLOC(size) and
 * HS_EV_FREE(pointer), both, and HS_EV_USE_KQUEUE, which takes kqueue where epoll would be taken.
 * Embed an hs_ev_io_t as the first member of the descriptor's owner; callbacks cast it back.
 *
 * One thread owns an hs_ev_t and calls everything here, from inside callbacks or not; only
 * hs_ev_wake may come from other threads and signal handlers. hs_ev_poll does not nest. No globals,
 * no logging, no abort: failures are returned as -errno. There are no timers: the time to the next
 * deadline is the timeout of hs_ev_poll.
 *
 * The memory of a watcher must stay until it is stopped, or closed and its on_closed called. A
 * stopped or closed watcher gets no further callback, not even for an event already fetched in this
 * iteration, whatever its descriptor number becomes meanwhile.
 */
#ifndef HS_EV_H
#define HS_EV_H

enum {
    HS_EV_READ = 1,
    HS_EV_WRITE = 2,
    /* Reported, never requested: an error, or both directions are shut. */
    HS_EV_HANGUP = 4,
    /*
     * The peer has shut its writing side; what it sent before may still wait to be read. Add
     * HS_EV_EDGE if READ is not requested: else epoll reports it again and again, kqueue once.
     */
    HS_EV_PEER_SHUT = 8,
    /* Report changes, not states: read or write until EAGAIN before waiting for the next event. */
    HS_EV_EDGE = 16,
    /* Of the loops watching one listening socket wake few: EPOLLEXCLUSIVE, else ignored. Not with
     * HS_EV_PEER_SHUT. */
    HS_EV_EXCLUSIVE = 32
};

typedef struct hs_ev hs_ev_t;
typedef struct hs_ev_io hs_ev_io_t;

/* `events`: one or more of READ, WRITE, PEER_SHUT as the interest has them now, and HANGUP. */
typedef void (*hs_ev_io_fn)(hs_ev_t *ev, hs_ev_io_t *io, unsigned events);

/* A watcher. All zero before its first start. Owner: the loop's thread. */
struct hs_ev_io {
    int fd;             /* read-only for others; -1 after a close */
    unsigned _interest; /* HS_EV_* requested, and state bits */
    hs_ev_io_fn _on_event;
    hs_ev_io_t *_next_closed;
    void (*_on_closed)(hs_ev_t *ev, hs_ev_io_t *io);
};

/*
 * A new loop that fetches at most `batch` (1 to 4096) events in one iteration. `context` is only
 * handed back by hs_ev_context. NULL with errno set on failure.
 */
hs_ev_t *hs_ev_new(void *context, unsigned batch);

/*
 * Calls the on_closed that are still due (these may close further watchers), then frees the loop.
 * Watchers still started are forgotten; their descriptors stay open and stay their owner's. Not
 * from a callback; NULL is ignored. The caller sees to it that no other thread or signal handler
 * can call hs_ev_wake any more.
 */
void hs_ev_free(hs_ev_t *ev);

void *hs_ev_context(const hs_ev_t *ev);

/*
 * Watches `fd`, which must be non-blocking. 0 or -errno: -EBUSY if the watcher is started, or its
 * on_closed is still due; -EINVAL for a bad interest; else the kernel's reason (-EEXIST: watched
 * already; -EPERM: cannot be; -ENOMEM, -ENOSPC). On failure `fd` is not taken. An interest without
 * READ, WRITE and PEER_SHUT reports nothing, HANGUP neither.
 */
int hs_ev_io_start(hs_ev_t *ev, hs_ev_io_t *io, int fd, unsigned interest, hs_ev_io_fn on_event);

/*
 * Replaces the interest, at once for events already fetched too. The same interest costs nothing;
 * with HS_EV_EDGE it re-arms: what is ready now is reported again. With HS_EV_EXCLUSIVE only
 * between some interest and none. 0 or -errno (-EINVAL: not started, or a bad interest); after a
 * refusal of the kernel less than wanted may be reported: close.
 */
int hs_ev_io_change(hs_ev_t *ev, hs_ev_io_t *io, unsigned interest);

/*
 * No more callbacks; the descriptor stays open. The watcher may be started again, with this
 * descriptor or another, or closed, or its memory reused. Does nothing if it is not started.
 */
void hs_ev_io_stop(hs_ev_t *ev, hs_ev_io_t *io);

/*
 * Stops, and closes the descriptor now. `on_closed` comes once, after the last callback of this
 * iteration (outside of hs_ev_poll: in the next one, which then does not wait): there memory may be
 * reused, or the watcher started again. With `on_closed` NULL there is no callback and that is so
 * at once. Does nothing if it was never started or is closed already.
 */
void hs_ev_io_close(hs_ev_t *ev, hs_ev_io_t *io, void (*on_closed)(hs_ev_t *ev, hs_ev_io_t *io));

/*
 * One iteration: waits at most `timeout_ms` (-1: without limit; 0: not at all) for events, calls
 * back for each, then calls the on_closed that are due. The number of I/O callbacks made (wakes not
 * counted), or -errno. A signal ends the wait early and gives 0. -EBUSY from inside a callback.
 */
int hs_ev_poll(hs_ev_t *ev, int timeout_ms);

/* What to call, on the loop's thread, after hs_ev_wake. NULL: a wake only ends the wait. */
void hs_ev_on_wake(hs_ev_t *ev, void (*on_wake)(hs_ev_t *ev));

/*
 * Makes the current or the next hs_ev_poll call on_wake. Any thread, async-signal-safe, never
 * blocks, keeps errno. Several wakes may give one on_wake, which comes after the last of them: what
 * was written before hs_ev_wake is seen there.
 */
void hs_ev_wake(hs_ev_t *ev);

#endif /* HS_EV_H */

#ifdef HS_EV_IMPLEMENTATION

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#ifndef HS_EV_MALLOC
#include <stdlib.h>
#define HS_EV_MALLOC(size) malloc(size)
#define HS_EV_FREE(pointer) free(pointer)
#endif

#if defined(__linux__) && !defined(HS_EV_USE_KQUEUE)
#define HS_EV__EPOLL 1
#include <sys/epoll.h>
#include <sys/eventfd.h>
typedef struct epoll_event hs_ev__event_t;
#else
#define HS_EV__EPOLL 0
#include <sys/event.h>
typedef struct kevent hs_ev__event_t;
#endif

/* What makes the kernel watch at all, and all that can be requested. */
#define HS_EV__DIRECTIONS ((unsigned)(HS_EV_READ | HS_EV_WRITE | HS_EV_PEER_SHUT))
#define HS_EV__REQUESTS (HS_EV__DIRECTIONS | HS_EV_EDGE | HS_EV_EXCLUSIVE)

/*
 * State bits of hs_ev_io._interest. None: new, or closed and done. STARTED is kept only together
 * with HAS_FD; a stopped watcher keeps HAS_FD so that it can still be closed; CLOSING stands alone.
 */
#define HS_EV__STARTED 0x10000u
#define HS_EV__HAS_FD 0x20000u
#define HS_EV__CLOSING 0x40000u

struct hs_ev {
    int backend_fd;
    int wake_fds[2]; /* to read from and to write to: a pipe, or twice the same eventfd */
    /*
     * 1 from the wake that wrote to wake_fds[1] until the loop has taken it. Written by any
     * thread (hs_ev_wake: 1) and by the loop (0), by exchange with acquire and release: a wake that
     * finds 1 is covered by the on_wake still to come, which then sees what was written before it.
     */
    atomic_int wake_pending;
    int polling; /* 1 while hs_ev_poll calls back */
    hs_ev_io_t wake_io;
    void (*on_wake)(hs_ev_t *ev);
    void *context;
    hs_ev_io_t *closed; /* on_closed is due; the last closed first */
    unsigned batch;
    unsigned next_event; /* of the fetched ones, the first not yet dispatched */
    unsigned event_count;
    hs_ev__event_t events[];
};

/* The backends, each of the same verbs: open, set, wait, event_bits, and HS_EV__OWNER. */
#if HS_EV__EPOLL

#define HS_EV__OWNER(event) ((event)->data.ptr)

static int hs_ev__backend_open(hs_ev_t *ev)
{
    ev->backend_fd = epoll_create1(EPOLL_CLOEXEC);
    if (ev->backend_fd == -1)
        return -errno;
    ev->wake_fds[0] = ev->wake_fds[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return ev->wake_fds[0] == -1 ? -errno : 0;
}

/* Makes the kernel watch for `to` instead of `from`; 0 in either is nothing. */
static int hs_ev__backend_set(hs_ev_t *ev, hs_ev_io_t *io, int fd, unsigned from, unsigned to)
{
    unsigned watched = from & HS_EV__DIRECTIONS;
    unsigned watch = to & HS_EV__DIRECTIONS;
    if (!watched && !watch)
        return 0;
    uint32_t mask = to & HS_EV_READ ? (uint32_t)EPOLLIN : 0;
    mask |= to & HS_EV_WRITE ? (uint32_t)EPOLLOUT : 0;
    mask |= to & HS_EV_PEER_SHUT ? (uint32_t)EPOLLRDHUP : 0;
    mask |= to & HS_EV_EDGE ? (uint32_t)EPOLLET : 0;
    mask |= to & HS_EV_EXCLUSIVE ? (uint32_t)EPOLLEXCLUSIVE : 0;
    struct epoll_event change = { .events = mask, .data.ptr = io };
    int operation = !watched ? EPOLL_CTL_ADD : watch ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
    return epoll_ctl(ev->backend_fd, operation, fd, &change) == -1 ? -errno : 0;
}

static int hs_ev__backend_wait(hs_ev_t *ev, int timeout_ms)
{
    int n = epoll_wait(ev->backend_fd, ev->events, (int)ev->batch, timeout_ms);
    return n == -1 ? -errno : n;
}

static unsigned hs_ev__event_bits(const hs_ev__event_t *event)
{
    uint32_t mask = event->events;
    unsigned bits = mask & EPOLLIN ? HS_EV_READ : 0u;
    bits |= mask & EPOLLOUT ? HS_EV_WRITE : 0u;
    bits |= mask & EPOLLRDHUP ? HS_EV_PEER_SHUT : 0u;
    bits |= mask & (EPOLLHUP | EPOLLERR) ? HS_EV_HANGUP : 0u;
    return bits;
}

#else /* kqueue */

#define HS_EV__OWNER(event) ((event)->udata)

/* A pipe, not EVFILT_USER: write(2) is what POSIX calls async-signal-safe. */
static int hs_ev__backend_open(hs_ev_t *ev)
{
    ev->backend_fd = kqueue();
    if (ev->backend_fd == -1 || pipe(ev->wake_fds) == -1)
        return -errno;
    const int fds[] = { ev->backend_fd, ev->wake_fds[0], ev->wake_fds[1] };
    for (int i = 0; i < 3; i++)
        if (fcntl(fds[i], F_SETFD, FD_CLOEXEC) == -1 ||
            (i > 0 && fcntl(fds[i], F_SETFL, O_NONBLOCK) == -1))
            return -errno;
    return 0;
}

/* The flags with which the filter is added, 0 if it is not wanted. */
static unsigned short hs_ev__kqueue_flags(unsigned interest, int filter)
{
    unsigned reads = interest & (HS_EV_READ | HS_EV_PEER_SHUT);
    if (!(filter == EVFILT_WRITE ? interest & HS_EV_WRITE : reads))
        return 0;
    /* PEER_SHUT alone must not be reported for every byte that is not read: hence edge-triggered.
     */
    int by_edge = (interest & HS_EV_EDGE) || (filter == EVFILT_READ && reads == HS_EV_PEER_SHUT);
    return (unsigned short)(by_edge ? EV_ADD | EV_CLEAR : EV_ADD);
}

/* Makes the kernel watch for `to` instead of `from`; 0 in either is nothing. */
static int hs_ev__backend_set(hs_ev_t *ev, hs_ev_io_t *io, int fd, unsigned from, unsigned to)
{
    const short filters[] = { EVFILT_READ, EVFILT_WRITE };
    hs_ev__event_t changes[4];
    int count = 0;
    for (int i = 0; i < 2; i++) {
        unsigned short old = hs_ev__kqueue_flags(from, filters[i]);
        unsigned short new = hs_ev__kqueue_flags(to, filters[i]);
        /* Adding again does not take EV_CLEAR off everywhere. */
        if (old && old != new)
            EV_SET(&changes[count++], (uintptr_t)fd, filters[i], EV_DELETE, 0, 0, io);
        if (new && (old != new || (to & HS_EV_EDGE)))
            EV_SET(&changes[count++], (uintptr_t)fd, filters[i], new, 0, 0, io);
    }
    if (count == 0 || kevent(ev->backend_fd, changes, count, NULL, 0, NULL) != -1)
        return 0;
    int failed = -errno;
    if (!from && count == 2) { /* a start takes all or nothing */
        changes[0].flags = EV_DELETE;
        (void)kevent(ev->backend_fd, changes, 1, NULL, 0, NULL);
    }
    return failed;
}

static int hs_ev__backend_wait(hs_ev_t *ev, int timeout_ms)
{
    struct timespec time = { timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000L };
    const struct timespec *limit = timeout_ms < 0 ? NULL : &time;
    int n = kevent(ev->backend_fd, NULL, 0, ev->events, (int)ev->batch, limit);
    return n == -1 ? -errno : n;
}

static unsigned hs_ev__event_bits(const hs_ev__event_t *event)
{
    int at_end = event->flags & EV_EOF;
    if (event->filter == EVFILT_WRITE)
        return HS_EV_WRITE | (at_end ? HS_EV_HANGUP : 0u);
    return HS_EV_READ | (at_end ? HS_EV_PEER_SHUT : 0u) |
           (at_end && event->fflags != 0 ? HS_EV_HANGUP : 0u);
}

#endif

/* Drops what is fetched and not yet dispatched for `io`; returns the bits dropped. */
static unsigned hs_ev__take_fetched(hs_ev_t *ev, const hs_ev_io_t *io)
{
    unsigned bits = 0;
    for (unsigned i = ev->next_event; i < ev->event_count; i++) {
        if (HS_EV__OWNER(&ev->events[i]) != (const void *)io)
            continue;
        bits |= hs_ev__event_bits(&ev->events[i]);
        HS_EV__OWNER(&ev->events[i]) = NULL;
    }
    return bits;
}

static void hs_ev__release(hs_ev_t *ev)
{
    if (ev->wake_fds[0] != -1)
        (void)close(ev->wake_fds[0]);
    if (ev->wake_fds[1] != ev->wake_fds[0])
        (void)close(ev->wake_fds[1]);
    if (ev->backend_fd != -1)
        (void)close(ev->backend_fd);
    HS_EV_FREE(ev);
}

/* Takes the wake before telling: one that comes in between is a new one and is not lost. */
static void hs_ev__take_wake(hs_ev_t *ev, hs_ev_io_t *io, unsigned events)
{
    (void)events;
    uint64_t sink;
    while (read(io->fd, &sink, sizeof(sink)) == -1 && errno == EINTR) {
    }
    (void)atomic_exchange_explicit(&ev->wake_pending, 0, memory_order_acq_rel);
    if (ev->on_wake)
        ev->on_wake(ev);
}

/* Calls the on_closed that are due now; what these close is due at the next run. */
static void hs_ev__run_closed(hs_ev_t *ev)
{
    hs_ev_io_t *next = ev->closed;
    ev->closed = NULL;
    while (next) {
        hs_ev_io_t *io = next;
        next = io->_next_closed;
        io->_interest = 0;
        io->_on_closed(ev, io); /* may free io */
    }
}

/* Returns the number of I/O callbacks made. */
static int hs_ev__dispatch(hs_ev_t *ev, unsigned event_count)
{
    int calls = 0;
    ev->event_count = event_count;
    for (ev->next_event = 0; ev->next_event < ev->event_count;) {
        hs_ev__event_t *event = &ev->events[ev->next_event++];
        hs_ev_io_t *io = HS_EV__OWNER(event);
        if (!io)
            continue;
        unsigned bits = hs_ev__event_bits(event);
        if (!HS_EV__EPOLL && (io->_interest & HS_EV_WRITE))
            bits |= hs_ev__take_fetched(ev, io); /* two filters, one callback */
        bits &= (io->_interest & HS_EV__DIRECTIONS) | HS_EV_HANGUP;
        if (!bits || !(io->_interest & HS_EV__DIRECTIONS))
            continue;
        calls += io != &ev->wake_io;
        io->_on_event(ev, io, bits);
    }
    ev->next_event = ev->event_count = 0;
    return calls;
}

hs_ev_t *hs_ev_new(void *context, unsigned batch)
{
    if (batch == 0 || batch > 4096) {
        errno = EINVAL;
        return NULL;
    }
    hs_ev_t *ev = HS_EV_MALLOC(sizeof(hs_ev_t) + batch * sizeof(hs_ev__event_t));
    if (!ev) {
        errno = ENOMEM; /* not every HS_EV_MALLOC says so */
        return NULL;
    }
    memset(ev, 0, sizeof(*ev));
    ev->backend_fd = ev->wake_fds[0] = ev->wake_fds[1] = -1;
    atomic_init(&ev->wake_pending, 0);
    ev->context = context;
    ev->batch = batch;

    int failed = hs_ev__backend_open(ev);
    if (!failed)
        failed = hs_ev_io_start(ev, &ev->wake_io, ev->wake_fds[0], HS_EV_READ, hs_ev__take_wake);
    if (failed) {
        hs_ev__release(ev);
        errno = -failed;
        return NULL;
    }
    return ev;
}

void hs_ev_free(hs_ev_t *ev)
{
    if (!ev)
        return;
    while (ev->closed)
        hs_ev__run_closed(ev);
    hs_ev__release(ev);
}

void *hs_ev_context(const hs_ev_t *ev)
{
    return ev->context;
}

static int hs_ev__is_valid(unsigned interest)
{
    const unsigned clash = HS_EV_EXCLUSIVE | HS_EV_PEER_SHUT;
    return !(interest & ~HS_EV__REQUESTS) && (interest & clash) != clash;
}

int hs_ev_io_start(hs_ev_t *ev, hs_ev_io_t *io, int fd, unsigned interest, hs_ev_io_fn on_event)
{
    if (io->_interest & (HS_EV__STARTED | HS_EV__CLOSING))
        return -EBUSY;
    if (fd < 0 || !on_event || !hs_ev__is_valid(interest))
        return -EINVAL;
    int failed = hs_ev__backend_set(ev, io, fd, 0, interest);
    if (failed)
        return failed;
    io->fd = fd;
    io->_interest = interest | HS_EV__STARTED | HS_EV__HAS_FD;
    io->_on_event = on_event;
    return 0;
}

int hs_ev_io_change(hs_ev_t *ev, hs_ev_io_t *io, unsigned interest)
{
    if (!(io->_interest & HS_EV__STARTED) || !hs_ev__is_valid(interest))
        return -EINVAL;
    unsigned old = io->_interest & HS_EV__REQUESTS;
    if (old == interest && !(interest & HS_EV_EDGE))
        return 0;
    io->_interest = interest | HS_EV__STARTED | HS_EV__HAS_FD;
    return hs_ev__backend_set(ev, io, io->fd, old, interest);
}

/*
 * Removed from the kernel's set even when the descriptor is about to be closed: close(2) does that
 * only for the last copy, and epoll would go on reporting a pointer that dangles. Copies exist for
 * longer than it seems: the master's of inherited listeners, the sender's of a descriptor passed by
 * SCM_RIGHTS until it has closed it, a program's that a handler starts between fork and exec. It
 * costs 0.2 us of a close of 2.3 us.
 */
void hs_ev_io_stop(hs_ev_t *ev, hs_ev_io_t *io)
{
    if (!(io->_interest & HS_EV__STARTED))
        return;
    (void)hs_ev__backend_set(ev, io, io->fd, io->_interest & HS_EV__REQUESTS, 0);
    (void)hs_ev__take_fetched(ev, io);
    io->_interest = HS_EV__HAS_FD;
}

void hs_ev_io_close(hs_ev_t *ev, hs_ev_io_t *io, void (*on_closed)(hs_ev_t *ev, hs_ev_io_t *io))
{
    if (!(io->_interest & HS_EV__HAS_FD))
        return;
    hs_ev_io_stop(ev, io);
    (void)close(io->fd);
    io->fd = -1;
    io->_interest = on_closed ? HS_EV__CLOSING : 0;
    if (!on_closed)
        return;
    io->_on_closed = on_closed;
    io->_next_closed = ev->closed;
    ev->closed = io;
}

int hs_ev_poll(hs_ev_t *ev, int timeout_ms)
{
    if (ev->polling)
        return -EBUSY;
    ev->polling = 1;
    int n = hs_ev__backend_wait(ev, ev->closed ? 0 : timeout_ms);
    int result = n == -EINTR ? 0 : n;
    if (n > 0)
        result = hs_ev__dispatch(ev, (unsigned)n);
    hs_ev__run_closed(ev);
    ev->polling = 0;
    return result;
}

void hs_ev_on_wake(hs_ev_t *ev, void (*on_wake)(hs_ev_t *ev))
{
    ev->on_wake = on_wake;
}

void hs_ev_wake(hs_ev_t *ev)
{
    if (atomic_exchange_explicit(&ev->wake_pending, 1, memory_order_acq_rel))
        return;
    int saved_errno = errno;
    const uint64_t one = 1;
    while (write(ev->wake_fds[1], &one, sizeof(one)) == -1 && errno == EINTR) {
    }
    errno = saved_errno;
}

#endif /* HS_EV_IMPLEMENTATION */
