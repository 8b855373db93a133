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

/* The wall clock less the monotonic one. `before` is an earlier result (0: there is none): it stays
 * unless the clock was set or has drifted, so that times made with results that follow each other
 * are in order. A time made with it is not in the future. */
int64_t hs_clock_real_offset_ms(int64_t before);
