/*
 * A lock in memory shared by processes, which survives its owner: if that process is killed, the
 * next one to take the lock is told, and repairs what the lock protects.
 *
 * Linux: a robust mutex, which the kernel hands on. Elsewhere: a word with the owner's process id,
 * whose existence waiters check. There, if another process gets the id of one killed with the lock,
 * the others wait until it ends, too.
 */
#pragma once

#include <stdatomic.h>

#include "base/hs_base.h"

#if defined(__linux__) && !defined(HS_SHLOCK_WORD)
#include <pthread.h>
#define HS_SHLOCK_IS_ROBUST 1
#else
#define HS_SHLOCK_IS_ROBUST 0
#endif

/* owner: the thread that has taken it */
typedef struct hs_shlock {
#if HS_SHLOCK_IS_ROBUST
    pthread_mutex_t mutex;
#else
    /* Process id, 0: free. Written by compare-and-swap, acquire to take it, release to free it. */
    _Atomic uint32_t process;
#endif
} hs_shlock_t;

typedef enum hs_shlock_taken {
    HS_SHLOCK_TAKEN,
    HS_SHLOCK_ORPHANED, /* taken; the owner before was killed with it */
} hs_shlock_taken_t;

/* Once, before others have the memory. 0 or -errno. */
HS_NODISCARD int hs_shlock_init(hs_shlock_t *lock);

/* Waits. If a process is killed while repairing, the next one gets HS_SHLOCK_ORPHANED again. */
hs_shlock_taken_t hs_shlock_take(hs_shlock_t *lock);
void hs_shlock_release(hs_shlock_t *lock);
