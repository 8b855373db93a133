#include "exec/hs_lua_memory.h"

/* Memory above the cap for reporting that it was reached. */
#define RESERVE (256 * 1024)

static void *count_and_allocate(void *ud, void *block, size_t old_size, size_t new_size)
{
    hs_lua_memory_t *memory = ud;
    if (new_size > old_size) {
        size_t limit = memory->cap + (memory->refused ? RESERVE : 0);
        if (memory->used + (new_size - old_size) > limit) {
            memory->refused = true;
            return NULL;
        }
    }
    void *result = memory->allocate(memory->allocate_ud, block, old_size, new_size);
    if (result != NULL || new_size == 0)
        memory->used += new_size - old_size;
    return result;
}

void hs_lua_memory_limit(hs_lua_memory_t *memory, lua_State *state, size_t cap)
{
    *memory = (hs_lua_memory_t){ .cap = cap };
    if (cap == 0)
        return;
    memory->allocate = lua_getallocf(state, &memory->allocate_ud);
    memory->used =
        (size_t)lua_gc(state, LUA_GCCOUNT, 0) * 1024 + (size_t)lua_gc(state, LUA_GCCOUNTB, 0);
    lua_setallocf(state, count_and_allocate, memory);
}

static int collect_all(lua_State *state)
{
    (void)lua_gc(state, LUA_GCCOLLECT, 0);
    return 0;
}

/* Continues the cycle that a finalizer interrupted. */
static int finish_cycle(lua_State *state)
{
    while (lua_gc(state, LUA_GCSTEP, 0) == 0)
        continue;
    return 0;
}

void hs_lua_memory_collect(hs_lua_memory_t *memory, lua_State *state)
{
    size_t cap = memory->cap;
    memory->cap = 2 * cap;
    /* A second time, for memory used by finalizers the first time. */
    for (int round = 0; round < 2; round++) {
        lua_CFunction step = collect_all;
        while (lua_cpcall(state, step, NULL) != 0) {
            lua_pop(state, 1);
            step = finish_cycle;
            /* A finalizer may have used everything up, and the next call needs some. */
            if (memory->cap < memory->used + RESERVE)
                memory->cap = memory->used + RESERVE;
        }
        if (memory->used < cap / 2)
            break;
    }
    memory->cap = cap;
    memory->refused = false;
}

void hs_lua_memory_release(hs_lua_memory_t *memory, lua_State *state)
{
    if (memory->cap != 0)
        lua_setallocf(state, memory->allocate, memory->allocate_ud);
}
