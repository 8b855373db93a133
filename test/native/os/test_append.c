/* hs_append: partial lines on a full disk, lines of several writers on one terminal, and
 * writing without waiting. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/hs_append.h"
#include "os/hs_log.h"

/* No step of a test takes this long, however busy the machine is. */
#define STUCK_S 120

/* A limit on the file size simulates a full disk. */
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
    alarm(STUCK_S); /* kills the test if it blocks */
    hs_log_json_sink(&json, HS_LOG_WARN, message, sizeof(message) - 1);
    alarm(0);
    assert_int_equal(json.loss.lines, 1);
    close(fds[0]);
    close(fds[1]);
}

typedef struct screen {
    int reader; /* the reading end of the terminal */
    int slave;
    int old_stdout;
} screen_t;

/* Standard output becomes a terminal that passes bytes on unchanged. */
static void open_screen(screen_t *screen)
{
    screen->reader = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(screen->reader >= 0);
    assert_int_equal(grantpt(screen->reader), 0);
    assert_int_equal(unlockpt(screen->reader), 0);
    screen->slave = open(ptsname(screen->reader), O_RDWR | O_NOCTTY);
    assert_true(screen->slave >= 0);
    struct termios mode;
    assert_int_equal(tcgetattr(screen->slave, &mode), 0);
    mode.c_oflag &= ~(tcflag_t)OPOST;
    assert_int_equal(tcsetattr(screen->slave, TCSANOW, &mode), 0);
    assert_int_equal(fflush(stdout), 0);
    screen->old_stdout = dup(STDOUT_FILENO);
    assert_int_equal(dup2(screen->slave, STDOUT_FILENO), STDOUT_FILENO);
}

static void close_screen(screen_t *screen)
{
    (void)dup2(screen->old_stdout, STDOUT_FILENO);
    close(screen->old_stdout);
    close(screen->slave);
    close(screen->reader);
}

enum {
    LONG_LINE = 1000,
    ROUNDS = 100,
};

typedef struct writer {
    pthread_t thread;
    pthread_barrier_t *round;
    char line[LONG_LINE];
    ptrdiff_t written;
} writer_t;

static void *write_a_line_each_round(void *arg)
{
    writer_t *writer = arg;
    hs_append_t append;
    hs_errinfo_t error;
    int opened = hs_append_open(&append, NULL, STDOUT_FILENO, &error);
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(writer->round);
        /* 0: the other writer is writing. */
        ptrdiff_t taken = 0;
        while (opened == HS_OK && taken == 0)
            taken = hs_append_lines(&append, writer->line, LONG_LINE);
        writer->written += taken;
        pthread_barrier_wait(writer->round);
    }
    if (opened == HS_OK)
        hs_append_close(&append);
    return NULL;
}

static void read_screen(const screen_t *screen, char *shown, size_t len)
{
    ssize_t got;
    for (size_t have = 0; have < len; have += (size_t)got) {
        got = read(screen->reader, shown + have, len - have);
        if (got <= 0)
            return;
    }
}

static void lines_of_two_writers_do_not_mix_on_a_terminal(void **state)
{
    (void)state;
    screen_t screen;
    pthread_barrier_t round;
    writer_t writers[2] = { 0 };
    static char shown[ROUNDS][2][LONG_LINE];
    open_screen(&screen);
    pthread_barrier_init(&round, NULL, 3);
    for (int i = 0; i < 2; i++) {
        memset(writers[i].line, 'a' + i, LONG_LINE - 1);
        writers[i].line[LONG_LINE - 1] = '\n';
        writers[i].round = &round;
        pthread_create(&writers[i].thread, NULL, write_a_line_each_round, &writers[i]);
    }
    alarm(STUCK_S); /* kills the test if part of a line is missing */
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&round);
        read_screen(&screen, shown[i][0], sizeof(shown[i]));
        pthread_barrier_wait(&round);
    }
    alarm(0);
    for (int i = 0; i < 2; i++)
        pthread_join(writers[i].thread, NULL);
    close_screen(&screen);
    pthread_barrier_destroy(&round);
    for (int i = 0; i < 2; i++)
        assert_int_equal(writers[i].written, ROUNDS * LONG_LINE);
    for (int i = 0; i < ROUNDS; i++)
        for (int k = 0; k < 2; k++)
            assert_memory_equal(shown[i][k], writers[shown[i][k][0] == 'b'].line, LONG_LINE);
}

static void a_terminal_that_was_stopped_holds_nobody_up(void **state)
{
    (void)state;
    screen_t screen;
    char line[LONG_LINE];
    hs_append_t append;
    hs_errinfo_t error;
    open_screen(&screen);
    memset(line, 'x', sizeof(line));
    line[LONG_LINE - 1] = '\n';
    int opened = hs_append_open(&append, NULL, STDOUT_FILENO, &error);
    ptrdiff_t taken = -1;
    alarm(STUCK_S); /* kills the test if it blocks */
    if (opened == HS_OK) {
        /* The last write finds less room than a line needs. */
        while ((taken = hs_append_lines(&append, line, LONG_LINE)) == LONG_LINE) {
        }
        (void)tcflow(screen.slave, TCOOFF);
        taken = hs_append_lines(&append, line, LONG_LINE);
        hs_append_close(&append);
    }
    alarm(0);
    close_screen(&screen);
    assert_int_equal(opened, HS_OK);
    assert_int_equal(taken, 0);
}

static void a_fifo_that_no_process_reads_is_an_error_and_not_waited_for(void **state)
{
    (void)state;
    char folder[] = "/tmp/moonring-fifo-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char path[64];
    (void)snprintf(path, sizeof(path), "%s/log", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    hs_append_t append;
    hs_errinfo_t error = { 0 };
    (void)alarm(STUCK_S); /* kills the test if it blocks */
    assert_int_equal(hs_append_open(&append, path, -1, &error), HS_ERR_SYSTEM);
    assert_int_equal(error.sys_errno, ENXIO);
    assert_non_null(strstr(error.text, path));
    assert_non_null(strstr(error.text, "no process reads"));

    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    assert_int_equal(hs_append_open(&append, path, -1, &error), HS_OK);
    assert_int_equal(hs_append_lines(&append, "line\n", 5), 5);
    char text[8];
    assert_int_equal(read(reader, text, sizeof(text)), 5);
    close(reader);
    /* If reopening fails, the open file is kept. */
    int before = append.fd;
    assert_int_equal(hs_append_reopen(&append, &error), HS_ERR_SYSTEM);
    assert_int_equal(append.fd, before);
    (void)alarm(0);
    hs_append_close(&append);
    (void)unlink(path);
    (void)rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_that_a_full_disk_cut_is_counted_and_ended),
        cmocka_unit_test(a_long_record_does_not_wait_for_a_pipe_with_little_room),
        cmocka_unit_test(lines_of_two_writers_do_not_mix_on_a_terminal),
        cmocka_unit_test(a_terminal_that_was_stopped_holds_nobody_up),
        cmocka_unit_test(a_fifo_that_no_process_reads_is_an_error_and_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
