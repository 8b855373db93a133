/*
 * The kernel's byte counts for a socket whose owner has died. Makes only system calls: for a
 * process that may do nothing else.
 */
#pragma once

#include "base/hs_base.h"

/*
 * How many bytes the owner of a TCP socket has received (`*taken`) and passed for sending
 * (`*given`) since it was connected, modulo 2^32. False: not such a socket, no longer connected, or
 * the system does not count.
 */
HS_NODISCARD bool hs_sock_totals(int fd, uint32_t *taken, uint32_t *given);
