#include "exec/hs_lua_memory.h"

/* What may be used above the cap to report that it was reached. */
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

void hs_lua_memory_release(hs_lua_memory_t *memory, lua_State *state)
{
    if (memory->cap != 0)
        lua_setallocf(state, memory->allocate, memory->allocate_ud);
}
