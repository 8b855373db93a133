#define OPENSSL_API_COMPAT 30000
#define OPENSSL_NO_DEPRECATED

#include "exec/hs_lua_crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdio.h>

#include "os/hs_clock.h"

static const char *const digest_names[HS_LUA_DIGESTS] = { "SHA1", "SHA256", "SHA384", "SHA512" };

/* Takes OpenSSL's error. The error queue belongs to the thread and must be left empty, because TLS
 * reads it. Returns -1. */
static int fail(hs_lua_crypto_t *crypto, const char *what)
{
    char reason[160] = "no reason was given";
    unsigned long code = ERR_get_error();
    if (code != 0)
        ERR_error_string_n(code, reason, sizeof(reason));
    ERR_clear_error();
    snprintf(crypto->failure, sizeof(crypto->failure), "OpenSSL: %s failed: %s", what, reason);
    return -1;
}

static EVP_MD *digest_of(hs_lua_crypto_t *crypto, uint32_t algorithm)
{
    HS_ASSERT(algorithm < HS_LUA_DIGESTS);
    EVP_MD **digest = &crypto->digests[algorithm];
    if (*digest == NULL)
        *digest = EVP_MD_fetch(NULL, digest_names[algorithm], NULL);
    return *digest;
}

static int digest(void *self, uint32_t algorithm, const char *data, size_t len, uint8_t *out)
{
    hs_lua_crypto_t *crypto = self;
    const EVP_MD *md = digest_of(crypto, algorithm);
    if (crypto->context == NULL)
        crypto->context = EVP_MD_CTX_new();
    unsigned size = 0;
    if (md == NULL || crypto->context == NULL ||
        EVP_DigestInit_ex2(crypto->context, md, NULL) != 1 ||
        EVP_DigestUpdate(crypto->context, data, len) != 1 ||
        EVP_DigestFinal_ex(crypto->context, out, &size) != 1)
        return fail(crypto, digest_names[algorithm]);
    return (int)size;
}

/* With the digest set: only the key is missing. NULL on failure. */
static EVP_MAC_CTX *new_mac(const char *digest_name)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
    EVP_MAC_free(mac); /* the context has its own reference */
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t)digest_name, 0),
        OSSL_PARAM_construct_end(),
    };
    if (context != NULL && EVP_MAC_CTX_set_params(context, params) == 1)
        return context;
    EVP_MAC_CTX_free(context);
    return NULL;
}

static int hmac(void *self, uint32_t algorithm, const char *key, size_t key_len, const char *data,
                size_t len, uint8_t *out)
{
    hs_lua_crypto_t *crypto = self;
    HS_ASSERT(algorithm < HS_LUA_DIGESTS);
    EVP_MAC_CTX **context = &crypto->macs[algorithm];
    if (*context == NULL)
        *context = new_mac(digest_names[algorithm]);
    size_t size = 0;
    if (*context == NULL ||
        EVP_MAC_init(*context, (const unsigned char *)key, key_len, NULL) != 1 ||
        EVP_MAC_update(*context, (const unsigned char *)data, len) != 1 ||
        EVP_MAC_final(*context, out, &size, EVP_MAX_MD_SIZE) != 1)
        return fail(crypto, "HMAC");
    return (int)size;
}

static int random_bytes(void *self, uint8_t *out, size_t len)
{
    HS_ASSERT(len <= INT32_MAX);
    return RAND_bytes(out, (int)len) == 1 ? 0 : fail(self, "RAND_bytes");
}

static const char hex_digits[] = "0123456789abcdef";

/* Version 7 (RFC 9562 §6.2, method 1): a counter after the milliseconds keeps those of one state in
 * order. It starts at a random number in each millisecond; on overflow, or if the clock was set
 * back, it continues in the following milliseconds. */
static void set_time(hs_lua_crypto_t *crypto, uint8_t bytes[16])
{
    uint64_t count = ((uint64_t)bytes[6] << 8 | bytes[7]) & 0x7ff;
    uint64_t next = (uint64_t)hs_clock_realtime_ms() << 12 | count;
    if (next >> 12 <= crypto->last_uuid >> 12)
        next = crypto->last_uuid + 1;
    crypto->last_uuid = next;
    for (int i = 0; i < 6; i++)
        bytes[i] = (uint8_t)(next >> (52 - 8 * i));
    bytes[6] = (uint8_t)(next >> 8 & 0x0f);
    bytes[7] = (uint8_t)next;
}

static int uuid(void *self, uint32_t number, uint8_t *out)
{
    uint8_t bytes[16];
    if (random_bytes(self, bytes, sizeof(bytes)) != 0)
        return -1;
    if (number == 7)
        set_time(self, bytes);
    bytes[6] = (uint8_t)((bytes[6] & 0x0f) | number << 4);
    bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = (uint8_t)hex_digits[bytes[i] >> 4];
        *out++ = (uint8_t)hex_digits[bytes[i] & 15];
    }
    return 0;
}

static int equal(const char *a, const char *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

/* ---- Encodings (RFC 4648). Decoding accepts exactly what encoding produces (and capital letters
 * in hex): a signed base64 text must not have several forms. ---- */

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64url_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static size_t encode_hex(const uint8_t *data, size_t len, uint8_t *out)
{
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = (uint8_t)hex_digits[data[i] >> 4];
        out[2 * i + 1] = (uint8_t)hex_digits[data[i] & 15];
    }
    return 2 * len;
}

static size_t encode_base64(const char *digits, bool is_padded, const uint8_t *data, size_t len,
                            uint8_t *out)
{
    uint8_t *at = out;
    for (; len >= 3; len -= 3, data += 3) {
        uint32_t bits = (uint32_t)data[0] << 16 | (uint32_t)data[1] << 8 | data[2];
        *at++ = (uint8_t)digits[bits >> 18];
        *at++ = (uint8_t)digits[bits >> 12 & 63];
        *at++ = (uint8_t)digits[bits >> 6 & 63];
        *at++ = (uint8_t)digits[bits & 63];
    }
    if (len > 0) {
        uint32_t bits = (uint32_t)data[0] << 16 | (len > 1 ? (uint32_t)data[1] << 8 : 0);
        *at++ = (uint8_t)digits[bits >> 18];
        *at++ = (uint8_t)digits[bits >> 12 & 63];
        if (len > 1)
            *at++ = (uint8_t)digits[bits >> 6 & 63];
        for (; is_padded && len < 3; len++)
            *at++ = '=';
    }
    return (size_t)(at - out);
}

static size_t encode(uint32_t encoding, const char *text, size_t len, uint8_t *out)
{
    const uint8_t *data = (const uint8_t *)text;
    switch ((hs_lua_encoding_t)encoding) {
    case HS_LUA_ENCODING_HEX:
        return encode_hex(data, len, out);
    case HS_LUA_ENCODING_BASE64:
        return encode_base64(base64_digits, true, data, len, out);
    case HS_LUA_ENCODING_BASE64URL:
        return encode_base64(base64url_digits, false, data, len, out);
    }
    return 0;
}

/* -1: it is no digit. */
static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int base64_value(char c, bool is_url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (is_url ? '-' : '+'))
        return 62;
    return c == (is_url ? '_' : '/') ? 63 : -1;
}

static ptrdiff_t decode_hex(const char *text, size_t len, uint8_t *out)
{
    for (size_t i = 0; i < len; i++) {
        int value = hex_value(text[i]);
        if (value < 0)
            return -1 - (ptrdiff_t)i;
        out[i / 2] = (uint8_t)(i % 2 == 0 ? value << 4 : out[i / 2] | value);
    }
    return len % 2 == 0 ? (ptrdiff_t)(len / 2) : -1 - (ptrdiff_t)len;
}

static ptrdiff_t decode_base64(bool is_url, const char *text, size_t len, uint8_t *out)
{
    size_t digits = len;
    while (!is_url && digits > 0 && len - digits < 2 && text[digits - 1] == '=')
        digits--;
    uint32_t bits = 0;
    ptrdiff_t written = 0;
    for (size_t i = 0; i < digits; i++) {
        int value = base64_value(text[i], is_url);
        if (value < 0)
            return -1 - (ptrdiff_t)i;
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 != 0)
            out[written++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    static const uint32_t left_over[] = { 0, 0, 15, 3 }; /* bits that belong to no byte */
    if (digits % 4 == 1 || (!is_url && len % 4 != 0))
        return -1 - (ptrdiff_t)len;
    if ((bits & left_over[digits % 4]) != 0)
        return -(ptrdiff_t)digits; /* the last digit */
    return written;
}

static ptrdiff_t decode(uint32_t encoding, const char *text, size_t len, uint8_t *out)
{
    switch ((hs_lua_encoding_t)encoding) {
    case HS_LUA_ENCODING_HEX:
        return decode_hex(text, len, out);
    case HS_LUA_ENCODING_BASE64:
        return decode_base64(false, text, len, out);
    case HS_LUA_ENCODING_BASE64URL:
        return decode_base64(true, text, len, out);
    }
    return -1;
}

static const char *failure(void *self)
{
    const hs_lua_crypto_t *crypto = self;
    return crypto->failure;
}

void hs_lua_crypto_init(hs_lua_crypto_t *crypto)
{
    *crypto = (hs_lua_crypto_t){
        .api = { .version = HS_LUA_CRYPTO_ABI_VERSION,
                 .self = crypto,
                 .digest = digest,
                 .hmac = hmac,
                 .random = random_bytes,
                 .uuid = uuid,
                 .equal = equal,
                 .encode = encode,
                 .decode = decode,
                 .failure = failure },
    };
}

void hs_lua_crypto_free(hs_lua_crypto_t *crypto)
{
    EVP_MD_CTX_free(crypto->context);
    for (unsigned i = 0; i < HS_LUA_DIGESTS; i++) {
        EVP_MD_free(crypto->digests[i]);
        EVP_MAC_CTX_free(crypto->macs[i]);
    }
}
