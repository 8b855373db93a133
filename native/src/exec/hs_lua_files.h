/*
 * Exposes exec/hs_static.h to the FFI of one Lua state, with its file cache.
 *
 * Owner: the thread of the state.
 */
#pragma once

#include "base/hs_err.h"
#include "exec/hs_file_cache.h"
#include "exec/hs_lua_files_abi.h"

/* owner: its Lua state, which holds the address of `api` */
typedef struct hs_lua_sites {
    hs_lua_files_api_t api;
    hs_file_cache_t cache;
    hs_list_t sites;
    hs_buf_t listing;
    hs_errinfo_t *error; /* allocated at first use */
} hs_lua_sites_t;

void hs_lua_sites_init(hs_lua_sites_t *sites);
void hs_lua_sites_free(hs_lua_sites_t *sites);
