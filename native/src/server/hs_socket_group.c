#include "httpserver_socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "os/hs_pass.h"
#include "os/hs_service.h"
#include "os/hs_sock.h"

static int report(const hs_errinfo_t *info, int *sys_errno, char *error, size_t error_size)
{
    *sys_errno = info->sys_errno;
    snprintf(error, error_size, "%s", info->text);
    return info->code;
}

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hs_sock_close(fds[i]);
}

static int describe(int fd, hs_bound_t *bound, hs_errinfo_t *info)
{
    hs_sock_address_t address;
    int result = hs_sock_local_address(fd, &address);
    if (result < 0)
        return hs_errinfo_set(info, HS_ERR_SYSTEM, -result, "cannot ask for the bound address: %s",
                              strerror(-result));
    *bound = (hs_bound_t){ .family = address.family, .port = address.port };
    memcpy(bound->address, address.text, sizeof(bound->address));
    return HS_OK;
}

int hs_socket_listen_group(const char *host, uint16_t port, int backlog, int *fds, size_t count,
                           hs_bound_t *bound, int *sys_errno, char *error, size_t error_size)
{
    hs_errinfo_t info = { 0 };
    /* Two groups of one user could silently share a port: the probe refuses the second.
     */
    if (hs_sock_probe_tcp(host, port, &info) < 0)
        return report(&info, sys_errno, error, error_size);
    for (size_t i = 0; i < count; i++) {
        unsigned flags = HS_SOCK_REUSEPORT | HS_SOCK_DUAL_STACK;
        fds[i] = hs_sock_listen_tcp(host, i == 0 ? port : bound->port, backlog, flags, &info);
        if (fds[i] < 0 || (i == 0 && describe(fds[0], bound, &info) < 0)) {
            close_all(fds, fds[i] < 0 ? i : i + 1);
            return report(&info, sys_errno, error, error_size);
        }
    }
    return HS_OK;
}

int hs_socket_join_group(const char *host, uint16_t port, int backlog, int *sys_errno, char *error,
                         size_t error_size)
{
    hs_errinfo_t info = { 0 };
    unsigned flags = HS_SOCK_REUSEPORT | HS_SOCK_DUAL_STACK;
    int fd = hs_sock_listen_tcp(host, port, backlog, flags, &info);
    return fd < 0 ? report(&info, sys_errno, error, error_size) : fd;
}

int hs_socket_listen_unix(const char *path, unsigned mode, int backlog, int *sys_errno, char *error,
                          size_t error_size)
{
    hs_errinfo_t info = { 0 };
    int fd = hs_sock_listen_uds(path, mode, backlog, &info);
    return fd < 0 ? report(&info, sys_errno, error, error_size) : fd;
}

int hs_socket_adopt(int fd, hs_bound_t *bound)
{
    int result = hs_service_check_listener(fd);
    if (result == 0)
        result = hs_sock_set_nonblock(fd);
    if (result == 0)
        result = hs_sock_set_cloexec(fd);
    if (result < 0)
        return result;
    hs_sock_address_t address;
    result = hs_sock_local_address(fd, &address);
    if (result < 0)
        return result;
    *bound = (hs_bound_t){ .family = address.family, .port = address.port };
    memcpy(bound->address, address.text, sizeof(bound->address));
    return 0;
}

int hs_socket_notify(const char *path, const char *text)
{
    return hs_service_notify(path, text);
}

int hs_socket_pair(int fds[2])
{
    return hs_sock_pair(fds);
}

int hs_socket_send_descriptor(int pair_fd, int fd)
{
    char byte = 0;
    return hs_pass_send(pair_fd, &(struct iovec){ &byte, 1 }, 1, &fd, 1);
}

int hs_socket_receive_descriptor(int pair_fd)
{
    char byte;
    hs_passed_t passed;
    int result = hs_pass_recv(pair_fd, &byte, 1, &passed);
    if (result < 0)
        return result;
    for (size_t i = 1; i < passed.fd_count; i++)
        hs_sock_close(passed.fds[i]);
    if (passed.fd_count > 0)
        return passed.fds[0];
    return passed.is_cut ? -EMFILE : -EPIPE;
}

int hs_socket_set_cloexec(int fd)
{
    return hs_sock_set_cloexec(fd);
}

void hs_socket_close(int fd)
{
    hs_sock_close(fd);
}
