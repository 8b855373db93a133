/* The two queues between an I/O thread and its workers, single-threaded and with many threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "data/hs_mpsc.h"
#include "data/hs_workq.h"

#define PRODUCERS 8
#define PER_PRODUCER 10000
#define CONSUMERS 4
#define ITEMS 50000

typedef struct item {
    hs_mpsc_node_t node;
    unsigned producer;
    unsigned number;
} item_t;

static void test_mpsc_gives_what_was_pushed_in_order(void **state)
{
    (void)state;
    hs_mpsc_t list;
    hs_mpsc_init(&list);
    assert_true(hs_mpsc_empty(&list));
    assert_null(hs_mpsc_take_all(&list));
    item_t items[3] = { { .number = 0 }, { .number = 1 }, { .number = 2 } };
    assert_true(hs_mpsc_push(&list, &items[0].node));
    assert_false(hs_mpsc_push(&list, &items[1].node));
    assert_false(hs_mpsc_push(&list, &items[2].node));
    assert_false(hs_mpsc_empty(&list));
    hs_mpsc_node_t *node = hs_mpsc_take_all(&list);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(HS_CONTAINER_OF(node, item_t, node)->number, i);
        node = node->next;
    }
    assert_null(node);
    assert_true(hs_mpsc_push(&list, &items[0].node));
}

typedef struct producing {
    hs_mpsc_t *list;
    item_t *items;
    unsigned producer;
} producing_t;

static void *produce(void *argument)
{
    producing_t *producing = argument;
    for (unsigned i = 0; i < PER_PRODUCER; i++) {
        producing->items[i].producer = producing->producer;
        producing->items[i].number = i;
        (void)hs_mpsc_push(producing->list, &producing->items[i].node);
    }
    return NULL;
}

static void test_mpsc_loses_nothing_and_keeps_each_producers_order(void **state)
{
    (void)state;
    hs_mpsc_t list;
    hs_mpsc_init(&list);
    item_t *items = calloc(PRODUCERS * PER_PRODUCER, sizeof(*items));
    producing_t producing[PRODUCERS];
    pthread_t threads[PRODUCERS];
    for (unsigned p = 0; p < PRODUCERS; p++) {
        producing[p] = (producing_t){ &list, items + p * PER_PRODUCER, p };
        assert_int_equal(pthread_create(&threads[p], NULL, produce, &producing[p]), 0);
    }
    unsigned next[PRODUCERS] = { 0 };
    unsigned taken = 0;
    while (taken < PRODUCERS * PER_PRODUCER) {
        hs_mpsc_node_t *node = hs_mpsc_take_all(&list);
        while (node != NULL) {
            item_t *item = HS_CONTAINER_OF(node, item_t, node);
            node = node->next;
            assert_int_equal(item->number, next[item->producer]);
            next[item->producer]++;
            taken++;
        }
    }
    for (unsigned p = 0; p < PRODUCERS; p++) {
        pthread_join(threads[p], NULL);
        assert_int_equal(next[p], PER_PRODUCER);
    }
    assert_true(hs_mpsc_empty(&list));
    free(items);
}

static void *number(uintptr_t n)
{
    return (void *)n; /* an item need not be an address */
}

static void test_workq_is_a_bounded_fifo(void **state)
{
    (void)state;
    hs_workq_t queue;
    assert_true(hs_workq_init(&queue, 4));
    assert_null(hs_workq_pop(&queue));
    for (uintptr_t i = 1; i <= 4; i++)
        assert_true(hs_workq_reserve(&queue, number(i)));
    assert_false(hs_workq_reserve(&queue, number(5)));
    assert_null(hs_workq_pop(&queue)); /* a batch is visible when it is published, not before */
    hs_workq_publish_and_wake(&queue);
    assert_int_equal(hs_workq_length(&queue), 4);
    assert_ptr_equal(hs_workq_pop(&queue), number(1));
    assert_true(hs_workq_reserve(&queue, number(5)));
    assert_false(hs_workq_reserve(&queue, number(6)));
    hs_workq_publish_and_wake(&queue);
    for (uintptr_t i = 2; i <= 5; i++)
        assert_ptr_equal(hs_workq_pop(&queue), number(i));
    assert_null(hs_workq_pop(&queue));
    hs_workq_free(&queue);
}

static void test_workq_goes_round_its_slots(void **state)
{
    (void)state;
    hs_workq_t queue;
    assert_true(hs_workq_init(&queue, 8));
    uintptr_t pushed = 0;
    uintptr_t popped = 0;
    for (unsigned round = 0; round < 1000; round++) {
        for (unsigned i = 0; i < 1 + round % 8; i++)
            assert_true(hs_workq_reserve(&queue, number(++pushed)));
        hs_workq_publish_and_wake(&queue);
        void *item;
        while ((item = hs_workq_pop(&queue)) != NULL)
            assert_ptr_equal(item, number(++popped));
        assert_int_equal(popped, pushed);
    }
    hs_workq_free(&queue);
}

typedef struct consuming {
    hs_workq_t *queue;
    _Atomic unsigned *seen; /* how often each item came out */
    unsigned count;
    uintptr_t last;
    int unordered;
} consuming_t;

static void *consume(void *argument)
{
    consuming_t *consuming = argument;
    do {
        void *item;
        while ((item = hs_workq_pop(consuming->queue)) != NULL) {
            hs_workq_wake_next(consuming->queue);
            uintptr_t n = (uintptr_t)item;
            consuming->unordered += n <= consuming->last;
            consuming->last = n;
            consuming->count++;
            atomic_fetch_add(&consuming->seen[n - 1], 1);
        }
    } while (hs_workq_wait(consuming->queue, NULL) != HS_WORKQ_CLOSED);
    return NULL;
}

static void consume_all(uint32_t capacity, unsigned batch)
{
    hs_workq_t queue;
    assert_true(hs_workq_init(&queue, capacity));
    _Atomic unsigned *seen = calloc(ITEMS, sizeof(*seen));
    consuming_t consuming[CONSUMERS];
    pthread_t threads[CONSUMERS];
    for (unsigned c = 0; c < CONSUMERS; c++) {
        consuming[c] = (consuming_t){ .queue = &queue, .seen = seen };
        assert_int_equal(pthread_create(&threads[c], NULL, consume, &consuming[c]), 0);
    }
    uintptr_t next = 1;
    while (next <= ITEMS) {
        for (unsigned i = 0; i < batch && next <= ITEMS; i++) {
            if (!hs_workq_reserve(&queue, number(next)))
                break;
            next++;
        }
        hs_workq_publish_and_wake(&queue);
    }
    hs_workq_close(&queue);
    unsigned total = 0;
    for (unsigned c = 0; c < CONSUMERS; c++) {
        pthread_join(threads[c], NULL);
        total += consuming[c].count;
        assert_int_equal(consuming[c].unordered, 0);
    }
    assert_int_equal(total, ITEMS);
    for (unsigned i = 0; i < ITEMS; i++)
        assert_int_equal(seen[i], 1);
    free((void *)seen);
    hs_workq_free(&queue);
}

static void test_workq_gives_each_item_to_one_consumer(void **state)
{
    (void)state;
    consume_all(1024, 32);
}

static void test_workq_that_is_always_full_still_gives_each_once(void **state)
{
    (void)state;
    consume_all(2, 1);
}

static void test_workq_close_wakes_those_who_wait(void **state)
{
    (void)state;
    hs_workq_t queue;
    assert_true(hs_workq_init(&queue, 4));
    _Atomic unsigned seen[1] = { 0 };
    consuming_t consuming[CONSUMERS];
    pthread_t threads[CONSUMERS];
    for (unsigned c = 0; c < CONSUMERS; c++) {
        consuming[c] = (consuming_t){ .queue = &queue, .seen = seen };
        assert_int_equal(pthread_create(&threads[c], NULL, consume, &consuming[c]), 0);
    }
    while (atomic_load(&queue.idle) < CONSUMERS) {
    }
    hs_workq_close(&queue);
    for (unsigned c = 0; c < CONSUMERS; c++)
        pthread_join(threads[c], NULL);
    assert_int_equal(atomic_load(&queue.idle), 0);
    hs_workq_free(&queue);
}

static void test_workq_what_is_inside_at_close_still_comes_out(void **state)
{
    (void)state;
    hs_workq_t queue;
    assert_true(hs_workq_init(&queue, 4));
    assert_true(hs_workq_reserve(&queue, number(1)));
    hs_workq_publish_and_wake(&queue);
    hs_workq_close(&queue);
    assert_int_equal(hs_workq_wait(&queue, NULL), HS_WORKQ_WORK);
    assert_ptr_equal(hs_workq_pop(&queue), number(1));
    assert_int_equal(hs_workq_wait(&queue, NULL), HS_WORKQ_CLOSED);
    hs_workq_free(&queue);
}

static void test_workq_wait_ends_with_its_time(void **state)
{
    (void)state;
    hs_workq_t queue;
    assert_true(hs_workq_init(&queue, 4));
    const hs_deadline_t past = { { 0, 0 } };
    assert_int_equal(hs_workq_wait(&queue, &past), HS_WORKQ_TIMEOUT);
    assert_int_equal(atomic_load(&queue.idle), 0);
    hs_workq_free(&queue);
}

static void test_workq_one_batch_wakes_one_sleeper(void **state)
{
    (void)state;
    hs_workq_t queue;
    assert_true(hs_workq_init(&queue, 8));
    /* Three sleepers, as seen by the producer. */
    atomic_store(&queue.idle, 3);
    for (uintptr_t i = 1; i <= 4; i++)
        assert_true(hs_workq_reserve(&queue, number(i)));
    hs_workq_publish_and_wake(&queue);
    assert_int_equal(atomic_load(&queue.idle), 2);
    assert_int_equal(queue.wakes, 1);
    hs_workq_publish_and_wake(&queue); /* nothing new: wakes nobody */
    assert_int_equal(queue.wakes, 1);
    assert_non_null(hs_workq_pop(&queue));
    hs_workq_wake_next(&queue); /* a worker that got something wakes the next */
    assert_int_equal(queue.wakes, 2);
    hs_workq_free(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mpsc_gives_what_was_pushed_in_order),
        cmocka_unit_test(test_mpsc_loses_nothing_and_keeps_each_producers_order),
        cmocka_unit_test(test_workq_is_a_bounded_fifo),
        cmocka_unit_test(test_workq_goes_round_its_slots),
        cmocka_unit_test(test_workq_gives_each_item_to_one_consumer),
        cmocka_unit_test(test_workq_that_is_always_full_still_gives_each_once),
        cmocka_unit_test(test_workq_close_wakes_those_who_wait),
        cmocka_unit_test(test_workq_what_is_inside_at_close_still_comes_out),
        cmocka_unit_test(test_workq_wait_ends_with_its_time),
        cmocka_unit_test(test_workq_one_batch_wakes_one_sleeper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
