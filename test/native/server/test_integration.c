/* The library in one process with its clients: every dispatch mode, both reactor modes, both
 * kinds of socket. */
#include <poll.h>
#include <signal.h>

#include "exec/gate.h"
#include "running_server.h"

#define CLIENTS 8
#define REQUESTS_PER_CLIENT 100

/* Echoes the body, or the target without one; requests for /gate wait there. */
static void echo(hs_request_t *request, hs_response_t *response, void *user_data)
{
    if (strcmp(hs_req_url(request), "/gate") == 0)
        gate_pass(user_data);
    size_t len;
    const char *body = hs_req_body(request, &len);
    if (len > 0)
        hs_res_body(response, body, len);
    else
        hs_res_body_str(response, hs_req_url(request));
    hs_res_send(response);
}

typedef struct crowd {
    uint16_t port;
    const char *path; /* of a Unix socket; NULL: TCP */
    unsigned number;
    unsigned mismatches;
} crowd_t;

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Sends tokens of random size in random pieces, sometimes several requests at once, and compares
 * the responses. */
static void *ask_for_tokens(void *argument)
{
    crowd_t *crowd = argument;
    uint32_t random = 12345u + crowd->number * 7919u;
    client_t *client = crowd->path ? client_uds(crowd->path) : client_tcp(crowd->port);
    static const size_t sizes[] = { 1, 40, 700, 5000, 20000 };
    char *text = malloc(200000);
    char *expected = malloc(200000);
    answer_t *answer = malloc(sizeof(*answer));
    for (unsigned i = 0; i < REQUESTS_PER_CLIENT;) {
        unsigned batch = 1 + next_random(&random) % 4;
        size_t len = 0;
        size_t expected_len = 0;
        size_t body_sizes[4];
        for (unsigned b = 0; b < batch; b++, i++) {
            size_t size = 1 + next_random(&random) % sizes[next_random(&random) % 5];
            body_sizes[b] = size;
            len += (size_t)sprintf(
                text + len, "POST /t HTTP/1.1\r\nHost: test\r\nContent-Length: %zu\r\n\r\n", size);
            for (size_t at = 0; at < size; at++)
                text[len + at] = (char)('a' + (crowd->number + i + at * at) % 26);
            memcpy(expected + expected_len, text + len, size);
            expected_len += size;
            len += size;
        }
        for (size_t at = 0; at < len;) {
            size_t piece = 1 + next_random(&random) % (1u << next_random(&random) % 16);
            piece = piece < len - at ? piece : len - at;
            client_send(client, text + at, piece);
            at += piece;
        }
        const char *next = expected;
        for (unsigned b = 0; b < batch; b++) {
            client_next(client, answer);
            crowd->mismatches += answer->status != 200 || answer->body_len != body_sizes[b] ||
                                 memcmp(answer->body, next, body_sizes[b]) != 0;
            next += body_sizes[b];
        }
    }
    free(answer);
    free(expected);
    free(text);
    client_close(client);
    return NULL;
}

static void ask_in_a_crowd(uint16_t port, const char *path)
{
    crowd_t crowds[CLIENTS];
    pthread_t threads[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) {
        crowds[i] = (crowd_t){ .port = port, .path = path, .number = i };
        assert_int_equal(pthread_create(&threads[i], NULL, ask_for_tokens, &crowds[i]), 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(crowds[i].mismatches, 0);
    }
}

static void cross_talk(hs_dispatch_mode_t dispatch, hs_reactor_mode_t reactors)
{
    hs_config_t config = test_config(echo, NULL);
    config.dispatch = dispatch;
    config.reactor_mode = reactors;
    config.num_io_threads = 2;
    config.num_threads = 2;
    running_t running;
    run_server(&running, &config);
    ask_in_a_crowd(running.port, NULL);
    stop_server(&running);
}

static void test_inline_answers_are_not_mixed_up(void **state)
{
    (void)state;
    cross_talk(HS_DISPATCH_INLINE, HS_REACTOR_SINGLE);
}

static void test_worker_answers_are_not_mixed_up(void **state)
{
    (void)state;
    cross_talk(HS_DISPATCH_WORKER, HS_REACTOR_SINGLE);
}

static void test_auto_answers_are_not_mixed_up(void **state)
{
    (void)state;
    cross_talk(HS_DISPATCH_AUTO, HS_REACTOR_SINGLE);
}

static void test_several_reactors_do_not_mix_up(void **state)
{
    (void)state;
    cross_talk(HS_DISPATCH_INLINE, HS_REACTOR_MULTI);
    cross_talk(HS_DISPATCH_WORKER, HS_REACTOR_MULTI);
}

static void test_a_unix_socket_beside_tcp(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof(path), "/tmp/moonring-test-%ld.sock", (long)getpid());
    hs_config_t config = test_config(echo, NULL);
    config.listen_flags = HS_LISTEN_TCP | HS_LISTEN_UDS;
    config.uds_path = path;
    for (int mode = HS_REACTOR_SINGLE; mode <= HS_REACTOR_MULTI; mode++) {
        config.reactor_mode = (hs_reactor_mode_t)mode;
        config.num_io_threads = 2;
        running_t running;
        run_server(&running, &config);
        ask_in_a_crowd(0, path);
        ask_in_a_crowd(running.port, NULL);
        stop_server(&running);
        assert_int_equal(access(path, F_OK), -1); /* removed with the server */
    }
}

static hs_server_t *signalled;

static void on_signal(int number)
{
    (void)number;
    hs_server_stop(signalled);
}

static void test_stop_from_a_signal_handler(void **state)
{
    (void)state;
    for (int mode = HS_REACTOR_SINGLE; mode <= HS_REACTOR_MULTI; mode++) {
        hs_config_t config = test_config(echo, NULL);
        config.reactor_mode = (hs_reactor_mode_t)mode;
        running_t running;
        run_server(&running, &config);
        client_t *client = client_tcp(running.port);
        answer_t *answer = malloc(sizeof(*answer));
        client_get(client, "/", answer);
        signalled = running.server;
        signal(SIGUSR1, on_signal);
        pthread_kill(running.thread, SIGUSR1);
        await_end(&running);
        signal(SIGUSR1, SIG_DFL);
        assert_false(client_receive(client));
        free(answer);
        client_close(client);
    }
}

static hs_config_t worker_config(gate_t *gate, int threads)
{
    hs_config_t config = test_config(echo, gate);
    config.dispatch = HS_DISPATCH_WORKER;
    config.num_threads = threads;
    return config;
}

/* Has requested /gate. */
static client_t *client_for_the_gate(uint16_t port)
{
    client_t *client = client_tcp(port);
    client_text(client, "GET /gate HTTP/1.1\r\nHost: test\r\n\r\n");
    return client;
}

static void test_a_client_that_leaves_while_a_worker_works(void **state)
{
    (void)state;
    gate_t gate = GATE_SHUT;
    hs_config_t config = worker_config(&gate, 2);
    running_t running;
    run_server(&running, &config);
    client_t *leaver = client_for_the_gate(running.port);
    gate_await(&gate, 1);
    client_close(leaver);
    client_t *client = client_tcp(running.port);
    answer_t *answer = malloc(sizeof(*answer));
    client_get(client, "/other", answer);
    assert_string_equal(answer->body, "/other");
    gate_open(&gate);
    client_get(client, "/gate", answer);
    assert_int_equal(answer->status, 200);
    free(answer);
    client_close(client);
    stop_server(&running);
}

static void test_a_full_queue_is_503_at_once(void **state)
{
    (void)state;
    enum {
        WAITING = 5
    };
    gate_t gate = GATE_SHUT;
    hs_config_t config = worker_config(&gate, 1);
    config.work_queue_cap = 1;
    running_t running;
    run_server(&running, &config);
    client_t *first = client_for_the_gate(running.port);
    gate_await(&gate, 1);
    /* The queue has room for one of these; the others get responses although the worker is busy.
     */
    client_t *clients[WAITING];
    struct pollfd fds[WAITING];
    for (unsigned i = 0; i < WAITING; i++) {
        clients[i] = client_tcp(running.port);
        fds[i] = (struct pollfd){ .fd = clients[i]->fd, .events = POLLIN };
        client_text(clients[i], "GET /t HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    answer_t *answer = malloc(sizeof(*answer));
    unsigned queued = WAITING;
    for (unsigned refused = 0; refused < WAITING - 1;) {
        assert_true(poll(fds, WAITING, 20000) > 0);
        for (unsigned i = 0; i < WAITING; i++) {
            if (!(fds[i].revents & POLLIN))
                continue;
            client_next(clients[i], answer);
            assert_int_equal(answer->status, 503);
            assert_false(answer->closes);
            fds[i].fd = -1;
            refused++;
        }
    }
    for (unsigned i = 0; i < WAITING; i++)
        if (fds[i].fd >= 0)
            queued = i;
    assert_true(queued < WAITING);
    gate_open(&gate);
    client_next(first, answer);
    assert_string_equal(answer->body, "/gate");
    client_next(clients[queued], answer);
    assert_string_equal(answer->body, "/t");
    client_close(first);
    for (unsigned i = 0; i < WAITING; i++)
        client_close(clients[i]);
    free(answer);
    stop_server(&running);
}

/* A log in which the return of a stuck worker lets a client through the gate. */
static void note_return(const hs_log_event_t *event, void *user_data)
{
    gate_t *returned = user_data;
    if (strstr(event->msg, "returned after") == NULL)
        return;
    pthread_mutex_lock(&returned->lock);
    returned->waiting++;
    pthread_cond_broadcast(&returned->changed);
    pthread_mutex_unlock(&returned->lock);
}

/* A worker that gets no CPU until the deadline is replaced like a stuck one: then the request is
 * sent again. */
static void get_in_time(uint16_t port, const char *target, answer_t *answer)
{
    unsigned attempts = 0;
    do {
        client_t *client = client_tcp(port);
        client_get(client, target, answer);
        client_close(client);
        assert_true(++attempts < 50);
    } while (answer->status == 503);
    assert_int_equal(answer->status, 200);
}

static void test_a_handler_past_its_deadline_is_503_and_replaced(void **state)
{
    (void)state;
    gate_t gate = GATE_SHUT;
    gate_t returned = GATE_SHUT;
    hs_config_t config = worker_config(&gate, 1);
    config.handler_timeout_ms = 200;
    config.log_level = HS_LOG_WARN;
    hs_log_register(note_return, &returned);
    running_t running;
    run_server(&running, &config);
    client_t *stuck = client_tcp(running.port);
    answer_t *answer = malloc(sizeof(*answer));
    client_get(stuck, "/gate", answer);
    assert_int_equal(answer->status, 503);
    assert_true(answer->closes);
    get_in_time(running.port, "/served", answer); /* by the replacement worker */
    assert_string_equal(answer->body, "/served");
    gate_open(&gate);
    get_in_time(running.port, "/gate", answer);
    assert_string_equal(answer->body, "/gate");
    /* A worker that is still stuck at the end is leaked, with its memory. */
    gate_await(&returned, 1);
    client_close(stuck);
    free(answer);
    stop_server(&running);
    hs_log_register(NULL, NULL);
}

static void test_drain_lets_a_worker_finish(void **state)
{
    (void)state;
    gate_t gate = GATE_SHUT;
    hs_config_t config = worker_config(&gate, 1);
    running_t running;
    run_server(&running, &config);
    client_t *client = client_for_the_gate(running.port);
    answer_t *answer = malloc(sizeof(*answer));
    gate_await(&gate, 1);
    hs_server_drain(running.server, 20000);
    gate_open(&gate);
    client_next(client, answer);
    assert_int_equal(answer->status, 200);
    assert_true(answer->closes);
    await_end(&running);
    free(answer);
    client_close(client);
}

static void test_stop_while_workers_work(void **state)
{
    (void)state;
    gate_t gate = GATE_SHUT;
    hs_config_t config = worker_config(&gate, 1);
    running_t running;
    run_server(&running, &config);
    client_t *clients[4];
    for (unsigned i = 0; i < 4; i++)
        clients[i] = client_for_the_gate(running.port);
    gate_await(&gate, 1);
    hs_server_stop(running.server);
    pthread_join(running.thread, NULL);
    gate_open(&gate); /* hs_server_free waits for the running handler, not for the queued ones */
    hs_server_free(running.server);
    for (unsigned i = 0; i < 4; i++)
        client_close(clients[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inline_answers_are_not_mixed_up),
        cmocka_unit_test(test_worker_answers_are_not_mixed_up),
        cmocka_unit_test(test_auto_answers_are_not_mixed_up),
        cmocka_unit_test(test_several_reactors_do_not_mix_up),
        cmocka_unit_test(test_a_unix_socket_beside_tcp),
        cmocka_unit_test(test_stop_from_a_signal_handler),
        cmocka_unit_test(test_a_client_that_leaves_while_a_worker_works),
        cmocka_unit_test(test_a_full_queue_is_503_at_once),
        cmocka_unit_test(test_a_handler_past_its_deadline_is_503_and_replaced),
        cmocka_unit_test(test_drain_lets_a_worker_finish),
        cmocka_unit_test(test_stop_while_workers_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
