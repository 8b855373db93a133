/*
 * What C and lua/moonring/ngx*.lua share. One text, as in exec/hs_lua_abi.h; raise
 * HS_LUA_NGX_ABI_VERSION with every change.
 */
#pragma once

#include "exec/hs_lua_abi.h"

#define HS_LUA_NGX_ABI_VERSION 3

/* Only plain declarations inside: no preprocessor, no attributes, under 4095 characters. */
#define HS_LUA_NGX_ABI(...)                                                                        \
    __VA_ARGS__                                                                                    \
    __attribute__((unused)) static const char hs_lua_ngx_abi_text[] = #__VA_ARGS__;

/* clang-format off */
HS_LUA_NGX_ABI(
typedef struct hs_regex {
    const size_t *offsets;
    uint32_t captures;
    uint32_t names;
} hs_regex_t;

typedef struct hs_lua_ngx_api {
    uint32_t version;
    uint32_t port;
    void *regexes;
    hs_regex_t *(*regex_new)(void *regexes, const char *pattern, size_t len, const char *flags,
                             size_t flag_count);
    void (*regex_free)(hs_regex_t *regex);
    int (*regex_match)(void *regexes, hs_regex_t *regex, const char *subject, size_t len,
                       size_t at);
    const char *(*regex_name)(const hs_regex_t *regex, uint32_t index, uint32_t *number);
    const char *(*regex_failure)(void *regexes);
    void (*md5)(const char *data, size_t len, uint8_t *out);
    uint32_t (*peer_port)(hs_view_t *view);
    const char *(*scheme)(hs_view_t *view);
    int (*take_over)(hs_view_t *view, int upgrades);
    const char *(*next_bytes)(hs_view_t *view, uint32_t most);
    int (*drop)(hs_view_t *view, int status);
} hs_lua_ngx_api_t;
)
/* clang-format on */

/*
 * port         of the first listener, 0 if there is none, and on workers
 * regex_…      exec/hs_regex.h; regex_match gives what hs_regex_match does
 * md5          16 bytes
 * peer_port    0 on a Unix socket
 * scheme       "http" or "https"
 * take_over    hs_res_take_over; `upgrades`: a 101 comes first. HS_ERR_INVALID: the content of the
 *              request has not been received
 * next_bytes   what the client has sent since: hs_lua_content_next
 * drop         hs_res_drop
 */
