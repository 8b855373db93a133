/*
 * Clocks. Reading one costs a few tens of nanoseconds (vDSO, no system call) and never fails. Any
 * thread. The cheaper CLOCK_MONOTONIC_COARSE is not used: it advances in steps of a scheduler tick
 * (1 to 10 ms), which is longer than the shortest deadlines and than most timed requests.
 */
#pragma once

#include <stdint.h>

/* Monotonic time since an unspecified start. For deadlines and durations. */
uint64_t hs_clock_monotonic_ms(void);
uint64_t hs_clock_monotonic_ns(void);

/* Time since 1970-01-01T00:00:00Z. It jumps when the clock is set: for display, never for
 * deadlines. */
int64_t hs_clock_realtime_s(void);
int64_t hs_clock_realtime_ms(void);
