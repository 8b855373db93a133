/*
 * A LuaJIT state that runs handle(req, res) of a Lua file.
 *
 * Threads: belongs to one thread at a time; created on the one that sets up the server or on the
 * worker that uses it.
 */
#pragma once

#include "exec/hs_handler.h"
#include "exec/hs_lua_require.h"
#include "exec/hs_metrics.h"
#include "exec/hs_topics.h"
#include "httpserver.h"
#include "shared/hs_shared_set.h"

typedef struct hs_lua hs_lua_t;

/* The objects it points to outlive the state. */
typedef struct hs_lua_config {
    hs_lua_files_t files; /* without a root: the built-in modules */
    hs_log_t *log;
    hs_metrics_t *metrics;   /* of the process; NULL: private to the state */
    hs_shared_set_t *shared; /* memory available by name; NULL: none */
    hs_topics_t *topics;     /* of the process; NULL: the state's own */
    size_t memory_cap;       /* bytes, 0: none */
    hs_lua_compat_t compat;
    bool error_pages; /* hs_config_t.lua_error_pages */
} hs_lua_config_t;

/* Loads the script. NULL on failure; `error` then names file and line. */
HS_NODISCARD hs_lua_t *hs_lua_new(const hs_lua_config_t *config, hs_errinfo_t *error);
void hs_lua_free(hs_lua_t *lua);

hs_handler_t hs_lua_as_handler(hs_lua_t *lua);

/* Makes a state for each thread. `config` outlives the factory. */
hs_handler_factory_t hs_lua_factory(hs_lua_config_t *config);

/* "LuaJIT 2.1.…", a static string. */
const char *hs_lua_version(void);

/* Whether loops compiled by LuaJIT can be interrupted too (exec/hs_lua_interrupt.h): determined by
 * running one. Any thread. */
bool hs_lua_interrupts_compiled(void);
