/*
 * Writes a history of calls made by 8 processes on few keys of one dictionary at the same time,
 * for test/linearizability: a line per call, with its start and return.
 *
 *     test_record_shared [calls per process]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shared/hs_shared.h"

#define PROCESSES 8
#define KEYS 4
#define CALLS 1500

typedef struct record {
    uint64_t called_ns;
    uint64_t returned_ns;
    int key;
    char text[100]; /* the call and its result */
} record_t;

static uint32_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Few different values, so that comparisons sometimes succeed: numbers of one word that grow to
 * two, and strings that span several blocks: one letter, repeated. */
static hs_shared_value_t any_value(uint64_t *random, char *data, size_t size)
{
    static const double numbers[4] = { 0, 1, INT32_MAX - 1, INT32_MAX };
    uint32_t choice = next_random(random);
    if (choice % 2 == 0)
        return (hs_shared_value_t){ .type = HS_SHARED_NUMBER, .number = numbers[choice / 2 % 4] };
    memset(data, 'a' + (int)(choice / 2 % 3), size);
    return (hs_shared_value_t){ .type = HS_SHARED_STRING, .data = data, .length = size };
}

static void show(char *text, const hs_shared_value_t *value)
{
    if (value->type == HS_SHARED_NUMBER) {
        snprintf(text, 20, "n%.0f", value->number);
        return;
    }
    bool is_whole = value->type == HS_SHARED_STRING && value->length == 300;
    for (size_t i = 1; is_whole && i < value->length; i++)
        is_whole = value->data[i] == value->data[0];
    snprintf(text, 20, is_whole ? "s%c" : "torn", is_whole ? value->data[0] : ' ');
}

/* As Lua does it. */
static HS_NOINLINE hs_shared_result_t incr(hs_shared_t *shared, hs_shared_hint_t *hint,
                                           const char *key, size_t len, double *sum)
{
    if (hs_shared_add(shared, hint, key, len, 1, sum))
        return HS_SHARED_OK;
    return hs_shared_incr_hinting(shared, hint, key, len, 1, NULL, 0, sum, NULL);
}

static void call(hs_shared_t *shared, uint64_t *random, record_t *record, hs_shared_value_t *value,
                 hs_shared_hint_t *hints)
{
    static const char *const keys[KEYS] = { "a", "b", "c", "a key longer than 24 bytes" };
    char data[300];
    char other_data[300];
    char shown[20];
    char other_shown[20];
    double sum = 0;
    hs_shared_result_t result;
    record->key = (int)(next_random(random) % KEYS);
    const char *key = keys[record->key];
    size_t len = strlen(key);
    hs_shared_value_t given = any_value(random, data, sizeof(data));
    hs_shared_value_t expected = any_value(random, other_data, sizeof(other_data));
    show(shown, &given);
    show(other_shown, &expected);
    uint32_t choice = next_random(random) % 10;
    record->called_ns = now_ns();
    if (choice < 3) {
        result = hs_shared_get(shared, key, len, value);
        record->returned_ns = now_ns();
        if (result == HS_SHARED_OK)
            show(shown, value);
        snprintf(record->text, sizeof(record->text), "get - - %s",
                 result == HS_SHARED_OK ? shown : "none");
    } else if (choice < 5) {
        result = incr(shared, &hints[record->key], key, len, &sum);
        record->returned_ns = now_ns();
        if (result == HS_SHARED_OK)
            snprintf(record->text, sizeof(record->text), "incr - - n%.0f", sum);
        else
            snprintf(record->text, sizeof(record->text), "incr - - %s",
                     result == HS_SHARED_NOT_FOUND ? "none" : "text");
    } else if (choice < 7) {
        result = hs_shared_cas(shared, key, len, &expected, &given, HS_SHARED_KEEP_TTL, NULL);
        record->returned_ns = now_ns();
        snprintf(record->text, sizeof(record->text), "cas %s %s %d", other_shown, shown,
                 result == HS_SHARED_OK);
    } else if (choice < 8) {
        result = hs_shared_delete(shared, key, len);
        record->returned_ns = now_ns();
        snprintf(record->text, sizeof(record->text), "delete - - %d", result == HS_SHARED_OK);
    } else if (choice < 9) {
        result = hs_shared_store(shared, HS_SHARED_ADD, key, len, &given, 0, NULL);
        record->returned_ns = now_ns();
        snprintf(record->text, sizeof(record->text), "add - %s %d", shown, result == HS_SHARED_OK);
    } else {
        result = hs_shared_store(shared, HS_SHARED_SET, key, len, &given, 0, NULL);
        record->returned_ns = now_ns();
        snprintf(record->text, sizeof(record->text), "set - %s %d", shown, result == HS_SHARED_OK);
    }
}

int main(int argc, char **argv)
{
    size_t calls = argc > 1 ? strtoul(argv[1], NULL, 10) : CALLS;
    char error[256];
    hs_shared_t *shared = hs_shared_create("history", 256 * 1024, error, sizeof(error));
    size_t size = PROCESSES * calls * sizeof(record_t);
    record_t *records = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == NULL || records == MAP_FAILED)
        return 1;
    uint64_t seed = now_ns();
    for (size_t p = 0; p < PROCESSES; p++) {
        if (fork() != 0)
            continue;
        hs_shared_value_t value = { .type = HS_SHARED_NIL };
        hs_shared_hint_t hints[KEYS] = { 0 };
        uint64_t random = seed + p;
        for (size_t i = 0; i < calls; i++)
            call(shared, &random, &records[p * calls + i], &value, hints);
        _exit(0);
    }
    for (size_t p = 0; p < PROCESSES; p++)
        (void)wait(NULL);
    for (size_t i = 0; i < PROCESSES * calls; i++)
        printf("%zu %llu %llu %d %s\n", i / calls, (unsigned long long)records[i].called_ns,
               (unsigned long long)records[i].returned_ns, records[i].key, records[i].text);
    return 0;
}
