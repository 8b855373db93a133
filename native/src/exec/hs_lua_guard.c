#include "exec/hs_lua_guard.h"

#include <lauxlib.h>

#include "os/hs_thread.h"

/* How much C stack must remain: LuaJIT's 65 500 slots at 160 bytes each. At most 83 bytes were
 * measured, and frames on 64-bit Arm are larger. */
#define RESERVE ((size_t)10 * 1024 * 1024)

/* The lowest address of the calling thread's stack at which a guarded function may run;
 * UINTPTR_MAX: not known yet. It belongs to the thread, not to a Lua state, because a state is
 * created by one thread and used by another. */
static _Thread_local uintptr_t lowest_allowed = UINTPTR_MAX;

static uintptr_t find_lowest_allowed(void)
{
    uintptr_t lowest;
    size_t size;
    if (!hs_thread_stack(&lowest, &size))
        return 0;
    return lowest + hs_min(RESERVE, size / 4 * 3);
}

static bool has_stack(void)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    if (HS_LIKELY(here >= lowest_allowed))
        return true;
    if (lowest_allowed == UINTPTR_MAX)
        lowest_allowed = find_lowest_allowed();
    return here >= lowest_allowed;
}

/* Upvalues: the library's function and its name. That function is called in this frame, so its
 * messages name the line and the argument as usual. */
static int call_guarded(lua_State *state)
{
    if (HS_UNLIKELY(!has_stack()))
        return luaL_error(state, "C stack overflow: calls of %s are nested too deeply",
                          lua_tostring(state, lua_upvalueindex(2)));
    lua_CFunction function = (lua_CFunction)(uintptr_t)lua_touserdata(state, lua_upvalueindex(1));
    return function(state);
}

/* Replaces `field` of the library on top of the stack. Only functions without upvalues. */
static void guard(lua_State *state, const char *field, const char *name)
{
    lua_getfield(state, -1, field);
    lua_CFunction function = lua_tocfunction(state, -1);
    if (function == NULL || lua_getupvalue(state, -1, 1) != NULL)
        luaL_error(state, "%s of this LuaJIT is not the function that is known", name);
    lua_pop(state, 1);
    lua_pushlightuserdata(state, (void *)(uintptr_t)function);
    lua_pushstring(state, name);
    lua_pushcclosure(state, call_guarded, 2);
    lua_setfield(state, -2, field);
}

int hs_lua_guard_has_stack(lua_State *state)
{
    lua_pushboolean(state, has_stack());
    return 1;
}

void hs_lua_guard_open(lua_State *state)
{
    lua_getglobal(state, "string");
    guard(state, "gsub", "string.gsub");
    lua_getglobal(state, "table");
    guard(state, "sort", "table.sort");
    lua_pushvalue(state, LUA_GLOBALSINDEX);
    guard(state, "load", "load");
    guard(state, "collectgarbage", "collectgarbage");
    lua_pop(state, 3);
}
