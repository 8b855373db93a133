/*
 * A hashed timing wheel with lazy entries. Time is milliseconds from any monotonic clock; the wheel
 * itself reads none. Single-threaded.
 *
 * Deadlines move later far more often than they fire, so the owner keeps the exact deadline and the
 * wheel only the slot to check next: hs_wheel_arm relinks an entry when the deadline moves earlier
 * and is two comparisons otherwise. When a slot comes up, the wheel asks the owner for the current
 * deadline.
 */
#pragma once

#include "data/hs_list.h"

#define HS_WHEEL_TICK_MS 64
#define HS_WHEEL_SLOTS 1024 /* one turn is 65 s; later deadlines are looked at once a turn */

typedef struct hs_wheel_entry {
    hs_list_t link;
    uint64_t
        look_tick; /* the tick at which the wheel looks at this entry; 0 when it is in no slot */
} hs_wheel_entry_t;

typedef struct hs_wheel {
    hs_list_t slots[HS_WHEEL_SLOTS];
    uint64_t tick; /* every slot up to this tick has been looked at */
    uint64_t
        earliest; /* no entry is to be looked at before this tick; UINT64_MAX when none is armed */
    uint32_t armed;
} hs_wheel_t;

/* Called for an entry whose slot came up: returns the current deadline, 0 if there is none any
 * more. */
typedef uint64_t (*hs_wheel_deadline_fn)(hs_wheel_entry_t *entry);
typedef void (*hs_wheel_expired_fn)(void *context, hs_wheel_entry_t *entry);

static inline void hs_wheel_init(hs_wheel_t *wheel, uint64_t now_ms)
{
    for (size_t i = 0; i < HS_WHEEL_SLOTS; i++)
        hs_list_init(&wheel->slots[i]);
    wheel->tick = now_ms / HS_WHEEL_TICK_MS;
    wheel->earliest = UINT64_MAX;
    wheel->armed = 0;
}

static inline void hs_wheel_entry_init(hs_wheel_entry_t *entry)
{
    hs_list_init(&entry->link);
    entry->look_tick = 0;
}

static inline void hs_wheel_disarm(hs_wheel_t *wheel, hs_wheel_entry_t *entry)
{
    if (entry->look_tick == 0)
        return;
    hs_list_remove(&entry->link);
    entry->look_tick = 0;
    wheel->armed--;
}

/* Ensures that the entry is checked when `deadline_ms` has passed, or earlier. */
static inline void hs_wheel_arm(hs_wheel_t *wheel, hs_wheel_entry_t *entry, uint64_t deadline_ms)
{
    /* Rounded up: an entry never fires before its deadline. */
    uint64_t tick = deadline_ms / HS_WHEEL_TICK_MS + 1;
    if (tick <= wheel->tick)
        tick = wheel->tick + 1;
    if (tick > wheel->tick + HS_WHEEL_SLOTS)
        tick = wheel->tick + HS_WHEEL_SLOTS;
    if (entry->look_tick != 0 && entry->look_tick <= tick)
        return;
    hs_wheel_disarm(wheel, entry);
    entry->look_tick = tick;
    hs_list_push_back(&wheel->slots[tick % HS_WHEEL_SLOTS], &entry->link);
    wheel->armed++;
    if (tick < wheel->earliest)
        wheel->earliest = tick;
}

/* Finds the first slot with entries: once per tick that had some, never per turn of a loop. */
static inline void hs_wheel_find_earliest(hs_wheel_t *wheel)
{
    wheel->earliest = UINT64_MAX;
    if (wheel->armed == 0)
        return;
    uint64_t tick = wheel->tick + 1;
    while (hs_list_empty(&wheel->slots[tick % HS_WHEEL_SLOTS]))
        tick++;
    wheel->earliest = tick;
}

/* Checks every slot that has come up by `now_ms` and reports the entries whose deadline has
 * passed. */
static inline void hs_wheel_advance(hs_wheel_t *wheel, uint64_t now_ms,
                                    hs_wheel_deadline_fn deadline_of, hs_wheel_expired_fn expired,
                                    void *context)
{
    uint64_t last = now_ms / HS_WHEEL_TICK_MS;
    if (last < wheel->earliest) {
        if (last > wheel->tick)
            wheel->tick = last;
        return;
    }
    if (last > wheel->tick + HS_WHEEL_SLOTS)
        wheel->tick = last - HS_WHEEL_SLOTS; /* after a long stop one full turn sees every entry */
    while (wheel->tick < last) {
        wheel->tick++;
        hs_list_t due;
        hs_list_init(&due);
        hs_list_take_all(&due, &wheel->slots[wheel->tick % HS_WHEEL_SLOTS]);
        while (!hs_list_empty(&due)) {
            hs_wheel_entry_t *entry = HS_CONTAINER_OF(due.next, hs_wheel_entry_t, link);
            hs_wheel_disarm(wheel, entry);
            uint64_t deadline_ms = deadline_of(entry);
            if (deadline_ms == 0)
                continue;
            if (deadline_ms <= now_ms)
                expired(context, entry);
            else
                hs_wheel_arm(wheel, entry, deadline_ms);
        }
    }
    hs_wheel_find_earliest(wheel);
}

/* How long a poll may sleep: -1 without limit, else milliseconds until a slot with entries may come
 * up.
 */
static inline int hs_wheel_timeout_ms(const hs_wheel_t *wheel, uint64_t now_ms)
{
    if (wheel->armed == 0)
        return -1;
    uint64_t due_ms = wheel->earliest * HS_WHEEL_TICK_MS;
    return due_ms > now_ms ? (int)(due_ms - now_ms) : 0;
}
