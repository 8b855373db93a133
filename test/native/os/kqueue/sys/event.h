/*
 * The parts of kqueue's <sys/event.h> that hs_ev.h uses, to run its kqueue backend on Linux:
 * kqueue_on_epoll.c. For tests only; real systems have the real header.
 */
#pragma once

#include <stdint.h>
#include <time.h>

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)

#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_CLEAR 0x0020
#define EV_EOF 0x8000

struct kevent {
    uintptr_t ident;
    short filter;
    unsigned short flags;
    unsigned int fflags;
    intptr_t data;
    void *udata;
};

#define EV_SET(event, ident_, filter_, flags_, fflags_, data_, udata_)                             \
    do {                                                                                           \
        struct kevent *event_ = (event);                                                           \
        event_->ident = (ident_);                                                                  \
        event_->filter = (filter_);                                                                \
        event_->flags = (flags_);                                                                  \
        event_->fflags = (fflags_);                                                                \
        event_->data = (data_);                                                                    \
        event_->udata = (udata_);                                                                  \
    } while (0)

int kqueue(void);
int kevent(int kq, const struct kevent *changes, int change_count, struct kevent *events,
           int event_count, const struct timespec *timeout);
