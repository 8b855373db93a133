/* hs_snapshot: the Lua files of an app as they were accepted, whatever happens on disk later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>

#include "exec/hs_snapshot.h"
#include "exec/lua_bench.h"
#include "os/hs_files.h"
#include "os/hs_sock.h"

/* A snapshot of the bench's directory, passed through memory as between processes. */
static hs_snapshot_t *take(lua_bench_t *lb)
{
    hs_snapshot_t *taken = hs_snapshot_take(lb->script, &lb->error);
    if (taken == NULL)
        fail_msg("%s", lb->error.text);
    hs_snapshot_freeze(taken);
    int fd = hs_snapshot_store(taken);
    assert_true(fd >= 0);
    hs_snapshot_free(taken);
    hs_snapshot_t *mapped = hs_snapshot_map(fd, lb->script, &lb->error);
    hs_sock_close(fd);
    if (mapped == NULL)
        fail_msg("%s", lb->error.text);
    return mapped;
}

static bool has(hs_snapshot_t *snapshot, const char *name)
{
    hs_snapshot_text_t found;
    bool is_there = hs_snapshot_find(snapshot, name, &found);
    if (is_there)
        hs_free(found.owned);
    return is_there;
}

static void expect_text(hs_snapshot_t *snapshot, const char *name, const char *text)
{
    hs_snapshot_text_t found;
    if (!hs_snapshot_find(snapshot, name, &found))
        fail_msg("no %s", name);
    assert_int_equal(found.text.len, strlen(text));
    assert_memory_equal(found.text.data, text, strlen(text));
    hs_free(found.owned);
}

static void make_directory(const lua_bench_t *lb, const char *name)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", lb->directory, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void make_link(const lua_bench_t *lb, const char *name, const char *target)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", lb->directory, name);
    assert_int_equal(symlink(target, path), 0);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info, (void)type, (void)where;
    return remove(path);
}

static int end_tree(void **state)
{
    lua_bench_t *lb = *state;
    (void)nftw(lb->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    assert_int_equal(mkdir(lb->directory, 0700), 0);
    return end(state);
}

static void files_stay_as_they_were(void **state)
{
    lua_bench_t *lb = *state;
    lua_bench_write(lb, "handler.lua", "first");
    lua_bench_write(lb, "gone.lua", "gone");
    lua_bench_write(lb, "empty.lua", "");
    hs_snapshot_t *snapshot = take(lb);
    lua_bench_write(lb, "handler.lua", "second, longer");
    lua_bench_write(lb, "new.lua", "new");
    char path[600];
    snprintf(path, sizeof(path), "%s/gone.lua", lb->directory);
    assert_int_equal(unlink(path), 0);
    assert_true(hs_snapshot_is_whole(snapshot));
    expect_text(snapshot, "handler.lua", "first");
    expect_text(snapshot, "gone.lua", "gone");
    expect_text(snapshot, "empty.lua", "");
    assert_false(has(snapshot, "new.lua"));
    assert_string_equal(hs_snapshot_script_name(snapshot), "handler.lua");
    hs_snapshot_free(snapshot);
}

static void folders_are_walked_but_for_some(void **state)
{
    lua_bench_t *lb = *state;
    lua_bench_write(lb, "handler.lua", "");
    make_directory(lb, "lib");
    make_directory(lb, "lib/deep");
    make_directory(lb, ".git");
    make_directory(lb, "node_modules");
    make_directory(lb, "odd.lua");
    lua_bench_write(lb, "lib/deep/a.lua", "a");
    lua_bench_write(lb, "lib/notes.txt", "text");
    lua_bench_write(lb, "lib/.hidden.lua", "hidden");
    lua_bench_write(lb, ".git/b.lua", "b");
    lua_bench_write(lb, "node_modules/c.lua", "c");
    make_link(lb, "linked.lua", "lib/deep/a.lua");
    make_link(lb, "linked", "lib/deep");
    make_link(lb, "lib/around", "..");
    make_link(lb, "dangling.lua", "nowhere");
    hs_snapshot_t *snapshot = take(lb);
    expect_text(snapshot, "lib/deep/a.lua", "a");
    expect_text(snapshot, "linked.lua", "a");
    expect_text(snapshot, "linked/a.lua", "a");
    static const char *const left_out[] = {
        "lib/notes.txt",
        "lib/.hidden.lua",
        ".git/b.lua",
        "node_modules/c.lua",
        "lib/around/x.lua",
        "odd.lua",
        "lib/around/lib/deep/a.lua",
        "dangling.lua",
    };
    for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++)
        if (has(snapshot, left_out[i]))
            fail_msg("%s is there", left_out[i]);
    hs_snapshot_free(snapshot);
}

/* Slightly more than 64 MiB in sparse files. */
static void a_larger_app_keeps_what_was_loaded(void **state)
{
    lua_bench_t *lb = *state;
    lua_bench_write(lb, "handler.lua", "h");
    lua_bench_write(lb, "used.lua", "used");
    lua_bench_write(lb, "late.lua", "late");
    lua_bench_write(lb, "huge.lua", "");
    char path[600];
    snprintf(path, sizeof(path), "%s/huge.lua", lb->directory);
    assert_int_equal(truncate(path, HS_SNAPSHOT_MAX), 0);
    hs_snapshot_t *taken = hs_snapshot_take(lb->script, &lb->error);
    assert_non_null(taken);
    assert_false(hs_snapshot_is_whole(taken));
    expect_text(taken, "used.lua", "used");
    hs_snapshot_freeze(taken);
    int fd = hs_snapshot_store(taken);
    hs_snapshot_free(taken);
    hs_snapshot_t *snapshot = hs_snapshot_map(fd, lb->script, &lb->error);
    hs_sock_close(fd);
    assert_non_null(snapshot);
    assert_false(hs_snapshot_is_whole(snapshot));
    lua_bench_write(lb, "used.lua", "changed");
    lua_bench_write(lb, "late.lua", "changed");
    expect_text(snapshot, "handler.lua", "h");
    expect_text(snapshot, "used.lua", "used");
    expect_text(snapshot, "late.lua", "changed");
    assert_false(has(snapshot, "missing.lua"));
    hs_snapshot_free(snapshot);
}

static void states_load_from_it(void **state)
{
    lua_bench_t *lb = *state;
    make_directory(lb, "lib");
    lua_bench_write(lb, "lib/words.lua", "return 'old words'\n");
    lua_bench_write(lb, "lib/init.lua", "return 'old lib'\n");
    lua_bench_write(lb, "handler.lua",
                    "#!/usr/bin/env moonring\n"
                    "local words = require 'lib.words'\n"
                    "function handle(req, res)\n"
                    "  if req.url == '/fail' then error('here') end\n"
                    "  res:body(words .. ', ' .. require('lib')):send()\n"
                    "end\n");
    hs_snapshot_t *snapshot = take(lb);
    lua_bench_write(lb, "lib/words.lua", "return 'new words'\n");
    lua_bench_write(lb, "lib/init.lua", "return 'new lib'\n");
    lua_bench_write(lb, "handler.lua", "this is broken");
    hs_lua_config_t config = {
        .files = { .root = "lua", .script = lb->script, .snapshot = snapshot },
        .log = &lb->bench.log,
    };
    lb->lua = hs_lua_new(&config, &lb->error);
    if (lb->lua == NULL)
        fail_msg("%s", lb->error.text);
    lua_bench_get(lb, "/");
    assert_string_equal(lb->body, "old words, old lib");
    lua_bench_get(lb, "/fail");
    expect_logged(lb, "handler.lua:4: here");
    hs_lua_free(lb->lua);
    lb->lua = NULL;
    hs_snapshot_free(snapshot);
}

static void expect_no_map(lua_bench_t *lb, const char *bytes, size_t len)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fflush(file), 0);
    assert_null(hs_snapshot_map(fileno(file), lb->script, &lb->error));
    assert_non_null(strstr(lb->error.text, "cannot map the files of the app"));
    fclose(file);
}

static void what_is_no_snapshot_is_refused(void **state)
{
    lua_bench_t *lb = *state;
    lua_bench_write(lb, "handler.lua", "text of the handler");
    hs_snapshot_t *taken = hs_snapshot_take(lb->script, &lb->error);
    int fd = hs_snapshot_store(taken);
    hs_snapshot_free(taken);
    char bytes[4096];
    ssize_t len = pread(fd, bytes, sizeof(bytes), 0);
    assert_true(len > 0);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1); /* it is sealed */
    hs_sock_close(fd);
    for (ssize_t cut = 0; cut < len; cut++)
        expect_no_map(lb, bytes, (size_t)cut);
    bytes[0] ^= 1;
    expect_no_map(lb, bytes, (size_t)len);
}

static void a_script_that_cannot_be_read_says_so(void **state)
{
    lua_bench_t *lb = *state;
    assert_null(hs_snapshot_take("/nowhere/handler.lua", &lb->error));
    assert_string_equal(lb->error.text,
                        "cannot open /nowhere/handler.lua: No such file or directory");
    assert_null(hs_snapshot_take("/dev/null", &lb->error));
    assert_non_null(strstr(lb->error.text, "it is not a file"));
}

static bool count_files(void *context, const char *relative)
{
    (void)relative;
    return ++*(unsigned *)context < 3;
}

static void walks_have_ends(void **state)
{
    lua_bench_t *lb = *state;
    lua_bench_write(lb, "a.lua", "");
    lua_bench_write(lb, "b.lua", "");
    unsigned count = 0;
    assert_int_equal(hs_files_walk(lb->directory, ".lua", 1, count_files, &count), -E2BIG);
    assert_int_equal(count, 1);
    assert_int_equal(hs_files_walk(lb->directory, ".lua", 2, count_files, &count), -ECANCELED);
    assert_int_equal(hs_files_walk("/nowhere", ".lua", 2, count_files, &count), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(files_stay_as_they_were, begin, end_tree),
        cmocka_unit_test_setup_teardown(folders_are_walked_but_for_some, begin, end_tree),
        cmocka_unit_test_setup_teardown(a_larger_app_keeps_what_was_loaded, begin, end_tree),
        cmocka_unit_test_setup_teardown(states_load_from_it, begin, end_tree),
        cmocka_unit_test_setup_teardown(what_is_no_snapshot_is_refused, begin, end_tree),
        cmocka_unit_test_setup_teardown(a_script_that_cannot_be_read_says_so, begin, end_tree),
        cmocka_unit_test_setup_teardown(walks_have_ends, begin, end_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
