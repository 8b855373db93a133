/*
 * The C functions behind lua/moonring/spans.lua. They know no lua_State. Thread: the state's.
 */
#pragma once

#include "exec/hs_lua_spans_abi.h"

extern const hs_lua_spans_api_t hs_lua_spans_api;
