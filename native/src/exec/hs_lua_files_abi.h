/*
 * What C and lua/moonring/static.lua share. One text, as in exec/hs_lua_abi.h; raise
 * HS_LUA_FILES_ABI_VERSION with every change.
 */
#pragma once

#include "exec/hs_lua_abi.h"

#define HS_LUA_FILES_ABI_VERSION 1

/* Only plain declarations inside: no preprocessor, no attributes, under 4095 characters. */
#define HS_LUA_FILES_ABI(...)                                                                      \
    __VA_ARGS__                                                                                    \
    __attribute__((unused)) static const char hs_lua_files_abi_text[] = #__VA_ARGS__;

/* clang-format off */
HS_LUA_FILES_ABI(
typedef struct hs_lua_site_config {
    const char *root;
    const char *indexes[4];
    const char *patterns[32];
    const char *values[32];
    const char *charset;
    const char *extension;
    uint32_t rule_count;
    uint32_t codings;
    uint32_t shows_dotfiles;
} hs_lua_site_config_t;

typedef struct hs_lua_site hs_lua_site_t;

typedef struct hs_lua_files_api {
    uint32_t version;
    uint32_t config_size;
    void *self;
    const char *error;
    const char *listing;
    size_t listing_len;
    hs_lua_site_t *(*open)(void *self, const hs_lua_site_config_t *config);
    void (*close)(hs_lua_site_t *site);
    int (*serve)(hs_lua_site_t *site, hs_view_t *view, uint32_t slashes);
    int (*respond)(hs_lua_site_t *site, hs_view_t *view, const char *path, size_t path_len,
                   const char *type, size_t type_len);
    int (*list)(void *self, hs_lua_site_t *site, hs_view_t *view, uint32_t slashes);
    int (*check)(hs_view_t *view, const char *etag, size_t etag_len, double modified_s);
} hs_lua_files_api_t;
)
/* clang-format on */

/*
 * open      NULL with `error` set
 * serve     for the request's own path behind so many slashes; ends the response: an
 *           hs_static_outcome_t (exec/hs_static.h), or HS_LUA_FILES_METHOD
 * respond   for another path, as it would stand in a request, or without a root a file's name; the
 *           response is built and not ended
 * list      hs_static_list into `listing`: 1 if that is all of it, 0 if not, or negative
 * check     the request's preconditions for a representation with these validators: 0 or the status
 *           that the response is to have. `modified_s` negative: none
 */
#define HS_LUA_FILES_METHOD 100 /* neither GET nor HEAD */
