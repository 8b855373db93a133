/*
 * What C and lua/moonring/http_response.lua share: the parser of responses and
 * the decoder of compressed content. One text, as in
 * exec/hs_lua_abi.h; raise HS_LUA_HTTP_ABI_VERSION with every change.
 */
#pragma once

#include "base/hs_base.h"

#define HS_LUA_HTTP_ABI_VERSION 2

/* Only plain declarations inside: no preprocessor, no attributes, under 4095 characters. */
#define HS_LUA_HTTP_ABI(...)                                                                       \
    __VA_ARGS__                                                                                    \
    __attribute__((unused)) static const char hs_lua_http_abi_text[] = #__VA_ARGS__;

/* clang-format off */
HS_LUA_HTTP_ABI(
typedef struct hs_lua_reply {
    uint32_t status;
    uint32_t reusable;
    uint64_t content_length;
    size_t taken;
    size_t head_len;
    size_t content_len;
    const char *head;
    const char *content;
} hs_lua_reply_t;

typedef struct hs_lua_decoder {
    size_t taken;
    size_t out_len;
    const char *out;
} hs_lua_decoder_t;

typedef struct hs_lua_http_api {
    uint32_t version;
    uint32_t reply_size;
    hs_lua_reply_t *(*reply_new)(void);
    void (*reply_free)(hs_lua_reply_t *reply);
    void (*reply_begin)(hs_lua_reply_t *reply, uint32_t to_head);
    uint32_t (*reply_next)(hs_lua_reply_t *reply, const char *data, size_t len);
    uint32_t (*reply_end)(hs_lua_reply_t *reply);
    const char *(*refusal_name)(uint32_t outcome);
    hs_lua_decoder_t *(*decoder_new)(uint32_t format);
    void (*decoder_free)(hs_lua_decoder_t *decoder);
    uint32_t (*decoder_next)(hs_lua_decoder_t *decoder, const char *data, size_t len);
    uint32_t (*decoder_is_complete)(hs_lua_decoder_t *decoder);
} hs_lua_http_api_t;
)
/* clang-format on */

/*
 * hs_lua_reply_t: what the last call on a parser found, see http/hs_parse_response.h.
 *   status, content_length (all ones: unknown) and head: from HS_RESPONSE_HEAD on
 *   reusable   whether the connection may carry another request
 *   taken      bytes of `data` that belong to the outcome
 *   content    in `data`, or memory of the parser; valid until the next call
 * reply_next and reply_end return an hs_response_outcome_t.
 * hs_lua_decoder_t: what decoder_next has taken and made, see http/hs_inflate.h, whose outcomes it
 * returns; `format` is an hs_inflate_format_t.
 * reply_new and decoder_new return NULL if there is no memory.
 */
