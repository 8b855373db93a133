/*
 * kqueue's read and write filters on top of epoll, as the manual pages of macOS and FreeBSD
 * describe them for sockets and pipes: two independent filters per descriptor, EV_CLEAR fixed when
 * a filter is added, EV_ADD of an existing filter checks its state again, EV_DELETE of one that
 * does not exist is ENOENT, EV_EOF of the read filter at the peer's shutdown and of the write
 * filter when there is no reader any more. A filter watches a duplicate of its descriptor, because
 * epoll accepts a descriptor only once; therefore it must be deleted, closing the descriptor does
 * not remove it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/event.h>
#include <unistd.h>

enum {
    KNOTE_COUNT = 4096,
    EVENT_COUNT = 64
};

typedef struct knote {
    int kq; /* 0: free */
    int copy;
    unsigned generation; /* distinguishes a new knote from the one fetched before */
    struct kevent set;
} knote_t;

static knote_t knotes[KNOTE_COUNT];
static unsigned next_generation;
static pthread_mutex_t knotes_lock = PTHREAD_MUTEX_INITIALIZER;

/* Index of the filter, of a free place if there is none, or KNOTE_COUNT. */
static int knote_find(int kq, uintptr_t ident, short filter)
{
    int unused = KNOTE_COUNT;
    for (int i = 0; i < KNOTE_COUNT; i++) {
        const knote_t *knote = &knotes[i];
        if (knote->kq == kq && knote->set.ident == ident && knote->set.filter == filter)
            return i;
        if (knote->kq == 0 && unused == KNOTE_COUNT)
            unused = i;
    }
    return unused;
}

static void knote_drop(knote_t *knote)
{
    (void)close(knote->copy);
    knote->kq = 0;
}

int kqueue(void)
{
    int kq = epoll_create1(0);
    (void)pthread_mutex_lock(&knotes_lock);
    for (int i = 0; i < KNOTE_COUNT; i++) /* of a closed one with the same number */
        if (kq > 0 && knotes[i].kq == kq)
            knote_drop(&knotes[i]);
    (void)pthread_mutex_unlock(&knotes_lock);
    return kq;
}

static int knote_epoll(knote_t *knote, int operation)
{
    uint32_t mask = knote->set.filter == EVFILT_READ ? EPOLLIN | EPOLLRDHUP : EPOLLOUT;
    if (knote->set.flags & EV_CLEAR)
        mask |= (uint32_t)EPOLLET;
    struct epoll_event event = { .events = mask };
    event.data.u64 = (uint64_t)knote->generation << 32 | (uint64_t)(knote - knotes);
    return epoll_ctl(knote->kq, operation, knote->copy, &event);
}

static int knote_change(int kq, const struct kevent *change)
{
    int i = knote_find(kq, change->ident, change->filter);
    int exists = i < KNOTE_COUNT && knotes[i].kq == kq;
    if (change->flags & EV_DELETE) {
        errno = ENOENT;
        if (!exists)
            return -1;
        (void)epoll_ctl(kq, EPOLL_CTL_DEL, knotes[i].copy, NULL);
        knote_drop(&knotes[i]);
        return 0;
    }
    errno = ENOMEM;
    if (i == KNOTE_COUNT)
        return -1;
    knote_t *knote = &knotes[i];
    if (exists) {
        knote->set.udata = change->udata;
        return knote_epoll(knote, EPOLL_CTL_MOD);
    }
    int copy = dup((int)change->ident);
    if (copy == -1)
        return -1;
    *knote = (knote_t){ kq, copy, ++next_generation, *change };
    int failed = knote_epoll(knote, EPOLL_CTL_ADD);
    if (failed)
        knote_drop(knote);
    return failed;
}

/* Fills `out` from epoll's events; 0 if there is no event for the filter. */
static int knote_report(const struct epoll_event *event, struct kevent *out)
{
    const knote_t *knote = &knotes[(uint32_t)event->data.u64];
    if (knote->kq == 0 || knote->generation != event->data.u64 >> 32)
        return 0;
    uint32_t ends = EPOLLHUP | EPOLLERR;
    if (knote->set.filter == EVFILT_READ)
        ends |= EPOLLRDHUP;
    *out = knote->set;
    out->flags &= (unsigned short)~EV_ADD;
    if (event->events & ends)
        out->flags |= EV_EOF;
    if (event->events & EPOLLERR)
        out->fflags = ECONNRESET;
    return 1;
}

int kevent(int kq, const struct kevent *changes, int change_count, struct kevent *events,
           int event_count, const struct timespec *timeout)
{
    int failed = 0;
    (void)pthread_mutex_lock(&knotes_lock);
    for (int i = 0; i < change_count && !failed; i++)
        failed = knote_change(kq, &changes[i]);
    (void)pthread_mutex_unlock(&knotes_lock);
    if (failed || event_count == 0)
        return failed;

    struct epoll_event found[EVENT_COUNT];
    int timeout_ms = -1;
    if (timeout != NULL)
        timeout_ms = (int)(timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000);
    int n =
        epoll_wait(kq, found, event_count < EVENT_COUNT ? event_count : EVENT_COUNT, timeout_ms);
    if (n == -1)
        return -1;
    int count = 0;
    (void)pthread_mutex_lock(&knotes_lock);
    for (int i = 0; i < n; i++)
        count += knote_report(&found[i], &events[count]);
    (void)pthread_mutex_unlock(&knotes_lock);
    return count;
}
