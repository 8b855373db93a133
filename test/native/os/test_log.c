/* hs_log: filtering, truncation, escaping, and one write per line. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/hs_clock.h"
#include "os/hs_log.h"
#include "os/hs_sock.h"

typedef struct caught {
    int calls;
    hs_log_level_t level;
    size_t len;
    char text[HS_LOG_MESSAGE_CAP];
} caught_t;

static void catch_message(void *ud, hs_log_level_t level, const char *message, size_t len)
{
    caught_t *caught = ud;
    caught->calls++;
    caught->level = level;
    caught->len = len;
    assert_in_range(len, 0, sizeof(caught->text) - 1);
    memcpy(caught->text, message, len + 1);
    errno = EDOM;
}

static void levels_below_are_filtered_and_not_formatted(void **state)
{
    (void)state;
    caught_t caught = { 0 };
    hs_log_t log;
    hs_log_init(&log, HS_LOG_WARN, catch_message, &caught);
    assert_false(hs_log_enabled(&log, HS_LOG_INFO));
    assert_true(hs_log_enabled(&log, HS_LOG_WARN));
    const char *nowhere = (const char *)(uintptr_t)1; /* formatting it would crash */
    hs_log_write(&log, HS_LOG_DEBUG, "%s", nowhere);
    hs_log_write(&log, HS_LOG_INFO, "%s", nowhere);
    assert_int_equal(caught.calls, 0);

    hs_log_write(&log, HS_LOG_WARN, "%d files in %s", 3, "/tmp");
    assert_int_equal(caught.calls, 1);
    assert_int_equal(caught.level, HS_LOG_WARN);
    assert_string_equal(caught.text, "3 files in /tmp");
    assert_int_equal(caught.len, strlen(caught.text));
    hs_log_write(&log, HS_LOG_FATAL, "x");
    assert_int_equal(caught.level, HS_LOG_FATAL);

    atomic_store(&log.level, HS_LOG_OFF);
    hs_log_write(&log, HS_LOG_FATAL, "%s", nowhere);
    hs_log_write(&log, HS_LOG_OFF, "%s", nowhere);
    atomic_store(&log.level, HS_LOG_DEBUG);
    hs_log_write(&log, HS_LOG_OFF, "%s", nowhere);
    assert_int_equal(caught.calls, 2);
    hs_log_write(&log, HS_LOG_DEBUG, "%s", "");
    assert_int_equal(caught.calls, 3);
    assert_int_equal(caught.len, 0);
}

static void errno_is_kept(void **state)
{
    (void)state;
    caught_t caught = { 0 };
    hs_log_t log;
    hs_log_init(&log, HS_LOG_DEBUG, catch_message, &caught);
    errno = ENOTTY;
    hs_log_write(&log, HS_LOG_INFO, "x");
    assert_int_equal(errno, ENOTTY);
}

static void a_long_message_is_cut_with_a_mark(void **state)
{
    (void)state;
    caught_t caught = { 0 };
    hs_log_t log;
    hs_log_init(&log, HS_LOG_DEBUG, catch_message, &caught);
    char *text = malloc(2 * HS_LOG_MESSAGE_CAP);
    assert_non_null(text);
    memset(text, 'a', 2 * HS_LOG_MESSAGE_CAP);

    hs_log_write(&log, HS_LOG_INFO, "%.*s", HS_LOG_MESSAGE_CAP - 1, text);
    assert_int_equal(caught.len, HS_LOG_MESSAGE_CAP - 1); /* just fits */
    assert_null(strstr(caught.text, HS_LOG_CUT_MARK));

    hs_log_write(&log, HS_LOG_INFO, "%.*s", HS_LOG_MESSAGE_CAP, text);
    const size_t mark_len = strlen(HS_LOG_CUT_MARK);
    assert_int_equal(caught.len, HS_LOG_MESSAGE_CAP - 1);
    assert_string_equal(caught.text + caught.len - mark_len, HS_LOG_CUT_MARK);
    assert_int_equal(caught.text[caught.len - mark_len - 1], 'a');

    /* Never within a character: U+20AC is three bytes. */
    for (int shift = 0; shift < 3; shift++) {
        for (int i = 0; i + 3 <= 2 * HS_LOG_MESSAGE_CAP; i += 3)
            memcpy(text + i, "\xE2\x82\xAC", 3);
        hs_log_write(&log, HS_LOG_INFO, "%.*s%.*s", shift, "aa", 9000, text);
        size_t kept = caught.len - mark_len - (size_t)shift;
        assert_int_equal(kept % 3, 0);
        assert_string_equal(caught.text + caught.len - mark_len, HS_LOG_CUT_MARK);
    }
    free(text);
}

/* A datagram socket: what one recv returns was one write. */
typedef struct channel {
    int fds[2];
    char line[2 * HS_LOG_JSON_LINE_CAP];
} channel_t;

static void channel_open(channel_t *channel)
{
    assert_int_equal(hs_sock_pair(channel->fds), 0);
}

static void channel_close(channel_t *channel)
{
    hs_sock_close(channel->fds[0]);
    hs_sock_close(channel->fds[1]);
}

static const char *channel_take(channel_t *channel)
{
    ssize_t n = recv(channel->fds[1], channel->line, sizeof(channel->line) - 1, 0);
    assert_true(n > 0);
    channel->line[n] = '\0';
    assert_int_equal(strlen(channel->line), n);
    assert_ptr_equal(strchr(channel->line, '\n'), channel->line + n - 1);
    return channel->line;
}

static void a_json_line_has_the_shape_of_pino(void **state)
{
    (void)state;
    channel_t channel;
    channel_open(&channel);
    hs_log_json_t json = { .fd = channel.fds[0], .reactor = 3 };
    hs_log_t log;
    hs_log_init(&log, HS_LOG_DEBUG, hs_log_json_sink, &json);
    const int numbers[] = { 20, 30, 40, 50, 60 };
    for (int level = HS_LOG_DEBUG; level <= HS_LOG_FATAL; level++) {
        int64_t before = hs_clock_realtime_ms();
        hs_log_write(&log, (hs_log_level_t)level, "hello %d", level);
        int number = 0;
        long long time_ms = 0;
        long pid = 0;
        int end = 0;
        const char *line = channel_take(&channel);
        int found = sscanf(line, "{\"level\":%d,\"time\":%lld,\"pid\":%ld%n", &number, &time_ms,
                           &pid, &end);
        assert_int_equal(found, 3);
        assert_int_equal(number, numbers[level]);
        assert_in_range(time_ms, before, hs_clock_realtime_ms());
        assert_int_equal(pid, getpid());
        char rest[64];
        (void)snprintf(rest, sizeof(rest), ",\"reactor\":3,\"msg\":\"hello %d\"}\n", level);
        assert_string_equal(line + end, rest);
    }
    json.reactor = -1;
    hs_log_write(&log, HS_LOG_INFO, "x");
    assert_null(strstr(channel_take(&channel), "reactor"));
    channel_close(&channel);
}

static void escapes_to(channel_t *channel, const char *bytes, size_t len, const char *expected)
{
    hs_log_json_t json = { .fd = channel->fds[0], .reactor = -1 };
    hs_log_json_sink(&json, HS_LOG_INFO, bytes, len);
    const char *line = channel_take(channel);
    const char *message = strstr(line, "\"msg\":\"");
    assert_non_null(message);
    char wanted[1024];
    (void)snprintf(wanted, sizeof(wanted), "\"msg\":\"%s\"}\n", expected);
    assert_string_equal(message, wanted);
}

static void what_is_not_plain_text_is_escaped(void **state)
{
    (void)state;
    channel_t channel;
    channel_open(&channel);
#define ESCAPES(bytes, expected) escapes_to(&channel, bytes, sizeof(bytes) - 1, expected)
    ESCAPES("", "");
    ESCAPES("say \"hi\" \\ /", "say \\\"hi\\\" \\\\ /");
    ESCAPES("a\nb\rc\td\be\ff", "a\\nb\\rc\\td\\be\\ff");
    ESCAPES("\0\x01\x1b[31m\x1f\x7f", "\\u0000\\u0001\\u001b[31m\\u001f\\u007f");
    ESCAPES("\"}\n{\"level\":60}", "\\\"}\\n{\\\"level\\\":60}"); /* a forged line */
    /* valid UTF-8 is unchanged: the first and last of each length */
    ESCAPES("\xC2\xA0\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF", "\xC2\xA0\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF");
    ESCAPES("\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF",
            "\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF");
    ESCAPES("\xC2\x80\xC2\x9B\xC2\x9F", "\\u0080\\u009b\\u009f"); /* C1 controls */
    ESCAPES("\x80\xBF\xFE\xFF", "\\u0080\\u00bf\\u00fe\\u00ff");
    ESCAPES("\xC0\xAF\xC1\xBF", "\\u00c0\\u00af\\u00c1\\u00bf"); /* overlong */
    ESCAPES("\xE0\x9F\xBF", "\\u00e0\\u009f\\u00bf");            /* overlong */
    ESCAPES("\xF0\x8F\xBF\xBF", "\\u00f0\\u008f\\u00bf\\u00bf"); /* overlong */
    ESCAPES("\xED\xA0\x80", "\\u00ed\\u00a0\\u0080");            /* a surrogate */
    ESCAPES("\xF4\x90\x80\x80", "\\u00f4\\u0090\\u0080\\u0080"); /* above U+10FFFF */
    ESCAPES("\xF5\x80\x80\x80", "\\u00f5\\u0080\\u0080\\u0080"); /* invalid first byte */
    ESCAPES("\xE2\x82", "\\u00e2\\u0082");                       /* ends too early */
    ESCAPES("\xE2\x82x\xF0\x90\x80\"", "\\u00e2\\u0082x\\u00f0\\u0090\\u0080\\\"");
    channel_close(&channel);
}

static void a_json_line_that_grows_too_long_is_cut_and_stays_json(void **state)
{
    (void)state;
    channel_t channel;
    channel_open(&channel);
    hs_log_json_t json = { .fd = channel.fds[0], .reactor = -1 };
    hs_log_t log;
    hs_log_init(&log, HS_LOG_DEBUG, hs_log_json_sink, &json);
    char text[8000];
    memset(text, 1, sizeof(text) - 1); /* six bytes each once escaped */
    text[sizeof(text) - 1] = '\0';
    hs_log_write(&log, HS_LOG_INFO, "%s", text);
    const char *line = channel_take(&channel);
    size_t len = strlen(line);
    assert_in_range(len, HS_LOG_JSON_LINE_CAP - 6, HS_LOG_JSON_LINE_CAP);
    const char *end = "\\u0001" HS_LOG_CUT_MARK "\"}\n";
    assert_string_equal(line + len - strlen(end), end);
    channel_close(&channel);
}

static void a_descriptor_that_takes_nothing_loses_the_line(void **state)
{
    (void)state;
    channel_t channel;
    channel_open(&channel);
    hs_log_json_t json = { .fd = channel.fds[0], .reactor = -1 };
    hs_log_t log;
    hs_log_init(&log, HS_LOG_DEBUG, hs_log_json_sink, &json);
    while (send(json.fd, "x", 1, MSG_DONTWAIT) == 1) {
    }
    hs_log_write(&log, HS_LOG_INFO, "no room");
    json.fd = -1;
    hs_log_write(&log, HS_LOG_INFO, "nowhere");
    channel_close(&channel);
}

static void drain(int fd, char *text, size_t size)
{
    size_t len = 0;
    ssize_t n;
    while (len + 1 < size && (n = recv(fd, text + len, size - len - 1, MSG_DONTWAIT)) > 0)
        len += (size_t)n;
    text[len] = '\0';
}

static void a_reader_that_stalls_is_not_waited_for_and_hears_of_it(void **state)
{
    (void)state;
    enum {
        LINES = 5000,
        TEXT_CAP = 4 * 1024 * 1024
    };
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0); /* it blocks */
    int small = 64 * 1024; /* whatever the system's default is */
    assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    hs_log_json_t json = { .fd = fds[0], .reactor = 1 };
    hs_log_t log;
    hs_log_init(&log, HS_LOG_DEBUG, hs_log_json_sink, &json);
    for (int i = 0; i < LINES; i++)
        hs_log_write(&log, HS_LOG_INFO, "line %d", i);
    char *text = malloc(TEXT_CAP);
    assert_non_null(text);
    drain(fds[1], text, TEXT_CAP);
    int taken = 0;
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        taken++;
    assert_in_range(taken, 1, LINES - 1);
    assert_int_equal(text[strlen(text) - 1], '\n'); /* whole lines */

    hs_log_write(&log, HS_LOG_INFO, "after");
    drain(fds[1], text, TEXT_CAP);
    char note[64];
    (void)snprintf(note, sizeof(note), "\"msg\":\"%d log lines were lost", LINES - taken);
    assert_non_null(strstr(text, "after"));
    assert_non_null(strstr(text, note));
    hs_log_write(&log, HS_LOG_INFO, "again");
    drain(fds[1], text, TEXT_CAP);
    assert_null(strstr(text, "lost"));
    free(text);
    close(fds[0]);
    close(fds[1]);
}

static void a_pipe_that_is_full_is_not_waited_for(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    hs_log_json_t json = { .fd = fds[1], .reactor = -1 };
    for (int i = 0; i < 5000; i++)
        hs_log_json_sink(&json, HS_LOG_INFO, "line", 4);
    assert_in_range(atomic_load(&json.loss.lines), 1, 4999);
    close(fds[0]);
    close(fds[1]);
}

/* Standard error becomes a full pipe in blocking mode; returns the original. */
static int fill_stderr(int fds[2])
{
    assert_int_equal(pipe(fds), 0);
    int flags = fcntl(fds[1], F_GETFL);
    assert_int_equal(fcntl(fds[1], F_SETFL, flags | O_NONBLOCK), 0);
    while (write(fds[1], "x", 1) == 1) {
    }
    assert_int_equal(fcntl(fds[1], F_SETFL, flags), 0);
    int kept = dup(STDERR_FILENO);
    assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
    return kept;
}

static void restore_stderr(int kept)
{
    assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
    close(kept);
}

static void hs_log_does_not_wait_for_a_full_standard_error(void **state)
{
    (void)state;
    int fds[2];
    (void)alarm(120); /* kills this program if it blocks */
    int kept = fill_stderr(fds);
    uint64_t begin_ms = hs_clock_monotonic_ms();
    for (int i = 0; i < 500; i++)
        hs_log(HS_LOG_INFO, "as text %d", i);
    const int fd = STDERR_FILENO;
    hs_log_register(hs_log_json_callback, (void *)(uintptr_t)&fd);
    for (int i = 0; i < 500; i++)
        hs_log(HS_LOG_INFO, "as JSON %d", i);
    uint64_t took_ms = hs_clock_monotonic_ms() - begin_ms;
    /* When there is room again the reader is told how many lines are missing. */
    channel_t channel;
    channel_open(&channel);
    assert_int_equal(dup2(channel.fds[0], STDERR_FILENO), STDERR_FILENO);
    hs_log(HS_LOG_INFO, "room again");
    restore_stderr(kept);
    hs_log_register(NULL, NULL);
    (void)alarm(0);
    assert_true(took_ms < 5000);
    assert_non_null(strstr(channel_take(&channel), "room again"));
    assert_non_null(strstr(channel_take(&channel), "1000 log lines were lost"));
    channel_close(&channel);
    close(fds[0]);
    close(fds[1]);
}

static void what_handlers_log_has_its_own_level_in_json(void **state)
{
    (void)state;
    channel_t channel;
    channel_open(&channel);
    hs_log_process_begin(channel.fds[0], 5, HS_LOG_DEBUG);
    hs_log(HS_LOG_INFO, "from a handler");
    const char *line = channel_take(&channel);
    assert_ptr_equal(strstr(line, "{\"level\":30,"), line);
    assert_non_null(strstr(line, "\"reactor\":5,\"msg\":\"from a handler\"}"));
    hs_log(HS_LOG_DEBUG, "as the server's level lets it");
    line = channel_take(&channel);
    assert_ptr_equal(strstr(line, "{\"level\":20,"), line);
    hs_log_process_end(channel.fds[0]);
    errno = EDOM;
    hs_log(HS_LOG_DEBUG, "below the level again");
    assert_int_equal(errno, EDOM);
    assert_int_equal(recv(channel.fds[1], channel.line, 1, MSG_DONTWAIT), -1);
    channel_close(&channel);
}

static void a_nul_hides_nothing_of_a_message(void **state)
{
    (void)state;
    channel_t channel;
    channel_open(&channel);
    hs_log_json_t json = { .fd = channel.fds[0], .reactor = -1 };
    hs_log_t log;
    hs_log_init(&log, HS_LOG_INFO, hs_log_json_sink, &json);
    hs_log_write_text(&log, HS_LOG_WARN, "lua: ", "before\0after", 12);
    assert_non_null(strstr(channel_take(&channel), "\"msg\":\"lua: before\\u0000after\"}\n"));
    hs_log_write_text(&log, HS_LOG_DEBUG, "", "below", 5);
    assert_int_equal(recv(channel.fds[1], channel.line, 1, MSG_DONTWAIT), -1);

    static char longest[HS_LOG_MESSAGE_CAP + 10];
    memset(longest, 'x', sizeof(longest));
    caught_t caught = { 0 };
    hs_log_init(&log, HS_LOG_INFO, catch_message, &caught);
    hs_log_write_text(&log, HS_LOG_WARN, "lua: ", longest, sizeof(longest));
    assert_int_equal(caught.len, HS_LOG_MESSAGE_CAP - 1);
    assert_string_equal(caught.text + caught.len - strlen(HS_LOG_CUT_MARK), HS_LOG_CUT_MARK);
    channel_close(&channel);
}

static void keep_text(const hs_log_event_t *event, void *user_data)
{
    (void)snprintf(user_data, 64, "%s", event->msg);
}

static void a_callback_gets_a_nul_escaped(void **state)
{
    (void)state;
    char text[64] = "";
    hs_log_register(keep_text, text);
    hs_log_t log;
    hs_log_init(&log, HS_LOG_INFO, NULL, NULL);
    hs_log_write_text(&log, HS_LOG_WARN, "", "before\0after\0", 13);
    hs_log_register(NULL, NULL);
    assert_string_equal(text, "before\\u0000after\\u0000");
}

static void without_a_sink_text_goes_to_stderr(void **state)
{
    (void)state;
    channel_t channel;
    channel_open(&channel);
    int kept = dup(STDERR_FILENO);
    assert_int_equal(dup2(channel.fds[0], STDERR_FILENO), STDERR_FILENO);
    hs_log_t log;
    hs_log_init(&log, HS_LOG_INFO, NULL, &log);
    hs_log_write(&log, HS_LOG_ERROR, "\"one\"\ntwo");
    assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
    close(kept);
    int parts[7];
    int end = 0;
    const char *line = channel_take(&channel);
    int found = sscanf(line, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &parts[0], &parts[1], &parts[2],
                       &parts[3], &parts[4], &parts[5], &parts[6], &end);
    assert_int_equal(found, 7);
    assert_string_equal(line + end, "ERROR \"one\"\\ntwo\n");
    channel_close(&channel);
}

static void *write_many(void *ud)
{
    for (int i = 0; i < 1000; i++)
        hs_log_write(ud, HS_LOG_INFO, "line %d", i);
    return NULL;
}

static void count_message(void *ud, hs_log_level_t level, const char *message, size_t len)
{
    (void)level;
    (void)message;
    (void)len;
    atomic_fetch_add((atomic_int *)ud, 1);
}

static void threads_may_write_while_the_level_changes(void **state)
{
    (void)state;
    atomic_int count = 0;
    hs_log_t log;
    hs_log_init(&log, HS_LOG_INFO, count_message, &count);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, &log), 0);
    for (int i = 0; i < 1000; i++)
        atomic_store(&log.level, i % 2 ? HS_LOG_DEBUG : HS_LOG_INFO);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&count), 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_below_are_filtered_and_not_formatted),
        cmocka_unit_test(errno_is_kept),
        cmocka_unit_test(a_long_message_is_cut_with_a_mark),
        cmocka_unit_test(a_json_line_has_the_shape_of_pino),
        cmocka_unit_test(what_is_not_plain_text_is_escaped),
        cmocka_unit_test(a_json_line_that_grows_too_long_is_cut_and_stays_json),
        cmocka_unit_test(a_descriptor_that_takes_nothing_loses_the_line),
        cmocka_unit_test(a_reader_that_stalls_is_not_waited_for_and_hears_of_it),
        cmocka_unit_test(a_pipe_that_is_full_is_not_waited_for),
        cmocka_unit_test(hs_log_does_not_wait_for_a_full_standard_error),
        cmocka_unit_test(what_handlers_log_has_its_own_level_in_json),
        cmocka_unit_test(a_nul_hides_nothing_of_a_message),
        cmocka_unit_test(a_callback_gets_a_nul_escaped),
        cmocka_unit_test(without_a_sink_text_goes_to_stderr),
        cmocka_unit_test(threads_may_write_while_the_level_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
