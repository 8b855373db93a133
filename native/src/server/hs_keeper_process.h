/*
 * The keeper's process (server/hs_keeper.h). It was cloned from a multi-threaded process, so it
 * takes no lock, allocates nothing, and calls only functions that need neither.
 */
#pragma once

#include <pthread.h>

#include "conn/hs_rescue.h"
#include "os/hs_log.h"
#include "server/hs_keeper.h"

/* Its name in ps. */
#define HS_KEEPER_NAME "moonring-keeper"

/* In the memory that both share. */
typedef struct hs_life {
    pthread_mutex_t mutex; /* robust; held by the I/O thread as long as it may touch a connection */
    _Atomic int io_thread; /* its number; 0: none yet */
    _Atomic int is_parked; /* the I/O thread has stopped permanently */
} hs_life_t;

/* All that the process needs, in its own memory. */
typedef struct hs_keeper_task {
    hs_rescue_view_t view;
    _Atomic int *life_word; /* the futex of the mutex */
    int inbox_fd;
    int log_fd;    /* -1: none but stderr */
    int vmstat_fd; /* /proc/vmstat; -1: none */
    uint16_t ports[HS_KEEPER_PORTS];
    hs_log_level_t log_level;
    int reactor_index;
    uint32_t reactor_pid;
} hs_keeper_task_t;

/* Does not return. */
_Noreturn void hs_keeper_process(const hs_keeper_task_t *task);
