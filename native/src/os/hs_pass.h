/*
 * Descriptors over an AF_UNIX pair (SCM_RIGHTS): one message carries bytes and up to HS_PASS_FDS
 * descriptors, whole or not at all. Any thread.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/hs_base.h"

#define HS_PASS_FDS 16

/*
 * Sends at least one byte with `fd_count` descriptors, which stay open here. 0 or -errno; then
 * nothing was sent: -EAGAIN (the pair is full: wait until it is writable), -ETOOMANYREFS or
 * -ENOBUFS (too many descriptors are under way: try again later; no event tells when), -EMSGSIZE.
 */
HS_NODISCARD int hs_pass_send(int fd, struct iovec *iov, int iov_count, const int *fds,
                              size_t fd_count);

typedef struct hs_passed {
    size_t len; /* bytes of the message; 0: the other end is closed */
    size_t fd_count;
    int fds[HS_PASS_FDS]; /* close-on-exec; the caller's */
    bool is_cut;          /* this process had no room: bytes or descriptors are lost */
} hs_passed_t;

/* Receives one message into `data`. 0 or -errno (-EAGAIN: none waits). */
HS_NODISCARD int hs_pass_recv(int fd, void *data, size_t size, hs_passed_t *out);

/* True if no message waits at this end of the pair. */
bool hs_pass_is_empty(int fd);

/* How many descriptors this process may have open: RLIMIT_NOFILE. */
size_t hs_pass_descriptor_limit(void);
