/*
 * How long a thread has been busy with one task, sampled by another thread. Time without samples
 * counts little: while the whole process was stopped (SIGSTOP, a frozen cgroup, a suspended
 * machine) the watched thread could not work either. Pure: time is an argument.
 */
#pragma once

#include "base/hs_base.h"

/* When to sample, and how much a sample counts. owner: the watchdog's thread */
typedef struct hs_looks {
    uint32_t interval_ms; /* between samples, without delays */
    uint64_t last_ms;     /* 0: never */
} hs_looks_t;

/* The time since the previous sample, without any delay beyond one interval. */
static inline uint64_t hs_looks_next(hs_looks_t *looks, uint64_t now_ms)
{
    uint64_t gap_ms = looks->last_ms == 0 ? 0 : now_ms - looks->last_ms;
    looks->last_ms = now_ms;
    return hs_min(gap_ms, 2 * (uint64_t)looks->interval_ms);
}

/* The observations of one thread. owner: the watchdog's thread */
typedef struct hs_watched {
    const void *task;
    uint32_t count; /* distinguishes two tasks at one address */
    uint64_t for_ms;
    bool is_reported;
} hs_watched_t;

/* The thread is at `task` (NULL: none), `elapsed_ms` after the previous sample. Returns for how
 * long.
 */
static inline uint64_t hs_watched_look(hs_watched_t *watched, const void *task, uint32_t count,
                                       uint64_t elapsed_ms)
{
    if (task == NULL || task != watched->task || count != watched->count)
        *watched = (hs_watched_t){ .task = task, .count = count };
    else
        watched->for_ms += elapsed_ms;
    return watched->for_ms;
}
