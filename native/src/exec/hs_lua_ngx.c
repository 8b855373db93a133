#define OPENSSL_API_COMPAT 30000
#define OPENSSL_NO_DEPRECATED

#include "exec/hs_lua_ngx.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "exec/hs_lua_content.h"
#include "exec/hs_res.h"
#include "httpserver.h"

enum {
    MD5_SIZE = 16
};

static hs_regex_t *regex_new(void *regexes, const char *pattern, size_t len, const char *flags,
                             size_t flag_count)
{
    return hs_regex_new(regexes, pattern, len, flags, flag_count);
}

static int regex_match(void *regexes, hs_regex_t *regex, const char *subject, size_t len, size_t at)
{
    return hs_regex_match(regexes, regex, subject, len, at);
}

static const char *regex_failure(void *regexes)
{
    return hs_regex_failure(regexes);
}

static void md5(const char *data, size_t len, uint8_t *out)
{
    unsigned size = 0;
    if (EVP_Digest(data, len, out, &size, EVP_md5(), NULL) == 1 && size == MD5_SIZE)
        return;
    ERR_clear_error(); /* the error queue belongs to the thread, and TLS reads it */
    memset(out, 0, MD5_SIZE);
}

static uint32_t peer_port(hs_view_t *view)
{
    return hs_req_peer_port(&hs_job_of_view(view)->request);
}

static const char *scheme(hs_view_t *view)
{
    return hs_req_scheme(&hs_job_of_view(view)->request);
}

static int take_over(hs_view_t *view, int upgrades)
{
    hs_job_t *job = hs_job_of_view(view);
    if (!hs_lua_content_is_complete(job))
        return HS_ERR_INVALID;
    int result =
        hs_res_take_over(&job->response, upgrades != 0 ? HS_TAKEOVER_UPGRADE : HS_TAKEOVER_SILENT);
    if (result == HS_OK)
        hs_lua_content_take_over(job);
    return result;
}

void hs_lua_ngx_init(hs_lua_ngx_t *ngx)
{
    *ngx = (hs_lua_ngx_t){
        .api = { .version = HS_LUA_NGX_ABI_VERSION,
                 .regexes = &ngx->regexes,
                 .regex_new = regex_new,
                 .regex_free = hs_regex_free,
                 .regex_match = regex_match,
                 .regex_name = hs_regex_name,
                 .regex_failure = regex_failure,
                 .md5 = md5,
                 .peer_port = peer_port,
                 .scheme = scheme,
                 .take_over = take_over,
                 .next_bytes = hs_lua_content_next },
    };
}

void hs_lua_ngx_free(hs_lua_ngx_t *ngx)
{
    hs_regexes_free(&ngx->regexes);
}

unsigned char *ngx_hex_dump(unsigned char *out, const unsigned char *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        *out++ = (unsigned char)digits[data[i] >> 4];
        *out++ = (unsigned char)digits[data[i] & 15];
    }
    return out;
}

intptr_t ngx_atoi(const unsigned char *digits, size_t len)
{
    intptr_t value = 0;
    for (size_t i = 0; i < len; i++) {
        if (digits[i] < '0' || digits[i] > '9' || value > (INTPTR_MAX - 9) / 10)
            return -1;
        value = value * 10 + (digits[i] - '0');
    }
    return len > 0 ? value : -1;
}
