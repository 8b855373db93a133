/*
 * C functions for lua/moonring/json.lua: lua-cjson accepts numbers that are not JSON, and bytes
 * that are not UTF-8, so a text is checked before it is decoded.
 *
 * Functions for Lua, to be called through moonring.native. Thread: that of the state.
 */
#pragma once

#include <lua.h>

/*
 * json_check(text, big_as_strings): the text, if every number is valid JSON and finite, and strings
 * are UTF-8 without control characters; else nil and what is wrong, with its position. Structure,
 * literals and escapes are not checked. If big_as_strings is true, integers from 2^53 on, which are
 * not exact as Lua numbers, are strings in the returned text.
 */
int hs_lua_json_check(lua_State *state);

/* utf8_repair(text): the text, with U+FFFD in place of every byte that is not part of UTF-8. */
int hs_lua_utf8_repair(lua_State *state);
