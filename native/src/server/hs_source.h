/*
 * Where a server's handlers come from: a C function, a Lua file or a shared object, behind one
 * maker. Owns copies of what the configuration named. Owner: the server.
 */
#pragma once

#include "exec/hs_lua.h"
#include "exec/hs_module.h"

typedef struct hs_source {
    hs_c_handler_t c_handler;
    hs_lua_config_t lua;
    char *lua_script;
    char *lua_root;
    hs_module_t module;
    hs_handler_maker_t maker; /* refers to the source: which must not move */
} hs_source_t;

HS_NODISCARD int hs_source_open(hs_source_t *source, const hs_config_t *config, hs_log_t *log,
                                hs_errinfo_t *error);
void hs_source_close(hs_source_t *source);
