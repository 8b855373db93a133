#include "exec/hs_exchange.h"

#include "exec/hs_stats.h"

/* Buffers up to this size stay with the exchange; larger ones go back to the allocator after the
 * message. */
#define KEEP_BYTES (64 * 1024)
/* Free exchanges that keep their memory, whatever the load. More do while as many are leased, so
 * that a reactor under load does not allocate; after a burst the memory of the others goes back. */
#define KEEP_FREE 256

void hs_exchange_pool_init(hs_exchange_pool_t *pool, const hs_limits_t *limits, hs_log_t *log)
{
    *pool = (hs_exchange_pool_t){ .limits = limits, .log = log };
}

/* Ring and arena, in one piece. False: out of memory. */
static bool furnish(hs_exchange_t *exchange, size_t ring_size)
{
    /* A reader of the first HS_STATS_PATH bytes of a target may look behind the arena. */
    char *memory = hs_alloc_aligned(HS_CACHE_LINE, 2 * ring_size + HS_STATS_PATH);
    if (memory == NULL)
        return false;
    hs_ring_init(&exchange->ring, memory, (uint32_t)ring_size);
    exchange->arena = memory + ring_size;
    return true;
}

/* All that it has but itself: a pointer to an exchange stays readable as long as the pool lives,
 * because Lua may keep a request object and compare its handle. */
static void strip(hs_exchange_t *exchange)
{
    hs_buf_free(&exchange->response.fields);
    hs_buf_free(&exchange->response.body);
    hs_buf_free(&exchange->content);
    hs_buf_free(&exchange->out);
    hs_buf_free(&exchange->out_body);
    hs_free(exchange->ring.data);
    exchange->ring = (hs_ring_t){ 0 };
    exchange->arena = NULL;
}

static hs_exchange_t *exchange_new(const hs_exchange_pool_t *pool)
{
    size_t size = sizeof(hs_exchange_t) + pool->limits->max_headers * sizeof(hs_field_t);
    size = (size + HS_CACHE_LINE - 1) / HS_CACHE_LINE * HS_CACHE_LINE;
    hs_exchange_t *exchange = hs_alloc_aligned(HS_CACHE_LINE, size);
    if (exchange == NULL || !hs_handle_fits(exchange)) {
        hs_free(exchange);
        return NULL;
    }
    memset(exchange, 0, sizeof(*exchange));
    exchange->view.handle = hs_handle_first(exchange);
    exchange->log = pool->log;
    exchange->id_prefix = pool->id_prefix;
    exchange->request.msg.fields = exchange->fields;
    exchange->request.msg.field_cap = (uint16_t)pool->limits->max_headers;
    return exchange;
}

static void push(hs_exchange_t **list, hs_exchange_t *exchange)
{
    exchange->next = *list;
    *list = exchange;
}

static hs_exchange_t *pop(hs_exchange_t **list)
{
    hs_exchange_t *exchange = *list;
    if (exchange != NULL)
        *list = exchange->next;
    return exchange;
}

void hs_exchange_pool_free(hs_exchange_pool_t *pool)
{
    HS_ASSERT(pool->leased == 0);
    hs_exchange_t *exchange;
    while ((exchange = pop(&pool->free)) != NULL) {
        strip(exchange);
        hs_free(exchange);
    }
    while ((exchange = pop(&pool->stripped)) != NULL)
        hs_free(exchange);
    pool->free_count = 0;
}

/* One that has to be furnished. NULL: out of memory. */
static hs_exchange_t *take_bare(hs_exchange_pool_t *pool)
{
    hs_exchange_t *exchange = pop(&pool->stripped);
    if (exchange == NULL)
        exchange = exchange_new(pool);
    if (exchange == NULL || furnish(exchange, pool->limits->ring_size))
        return exchange;
    push(&pool->stripped, exchange);
    return NULL;
}

hs_exchange_t *hs_exchange_lease(hs_exchange_pool_t *pool)
{
    hs_exchange_t *exchange = pop(&pool->free);
    if (HS_LIKELY(exchange != NULL))
        pool->free_count--;
    else
        exchange = take_bare(pool);
    if (exchange != NULL) {
        pool->leased++;
        HS_OWNER_TAKE(exchange->owner);
    }
    return exchange;
}

/* At most two at a time: so many more than before are free for one that is leased no longer. */
static void strip_surplus(hs_exchange_pool_t *pool)
{
    while (pool->free_count > KEEP_FREE && pool->free_count > pool->leased) {
        hs_exchange_t *exchange = pop(&pool->free);
        pool->free_count--;
        strip(exchange);
        push(&pool->stripped, exchange);
    }
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
    pool->free_count++;
    push(&pool->free, exchange);
    strip_surplus(pool);
}

void hs_exchange_begin_message(hs_exchange_t *exchange, const hs_limits_t *limits)
{
    hs_parse_begin(&exchange->parse, limits, &exchange->request.msg);
}

void hs_exchange_end_message(hs_exchange_t *exchange)
{
    exchange->view.handle = hs_handle_next(exchange->view.handle);
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
