/* The public header as used by a C program: handlers, the log, and a program in the
 * style of version 0.3. */
#include "running_server.h"

static void describe(hs_request_t *request, hs_response_t *response, void *user_data)
{
    char text[1024];
    size_t url_len;
    size_t path_len;
    size_t query_len;
    size_t body_len;
    size_t value_len;
    const char *url = hs_req_url_n(request, &url_len);
    const char *path = hs_req_path(request, &path_len);
    const char *query = hs_req_query(request, &query_len);
    const char *body = hs_req_body(request, &body_len);
    const char *value = hs_req_header_n(request, "x-VALUE", &value_len);
    const char *name;
    const char *each;
    size_t fields = 0;
    while (hs_req_header_at(request, fields, &name, &each))
        fields++;
    assert_int_equal(fields, hs_req_header_count(request));
    assert_int_equal(url_len, strlen(url));
    assert_int_equal(query_len, strlen(query));
    assert_int_equal(value_len, value == NULL ? 0 : strlen(value));
    assert_ptr_equal(hs_req_url(request), url);
    assert_ptr_equal(hs_req_header(request, "X-Value"), value);
    assert_null(hs_req_header(request, "x-none"));
    assert_ptr_equal(hs_req_user_data(request), user_data);
    assert_true(hs_req_in_worker(request) == (strcmp(user_data, "worker") == 0));
    snprintf(text, sizeof(text), "%s %d|%.*s|%s|%s|%s|%.*s|%zu|%s|%d", hs_req_method_str(request),
             hs_req_method(request), (int)path_len, path, query, value ? value : "-",
             hs_req_http_version(request), (int)body_len, body, fields,
             hs_req_peer_address(request), hs_req_peer_port(request) != 0);
    assert_int_equal(hs_res_status(response, 700), -3);
    assert_int_equal(hs_res_status(response, 201), 0);
    assert_int_equal(hs_res_header(response, "X-Bad", "a\r\nb"), -3);
    assert_int_equal(hs_res_header(response, "X-Good", "yes"), 0);
    assert_int_equal(hs_res_body_str(response, text), 0);
    assert_int_equal(hs_res_send(response), 0);
    assert_int_equal(hs_res_send(response), -4);
    assert_int_equal(hs_res_body_str(response, "late"), -4);
}

static void ask_all(const char *user_data, hs_dispatch_mode_t dispatch)
{
    char ud[16];
    snprintf(ud, sizeof(ud), "%s", user_data);
    hs_config_t config = test_config(describe, ud);
    config.dispatch = dispatch;
    config.num_threads = 1;
    running_t running;
    run_server(&running, &config);
    client_t *client = client_tcp(running.port);
    answer_t *answer = malloc(sizeof(*answer));
    client_text(client, "POST /a/b?c=d&e HTTP/1.1\r\nHost: h\r\nX-Value: v w\r\n"
                        "Content-Length: 4\r\n\r\nbody");
    client_next(client, answer);
    assert_int_equal(answer->status, 201);
    assert_string_equal(answer->body, "POST 3|/a/b|c=d&e|v w|1.1|body|3|127.0.0.1|1");
    client_text(client, "GET / HTTP/1.0\r\n\r\n");
    client_next(client, answer);
    assert_string_equal(answer->body, "GET 1|/||-|1.0||0|127.0.0.1|1");
    free(answer);
    client_close(client);
    stop_server(&running);
}

static void test_what_a_handler_is_told(void **state)
{
    (void)state;
    ask_all("inline", HS_DISPATCH_INLINE);
    ask_all("worker", HS_DISPATCH_WORKER);
}

typedef struct seen {
    unsigned count;
    hs_log_event_t last;
    char text[256];
} seen_t;

static void on_message(const hs_log_event_t *event, void *user_data)
{
    seen_t *seen = user_data;
    seen->count++;
    seen->last = *event;
    snprintf(seen->text, sizeof(seen->text), "%s", event->msg);
}

static void test_the_log_of_the_process(void **state)
{
    (void)state;
    seen_t seen = { .count = 0 };
    hs_log_register(on_message, &seen);
    hs_log(HS_LOG_DEBUG, "below the first level");
    assert_int_equal(seen.count, 0);
    int line = __LINE__ + 1;
    hs_log(HS_LOG_INFO, "%s %d", "number", 7);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.text, "number 7");
    assert_int_equal(seen.last.level, HS_LOG_INFO);
    assert_int_equal(seen.last.line, line);
    assert_non_null(strstr(seen.last.file, "test_api.c"));
    assert_true(seen.last.ts.tv_sec > 1600000000);
    assert_true(seen.last.tid != 0);
    hs_log_set_level(HS_LOG_DEBUG);
    hs_log(HS_LOG_DEBUG, "now");
    assert_int_equal(seen.count, 2);
    hs_log_set_level(HS_LOG_OFF);
    hs_log(HS_LOG_FATAL, "nothing");
    assert_int_equal(seen.count, 2);
    hs_log_set_level(HS_LOG_INFO);
    char longest[10000];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    hs_log(HS_LOG_INFO, "%s", longest);
    assert_int_equal(seen.count, 3);
    hs_log_register(NULL, NULL);
}

static void handle_nothing(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)request;
    (void)response;
    (void)user_data;
}

static void test_a_server_logs_there_too(void **state)
{
    (void)state;
    seen_t seen = { .count = 0 };
    hs_log_register(on_message, &seen);
    hs_config_t config = test_config(handle_nothing, NULL);
    config.log_level = HS_LOG_ERROR;
    running_t running;
    run_server(&running, &config);
    client_t *client = client_tcp(running.port);
    answer_t *answer = malloc(sizeof(*answer));
    client_get(client, "/silent", answer);
    assert_int_equal(answer->status, 500);
    free(answer);
    client_close(client);
    stop_server(&running);
    hs_log_register(NULL, NULL);
    assert_int_equal(seen.count, 1);
    assert_non_null(strstr(seen.text, "/silent"));
    assert_string_equal(seen.last.file, "");
}

static void *log_a_lot(void *argument)
{
    (void)argument;
    for (unsigned i = 0; i < 2000; i++)
        hs_log(HS_LOG_WARN, "line %u", i);
    return NULL;
}

static void count_message(const hs_log_event_t *event, void *user_data)
{
    (void)event;
    __atomic_fetch_add((unsigned *)user_data, 1, __ATOMIC_RELAXED);
}

static void test_the_log_may_be_taken_while_others_write(void **state)
{
    (void)state;
    static unsigned counts[2];
    hs_log_register(count_message, &counts[0]);
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_a_lot, NULL), 0);
    for (unsigned i = 0; i < 1000; i++) {
        hs_log_register(count_message, &counts[i % 2]);
        hs_log_set_level(HS_LOG_WARN);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    hs_log_register(NULL, NULL);
    assert_int_equal(counts[0] + counts[1], 4 * 2000);
}

static void test_a_lua_file_wins_over_a_handler(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof(path), "/tmp/moonring-test-%ld.lua", (long)getpid());
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("function handle(req, res) res:body('lua ' .. tostring(req:in_worker())):send() end\n",
          file);
    fclose(file);
    for (int mode = HS_REACTOR_SINGLE; mode <= HS_REACTOR_MULTI; mode++) {
        hs_config_t config = test_config(handle_nothing, NULL);
        config.lua_script = path; /* and no lua_root: the runtime is in the library */
        config.reactor_mode = (hs_reactor_mode_t)mode;
        config.num_io_threads = 2;
        config.dispatch = HS_DISPATCH_WORKER;
        running_t running;
        run_server(&running, &config);
        client_t *client = client_tcp(running.port);
        answer_t *answer = malloc(sizeof(*answer));
        client_get(client, "/", answer);
        assert_string_equal(answer->body, "lua true");
        free(answer);
        client_close(client);
        stop_server(&running);
    }
    unlink(path);
}

/* Field by field, as in programs for version 0.3. */
static void test_a_program_for_the_header_of_version_0_3(void **state)
{
    (void)state;
    hs_config_t cfg;
    hs_config_init(&cfg);
    assert_int_equal(cfg.listen_flags, HS_LISTEN_TCP);
    assert_int_equal(cfg.backlog, 1024);
    assert_int_equal(cfg.reactor_mode, HS_REACTOR_SINGLE);
    assert_int_equal(cfg.num_io_threads, 0);
    assert_int_equal(cfg.num_threads, 0);
    assert_int_equal(cfg.conn_pool_cap, 1024);
    assert_int_equal(cfg.max_body_size, 4 * 1024 * 1024);
    assert_int_equal(cfg.max_url_len, 8192);
    assert_int_equal(cfg.max_headers, 64);
    assert_null(cfg.handler);
    assert_null(cfg.lua_script);
    char path[64];
    snprintf(path, sizeof(path), "/tmp/moonring-test-%ld-seed.sock", (long)getpid());
    cfg.listen_flags = HS_LISTEN_TCP | HS_LISTEN_UDS;
    cfg.host = "127.0.0.1";
    cfg.port = 0;
    cfg.backlog = 128;
    cfg.uds_path = path;
    cfg.reactor_mode = HS_REACTOR_MULTI;
    cfg.num_io_threads = 2;
    cfg.num_threads = 2;
    cfg.conn_pool_cap = 64;
    cfg.max_body_size = 1024;
    cfg.max_url_len = 256;
    cfg.max_headers = 8;
    cfg.handler = describe;
    cfg.handler_ud = "inline";
    cfg.lua_script = NULL;
    hs_server_t *server = hs_server_new(&cfg);
    assert_non_null(server);
    running_t running = { .server = server, .port = hs_server_port(server) };
    assert_int_equal(pthread_create(&running.thread, NULL, running_main, &running), 0);
    client_t *client = client_uds(path);
    answer_t *answer = malloc(sizeof(*answer));
    client_get(client, "/seed", answer);
    assert_string_equal(answer->body, "GET 1|/seed||-|1.1||1||0");
    free(answer);
    client_close(client);
    stop_server(&running);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_log_of_the_process),
        cmocka_unit_test(test_what_a_handler_is_told),
        cmocka_unit_test(test_a_server_logs_there_too),
        cmocka_unit_test(test_the_log_may_be_taken_while_others_write),
        cmocka_unit_test(test_a_lua_file_wins_over_a_handler),
        cmocka_unit_test(test_a_program_for_the_header_of_version_0_3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
