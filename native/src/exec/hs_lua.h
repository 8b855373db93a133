/*
 * A LuaJIT state that runs handle(req, res) of a Lua file.
 *
 * Threads: belongs to one thread at a time; made on the one that sets the server up or on the
 * worker that uses it.
 */
#pragma once

#include "exec/hs_handler.h"
#include "exec/hs_lua_require.h"
#include "exec/hs_metrics.h"

typedef struct hs_lua hs_lua_t;

/* What it points to outlives the state. */
typedef struct hs_lua_config {
    hs_lua_files_t files; /* without a root: the modules that were compiled in */
    hs_log_t *log;
    hs_metrics_t *metrics; /* of the process; NULL: the state's own, which nothing else reads */
    size_t memory_cap;     /* bytes, 0: none */
} hs_lua_config_t;

/* Loads the script. NULL on failure; `error` then names file and line. */
HS_NODISCARD hs_lua_t *hs_lua_new(const hs_lua_config_t *config, hs_errinfo_t *error);
void hs_lua_free(hs_lua_t *lua);

hs_handler_t hs_lua_as_handler(hs_lua_t *lua);

/* Makes a state for each thread. `config` outlives the factory. */
hs_handler_factory_t hs_lua_factory(hs_lua_config_t *config);

/* "LuaJIT 2.1.…", a static string. */
const char *hs_lua_version(void);
