#include "exec/hs_lua_pins.h"

#include "data/hs_kept.h"

/* Content up to this size is copied if connections survive their process. */
#define KEPT_MAX (64 * 1024)

#include <lauxlib.h>

#include "exec/hs_res.h"

void hs_lua_pins_open(hs_lua_pins_t *pins, lua_State *state)
{
    pins->state = state;
    lua_createtable(state, HS_LUA_PINS, 0);
    for (int slot = 1; slot <= HS_LUA_PINS; slot++) {
        lua_pushboolean(state, 0);
        lua_rawseti(state, -2, slot);
    }
    lua_pushvalue(state, -1);
    pins->table = luaL_ref(state, LUA_REGISTRYINDEX);
    for (uint32_t i = 0; i < HS_LUA_PINS; i++)
        pins->free[i] = (uint16_t)(HS_LUA_PINS - i);
    pins->free_count = HS_LUA_PINS;
}

static void clear(hs_lua_pins_t *pins, uint16_t slot)
{
    lua_rawgeti(pins->state, LUA_REGISTRYINDEX, pins->table);
    lua_pushboolean(pins->state, 0);
    lua_rawseti(pins->state, -2, slot);
    lua_pop(pins->state, 1);
    pins->free[pins->free_count++] = slot;
}

void hs_lua_pins_clear_over(hs_lua_pins_t *pins)
{
    while (pins->over_count > 0)
        clear(pins, pins->over[--pins->over_count]);
}

static void release(void *context, uintptr_t token)
{
    hs_lua_pins_t *pins = context;
    if (pins->running)
        pins->over[pins->over_count++] = (uint16_t)token;
    else
        clear(pins, (uint16_t)token);
}

int hs_lua_pins_take(hs_lua_pins_t *pins, hs_response_t *response, const char *data, size_t len)
{
    /* Copied content can be sent even after this process died (server/hs_keeper.h). */
    if (pins->free_count == 0 || (hs_kept_is_open && len <= KEPT_MAX))
        return 0;
    uint16_t slot = pins->free[pins->free_count - 1];
    int result =
        hs_res_pin_body(response, hs_span(data, len), (hs_release_t){ release, pins, slot });
    if (result != HS_OK)
        return result;
    pins->free_count--;
    return slot;
}
