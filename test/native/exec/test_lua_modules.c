/*
 * Runs a suite of test/lua, named by the argument, under the same runtime as handlers: every case
 * is a request to test/lua/runner.lua.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "exec/lua_bench.h"

#define CASES_MAX 128

typedef struct lua_case {
    lua_bench_t *lb;
    const char *suite;
    const char *name;
} lua_case_t;

static void run_case(void **state)
{
    const lua_case_t *lua_case = *state;
    lua_bench_t *lb = lua_case->lb;
    char path[256];
    snprintf(path, sizeof(path), "/%s/%s", lua_case->suite, lua_case->name);
    lua_bench_get(lb, path);
    if (lb->status != 200)
        fail_msg("%s", lb->body);
}

/* Loads the runner and asks it for the names of the cases, which are stored in `names`. */
static size_t find_cases(lua_bench_t *lb, hs_shared_set_t *shared, const char *suite, char *names,
                         const char **found)
{
    hs_lua_config_t config = { .files = { .root = "lua", .script = "test/lua/runner.lua" },
                               .log = &lb->bench.log,
                               .shared = shared };
    const hs_shared_memory_t memories[] = {
        { .kind = HS_SHARED_DICTIONARY, .name = "test", .size = 1024 * 1024, .fd = -1 },
        { .kind = HS_SHARED_DICTIONARY, .name = "other", .size = 1024 * 1024, .fd = -1 },
    };
    if (hs_shared_set_open(shared, memories, 2, &lb->error) != HS_OK) {
        print_error("%s\n", lb->error.text);
        return 0;
    }
    lb->lua = hs_lua_new(&config, &lb->error);
    if (lb->lua == NULL) {
        print_error("%s\n", lb->error.text);
        return 0;
    }
    char path[256];
    snprintf(path, sizeof(path), "/%s", suite);
    lua_bench_get(lb, path);
    if (lb->status != 200) {
        print_error("%s\n", lb->bench.tape.last);
        return 0;
    }
    memcpy(names, lb->body, lb->body_len + 1);
    size_t count = 0;
    for (char *name = strtok(names, "\n"); name != NULL && count < CASES_MAX;
         name = strtok(NULL, "\n"))
        found[count++] = name;
    return count;
}

int main(int argc, char **argv)
{
    static lua_bench_t lb;
    static hs_shared_set_t shared;
    static char names[sizeof(lb.body)];
    static const char *found[CASES_MAX];
    static lua_case_t cases[CASES_MAX];
    static struct CMUnitTest tests[CASES_MAX];
    if (argc != 2) {
        print_error("usage: %s <suite of test/lua>\n", argv[0]);
        return 2;
    }
    lua_bench_begin(&lb);
    size_t count = find_cases(&lb, &shared, argv[1], names, found);
    for (size_t i = 0; i < count; i++) {
        cases[i] = (lua_case_t){ &lb, argv[1], found[i] };
        tests[i] = (struct CMUnitTest){ .name = found[i],
                                        .test_func = run_case,
                                        .initial_state = &cases[i] };
    }
    int failed = count == 0 ? 1 : _cmocka_run_group_tests(argv[1], tests, count, NULL, NULL);
    lua_bench_end(&lb);
    hs_shared_set_close(&shared);
    return failed;
}
