/* hs_append: what a full disk leaves of a line, and writing without waiting. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/hs_append.h"
#include "os/hs_log.h"

/* A limit on the size of files stands for a disk without room. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes == 0 ? limit.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_line_that_a_full_disk_cut_is_counted_and_ended(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    FILE *file = tmpfile();
    assert_non_null(file);
    hs_append_t append;
    hs_append_adopt(&append, fileno(file));
    const char *lines = "first\nsecond\n";
    limit_files(8);
    ptrdiff_t taken = hs_append_lines(&append, lines, strlen(lines));
    ptrdiff_t refused = hs_append_lines(&append, lines + 8, strlen(lines) - 8);
    limit_files(0);
    assert_int_equal(taken, 8);
    assert_int_equal(refused, -EFBIG);
    assert_int_equal(hs_append_lines(&append, "third\n", 6), 6);
    assert_int_equal(hs_append_lines(&append, "fourth\n", 7), 7);
    char text[64] = "";
    assert_true(pread(fileno(file), text, sizeof(text) - 1, 0) > 0);
    assert_string_equal(text, "first\nse\nthird\nfourth\n");
    assert_int_equal(fclose(file), 0);
}

/* A pipe in blocking mode with room for one page. */
static void open_nearly_full_pipe(int fds[2])
{
    char page[4096];
    memset(page, 'x', sizeof(page));
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    while (write(fds[1], page, sizeof(page)) > 0) {
    }
    assert_int_equal(fcntl(fds[1], F_SETFL, 0), 0);
    assert_int_equal(read(fds[0], page, sizeof(page)), sizeof(page));
}

static void a_long_record_does_not_wait_for_a_pipe_with_little_room(void **state)
{
    (void)state;
    int fds[2];
    open_nearly_full_pipe(fds);
    char message[HS_LOG_MESSAGE_CAP];
    memset(message, 'm', sizeof(message));
    hs_log_json_t json = { .fd = fds[1], .reactor = 0 };
    alarm(10); /* ends the test if it waits */
    hs_log_json_sink(&json, HS_LOG_WARN, message, sizeof(message) - 1);
    alarm(0);
    assert_int_equal(json.lost, 1);
    close(fds[0]);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_that_a_full_disk_cut_is_counted_and_ended),
        cmocka_unit_test(a_long_record_does_not_wait_for_a_pipe_with_little_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
