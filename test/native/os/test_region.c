/* hs_region: reserved is not used, trimmed memory is returned to the system, shared means shared.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/hs_region.h"

#ifdef __linux__
static size_t resident_pages(void *memory, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t count = (len + page - 1) / page;
    unsigned char *in_core = malloc(count);
    assert_non_null(in_core);
    assert_int_equal(mincore(memory, len, in_core), 0);
    size_t resident = 0;
    for (size_t i = 0; i < count; i++)
        resident += in_core[i] & 1;
    free(in_core);
    return resident;
}

static void check_first_touch_and_trim(unsigned flags)
{
    hs_region_t region;
    hs_pool_t small;
    hs_pool_t rings;
    size_t size = hs_region_pool_size(192, 64, 65536) + hs_region_pool_size(8192, 64, 65536);
    assert_int_equal(hs_region_init(&region, size, flags, NULL), HS_OK);
    assert_int_equal(hs_region_pool_init(&region, &small, 192, 64, 65536, NULL), HS_OK);
    assert_int_equal(hs_region_pool_init(&region, &rings, 8192, 64, 65536, NULL), HS_OK);
    assert_int_equal(resident_pages(region.memory, region.size), 0);
    static char *blocks[1000];
    for (int i = 0; i < 1000; i++) {
        blocks[i] = hs_pool_take(&rings);
        assert_non_null(blocks[i]);
        memset(blocks[i], 1, 8192);
    }
    size_t page = region.page_size;
    assert_int_equal(resident_pages(region.memory, region.size), 1000 * (8192 / page));
    for (int i = 0; i < 1000; i++)
        hs_pool_give(&rings, blocks[i]);
    int calls = 1;
    while (hs_region_trim(&region, &rings, 10))
        assert_true(calls++ < 1000);
    assert_true(calls > 1); /* the work of one call is bounded */
    assert_int_equal(resident_pages(region.memory, region.size), 10 * (8192 / page));
    hs_pool_free(&small);
    hs_pool_free(&rings);
    hs_region_free(&region);
}

static void memory_is_used_from_the_first_touch_to_the_trim(void **state)
{
    (void)state;
    check_first_touch_and_trim(HS_REGION_NO_DUMP);
}

/* Whether the system frees pages of a shared mapping: an emulator (qemu-user) ignores the request.
 */
static bool frees_shared_pages(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    memory[0] = 1;
    (void)madvise(memory, page, MADV_REMOVE);
    bool is_free = memory[0] == 0;
    munmap(memory, page);
    return is_free;
}

static void a_shared_region_gives_memory_back_too(void **state)
{
    (void)state;
    if (!frees_shared_pages())
        skip();
    check_first_touch_and_trim(HS_REGION_SHARED | HS_REGION_NO_DUMP);
}
#endif

static void a_forked_process_sees_a_shared_region(void **state)
{
    (void)state;
    hs_region_t region;
    hs_pool_t pool;
    assert_int_equal(hs_region_init(&region, 65536, HS_REGION_SHARED, NULL), HS_OK);
    assert_int_equal(hs_region_pool_init(&region, &pool, 64, 64, 100, NULL), HS_OK);
    char *block = hs_pool_take(&pool);
    assert_non_null(block);
    block[0] = 1;
    pid_t child = fork();
    if (child == 0) {
        block[0] = 2;
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(block[0], 2);
    hs_pool_free(&pool);
    hs_region_free(&region);
}

static void a_pool_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    hs_region_t region;
    hs_pool_t pool;
    hs_errinfo_t error = { 0 };
    assert_int_equal(hs_region_init(&region, 0, 0, &error), HS_ERR_INVALID);
    assert_int_equal(hs_region_init(&region, hs_region_pool_size(100, 64, 100), 0, NULL), HS_OK);
    assert_int_equal(hs_region_pool_init(&region, &pool, 100, 64, 1000, &error), HS_ERR_LIMIT);
    assert_non_null(strstr(error.text, "does not fit"));
    assert_int_equal(hs_region_pool_init(&region, &pool, 100, 64, 100, NULL), HS_OK);
    hs_pool_free(&pool);
    hs_region_free(&region);
    hs_region_free(&region);
}

/* More than any address space has, as under a limit on it. */
static void without_the_mapping_private_pools_work_and_shared_ones_say_why_not(void **state)
{
    (void)state;
    const size_t too_much = (size_t)1 << 60;
    hs_region_t region;
    hs_errinfo_t error = { 0 };
    assert_int_equal(hs_region_init(&region, too_much, HS_REGION_SHARED, &error), HS_ERR_SYSTEM);
    assert_true(error.sys_errno != 0 && strlen(error.text) > 0);
    assert_int_equal(hs_region_init(&region, too_much, 0, NULL), HS_OK);
    assert_null(region.memory);
    hs_pool_t pool;
    assert_int_equal(hs_region_pool_init(&region, &pool, 100, 64, 1000, NULL), HS_OK);
    void *block = hs_pool_take(&pool);
    assert_non_null(block);
    hs_pool_give(&pool, block);
    assert_false(hs_region_trim(&region, &pool, 0));
    hs_pool_free(&pool);
    hs_region_free(&region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef __linux__
        cmocka_unit_test(memory_is_used_from_the_first_touch_to_the_trim),
        cmocka_unit_test(a_shared_region_gives_memory_back_too),
#endif
        cmocka_unit_test(a_forked_process_sees_a_shared_region),
        cmocka_unit_test(a_pool_that_does_not_fit_is_refused),
        cmocka_unit_test(without_the_mapping_private_pools_work_and_shared_ones_say_why_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
