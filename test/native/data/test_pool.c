/* hs_pool: blocks are distinct, reused last-in first-out, and only whole free pages are released.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/hs_pool.h"

#define PAGE ((size_t)4096)
#define MAX_BLOCKS 512

/* Page-aligned memory for MAX_BLOCKS blocks of `block_size`. */
static char *memory_for(size_t block_size)
{
    size_t size = (block_size * MAX_BLOCKS + PAGE - 1) / PAGE * PAGE;
    char *memory = hs_alloc_aligned(PAGE, size);
    assert_non_null(memory);
    return memory;
}

static void blocks_follow_each_other_and_are_reused_last_in_first_out(void **state)
{
    (void)state;
    char *memory = memory_for(192);
    hs_pool_t pool;
    assert_true(hs_pool_init(&pool, memory, PAGE, 130, 64, MAX_BLOCKS));
    char *blocks[MAX_BLOCKS];
    for (int i = 0; i < MAX_BLOCKS; i++) {
        blocks[i] = hs_pool_take(&pool);
        assert_ptr_equal(blocks[i], memory + (size_t)i * 192);
        memset(blocks[i], i, 130);
    }
    assert_null(hs_pool_take(&pool));
    assert_int_equal(hs_pool_in_use(&pool), MAX_BLOCKS);
    for (int i = 0; i < MAX_BLOCKS; i++)
        assert_int_equal((unsigned char)blocks[i][129], i & 0xff);
    for (int i = 0; i < 20; i++)
        hs_pool_give(&pool, blocks[i]);
    assert_int_equal(hs_pool_in_use(&pool), MAX_BLOCKS - 20);
    assert_int_equal(hs_pool_idle(&pool), 20);
    for (int i = 19; i >= 0; i--)
        assert_ptr_equal(hs_pool_take(&pool), blocks[i]);
    assert_null(hs_pool_take(&pool));
    hs_pool_free(&pool);
    hs_free(memory);
}

static void without_memory_of_its_own_a_pool_allocates_chunks_up_to_its_limit(void **state)
{
    (void)state;
    hs_pool_t pool;
    assert_true(hs_pool_init(&pool, NULL, PAGE, 100, 64, 150));
    char *blocks[150];
    for (int i = 0; i < 150; i++) {
        blocks[i] = hs_pool_take(&pool);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 64, 0);
        memset(blocks[i], i, 100);
    }
    assert_null(hs_pool_take(&pool));
    for (int i = 0; i < 150; i++)
        assert_int_equal((unsigned char)blocks[i][99], i);
    hs_pool_give(&pool, blocks[7]);
    assert_int_equal(hs_pool_trim(&pool, 0, 10, NULL, NULL), 0);
    assert_ptr_equal(hs_pool_take(&pool), blocks[7]);
    hs_pool_free(&pool);
}

#ifdef HS_HAS_ASAN
static void a_block_that_was_given_back_is_out_of_bounds(void **state)
{
    (void)state;
    char *memory = memory_for(192);
    hs_pool_t pool;
    assert_true(hs_pool_init(&pool, memory, PAGE, 192, 64, MAX_BLOCKS));
    char *block = hs_pool_take(&pool);
    assert_null(__asan_region_is_poisoned(block, 192));
    hs_pool_give(&pool, block);
    assert_ptr_equal(__asan_region_is_poisoned(block, 1), block);
    assert_ptr_equal(__asan_region_is_poisoned(block + 191, 1), block + 191);
    hs_pool_free(&pool);
    assert_null(__asan_region_is_poisoned(block, 192));
    hs_free(memory);
}
#endif

typedef struct release_log {
    char *begin[MAX_BLOCKS];
    size_t len[MAX_BLOCKS];
    uint32_t count;
} release_log_t;

static void note_release(void *context, void *memory, size_t len)
{
    release_log_t *log = context;
    assert_int_equal((uintptr_t)memory % PAGE, 0);
    assert_int_equal(len % PAGE, 0);
    assert_true(len > 0 && log->count < MAX_BLOCKS);
    log->begin[log->count] = memory;
    log->len[log->count++] = len;
}

static void take_and_give_all(hs_pool_t *pool, char **blocks, int count)
{
    for (int i = 0; i < count; i++)
        blocks[i] = hs_pool_take(pool);
    for (int i = count - 1; i >= 0; i--)
        hs_pool_give(pool, blocks[i]);
}

static void large_blocks_above_the_kept_ones_are_released_coldest_first(void **state)
{
    (void)state;
    char *memory = memory_for(2 * PAGE);
    hs_pool_t pool;
    assert_true(hs_pool_init(&pool, memory, PAGE, 2 * PAGE, 64, MAX_BLOCKS));
    char *blocks[10];
    take_and_give_all(&pool, blocks, 10); /* block 9 was returned first: the coldest */
    release_log_t log = { .count = 0 };
    assert_int_equal(hs_pool_trim(&pool, 3, 5, note_release, &log), 5);
    assert_int_equal(hs_pool_trim(&pool, 3, 5, note_release, &log), 2);
    assert_int_equal(hs_pool_trim(&pool, 3, 5, note_release, &log), 0);
    for (int i = 0; i < 7; i++) {
        assert_ptr_equal(log.begin[i], blocks[9 - i]);
        assert_int_equal(log.len[i], 2 * PAGE);
    }
    assert_int_equal(hs_pool_idle(&pool), 3);
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(hs_pool_take(&pool), blocks[i]);
    /* Released blocks can be used like others, and are released again. */
    char *again = hs_pool_take(&pool);
    assert_non_null(again);
    assert_int_equal(hs_pool_idle(&pool), 0);
    hs_pool_give(&pool, again);
    assert_int_equal(hs_pool_idle(&pool), 1);
    log.count = 0;
    assert_int_equal(hs_pool_trim(&pool, 0, 5, note_release, &log), 1);
    assert_ptr_equal(log.begin[0], again);
    hs_pool_free(&pool);
    hs_free(memory);
}

/* 192 bytes: 64 blocks fill three pages exactly. */
static void pages_of_small_blocks_go_only_when_every_block_on_them_is_free(void **state)
{
    (void)state;
    char *memory = memory_for(192);
    hs_pool_t pool;
    assert_true(hs_pool_init(&pool, memory, PAGE, 192, 64, MAX_BLOCKS));
    char *blocks[192];
    take_and_give_all(&pool, blocks, 192);
    assert_ptr_equal(hs_pool_take(&pool), blocks[0]); /* keeps the first three pages */
    release_log_t log = { .count = 0 };
    assert_int_equal(hs_pool_trim(&pool, 0, 10, note_release, &log), 2);
    assert_ptr_equal(log.begin[0], memory + 6 * PAGE);
    assert_ptr_equal(log.begin[1], memory + 3 * PAGE);
    assert_int_equal(log.len[0], 3 * PAGE);
    assert_int_equal(hs_pool_idle(&pool), 63);
    log.count = 0;
    hs_pool_give(&pool, blocks[0]);
    assert_int_equal(hs_pool_trim(&pool, 64, 10, note_release, &log), 0);
    assert_int_equal(hs_pool_trim(&pool, 63, 10, note_release, &log), 1);
    assert_ptr_equal(log.begin[0], memory);
    hs_pool_free(&pool);
    hs_free(memory);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* In any order: no block twice, and no page of a used block is released. */
static void run_random(size_t block_size, uint32_t seed)
{
    char *memory = memory_for(hs_pool_block_size(block_size, 64));
    hs_pool_t pool;
    assert_true(hs_pool_init(&pool, memory, PAGE, block_size, 64, MAX_BLOCKS));
    char *taken[MAX_BLOCKS];
    uint32_t count = 0;
    for (int step = 0; step < 20000; step++) {
        uint32_t what = next_random(&seed) % 1000;
        bool grows = (step / 2000) % 2 == 0;
        if (what < 5) {
            release_log_t log = { .count = 0 };
            uint32_t keep = next_random(&seed) % 100;
            (void)hs_pool_trim(&pool, keep, 1 + next_random(&seed) % 40, note_release, &log);
            for (uint32_t r = 0; r < log.count; r++)
                for (uint32_t i = 0; i < count; i++)
                    assert_true(taken[i] + block_size <= log.begin[r] ||
                                taken[i] >= log.begin[r] + log.len[r]);
        } else if (what < (grows ? 650u : 350u)) {
            char *block = hs_pool_take(&pool);
            assert_int_equal(block == NULL, count == MAX_BLOCKS);
            if (block == NULL)
                continue;
            memset(block, 0, block_size);
            memcpy(block, &count, sizeof(count));
            taken[count++] = block;
        } else if (count > 0) {
            uint32_t i = next_random(&seed) % count;
            uint32_t mark;
            memcpy(&mark, taken[i], sizeof(mark));
            assert_int_equal(mark, i);
            hs_pool_give(&pool, taken[i]);
            taken[i] = taken[--count];
            if (i < count)
                memcpy(taken[i], &i, sizeof(i));
        }
        assert_int_equal(hs_pool_in_use(&pool), count);
    }
    hs_pool_free(&pool);
    hs_free(memory);
}

static void any_order_of_take_give_and_trim_keeps_blocks_apart(void **state)
{
    (void)state;
    static const size_t sizes[] = { 64, 100, 192, 1088, 4096, 5000, 8192 };
    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        run_random(sizes[i], 7 + i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_follow_each_other_and_are_reused_last_in_first_out),
        cmocka_unit_test(without_memory_of_its_own_a_pool_allocates_chunks_up_to_its_limit),
#ifdef HS_HAS_ASAN
        cmocka_unit_test(a_block_that_was_given_back_is_out_of_bounds),
#endif
        cmocka_unit_test(large_blocks_above_the_kept_ones_are_released_coldest_first),
        cmocka_unit_test(pages_of_small_blocks_go_only_when_every_block_on_them_is_free),
        cmocka_unit_test(any_order_of_take_give_and_trim_keeps_blocks_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
