#include "exec/hs_topic_hub.h"

#include "base/hs_alloc.h"
#include "os/hs_clock.h"

/* Messages of other topics that one dispatch skips. */
#define STEPS 16384
/* Bytes that one dispatch delivers. */
#define BYTES (1u << 20)
/* When an uncommitted message is checked again. */
#define STALLED_MS 5

/* owner: the hub's thread */
struct hs_topic_bucket {
    hs_list_t topics;
    uint32_t number;
    uint64_t base;     /* messages of the bucket before the first subscription */
    uint64_t expected; /* the number after the highest one read */
    uint64_t received; /* of those from `base` on */
    uint64_t lost;     /* ... and the losses reported to subscribers */
    uint64_t gaps;     /* of the reader, when this was checked */
};

/* owner: the hub's thread */
typedef struct hs_topic {
    hs_list_t node; /* of its bucket */
    hs_list_t subscribers;
    hs_topic_bucket_t *bucket;
    uint64_t lost; /* to be reported with its next message */
    size_t len;
    char name[];
} hs_topic_t;

void hs_topic_hub_init(hs_topic_hub_t *hub, hs_topics_t *topics, hs_ev_t *ev,
                       hs_topics_waiter_t waiter)
{
    *hub = (hs_topic_hub_t){ .topics = topics, .ev = ev, .waiter = waiter };
}

static hs_topic_t *find(const hs_topic_bucket_t *bucket, hs_span_t name)
{
    for (hs_list_t *node = bucket->topics.next; node != &bucket->topics; node = node->next) {
        hs_topic_t *topic = HS_CONTAINER_OF(node, hs_topic_t, node);
        if (topic->len == name.len && memcmp(topic->name, name.data, name.len) == 0)
            return topic;
    }
    return NULL;
}

/* ---- Subscribing. ---- */

static void on_signal(hs_ev_t *ev, hs_ev_io_t *watcher, unsigned events)
{
    (void)ev;
    (void)events;
    const hs_topic_hub_t *hub = HS_CONTAINER_OF(watcher, hs_topic_hub_t, watcher);
    hs_wakefd_seen(hs_topics_wakefd(hub->topics)); /* the turn of the loop dispatches */
}

/* False: out of memory, or the loop cannot watch. */
static bool begin_use(hs_topic_hub_t *hub)
{
    if (hub->reader == NULL)
        hub->reader = hs_alloc(sizeof(*hub->reader));
    if (hub->buckets == NULL)
        hub->buckets = hs_alloc_zeroed(HS_TOPIC_BUCKETS, sizeof(*hub->buckets));
    if (hub->reader == NULL || hub->buckets == NULL)
        return false;
    if (hub->ev != NULL && !hub->is_watching)
        hub->is_watching = hs_ev_io_start(hub->ev, &hub->watcher, *hs_topics_wakefd(hub->topics),
                                          HS_EV_READ | HS_EV_EDGE, on_signal) == 0;
    if (hub->count == 0 && hub->dispatched == NULL)
        hs_topic_reader_init(hub->reader, hub->topics);
    return hub->ev == NULL || hub->is_watching;
}

static hs_topic_bucket_t *bucket_at(hs_topic_hub_t *hub, uint32_t number)
{
    hs_topic_bucket_t *bucket = hub->buckets[number];
    if (bucket != NULL)
        return bucket;
    bucket = hs_alloc_zeroed(1, sizeof(*bucket));
    if (bucket == NULL)
        return NULL;
    hs_list_init(&bucket->topics);
    bucket->number = number;
    bucket->gaps = hub->reader->gaps;
    hub->buckets[number] = bucket;
    hub->reader->wanted[number / 64] |= (uint64_t)1 << (number % 64);
    hs_topics_want(hub->topics, number);
    bucket->base = bucket->expected = hs_topics_count(hub->topics, number);
    return bucket;
}

static void drop_bucket(hs_topic_hub_t *hub, hs_topic_bucket_t *bucket)
{
    uint32_t number = bucket->number;
    if (!hs_list_empty(&bucket->topics))
        return;
    hub->buckets[number] = NULL;
    hub->reader->wanted[number / 64] &= ~((uint64_t)1 << (number % 64));
    hs_topics_unwant(hub->topics, number);
    hs_free(bucket);
}

static void drop_topic(hs_topic_hub_t *hub, hs_topic_t *topic)
{
    hs_topic_bucket_t *bucket = topic->bucket;
    if (topic == hub->dispatched || !hs_list_empty(&topic->subscribers))
        return;
    hs_list_remove(&topic->node);
    hs_free(topic);
    drop_bucket(hub, bucket);
}

static hs_topic_t *topic_at(hs_topic_bucket_t *bucket, hs_span_t name)
{
    hs_topic_t *topic = find(bucket, name);
    if (topic != NULL)
        return topic;
    topic = hs_alloc_zeroed(1, sizeof(*topic) + name.len);
    if (topic == NULL)
        return NULL;
    hs_list_init(&topic->node);
    hs_list_init(&topic->subscribers);
    memcpy(topic->name, name.data, name.len);
    topic->len = name.len;
    topic->bucket = bucket;
    hs_list_push_back(&bucket->topics, &topic->node);
    return topic;
}

hs_topic_subscriber_t *hs_topic_hub_subscribe(hs_topic_hub_t *hub, const char *name, size_t len,
                                              hs_topic_fn on_message, void *context)
{
    if (len < 1 || len > HS_TOPIC_MAX || !begin_use(hub))
        return NULL;
    hs_span_t span = hs_span(name, len);
    hs_topic_subscriber_t *subscriber = hs_alloc_zeroed(1, sizeof(*subscriber));
    hs_topic_bucket_t *bucket = subscriber != NULL ? bucket_at(hub, hs_topic_bucket(span)) : NULL;
    hs_topic_t *topic = bucket != NULL ? topic_at(bucket, span) : NULL;
    if (topic == NULL) {
        if (bucket != NULL)
            drop_bucket(hub, bucket);
        hs_free(subscriber);
        return NULL;
    }
    *subscriber = (hs_topic_subscriber_t){ .topic = topic,
                                           .since = hs_topics_head(hub->topics),
                                           .on_message = on_message,
                                           .context = context };
    hs_list_init(&subscriber->node);
    hs_list_push_back(&topic->subscribers, &subscriber->node);
    hub->count++;
    hs_topics_note_subscriber(hub->topics, true);
    return subscriber;
}

void hs_topic_hub_unsubscribe(hs_topic_hub_t *hub, hs_topic_subscriber_t *subscriber)
{
    if (hub->next == &subscriber->node)
        hub->next = subscriber->node.next;
    hs_list_remove(&subscriber->node);
    drop_topic(hub, subscriber->topic);
    hs_free(subscriber);
    hub->count--;
    hs_topics_note_subscriber(hub->topics, false);
}

/* The bucket goes with its last subscriber. */
static void end_bucket(hs_topic_hub_t *hub, uint32_t number)
{
    while (hub->buckets[number] != NULL) {
        hs_list_t *first = hub->buckets[number]->topics.next;
        const hs_topic_t *topic = HS_CONTAINER_OF(first, hs_topic_t, node);
        hs_topic_hub_unsubscribe(
            hub, HS_CONTAINER_OF(topic->subscribers.next, hs_topic_subscriber_t, node));
    }
}

void hs_topic_hub_end(hs_topic_hub_t *hub)
{
    for (uint32_t i = 0; hub->buckets != NULL && i < HS_TOPIC_BUCKETS; i++)
        end_bucket(hub, i);
    if (hub->is_watching)
        hs_ev_io_stop(hub->ev, &hub->watcher);
    hub->is_watching = false;
    hs_free(hub->buckets);
    hs_free(hub->reader);
    hub->buckets = NULL;
    hub->reader = NULL;
}

/* ---- Dispatching. ---- */

/* The losses of the bucket's topics are known again. A message that was numbered before but comes
 * later counts as lost until the next loss corrects the sum. */
static uint64_t count_loss(hs_topic_hub_t *hub, hs_topic_bucket_t *bucket)
{
    if (bucket->gaps == hub->reader->gaps)
        return 0;
    bucket->gaps = hub->reader->gaps;
    uint64_t begun = bucket->expected - bucket->base;
    uint64_t known = bucket->received + bucket->lost;
    if (begun <= known)
        return 0;
    uint64_t lost = begun - known;
    bucket->lost += lost;
    for (hs_list_t *node = bucket->topics.next; node != &bucket->topics; node = node->next)
        HS_CONTAINER_OF(node, hs_topic_t, node)->lost += lost;
    return lost;
}

/* Returns the number of subscribers that got it. */
static uint32_t give(hs_topic_hub_t *hub, hs_topic_t *topic, const hs_topic_message_t *message)
{
    uint32_t given = 0;
    uint64_t lost = topic->lost;
    topic->lost = 0;
    hub->dispatched = topic;
    for (hs_list_t *node = topic->subscribers.next; node != &topic->subscribers; node = hub->next) {
        const hs_topic_subscriber_t *subscriber =
            HS_CONTAINER_OF(node, hs_topic_subscriber_t, node);
        hub->next = node->next;
        if (subscriber->since > message->position)
            continue;
        subscriber->on_message(subscriber->context, message->message.data, message->message.len,
                               lost);
        given++;
    }
    hub->dispatched = NULL;
    hub->next = NULL;
    drop_topic(hub, topic);
    return given;
}

static uint32_t dispatch(hs_topic_hub_t *hub, const hs_topic_message_t *message, uint64_t *lost)
{
    hs_topic_bucket_t *bucket = hub->buckets[message->bucket];
    if (bucket == NULL || message->number < bucket->base)
        return 0;
    bucket->received++;
    if (message->number >= bucket->expected)
        bucket->expected = message->number + 1;
    *lost += count_loss(hub, bucket);
    hs_topic_t *topic = find(bucket, message->topic);
    return topic != NULL ? give(hub, topic, message) : 0;
}

bool hs_topic_hub_dispatch(hs_topic_hub_t *hub, uint32_t most)
{
    uint32_t steps = STEPS;
    uint64_t given = 0, lost = 0;
    size_t bytes = 0;
    hs_topic_read_t read = HS_TOPIC_NONE;
    hs_topic_message_t message;
    uint64_t now_ms = hub->count > 0 ? hs_clock_monotonic_ms() : 0;
    hub->has_more = false;
    while (hub->count > 0) {
        hub->has_more = most-- == 0 || bytes > BYTES;
        read = hub->has_more ? HS_TOPIC_MORE
                             : hs_topic_reader_next(hub->reader, now_ms, &steps, &message);
        if (read != HS_TOPIC_MESSAGE)
            break;
        bytes += message.message.len;
        given += dispatch(hub, &message, &lost);
    }
    hub->has_more = hub->count > 0 && read == HS_TOPIC_MORE;
    hub->is_stalled = hub->count > 0 && read == HS_TOPIC_STALLED;
    if (given > 0 || lost > 0)
        hs_topics_note(hub->topics, given, lost);
    return hub->has_more;
}

int hs_topic_hub_begin_sleep(hs_topic_hub_t *hub)
{
    if (hub->count == 0)
        return -1;
    if (hub->has_more || hs_topics_arm(hub->reader, hub->waiter))
        return 0;
    return hub->is_stalled ? STALLED_MS : -1;
}

void hs_topic_hub_end_sleep(hs_topic_hub_t *hub)
{
    if (hub->count > 0)
        hs_topics_disarm(hub->reader, hub->waiter);
}

bool hs_topic_hub_sleep(hs_topic_hub_t *hub)
{
    return hs_topic_hub_begin_sleep(hub) >= 0;
}

hs_topic_hub_t *hs_topic_hub_create(hs_topics_t *topics)
{
    hs_topic_hub_t *hub = hs_alloc(sizeof(*hub));
    if (hub != NULL)
        hs_topic_hub_init(hub, topics, NULL, HS_TOPICS_IO);
    return hub;
}

void hs_topic_hub_free(hs_topic_hub_t *hub)
{
    if (hub == NULL)
        return;
    hs_topic_hub_end(hub);
    hs_free(hub);
}
