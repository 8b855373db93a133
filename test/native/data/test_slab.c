/* hs_slab: slots are distinct, aligned, reused last-in first-out, and never more than the limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/hs_slab.h"

#define PER_CHUNK 8

typedef struct item {
    char bytes[100];
} item_t;

static void slots_are_aligned_and_do_not_overlap(void **state)
{
    (void)state;
    hs_slab_t slab;
    hs_slab_init(&slab, sizeof(item_t), PER_CHUNK, 100);
    item_t *items[100];
    for (int i = 0; i < 100; i++) {
        items[i] = hs_slab_take(&slab);
        assert_non_null(items[i]);
        assert_int_equal((uintptr_t)items[i] % HS_CACHE_LINE, 0);
        memset(items[i], i, sizeof(item_t));
    }
    for (int i = 0; i < 100; i++)
        for (size_t k = 0; k < sizeof(item_t); k++)
            assert_int_equal(items[i]->bytes[k], i);
    hs_slab_free(&slab);
}

static void the_limit_holds_and_a_given_slot_counts_again(void **state)
{
    (void)state;
    hs_slab_t slab;
    hs_slab_init(&slab, sizeof(item_t), PER_CHUNK, 11);
    void *last = NULL;
    for (int i = 0; i < 11; i++) {
        last = hs_slab_take(&slab);
        assert_non_null(last);
    }
    assert_int_equal(slab.in_use, 11);
    assert_null(hs_slab_take(&slab));
    hs_slab_give(&slab, last);
    assert_int_equal(slab.in_use, 10);
    assert_ptr_equal(hs_slab_take(&slab), last);
    assert_null(hs_slab_take(&slab));
    hs_slab_free(&slab);
}

static void the_slot_given_last_is_taken_first(void **state)
{
    (void)state;
    hs_slab_t slab;
    hs_slab_init(&slab, sizeof(item_t), PER_CHUNK, 100);
    void *slots[20];
    for (int i = 0; i < 20; i++)
        slots[i] = hs_slab_take(&slab);
    for (int i = 0; i < 20; i++)
        hs_slab_give(&slab, slots[i]);
    for (int i = 19; i >= 0; i--)
        assert_ptr_equal(hs_slab_take(&slab), slots[i]);
    hs_slab_free(&slab);
}

static void the_first_slots_follow_each_other_in_memory(void **state)
{
    (void)state;
    hs_slab_t slab;
    hs_slab_init(&slab, sizeof(item_t), PER_CHUNK, 100);
    char *first = hs_slab_take(&slab);
    for (size_t i = 1; i < PER_CHUNK; i++)
        assert_ptr_equal(hs_slab_take(&slab), first + i * slab.slot_size);
    hs_slab_free(&slab);
}

/* What connections rely on: a pointer to a slot that was given back can still be read. */
static void memory_stays_until_the_slab_is_freed(void **state)
{
    (void)state;
    hs_slab_t slab;
    hs_slab_init(&slab, sizeof(item_t), PER_CHUNK, 100);
    item_t *volatile item = hs_slab_take(&slab); /* volatile: its last use is after the give */
    item->bytes[sizeof(item_t) - 1] = 7;
    hs_slab_give(&slab, item);
    assert_int_equal(item->bytes[sizeof(item_t) - 1], 7);
    hs_slab_free(&slab);
    assert_null(slab.chunks);
    hs_slab_free(&slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_aligned_and_do_not_overlap),
        cmocka_unit_test(the_limit_holds_and_a_given_slot_counts_again),
        cmocka_unit_test(the_slot_given_last_is_taken_first),
        cmocka_unit_test(the_first_slots_follow_each_other_in_memory),
        cmocka_unit_test(memory_stays_until_the_slab_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
