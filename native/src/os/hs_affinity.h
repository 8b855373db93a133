/*
 * Which processor a thread runs on.
 */
#pragma once

#include "base/hs_base.h"

/*
 * Binds the calling thread to the `index`-th processor (modulo their number) of those that this
 * process may use. The processor's number, -ENOTSUP where threads cannot be bound (macOS), or
 * another -errno.
 */
int hs_os_pin(unsigned index);

/* The calling thread may run wherever the main thread may, if that can be had. */
void hs_os_unpin(void);
