/* hs_buf: growth, bounds, and the state after a failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/hs_buf.h"

static void an_empty_buffer_owns_nothing(void **state)
{
    (void)state;
    hs_buf_t buf = { 0 };
    assert_true(hs_buf_append(&buf, NULL, 0));
    assert_null(buf.data);
    hs_buf_free(&buf);
    hs_buf_free(&buf);
    hs_buf_reset(&buf, 0);
    assert_int_equal(buf.len, 0);
}

static void appended_bytes_stay_in_order(void **state)
{
    (void)state;
    hs_buf_t buf = { 0 };
    char piece[97];
    size_t total = 0;
    for (size_t round = 0; round < 2000; round++) {
        size_t len = round * 17 % sizeof(piece);
        for (size_t i = 0; i < len; i++)
            piece[i] = (char)((total + i) % 251);
        assert_true(hs_buf_append(&buf, piece, len));
        total += len;
        assert_int_equal(buf.len, total);
        assert_true(buf.capacity >= buf.len);
    }
    for (size_t i = 0; i < total; i++)
        assert_int_equal(buf.data[i], (char)(i % 251));
    hs_buf_free(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.capacity, 0);
}

/* Doubling: appending n bytes one by one costs a number of allocations that grows with log n. */
static void growth_doubles(void **state)
{
    (void)state;
    hs_buf_t buf = { 0 };
    unsigned growths = 0;
    for (size_t i = 0; i < 1 << 20; i++) {
        size_t before = buf.capacity;
        assert_true(hs_buf_append(&buf, "x", 1));
        growths += buf.capacity != before;
    }
    assert_int_equal(buf.capacity, 1 << 20);
    assert_int_equal(growths, 12); /* 512 … 2^20 */
    hs_buf_free(&buf);
}

static void reserved_room_is_enough_for_put(void **state)
{
    (void)state;
    for (size_t extra = 0; extra < 3000; extra += 7) {
        hs_buf_t buf = { 0 };
        assert_true(hs_buf_append(&buf, "0123456789", 10));
        assert_true(hs_buf_reserve(&buf, extra));
        assert_true(buf.capacity - buf.len >= extra);
        char *before = buf.data;
        for (size_t i = 0; i < extra; i++)
            hs_buf_put(&buf, "y", 1);
        assert_ptr_equal(buf.data, before);
        assert_memory_equal(buf.data, "0123456789", 10);
        hs_buf_free(&buf);
    }
}

static void an_exact_reservation_is_exact_and_never_shrinks(void **state)
{
    (void)state;
    hs_buf_t buf = { 0 };
    assert_true(hs_buf_reserve_exact(&buf, 12345));
    assert_int_equal(buf.capacity, 12345);
    char *before = buf.data;
    assert_true(hs_buf_reserve_exact(&buf, 1));
    assert_int_equal(buf.capacity, 12345);
    assert_ptr_equal(buf.data, before);
    hs_buf_free(&buf);
}

static void a_size_that_cannot_be_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    hs_buf_t buf = { 0 };
    assert_true(hs_buf_append(&buf, "kept", 4));
    hs_buf_t before = buf;
    volatile size_t largest = SIZE_MAX; /* unknown to the compiler, which would warn */
    assert_false(hs_buf_reserve(&buf, largest));
    assert_false(hs_buf_reserve(&buf, largest / 2));
    assert_false(hs_buf_append(&buf, "", largest - 3));
    assert_memory_equal(&buf, &before, sizeof(buf));
    assert_memory_equal(buf.data, "kept", 4);
    hs_buf_free(&buf);
}

static void reset_gives_large_memory_back_and_keeps_small(void **state)
{
    (void)state;
    hs_buf_t buf = { 0 };
    assert_true(hs_buf_append(&buf, "abc", 3));
    char *small = buf.data;
    hs_buf_reset(&buf, HS_BUF_FIRST_CAPACITY);
    assert_ptr_equal(buf.data, small);
    assert_int_equal(buf.len, 0);
    assert_true(hs_buf_reserve(&buf, HS_BUF_FIRST_CAPACITY + 1));
    hs_buf_reset(&buf, HS_BUF_FIRST_CAPACITY);
    assert_null(buf.data);
    assert_int_equal(buf.capacity, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_owns_nothing),
        cmocka_unit_test(appended_bytes_stay_in_order),
        cmocka_unit_test(growth_doubles),
        cmocka_unit_test(reserved_room_is_enough_for_put),
        cmocka_unit_test(an_exact_reservation_is_exact_and_never_shrinks),
        cmocka_unit_test(a_size_that_cannot_be_is_refused_and_changes_nothing),
        cmocka_unit_test(reset_gives_large_memory_back_and_keeps_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
