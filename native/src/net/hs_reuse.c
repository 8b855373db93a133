#include "net/hs_reuse.h"

#include <string.h>

#include "os/hs_clock.h"

/* FNV-1a */
static hs_reuse_key_t **bucket_of(hs_net_t *net, const char *bytes, size_t len)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 16777619u;
    return &net->keys[hash % HS_NET_KEY_BUCKETS];
}

static hs_reuse_key_t *find_key(hs_net_t *net, const char *bytes, size_t len)
{
    hs_reuse_key_t **bucket = bucket_of(net, bytes, len);
    for (hs_reuse_key_t *key = *bucket; key != NULL; key = key->next)
        if (key->len == len && memcmp(key->bytes, bytes, len) == 0)
            return key;
    hs_reuse_key_t *key = hs_alloc_zeroed(1, sizeof(*key) + len);
    if (key == NULL)
        return NULL;
    hs_list_init(&key->idle);
    hs_list_init(&key->waits);
    key->len = len;
    memcpy(key->bytes, bytes, len);
    key->next = *bucket;
    *bucket = key;
    return key;
}

static void free_unused(hs_net_t *net, hs_reuse_key_t *key)
{
    if (key->idle_count > 0 || key->used_count > 0 || key->wait_count > 0)
        return;
    hs_reuse_key_t **place = bucket_of(net, key->bytes, key->len);
    while (*place != key)
        place = &(*place)->next;
    *place = key->next;
    hs_free(key);
}

static void remove_idle(hs_link_t *link)
{
    hs_list_remove(&link->idle);
    link->key->idle_count--;
    link->net->idle--;
}

/* --- an idle connection --- */

static void end_idle(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    stream->closed = true;
}

static void on_idle_error(hs_loop_t *loop, hs_stream_t *stream, int error)
{
    (void)loop;
    (void)error;
    stream->closed = true;
}

static void on_nothing(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    (void)stream;
}

static void update_idle(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    hs_link_t *link = hs_link_of(stream);
    if (!stream->closed)
        return;
    if (!hs_list_empty(&link->idle)) {
        hs_reuse_key_t *key = link->key;
        remove_idle(link);
        free_unused(link->net, key);
    }
    hs_link_updated(link);
}

static void on_idle_closed(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    hs_link_free(hs_link_of(stream));
}

/* Incoming data belongs to no request: it would be mistaken for the next response. */
static const hs_protocol_t idle = {
    .on_data = end_idle,
    .on_drained = on_nothing,
    .on_connected = on_nothing,
    .on_end = end_idle,
    .on_peer_shut = end_idle,
    .on_error = on_idle_error,
    .on_deadline = end_idle,
    .update = update_idle,
    .on_closed = on_idle_closed,
};

/* False: it was dead, and is being closed. Its memory stays until the loop has closed it. */
static bool is_alive(hs_link_t *link)
{
    hs_loop_t *loop = link->net->loop;
    bool is_too_old = link->stream.deadline_ms <= hs_clock_monotonic_ms();
    if (is_too_old)
        link->stream.closed = true;
    else
        hs_stream_receive(loop, &link->stream);
    if (link->stream.closed)
        hs_stream_update(loop, &link->stream);
    return !link->stream.closed;
}

/* The most recently used idle connection that is still alive. NULL: there is none; the key
 * stays. */
static hs_link_t *take_idle(hs_net_t *net, hs_reuse_key_t *key)
{
    hs_link_t *link = NULL;
    key->used_count++; /* keeps it */
    while (link == NULL && !hs_list_empty(&key->idle)) {
        hs_link_t *last = HS_CONTAINER_OF(key->idle.prev, hs_link_t, idle);
        if (is_alive(last))
            link = last;
    }
    if (link == NULL) {
        key->used_count--;
        return NULL;
    }
    remove_idle(link);
    link->reused++;
    net->counters.reused++;
    return link;
}

hs_reuse_taken_t hs_reuse_take(hs_net_t *net, const char *bytes, size_t len,
                               const hs_reuse_limits_t *limits, hs_reuse_key_t **key_out,
                               hs_link_t **link, hs_reuse_wait_t *wait)
{
    hs_list_init(&wait->link);
    hs_reuse_key_t *key = find_key(net, bytes, len);
    *key_out = key;
    if (key == NULL)
        return HS_REUSE_NO_MEMORY;
    key->limits = *limits;
    *link = take_idle(net, key);
    if (*link != NULL)
        return HS_REUSE_TAKEN;
    if (limits->max == 0 || key->used_count < limits->max) {
        key->used_count++;
        return HS_REUSE_ROOM;
    }
    if (key->wait_count >= limits->queue) {
        *key_out = NULL;
        return HS_REUSE_FULL;
    }
    key->wait_count++;
    hs_list_push_back(&key->waits, &wait->link);
    return HS_REUSE_WAITS;
}

void hs_reuse_cancel(hs_net_t *net, hs_reuse_key_t *key, hs_reuse_wait_t *wait)
{
    if (hs_list_empty(&wait->link))
        return;
    hs_list_remove(&wait->link);
    key->wait_count--;
    free_unused(net, key);
}

/* Serves the longest waiter, which takes over the caller's count. */
static hs_reuse_wait_t *take_wait(hs_reuse_key_t *key)
{
    if (key->wait_count == 0)
        return NULL;
    hs_reuse_wait_t *wait = HS_CONTAINER_OF(key->waits.next, hs_reuse_wait_t, link);
    hs_list_remove(&wait->link);
    key->wait_count--;
    return wait;
}

void hs_reuse_leave(hs_net_t *net, hs_reuse_key_t *key)
{
    for (hs_reuse_wait_t *wait; (wait = take_wait(key)) != NULL;)
        if (wait->ready(wait, NULL))
            return;
    key->used_count--;
    free_unused(net, key);
}

static uint64_t idle_deadline_ms(const hs_link_t *link, uint32_t idle_ms)
{
    const hs_reuse_limits_t *limits = &link->key->limits;
    uint64_t deadline_ms = hs_clock_monotonic_ms() + (idle_ms != 0 ? idle_ms : limits->idle_ms);
    if (limits->max_age_ms != 0 && link->connected_ms + limits->max_age_ms < deadline_ms)
        deadline_ms = link->connected_ms + limits->max_age_ms;
    return deadline_ms;
}

void hs_reuse_keep(hs_link_t *link, uint32_t idle_ms)
{
    hs_net_t *net = link->net;
    hs_reuse_key_t *key = link->key;
    hs_reuse_wait_t *wait = take_wait(key);
    if (wait != NULL) {
        link->reused++;
        net->counters.reused++;
        (void)wait->ready(wait, link);
        return;
    }
    hs_link_give(link, &idle, NULL);
    link->stream.discards = link->stream.reads = true;
    link->stream.deadline_ms = idle_deadline_ms(link, idle_ms);
    hs_list_push_back(&key->idle, &link->idle);
    key->idle_count++;
    key->used_count--;
    net->idle++;
    if (key->idle_count > key->limits.size)
        hs_link_close(HS_CONTAINER_OF(key->idle.next, hs_link_t, idle));
    else
        hs_stream_update(net->loop, &link->stream);
}

void hs_reuse_free(hs_net_t *net)
{
    for (size_t i = 0; i < HS_NET_KEY_BUCKETS; i++)
        while (net->keys[i] != NULL) {
            hs_reuse_key_t *key = net->keys[i];
            HS_ASSERT(key->idle_count == 0 && key->wait_count == 0);
            net->keys[i] = key->next;
            hs_free(key);
        }
}
