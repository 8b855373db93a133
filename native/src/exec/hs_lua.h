/*
 * A LuaJIT state that runs handle(req, res) of a Lua file.
 *
 * Threads: belongs to one thread at a time; made on the one that sets the server up, used on the
 * one that handles requests, freed when that one has ended.
 */
#pragma once

#include "exec/hs_dispatch.h"

typedef struct hs_lua hs_lua_t;

typedef struct hs_lua_config {
    const char *script; /* path of the handler file */
    const char *root;   /* directory that holds moonring/(name).lua */
    hs_log_t *log;      /* outlives the state */
} hs_lua_config_t;

/* Loads the script. NULL on failure; `error` then names file and line. */
HS_NODISCARD hs_lua_t *hs_lua_new(const hs_lua_config_t *config, hs_errinfo_t *error);
void hs_lua_free(hs_lua_t *lua);

hs_handler_t hs_lua_as_handler(hs_lua_t *lua);

/* "LuaJIT 2.1.…", a static string. */
const char *hs_lua_version(void);
