#include "exec/hs_exchange.h"

#include "exec/hs_stats.h"

/* Buffers up to this size stay with the exchange; larger ones go back to the allocator after the
 * message. */
#define KEEP_BYTES (64 * 1024)

void hs_exchange_pool_init(hs_exchange_pool_t *pool, const hs_limits_t *limits, hs_log_t *log)
{
    *pool = (hs_exchange_pool_t){ .limits = limits, .log = log };
}

static hs_exchange_t *exchange_new(const hs_exchange_pool_t *pool)
{
    size_t head = sizeof(hs_exchange_t) + pool->limits->max_headers * sizeof(hs_field_t);
    head = (head + HS_CACHE_LINE - 1) / HS_CACHE_LINE * HS_CACHE_LINE;
    size_t ring_size = pool->limits->ring_size;
    /* A reader of the first HS_STATS_PATH bytes of a target may look behind the arena. */
    char *memory = hs_alloc_aligned(HS_CACHE_LINE, head + 2 * ring_size + HS_STATS_PATH);
    if (memory == NULL)
        return NULL;
    hs_exchange_t *exchange = (hs_exchange_t *)(void *)memory;
    memset(exchange, 0, sizeof(*exchange));
    hs_ring_init(&exchange->ring, memory + head, (uint32_t)ring_size);
    exchange->arena = memory + head + ring_size;
    exchange->log = pool->log;
    exchange->id_prefix = pool->id_prefix;
    exchange->request.msg.fields = exchange->fields;
    exchange->request.msg.field_cap = (uint16_t)pool->limits->max_headers;
    return exchange;
}

static void exchange_free(hs_exchange_t *exchange)
{
    hs_buf_free(&exchange->response.fields);
    hs_buf_free(&exchange->response.body);
    hs_buf_free(&exchange->content);
    hs_buf_free(&exchange->out);
    hs_buf_free(&exchange->out_body);
    hs_free(exchange);
}

void hs_exchange_pool_free(hs_exchange_pool_t *pool)
{
    HS_ASSERT(pool->leased == 0);
    while (pool->free != NULL) {
        hs_exchange_t *exchange = pool->free;
        pool->free = exchange->next;
        exchange_free(exchange);
    }
}

hs_exchange_t *hs_exchange_lease(hs_exchange_pool_t *pool)
{
    hs_exchange_t *exchange = pool->free;
    if (exchange != NULL)
        pool->free = exchange->next;
    else
        exchange = exchange_new(pool);
    if (exchange != NULL) {
        pool->leased++;
        HS_OWNER_TAKE(exchange->owner);
    }
    return exchange;
}

void hs_exchange_give_back(hs_exchange_pool_t *pool, hs_exchange_t *exchange)
{
    HS_ASSERT(pool->leased > 0);
    HS_ASSERT_OWNER(exchange->owner);
    HS_ASSERT(exchange->lender == NULL);
    hs_exchange_end_message(exchange);
    exchange->ring.tail = exchange->ring.head;
    hs_ring_rewind(&exchange->ring);
    exchange->parsed = 0;
    hs_exchange_forget_sent(exchange);
    pool->leased--;
    exchange->next = pool->free;
    pool->free = exchange;
}

void hs_exchange_begin_message(hs_exchange_t *exchange, const hs_limits_t *limits)
{
    hs_parse_begin(&exchange->parse, limits, &exchange->request.msg);
}

void hs_exchange_end_message(hs_exchange_t *exchange)
{
    exchange->view.generation++;
    hs_ring_release(&exchange->ring, exchange->parsed);
    if (hs_ring_used(&exchange->ring) == 0) {
        hs_ring_rewind(&exchange->ring);
        exchange->parsed = 0;
    }
    hs_response_t *response = &exchange->response;
    response->state = HS_ANSWER_IDLE;
    hs_buf_reset(&response->fields, KEEP_BYTES);
    hs_buf_reset(&response->body, KEEP_BYTES);
    hs_buf_reset(&exchange->content, KEEP_BYTES);
}

void hs_exchange_forget_sent(hs_exchange_t *exchange)
{
    hs_buf_reset(&exchange->out, KEEP_BYTES);
    exchange->out_sent = 0;
    hs_buf_reset(&exchange->out_body, KEEP_BYTES);
    exchange->out_body_sent = 0;
}

/* Base 36: 12 digits hold more requests than a reactor will see. */
size_t hs_exchange_format_id(const hs_exchange_t *exchange, char id[HS_REQUEST_ID_CAP])
{
    char digits[13];
    size_t at = sizeof(digits);
    uint64_t number = exchange->number;
    do
        digits[--at] = "0123456789abcdefghijklmnopqrstuvwxyz"[number % 36];
    while ((number /= 36) > 0);
    size_t prefix_len = exchange->id_prefix != NULL ? strlen(exchange->id_prefix) : 0;
    if (prefix_len > 0)
        memcpy(id, exchange->id_prefix, prefix_len);
    id[prefix_len] = '-';
    memcpy(id + prefix_len + 1, digits + at, sizeof(digits) - at);
    size_t len = prefix_len + 1 + sizeof(digits) - at;
    id[len] = '\0';
    return len;
}

void hs_exchange_move_unsent(hs_exchange_t *to, hs_exchange_t *from)
{
    HS_ASSERT(hs_exchange_unsent(to) == 0);
    hs_buf_t out = to->out;
    hs_buf_t out_body = to->out_body;
    to->out = from->out;
    to->out_sent = from->out_sent;
    to->out_body = from->out_body;
    to->out_body_sent = from->out_body_sent;
    from->out = out;
    from->out_body = out_body;
    hs_exchange_forget_sent(from);
}
