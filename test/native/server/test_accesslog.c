/* The access log: the content of a line, and that lines are written whole. */
#include "served.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "conn/hs_access_log.h"

static char directory[] = "/tmp/moonring-accesslog-XXXXXX";
static char path[64];
static char moved_path[64];

static int make_directory(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL)
        return -1;
    (void)snprintf(path, sizeof(path), "%s/access.log", directory);
    (void)snprintf(moved_path, sizeof(moved_path), "%s/access.log.1", directory);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlink(moved_path);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory);
}

/* The text of the file; "" if it does not exist. Freed by the caller. */
static char *read_all(const char *from)
{
    enum {
        CAP = 4 * 1024 * 1024
    };
    char *text = malloc(CAP);
    assert_non_null(text);
    size_t len = 0;
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    ssize_t got;
    while (fd >= 0 && (got = read(fd, text + len, CAP - 1 - len)) > 0)
        len += (size_t)got;
    if (fd >= 0)
        close(fd);
    text[len] = '\0';
    return text;
}

static int lines_of(const char *from)
{
    char *text = read_all(from);
    int lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    free(text);
    return lines;
}

static void start(served_t *served, hs_access_format_t format, const char *file)
{
    hs_config_t config;
    served_config(&config);
    config.access_log = format;
    config.access_log_path = file;
    config.reactor_index = 3;
    config.generation = 4;
    served_start(served, &config);
}

/* `text` holds `part`. */
static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("no %s in: %s", part, text);
}

static void json_is_what_pino_writes(void **state)
{
    (void)state;
    served_t served;
    start(&served, HS_ACCESS_JSON, path);
    int fd = client_open(hs_server_port(served.server));
    struct sockaddr_in own;
    socklen_t own_len = sizeof(own);
    assert_int_equal(0, getsockname(fd, (struct sockaddr *)&own, &own_len));
    client_ask(fd, "/a?b=%22");
    client_send(fd, "NONSENSE\r\n\r\n");
    client_expect_end(fd);
    close(fd);
    served_stop(&served);
    char *text = read_all(path);
    char expected[64];
    assert_true(strncmp(text, "{\"level\":30,\"time\":1", 19) == 0);
    (void)snprintf(expected, sizeof(expected), "\"pid\":%d,\"hostname\":\"", getpid());
    assert_has(text, expected);
    assert_has(text, "\"reactor\":3,\"gen\":4,\"reqId\":\"");
    assert_has(text, "\"req\":{\"method\":\"GET\",\"url\":\"/a?b=%22\",\"host\":\"test\","
                     "\"remoteAddress\":\"127.0.0.1\",\"remotePort\":");
    (void)snprintf(expected, sizeof(expected), "\"remotePort\":%u},", ntohs(own.sin_port));
    assert_has(text, expected);
    assert_has(text, "\"res\":{\"statusCode\":200},\"bytesOut\":14,\"msg\":\"request completed\","
                     "\"responseTime\":");
    char *second = strchr(text, '\n') + 1;
    assert_has(second, "\"req\":{\"remoteAddress\":");
    assert_has(second, "\"statusCode\":400}");
    assert_has(second, "\"msg\":\"request refused\"");
    assert_string_equal("}\n", second + strlen(second) - 2);
    free(text);
}

static void a_line_names_the_trace_of_its_request(void **state)
{
    (void)state;
    served_t served;
    start(&served, HS_ACCESS_JSON, path);
    int fd = client_open(hs_server_port(served.server));
    client_send(fd, "GET /a HTTP/1.1\r\nHost: test\r\nTraceparent: "
                    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n");
    client_expect(fd, "GET /a");
    client_send(fd, "GET /b HTTP/1.1\r\nHost: test\r\nTraceparent: nonsense\r\n\r\n");
    client_expect(fd, "GET /b");
    close(fd);
    served_stop(&served);
    char *text = read_all(path);
    assert_has(text, "\",\"traceId\":\"0af7651916cd43dd8448eb211c80319c\",\"req\":{");
    assert_null(strstr(strchr(text, '\n'), "traceId"));
    free(text);
}

/* Started with one span per two requests without a trace. */
static void start_spans(served_t *served, hs_access_format_t format, int fd)
{
    hs_config_t config;
    served_config(&config);
    config.access_log = format;
    config.access_log_path = format == HS_ACCESS_OFF ? NULL : path;
    config.reactor_index = 3;
    config.trace_sample = 2;
    config.trace_fd = fd;
    served_start(served, &config);
}

#define PARENT "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"

static void spans_are_of_sampled_traces_and_of_one_in_so_many_others(void **state)
{
    (void)state;
    int fd = open(moved_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    served_t served;
    start_spans(&served, HS_ACCESS_JSON, fd);
    int client = client_open(hs_server_port(served.server));
    for (int i = 0; i < 10; i++)
        client_ask(client, "/often");
    client_send(client,
                "GET /sampled?x=1 HTTP/1.1\r\nHost: test\r\nTraceparent: " PARENT "1\r\n\r\n");
    client_expect(client, "GET /sampled");
    client_send(client, "GET /not HTTP/1.1\r\nHost: test\r\nTraceparent: " PARENT "2\r\n\r\n");
    client_expect(client, "GET /not");
    client_send(client, "NONSENSE\r\n\r\n");
    client_expect_end(client);
    close(client);
    served_stop(&served);
    close(fd);
    char *text = read_all(moved_path);
    assert_int_equal(6, lines_of(moved_path));
    assert_int_equal(13, lines_of(path));
    assert_true(strncmp(text, "{\"span\":{\"begun\":1", 18) == 0);
    assert_null(strstr(text, "/not"));
    assert_null(strstr(text, "refused"));
    assert_has(text, "{\"span\":{\"traceId\":\"0af7651916cd43dd8448eb211c80319c\",\"parentId\":"
                     "\"b7ad6b7169203331\",\"begun\":1");
    assert_has(text, "},\"time\":1");
    assert_has(text, "\"reactor\":3,\"gen\":");
    assert_has(text, "\"url\":\"/sampled?x=1\"");
    free(text);
}

static void spans_that_cannot_be_written_delay_nothing(void **state)
{
    (void)state;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    served_t served;
    start_spans(&served, HS_ACCESS_OFF, fd);
    int client = client_open(hs_server_port(served.server));
    for (int i = 0; i < 10; i++)
        client_ask(client, "/a");
    close(client);
    served_stop(&served);
    close(fd);
}

static void combined_is_what_apache_writes(void **state)
{
    (void)state;
    served_t served;
    start(&served, HS_ACCESS_COMBINED, path);
    int fd = client_open(hs_server_port(served.server));
    client_send(fd, "POST /a HTTP/1.0\r\nReferer: http://x/\r\nUser-Agent: me \"and\" you\r\n"
                    "Content-Length: 1\r\n\r\nx");
    client_expect(fd, "POST /a 1");
    close(fd);
    served_stop(&served);
    char *text = read_all(path);
    assert_true(strncmp(text, "127.0.0.1 - - [", 15) == 0);
    assert_has(text, " +0000] \"POST /a HTTP/1.0\" 200 9 \"http://x/\" \"me \\x22and\\x22 you\"\n");
    free(text);
}

/* An entry for a GET of `url`, with a User-Agent of `agent`. */
static void add_line(hs_access_log_t *log, const char *url, const char *agent)
{
    static char head[8192];
    hs_field_t fields[1];
    hs_job_t *job = calloc(1, sizeof(*job));
    hs_peer_t peer = { .family = 6, .bytes = { [15] = 1 }, .port = 65535 };
    assert_non_null(job);
    int len = snprintf(head, sizeof(head), "%s%sUser-Agent", url, agent);
    assert_true(len > 0 && (size_t)len < sizeof(head));
    size_t url_len = strlen(url), agent_len = strlen(agent);
    fields[0] = (hs_field_t){ .name_at = (uint32_t)(url_len + agent_len),
                              .name_len = 10,
                              .value_at = (uint32_t)url_len,
                              .value_len = (uint32_t)agent_len };
    job->request.msg = (hs_msg_t){ .base = head,
                                   .url_len = (uint32_t)url_len,
                                   .method = 1,
                                   .minor_version = 1,
                                   .fields = fields,
                                   .field_count = 1 };
    job->number = 36;
    job->id_prefix = "p";
    hs_access_log_entry_t entry = { .job = job,
                                    .peer = &peer,
                                    .time_ms = INT64_C(1800000000123),
                                    .begun_us = 1000,
                                    .bytes_out = 18446744073709551615u,
                                    .status = 200 };
    hs_access_log_add(log, &entry);
    free(job);
}

static hs_access_log_t *log_of(hs_access_log_format_t format)
{
    hs_access_log_t *log = malloc(sizeof(*log));
    assert_non_null(log);
    hs_access_log_origin_t origin = { .pid = 1, .reactor = -1, .hostname = "host" };
    hs_access_log_init(log, format, &origin);
    return log;
}

static void no_line_is_longer_than_a_pipe_takes(void **state)
{
    (void)state;
    char url[3000], agent[3000];
    memset(url, '"', sizeof(url) - 1);
    memset(agent, '\x80', sizeof(agent) - 1);
    url[sizeof(url) - 1] = agent[sizeof(agent) - 1] = '\0';
    for (int format = HS_ACCESS_LOG_JSON; format <= HS_ACCESS_LOG_COMBINED; format++) {
        hs_access_log_t *log = log_of((hs_access_log_format_t)format);
        add_line(log, url, agent);
        assert_true(log->len <= HS_ACCESS_LOG_LINE_MAX);
        hs_access_log_complete(log, 2000);
        assert_ptr_equal(log->data + log->len - 1, memchr(log->data, '\n', log->len));
        free(log);
    }
}

static void response_times_are_filled_in_when_answers_have_left(void **state)
{
    (void)state;
    hs_access_log_t *log = log_of(HS_ACCESS_LOG_JSON);
    static const struct {
        uint64_t sent_us;
        const char *text;
    } cases[] = {
        { 1000, "\"responseTime\":       0.000}\n" },
        { 1007, "\"responseTime\":       0.007}\n" },
        { 2234, "\"responseTime\":       1.234}\n" },
        { 1000 + 86400000000, "\"responseTime\":86400000.000}\n" },
        { UINT64_MAX, "\"responseTime\":99999999.999}\n" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        add_line(log, "/one", "a");
        add_line(log, "/two", "a");
        hs_access_log_complete(log, cases[i].sent_us);
        log->data[log->len] = '\0';
        char *second = strstr(log->data, "/two");
        assert_non_null(second);
        assert_has(second, cases[i].text);
        assert_has(second, "\"remoteAddress\":\"::1\",\"remotePort\":65535");
        *second = '\0';
        assert_has(log->data, cases[i].text);
        assert_has(log->data, "\"time\":1800000000123,");
        assert_has(log->data, "\"reqId\":\"p-10\"");
        hs_access_log_take(log, log->len);
    }
    free(log);
}

static void a_file_that_was_moved_away_is_made_anew(void **state)
{
    (void)state;
    served_t served;
    start(&served, HS_ACCESS_JSON, path);
    int fd = client_open(hs_server_port(served.server));
    client_ask(fd, "/one");
    WAIT_UNTIL(lines_of(path) == 1); /* an idle server writes, too */
    assert_int_equal(0, rename(path, moved_path));
    client_ask(fd, "/two");
    hs_server_reopen_logs(served.server);
    WAIT_UNTIL(access(path, F_OK) == 0);
    struct stat info;
    assert_int_equal(0, stat(path, &info));
    assert_int_equal(0, info.st_mode & 07); /* not readable by others */
    client_ask(fd, "/three");
    close(fd);
    served_stop(&served);
    assert_int_equal(2, lines_of(moved_path));
    assert_int_equal(1, lines_of(path));
}

static void a_path_that_cannot_be_opened_is_an_error(void **state)
{
    (void)state;
    hs_config_t config;
    served_config(&config);
    config.access_log = HS_ACCESS_JSON;
    config.access_log_path = "/nowhere/at/all.log";
    char error[512] = "";
    assert_null(hs_server_create(&config, NULL, error, sizeof(error)));
    assert_has(error, "/nowhere/at/all.log");
}

enum {
    DEPTH = 50,
    ROUNDS = 40
};

/* Many pipelined requests, each with a different target. */
static void ask_in_rounds(const served_t *served, int rounds)
{
    int fd = client_open(hs_server_port(served->server));
    static __thread char request[DEPTH * 64];
    request[0] = '\0';
    for (int i = 0; i < DEPTH; i++)
        strcat(request, "GET /pipelined HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; i < rounds; i++) {
        client_send(fd, request);
        client_expect_times(fd, "GET /pipelined 0", DEPTH);
    }
    close(fd);
}

static void *ask_pipelined(void *argument)
{
    ask_in_rounds(argument, ROUNDS);
    return NULL;
}

static void lines_of_several_servers_do_not_mix_in_a_file(void **state)
{
    (void)state;
    served_t served[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        start(&served[i], HS_ACCESS_JSON, path);
        assert_int_equal(0, pthread_create(&threads[i], NULL, ask_pipelined, &served[i]));
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(0, pthread_join(threads[i], NULL));
        served_stop(&served[i]);
    }
    char *text = read_all(path);
    int lines = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"), lines++) {
        assert_true(strncmp(line, "{\"level\":30,", 12) == 0);
        assert_int_equal('}', line[strlen(line) - 1]);
        if (strstr(line + 1, "{\"level\"") != NULL)
            fail_msg("two lines in one: %s", line);
    }
    assert_int_equal(2 * DEPTH * ROUNDS, lines);
    free(text);
}

/* Reads what is in the pipe. */
static size_t read_now(int reader, char *text, size_t size)
{
    size_t len = 0;
    ssize_t got;
    while (len < size && (got = read(reader, text + len, size - len)) > 0)
        len += (size_t)got;
    return len;
}

static void a_full_pipe_holds_nobody_up(void **state)
{
    (void)state;
    assert_int_equal(0, mkfifo(path, 0600));
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    served_t served;
    start(&served, HS_ACCESS_JSON, path);
    pthread_t thread;
    assert_int_equal(0, pthread_create(&thread, NULL, ask_pipelined, &served));
    assert_int_equal(0, pthread_join(thread, NULL)); /* responses do not wait for the log */
    static char text[4 * 1024 * 1024];
    size_t len = 0;
    /* More than the pipe has room for: the server has continued to write. */
    WAIT_UNTIL((len += read_now(reader, text + len, sizeof(text) - 1 - len)) > 64 * 1024);
    served_stop(&served);
    len += read_now(reader, text + len, sizeof(text) - 1 - len);
    text[len] = '\0';
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        assert_true(strncmp(line, "{\"level\":30,", 12) == 0);
        assert_int_equal('}', line[strlen(line) - 1]);
    }
    close(reader);
}

/* Counts lines until the pipe is closed. */
static void *count_lines_to_the_end(void *argument)
{
    int reader = *(int *)argument;
    static int lines;
    char text[1024];
    ssize_t got;
    lines = 0;
    while ((got = read(reader, text, sizeof(text))) > 0)
        for (ssize_t i = 0; i < got; i++)
            lines += text[i] == '\n';
    return &lines;
}

/* Whether the last lines arrive. False: the reader was so slow that the server need not have waited
 * for it. */
static bool last_lines_are_read(void)
{
    enum {
        FEW_ROUNDS = 8, /* more than a pipe holds, less than the buffer */
        WAIT_MS = 250   /* of the server */
    };
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    assert_int_equal(0, fcntl(reader, F_SETFL, 0));
    served_t served;
    start(&served, HS_ACCESS_JSON, path);
    ask_in_rounds(&served, FEW_ROUNDS);
    uint64_t begin_ms = hs_monotonic_ms();
    pthread_t thread;
    assert_int_equal(0, pthread_create(&thread, NULL, count_lines_to_the_end, &reader));
    served_stop(&served);
    void *lines;
    assert_int_equal(0, pthread_join(thread, &lines));
    uint64_t took_ms = hs_monotonic_ms() - begin_ms;
    close(reader);
    if (*(int *)lines == FEW_ROUNDS * DEPTH)
        return true;
    if (took_ms < WAIT_MS)
        fail_msg("%d lines in %d ms", *(int *)lines, (int)took_ms);
    return false;
}

static void the_end_waits_for_who_reads_the_last_lines(void **state)
{
    (void)state;
    assert_int_equal(0, mkfifo(path, 0600));
    int attempts = 0;
    while (!last_lines_are_read())
        assert_true(++attempts < 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(json_is_what_pino_writes, remove_files),
        cmocka_unit_test_teardown(a_line_names_the_trace_of_its_request, remove_files),
        cmocka_unit_test_teardown(spans_are_of_sampled_traces_and_of_one_in_so_many_others,
                                  remove_files),
        cmocka_unit_test(spans_that_cannot_be_written_delay_nothing),
        cmocka_unit_test_teardown(combined_is_what_apache_writes, remove_files),
        cmocka_unit_test(no_line_is_longer_than_a_pipe_takes),
        cmocka_unit_test(response_times_are_filled_in_when_answers_have_left),
        cmocka_unit_test_teardown(a_file_that_was_moved_away_is_made_anew, remove_files),
        cmocka_unit_test(a_path_that_cannot_be_opened_is_an_error),
        cmocka_unit_test_teardown(lines_of_several_servers_do_not_mix_in_a_file, remove_files),
        cmocka_unit_test_teardown(a_full_pipe_holds_nobody_up, remove_files),
        cmocka_unit_test_teardown(the_end_waits_for_who_reads_the_last_lines, remove_files),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
