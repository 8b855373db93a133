/*
 * C functions for lua/moonring/ngx*.lua besides the runtime: regular expressions, MD5, and ports.
 *
 * Owner: the thread of the state.
 */
#pragma once

#include "exec/hs_regex.h"
#include "httpserver.h"

/* owner: its Lua state, which holds the address of `api` */
typedef struct hs_lua_ngx {
    hs_lua_ngx_api_t api;
    hs_regexes_t regexes;
} hs_lua_ngx_t;

void hs_lua_ngx_init(hs_lua_ngx_t *ngx);
/* When the state is closed: no regex is left. */
void hs_lua_ngx_free(hs_lua_ngx_t *ngx);

/* nginx functions that OpenResty's libraries call through the FFI (resty.string), under the names
 * they expect. */
HS_HANDLER_EXPORT unsigned char *ngx_hex_dump(unsigned char *out, const unsigned char *data,
                                              size_t len);
/* The number in `len` digits, -1 if they are not digits, or too many. */
HS_HANDLER_EXPORT intptr_t ngx_atoi(const unsigned char *digits, size_t len);
