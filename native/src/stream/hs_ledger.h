/*
 * The ledger: notes of a loop's thread, in memory that outlives its process, from which another
 * process can tell what each stream owed when this one died (conn/hs_rescue.h).
 *
 * Two things. `by_fd`: which descriptors are connections of this process: set when opened,
 * HS_LEDGER_LEAVING before they are closed or handed over, so that none ever has two owners, and 0
 * once they are closed. `at`: the stream being processed, whose memory may be inconsistent, with
 * what is known to be valid about it.
 *
 * Writer: the loop's thread. Reader: another process, after that thread has died. Relaxed stores:
 * all stores of a dead thread are visible; the fences keep the compiler from reordering them.
 */
#pragma once

#include <stdatomic.h>

#include "base/hs_base.h"

/* What the thread is doing with the current stream, and so what its death means. */
typedef enum hs_stage {
    HS_STAGE_NONE,      /* nothing: it is as it looks */
    HS_STAGE_RECEIVING, /* in recv: the kernel knows how much was received since the note */
    HS_STAGE_SENDING,   /* in send: the kernel knows how much was sent since the note */
    HS_STAGE_READING,   /* no handler has started: everything from the note on can be redone */
    HS_STAGE_ANSWERING, /* a handler has started: after the note the only response is 503 */
    HS_STAGE_CLOSING,   /* nothing is known about it */
} hs_stage_t;

/* What is known to be valid about the current stream. */
typedef struct hs_note {
    uint32_t from; /* ring: the received bytes from here on have no response */
    uint32_t head; /* ... up to here, when `taken` bytes had been received in total */
    uint32_t taken;
    uint32_t given; /* SENDING: total bytes sent when `unsent` bytes remained */
    size_t unsent;  /* this many last bytes of the output chain must be sent */
    size_t mark;    /* except SENDING: the chain ends at this position of its copies */
    size_t room;    /* RECEIVING: this many bytes go to the request's content before the ring */
} hs_note_t;

/* The parts of `at`. */
#define HS_LEDGER_STAGE_BITS 7u
#define HS_LEDGER_SLOT_BIT 8u
#define HS_LEDGER_BITS 15u /* streams lie on cache lines */

/* In by_fd: no connection of this process any more, but its descriptor may still be open. */
#define HS_LEDGER_LEAVING 1u

typedef struct hs_ledger {
    _Atomic uintptr_t at;     /* a stream, the number of its note, a stage */
    hs_note_t notes[2];       /* one is valid while the other is written */
    _Atomic uint32_t fd_high; /* no connection at or above it */
    uint32_t fd_cap;          /* size of by_fd; further ones are not recorded */
    _Atomic uintptr_t by_fd[];
} hs_ledger_t;

static inline void hs_ledger_store(hs_ledger_t *ledger, int fd, uintptr_t value)
{
    if (fd < 0 || (uint32_t)fd >= ledger->fd_cap)
        return;
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&ledger->by_fd[fd], value, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
}

/* From here on `fd` belongs to this stream only. */
static inline void hs_ledger_add(hs_ledger_t *ledger, int fd, const void *stream)
{
    if (fd >= 0 && (uint32_t)fd < ledger->fd_cap &&
        (uint32_t)fd >= atomic_load_explicit(&ledger->fd_high, memory_order_relaxed))
        atomic_store_explicit(&ledger->fd_high, (uint32_t)fd + 1, memory_order_relaxed);
    hs_ledger_store(ledger, fd, (uintptr_t)stream);
}

/* Before it is closed or given away. */
static inline void hs_ledger_remove(hs_ledger_t *ledger, int fd)
{
    hs_ledger_store(ledger, fd, HS_LEDGER_LEAVING);
}

/* It is closed: the next one with this number is new. */
static inline void hs_ledger_forget(hs_ledger_t *ledger, int fd)
{
    hs_ledger_store(ledger, fd, 0);
}

static inline void hs_ledger_set(hs_ledger_t *ledger, uintptr_t at)
{
    atomic_signal_fence(memory_order_seq_cst);
    atomic_store_explicit(&ledger->at, at, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
}

static inline uintptr_t hs_ledger_get(const hs_ledger_t *ledger)
{
    return atomic_load_explicit(&ledger->at, memory_order_relaxed);
}

/* No stream is in hand. */
static inline void hs_ledger_rest(hs_ledger_t *ledger)
{
    hs_ledger_set(ledger, 0);
}

/* The stage changes, the note stays. */
static inline void hs_ledger_move(hs_ledger_t *ledger, hs_stage_t stage)
{
    hs_ledger_set(ledger, (hs_ledger_get(ledger) & ~(uintptr_t)HS_LEDGER_STAGE_BITS) | stage);
}

/* `stream` is being processed, and nothing is known. */
static inline void hs_ledger_touch(hs_ledger_t *ledger, const void *stream)
{
    hs_ledger_set(ledger, (uintptr_t)stream | HS_STAGE_CLOSING);
}

/* Where to write the next note: hs_ledger_put makes it valid. */
static inline hs_note_t *hs_ledger_note(hs_ledger_t *ledger)
{
    bool is_second = (hs_ledger_get(ledger) & HS_LEDGER_SLOT_BIT) != 0;
    return &ledger->notes[is_second ? 0 : 1];
}

static inline void hs_ledger_put(hs_ledger_t *ledger, const void *stream, hs_stage_t stage)
{
    uintptr_t slot = ~hs_ledger_get(ledger) & HS_LEDGER_SLOT_BIT;
    hs_ledger_set(ledger, (uintptr_t)stream | slot | stage);
}
