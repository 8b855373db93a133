/*
 * What C and lua/moonring/shared.lua share. One text, as in exec/hs_lua_abi.h; raise
 * HS_LUA_SHARED_ABI_VERSION with every change.
 */
#pragma once

#include "base/hs_base.h"

#define HS_LUA_SHARED_ABI_VERSION 2

/* Only plain declarations inside: no preprocessor, no attributes, under 4095 characters. */
#define HS_LUA_SHARED_ABI(...)                                                                     \
    __VA_ARGS__                                                                                    \
    __attribute__((unused)) static const char hs_lua_shared_abi_text[] = #__VA_ARGS__;

/* clang-format off */
HS_LUA_SHARED_ABI(
typedef struct hs_lua_shared_value {
    int type;
    uint32_t flags;
    double number;
    const char *data;
    size_t length;
    bool is_stale;
    char *buffer;
    size_t capacity;
} hs_lua_shared_value_t;

typedef struct hs_lua_dictionary hs_lua_dictionary_t;

typedef struct hs_lua_shared_api {
    uint32_t version;
    uint32_t value_size;
    void *self;
    int result;
    double number;
    double cursor;
    bool was_forced;
    hs_lua_shared_value_t value;
    hs_lua_shared_value_t given;
    hs_lua_shared_value_t expected;
    hs_lua_dictionary_t *(*find)(void *self, const char *name);
    const char *(*name)(void *self, uint32_t number);
    int (*get)(hs_lua_dictionary_t *dictionary, const char *key, size_t len,
               hs_lua_shared_value_t *value);
    int (*get_stale)(hs_lua_dictionary_t *dictionary, const char *key, size_t len,
                     hs_lua_shared_value_t *value);
    int (*store)(struct hs_lua_shared_api *api, hs_lua_dictionary_t *dictionary, int mode,
                 const char *key, size_t len, double ttl_s);
    double (*incr)(struct hs_lua_shared_api *api, hs_lua_dictionary_t *dictionary, const char *key,
                size_t len, double amount, bool has_initial, double initial, double ttl_s);
    int (*cas)(struct hs_lua_shared_api *api, hs_lua_dictionary_t *dictionary, const char *key,
               size_t len, double ttl_s);
    int (*remove)(hs_lua_dictionary_t *dictionary, const char *key, size_t len);
    int (*expire)(hs_lua_dictionary_t *dictionary, const char *key, size_t len, double ttl_s);
    int (*ttl)(struct hs_lua_shared_api *api, hs_lua_dictionary_t *dictionary, const char *key,
               size_t len);
    int (*push)(struct hs_lua_shared_api *api, hs_lua_dictionary_t *dictionary, const char *key,
                size_t len, bool at_head);
    int (*pop)(struct hs_lua_shared_api *api, hs_lua_dictionary_t *dictionary, const char *key,
               size_t len, bool at_head);
    int (*count)(struct hs_lua_shared_api *api, hs_lua_dictionary_t *dictionary, const char *key,
                 size_t len);
    void (*flush_all)(hs_lua_dictionary_t *dictionary);
    double (*flush_expired)(hs_lua_dictionary_t *dictionary, double most);
    double (*scan)(struct hs_lua_shared_api *api, hs_lua_dictionary_t *dictionary, double most);
    double (*capacity)(hs_lua_dictionary_t *dictionary);
    double (*free_space)(hs_lua_dictionary_t *dictionary);
    double (*value_max)(hs_lua_dictionary_t *dictionary);
} hs_lua_shared_api_t;
)
/* clang-format on */

/*
 * hs_lua_shared_value_t   hs_shared_value_t of httpserver.h
 * find, name     NULL if there is none; names are numbered from 0
 * given, expected   what store, cas and push take, written by Lua; type 0 in cas: none
 * value          what pop, scan and get of Lua give
 * number         what ttl (seconds, 0: for ever), push and count give
 * incr           the sum. NaN: see `result`
 * cursor         of scan, before and after
 * ttl_s          seconds, 0: for ever; below 0, in cas: as it was
 * All of it is used by one call at a time. Results, also `result`, are an hs_shared_result_t.
 */
