#include "exec/hs_lua_topics.h"

/* What Lua has not taken yet: it takes everything in the turn in which it arrived. */
#define ARRIVED_MAX (16u << 20)
#define KEPT (64u << 10)

/* owner: the thread of the state */
typedef struct hs_lua_subscription {
    hs_lua_topics_t *owner;
    hs_topic_hub_t *hub;               /* NULL: it waits for one */
    hs_topic_subscriber_t *subscriber; /* ... of the hub */
    uint32_t number;
    size_t len;
    char name[];
} hs_lua_subscription_t;

/* Before each message in `arrived`. */
typedef struct frame {
    uint64_t lost;
    uint32_t number;
    uint32_t len;
} frame_t;

static void on_message(void *context, const char *message, size_t length, uint64_t lost)
{
    const hs_lua_subscription_t *subscription = context;
    hs_lua_topics_t *topics = subscription->owner;
    frame_t frame = { .lost = lost + topics->lost,
                      .number = subscription->number,
                      .len = (uint32_t)length };
    if (topics->arrived.len > ARRIVED_MAX ||
        !hs_buf_reserve(&topics->arrived, sizeof(frame) + length)) {
        topics->lost++;
        return;
    }
    topics->lost = 0;
    hs_buf_put(&topics->arrived, (const char *)&frame, sizeof(frame));
    if (length > 0)
        hs_buf_put(&topics->arrived, message, length);
    hs_lua_wake(topics->wakes, topics->api.id);
}

static int take(void *self)
{
    hs_lua_topics_t *topics = self;
    frame_t frame;
    if (topics->taken == topics->arrived.len) {
        hs_buf_reset(&topics->arrived, KEPT);
        topics->taken = 0;
        return 0;
    }
    memcpy(&frame, topics->arrived.data + topics->taken, sizeof(frame));
    topics->taken += sizeof(frame);
    topics->api.data = topics->arrived.data + topics->taken;
    topics->api.len = frame.len;
    topics->api.lost = (double)frame.lost;
    topics->api.number = frame.number;
    topics->taken += frame.len;
    return 1;
}

/* NULL: out of memory or descriptors. */
static hs_topics_t *ring_of(hs_lua_topics_t *topics)
{
    if (topics->topics != NULL)
        return topics->topics;
    topics->own = hs_topics_new(1, HS_TOPICS_SIZE_MIN, NULL);
    if (topics->own != NULL && hs_topics_begin(topics->own, 0, 0) == HS_OK)
        topics->topics = topics->own;
    return topics->topics;
}

static int publish(void *self, const char *topic, size_t topic_len, const char *message,
                   size_t message_len)
{
    hs_topics_t *ring = ring_of(self);
    return ring != NULL
               ? hs_topics_post(ring, hs_span(topic, topic_len), hs_span(message, message_len))
               : HS_ERR_NOMEM;
}

/* False: out of memory. */
static bool begin(hs_lua_subscription_t *subscription)
{
    hs_lua_topics_t *topics = subscription->owner;
    hs_topics_t *ring = ring_of(topics);
    if (ring == NULL)
        return false;
    subscription->hub = topics->hub_of(topics->context, ring);
    if (subscription->hub == NULL)
        return true; /* when the state is attached */
    subscription->subscriber = hs_topic_hub_subscribe(subscription->hub, subscription->name,
                                                      subscription->len, on_message, subscription);
    return subscription->subscriber != NULL;
}

static bool make_room(hs_lua_topics_t *topics, uint32_t number)
{
    if (number < topics->capacity)
        return true;
    uint32_t capacity = topics->capacity > 0 ? topics->capacity : 16;
    while (capacity <= number)
        capacity *= 2;
    size_t size = sizeof(struct hs_lua_subscription *);
    hs_lua_subscription_t **grown = hs_realloc(topics->subscriptions, capacity * size);
    if (grown == NULL)
        return false;
    memset(grown + topics->capacity, 0, (capacity - topics->capacity) * size);
    topics->subscriptions = grown;
    topics->capacity = capacity;
    return true;
}

static void unsubscribe(void *self, uint32_t number)
{
    const hs_lua_topics_t *topics = self;
    hs_lua_subscription_t *subscription =
        number < topics->capacity ? topics->subscriptions[number] : NULL;
    if (subscription == NULL)
        return;
    topics->subscriptions[number] = NULL;
    if (subscription->subscriber != NULL)
        hs_topic_hub_unsubscribe(subscription->hub, subscription->subscriber);
    hs_free(subscription);
}

static int subscribe(void *self, uint32_t number, const char *topic, size_t topic_len)
{
    hs_lua_topics_t *topics = self;
    if (topic_len < 1 || topic_len > HS_TOPIC_MAX)
        return HS_ERR_INVALID;
    hs_lua_subscription_t *subscription = hs_alloc_zeroed(1, sizeof(*subscription) + topic_len);
    if (subscription == NULL || !make_room(topics, number)) {
        hs_free(subscription);
        return HS_ERR_NOMEM;
    }
    subscription->owner = topics;
    subscription->number = number;
    subscription->len = topic_len;
    memcpy(subscription->name, topic, topic_len);
    topics->subscriptions[number] = subscription;
    if (begin(subscription))
        return HS_OK;
    unsubscribe(topics, number);
    return HS_ERR_NOMEM;
}

void hs_lua_topics_attach(hs_lua_topics_t *topics)
{
    for (uint32_t i = 0; i < topics->capacity; i++) {
        hs_lua_subscription_t *subscription = topics->subscriptions[i];
        if (subscription != NULL && subscription->subscriber == NULL && !begin(subscription))
            unsubscribe(topics, i);
    }
}

void hs_lua_topics_leave(hs_lua_topics_t *topics)
{
    for (uint32_t i = 0; i < topics->capacity; i++)
        unsubscribe(topics, i);
}

void hs_lua_topics_free(hs_lua_topics_t *topics)
{
    for (uint32_t i = 0; i < topics->capacity; i++)
        hs_free(topics->subscriptions[i]);
    hs_free(topics->subscriptions);
    hs_buf_free(&topics->arrived);
    hs_topics_free(topics->own);
}

void hs_lua_topics_init(hs_lua_topics_t *topics, hs_topics_t *shared, hs_lua_wakes_t *wakes,
                        hs_topic_hub_t *(*hub_of)(void *context, hs_topics_t *topics),
                        void *context)
{
    *topics = (hs_lua_topics_t){
        .topics = shared,
        .wakes = wakes,
        .hub_of = hub_of,
        .context = context,
        .api = { .version = HS_LUA_TOPICS_ABI_VERSION,
                 .self = topics,
                 .publish = publish,
                 .subscribe = subscribe,
                 .unsubscribe = unsubscribe,
                 .take = take },
    };
}
