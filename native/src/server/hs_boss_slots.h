/*
 * The boss's slots: where connections go, and the pairs that carry them. Thread: the boss's, except
 * atomics.
 */
#pragma once

#include <stdatomic.h>

#include "exec/hs_stats_page.h"
#include "httpserver_supervise.h"
#include "os/hs_ev.h"
#include "os/hs_log.h"
#include "os/hs_pass.h"
#include "server/hs_passage.h"

#define HS_BOSS_LISTENERS_MAX 16
#define UP_UNKNOWN UINT32_MAX

/* A message of moved connections that its slot could not accept. owner: boss */
typedef struct hs_boss_message {
    size_t len;
    size_t fd_count;
    int fds[HS_PASS_FDS];
    char data[];
} hs_boss_message_t;

/* owner: boss */
typedef struct hs_boss_slot {
    hs_ev_io_t watcher; /* first: our end of the pair */
    int inbox;          /* the reactors' end; -1: no pair */
    bool blocked;       /* the pair takes nothing now */
    bool reads;         /* moved connections are taken from the pair */
    unsigned batch_count;
    int batch[HS_PASS_FDS]; /* accepted for this slot, not sent yet */
    hs_boss_message_t *held;
    uint64_t load;        /* connections, as far as this turn knows */
    uint64_t written_off; /* passed, but never counted as taken: see under_way */

    /* The process that is up, UP_UNKNOWN if its number is not known, 0: none. Writer: the
     * supervisor's thread; reader: boss, when it wakes, which replaces a dead process with 0. */
    _Atomic uint32_t up;
    /* Set by the supervisor's thread, cleared by boss. */
    _Atomic bool reclaim;
    /* `up` has changed: a process may have died with connections that it took but never counted.
     * Set by the supervisor's thread, cleared by boss. */
    _Atomic bool recounts;
    /* Writer: boss; reader: any. Relaxed: a number to look at. */
    _Atomic uint64_t passed;
} hs_boss_slot_t;

/* Writer: boss; reader: any. Relaxed: numbers to look at. */
typedef struct hs_boss_tally {
    _Atomic uint64_t accepted;
    _Atomic uint64_t relayed;
    _Atomic uint64_t lost;
    _Atomic uint64_t held;
    _Atomic uint64_t pauses;
} hs_boss_tally_t;

typedef struct hs_boss_slots {
    hs_ev_t *ev;
    hs_log_t *log;
    hs_stats_page_t *stats;
    hs_boss_policy_t policy;
    uint32_t count;
    uint32_t next;    /* round robin goes on here */
    bool needs_retry; /* no event reports that a pair has room */
    hs_boss_tally_t tally;
    hs_boss_slot_t *slots;
    char buffer[HS_PASSAGE_MAX]; /* one message */
} hs_boss_slots_t;

/* Makes the pairs; `slots` is all zero but ev, log, stats, policy, count. */
HS_NODISCARD int hs_boss_slots_open(hs_boss_slots_t *slots, hs_errinfo_t *error);
void hs_boss_slots_close(hs_boss_slots_t *slots);

/* Reads the numbers used by HS_BOSS_LEAST: once before a burst. */
void hs_boss_slots_refresh(hs_boss_slots_t *slots);

/* The slot of the next connection; NULL if no slot is up and has room. */
hs_boss_slot_t *hs_boss_slots_pick(hs_boss_slots_t *slots);

/* Takes an accepted descriptor for a picked slot. */
void hs_boss_slots_add(hs_boss_slots_t *slots, hs_boss_slot_t *slot, int fd);

/* Sends what was added. */
void hs_boss_slots_flush(hs_boss_slots_t *slots);

/* Something changed (a slot went up or down, a pair has room, time has passed): retries everything
 * that waits. */
void hs_boss_slots_resume(hs_boss_slots_t *slots);
