/*
 * How C notifies Lua of events: ids that tasks wait for, collected during the events of a turn and
 * taken by the scheduler (lua/moonring/scheduler.lua) right afterwards. C never calls Lua for an
 * event.
 *
 * Owner: the thread of the state.
 */
#pragma once

#include "base/hs_alloc.h"
#include "exec/hs_lua_abi.h"

/* Offsets from hs_view_t.wake: events of a request. */
enum {
    HS_LUA_WAKE_ABORT = 0,
    HS_LUA_WAKE_CONTENT = 1,
    HS_LUA_WAKE_DRAINED = 2,
};

/* Resumes the task that waits for `id`, or will wait for it next. Without memory the wake is lost;
 * waiters have a deadline. */
static inline void hs_lua_wake(hs_lua_wakes_t *wakes, uint32_t id)
{
    if (wakes->count == wakes->capacity) {
        uint32_t capacity = wakes->capacity > 0 ? 2 * wakes->capacity : 64;
        uint32_t *ids = hs_realloc(wakes->ids, capacity * sizeof(*ids));
        if (ids == NULL)
            return;
        wakes->ids = ids;
        wakes->capacity = capacity;
    }
    wakes->ids[wakes->count++] = id;
}

static inline void hs_lua_wakes_free(hs_lua_wakes_t *wakes)
{
    hs_free(wakes->ids);
    *wakes = (hs_lua_wakes_t){ 0 };
}
