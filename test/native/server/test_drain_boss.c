/* Behind a boss in the library: a drain serves accepted connections, and an orphan drains in time.
 */
#include <poll.h>

#include "exec/gate.h"
#include "httpserver_supervise.h"
#include "running_server.h"

#define CLIENTS 20

/* Requests for /gate wait there. */
static void answer_behind_the_gate(hs_request_t *request, hs_response_t *response, void *user_data)
{
    if (strcmp(hs_req_url(request), "/gate") == 0)
        gate_pass(user_data);
    hs_res_body_str(response, hs_req_url(request));
    hs_res_send(response);
}

static hs_config_t one_reactor_behind_a_boss(gate_t *gate)
{
    hs_config_t config = test_config(answer_behind_the_gate, gate);
    config.reactor_mode = HS_REACTOR_MULTI;
    config.num_io_threads = 1;
    return config;
}

static client_t *ask(uint16_t port, const char *target)
{
    client_t *client = client_tcp(port);
    char text[128];
    (void)snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", target);
    client_text(client, text);
    return client;
}

/* Returns once connecting fails: the boss has accepted all earlier connections. */
static void await_closed_port(uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (bool is_open = true; is_open;) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        is_open = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
        close(fd);
    }
}

static void connections_that_no_reactor_has_taken_yet_are_served_in_a_drain(void **state)
{
    (void)state;
    gate_t gate = GATE_SHUT;
    hs_config_t config = one_reactor_behind_a_boss(&gate);
    config.dispatch = HS_DISPATCH_INLINE;
    running_t running;
    run_server(&running, &config);
    client_t *first = ask(running.port, "/gate");
    gate_await(&gate, 1); /* the reactor accepts nothing now */
    client_t *clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = ask(running.port, "/waits");
    hs_server_drain(running.server, 20000);
    await_closed_port(running.port);
    gate_open(&gate);
    answer_t *answer = malloc(sizeof(*answer));
    client_next(first, answer);
    assert_string_equal(answer->body, "/gate");
    for (int i = 0; i < CLIENTS; i++) {
        client_next(clients[i], answer);
        assert_string_equal(answer->body, "/waits");
        assert_true(answer->closes);
        client_close(clients[i]);
    }
    free(answer);
    client_close(first);
    await_end(&running);
}

/* False: the machine was so slow that the time had passed. */
static bool an_orphan_finishes_what_is_in_flight(void)
{
    enum {
        ORPHAN_MS = 500 /* of the server */
    };
    gate_t gate = GATE_SHUT;
    hs_config_t config = one_reactor_behind_a_boss(&gate);
    config.dispatch = HS_DISPATCH_WORKER;
    config.num_threads = 1;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    config.control_fd = pair[0];
    running_t running;
    run_server(&running, &config);
    client_t *client = ask(running.port, "/gate");
    gate_await(&gate, 1);
    uint64_t begin_ms = hs_monotonic_ms();
    close(pair[1]);
    await_closed_port(running.port);
    struct pollfd ready = { .fd = client->fd, .events = POLLIN };
    bool is_silent = poll(&ready, 1, 20) == 0; /* neither responded to nor aborted */
    gate_open(&gate);
    assert_int_equal(poll(&ready, 1, -1), 1);
    bool in_time = hs_monotonic_ms() - begin_ms < ORPHAN_MS;
    if (in_time) {
        answer_t *answer = malloc(sizeof(*answer));
        client_next(client, answer);
        assert_string_equal(answer->body, "/gate");
        free(answer);
        assert_true(is_silent);
    }
    client_close(client);
    await_end(&running);
    return in_time;
}

static void an_orphaned_boss_gives_its_reactors_time_for_what_is_in_flight(void **state)
{
    (void)state;
    int attempts = 0;
    while (!an_orphan_finishes_what_is_in_flight())
        assert_true(++attempts < 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_that_no_reactor_has_taken_yet_are_served_in_a_drain),
        cmocka_unit_test(an_orphaned_boss_gives_its_reactors_time_for_what_is_in_flight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
