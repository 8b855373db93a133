/*
 * Sockets for a supervisor: listening groups that it opens and passes to its reactors, and pairs
 * whose end of file tells them that it died. All descriptors are non-blocking and close-on-exec;
 * the caller owns them. Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where a listener was bound. */
typedef struct hs_bound {
    int family;        /* 4 or 6 */
    uint16_t port;     /* the one chosen by the system if 0 was requested */
    char address[108]; /* numeric, without port */
} hs_bound_t;

/*
 * Opens `count` listening TCP sockets on one address that share its port (SO_REUSEPORT): one for
 * each reactor; the kernel distributes connections over them. Refuses an address that is already in
 * use, also by another such group. 0, or a negative number; then no socket is open, `sys_errno`
 * holds the reason and `error` a message.
 */
int hs_socket_listen_group(const char *host, uint16_t port, int backlog, int *fds, size_t count,
                           hs_bound_t *bound, int *sys_errno, char *error, size_t error_size);

/*
 * Opens one more socket for an open group: `host` and `port` as the group was bound. The
 * descriptor, or a negative number as hs_socket_listen_group.
 */
int hs_socket_join_group(const char *host, uint16_t port, int backlog, int *sys_errno, char *error,
                         size_t error_size);

/*
 * Listens on a Unix socket, with exactly the permissions `mode`. A stale socket file is replaced.
 * The caller removes the file. The descriptor, or a negative number.
 */
int hs_socket_listen_unix(const char *path, unsigned mode, int backlog, int *sys_errno, char *error,
                          size_t error_size);

/*
 * Makes an inherited listening socket (socket activation) non-blocking and close-on-exec, and
 * reports its address. 0, or -errno: EINVAL if it does not listen.
 */
int hs_socket_adopt(int fd, hs_bound_t *bound);

/*
 * Sends one datagram to the Unix socket at `path`; `@name` is an abstract one. For service
 * managers: "READY=1". 0 or -errno; never blocks.
 */
int hs_socket_notify(const char *path, const char *text);

/* A connected pair (AF_UNIX, message boundaries kept). 0 or -errno. */
int hs_socket_pair(int fds[2]);

/* Sends a descriptor through a pair; the caller keeps its copy. 0 or -errno; never blocks. */
int hs_socket_send_descriptor(int pair_fd, int fd);

/* Receives the next descriptor, close-on-exec, or -errno: -EAGAIN if there is none. */
int hs_socket_receive_descriptor(int pair_fd);

/* Sets FD_CLOEXEC on an inherited descriptor. 0 or -errno. */
int hs_socket_set_cloexec(int fd);

/* Closes; negative numbers are ignored. */
void hs_socket_close(int fd);

#ifdef __cplusplus
}
#endif
