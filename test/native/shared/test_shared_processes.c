/*
 * hs_shared_t between processes and threads: counts are exact, values complete, and a process that
 * is killed in the middle of a call leaves a working dictionary, having lost at most that call.
 *
 * MOONRING_KILLS sets the number of kills, by default 300.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/shared_check.h"

#define PROCESSES 4
#define THREADS 4
#define COUNTS 1000000
#define SELDOM 10
#define KILLS 300
#define WRITERS 2
#define OWN_KEYS 16
/* Stuck: no call takes this long, however busy the machine is. */
#define STUCK_S 120

static hs_shared_t *make(size_t size)
{
    char error[256];
    hs_shared_t *shared = hs_shared_create("test", size, error, sizeof(error));
    assert_non_null(shared);
    return shared;
}

/* Small, fast, and the same everywhere. */
static uint32_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

/* ---- Counting. ---- */

/* As Lua does it. */
static HS_NOINLINE hs_shared_result_t incr_by_hint(hs_shared_t *shared, hs_shared_hint_t *hint,
                                                   const char *key, size_t key_len,
                                                   const double *initial, double *sum)
{
    if (hs_shared_add(shared, hint, key, key_len, 1, sum))
        return HS_SHARED_OK;
    return hs_shared_incr_hinting(shared, hint, key, key_len, 1, initial, 0, sum, NULL);
}

/* A small number; now and then one that becomes too large for that half way, and a fraction. */
static void *count_up(void *context)
{
    hs_shared_t *shared = context;
    hs_shared_hint_t hints[2] = { 0 };
    double initial = 0;
    double half = 0.5;
    double sum;
    for (int i = 0; i < COUNTS / PROCESSES / THREADS; i++) {
        if (incr_by_hint(shared, &hints[0], "counter", 7, &initial, &sum) != HS_SHARED_OK)
            return shared;
        if (i % SELDOM == 0 &&
            (incr_by_hint(shared, &hints[1], "large", 5, NULL, &sum) != HS_SHARED_OK ||
             hs_shared_incr(shared, "half", 4, 1, &half, 0, &sum, NULL) != HS_SHARED_OK))
            return shared;
    }
    return NULL;
}

static int count_with_threads(hs_shared_t *shared)
{
    pthread_t threads[THREADS];
    int failed = 0;
    for (int i = 0; i < THREADS; i++)
        failed |= pthread_create(&threads[i], NULL, count_up, shared) != 0;
    for (int i = 0; i < THREADS; i++) {
        void *result = shared;
        failed |= pthread_join(threads[i], &result) != 0 || result != NULL;
    }
    return failed;
}

static void processes_and_threads_count_exactly(void **state)
{
    (void)state;
    hs_shared_t *shared = make(1024 * 1024);
    const double large = INT32_MAX - COUNTS / SELDOM / 2;
    hs_shared_value_t value = { .type = HS_SHARED_NUMBER, .number = large };
    assert_int_equal(hs_shared_store(shared, HS_SHARED_SET, "large", 5, &value, 0, NULL),
                     HS_SHARED_OK);
    for (int i = 0; i < PROCESSES; i++)
        if (fork() == 0)
            _exit(count_with_threads(shared));
    for (int i = 0; i < PROCESSES; i++) {
        int status = -1;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(hs_shared_get(shared, "counter", 7, &value), HS_SHARED_OK);
    assert_true(value.number == COUNTS);
    assert_int_equal(hs_shared_get(shared, "large", 5, &value), HS_SHARED_OK);
    assert_true(value.number == large + COUNTS / SELDOM);
    assert_int_equal(hs_shared_get(shared, "half", 4, &value), HS_SHARED_OK);
    assert_true(value.number == 0.5 + COUNTS / SELDOM);
    hs_shared_free(shared);
}

/* ---- A counter that goes away, and blocks that become something else. ---- */

#define ROUNDS 20000

typedef struct adder {
    hs_shared_t *shared;
    const char *key;
    _Atomic bool is_over;
    _Atomic uint64_t added;
} adder_t;

static void *add_by_hint(void *context)
{
    adder_t *adder = context;
    hs_shared_hint_t hint = { 0 };
    double sum;
    while (!atomic_load(&adder->is_over)) {
        if (incr_by_hint(adder->shared, &hint, adder->key, 1, NULL, &sum) == HS_SHARED_OK)
            atomic_fetch_add(&adder->added, 1);
    }
    return NULL;
}

/* All that was added is in one of the numbers of "k"; nothing of it in another value. */
static void a_hint_outlives_no_entry(void **state)
{
    (void)state;
    adder_t adder = { .shared = make(256 * 1024), .key = "k" };
    hs_shared_t *shared = adder.shared;
    char other[16];
    int len;
    uint32_t n = 0;
    do
        len = snprintf(other, sizeof(other), "%u", n++);
    while (hs_shared_place(shared, other, (size_t)len).shard !=
           hs_shared_place(shared, "k", 1).shard);
    pthread_t threads[2];
    hs_shared_value_t zero = { .type = HS_SHARED_NUMBER };
    hs_shared_value_t value = { 0 };
    uint64_t found = 0;
    int changed = 0;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_by_hint, &adder), 0);
    for (int i = 0; i < ROUNDS; i++) {
        (void)hs_shared_store(shared, HS_SHARED_SET, "k", 1, &zero, 0, NULL);
        /* In two steps: the number that is taken away is the one that was read. */
        do
            (void)hs_shared_get(shared, "k", 1, &value);
        while (hs_shared_cas(shared, "k", 1, &value, NULL, 0, NULL) != HS_SHARED_OK);
        found += (uint64_t)value.number;
        /* In the block of "k", which was the last that became free in its shard. */
        (void)hs_shared_store(shared, HS_SHARED_SET, other, (size_t)len, &zero, 0, NULL);
        (void)hs_shared_get(shared, other, (size_t)len, &value);
        changed += value.number != 0;
        (void)hs_shared_delete(shared, other, (size_t)len);
    }
    atomic_store(&adder.is_over, true);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(changed, 0);
    assert_int_equal(found, atomic_load(&adder.added));
    hs_shared_free(shared);
}

/* ---- Mixed calls in a full dictionary. ---- */

/* A value in which tearing is visible: one letter, repeated. */
static hs_shared_value_t value_of(uint64_t *random, char *data, size_t most)
{
    uint32_t choice = next_random(random);
    size_t length = choice % 4 == 0 ? choice / 4 % most : choice / 4 % 100;
    memset(data, 'a' + (int)(choice / 7 % 26), length);
    if (choice % 3 == 0)
        return (hs_shared_value_t){ .type = HS_SHARED_NUMBER, .number = (double)(choice % 1000) };
    return (hs_shared_value_t){
        .type = HS_SHARED_STRING, .flags = (uint32_t)length, .data = data, .length = length
    };
}

static bool is_whole(const hs_shared_value_t *value)
{
    if (value->type != HS_SHARED_STRING)
        return true;
    for (size_t i = 1; i < value->length; i++)
        if (value->data[i] != value->data[0])
            return false;
    return value->flags == value->length;
}

/* A random call on one of few keys, some of them long. Returns false for a torn value. */
static bool call_any(hs_shared_t *shared, uint64_t *random, char *data, hs_shared_value_t *value)
{
    char key[64];
    uint32_t choice = next_random(random);
    int key_len =
        snprintf(key, sizeof(key), "%s%u", choice % 5 == 0 ? "a key longer than 24 bytes " : "k",
                 next_random(random) % 5000);
    char list[16];
    int list_len = snprintf(list, sizeof(list), "list%u", next_random(random) % 64);
    size_t most = hs_shared_value_max(shared) / 2;
    hs_shared_value_t given = value_of(random, data, most);
    hs_shared_value_t expected;
    double sum = 0;
    size_t count;
    switch (choice / 5 % 12) {
    case 0:
        (void)hs_shared_delete(shared, key, (size_t)key_len);
        return true;
    case 1:
        (void)hs_shared_incr(shared, key, (size_t)key_len, 1, &sum, choice % 50, &sum, NULL);
        return true;
    case 2:
        if (hs_shared_get(shared, key, (size_t)key_len, value) != HS_SHARED_OK)
            return true;
        expected = *value;
        (void)hs_shared_cas(shared, key, (size_t)key_len, &expected, &given, HS_SHARED_KEEP_TTL,
                            NULL);
        return is_whole(&expected);
    case 3:
        (void)hs_shared_push(shared, list, (size_t)list_len, choice % 2 == 0, &given, &count);
        return true;
    case 4:
        return hs_shared_pop(shared, list, (size_t)list_len, choice % 2 == 0, value) !=
                   HS_SHARED_OK ||
               value->type != HS_SHARED_STRING || value->length < 2 ||
               value->data[0] == value->data[value->length - 1];
    case 5:
        (void)hs_shared_expire(shared, key, (size_t)key_len, choice % 20);
        return true;
    case 6:
        (void)hs_shared_store(shared, HS_SHARED_ADD | HS_SHARED_SAFE, key, (size_t)key_len, &given,
                              5, NULL);
        return true;
    case 7:
    case 8:
        (void)hs_shared_store(shared, HS_SHARED_SET, key, (size_t)key_len, &given, choice % 3 * 100,
                              NULL);
        return true;
    default:
        return hs_shared_get(shared, key, (size_t)key_len, value) != HS_SHARED_OK ||
               is_whole(value);
    }
}

/* ---- Killing. ---- */

/* The calls that writers report as finished; shared with the test. */
typedef struct progress {
    _Atomic uint64_t torn;
    _Atomic uint64_t done[WRITERS][OWN_KEYS]; /* the last number of a key whose call has returned */
    _Atomic uint64_t counted[2];              /* calls of count_one that have returned */
} progress_t;

/* A number of one word, and one of two. */
static const double counters[2] = { 0, 0.5 };

/* Adds 1 to a counter, without the lock, or with it. */
static void count_one(hs_shared_t *roomy, progress_t *progress, hs_shared_hint_t *hints, int i,
                      bool is_locked)
{
    const char *key = i == 0 ? "counter" : "half";
    size_t len = strlen(key);
    hs_shared_value_t before = { .type = HS_SHARED_NUMBER };
    double sum;
    if (is_locked) {
        if (hs_shared_get(roomy, key, len, &before) != HS_SHARED_OK)
            return;
        hs_shared_value_t after = { .type = HS_SHARED_NUMBER, .number = before.number + 1 };
        if (hs_shared_cas(roomy, key, len, &before, &after, HS_SHARED_FOREVER, NULL) !=
            HS_SHARED_OK)
            return;
    } else if (incr_by_hint(roomy, &hints[i], key, len, &counters[i], &sum) != HS_SHARED_OK) {
        return;
    }
    atomic_fetch_add(&progress->counted[i], 1);
}

/* A call of each kill may be missing from what is counted. */
static void assert_counted(hs_shared_t *roomy, progress_t *progress, uint64_t kills)
{
    for (int i = 0; i < 2; i++) {
        hs_shared_value_t value = { 0 };
        const char *key = i == 0 ? "counter" : "half";
        double counted = (double)atomic_load(&progress->counted[i]);
        assert_int_equal(hs_shared_get(roomy, key, strlen(key), &value), HS_SHARED_OK);
        double number = value.number - counters[i];
        assert_true(number >= counted && number <= counted + (double)kills);
    }
}

static void write_forever(hs_shared_t *full, hs_shared_t *roomy, progress_t *progress, int writer,
                          uint64_t random)
{
    char *data = malloc(hs_shared_value_max(full));
    hs_shared_value_t value = { 0 };
    hs_shared_hint_t hints[2] = { 0 };
    for (;;) {
        if (!call_any(full, &random, data, &value))
            atomic_fetch_add(&progress->torn, 1);
        for (int i = 0; i < 4; i++)
            count_one(roomy, progress, hints, i % 2, i / 2 == 0);
        uint32_t own = next_random(&random) % OWN_KEYS;
        char key[32];
        int key_len = snprintf(key, sizeof(key), "%d %u", writer, own);
        uint64_t number = atomic_load(&progress->done[writer][own]) + 1;
        /* The length decides whether it is in one block or several; its content is the number. */
        size_t length = 8 * (1 + number % 40);
        for (size_t i = 0; i < length; i += 8)
            memcpy(data + i, &number, 8);
        hs_shared_value_t given = { .type = HS_SHARED_STRING, .data = data, .length = length };
        if (hs_shared_store(roomy, HS_SHARED_SET, key, (size_t)key_len, &given, 0, NULL) ==
            HS_SHARED_OK)
            atomic_store(&progress->done[writer][own], number);
    }
}

static void assert_nothing_lost(hs_shared_t *roomy, progress_t *progress, int writer)
{
    hs_shared_value_t value = { 0 };
    for (int own = 0; own < OWN_KEYS; own++) {
        char key[32];
        int key_len = snprintf(key, sizeof(key), "%d %d", writer, own);
        uint64_t done = atomic_load(&progress->done[writer][own]);
        hs_shared_result_t result = hs_shared_get(roomy, key, (size_t)key_len, &value);
        if (result != HS_SHARED_OK) {
            assert_int_equal(done, 0);
            continue;
        }
        uint64_t number;
        memcpy(&number, value.data, sizeof(number));
        assert_true(number == done || number == done + 1);
        assert_int_equal(value.length, 8 * (1 + number % 40));
        for (size_t i = 0; i < value.length; i += 8)
            assert_memory_equal(value.data + i, &number, 8);
        atomic_store(&progress->done[writer][own], number);
    }
    hs_shared_value_free(&value);
}

static void wait_a_little(uint64_t *random)
{
    struct timespec pause = { .tv_nsec = 1000 + (long)(next_random(random) % 2000000) };
    (void)nanosleep(&pause, NULL);
}

static uint64_t kill_count(void)
{
    const char *given = getenv("MOONRING_KILLS");
    return given != NULL ? strtoull(given, NULL, 10) : KILLS;
}

static void killed_writers_leave_it_usable_and_whole(void **state)
{
    (void)state;
    hs_shared_t *full = make(512 * 1024);
    hs_shared_t *roomy = make(1024 * 1024);
    progress_t *progress =
        mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(progress != MAP_FAILED);
    pid_t writers[WRITERS] = { 0 };
    uint64_t random = 7;
    uint64_t kills = kill_count();
    char *data = malloc(hs_shared_value_max(full));
    hs_shared_value_t value = { 0 };
    for (uint64_t i = 0; i < kills; i++) {
        int writer = (int)(i % WRITERS);
        (void)alarm(STUCK_S);
        if (writers[writer] != 0) {
            wait_a_little(&random);
            assert_int_equal(kill(writers[writer], SIGKILL), 0);
            assert_int_equal(waitpid(writers[writer], NULL, 0), writers[writer]);
            assert_nothing_lost(roomy, progress, writer);
        }
        for (int n = 0; n < 20; n++)
            assert_true(call_any(full, &random, data, &value));
        writers[writer] = fork();
        assert_true(writers[writer] >= 0);
        if (writers[writer] == 0)
            write_forever(full, roomy, progress, writer, random + i);
    }
    for (int writer = 0; writer < WRITERS; writer++) {
        (void)kill(writers[writer], SIGKILL);
        (void)waitpid(writers[writer], NULL, 0);
    }
    assert_counted(roomy, progress, kills + WRITERS);
    const char *problem = shared_problem(full);
    assert_string_equal(problem != NULL ? problem : "", "");
    problem = shared_problem(roomy);
    assert_string_equal(problem != NULL ? problem : "", "");
    assert_int_equal(atomic_load(&progress->torn), 0);
    hs_shared_stats_t stats;
    hs_shared_read_stats(full, &stats);
    print_message("%lu kills, %lu of them repaired, %lu evictions\n", (unsigned long)kills,
                  (unsigned long)stats.repairs, (unsigned long)stats.evictions);
    (void)alarm(0);
    hs_shared_value_free(&value);
    free(data);
    munmap(progress, sizeof(*progress));
    hs_shared_free(full);
    hs_shared_free(roomy);
}

/* ---- Threads, mainly for ThreadSanitizer. ---- */

#define CALLS 60000

typedef struct caller {
    hs_shared_t *shared;
    uint64_t random;
    bool was_torn;
} caller_t;

static void *call_many(void *context)
{
    caller_t *caller = context;
    char *data = malloc(hs_shared_value_max(caller->shared));
    hs_shared_value_t value = { 0 };
    for (int i = 0; i < CALLS; i++)
        if (!call_any(caller->shared, &caller->random, data, &value))
            caller->was_torn = true;
    hs_shared_value_free(&value);
    free(data);
    return NULL;
}

static void threads_see_whole_values(void **state)
{
    (void)state;
    hs_shared_t *shared = make(512 * 1024);
    pthread_t threads[THREADS];
    caller_t callers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (caller_t){ shared, (uint64_t)i + 1, false };
        assert_int_equal(pthread_create(&threads[i], NULL, call_many, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_false(callers[i].was_torn);
    }
    const char *problem = shared_problem(shared);
    assert_string_equal(problem != NULL ? problem : "", "");
    hs_shared_free(shared);
}

/* ---- One key, whose blocks are reused at once. ---- */

#define READS 20000

typedef struct rewriter {
    hs_shared_t *shared;
    _Atomic bool is_over;
} rewriter_t;

static void *rewrite(void *context)
{
    rewriter_t *rewriter = context;
    char data[3000];
    for (uint32_t i = 0; !atomic_load(&rewriter->is_over); i++) {
        /* Of different lengths, so that blocks move from one position of the value to another. */
        size_t length = 2000 + i * 97 % 1000;
        memset(data, 'a' + (int)(i % 26), length);
        hs_shared_value_t value = {
            .type = HS_SHARED_STRING, .flags = (uint32_t)length, .data = data, .length = length
        };
        (void)hs_shared_store(rewriter->shared, HS_SHARED_SET, "k", 1, &value, 0, NULL);
    }
    return NULL;
}

static void a_value_that_is_rewritten_is_read_whole(void **state)
{
    (void)state;
    rewriter_t rewriter = { .shared = make(256 * 1024) };
    pthread_t threads[2];
    hs_shared_value_t value = { 0 };
    int found = 0;
    int torn = 0;
    rewriter.shared->value_blocks = rewriter.shared->blocks; /* one value fills its shard */
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, rewrite, &rewriter), 0);
    while (found < READS) {
        if (hs_shared_get(rewriter.shared, "k", 1, &value) != HS_SHARED_OK)
            continue;
        torn += !is_whole(&value);
        found++;
    }
    atomic_store(&rewriter.is_over, true);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(torn, 0); /* not before: the threads use what is on this stack */
    hs_shared_value_free(&value);
    hs_shared_free(rewriter.shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_and_threads_count_exactly),
        cmocka_unit_test(a_hint_outlives_no_entry),
        cmocka_unit_test(threads_see_whole_values),
        cmocka_unit_test(a_value_that_is_rewritten_is_read_whole),
        cmocka_unit_test(killed_writers_leave_it_usable_and_whole),
    };
    return cmocka_run_group_tests_name("shared_processes", tests, NULL, NULL);
}
