/*
 * Sockets. Calls that set something up return a descriptor or a negative hs_err_t and say in `err`
 * (may be NULL) what failed, with the address in the text. Calls on the hot path return a result or
 * -errno, retry EINTR themselves and never raise SIGPIPE. Every descriptor made here is
 * non-blocking and close-on-exec. Any thread; the descriptor belongs to the caller.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/hs_err.h"
#include "os/hs_peer.h"

enum {
    HS_SOCK_REUSEPORT =
        1, /* join or open a group that shares the port; the kernel spreads connections (Linux) */
    HS_SOCK_DUAL_STACK = 2, /* an IPv6 wildcard also takes IPv4 */
};

/*
 * Listens on host:port. `host` is an IPv4 or IPv6 literal (no brackets), a name, or "*", "" or NULL
 * for any address: with HS_SOCK_DUAL_STACK that is [::] if this machine has IPv6, else 0.0.0.0. A
 * name listens on the first of its addresses that this machine has. `port` 0 lets the kernel
 * choose: ask hs_sock_local_address. SO_REUSEADDR and TCP_NODELAY are set. Resolving a name may
 * block. Fails with HS_ERR_SYSTEM (sys_errno EADDRINUSE, EACCES, EADDRNOTAVAIL...; 0 if the name
 * cannot be resolved) or HS_ERR_INVALID (backlog, flags).
 */
HS_NODISCARD int hs_sock_listen_tcp(const char *host, uint16_t port, int backlog, unsigned flags,
                                    hs_errinfo_t *err);

/*
 * 0 if no socket listens on host:port, HS_ERR_SYSTEM with EADDRINUSE if one does, even a group
 * opened with SO_REUSEPORT which a second server would silently join. Any address and "::" stand
 * for both families. Nothing stays open, so this is advice: another process may bind next. `port` 0
 * always gives 0.
 */
HS_NODISCARD int hs_sock_probe_tcp(const char *host, uint16_t port, hs_errinfo_t *err);

/*
 * Listens on a Unix socket at `path`, with exactly the permissions `mode` (at most 0777) before the
 * first connection can be made. A socket file without a listener is replaced; a served one is
 * EADDRINUSE; any other file is left alone (ENOTSOCK). The caller removes the file. Fails with
 * HS_ERR_SYSTEM, or HS_ERR_INVALID (empty or too long path, mode, backlog).
 */
HS_NODISCARD int hs_sock_listen_uds(const char *path, unsigned mode, int backlog,
                                    hs_errinfo_t *err);

/* Which file a path names: all zero if none. */
typedef struct hs_sock_file {
    dev_t device;
    ino_t inode;
} hs_sock_file_t;

hs_sock_file_t hs_sock_file_at(const char *path);

/*
 * Removes the file at `path` if it is still `file`: another server's socket, or any other file that
 * has taken its place, stays. Call it while the socket is open, since the inode number of a removed
 * file may be reused.
 */
void hs_sock_remove_file(const char *path, hs_sock_file_t file);

/*
 * The next waiting connection, or: -EAGAIN, none waits; -ECONNABORTED, that one died in the queue
 * (ask again); -EMFILE, -ENFILE, -ENOBUFS, -ENOMEM, no room for it now: it stays queued, so pause
 * before asking again. Where TCP_NODELAY is not inherited from the listening socket it is set here.
 * `peer` receives the address of the other end, which accept reports anyway: no getpeername is
 * needed. NULL: not wanted.
 */
HS_NODISCARD int hs_sock_accept(int listen_fd, hs_peer_t *peer);

/* Where an outbound connection goes: a struct sockaddr of the system. Plain data; copy it freely.
 */
typedef struct hs_sock_endpoint {
    _Alignas(8) unsigned char address[128];
    uint32_t address_len;
} hs_sock_endpoint_t;

/* The endpoint of an IPv4 or IPv6 literal (no brackets; a zone after % is allowed). Never blocks,
 * never queries a name server. HS_ERR_INVALID if `literal` is not one. */
HS_NODISCARD int hs_sock_endpoint_tcp(hs_sock_endpoint_t *endpoint, const char *literal,
                                      uint16_t port);

/* Of an address of the Internet; does nothing for a Unix socket. */
void hs_sock_endpoint_set_port(hs_sock_endpoint_t *endpoint, uint16_t port);

/* 4, 6, or 1 for a Unix socket. */
int hs_sock_endpoint_family(const hs_sock_endpoint_t *endpoint);

/* The endpoint of a Unix socket. HS_ERR_INVALID: the path is empty or too long. */
HS_NODISCARD int hs_sock_endpoint_uds(hs_sock_endpoint_t *endpoint, const char *path);

/*
 * Starts a connection: a descriptor, perhaps still connecting, or -errno (-ECONNREFUSED, -ENOENT,
 * -ENETUNREACH...; -EAGAIN: the backlog of that Unix socket is full, nothing will report when it is
 * not). TCP_NODELAY is set. Wait until it is writable, then ask hs_sock_connect_result.
 */
HS_NODISCARD int hs_sock_connect(const hs_sock_endpoint_t *endpoint);

/* A datagram socket that sends to `endpoint`, an address of the Internet, and receives from nowhere
 * else: the descriptor, or -errno. hs_sock_recv and hs_sock_send transfer one datagram; what does
 * not fit the buffer is lost. */
HS_NODISCARD int hs_sock_connect_udp(const hs_sock_endpoint_t *endpoint);

/* 0: connected; -EINPROGRESS: not yet; else why it failed, which the kernel says only once. */
HS_NODISCARD int hs_sock_connect_result(int fd);

/*
 * Reads into or writes from buffers of which none is empty: recv 1 or 2, send 1 to IOV_MAX. Bytes
 * moved, or -errno (-EAGAIN: wait for readiness). recv: 0 is the end of the stream. The iovecs are
 * left as they are.
 */
HS_NODISCARD ptrdiff_t hs_sock_recv(int fd, struct iovec *iov, int iov_count);
HS_NODISCARD ptrdiff_t hs_sock_send(int fd, struct iovec *iov, int iov_count);

/*
 * hs_sock_send when more bytes will follow at once: TCP may hold back a last partial segment until
 * the next send or sendfile (for at most 200 ms). Only where the kernel has MSG_MORE; elsewhere the
 * same as hs_sock_send.
 */
HS_NODISCARD ptrdiff_t hs_sock_send_more(int fd, struct iovec *iov, int iov_count);

/*
 * Sends at most `len` (> 0) bytes of the regular file `file_fd` from `offset`, without a copy
 * through user memory; the file's own position is left alone. Bytes sent; 0: the file has none at
 * `offset` (it was truncated); or -errno (-EAGAIN: wait for readiness; -EINVAL: this kind of file
 * cannot be sent). Reading the file may wait for the disk.
 */
HS_NODISCARD ptrdiff_t hs_sock_sendfile(int fd, int file_fd, uint64_t offset, size_t len);

/*
 * Bytes still in the send queue, or -errno. TCP: bytes that the peer's system has not acknowledged,
 * so a falling number is progress of the client. Unix sockets: memory of what the peer has not
 * read, more than the bytes themselves.
 */
HS_NODISCARD ptrdiff_t hs_sock_unsent(int fd);

/* 0 or -errno. */
int hs_sock_set_nodelay(int fd);
int hs_sock_shutdown_write(int fd);
int hs_sock_set_cloexec(int fd);
int hs_sock_set_nonblock(int fd);

/* Closes; a negative `fd` is ignored. errno is kept. */
void hs_sock_close(int fd);

/*
 * Two connected AF_UNIX ends that keep message boundaries: SEQPACKET, or DGRAM on macOS, which has
 * no SEQPACKET (there the death of the other end is not an end of stream: it shows as an error of
 * the next send). 0 or -errno; on failure both are -1.
 */
HS_NODISCARD int hs_sock_pair(int fds[2]);

typedef struct hs_sock_address {
    int family;     /* 4, 6, or 1 for a Unix socket */
    uint16_t port;  /* 0 for a Unix socket */
    char text[108]; /* "127.0.0.1", "::1", "fe80::1%2", a path; "" for an unnamed Unix socket;
                       "@name" for abstract */
} hs_sock_address_t;

/* 0 or -errno. An IPv4 peer of a dual-stack socket (::ffff:a.b.c.d) is reported as the IPv4 address
 * it is. */
HS_NODISCARD int hs_sock_local_address(int fd, hs_sock_address_t *out);
HS_NODISCARD int hs_sock_peer_address(int fd, hs_sock_address_t *out);
