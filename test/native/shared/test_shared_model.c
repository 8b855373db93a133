/*
 * hs_shared_t compared with a model, always full; and with memory damaged by another process.
 *
 * The model runs for MOONRING_SECONDS, by default 2.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/shared_check.h"

#define KEYS 3000
#define SECONDS 2
#define STUCK_S 120

static uint32_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

static size_t key_of(char *key, size_t size, uint32_t number)
{
    /* Every length from a few bytes to several blocks. */
    return (size_t)snprintf(key, size, "%u%.*s", number, (int)(number % 150),
                            "....................................................................."
                            "....................................................................."
                            "............");
}

static void fill(char *data, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (char)(seed + i * 7);
}

/* The last value stored under a key; `length` SIZE_MAX: none. */
typedef struct model {
    size_t length;
    uint32_t seed;
} model_t;

static void assert_as_in_model(hs_shared_t *shared, const char *key, size_t key_len, model_t *model,
                               hs_shared_value_t *value, char *expected)
{
    hs_shared_result_t result = hs_shared_get(shared, key, key_len, value);
    if (result == HS_SHARED_NOT_FOUND) {
        model->length = SIZE_MAX; /* evicted */
        return;
    }
    assert_int_equal(result, HS_SHARED_OK);
    assert_true(model->length != SIZE_MAX);
    assert_int_equal(value->length, model->length);
    fill(expected, model->length, model->seed);
    if (model->length > 0)
        assert_memory_equal(value->data, expected, model->length);
}

static void any_size_finds_memory_and_comes_back(void **state)
{
    (void)state;
    char error[256];
    hs_shared_t *shared = hs_shared_create("model", 2 * 1024 * 1024, error, sizeof(error));
    assert_non_null(shared);
    size_t most = hs_shared_value_max(shared);
    model_t *models = malloc(KEYS * sizeof(*models));
    for (int i = 0; i < KEYS; i++)
        models[i].length = SIZE_MAX;
    char *data = malloc(most + 1);
    char *expected = malloc(most + 1);
    hs_shared_value_t value = { 0 };
    uint64_t random = (uint64_t)time(NULL);
    print_message("seed %lu\n", (unsigned long)random);
    const char *given = getenv("MOONRING_SECONDS");
    time_t end = time(NULL) + (given != NULL ? atoi(given) : SECONDS);
    uint64_t stored = 0;
    while (time(NULL) < end || stored < 20000) {
        uint32_t number = next_random(&random) % KEYS;
        char key[256];
        size_t key_len = key_of(key, sizeof(key), number);
        uint32_t choice = next_random(&random);
        if (choice % 8 == 0) {
            (void)hs_shared_delete(shared, key, key_len);
            models[number].length = SIZE_MAX;
        } else if (choice % 3 == 0) {
            /* Small ones, and some of every size up to the largest that fits, whatever the memory
             * was used for.
             */
            size_t room = most - 8 * hs_shared_words(key_len);
            size_t length = next_random(&random) % (choice % 5 == 0 ? room + 1 : 300);
            if (choice % 97 == 0)
                length = room - room % 8;
            uint32_t seed = next_random(&random);
            fill(data, length, seed);
            hs_shared_value_t to_store = { .type = HS_SHARED_STRING,
                                           .data = data,
                                           .length = length };
            if (8 * hs_shared_words(length) > room)
                continue;
            assert_int_equal(
                hs_shared_store(shared, HS_SHARED_SET, key, key_len, &to_store, 0, NULL),
                HS_SHARED_OK);
            models[number] = (model_t){ length, seed };
            stored++;
        } else {
            assert_as_in_model(shared, key, key_len, &models[number], &value, expected);
        }
    }
    hs_shared_stats_t stats;
    hs_shared_read_stats(shared, &stats);
    assert_true(stats.evictions > 0);
    assert_int_equal(stats.refusals, 0);
    struct stat memory;
    assert_int_equal(fstat(hs_shared_fd(shared), &memory), 0);
    assert_true((uint64_t)memory.st_blocks * 512 <= stats.size);
    const char *problem = shared_problem(shared);
    assert_string_equal(problem != NULL ? problem : "", "");
    print_message("%lu values, %lu evictions\n", (unsigned long)stored,
                  (unsigned long)stats.evictions);
    hs_shared_value_free(&value);
    free(expected);
    free(data);
    free(models);
    hs_shared_free(shared);
}

/* ---- Damaged memory. ---- */

#define ROUNDS 300
#define DAMAGED_SIZE ((size_t)256 * 1024)

/* A dictionary between inaccessible pages. */
static void map_guarded(hs_shared_t *shared, char **whole)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    *whole = mmap(NULL, DAMAGED_SIZE + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(*whole != MAP_FAILED);
    assert_int_equal(mprotect(*whole + page, DAMAGED_SIZE, PROT_READ | PROT_WRITE), 0);
    *shared = (hs_shared_t){ .fd = -1, .memory = *whole + page };
    assert_true(hs_shared_layout(shared, DAMAGED_SIZE));
    assert_int_equal(hs_shared_format(shared), 0);
}

static uint64_t now_of_the_test(void)
{
    return 1000;
}

/* Overwrites some words, but no lock: a process that overwrites locks blocks the others. */
static void damage(hs_shared_t *shared, uint64_t *random)
{
    uint32_t times = 1 + next_random(random) % 40;
    for (uint32_t i = 0; i < times; i++) {
        char *shard = (char *)hs_shared_shard(shared, next_random(random) % HS_SHARED_SHARDS);
        size_t from = sizeof(hs_shlock_t);
        size_t at = from + next_random(random) % (shared->shard_size - from);
        uint32_t choice = next_random(random);
        /* Block numbers are the most dangerous ones. */
        uint32_t word = choice % 3 == 0 ? next_random(random) % 60 : next_random(random) << 1;
        memcpy(shard + (at & ~(size_t)3), &word, sizeof(word));
    }
}

static void use_everything(hs_shared_t *shared, uint64_t *random, hs_shared_value_t *value)
{
    char data[3000];
    memset(data, 'x', sizeof(data));
    for (int i = 0; i < 300; i++) {
        char key[256];
        size_t key_len = key_of(key, sizeof(key), next_random(random) % 300);
        size_t count;
        double initial = 0;
        double sum;
        uint64_t ttl_ms;
        hs_shared_value_t given = { .type = HS_SHARED_STRING,
                                    .data = data,
                                    .length = next_random(random) % (i % 10 == 0 ? 1500 : 100) };
        switch (next_random(random) % 12) {
        case 0:
            (void)hs_shared_store(shared, HS_SHARED_SET, key, key_len, &given, (uint64_t)i % 3,
                                  NULL);
            break;
        case 1:
            (void)hs_shared_incr(shared, key, key_len, 1, &initial, 0, &sum, NULL);
            break;
        case 2:
            (void)hs_shared_push(shared, key, key_len, i % 2 == 0, &given, &count);
            break;
        case 3:
            (void)hs_shared_pop(shared, key, key_len, i % 2 == 0, value);
            break;
        case 4:
            (void)hs_shared_delete(shared, key, key_len);
            break;
        case 5:
            (void)hs_shared_get_stale(shared, key, key_len, value);
            break;
        case 6:
            (void)hs_shared_ttl(shared, key, key_len, &ttl_ms);
            break;
        case 7:
            (void)hs_shared_cas(shared, key, key_len, NULL, &given, 0, NULL);
            break;
        case 8:
            (void)hs_shared_length(shared, key, key_len, &count);
            break;
        default:
            (void)hs_shared_get(shared, key, key_len, value);
        }
    }
    uint64_t cursor = 0;
    do
        (void)hs_shared_scan(shared, &cursor, 1000, value);
    while (cursor != 0);
    hs_shared_stats_t stats;
    hs_shared_read_stats(shared, &stats);
    (void)hs_shared_flush_expired(shared, 0);
    if (next_random(random) % 4 == 0)
        hs_shared_flush_all(shared);
}

static void damaged_memory_leads_nowhere(void **state)
{
    (void)state;
    hs_shared_t shared;
    char *whole;
    uint64_t random = (uint64_t)time(NULL);
    print_message("seed %lu\n", (unsigned long)random);
    hs_shared_value_t value = { 0 };
    map_guarded(&shared, &whole);
    shared.now_ms = now_of_the_test;
    use_everything(&shared, &random, &value);
    (void)alarm(STUCK_S);
    for (int i = 0; i < ROUNDS; i++) {
        damage(&shared, &random);
        use_everything(&shared, &random, &value);
        if (i % 50 != 0)
            continue;
        /* As if a writer had been killed: inconsistencies are repaired. */
        for (uint32_t n = 0; n < HS_SHARED_SHARDS; n++)
            HS_SHARED_STORE(hs_shared_shard(&shared, n)->intent, 1);
        const char *problem = shared_problem(&shared);
        assert_string_equal(problem != NULL ? problem : "", "");
    }
    (void)alarm(0);
    hs_shared_value_free(&value);
    munmap(whole, DAMAGED_SIZE + 2 * (size_t)sysconf(_SC_PAGESIZE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_size_finds_memory_and_comes_back),
        cmocka_unit_test(damaged_memory_leads_nowhere),
    };
    return cmocka_run_group_tests_name("shared_model", tests, NULL, NULL);
}
