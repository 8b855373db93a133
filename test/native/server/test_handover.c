/*
 * Connections outlive reactors: what a client sees while its connection moves from one server to
 * another through the boss. Nothing is closed and nothing is lost.
 */
#include "served.h"

#include <stdatomic.h>

#include "exec/hs_stats.h"

#define SLOTS 3

/* A boss, its stats page, and servers identified by slot and side. */
typedef struct group {
    hs_stats_page_t *page;
    hs_boss_t *boss;
    int listen_fd;
    uint16_t port;
} group_t;

static void group_open(group_t *group)
{
    hs_bound_t bound;
    int sys_errno;
    char error[512] = "";
    int result = hs_socket_listen_group("127.0.0.1", 0, 128, &group->listen_fd, 1, &bound,
                                        &sys_errno, error, sizeof(error));
    if (result != 0)
        fail_msg("%s", error);
    group->port = bound.port;
    group->page = hs_stats_page_create(SLOTS, error, sizeof(error));
    hs_boss_config_t config = { .slots = SLOTS,
                                .listen_fds = &group->listen_fd,
                                .listen_fd_count = 1,
                                .stats = group->page,
                                .log_json_fd = -1 };
    group->boss = hs_boss_create(&config, error, sizeof(error));
    if (group->boss == NULL)
        fail_msg("%s", error);
    assert_int_equal(0, hs_boss_start(group->boss));
}

static void group_close(group_t *group)
{
    hs_boss_free(group->boss);
    hs_stats_page_free(group->page);
    close(group->listen_fd);
}

static void group_config(const group_t *group, hs_config_t *config, uint32_t slot, uint32_t side)
{
    served_config(config);
    config->listen_flags = HS_LISTEN_FDS;
    config->inbox_fd = dup(hs_boss_inbox(group->boss, slot));
    config->stats_fd = dup(hs_stats_page_fd(group->page));
    config->stats_slot = slot;
    config->stats_side = side;
}

static void group_serve(group_t *group, served_t *served, uint32_t slot, uint32_t side)
{
    hs_config_t config;
    group_config(group, &config, slot, side);
    served_start(served, &config);
    hs_boss_set_up(group->boss, slot, true, 0);
}

/* The next process of slot 0 is up, and the old one begins to hand over to it. */
static void group_succeed(group_t *group, const served_t *old, served_t *next)
{
    group_serve(group, next, 0, 1);
    hs_server_hand_over(old->server, 10000);
}

static uint64_t counter(group_t *group, uint32_t slot, unsigned which)
{
    uint64_t sums[HS_STATS_COUNTERS];
    hs_stats_page_sum(group->page, slot, sums);
    return sums[which];
}

static uint64_t in_state(group_t *group, uint32_t slot, uint32_t side, unsigned state)
{
    hs_stats_process_t process;
    return hs_stats_page_read(group->page, slot, side, &process) ? process.connections[state] : 0;
}

static void idle_connections_go_to_the_successor(void **state)
{
    (void)state;
    group_t group;
    group_open(&group);
    served_t old, next;
    group_serve(&group, &old, 0, 0);
    int fds[40];
    for (int i = 0; i < 40; i++) {
        fds[i] = client_open(group.port);
        client_ask(fds[i], "/before");
    }
    int fresh = client_open(group.port); /* has sent no request yet */
    WAIT_UNTIL(in_state(&group, 0, 0, 0) == 41);
    group_succeed(&group, &old, &next);
    served_join(&old);
    WAIT_UNTIL(in_state(&group, 0, 1, 0) == 41);
    for (int i = 0; i < 40; i++) {
        client_ask(fds[i], "/after");
        close(fds[i]);
    }
    client_ask(fresh, "/first");
    close(fresh);
    assert_int_equal(41, counter(&group, 0, HS_STATS_MOVED_OUT));
    assert_int_equal(41, counter(&group, 0, HS_STATS_MOVED_IN));
    assert_int_equal(41, counter(&group, 0, HS_STATS_ACCEPTED));
    served_stop(&next);
    group_close(&group);
}

static void received_bytes_travel(void **state)
{
    (void)state;
    group_t group;
    group_open(&group);
    served_t old, next;
    group_serve(&group, &old, 0, 0);
    int fd = client_open(group.port);
    client_ask(fd, "/before");
    client_send(fd, "GET /half HTTP/1.1\r\nHost: te");
    WAIT_UNTIL(in_state(&group, 0, 0, 1) == 1);
    group_succeed(&group, &old, &next);
    served_join(&old);
    WAIT_UNTIL(in_state(&group, 0, 1, 1) == 1);
    client_send(fd, "st\r\n\r\n");
    client_expect(fd, "GET /half 0");
    client_ask(fd, "/after");
    close(fd);
    served_stop(&next);
    group_close(&group);
}

static void a_connection_in_the_middle_of_content_moves_after_its_answer(void **state)
{
    (void)state;
    group_t group;
    group_open(&group);
    served_t old, next;
    group_serve(&group, &old, 0, 0);
    int idle = client_open(group.port);
    client_ask(idle, "/before");
    int fd = client_open(group.port);
    client_send(fd, "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
    WAIT_UNTIL(in_state(&group, 0, 0, 1) == 1);
    group_succeed(&group, &old, &next);
    /* An idle connection is handed over at once, which shows that the hand-over has begun. */
    WAIT_UNTIL(counter(&group, 0, HS_STATS_MOVED_OUT) == 1);
    /* The rest, and a whole request pipelined behind it. */
    client_send(fd, "defGET /piped HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(fd, "GET /piped 0"); /* after the response to the upload */
    served_join(&old);
    client_ask(fd, "/after");
    assert_int_equal(2, counter(&group, 0, HS_STATS_MOVED_OUT));
    client_ask(idle, "/after");
    close(idle);
    close(fd);
    served_stop(&next);
    group_close(&group);
}

static void a_connection_that_a_worker_serves_moves_after_its_answer(void **state)
{
    (void)state;
    group_t group;
    group_open(&group);
    gate_t gate = GATE_SHUT;
    served_t old, next;
    hs_config_t config;
    group_config(&group, &config, 0, 0);
    config.handler = gate_handler;
    config.handler_ud = &gate;
    config.dispatch = HS_DISPATCH_WORKER;
    config.num_threads = 1;
    served_start(&old, &config);
    hs_boss_set_up(group.boss, 0, true, 0);
    int fd = client_open(group.port);
    client_send(fd, "GET /waits HTTP/1.1\r\nHost: a\r\n\r\nGET /piped HTTP/1.1\r\nHost: a\r\n\r\n");
    WAIT_UNTIL(in_state(&group, 0, 0, 2) == 1);
    int idle = client_open(group.port);
    WAIT_UNTIL(in_state(&group, 0, 0, 0) == 1);
    group_succeed(&group, &old, &next);
    WAIT_UNTIL(counter(&group, 0, HS_STATS_MOVED_IN) == 1);
    client_ask(idle, "/idle");
    gate_open(&gate);
    client_expect(fd, "GET /piped 0");
    served_join(&old);
    client_ask(fd, "/after");
    assert_int_equal(2, counter(&group, 0, HS_STATS_MOVED_IN));
    close(fd);
    close(idle);
    served_stop(&next);
    group_close(&group);
}

typedef struct load {
    uint16_t port;
    _Atomic bool stop;
    uint64_t asked;
} load_t;

/* Sends without a pause, three requests per write, on one connection for the whole time. */
static void *ask_without_pause(void *argument)
{
    load_t *load = argument;
    int fd = client_open(load->port);
    for (; !atomic_load(&load->stop); load->asked += 3) {
        client_send(fd, "GET /p HTTP/1.1\r\nHost: a\r\n\r\nGET /p HTTP/1.1\r\nHost: a\r\n\r\n"
                        "GET /p HTTP/1.1\r\nHost: a\r\n\r\n");
        client_expect_times(fd, "GET /p 0", 3);
    }
    close(fd);
    return NULL;
}

static void busy_connections_live_through_many_reloads(void **state)
{
    (void)state;
    enum {
        CLIENTS = 8,
        RELOADS = 20
    };
    group_t group;
    group_open(&group);
    served_t servers[2];
    group_serve(&group, &servers[0], 0, 0);
    load_t loads[CLIENTS];
    pthread_t threads[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        loads[i] = (load_t){ .port = group.port };
        assert_int_equal(0, pthread_create(&threads[i], NULL, ask_without_pause, &loads[i]));
    }
    WAIT_UNTIL(counter(&group, 0, HS_STATS_ACCEPTED) == CLIENTS);
    for (uint32_t i = 1; i <= RELOADS; i++) {
        group_serve(&group, &servers[i % 2], 0, i % HS_STATS_SIDES);
        hs_server_hand_over(servers[(i + 1) % 2].server, 10000);
        served_join(&servers[(i + 1) % 2]);
        hs_stats_page_reset_side(group.page, 0, (i - 1) % HS_STATS_SIDES);
    }
    uint64_t asked = 0;
    for (int i = 0; i < CLIENTS; i++)
        atomic_store(&loads[i].stop, true);
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(0, pthread_join(threads[i], NULL));
        asked += loads[i].asked;
    }
    assert_int_equal(CLIENTS, counter(&group, 0, HS_STATS_ACCEPTED));
    /* A reload may finish before a connection has moved: then that reload is skipped. */
    assert_true(counter(&group, 0, HS_STATS_MOVED_OUT) >= RELOADS);
    assert_int_equal(counter(&group, 0, HS_STATS_MOVED_OUT), counter(&group, 0, HS_STATS_MOVED_IN));
    served_stop(&servers[RELOADS % 2]);
    uint64_t responses = 0;
    for (unsigned i = 0; i < HS_STATS_BUCKETS; i++)
        responses += counter(&group, 0, hs_stats_latency_counter(hs_stats_series(1, 200), i));
    assert_int_equal(asked, responses);
    group_close(&group);
}

static void without_a_successor_others_take_the_connections(void **state)
{
    (void)state;
    group_t group;
    group_open(&group);
    served_t servers[SLOTS];
    for (uint32_t i = 0; i < SLOTS; i++)
        group_serve(&group, &servers[i], i, 0);
    int fds[12];
    for (int i = 0; i < 12; i++) {
        fds[i] = client_open(group.port);
        client_ask(fds[i], "/before");
    }
    WAIT_UNTIL(hs_boss_passed(group.boss, 1) == 4); /* counted after it was sent */
    hs_boss_set_up(group.boss, 1, false, 0);
    hs_server_hand_over(servers[1].server, 10000);
    served_join(&servers[1]);
    for (int i = 0; i < 12; i++)
        client_ask(fds[i], "/after");
    assert_int_equal(2, counter(&group, 0, HS_STATS_MOVED_IN));
    assert_int_equal(2, counter(&group, 2, HS_STATS_MOVED_IN));
    served_stop(&servers[0]);
    served_stop(&servers[2]);
    for (int i = 0; i < 12; i++)
        close(fds[i]);
    group_close(&group);
}

static void connections_wait_for_a_successor_that_comes_late(void **state)
{
    (void)state;
    group_t group;
    group_open(&group);
    served_t old, next;
    group_serve(&group, &old, 0, 0);
    int fd = client_open(group.port);
    client_ask(fd, "/before");
    hs_boss_set_up(group.boss, 0, false, 0);
    hs_server_hand_over(old.server, 10000);
    served_join(&old);
    client_send(fd, "GET /waits HTTP/1.1\r\nHost: a\r\n\r\n");
    group_serve(&group, &next, 0, 1);
    client_expect(fd, "GET /waits 0");
    close(fd);
    served_stop(&next);
    group_close(&group);
}

static void a_drain_serves_what_is_under_way_and_says_close(void **state)
{
    (void)state;
    group_t group;
    group_open(&group);
    served_t served;
    group_serve(&group, &served, 0, 0);
    int idle = client_open(group.port);
    client_ask(idle, "/before");
    int half = client_open(group.port);
    client_send(half, "GET /half HTTP/1.1\r\nHo");
    WAIT_UNTIL(in_state(&group, 0, 0, 1) == 1);
    hs_boss_close_listeners(group.boss);
    hs_server_drain(served.server, 10000);
    client_expect_end(idle);
    client_send(half, "st: a\r\n\r\n");
    client_expect(half, "Connection: close");
    client_expect_end(half);
    served_join(&served);
    close(idle);
    close(half);
    group_close(&group);
}

/* The request of an idle connection is in flight when the drain begins: it is not aborted. */
static void a_drain_reads_idle_connections_once_more(void **state)
{
    (void)state;
    gate_t gate = GATE_SHUT;
    hs_config_t config;
    served_config(&config);
    config.handler = gate_handler;
    config.handler_ud = &gate;
    config.dispatch = HS_DISPATCH_INLINE;
    served_t served;
    served_start(&served, &config);
    int idle = client_open(hs_server_port(served.server));
    client_ask(idle, "/before");
    int busy = client_open(hs_server_port(served.server));
    client_ask(busy, "/before");
    client_send(busy, "GET /waits HTTP/1.1\r\nHost: a\r\n\r\n");
    gate_await(&gate, 1);
    client_send(idle, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
    hs_server_drain(served.server, 10000);
    gate_open(&gate);
    client_expect(idle, "GET /late 0");
    client_expect_end(idle);
    served_join(&served);
    close(idle);
    close(busy);
}

static void without_an_inbox_a_hand_over_is_a_drain(void **state)
{
    (void)state;
    hs_config_t config;
    served_config(&config);
    served_t served;
    served_start(&served, &config);
    int fd = client_open(hs_server_port(served.server));
    client_ask(fd, "/before");
    hs_server_hand_over(served.server, 10000);
    client_expect_end(fd);
    served_join(&served);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_connections_go_to_the_successor),
        cmocka_unit_test(received_bytes_travel),
        cmocka_unit_test(a_connection_in_the_middle_of_content_moves_after_its_answer),
        cmocka_unit_test(a_connection_that_a_worker_serves_moves_after_its_answer),
        cmocka_unit_test(busy_connections_live_through_many_reloads),
        cmocka_unit_test(without_a_successor_others_take_the_connections),
        cmocka_unit_test(connections_wait_for_a_successor_that_comes_late),
        cmocka_unit_test(a_drain_serves_what_is_under_way_and_says_close),
        cmocka_unit_test(a_drain_reads_idle_connections_once_more),
        cmocka_unit_test(without_an_inbox_a_hand_over_is_a_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
