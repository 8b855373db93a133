/*
 * exec/hs_topics.h and exec/hs_topic_hub.h: order, loss and its reporting, wake-ups, and how
 * a reader handles memory damaged by another process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "exec/hs_topic_hub.h"
#include "os/hs_clock.h"
#include "os/hs_shm.h"

#define SIZE HS_TOPICS_SIZE_MIN
#define CELL_BYTES 64
#define LONG_TIME_MS 30000

static hs_topics_t *new_topics(void)
{
    hs_errinfo_t error;
    hs_topics_t *topics = hs_topics_new(4, SIZE, &error);
    assert_non_null(topics);
    assert_int_equal(hs_topics_begin(topics, 0, 0), HS_OK);
    return topics;
}

/* The same ring, as seen by another process. */
static hs_topics_t *another(const hs_topics_t *topics, uint32_t slot, uint32_t side)
{
    hs_errinfo_t error;
    size_t count;
    const int *fds = hs_topics_fds(topics, &count);
    int own[64];
    for (size_t i = 0; i < count; i++)
        own[i] = dup(fds[i]);
    hs_topics_t *attached = hs_topics_attach(own, count, &error);
    assert_non_null(attached);
    assert_int_equal(hs_topics_begin(attached, slot, side), HS_OK);
    return attached;
}

static int post(hs_topics_t *topics, const char *topic, const char *message)
{
    return hs_topics_publish(topics, topic, strlen(topic), message, strlen(message));
}

/* What a subscriber has received. */
typedef struct seen {
    uint64_t count;
    uint64_t lost;
    size_t length; /* of the last one */
    char last[64]; /* the beginning of it */
    char all[512];
} seen_t;

static void on_message(void *context, const char *message, size_t length, uint64_t lost)
{
    seen_t *seen = context;
    seen->count++;
    seen->lost += lost;
    seen->length = length;
    size_t shown = hs_min(length, sizeof(seen->last) - 1);
    memcpy(seen->last, message, shown);
    seen->last[shown] = '\0';
    size_t room = sizeof(seen->all) - strlen(seen->all) - 1;
    strncat(seen->all, seen->last, room);
}

static hs_topic_subscriber_t *subscribe(hs_topic_hub_t *hub, const char *topic, seen_t *seen)
{
    *seen = (seen_t){ 0 };
    hs_topic_subscriber_t *subscriber =
        hs_topic_hub_subscribe(hub, topic, strlen(topic), on_message, seen);
    assert_non_null(subscriber);
    return subscriber;
}

static void dispatch_all(hs_topic_hub_t *hub)
{
    while (hs_topic_hub_dispatch(hub, 100))
        continue;
}

static void a_message_reaches_every_subscriber_of_its_topic(void **state)
{
    (void)state;
    hs_topics_t *topics = new_topics();
    hs_topics_t *other = another(topics, 1, 0);
    hs_topic_hub_t *here = hs_topic_hub_create(topics), *there = hs_topic_hub_create(other);
    seen_t a, b, c, d;
    subscribe(here, "news", &a);
    subscribe(here, "news", &b);
    subscribe(here, "sport", &c);
    subscribe(there, "news", &d);
    assert_int_equal(post(topics, "news", "1"), HS_OK);
    assert_int_equal(post(other, "news", "2"), HS_OK);
    assert_int_equal(post(other, "weather", "3"), HS_OK);
    assert_int_equal(post(other, "sport", ""), HS_OK);
    dispatch_all(here);
    dispatch_all(there);
    assert_string_equal(a.all, "12");
    assert_string_equal(b.all, "12");
    assert_string_equal(d.all, "12");
    assert_int_equal(c.count, 1);
    assert_int_equal(c.length, 0);
    hs_topics_counters_t counters;
    hs_topics_read_counters(topics, 0, &counters);
    assert_int_equal(counters.published, 1);
    assert_int_equal(counters.delivered, 5);
    assert_int_equal(counters.lost, 0);
    assert_int_equal(counters.subscribers, 3);
    hs_topic_hub_free(here);
    hs_topics_read_counters(topics, 0, &counters);
    assert_int_equal(counters.subscribers, 0);
    hs_topics_read_counters(topics, 1, &counters);
    assert_int_equal(counters.subscribers, 1);
    hs_topics_reset(topics, 1, 0); /* as of a process that is gone */
    hs_topics_read_counters(topics, 1, &counters);
    assert_int_equal(counters.subscribers, 0);
    assert_int_equal(counters.delivered, 2);
    hs_topic_hub_free(there);
    hs_topics_free(other);
    hs_topics_free(topics);
}

static void what_was_published_before_a_subscription_is_not_for_it(void **state)
{
    (void)state;
    hs_topics_t *topics = new_topics();
    hs_topic_hub_t *hub = hs_topic_hub_create(topics);
    seen_t early, late;
    assert_int_equal(post(topics, "t", "0"), HS_OK);
    subscribe(hub, "t", &early);
    assert_int_equal(post(topics, "t", "1"), HS_OK);
    hs_topic_subscriber_t *subscriber = subscribe(hub, "t", &late);
    assert_int_equal(post(topics, "t", "2"), HS_OK);
    dispatch_all(hub);
    assert_string_equal(early.all, "12");
    assert_string_equal(late.all, "2");
    hs_topic_hub_unsubscribe(hub, subscriber);
    assert_int_equal(post(topics, "t", "3"), HS_OK);
    dispatch_all(hub);
    assert_string_equal(early.all, "123");
    assert_string_equal(late.all, "2");
    hs_topic_hub_free(hub);
    hs_topics_free(topics);
}

/* A subscriber that closes others, and itself, while it is being called. */
typedef struct closing {
    hs_topic_hub_t *hub;
    hs_topic_subscriber_t *closes[3];
    uint64_t count;
} closing_t;

static void close_them(void *context, const char *message, size_t length, uint64_t lost)
{
    (void)message;
    (void)length;
    (void)lost;
    closing_t *closing = context;
    closing->count++;
    for (size_t i = 0; i < 3; i++)
        if (closing->closes[i] != NULL)
            hs_topic_hub_unsubscribe(closing->hub, closing->closes[i]);
    memset(closing->closes, 0, sizeof(closing->closes));
}

static void subscribers_may_be_closed_in_a_callback(void **state)
{
    (void)state;
    hs_topics_t *topics = new_topics();
    hs_topic_hub_t *hub = hs_topic_hub_create(topics);
    closing_t closing = { .hub = hub };
    seen_t before, after, last;
    closing.closes[0] = subscribe(hub, "t", &before);
    closing.closes[1] = hs_topic_hub_subscribe(hub, "t", 1, close_them, &closing);
    closing.closes[2] = subscribe(hub, "t", &after);
    subscribe(hub, "t", &last);
    assert_int_equal(post(topics, "t", "1"), HS_OK);
    assert_int_equal(post(topics, "t", "2"), HS_OK);
    dispatch_all(hub);
    assert_int_equal(before.count, 1);
    assert_int_equal(closing.count, 1);
    assert_int_equal(after.count, 0);
    assert_int_equal(last.count, 2);

    closing_t alone = { .hub = hub };
    alone.closes[0] = hs_topic_hub_subscribe(hub, "alone", 5, close_them, &alone);
    assert_int_equal(post(topics, "alone", ""), HS_OK);
    assert_int_equal(post(topics, "alone", ""), HS_OK);
    dispatch_all(hub);
    assert_int_equal(alone.count, 1);
    hs_topic_hub_free(hub);
    hs_topics_free(topics);
}

static void names_and_messages_have_a_largest_size(void **state)
{
    (void)state;
    hs_topics_t *topics = new_topics();
    hs_topic_hub_t *hub = hs_topic_hub_create(topics);
    static char text[HS_TOPIC_MESSAGE_MAX + 1];
    memset(text, 'x', sizeof(text));
    seen_t seen = { 0 };
    assert_non_null(hs_topic_hub_subscribe(hub, text, HS_TOPIC_MAX, on_message, &seen));
    assert_null(hs_topic_hub_subscribe(hub, text, HS_TOPIC_MAX + 1, on_message, &seen));
    assert_null(hs_topic_hub_subscribe(hub, text, 0, on_message, &seen));
    assert_int_equal(hs_topics_publish(topics, text, 0, "", 0), HS_ERR_INVALID);
    assert_int_equal(hs_topics_publish(topics, text, HS_TOPIC_MAX + 1, "", 0), HS_ERR_INVALID);
    assert_int_equal(hs_topics_publish(topics, text, 1, text, HS_TOPIC_MESSAGE_MAX + 1),
                     HS_ERR_LIMIT);
    for (int i = 0; i < 20; i++) { /* several times around */
        assert_int_equal(hs_topics_publish(topics, text, HS_TOPIC_MAX, text, HS_TOPIC_MESSAGE_MAX),
                         HS_OK);
        dispatch_all(hub);
        assert_int_equal(seen.count, i + 1);
        assert_int_equal(seen.length, HS_TOPIC_MESSAGE_MAX);
    }
    hs_errinfo_t error;
    assert_null(hs_topics_new(1, SIZE / 2, &error));
    assert_null(hs_topics_new(1, SIZE + 1, &error));
    assert_null(hs_topics_new(0, SIZE, &error));
    assert_int_equal(hs_topics_begin(topics, 5, 0), HS_ERR_INVALID);
    assert_int_equal(hs_topics_begin(topics, 0, HS_STATS_SIDES), HS_ERR_INVALID);
    hs_topic_hub_free(hub);
    hs_topics_free(topics);
}

static void every_length_arrives_as_it_was(void **state)
{
    (void)state;
    hs_topics_t *topics = new_topics();
    hs_topic_hub_t *hub = hs_topic_hub_create(topics);
    char text[512];
    for (size_t length = 0; length < sizeof(text); length++) {
        for (size_t i = 0; i < length; i++)
            text[i] = (char)('a' + (length + i) % 26);
        seen_t seen = { 0 };
        size_t topic_len = 1 + length % HS_TOPIC_MAX;
        char topic[HS_TOPIC_MAX];
        memset(topic, 't', sizeof(topic));
        hs_topic_subscriber_t *subscriber =
            hs_topic_hub_subscribe(hub, topic, topic_len, on_message, &seen);
        assert_int_equal(hs_topics_publish(topics, topic, topic_len, text, length), HS_OK);
        dispatch_all(hub);
        assert_int_equal(seen.length, length);
        assert_memory_equal(seen.last, text, hs_min(length, sizeof(seen.last) - 1));
        hs_topic_hub_unsubscribe(hub, subscriber);
    }
    hs_topic_hub_free(hub);
    hs_topics_free(topics);
}

static void a_subscriber_that_falls_behind_is_told_how_much_it_has_lost(void **state)
{
    (void)state;
    hs_topics_t *topics = new_topics();
    hs_topic_hub_t *hub = hs_topic_hub_create(topics);
    seen_t seen, other;
    subscribe(hub, "t", &seen);
    subscribe(hub, "rare", &other);
    char text[64];
    uint64_t published = 0;
    for (int round = 0; round < 5; round++) {
        uint64_t many = (uint64_t)(SIZE / 64) * (uint64_t)(round + 1);
        for (uint64_t i = 0; i < many; i++) {
            snprintf(text, sizeof(text), "%llu", (unsigned long long)published++);
            assert_int_equal(post(topics, "t", text), HS_OK);
        }
        dispatch_all(hub);
        assert_int_equal(seen.count + seen.lost, published);
    }
    assert_true(seen.lost > 0);
    assert_true(seen.count >= 5 * (SIZE / 64) * 3 / 4);
    assert_int_equal(strtoull(seen.last, NULL, 10), published - 1);
    /* The messages that were overwritten were not for this subscriber. */
    assert_int_equal(post(topics, "rare", "x"), HS_OK);
    dispatch_all(hub);
    assert_int_equal(other.count, 1);
    assert_int_equal(other.lost, 0);
    hs_topics_counters_t counters;
    hs_topics_read_counters(topics, 0, &counters);
    assert_int_equal(counters.lost, seen.lost);
    hs_topic_hub_free(hub);
    hs_topics_free(topics);
}

/* ---- Several publishers. ---- */

#define PUBLISHERS 4
#ifdef __SANITIZE_THREAD__
#define EACH 20000
#else
#define EACH 50000
#endif

typedef struct publisher {
    pthread_t thread;
    hs_topics_t *topics;
    _Atomic uint64_t *read; /* by the reader: publishers stay within the ring; NULL: they do not */
    _Atomic uint64_t *begun;
    uint32_t number;
} publisher_t;

/* Not so far ahead of the reader that it would lose messages. */
#define AHEAD (SIZE / 64 / 32)

static size_t numbered(char *text, size_t size, uint32_t publisher, uint32_t number)
{
    size_t filled = number % 7 == 0 ? size - 1 : 20;
    memset(text, 'a' + (int)(number % 26), filled);
    int written = snprintf(text, size, "%u %u ", publisher, number);
    text[written] = 'a' + (char)(number % 26);
    return filled;
}

static void *publish_many(void *argument)
{
    publisher_t *publisher = argument;
    char text[200];
    for (uint32_t i = 0; i < EACH; i++) {
        while (publisher->read != NULL &&
               atomic_load(publisher->begun) - atomic_load(publisher->read) > AHEAD)
            (void)sched_yield();
        if (publisher->read != NULL)
            atomic_fetch_add(publisher->begun, 1);
        size_t len = numbered(text, sizeof(text), publisher->number, i);
        (void)hs_topics_publish(publisher->topics, "t", 1, text, len);
        if (i % 3 == 0)
            (void)hs_topics_publish(publisher->topics, "noise", 5, text, 10);
    }
    return NULL;
}

typedef struct ordered {
    uint32_t next[PUBLISHERS];
    uint64_t count;
    uint64_t lost;
    uint64_t wrong;
    _Atomic uint64_t *read;
} ordered_t;

static void check_order(void *context, const char *message, size_t length, uint64_t lost)
{
    ordered_t *ordered = context;
    char expected[200];
    uint32_t publisher = (uint32_t)(message[0] - '0');
    ordered->lost += lost;
    ordered->count++;
    atomic_fetch_add(ordered->read, 1);
    if (publisher >= PUBLISHERS) {
        ordered->wrong++;
        return;
    }
    uint32_t number = ordered->next[publisher]++;
    size_t len = numbered(expected, sizeof(expected), publisher, number);
    ordered->wrong += len != length || memcmp(expected, message, len) != 0;
}

/* Sleeps like a reactor: a missing wake-up fails the test. */
static void messages_of_each_publisher_arrive_in_order_and_wake_the_loop(void **state)
{
    (void)state;
    hs_topics_t *topics = new_topics();
    hs_topics_t *writing = another(topics, 1, 0);
    hs_ev_t *ev = hs_ev_new(NULL, 8);
    hs_topic_hub_t hub;
    hs_topic_hub_init(&hub, topics, ev, HS_TOPICS_IO);
    _Atomic uint64_t read = 0, begun = 0;
    ordered_t ordered = { .read = &read };
    assert_non_null(hs_topic_hub_subscribe(&hub, "t", 1, check_order, &ordered));
    publisher_t publishers[PUBLISHERS];
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        publishers[i] = (publisher_t){
            .topics = i % 2 == 0 ? topics : writing, .read = &read, .begun = &begun, .number = i
        };
        pthread_create(&publishers[i].thread, NULL, publish_many, &publishers[i]);
    }
    uint64_t slept = 0;
    while (ordered.count < (uint64_t)PUBLISHERS * EACH) {
        int wait_ms = hs_topic_hub_begin_sleep(&hub);
        uint64_t began_ms = hs_clock_monotonic_ms();
        assert_true(hs_ev_poll(ev, wait_ms < 0 ? LONG_TIME_MS : wait_ms) >= 0);
        assert_true(hs_clock_monotonic_ms() - began_ms < LONG_TIME_MS / 2);
        hs_topic_hub_end_sleep(&hub);
        (void)hs_topic_hub_dispatch(&hub, 64);
        slept++;
    }
    for (uint32_t i = 0; i < PUBLISHERS; i++)
        pthread_join(publishers[i].thread, NULL);
    assert_int_equal(ordered.wrong, 0);
    assert_int_equal(ordered.lost, 0);
    assert_true(slept > 0);
    hs_topic_hub_end(&hub);
    hs_ev_free(ev);
    hs_topics_free(writing);
    hs_topics_free(topics);
}

/*
 * Slower than the publishers: what it gets is complete and in order, and the rest was counted.
 * What a publisher had numbered but not written yet counts as lost until the next loss: here the
 * last one comes when none is publishing.
 */
static void a_reader_that_is_overtaken_gets_nothing_torn(void **state)
{
    (void)state;
    hs_topics_t *topics = new_topics();
    hs_topic_hub_t *hub = hs_topic_hub_create(topics);
    seen_t seen;
    subscribe(hub, "t", &seen);
    publisher_t publishers[PUBLISHERS];
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        publishers[i] = (publisher_t){ .topics = topics, .number = i };
        pthread_create(&publishers[i].thread, NULL, publish_many, &publishers[i]);
    }
    hs_topics_counters_t counters = { 0 };
    while (counters.published < (uint64_t)PUBLISHERS * (EACH + (EACH + 2) / 3)) {
        (void)hs_topic_hub_dispatch(hub, 10);
        hs_topics_read_counters(topics, 0, &counters);
    }
    for (uint32_t i = 0; i < PUBLISHERS; i++)
        pthread_join(publishers[i].thread, NULL);
    for (size_t i = 0; i < SIZE / CELL_BYTES; i++)
        assert_int_equal(post(topics, "t", "more than fits"), HS_OK);
    assert_int_equal(post(topics, "t", "last"), HS_OK);
    dispatch_all(hub);
    assert_string_equal(seen.last, "last");
    assert_int_equal(seen.count + seen.lost, (uint64_t)PUBLISHERS * EACH + SIZE / CELL_BYTES + 1);
    hs_topic_hub_free(hub);
    hs_topics_free(topics);
}

/* ---- Wake-ups. ---- */

static uint64_t signals_of(const hs_topics_t *topics)
{
#if defined(__linux__)
    uint64_t count = 0;
    return read(*hs_topics_wakefd(topics), &count, sizeof(count)) > 0 ? count : 0;
#else
    char bytes[64];
    ssize_t count = read(*hs_topics_wakefd(topics), bytes, sizeof(bytes));
    return count > 0 ? (uint64_t)count / 8 : 0;
#endif
}

static void only_a_process_that_sleeps_and_subscribes_is_signalled(void **state)
{
    (void)state;
    hs_topics_t *topics = new_topics();
    hs_topics_t *other = another(topics, 1, 0);
    hs_topic_hub_t *hub = hs_topic_hub_create(topics);
    seen_t seen;
    subscribe(hub, "t", &seen);
    assert_int_equal(post(other, "t", "awake"), HS_OK);
    assert_int_equal(signals_of(topics), 0);
    assert_true(hs_topic_hub_sleep(hub)); /* there is something */
    dispatch_all(hub);
    assert_false(hs_topic_hub_sleep(hub));
    assert_int_equal(post(other, "unknown", "x"), HS_OK);
    assert_int_equal(signals_of(topics), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(post(other, "t", "asleep"), HS_OK);
    assert_int_equal(signals_of(topics), 1);
    assert_int_equal(signals_of(other), 0);
    /* A worker's loop sleeps through a wake-up of the other, and still has its signal. */
    hs_topic_hub_t worker;
    hs_topic_hub_init(&worker, topics, NULL, HS_TOPICS_WORKERS);
    seen_t by_worker;
    subscribe(&worker, "t", &by_worker);
    assert_int_equal(hs_topic_hub_begin_sleep(&worker), -1);
    dispatch_all(hub);
    assert_false(hs_topic_hub_sleep(hub));
    hs_topic_hub_end_sleep(hub);
    assert_int_equal(post(topics, "t", "again"), HS_OK);
    assert_int_equal(signals_of(topics), 1);
    hs_topic_hub_end(&worker);
    hs_topic_hub_free(hub);
    assert_int_equal(post(topics, "t", "nobody"), HS_OK);
    assert_int_equal(signals_of(topics), 0);
    hs_topics_free(other);
    hs_topics_free(topics);
}

/* ---- Damage. ---- */

static void damaged_memory_is_survived(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252u;
    for (int round = 0; round < 300; round++) {
        hs_topics_t *topics = new_topics();
        size_t count;
        size_t size = hs_shm_size(*hs_topics_fds(topics, &count));
        void *memory = NULL;
        assert_int_equal(hs_shm_map(*hs_topics_fds(topics, &count), size, &memory), 0);
        hs_topic_hub_t *hub = hs_topic_hub_create(topics);
        seen_t seen;
        subscribe(hub, "t", &seen);
        for (int i = 0; i < 200; i++)
            assert_int_equal(post(topics, i % 3 == 0 ? "u" : "t", "message"), HS_OK);
        uint64_t *words = memory;
        for (int i = 0; i < 2000; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            /* Mostly where there is data; the low bits select large or small values. */
            size_t word = random % (round % 2 == 0 ? size / 8 : 64 * 1024 / 8);
            words[word] = (random & 3) == 0   ? random
                          : (random & 3) == 1 ? random % 256
                                              : words[word] + 1;
        }
        for (int i = 0; i < 50; i++)
            (void)hs_topic_hub_dispatch(hub, 1000);
        assert_int_equal(post(topics, "t", "after"), HS_OK);
        (void)hs_topic_hub_sleep(hub);
        hs_topic_hub_free(hub);
        hs_shm_unmap(memory, size);
        hs_topics_free(topics);
    }
}

static void memory_of_another_version_is_refused(void **state)
{
    (void)state;
    hs_topics_t *topics = new_topics();
    hs_errinfo_t error;
    size_t count;
    const int *fds = hs_topics_fds(topics, &count);
    void *memory = NULL;
    assert_int_equal(hs_shm_map(fds[0], 64, &memory), 0);
    ((uint32_t *)memory)[2] ^= 1;
    int own[64];
    for (size_t i = 0; i < count; i++)
        own[i] = dup(fds[i]);
    assert_null(hs_topics_attach(own, count, &error));
    assert_int_equal(error.code, HS_ERR_INVALID);
    int none[1] = { hs_shm_new(16) };
    assert_null(hs_topics_attach(none, 1, &error));
    hs_shm_unmap(memory, 64);
    hs_topics_free(topics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_reaches_every_subscriber_of_its_topic),
        cmocka_unit_test(what_was_published_before_a_subscription_is_not_for_it),
        cmocka_unit_test(subscribers_may_be_closed_in_a_callback),
        cmocka_unit_test(names_and_messages_have_a_largest_size),
        cmocka_unit_test(every_length_arrives_as_it_was),
        cmocka_unit_test(a_subscriber_that_falls_behind_is_told_how_much_it_has_lost),
        cmocka_unit_test(messages_of_each_publisher_arrive_in_order_and_wake_the_loop),
        cmocka_unit_test(a_reader_that_is_overtaken_gets_nothing_torn),
        cmocka_unit_test(only_a_process_that_sleeps_and_subscribes_is_signalled),
        cmocka_unit_test(damaged_memory_is_survived),
        cmocka_unit_test(memory_of_another_version_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
