/*
 * A wake-up for event loops of other processes: a descriptor that any process may signal, and that
 * any number of loops may watch. An eventfd on Linux, which is never read: each signal is a new
 * edge for every loop that watches it (HS_EV_READ | HS_EV_EDGE). A pipe elsewhere, which one of the
 * loops empties, so a second loop may miss a signal.
 *
 * Any thread. Descriptors are close-on-exec and non-blocking.
 */
#pragma once

#include "base/hs_base.h"

/* Descriptors of one: the same twice (then it counts once) or two ends of a pipe. */
#if defined(__linux__)
#define HS_WAKEFD_FDS 1
#else
#define HS_WAKEFD_FDS 2
#endif

/* 0 or -errno. `fds[0]` is watched, the last one is signalled. */
HS_NODISCARD int hs_wakefd_new(int fds[HS_WAKEFD_FDS]);
void hs_wakefd_close(int fds[HS_WAKEFD_FDS]);

/* One system call; never blocks. */
void hs_wakefd_signal(const int fds[HS_WAKEFD_FDS]);

/* On the thread of a loop that watches it, for each event. */
void hs_wakefd_seen(const int fds[HS_WAKEFD_FDS]);

/* Blocks until it is signalled, at most `timeout_ms`. For a descriptor used by only one thread:
 * earlier signals count. */
void hs_wakefd_wait(const int fds[HS_WAKEFD_FDS], int timeout_ms);
