/*
 * Lua strings sent without copying: a large body is kept in a table of its state until the output
 * chain has sent or dropped it.
 *
 * The table has a fixed number of slots, all initially filled, so neither taking nor clearing one
 * allocates. A string released while Lua is running on the state (the handler replaced its body) is
 * only recorded: the stack of a state must not be touched under compiled code.
 *
 * Owner: the thread of the state, which is the loop's.
 */
#pragma once

#include <lua.h>

#include "exec/hs_job.h"

#define HS_LUA_PINS 256

typedef struct hs_lua_pins {
    lua_State *state;
    int table;    /* in the registry */
    bool running; /* Lua runs on the state */
    uint32_t free_count;
    uint32_t over_count; /* released while Lua ran */
    uint16_t free[HS_LUA_PINS];
    uint16_t over[HS_LUA_PINS];
} hs_lua_pins_t;

/* Pushes the table of the slots. May raise "not enough memory". */
void hs_lua_pins_open(hs_lua_pins_t *pins, lua_State *state);

/* Makes `data`, a Lua string, the body of the response. Returns the slot to put it into,
 * immediately; 0: none is free, copy the string; or a negative hs_err_t. */
int hs_lua_pins_take(hs_lua_pins_t *pins, hs_response_t *response, const char *data, size_t len);

static inline void hs_lua_pins_begin(hs_lua_pins_t *pins)
{
    pins->running = true;
}

void hs_lua_pins_clear_over(hs_lua_pins_t *pins);

/* Lua does not run any more. */
static inline void hs_lua_pins_end(hs_lua_pins_t *pins)
{
    pins->running = false;
    if (HS_UNLIKELY(pins->over_count > 0))
        hs_lua_pins_clear_over(pins);
}

/* Strings still to be sent: the state must not be closed. */
static inline bool hs_lua_pins_in_use(const hs_lua_pins_t *pins)
{
    return pins->free_count + pins->over_count < HS_LUA_PINS;
}
