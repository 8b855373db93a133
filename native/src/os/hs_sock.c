#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* accept4 */
#endif

#include "os/hs_sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/sockios.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <time.h>

#include "os/hs_thread.h"
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: SO_NOSIGPIPE is set on every socket instead */
#endif
#ifndef MSG_MORE
#define MSG_MORE 0
#endif

#define HS_SOCK_UNIX_PATH_CAP sizeof(((struct sockaddr_un *)0)->sun_path)

typedef union hs_sock_any {
    struct sockaddr base;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
    struct sockaddr_storage storage;
} hs_sock_any_t;

/* An address on its way to be bound, with its name for error texts. */
typedef struct hs_sock_target {
    hs_sock_any_t address;
    socklen_t address_len;
    char text[300]; /* host:port or [host]:port */
} hs_sock_target_t;

static const char *hs_sock_reason(int sys_errno, char *buffer, size_t size)
{
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
    return strerror_r(sys_errno, buffer, size);
#else
    return strerror_r(sys_errno, buffer, size) == 0 ? buffer : "unknown error";
#endif
}

static int hs_sock_fail(hs_errinfo_t *err, const char *step, const char *address, int sys_errno)
{
    char buffer[128];
    return hs_errinfo_set(err, HS_ERR_SYSTEM, sys_errno, "cannot %s %s: %s", step, address,
                          hs_sock_reason(sys_errno, buffer, sizeof(buffer)));
}

static int hs_sock_set_option(int fd, int level, int option)
{
    const int on = 1;
    return setsockopt(fd, level, option, &on, sizeof(on)) == -1 ? -errno : 0;
}

int hs_sock_set_nodelay(int fd)
{
    return hs_sock_set_option(fd, IPPROTO_TCP, TCP_NODELAY);
}

int hs_sock_shutdown_write(int fd)
{
    return shutdown(fd, SHUT_WR) == -1 ? -errno : 0;
}

int hs_sock_set_cloexec(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    return flags == -1 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) == -1 ? -errno : 0;
}

int hs_sock_set_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1 ? -errno : 0;
}

void hs_sock_close(int fd)
{
    int saved_errno = errno;
    if (fd >= 0)
        (void)close(fd); /* never retried, EINTR or not: the number may have been reused by then */
    errno = saved_errno;
}

#if defined(SOCK_NONBLOCK) && defined(SOCK_CLOEXEC)
#define HS_SOCK_BORN_WITH (SOCK_NONBLOCK | SOCK_CLOEXEC)
#define HS_SOCK_ACCEPT(fd, address, len) accept4(fd, address, len, HS_SOCK_BORN_WITH)

/* What socket() or accept() returned, as a descriptor with all its properties or -errno. */
static int hs_sock_adopt(int fd)
{
    return fd == -1 ? -errno : fd;
}
#else /* macOS */
#define HS_SOCK_BORN_WITH 0
#define HS_SOCK_ACCEPT(fd, address, len) accept(fd, address, len)

static int hs_sock_adopt(int fd)
{
    if (fd == -1)
        return -errno;
    int failed = hs_sock_set_nonblock(fd);
    if (!failed)
        failed = hs_sock_set_cloexec(fd);
#ifdef SO_NOSIGPIPE
    if (!failed)
        failed = hs_sock_set_option(fd, SOL_SOCKET, SO_NOSIGPIPE);
#endif
    if (failed)
        hs_sock_close(fd);
    return failed ? failed : fd;
}
#endif

static int hs_sock_new(int family)
{
    return hs_sock_adopt(socket(family, SOCK_STREAM | HS_SOCK_BORN_WITH, 0));
}

static bool hs_sock_is_any(const char *host)
{
    return host == NULL || host[0] == '\0' || strcmp(host, "*") == 0;
}

/* Binds a new socket to `target`. It or -errno. */
static int hs_sock_bind_one(const hs_sock_target_t *target, unsigned flags)
{
    int family = target->address.base.sa_family;
    int fd = hs_sock_new(family);
    if (fd < 0)
        return fd;
    int failed = hs_sock_set_option(fd, SOL_SOCKET, SO_REUSEADDR);
#ifdef SO_REUSEPORT_LB /* FreeBSD: its SO_REUSEPORT does not spread connections */
    const int reuse_port = SO_REUSEPORT_LB;
#else
    const int reuse_port = SO_REUSEPORT;
#endif
    if (!failed && (flags & HS_SOCK_REUSEPORT))
        failed = hs_sock_set_option(fd, SOL_SOCKET, reuse_port);
    if (!failed)
        failed = hs_sock_set_nodelay(fd);
    if (!failed && family == AF_INET6) {
        const int v6_only = (flags & HS_SOCK_DUAL_STACK) == 0;
        if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only)) == -1)
            failed = -errno;
    }
    if (!failed && bind(fd, &target->address.base, target->address_len) == -1)
        failed = -errno;
    if (failed)
        hs_sock_close(fd);
    return failed ? failed : fd;
}

/* The address is not available on this machine, but another of the same name may be. */
static bool hs_sock_is_absent(int negative_errno)
{
    return negative_errno == -EADDRNOTAVAIL || negative_errno == -EAFNOSUPPORT;
}

static void hs_sock_target_name(hs_sock_target_t *target, const char *host, uint16_t port)
{
    bool is_v6 = strchr(host, ':') != NULL;
    (void)snprintf(target->text, sizeof(target->text), "%s%.255s%s:%u", is_v6 ? "[" : "", host,
                   is_v6 ? "]" : "", (unsigned)port);
}

/* Binds the wildcard address. */
static int hs_sock_bind_any(uint16_t port, unsigned flags, hs_sock_target_t *target)
{
    memset(target, 0, sizeof(*target));
    hs_sock_target_name(target, "*", port);
    if (flags & HS_SOCK_DUAL_STACK) {
        target->address.v6.sin6_family = AF_INET6;
        target->address.v6.sin6_port = htons(port);
        target->address_len = sizeof(target->address.v6);
        int fd = hs_sock_bind_one(target, flags);
        if (!hs_sock_is_absent(fd))
            return fd;
        memset(&target->address, 0, sizeof(target->address));
    }
    target->address.v4.sin_family = AF_INET;
    target->address.v4.sin_port = htons(port);
    target->address_len = sizeof(target->address.v4);
    return hs_sock_bind_one(target, flags);
}

/* Binds a literal, or the first address of a name that this machine has. */
static int hs_sock_bind_host(const char *host, uint16_t port, unsigned flags,
                             hs_sock_target_t *target, hs_errinfo_t *err)
{
    hs_sock_target_name(target, host, port);
    struct addrinfo hints;
    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    char service[8];
    (void)snprintf(service, sizeof(service), "%u", (unsigned)port);
    struct addrinfo *found = NULL;
    int unresolved = getaddrinfo(host, service, &hints, &found);
    if (unresolved)
        return hs_errinfo_set(err, HS_ERR_SYSTEM, unresolved == EAI_SYSTEM ? errno : 0,
                              "cannot resolve %s: %s", target->text, gai_strerror(unresolved));
    int fd = -EADDRNOTAVAIL;
    for (struct addrinfo *item = found; item != NULL && hs_sock_is_absent(fd);
         item = item->ai_next) {
        HS_ASSERT(item->ai_addrlen <= sizeof(target->address));
        memcpy(&target->address, item->ai_addr, item->ai_addrlen);
        target->address_len = item->ai_addrlen;
        fd = hs_sock_bind_one(target, flags);
    }
    freeaddrinfo(found);
    return fd >= 0 ? fd : hs_sock_fail(err, "listen on", target->text, -fd);
}

/* A bound socket or hs_err_t. */
static int hs_sock_bind(const char *host, uint16_t port, unsigned flags, hs_sock_target_t *target,
                        hs_errinfo_t *err)
{
    if (!hs_sock_is_any(host))
        return hs_sock_bind_host(host, port, flags, target, err);
    int fd = hs_sock_bind_any(port, flags, target);
    return fd >= 0 ? fd : hs_sock_fail(err, "listen on", target->text, -fd);
}

int hs_sock_listen_tcp(const char *host, uint16_t port, int backlog, unsigned flags,
                       hs_errinfo_t *err)
{
    if (backlog < 1 || (flags & ~(unsigned)(HS_SOCK_REUSEPORT | HS_SOCK_DUAL_STACK)) != 0)
        return hs_errinfo_set(err, HS_ERR_INVALID, 0, "backlog %d or flags %#x out of range",
                              backlog, flags);
    hs_sock_target_t target;
    int fd = hs_sock_bind(host, port, flags, &target, err);
    if (fd < 0)
        return fd;
    if (listen(fd, backlog) == 0)
        return fd;
    int failed = errno;
    hs_sock_close(fd);
    return hs_sock_fail(err, "listen on", target.text, failed);
}

int hs_sock_probe_tcp(const char *host, uint16_t port, hs_errinfo_t *err)
{
    if (port == 0)
        return HS_OK;
    /* SO_REUSEADDR stays on: connections in TIME_WAIT are not a listener, a listener still refuses.
     */
    hs_sock_target_t target;
    int fd = hs_sock_bind(host, port, HS_SOCK_DUAL_STACK, &target, err);
    if (fd < 0)
        return fd;
    hs_sock_close(fd);
    return HS_OK;
}

/* 0 if no process listens behind a socket file, else -errno: EADDRINUSE if one does. */
static int hs_sock_uds_probe(const hs_sock_any_t *address, socklen_t address_len)
{
    int fd = hs_sock_new(AF_UNIX);
    if (fd < 0)
        return fd;
    int failed = connect(fd, &address->base, address_len) == -1 ? errno : 0;
    hs_sock_close(fd);
    switch (failed) {
    case 0:
    case EAGAIN: /* its backlog is full */
    case EINPROGRESS:
    case EPROTOTYPE: /* it speaks datagrams */
        return -EADDRINUSE;
    case ECONNREFUSED:
    case ENOENT:
        return 0;
    default:
        return -failed;
    }
}

/* Removes the socket file that a dead server left. 0 or -errno; no file is fine. */
static int hs_sock_uds_clear(const hs_sock_any_t *address, socklen_t address_len)
{
    struct stat file;
    if (lstat(address->un.sun_path, &file) == -1)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(file.st_mode))
        return -ENOTSOCK;
    int served = hs_sock_uds_probe(address, address_len);
    if (served)
        return served;
    return unlink(address->un.sun_path) == -1 && errno != ENOENT ? -errno : 0;
}

int hs_sock_listen_uds(const char *path, unsigned mode, int backlog, hs_errinfo_t *err)
{
    size_t path_len = strlen(path);
    if (path_len == 0 || path_len >= HS_SOCK_UNIX_PATH_CAP)
        return hs_errinfo_set(err, HS_ERR_INVALID, ENAMETOOLONG,
                              "a socket path has 1 to %zu bytes: %s", HS_SOCK_UNIX_PATH_CAP - 1,
                              path);
    if (mode > 0777 || backlog < 1)
        return hs_errinfo_set(err, HS_ERR_INVALID, 0, "mode %#o or backlog %d out of range", mode,
                              backlog);
    hs_sock_any_t address;
    memset(&address, 0, sizeof(address));
    address.un.sun_family = AF_UNIX;
    memcpy(address.un.sun_path, path, path_len + 1);
    const socklen_t address_len = sizeof(address.un);

    int failed = hs_sock_uds_clear(&address, address_len);
    if (failed)
        return hs_sock_fail(err, "listen on", path, -failed);
    int fd = hs_sock_new(AF_UNIX);
    if (fd < 0)
        return hs_sock_fail(err, "make a socket for", path, -fd);
    if (bind(fd, &address.base, address_len) == -1) {
        failed = errno;
        hs_sock_close(fd);
        return hs_sock_fail(err, "listen on", path, failed);
    }
    /* No client can connect before listen(), so the permissions are never wider than asked. */
    if (chmod(path, (mode_t)mode) == -1 || listen(fd, backlog) == -1) {
        failed = errno;
        hs_sock_close(fd);
        (void)unlink(path);
        return hs_sock_fail(err, "listen on", path, failed);
    }
    return fd;
}

hs_sock_file_t hs_sock_file_at(const char *path)
{
    struct stat file;
    if (lstat(path, &file) == -1)
        return (hs_sock_file_t){ 0 };
    return (hs_sock_file_t){ .device = file.st_dev, .inode = file.st_ino };
}

void hs_sock_remove_file(const char *path, hs_sock_file_t file)
{
    hs_sock_file_t now = hs_sock_file_at(path);
    if (now.inode != 0 && now.inode == file.inode && now.device == file.device)
        (void)unlink(path);
}

/* Errors of a connection reported by accept(2); the listening socket is fine. */
static bool hs_sock_is_of_connection(int sys_errno)
{
    switch (sys_errno) {
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case EPERM: /* a firewall rule */
#ifdef ENONET
    case ENONET:
#endif
        return true;
    default:
        return false;
    }
}

int hs_sock_accept(int listen_fd, hs_peer_t *peer)
{
    hs_sock_any_t address;
    int fd;
    do {
        socklen_t len = sizeof(address);
        address.base.sa_family = AF_UNSPEC; /* macOS leaves it so if the peer is gone already */
        fd = HS_SOCK_ACCEPT(listen_fd, peer != NULL ? &address.base : NULL,
                            peer != NULL ? &len : NULL);
    } while (fd == -1 && errno == EINTR);
    if (fd == -1)
        return hs_sock_is_of_connection(errno) ? -ECONNABORTED : -errno;
#ifndef __linux__
    fd = hs_sock_adopt(fd);
    if (fd < 0)
        return -ECONNABORTED;      /* macOS refuses options of a connection reset meanwhile */
    (void)hs_sock_set_nodelay(fd); /* fails on a Unix socket, which has no delay */
#endif
    if (peer != NULL)
        *peer = hs_peer_from(&address.base);
    return fd;
}

int hs_sock_endpoint_tcp(hs_sock_endpoint_t *endpoint, const char *literal, uint16_t port)
{
    memset(endpoint, 0, sizeof(*endpoint));
    struct addrinfo hints;
    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    char service[8];
    (void)snprintf(service, sizeof(service), "%u", (unsigned)port);
    struct addrinfo *found = NULL;
    if (getaddrinfo(literal, service, &hints, &found) != 0)
        return HS_ERR_INVALID;
    HS_ASSERT(found->ai_addrlen <= sizeof(endpoint->address));
    memcpy(endpoint->address, found->ai_addr, found->ai_addrlen);
    endpoint->address_len = (uint32_t)found->ai_addrlen;
    freeaddrinfo(found);
    return HS_OK;
}

void hs_sock_endpoint_set_port(hs_sock_endpoint_t *endpoint, uint16_t port)
{
    hs_sock_any_t *address = (hs_sock_any_t *)(void *)endpoint->address;
    if (address->base.sa_family == AF_INET)
        address->v4.sin_port = htons(port);
    else if (address->base.sa_family == AF_INET6)
        address->v6.sin6_port = htons(port);
}

int hs_sock_endpoint_family(const hs_sock_endpoint_t *endpoint)
{
    const struct sockaddr *address = (const struct sockaddr *)(const void *)endpoint->address;
    if (address->sa_family == AF_UNIX)
        return 1;
    return address->sa_family == AF_INET6 ? 6 : 4;
}

int hs_sock_endpoint_uds(hs_sock_endpoint_t *endpoint, const char *path)
{
    memset(endpoint, 0, sizeof(*endpoint));
    size_t path_len = strlen(path);
    if (path_len == 0 || path_len >= HS_SOCK_UNIX_PATH_CAP)
        return HS_ERR_INVALID;
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)endpoint->address;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, path_len + 1);
    endpoint->address_len = sizeof(*un);
    return HS_OK;
}

int hs_sock_connect(const hs_sock_endpoint_t *endpoint)
{
    const struct sockaddr *address = (const struct sockaddr *)(const void *)endpoint->address;
    int fd = hs_sock_new(address->sa_family);
    if (fd < 0)
        return fd;
    if (address->sa_family != AF_UNIX)
        (void)hs_sock_set_nodelay(fd);
    /* An interrupted connect continues asynchronously, like one in progress. */
    if (connect(fd, address, (socklen_t)endpoint->address_len) == 0 || errno == EINPROGRESS ||
        errno == EINTR)
        return fd;
    int failed = -errno;
    hs_sock_close(fd);
    return failed;
}

int hs_sock_connect_udp(const hs_sock_endpoint_t *endpoint)
{
    const struct sockaddr *address = (const struct sockaddr *)(const void *)endpoint->address;
    int fd = hs_sock_adopt(socket(address->sa_family, SOCK_DGRAM | HS_SOCK_BORN_WITH, 0));
    if (fd < 0)
        return fd;
    if (connect(fd, address, (socklen_t)endpoint->address_len) == 0)
        return fd;
    int failed = -errno;
    hs_sock_close(fd);
    return failed;
}

int hs_sock_connect_result(int fd)
{
    int failed = 0;
    socklen_t len = sizeof(failed);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) == -1)
        return -errno;
    if (failed)
        return -failed;
    hs_sock_any_t address; /* a connection in progress has no error, and no peer either */
    len = sizeof(address);
    if (getpeername(fd, &address.base, &len) == 0)
        return 0;
    return errno == ENOTCONN ? -EINPROGRESS : -errno;
}

ptrdiff_t hs_sock_recv(int fd, struct iovec *iov, int iov_count)
{
    HS_ASSERT(iov_count >= 1 && iov[0].iov_len > 0);
    ssize_t n;
    do {
        n = iov_count == 1 ? recv(fd, iov->iov_base, iov->iov_len, 0) : readv(fd, iov, iov_count);
    } while (n == -1 && errno == EINTR);
    return n == -1 ? -errno : n;
}

static ptrdiff_t hs_sock_send_flags(int fd, struct iovec *iov, int iov_count, int flags)
{
    HS_ASSERT(iov_count >= 1 && iov[0].iov_len > 0);
    struct msghdr message;
    memset(&message, 0, sizeof(message));
    message.msg_iov = iov;
    message.msg_iovlen = (__typeof__(message.msg_iovlen))iov_count;
    ssize_t n;
    do {
        n = iov_count == 1 ? send(fd, iov->iov_base, iov->iov_len, flags)
                           : sendmsg(fd, &message, flags);
    } while (n == -1 && errno == EINTR);
    return n == -1 ? -errno : n;
}

ptrdiff_t hs_sock_send(int fd, struct iovec *iov, int iov_count)
{
    return hs_sock_send_flags(fd, iov, iov_count, MSG_NOSIGNAL);
}

ptrdiff_t hs_sock_send_more(int fd, struct iovec *iov, int iov_count)
{
    return hs_sock_send_flags(fd, iov, iov_count, MSG_NOSIGNAL | MSG_MORE);
}

#ifdef __linux__
static ptrdiff_t send_file(int fd, int file_fd, uint64_t offset, size_t len)
{
    ssize_t n;
    do {
        off_t position = (off_t)offset;
        n = sendfile(fd, file_fd, &position, len);
    } while (n == -1 && errno == EINTR);
    return n == -1 ? -errno : n;
}

/*
 * sendfile(2) has no MSG_NOSIGNAL, and a library must not change what the program does on SIGPIPE:
 * the signal is blocked during the call and, if the call raised it, consumed before it is
 * unblocked. On our own threads it is blocked anyway, and stays pending without effect.
 */
ptrdiff_t hs_sock_sendfile(int fd, int file_fd, uint64_t offset, size_t len)
{
    HS_ASSERT(len > 0);
    if (hs_thread_is_own())
        return send_file(fd, file_fd, offset, len);
    sigset_t pipe_signal;
    sigset_t before;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    ptrdiff_t result = send_file(fd, file_fd, offset, len);
    if (sigismember(&before, SIGPIPE) == 0) {
        const struct timespec at_once = { 0, 0 };
        if (result == -EPIPE)
            (void)sigtimedwait(&pipe_signal, NULL, &at_once);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    return result;
}

ptrdiff_t hs_sock_unsent(int fd)
{
    int bytes = 0;
    return ioctl(fd, SIOCOUTQ, &bytes) == -1 ? -errno : bytes;
}
#else /* macOS */
ptrdiff_t hs_sock_sendfile(int fd, int file_fd, uint64_t offset, size_t len)
{
    HS_ASSERT(len > 0);
    for (;;) {
        off_t sent = (off_t)len; /* in: at most; out: what was sent, with an error too */
        if (sendfile(file_fd, fd, (off_t)offset, &sent, NULL, 0) == 0 || sent > 0)
            return (ptrdiff_t)sent;
        if (errno != EINTR)
            return -errno;
    }
}

ptrdiff_t hs_sock_unsent(int fd)
{
    int bytes = 0;
    socklen_t len = sizeof(bytes);
    return getsockopt(fd, SOL_SOCKET, SO_NWRITE, &bytes, &len) == -1 ? -errno : bytes;
}
#endif

int hs_sock_pair(int fds[2])
{
#ifdef __APPLE__
    const int type = SOCK_DGRAM;
#else
    const int type = SOCK_SEQPACKET;
#endif
    int ends[2];
    fds[0] = fds[1] = -1;
    if (socketpair(AF_UNIX, type | HS_SOCK_BORN_WITH, 0, ends) == -1)
        return -errno;
    int first = hs_sock_adopt(ends[0]);
    int second = hs_sock_adopt(ends[1]);
    if (first < 0 || second < 0) {
        hs_sock_close(first);
        hs_sock_close(second);
        return first < 0 ? first : second;
    }
    fds[0] = first;
    fds[1] = second;
    return 0;
}

static void hs_sock_name_v6(const struct sockaddr_in6 *v6, hs_sock_address_t *out)
{
    out->port = ntohs(v6->sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        out->family = 4;
        (void)inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], out->text, sizeof(out->text));
        return;
    }
    out->family = 6;
    (void)inet_ntop(AF_INET6, &v6->sin6_addr, out->text, sizeof(out->text));
    size_t len = strlen(out->text);
    if (v6->sin6_scope_id != 0)
        (void)snprintf(out->text + len, sizeof(out->text) - len, "%%%u",
                       (unsigned)v6->sin6_scope_id);
}

static void hs_sock_name_unix(const struct sockaddr_un *un, size_t address_len,
                              hs_sock_address_t *out)
{
    const size_t head_len = offsetof(struct sockaddr_un, sun_path);
    size_t len = address_len > head_len ? address_len - head_len : 0;
    bool is_abstract = len > 1 && un->sun_path[0] == '\0' && un->sun_path[1] != '\0';
    size_t skip = is_abstract ? 1 : 0;
    out->family = 1;
    (void)snprintf(out->text, sizeof(out->text), "%s%.*s", is_abstract ? "@" : "",
                   (int)(len - skip), un->sun_path + skip);
}

static int hs_sock_name(const hs_sock_any_t *address, socklen_t len, hs_sock_address_t *out)
{
    memset(out, 0, sizeof(*out));
    switch (address->base.sa_family) {
    case AF_INET:
        out->family = 4;
        out->port = ntohs(address->v4.sin_port);
        (void)inet_ntop(AF_INET, &address->v4.sin_addr, out->text, sizeof(out->text));
        return 0;
    case AF_INET6:
        hs_sock_name_v6(&address->v6, out);
        return 0;
    case AF_UNIX:
        hs_sock_name_unix(&address->un, len, out);
        return 0;
    default:
        return -EAFNOSUPPORT;
    }
}

int hs_sock_local_address(int fd, hs_sock_address_t *out)
{
    hs_sock_any_t address;
    socklen_t len = sizeof(address);
    memset(&address, 0, sizeof(address));
    if (getsockname(fd, &address.base, &len) == -1)
        return -errno;
    return hs_sock_name(&address, len, out);
}

int hs_sock_peer_address(int fd, hs_sock_address_t *out)
{
    hs_sock_any_t address;
    socklen_t len = sizeof(address);
    memset(&address, 0, sizeof(address));
    if (getpeername(fd, &address.base, &len) == -1)
        return -errno;
    return hs_sock_name(&address, len, out);
}
