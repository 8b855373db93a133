/* Programs started by a Lua handler: io.popen, os.execute; and os.exit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include "exec/lua_bench.h"

/* The response of a handler whose body is `body`, which sets `out`. */
static const char *outcome(lua_bench_t *lb, const char *body)
{
    char text[2048];
    snprintf(text, sizeof(text),
             "local function all(...)\n"
             "  local list = { n = select('#', ...), ... }\n"
             "  for i = 1, list.n do list[i] = tostring(list[i]) end\n"
             "  return table.concat(list, ',')\n"
             "end\n"
             "function handle(req, res)\n"
             "  local out\n"
             "  %s\n"
             "  res:body(out):send()\n"
             "end\n",
             body);
    load(lb, text);
    lua_bench_get(lb, "/");
    if (lb->status != 200)
        fail_msg("%s", lb->bench.tape.last);
    return lb->body;
}

static void reads_as_a_file_does(void **state)
{
    static const struct {
        const char *body, *expected;
    } table[] = {
        { "out = io.popen('echo one; echo two'):read()", "one" },
        { "out = io.popen('echo one; echo two'):read('*L')", "one\n" },
        { "out = io.popen('echo one; echo two'):read('*a')", "one\ntwo\n" },
        { "out = all(io.popen('echo one; echo two'):read('l', 'l', 'l'))", "one,two,nil" },
        { "out = all(io.popen('echo 12 0x1p4 x'):read('*n', 'n', 'n'))", "12,16,nil" },
        { "out = all(io.popen('printf abcdef'):read(2, 0, 10, 0))", "ab,,cdef,nil" },
        { "out = all(io.popen('true'):read('*a'))", "" },
        { "out = all(io.popen('true'):read())", "nil" },
        { "out = #io.popen('printf \"a\\\\0b\\\\n\"'):read()", "3" },
        { "out = #io.popen('head -c 100000 /dev/zero'):read('*a')", "100000" },
        { "local t = {} for line in io.popen('echo a; echo b'):lines() do t[#t + 1] = line end "
          "out = table.concat(t, '|')",
          "a|b" },
        { "local t = {} for x, y in io.popen('printf abcde'):lines(2, 1) do "
          "t[#t + 1] = x .. '-' .. tostring(y) end out = table.concat(t, '|')",
          "ab-c|de-nil" },
        { "local f = io.popen('true') out = io.type(f) f:close() out = out .. ',' .. io.type(f)",
          "file,closed file" },
        { "out = tostring(io.popen('true')):match('^file %(0x%x+%)$') and 'ok'", "ok" },
        { "local f = io.popen('true') io.close(f) out = tostring(f)", "file (closed)" },
        { "local f = io.popen('true') f:close() out = all(pcall(f.read, f))",
          "false,attempt to use a closed file" },
        { "out = all(pcall(io.popen, 'true', 'x'))",
          "false,bad argument #2 to '?' (invalid mode)" },
        { "local f = io.tmpfile() out = io.type(f) io.close(f) out = out .. ',' .. io.type(f) "
          ".. ',' .. tostring(io.type(1))",
          "file,closed file,nil" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const char *actual = outcome(*state, table[i].body);
        if (strcmp(actual, table[i].expected) != 0)
            fail_msg("%s\ngave: %s", table[i].body, actual);
    }
}

static void writes_as_a_file_does(void **state)
{
    lua_bench_t *lb = *state;
    char body[1024];
    snprintf(body, sizeof(body),
             "local f = io.popen([[cat > '%s/written']], 'w') "
             "f:write('one ', 2):write(' three') f:setvbuf('no') f:flush() "
             "out = all(f:close()) .. ' ' .. io.open([[%s/written]]):read('*a')",
             lb->directory, lb->directory);
    assert_string_equal(outcome(lb, body), "true,exit,0 one 2 three");
}

static void close_tells_how_the_program_ended(void **state)
{
    assert_string_equal(outcome(*state, "out = all(io.popen('exit 3'):close())"), "nil,exit,3");
    assert_string_equal(outcome(*state, "out = all(io.popen('kill -9 $$'):close())"),
                        "nil,signal,9");
    assert_string_equal(outcome(*state, "out = all(os.execute('exit 3'))"), "768");
    assert_string_equal(outcome(*state, "out = all(os.execute('true'), os.execute())"), "0,1");
}

/* Threads of a server block all signals and ignore SIGPIPE. */
static void programs_get_clean_signals(void **state)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
    void (*pipe_before)(int) = signal(SIGPIPE, SIG_IGN);
    /* Each would be killed by the signal if it could. */
    const char *piped =
        outcome(*state, "out = all(io.popen('kill -PIPE $$; kill -TERM $$; exit 1'):close())");
    assert_string_equal(piped, "nil,signal,13");
    assert_string_equal(outcome(*state, "out = all(io.popen('kill -TERM $$; exit 1'):close())"),
                        "nil,signal,15");
    assert_string_equal(outcome(*state, "out = all(os.execute('kill -TERM $$; exit 1'))"), "15");
    signal(SIGPIPE, pipe_before);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void *read_endlessly(void *argument)
{
    lua_bench_t *lb = argument;
    HS_OWNER_TAKE(lb->bench.job->owner);
    lua_bench_get(lb, "/");
    return NULL;
}

/* LuaJIT's io.popen flushes all streams, and waits for one that another thread reads. */
static void a_blocked_read_does_not_delay_other_threads(void **state)
{
    lua_bench_t *lb = *state;
    static lua_bench_t other;
    lua_bench_begin(&other);
    char text[1024];
    char fifo[400];
    snprintf(fifo, sizeof(fifo), "%s/fifo", lb->directory);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    snprintf(text, sizeof(text),
             "local f = io.open([[%s]])\n"
             "function handle(req, res) res:body(f:read('*a')):send() end\n",
             fifo);
    /* Opened for reading and writing, so that neither waits for the other. */
    FILE *writer = fopen(fifo, "r+");
    load(&other, text);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_endlessly, &other), 0);
    for (int i = 0; i < 20; i++)
        assert_string_equal(outcome(lb, "out = io.popen('echo through'):read()"), "through");
    fputs("the end", writer);
    fclose(writer);
    pthread_join(thread, NULL);
    HS_OWNER_TAKE(other.bench.job->owner);
    assert_string_equal(other.body, "the end");
    lua_bench_end(&other);
}

/* Neither the collector nor the end of a state waits for a program. */
static void a_program_that_is_forgotten_is_not_waited_for(void **state)
{
    lua_bench_t *lb = *state;
    char body[1024];
    /* They run as long as the directory exists. */
    snprintf(body, sizeof(body),
             "local command = [=[while [ -d '%s' ]; do sleep 0.05; done]=] "
             "io.popen(command, 'w') collectgarbage() collectgarbage() "
             "kept = io.popen(command) out = io.popen('echo on'):read()",
             lb->directory);
    assert_string_equal(outcome(lb, body), "on");
    hs_lua_free(lb->lua);
    lb->lua = NULL;
}

static void exit_is_an_error(void **state)
{
    lua_bench_t *lb = *state;
    load(lb, "function handle(req, res) os.exit(0, true) end\n");
    lua_bench_get(lb, "/");
    assert_int_equal(lb->status, 500);
    expect_logged(lb, "os.exit would end the whole process");
    expect_logged(lb, "handler.lua:1:");
    assert_null(lua_bench_load(lb, "os.exit(1)\n"));
    assert_non_null(strstr(lb->error.text, "os.exit would end"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_as_a_file_does, begin, end),
        cmocka_unit_test_setup_teardown(writes_as_a_file_does, begin, end),
        cmocka_unit_test_setup_teardown(close_tells_how_the_program_ended, begin, end),
        cmocka_unit_test_setup_teardown(programs_get_clean_signals, begin, end),
        cmocka_unit_test_setup_teardown(a_blocked_read_does_not_delay_other_threads, begin, end),
        cmocka_unit_test_setup_teardown(a_program_that_is_forgotten_is_not_waited_for, begin, end),
        cmocka_unit_test_setup_teardown(exit_is_an_error, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
