/*
 * The source of a server's handlers: a C function, a Lua file or a shared object, behind one
 * factory. Owns copies of the configuration's values. Owner: the server.
 */
#pragma once

#include "exec/hs_generations.h"
#include "exec/hs_lua.h"
#include "exec/hs_module.h"

typedef struct hs_source {
    hs_c_handler_t c_handler;
    hs_module_t module;

    /* Lua: common to all generations. */
    hs_lua_config_t lua;
    char *lua_script;
    char *lua_root;
    hs_generations_t *generations; /* NULL: not Lua */

    hs_handler_factory_t factory; /* refers to the source: which must not move */
} hs_source_t;

/* `app_fd`: hs_config_t.app_fd, borrowed. `metrics` and `shared` outlive the source. */
HS_NODISCARD int hs_source_open(hs_source_t *source, const hs_config_t *config, int app_fd,
                                hs_metrics_t *metrics, hs_shared_set_t *shared, hs_topics_t *topics,
                                hs_log_t *log, hs_errinfo_t *error);

/* hs_generations_prepare for the Lua files behind `app_fd`, which is borrowed. HS_ERR_STATE if the
 * source is not in Lua. */
HS_NODISCARD int hs_source_prepare(hs_source_t *source, int app_fd, hs_generations_done_fn done,
                                   void *context, hs_errinfo_t *error);

/* After the last handler. Returns 1 if a thread is still loading: then the source is never
 * freed. */
uint32_t hs_source_close(hs_source_t *source, uint32_t wait_ms);
