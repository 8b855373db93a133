/*
 * Which processor a thread runs on.
 */
#pragma once

#include "base/hs_base.h"

/*
 * Binds the calling thread to the `index`-th processor (modulo their number) available to this
 * process. The processor's number, -ENOTSUP if threads cannot be bound (macOS), or another -errno.
 */
int hs_os_pin(unsigned index);

/* Lets the calling thread run wherever the main thread may, if possible. */
void hs_os_unpin(void);
