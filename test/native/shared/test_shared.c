/*
 * hs_shared_t: the effect of each call, single-threaded.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/hs_shared.h"

#define SIZE ((size_t)1024 * 1024)

static uint64_t clock_ms;

static uint64_t now(void)
{
    return clock_ms;
}

static int set_up(void **state)
{
    char error[256];
    hs_shared_t *shared = hs_shared_create("test", SIZE, error, sizeof(error));
    assert_non_null(shared);
    clock_ms = 1000;
    shared->now_ms = now;
    *state = shared;
    return 0;
}

static int tear_down(void **state)
{
    hs_shared_free(*state);
    return 0;
}

static hs_shared_value_t text(const char *data)
{
    return (hs_shared_value_t){ .type = HS_SHARED_STRING, .data = data, .length = strlen(data) };
}

static hs_shared_value_t number(double value)
{
    return (hs_shared_value_t){ .type = HS_SHARED_NUMBER, .number = value };
}

static hs_shared_result_t store(hs_shared_t *shared, int mode, const char *key,
                                hs_shared_value_t value, uint64_t ttl_ms)
{
    return hs_shared_store(shared, mode, key, strlen(key), &value, ttl_ms, NULL);
}

static void assert_text(hs_shared_t *shared, const char *key, const char *expected)
{
    hs_shared_value_t value = { 0 };
    assert_int_equal(hs_shared_get(shared, key, strlen(key), &value), HS_SHARED_OK);
    assert_int_equal(value.type, HS_SHARED_STRING);
    assert_int_equal(value.length, strlen(expected));
    assert_memory_equal(value.data, expected, value.length);
    hs_shared_value_free(&value);
}

static void assert_number(hs_shared_t *shared, const char *key, double expected)
{
    hs_shared_value_t value = { 0 };
    assert_int_equal(hs_shared_get(shared, key, strlen(key), &value), HS_SHARED_OK);
    assert_int_equal(value.type, HS_SHARED_NUMBER);
    assert_memory_equal(&value.number, &expected, sizeof(expected)); /* -0, too */
}

static void assert_none(hs_shared_t *shared, const char *key)
{
    hs_shared_value_t value = { 0 };
    assert_int_equal(hs_shared_get(shared, key, strlen(key), &value), HS_SHARED_NOT_FOUND);
    assert_int_equal(value.type, HS_SHARED_NIL);
    hs_shared_value_free(&value);
}

static void values_of_every_type_and_length_come_back(void **state)
{
    hs_shared_t *shared = *state;
    size_t most = hs_shared_value_max(shared) - 8;
    char *data = malloc(most + 1);
    for (size_t i = 0; i <= most; i++)
        data[i] = (char)(i * 31 + i / 256);
    hs_shared_value_t value = { 0 };
    for (size_t len = 0; len <= most; len += len < 200 ? 1 : 97) {
        hs_shared_value_t given = {
            .type = HS_SHARED_STRING, .data = data, .length = len, .flags = (uint32_t)len
        };
        assert_int_equal(hs_shared_store(shared, HS_SHARED_SET, "k", 1, &given, 0, NULL),
                         HS_SHARED_OK);
        assert_int_equal(hs_shared_get(shared, "k", 1, &value), HS_SHARED_OK);
        assert_int_equal(value.length, len);
        assert_int_equal(value.flags, len);
        if (len > 0)
            assert_memory_equal(value.data, data, len);
    }
    for (size_t len = 1; len <= 300; len++) {
        hs_shared_value_t given = text("value");
        assert_int_equal(hs_shared_store(shared, HS_SHARED_SET, data, len, &given, 0, NULL),
                         HS_SHARED_OK);
        assert_int_equal(hs_shared_get(shared, data, len, &value), HS_SHARED_OK);
        assert_memory_equal(value.data, "value", 5);
    }
    store(shared, HS_SHARED_SET, "n", number(-0.5), 0);
    assert_number(shared, "n", -0.5);
    store(shared, HS_SHARED_SET, "b", (hs_shared_value_t){ .type = HS_SHARED_BOOLEAN, .number = 1 },
          0);
    assert_int_equal(hs_shared_get(shared, "b", 1, &value), HS_SHARED_OK);
    assert_int_equal(value.type, HS_SHARED_BOOLEAN);
    assert_true(value.number == 1);
    hs_shared_value_free(&value);
    free(data);
}

static void keys_and_values_that_cannot_be_are_refused(void **state)
{
    hs_shared_t *shared = *state;
    hs_shared_value_t value = number(1);
    char *key = calloc(1, HS_SHARED_KEY_MAX + 1);
    assert_int_equal(hs_shared_store(shared, 0, "", 0, &value, 0, NULL), HS_SHARED_BAD_KEY);
    assert_int_equal(hs_shared_store(shared, 0, key, HS_SHARED_KEY_MAX + 1, &value, 0, NULL),
                     HS_SHARED_BAD_KEY);
    assert_int_equal(hs_shared_get(shared, "", 0, &value), HS_SHARED_BAD_KEY);
    value = (hs_shared_value_t){ .type = HS_SHARED_LIST };
    assert_int_equal(hs_shared_store(shared, 0, "k", 1, &value, 0, NULL), HS_SHARED_BAD_VALUE);
    size_t most = hs_shared_value_max(shared);
    char *data = calloc(1, most + 1);
    value = (hs_shared_value_t){ .type = HS_SHARED_STRING, .data = data, .length = most };
    assert_int_equal(hs_shared_store(shared, 0, "k", 1, &value, 0, NULL), HS_SHARED_NO_MEMORY);
    value.length = most - 8;
    assert_int_equal(hs_shared_store(shared, 0, "k", 1, &value, 0, NULL), HS_SHARED_OK);
    free(data);
    free(key);
}

static void add_and_replace_look_whether_it_is_there(void **state)
{
    hs_shared_t *shared = *state;
    assert_int_equal(store(shared, HS_SHARED_REPLACE, "k", number(1), 0), HS_SHARED_NOT_FOUND);
    assert_int_equal(store(shared, HS_SHARED_ADD, "k", number(1), 50), HS_SHARED_OK);
    assert_int_equal(store(shared, HS_SHARED_ADD, "k", number(2), 50), HS_SHARED_EXISTS);
    assert_number(shared, "k", 1);
    clock_ms += 50;
    assert_none(shared, "k");
    assert_int_equal(store(shared, HS_SHARED_REPLACE, "k", number(3), 0), HS_SHARED_NOT_FOUND);
    assert_int_equal(store(shared, HS_SHARED_ADD, "k", text("again"), 0), HS_SHARED_OK);
    assert_int_equal(store(shared, HS_SHARED_REPLACE, "k", text("third"), 0), HS_SHARED_OK);
    assert_text(shared, "k", "third");
    assert_int_equal(hs_shared_delete(shared, "k", 1), HS_SHARED_OK);
    assert_int_equal(hs_shared_delete(shared, "k", 1), HS_SHARED_NOT_FOUND);
    assert_none(shared, "k");
}

static void entries_expire_and_are_stale_then(void **state)
{
    hs_shared_t *shared = *state;
    hs_shared_value_t value = { 0 };
    uint64_t left = 0;
    store(shared, HS_SHARED_SET, "k", text("old"), 100);
    assert_int_equal(hs_shared_ttl(shared, "k", 1, &left), HS_SHARED_OK);
    assert_int_equal(left, 100);
    clock_ms += 99;
    assert_text(shared, "k", "old");
    clock_ms += 1;
    assert_none(shared, "k");
    assert_int_equal(hs_shared_ttl(shared, "k", 1, &left), HS_SHARED_NOT_FOUND);
    assert_int_equal(hs_shared_expire(shared, "k", 1, 10), HS_SHARED_NOT_FOUND);
    assert_int_equal(hs_shared_get_stale(shared, "k", 1, &value), HS_SHARED_OK);
    assert_true(value.is_stale);
    assert_memory_equal(value.data, "old", 3);
    store(shared, HS_SHARED_SET, "n", number(1), 0);
    assert_int_equal(hs_shared_ttl(shared, "n", 1, &left), HS_SHARED_OK);
    assert_int_equal(left, HS_SHARED_FOREVER);
    assert_int_equal(hs_shared_expire(shared, "n", 1, 10), HS_SHARED_OK);
    clock_ms += 10;
    assert_none(shared, "n");
    assert_int_equal(hs_shared_flush_expired(shared, 1), 1);
    assert_int_equal(hs_shared_flush_expired(shared, 0), 1);
    assert_int_equal(hs_shared_get_stale(shared, "n", 1, &value), HS_SHARED_NOT_FOUND);
    hs_shared_value_free(&value);
}

static void numbers_count(void **state)
{
    hs_shared_t *shared = *state;
    double sum = 0;
    double initial = 10;
    assert_int_equal(hs_shared_incr(shared, "k", 1, 1, NULL, 0, &sum, NULL), HS_SHARED_NOT_FOUND);
    assert_int_equal(hs_shared_incr(shared, "k", 1, 1, &initial, 100, &sum, NULL), HS_SHARED_OK);
    assert_true(sum == 11);
    assert_int_equal(hs_shared_incr(shared, "k", 1, -0.5, &initial, 0, &sum, NULL), HS_SHARED_OK);
    assert_true(sum == 10.5);
    clock_ms += 100;
    assert_int_equal(hs_shared_incr(shared, "k", 1, 1, NULL, 0, &sum, NULL), HS_SHARED_NOT_FOUND);
    assert_int_equal(hs_shared_incr(shared, "k", 1, 1, &initial, 0, &sum, NULL), HS_SHARED_OK);
    assert_true(sum == 11);
    store(shared, HS_SHARED_SET, "t", text("x"), 0);
    assert_int_equal(hs_shared_incr(shared, "t", 1, 1, &initial, 0, &sum, NULL),
                     HS_SHARED_NOT_A_NUMBER);
}

/* Every one after every other: set, compared, and added to. */
static void numbers_of_every_kind_come_back(void **state)
{
    hs_shared_t *shared = *state;
    static const double all[] = { 0,
                                  -0.0,
                                  1,
                                  -1,
                                  0.5,
                                  -7.25,
                                  INT32_MAX,
                                  INT32_MIN,
                                  INT32_MAX + 1.0,
                                  INT32_MIN - 1.0,
                                  9007199254740992,
                                  1e300,
                                  INFINITY };
    size_t count = sizeof(all) / sizeof(all[0]);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            hs_shared_value_t from = number(all[i]);
            hs_shared_value_t to = number(all[j]);
            double sum = 0;
            assert_int_equal(store(shared, HS_SHARED_SET, "k", from, 0), HS_SHARED_OK);
            assert_number(shared, "k", all[i]);
            assert_int_equal(store(shared, HS_SHARED_SET, "k", to, 0), HS_SHARED_OK);
            assert_number(shared, "k", all[j]);
            assert_int_equal(hs_shared_cas(shared, "k", 1, &to, &from, HS_SHARED_KEEP_TTL, NULL),
                             HS_SHARED_OK);
            assert_number(shared, "k", all[i]);
            assert_int_equal(hs_shared_incr(shared, "k", 1, all[j], NULL, 0, &sum, NULL),
                             HS_SHARED_OK);
            assert_true(sum == all[i] + all[j]);
            assert_int_equal(hs_shared_incr(shared, "k", 1, 1, NULL, 0, &sum, NULL), HS_SHARED_OK);
            assert_number(shared, "k", all[i] + all[j] + 1);
        }
}

static HS_NOINLINE bool by_hint(hs_shared_t *shared, const hs_shared_hint_t *hint, const char *key,
                                double amount, double *sum)
{
    return hs_shared_add(shared, hint, key, strlen(key), amount, sum);
}

static bool add(hs_shared_t *shared, const hs_shared_hint_t *hint, const char *key, double expected)
{
    double sum;
    if (!by_hint(shared, hint, key, 1, &sum))
        return false;
    assert_true(sum == expected);
    assert_number(shared, key, expected);
    return true;
}

static hs_shared_hint_t hint_for(hs_shared_t *shared, const char *key)
{
    hs_shared_hint_t hint = { 0 };
    double sum;
    assert_int_equal(store(shared, HS_SHARED_SET, key, number(-1), 0), HS_SHARED_OK);
    assert_int_equal(
        hs_shared_incr_hinting(shared, &hint, key, strlen(key), 1, NULL, 0, &sum, NULL),
        HS_SHARED_OK);
    return hint;
}

static void a_hint_is_for_one_key_while_that_is_there(void **state)
{
    hs_shared_t *shared = *state;
    static const char *const keys[] = { "k", "key", "a key", "the key 8",
                                        "a key of just 24 bytes, " };
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char other[64];
        size_t len = strlen(keys[i]);
        hs_shared_hint_t hint = hint_for(shared, keys[i]);
        assert_true(add(shared, &hint, keys[i], 1));
        atomic_store(hint.clock, HS_SHARED_CLOCK_NEW);
        double sum;
        assert_true(by_hint(shared, &hint, keys[i], 1, &sum));
        assert_int_equal(atomic_load(hint.clock), HS_SHARED_CLOCK_READ);
        for (size_t j = 0; j < len; j++) {
            snprintf(other, sizeof(other), "%s", keys[i]);
            other[j]++;
            assert_false(add(shared, &hint, other, 0));
        }
        snprintf(other, sizeof(other), "%s.", keys[i]);
        assert_false(add(shared, &hint, other, 0));
        other[len - 1] = '\0';
        assert_false(add(shared, &hint, other, 0));
        hs_shared_t *same = hs_shared_create("same", SIZE, other, sizeof(other));
        assert_false(add(same, &hint, keys[i], 0));
        hs_shared_free(same);
        assert_int_equal(hs_shared_delete(shared, keys[i], len), HS_SHARED_OK);
        assert_false(add(shared, &hint, keys[i], 0));
        /* What is in its block looks the same: the bucket tells. */
        HS_SHARED_STORE(hint.entry->value.high, hint.stamp << 32);
        assert_false(add(shared, &hint, keys[i], 0));
        HS_SHARED_STORE(hint.entry->value.high, 0);
        /* The bucket looks the same: the stamp of another entry in the same block tells. */
        store(shared, HS_SHARED_SET, keys[i], number(0), 0);
        assert_false(add(shared, &hint, keys[i], 0));
        hint.word = HS_SHARED_LOAD(*hint.bucket);
        assert_false(add(shared, &hint, keys[i], 0));
        hint = hint_for(shared, keys[i]);
        store(shared, HS_SHARED_SET, keys[i], text("1"), 0);
        assert_false(add(shared, &hint, keys[i], 0));
    }
    hs_shared_hint_t none = hint_for(shared, "a key longer than 24 bytes");
    assert_false(add(shared, &none, "a key longer than 24 bytes", 0));
}

static void a_hint_adds_only_what_is_small_and_for_ever(void **state)
{
    hs_shared_t *shared = *state;
    double sum;
    hs_shared_hint_t hint = hint_for(shared, "k");
    assert_false(by_hint(shared, &hint, "k", 0.5, &sum));
    assert_false(by_hint(shared, &hint, "k", NAN, &sum));
    assert_false(by_hint(shared, &hint, "k", 1e10, &sum));
    assert_true(by_hint(shared, &hint, "k", INT32_MAX, &sum));
    assert_true(sum == INT32_MAX);
    assert_false(by_hint(shared, &hint, "k", 1, &sum));
    assert_true(by_hint(shared, &hint, "k", INT32_MIN, &sum));
    assert_true(sum == -1);
    assert_int_equal(hs_shared_expire(shared, "k", 1, 10), HS_SHARED_OK);
    assert_false(by_hint(shared, &hint, "k", 1, &sum));
    clock_ms += 10;
    assert_none(shared, "k");
    hint = hint_for(shared, "k");
    hs_shared_flush_all(shared);
    assert_false(by_hint(shared, &hint, "k", 1, &sum));
}

static hs_shared_result_t cas(hs_shared_t *shared, const hs_shared_value_t *expected,
                              const hs_shared_value_t *value, uint64_t ttl_ms)
{
    return hs_shared_cas(shared, "k", 1, expected, value, ttl_ms, NULL);
}

static void compare_and_swap_compares_type_and_value(void **state)
{
    hs_shared_t *shared = *state;
    hs_shared_value_t one = number(1);
    hs_shared_value_t two = number(2);
    hs_shared_value_t name = text("a name that is longer than an entry has room for");
    hs_shared_value_t other = text("a name that is longer than an entry has room foR");
    hs_shared_value_t yes = { .type = HS_SHARED_BOOLEAN, .number = 1 };
    double sum = 0;
    assert_int_equal(cas(shared, &one, &two, 0), HS_SHARED_DIFFERS);
    assert_int_equal(cas(shared, NULL, &one, 100), HS_SHARED_OK);
    assert_int_equal(cas(shared, NULL, &one, 0), HS_SHARED_DIFFERS);
    assert_int_equal(cas(shared, &two, &one, 0), HS_SHARED_DIFFERS);
    assert_int_equal(hs_shared_incr(shared, "k", 1, 0, NULL, 0, &sum, NULL), HS_SHARED_OK);
    assert_int_equal(cas(shared, &one, &two, HS_SHARED_KEEP_TTL), HS_SHARED_OK);
    assert_int_equal(cas(shared, &two, &name, HS_SHARED_KEEP_TTL), HS_SHARED_OK);
    assert_int_equal(cas(shared, &other, &yes, 0), HS_SHARED_DIFFERS);
    uint64_t left = 0;
    assert_int_equal(hs_shared_ttl(shared, "k", 1, &left), HS_SHARED_OK);
    assert_int_equal(left, 100);
    assert_int_equal(cas(shared, &name, &yes, 0), HS_SHARED_OK);
    assert_int_equal(cas(shared, &one, NULL, 0), HS_SHARED_DIFFERS);
    assert_int_equal(cas(shared, &yes, NULL, 0), HS_SHARED_OK);
    assert_none(shared, "k");
    assert_int_equal(cas(shared, NULL, NULL, 0), HS_SHARED_OK);
}

static void push(hs_shared_t *shared, bool at_head, hs_shared_value_t value, size_t expected)
{
    size_t count = 0;
    assert_int_equal(hs_shared_push(shared, "list", 4, at_head, &value, &count), HS_SHARED_OK);
    assert_int_equal(count, expected);
}

static void pop(hs_shared_t *shared, bool at_head, const char *expected)
{
    hs_shared_value_t value = { 0 };
    assert_int_equal(hs_shared_pop(shared, "list", 4, at_head, &value), HS_SHARED_OK);
    assert_int_equal(value.length, strlen(expected));
    assert_memory_equal(value.data, expected, value.length);
    hs_shared_value_free(&value);
}

static void lists_have_two_ends(void **state)
{
    hs_shared_t *shared = *state;
    hs_shared_value_t value = { 0 };
    hs_shared_stats_t before;
    size_t count = 7;
    hs_shared_read_stats(shared, &before);
    const char *one = "one that is longer than the forty bytes that an item itself has room for";
    assert_int_equal(hs_shared_length(shared, "list", 4, &count), HS_SHARED_NOT_FOUND);
    assert_int_equal(count, 0);
    assert_int_equal(hs_shared_pop(shared, "list", 4, true, &value), HS_SHARED_NOT_FOUND);
    push(shared, true, text(one), 1);
    push(shared, false, text("two"), 2);
    push(shared, true, text("zero"), 3);
    push(shared, false, number(3), 4);
    assert_int_equal(hs_shared_length(shared, "list", 4, &count), HS_SHARED_OK);
    assert_int_equal(count, 4);
    assert_int_equal(hs_shared_get(shared, "list", 4, &value), HS_SHARED_IS_LIST);
    assert_int_equal(hs_shared_pop(shared, "list", 4, false, &value), HS_SHARED_OK);
    assert_true(value.type == HS_SHARED_NUMBER && value.number == 3);
    pop(shared, true, "zero");
    pop(shared, true, one);
    pop(shared, false, "two");
    assert_int_equal(hs_shared_length(shared, "list", 4, &count), HS_SHARED_NOT_FOUND);
    hs_shared_stats_t after;
    hs_shared_read_stats(shared, &after);
    assert_int_equal(after.used, before.used);
    store(shared, HS_SHARED_SET, "list", number(1), 0);
    value = text("x");
    assert_int_equal(hs_shared_push(shared, "list", 4, true, &value, &count), HS_SHARED_NOT_A_LIST);
    store(shared, HS_SHARED_SET, "list", number(1), 5);
    clock_ms += 5;
    push(shared, true, text("new"), 1);
    store(shared, HS_SHARED_SET, "list", text("no list any more"), 0);
    assert_text(shared, "list", "no list any more");
}

static void a_list_takes_no_more_than_one_value_may(void **state)
{
    hs_shared_t *shared = *state;
    hs_shared_value_t value = text("an item");
    size_t count = 0;
    hs_shared_result_t result = HS_SHARED_OK;
    for (int i = 0; i < 100000 && result == HS_SHARED_OK; i++)
        result = hs_shared_push(shared, "list", 4, i % 2 == 0, &value, &count);
    assert_int_equal(result, HS_SHARED_NO_MEMORY);
    assert_int_equal(count, shared->value_blocks);
    assert_int_equal(hs_shared_delete(shared, "list", 4), HS_SHARED_OK);
    hs_shared_stats_t stats;
    hs_shared_read_stats(shared, &stats);
    assert_int_equal(stats.used, 0);
    assert_int_equal(stats.entries, 0);
}

static void flush_all_leaves_what_is_stale(void **state)
{
    hs_shared_t *shared = *state;
    char key[16];
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        store(shared, HS_SHARED_SET, key, number(i), 0);
    }
    hs_shared_flush_all(shared);
    assert_none(shared, "k7");
    hs_shared_value_t value = { 0 };
    assert_int_equal(hs_shared_get_stale(shared, "k7", 2, &value), HS_SHARED_OK);
    assert_int_equal(hs_shared_flush_expired(shared, 0), 500);
    hs_shared_stats_t stats;
    hs_shared_read_stats(shared, &stats);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.used, 0);
}

static void a_scan_gives_every_key_once(void **state)
{
    hs_shared_t *shared = *state;
    char key[64];
    bool seen[2000] = { false };
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof(key), "k%d%s", i, i % 7 == 0 ? " with a tail that is in a block" : "");
        store(shared, HS_SHARED_SET, key, number(i), i % 10 == 0 ? 5 : 0);
    }
    clock_ms += 5;
    uint64_t cursor = 0;
    size_t total = 0;
    hs_shared_value_t keys = { 0 };
    do {
        size_t count = hs_shared_scan(shared, &cursor, 100, &keys);
        assert_true(count < 120);
        size_t at = 0;
        for (size_t i = 0; i < count; i++) {
            uint32_t len;
            memcpy(&len, keys.data + at, sizeof(len));
            assert_int_equal(keys.data[at + 4], 'k');
            memcpy(key, keys.data + at + 4, len);
            key[len] = '\0';
            int n = atoi(key + 1);
            assert_false(seen[n]);
            assert_true(n % 10 != 0);
            seen[n] = true;
            at += 4 + len;
        }
        assert_int_equal(at, keys.length);
        total += count;
    } while (cursor != 0);
    assert_int_equal(total, 1800);
    hs_shared_value_free(&keys);
}

static void what_was_used_lately_stays_when_memory_is_short(void **state)
{
    hs_shared_t *shared = *state;
    char key[32];
    store(shared, HS_SHARED_SET, "used", text("all the time"), 0);
    bool was_forced = false;
    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof(key), "key number %d", i);
        hs_shared_value_t value = text("a value of the usual length, which is fifty or sixty");
        bool is_forced;
        assert_int_equal(
            hs_shared_store(shared, HS_SHARED_SET, key, strlen(key), &value, 0, &is_forced),
            HS_SHARED_OK);
        was_forced |= is_forced;
        if (i % 16 == 0)
            assert_text(shared, "used", "all the time");
    }
    assert_true(was_forced);
    hs_shared_stats_t stats;
    hs_shared_read_stats(shared, &stats);
    assert_true(stats.evictions > 80000);
    assert_int_equal(stats.refusals, 0);
    assert_true(stats.entries > 5000);
}

static void a_safe_call_removes_only_what_has_expired(void **state)
{
    hs_shared_t *shared = *state;
    char key[32];
    hs_shared_result_t result = HS_SHARED_OK;
    int count = 0;
    for (; count < 100000 && result == HS_SHARED_OK; count++) {
        snprintf(key, sizeof(key), "k%d", count);
        result = store(shared, HS_SHARED_SET | HS_SHARED_SAFE, key, text("x"), 100);
    }
    assert_int_equal(result, HS_SHARED_NO_MEMORY);
    assert_text(shared, "k0", "x");
    clock_ms += 100;
    assert_int_equal(store(shared, HS_SHARED_SET | HS_SHARED_SAFE, key, text("x"), 0),
                     HS_SHARED_OK);
    hs_shared_stats_t stats;
    hs_shared_read_stats(shared, &stats);
    assert_int_equal(stats.evictions, 0);
}

static void what_is_no_dictionary_is_not_attached(void **state)
{
    hs_shared_t *shared = *state;
    char error[256] = "";
    hs_shared_t *same = hs_shared_attach("same", dup(hs_shared_fd(shared)), error, sizeof(error));
    assert_non_null(same);
    store(shared, HS_SHARED_SET, "k", text("seen there"), 0);
    assert_text(same, "k", "seen there");
    hs_shared_free(same);
    ((hs_shared_header_t *)(void *)shared->memory)->blocks++;
    assert_null(hs_shared_attach("same", dup(hs_shared_fd(shared)), error, sizeof(error)));
    assert_non_null(strstr(error, "no dictionary of this version"));
    assert_null(hs_shared_create("small", 1000, error, sizeof(error)));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(values_of_every_type_and_length_come_back),
        TEST(keys_and_values_that_cannot_be_are_refused),
        TEST(add_and_replace_look_whether_it_is_there),
        TEST(entries_expire_and_are_stale_then),
        TEST(numbers_count),
        TEST(numbers_of_every_kind_come_back),
        TEST(a_hint_is_for_one_key_while_that_is_there),
        TEST(a_hint_adds_only_what_is_small_and_for_ever),
        TEST(compare_and_swap_compares_type_and_value),
        TEST(lists_have_two_ends),
        TEST(a_list_takes_no_more_than_one_value_may),
        TEST(flush_all_leaves_what_is_stale),
        TEST(a_scan_gives_every_key_once),
        TEST(what_was_used_lately_stays_when_memory_is_short),
        TEST(a_safe_call_removes_only_what_has_expired),
        TEST(what_is_no_dictionary_is_not_attached),
    };
    return cmocka_run_group_tests_name("shared", tests, NULL, NULL);
}
