/*
 * What C and lua/moonring/crypto.lua share. One text, as in exec/hs_lua_abi.h; raise
 * HS_LUA_CRYPTO_ABI_VERSION with every change.
 */
#pragma once

#include "base/hs_base.h"

#define HS_LUA_CRYPTO_ABI_VERSION 1

/* Only plain declarations inside: no preprocessor, no attributes, under 4095 characters. */
#define HS_LUA_CRYPTO_ABI(...)                                                                     \
    __VA_ARGS__                                                                                    \
    __attribute__((unused)) static const char hs_lua_crypto_abi_text[] = #__VA_ARGS__;

/* clang-format off */
HS_LUA_CRYPTO_ABI(
typedef struct hs_lua_crypto_api {
    uint32_t version;
    void *self;
    int (*digest)(void *self, uint32_t algorithm, const char *data, size_t len, uint8_t *out);
    int (*hmac)(void *self, uint32_t algorithm, const char *key, size_t key_len, const char *data,
                size_t len, uint8_t *out);
    int (*random)(void *self, uint8_t *out, size_t len);
    int (*uuid)(void *self, uint32_t number, uint8_t *out);
    int (*equal)(const char *a, const char *b, size_t len);
    size_t (*encode)(uint32_t encoding, const char *data, size_t len, uint8_t *out);
    ptrdiff_t (*decode)(uint32_t encoding, const char *text, size_t len, uint8_t *out);
    const char *(*failure)(void *self);
} hs_lua_crypto_api_t;
)
/* clang-format on */

/* Numbers of algorithms and of encodings, as in crypto.lua. */
typedef enum hs_lua_digest {
    HS_LUA_DIGEST_SHA1,
    HS_LUA_DIGEST_SHA256,
    HS_LUA_DIGEST_SHA384,
    HS_LUA_DIGEST_SHA512,
    HS_LUA_DIGESTS,
} hs_lua_digest_t;

typedef enum hs_lua_encoding {
    HS_LUA_ENCODING_HEX,
    HS_LUA_ENCODING_BASE64,
    HS_LUA_ENCODING_BASE64URL, /* without padding */
} hs_lua_encoding_t;

/*
 * digest, hmac    bytes written to `out`, which has room for 64; -1 on failure
 * random, uuid    0, or -1 on failure; uuid writes 36 characters, `number` is 4 or 7
 * equal           1 or 0, in a time that depends on `len` alone
 * encode          characters written: 2 per byte for hex, 4 per 3 bytes begun at most for the
 * others decode          bytes written, at most the length of the text; -1 - n if the text is not
 * valid from character n (from 0) on failure         why the last call failed, until the next call
 */
