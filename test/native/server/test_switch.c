/* A running server switches to the next generation of its Lua handler: hs_server_prepare and
 * hs_server_switch, as called by a supervisor or a C program. */
#include <poll.h>
#include <stdatomic.h>

#include "running_server.h"

typedef struct fixture {
    running_t running;
    char directory[256];
    char script[300];
    pthread_mutex_t lock;
    pthread_cond_t told;
    int prepared; /* events, under the lock */
    int refused;
} fixture_t;

static void on_event(hs_event_t event, void *ud)
{
    fixture_t *f = ud;
    pthread_mutex_lock(&f->lock);
    if (event == HS_EVENT_PREPARED)
        f->prepared++;
    else if (event == HS_EVENT_NOT_PREPARED)
        f->refused++;
    pthread_cond_signal(&f->told);
    pthread_mutex_unlock(&f->lock);
}

static void write_script(const fixture_t *f, const char *text)
{
    FILE *file = fopen(f->script, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void write_version(const fixture_t *f, int version)
{
    char text[512];
    snprintf(text, sizeof(text),
             "local count = 0\n"
             "function handle(req, res)\n"
             "  if req.url == '/worker' and not req:in_worker() then return 'worker' end\n"
             "  hs_queue_push(function() count = count + 1 end)\n"
             "  res:body('%d'):send()\n"
             "end\n",
             version);
    write_script(f, text);
}

static void begin(fixture_t *f, hs_reactor_mode_t mode)
{
    memset(f, 0, sizeof(*f));
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->told, NULL);
    snprintf(f->directory, sizeof(f->directory), "/tmp/moonring-switch-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->script, sizeof(f->script), "%s/handler.lua", f->directory);
    write_version(f, 1);
    hs_config_t config = test_config(NULL, NULL);
    config.lua_script = f->script;
    config.reactor_mode = mode;
    config.num_io_threads = 2;
    config.num_threads = 2;
    config.on_event = on_event;
    config.on_event_ud = f;
    run_server(&f->running, &config);
}

static void end(fixture_t *f)
{
    stop_server(&f->running);
    unlink(f->script);
    rmdir(f->directory);
}

static void prepare(fixture_t *f)
{
    char error[256];
    pthread_mutex_lock(&f->lock);
    int before = f->prepared + f->refused;
    pthread_mutex_unlock(&f->lock);
    assert_int_equal(hs_server_prepare(f->running.server, -1, error, sizeof(error)), 0);
    pthread_mutex_lock(&f->lock);
    while (f->prepared + f->refused == before)
        pthread_cond_wait(&f->told, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static int version_at(client_t *client, const char *path)
{
    static _Thread_local answer_t answer;
    char request[128];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);
    client_text(client, request);
    client_next(client, &answer);
    assert_int_equal(answer.status, 200);
    return atoi(answer.body);
}

static void the_next_request_runs_the_new_code(void **state)
{
    (void)state;
    static fixture_t f;
    begin(&f, HS_REACTOR_SINGLE);
    client_t *client = client_tcp(f.running.port);
    assert_int_equal(version_at(client, "/"), 1);
    assert_int_equal(version_at(client, "/worker"), 1);
    write_version(&f, 2);
    prepare(&f);
    assert_int_equal(version_at(client, "/"), 1);
    assert_int_equal(hs_server_switch(f.running.server, 2), 0);
    assert_int_equal(version_at(client, "/"), 2);
    assert_int_equal(version_at(client, "/worker"), 2);
    write_script(&f, "nonsense");
    prepare(&f);
    assert_int_equal(f.refused, 1);
    assert_non_null(strstr(hs_server_problem(f.running.server), "handler.lua:1:"));
    assert_true(hs_server_switch(f.running.server, 3) < 0);
    assert_int_equal(version_at(client, "/worker"), 2);
    write_version(&f, 3);
    prepare(&f);
    hs_server_discard(f.running.server);
    assert_true(hs_server_switch(f.running.server, 3) < 0);
    assert_int_equal(version_at(client, "/"), 2);
    client_close(client);
    end(&f);
}

typedef struct asker {
    fixture_t *f;
    pthread_t thread;
    const char *path;
    atomic_bool *stop;
    bool went_back;
    int last;
} asker_t;

static void *ask(void *argument)
{
    asker_t *asker = argument;
    client_t *client = client_tcp(asker->f->running.port);
    while (!*asker->stop) {
        int version = version_at(client, asker->path);
        asker->went_back |= version < asker->last;
        asker->last = version;
        (void)poll(NULL, 0, 1); /* the next generation is loaded by a thread of low priority */
    }
    client_close(client);
    return NULL;
}

static void clients_of_several_reactors_notice_nothing(void **state)
{
    (void)state;
    static fixture_t f;
    begin(&f, HS_REACTOR_MULTI);
    atomic_bool stop = false;
    asker_t askers[4];
    for (size_t i = 0; i < 4; i++) {
        askers[i] = (asker_t){ .f = &f, .path = i % 2 ? "/worker" : "/", .stop = &stop };
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
    }
    for (int version = 2; version <= 20; version++) {
        write_version(&f, version);
        prepare(&f);
        assert_int_equal(hs_server_switch(f.running.server, (uint64_t)version), 0);
    }
    stop = true;
    for (size_t i = 0; i < 4; i++) {
        pthread_join(askers[i].thread, NULL);
        assert_false(askers[i].went_back);
    }
    client_t *client = client_tcp(f.running.port);
    assert_int_equal(version_at(client, "/worker"), 20);
    client_close(client);
    assert_int_equal(f.refused, 0);
    end(&f);
}

static void respond(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)request;
    (void)user_data;
    (void)hs_res_body_str(response, "c");
}

static void a_handler_in_c_cannot_be_exchanged(void **state)
{
    (void)state;
    hs_config_t config = test_config(respond, NULL);
    running_t running;
    run_server(&running, &config);
    char error[256];
    assert_true(hs_server_prepare(running.server, -1, error, sizeof(error)) < 0);
    assert_string_equal(error, "only Lua handlers can be replaced");
    assert_true(hs_server_switch(running.server, 2) < 0);
    hs_server_discard(running.server);
    stop_server(&running);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_request_runs_the_new_code),
        cmocka_unit_test(clients_of_several_reactors_notice_nothing),
        cmocka_unit_test(a_handler_in_c_cannot_be_exchanged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
