/*
 * The interface of service managers: inherited listening sockets, and datagrams that report the
 * service's state. Any thread; nothing blocks.
 */
#pragma once

#include "base/hs_base.h"

/* 0 if `fd` is a listening stream socket, else -errno: EINVAL for any other socket. */
HS_NODISCARD int hs_service_check_listener(int fd);

/* Sends `text` to the Unix datagram socket at `path`; `@name` is an abstract one. 0 or -errno. */
HS_NODISCARD int hs_service_notify(const char *path, const char *text);
