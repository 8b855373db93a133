/*
 * What lua/moonring/json.lua asks of C: lua-cjson takes numbers that are no JSON, and bytes that
 * are no UTF-8, so a text is looked at before it is decoded.
 *
 * Functions for Lua, to be called through moonring.native. Thread: that of the state.
 */
#pragma once

#include <lua.h>

/*
 * json_check(text, big_as_strings): the text, where every number is one of JSON and finite, and
 * strings are UTF-8 without control characters; else nil and what is wrong, with its position.
 * Structure, literals and escapes are not looked at. If big_as_strings is true, integers from 2^53
 * on, which a Lua number does not hold exactly, are strings in the text that is returned.
 */
int hs_lua_json_check(lua_State *state);

/* utf8_repair(text): the text, with U+FFFD in place of every byte that is not part of UTF-8. */
int hs_lua_utf8_repair(lua_State *state);
