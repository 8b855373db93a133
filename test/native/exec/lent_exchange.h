/* A pool of exchanges, each with a request as a parser would leave it. For tests of what runs
 * handlers. */
#pragma once

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "exec/hs_exchange.h"
#include "exec/hs_res.h"

typedef struct rig {
    hs_limits_t limits;
    hs_log_t log;
    hs_exchange_pool_t pool;
} rig_t;

static inline void rig_init(rig_t *rig)
{
    *rig = (rig_t){ .limits = { .ring_size = 256, .max_headers = 4, .max_url = 128 } };
    hs_log_init(&rig->log, HS_LOG_OFF, NULL, NULL);
    hs_exchange_pool_init(&rig->pool, &rig->limits, &rig->log);
}

/* GET `url`, which must stay. */
static inline hs_exchange_t *rig_request(rig_t *rig, const char *url)
{
    hs_exchange_t *exchange = hs_exchange_lease(&rig->pool);
    assert_non_null(exchange);
    hs_exchange_begin_message(exchange, &rig->limits);
    hs_msg_t *msg = &exchange->request.msg;
    msg->base = exchange->arena;
    msg->url_at = 0;
    msg->url_len = (uint32_t)strlen(url);
    memcpy(exchange->arena, url, strlen(url) + 1);
    msg->method = 1;
    msg->body = hs_span("", 0);
    return exchange;
}

static inline void rig_free(rig_t *rig)
{
    hs_exchange_pool_free(&rig->pool);
}
