/*
 * The C functions behind hs_lua_api_t. They know no lua_State: LuaJIT calls them as plain C through
 * the FFI.
 */
#pragma once

#include "exec/hs_job.h"

void hs_lua_api_init(hs_lua_api_t *api, hs_log_t *log);
