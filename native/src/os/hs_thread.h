/*
 * Threads of the server. They take no signals: those belong to the thread that runs the program.
 */
#pragma once

#include <pthread.h>

#include "base/hs_base.h"
#include "base/hs_cond.h"
#include "base/hs_err.h"

typedef enum hs_thread_kind {
    HS_THREAD_IO,   /* serves descriptors */
    HS_THREAD_WORK, /* computes: yields to I/O threads if the system supports it */
} hs_thread_kind_t;

/*
 * Starts `run(argument)` on a new thread called `name` (at most 15 bytes are shown), with
 * HS_STACK_BYTES of stack. 0, or HS_ERR_SYSTEM. To be joined.
 */
HS_NODISCARD int hs_thread_start(pthread_t *thread, hs_thread_kind_t kind, const char *name,
                                 void *(*run)(void *argument), void *argument, hs_errinfo_t *error);

/* Whether hs_thread_start started the calling thread: all signals but those of faults are blocked.
 */
bool hs_thread_is_own(void);

/*
 * Tells the system the role of the calling thread, if supported: an I/O thread that shares a core
 * with workers is then not delayed by them, nor preempted by those it wakes.
 */
void hs_thread_become(hs_thread_kind_t kind);

/* The stack of the calling thread, from its lowest address. False if unknown. */
bool hs_thread_stack(uintptr_t *lowest, size_t *size);

/* The calling thread's id as shown by the system. */
unsigned long hs_thread_id(void);

/* Processors that this process may use, at least 1. */
int hs_thread_cpu_count(void);

/* The time `ms` from now, for hs_cond_wait_until. */
hs_deadline_t hs_thread_time_in(uint32_t ms);
