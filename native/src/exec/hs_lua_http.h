/*
 * The C functions behind moonring.http. They know no lua_State: LuaJIT calls them as plain C
 * through the FFI, on the thread of the state.
 */
#pragma once

#include "exec/hs_lua_http_abi.h"

extern const hs_lua_http_api_t hs_lua_http_api;
