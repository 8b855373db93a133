/* hs_site_t: files through the public header, from reactors and workers at once. */
#include <pthread.h>

#include "running_server.h"

#include "os/scratch.h"

#define CLIENTS 4
#define REQUESTS 200

static const char get[] = "GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n";

static void *ask_often(void *argument)
{
    const running_t *running = argument;
    client_t *client = client_tcp(running->port);
    answer_t *answer = malloc(sizeof(*answer));
    for (unsigned i = 0; i < REQUESTS; i++) {
        client_text(client, get);
        client_next(client, answer);
        assert_int_equal(answer->status, 200);
        assert_int_equal(answer->body_len, 5);
    }
    free(answer);
    client_close(client);
    return NULL;
}

static void check(const char *index, hs_dispatch_mode_t dispatch)
{
    scratch_t scratch;
    scratch_begin(&scratch);
    scratch_text(&scratch, "a.txt", "hello");
    scratch_text(&scratch, "index.html", "index");
    hs_site_config_t site_config;
    hs_site_config_init(&site_config);
    site_config.root = scratch.path;
    site_config.index = index;
    char error[256] = "";
    hs_site_t *site = hs_site_new(&site_config, error, sizeof(error));
    assert_non_null(site);
    hs_config_t config = test_config(hs_site_handle, site);
    config.dispatch = dispatch;
    config.num_threads = 2;
    running_t running;
    run_server(&running, &config);
    pthread_t threads[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, &running), 0);
    for (unsigned i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    client_t *client = client_tcp(running.port);
    answer_t *answer = malloc(sizeof(*answer));
    const struct {
        const char *request;
        int status;
    } rows[] = {
        { "GET / HTTP/1.1\r\nHost: h\r\n\r\n", index != NULL ? 200 : 404 },
        { "GET /nope HTTP/1.1\r\nHost: h\r\n\r\n", 404 },
        { "GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", 400 },
        { "GET /a.txt HTTP/1.1\r\nHost: h\r\nRange: bytes=1-2\r\n\r\n", 206 },
        { "POST /a.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", 405 },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        client_text(client, rows[i].request);
        client_next(client, answer);
        assert_int_equal(answer->status, rows[i].status);
    }
    free(answer);
    client_close(client);
    stop_server(&running);
    hs_site_free(site);
    scratch_end(&scratch);
}

static void reactors_serve_files(void **state)
{
    (void)state;
    check("index.html", HS_DISPATCH_INLINE);
}

static void workers_serve_files(void **state)
{
    (void)state;
    check(NULL, HS_DISPATCH_WORKER);
}

static void a_directory_that_cannot_be_opened_is_an_error(void **state)
{
    (void)state;
    char error[256] = "";
    hs_site_config_t config;
    hs_site_config_init(&config);
    assert_null(hs_site_new(&config, error, sizeof(error)));
    assert_string_equal(error, "a site needs a root");
    config.root = "/no/such/directory";
    assert_null(hs_site_new(&config, error, sizeof(error)));
    assert_non_null(strstr(error, "/no/such/directory"));
    assert_null(hs_site_new(&config, NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reactors_serve_files),
        cmocka_unit_test(workers_serve_files),
        cmocka_unit_test(a_directory_that_cannot_be_opened_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
