/*
 * What C and lua/moonring/spans.lua share. One text, as in exec/hs_lua_abi.h; raise
 * HS_LUA_SPANS_ABI_VERSION with every change.
 */
#pragma once

#include "exec/hs_lua_abi.h"

#define HS_LUA_SPANS_ABI_VERSION 1

/* Only plain declarations inside: no preprocessor, no attributes, under 4095 characters. */
#define HS_LUA_SPANS_ABI(...)                                                                      \
    __VA_ARGS__                                                                                    \
    __attribute__((unused)) static const char hs_lua_spans_abi_text[] = #__VA_ARGS__;

/* clang-format off */
HS_LUA_SPANS_ABI(
typedef struct hs_lua_span {
    void *log;
    uint64_t begun_us;
    uint32_t in_worker;
    char traceparent[56];
    char parent_id[17];
} hs_lua_span_t;

typedef struct hs_lua_spans_api {
    uint32_t version;
    uint32_t span_size;
    int (*begin)(hs_lua_request_t *request, hs_lua_span_t *span);
    void (*finish)(const hs_lua_span_t *span, const char *members, size_t len);
} hs_lua_spans_api_t;
)
/* clang-format on */

/*
 * begin    1: the request is sampled, and `span` is filled in, a child of the request's span; 0:
 *          it is not, or spans are off, or there is no request
 * finish   the call is over: writes the span. `members`: those of a JSON object, without braces.
 *          On the thread of `begin`; the request may be over
 */
