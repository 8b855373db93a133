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

static void *count_up(void *context)
{
    hs_shared_t *shared = context;
    double initial = 0;
    double sum;
    for (int i = 0; i < COUNTS / PROCESSES / THREADS; i++)
        if (hs_shared_incr(shared, "counter", 7, 1, &initial, 0, &sum, NULL) != HS_SHARED_OK)
            return shared;
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
    for (int i = 0; i < PROCESSES; i++)
        if (fork() == 0)
            _exit(count_with_threads(shared));
    for (int i = 0; i < PROCESSES; i++) {
        int status = -1;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    hs_shared_value_t value = { 0 };
    assert_int_equal(hs_shared_get(shared, "counter", 7, &value), HS_SHARED_OK);
    assert_true(value.number == COUNTS);
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
} progress_t;

static void write_forever(hs_shared_t *full, hs_shared_t *roomy, progress_t *progress, int writer,
                          uint64_t random)
{
    char *data = malloc(hs_shared_value_max(full));
    hs_shared_value_t value = { 0 };
    for (;;) {
        if (!call_any(full, &random, data, &value))
            atomic_fetch_add(&progress->torn, 1);
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
        cmocka_unit_test(threads_see_whole_values),
        cmocka_unit_test(a_value_that_is_rewritten_is_read_whole),
        cmocka_unit_test(killed_writers_leave_it_usable_and_whole),
    };
    return cmocka_run_group_tests_name("shared_processes", tests, NULL, NULL);
}
