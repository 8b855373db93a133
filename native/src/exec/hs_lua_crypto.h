/*
 * Digests, HMAC, random bytes, UUIDs and text encodings for the handlers of one Lua state, using
 * OpenSSL, exposed to the FFI.
 *
 * Owner: the thread of the state. Not for secrets that must be wiped: Lua's strings are not.
 */
#pragma once

#include "exec/hs_lua_crypto_abi.h"

typedef struct evp_md_st hs_evp_md_t;
typedef struct evp_md_ctx_st hs_evp_md_ctx_t;
typedef struct evp_mac_ctx_st hs_evp_mac_ctx_t;

/* owner: its Lua state, which holds the address of `api`. OpenSSL objects are created at first use:
 * looking up an algorithm takes longer than digesting a short text. */
typedef struct hs_lua_crypto {
    hs_lua_crypto_api_t api;
    hs_evp_md_ctx_t *context; /* of all digests */
    hs_evp_md_t *digests[HS_LUA_DIGESTS];
    hs_evp_mac_ctx_t *macs[HS_LUA_DIGESTS];
    uint64_t last_uuid; /* of version 7: milliseconds << 12 | count within them */
    char failure[256];
} hs_lua_crypto_t;

void hs_lua_crypto_init(hs_lua_crypto_t *crypto);
void hs_lua_crypto_free(hs_lua_crypto_t *crypto);
