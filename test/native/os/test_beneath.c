/* Opening below a directory, by openat2 and one component at a time; the page cache. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "os/hs_beneath.h"
#include "os/hs_page_cache.h"
#include "os/scratch.h"

typedef struct rig {
    scratch_t scratch;
    hs_beneath_t root;
} rig_t;

static void begin(rig_t *rig, bool by_component)
{
    scratch_begin(&rig->scratch);
    scratch_text(&rig->scratch, "outside", "secret");
    scratch_directory(&rig->scratch, "root");
    scratch_directory(&rig->scratch, "root/a");
    scratch_directory(&rig->scratch, "root/a/b");
    scratch_text(&rig->scratch, "root/file", "top");
    scratch_text(&rig->scratch, "root/a/b/deep", "deep");
    scratch_link(&rig->scratch, "../outside", "root/up");
    scratch_link(&rig->scratch, "/etc/passwd", "root/absolute");
    scratch_link(&rig->scratch, "..", "root/parent");
    scratch_link(&rig->scratch, "a/b", "root/inside");
    scratch_link(&rig->scratch, "loop", "root/loop");
    scratch_link(&rig->scratch, "/proc/self/root", "root/magic");
    assert_int_equal(mkfifo(scratch_path(&rig->scratch, "root/fifo"), 0644), 0);
    assert_int_equal(hs_beneath_open_root(&rig->root, scratch_path(&rig->scratch, "root")), 0);
    rig->root.by_component = rig->root.by_component || by_component;
}

static void end(rig_t *rig)
{
    hs_beneath_close_root(&rig->root);
    scratch_end(&rig->scratch);
}

static bool opens(const rig_t *rig, const char *name)
{
    int fd = hs_beneath_open(&rig->root, name);
    hs_file_close(fd);
    return fd >= 0;
}

static void check_confined(bool by_component)
{
    rig_t rig;
    begin(&rig, by_component);
    assert_true(opens(&rig, "file"));
    assert_true(opens(&rig, "a/b/deep"));
    assert_true(opens(&rig, "a"));
    assert_true(opens(&rig, ""));
    static const char *const out[] = { "..",
                                       "../outside",
                                       "a/../../outside",
                                       "/etc/passwd",
                                       "up",
                                       "absolute",
                                       "parent/outside",
                                       "loop",
                                       "magic/etc/passwd",
                                       "missing",
                                       "file/x",
                                       "a/b/deep/" };
    for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++)
        if (!(by_component && i == sizeof(out) / sizeof(out[0]) - 1))
            assert_false(opens(&rig, out[i]));
    /* A link that stays inside is followed if the system can confine it. */
    assert_int_equal(opens(&rig, "inside/deep"), !rig.root.by_component);
    end(&rig);
}

static void names_do_not_lead_out(void **state)
{
    (void)state;
    check_confined(false);
}

static void names_do_not_lead_out_without_openat2(void **state)
{
    (void)state;
    check_confined(true);
}

static void a_fifo_is_opened_at_once_and_is_no_regular_file(void **state)
{
    (void)state;
    rig_t rig;
    hs_file_info_t info;
    begin(&rig, false);
    int fd = hs_beneath_open(&rig.root, "fifo");
    assert_true(fd >= 0);
    assert_int_equal(hs_file_stat(fd, &info), 0);
    assert_int_equal(info.kind, HS_FILE_OTHER);
    hs_file_close(fd);
    end(&rig);
}

static bool count_entry(void *context, const char *name, const hs_file_info_t *info)
{
    unsigned *counts = context;
    counts[info->kind]++;
    assert_string_not_equal(name, ".");
    assert_string_not_equal(name, "up");
    assert_string_not_equal(name, "absolute");
    return true;
}

static void links_that_lead_out_are_not_listed(void **state)
{
    (void)state;
    rig_t rig;
    unsigned counts[3] = { 0 };
    begin(&rig, false);
    assert_int_equal(hs_beneath_list(&rig.root, "", count_entry, counts), 0);
    assert_int_equal(counts[HS_FILE_REGULAR], 1);
    assert_int_equal(counts[HS_FILE_DIRECTORY], rig.root.by_component ? 1 : 2);
    assert_int_equal(counts[HS_FILE_OTHER], 1);
    assert_int_equal(hs_beneath_list(&rig.root, "file", count_entry, counts), -ENOTDIR);
    end(&rig);
}

static void what_is_in_memory_is_read_without_a_wait(void **state)
{
    (void)state;
    rig_t rig;
    char text[8] = "";
    begin(&rig, false);
    int fd = hs_beneath_open(&rig.root, "file");
    assert_int_equal(hs_page_cache_read(fd, text, sizeof(text), 0), 3);
    assert_memory_equal(text, "top", 3);
    assert_int_equal(hs_page_cache_resident(fd, 0, 3), 3);
    hs_page_cache_load(fd, 0, 100);
    hs_file_close(fd);
    end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_do_not_lead_out),
        cmocka_unit_test(names_do_not_lead_out_without_openat2),
        cmocka_unit_test(a_fifo_is_opened_at_once_and_is_no_regular_file),
        cmocka_unit_test(links_that_lead_out_are_not_listed),
        cmocka_unit_test(what_is_in_memory_is_read_without_a_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
