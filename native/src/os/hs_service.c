#include "os/hs_service.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "os/hs_sock.h"

static int int_option(int fd, int name, int *value)
{
    socklen_t len = sizeof(*value);
    return getsockopt(fd, SOL_SOCKET, name, value, &len) == -1 ? -errno : 0;
}

int hs_service_check_listener(int fd)
{
    int type = 0;
    int listens = 0;
    int result = int_option(fd, SO_TYPE, &type);
    if (result == 0)
        result = int_option(fd, SO_ACCEPTCONN, &listens);
    if (result < 0)
        return result;
    return type == SOCK_STREAM && listens != 0 ? 0 : -EINVAL;
}

int hs_service_notify(const char *path, const char *text)
{
    struct sockaddr_un address;
    memset(&address, 0, sizeof(address));
    address.sun_family = AF_UNIX;
    size_t path_len = strlen(path);
    if (path_len == 0 || path_len >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, path, path_len);
    size_t address_len = offsetof(struct sockaddr_un, sun_path) + path_len;
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    else
        address_len++;

    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd == -1)
        return -errno;
    (void)hs_sock_set_cloexec(fd);
    (void)hs_sock_set_nonblock(fd);
    ptrdiff_t sent = sendto(fd, text, strlen(text), 0, (const struct sockaddr *)&address,
                            (socklen_t)address_len);
    int result = sent == -1 ? -errno : 0;
    hs_sock_close(fd);
    return result;
}
