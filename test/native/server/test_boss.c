/*
 * The boss alone: which slot gets a connection, and what happens if none can take it. The test
 * reads the inboxes itself, as a reactor would.
 */
#include "served.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "exec/hs_stats_page.h"
#include "os/hs_pass.h"
#include "server/hs_passage.h"

#define SLOTS 4

typedef struct group {
    hs_stats_page_t *page;
    hs_boss_t *boss;
    int listen_fd;
    uint16_t port;
    int clients[2048];
    int client_count;
} group_t;

static void group_open(group_t *group, hs_boss_policy_t policy)
{
    *group = (group_t){ 0 };
    hs_bound_t bound;
    int sys_errno;
    char error[512] = "";
    assert_int_equal(0, hs_socket_listen_group("127.0.0.1", 0, 2048, &group->listen_fd, 1, &bound,
                                               &sys_errno, error, sizeof(error)));
    group->port = bound.port;
    group->page = hs_stats_page_create(SLOTS, error, sizeof(error));
    hs_boss_config_t config = { .slots = SLOTS,
                                .listen_fds = &group->listen_fd,
                                .listen_fd_count = 1,
                                .policy = policy,
                                .stats = group->page,
                                .log_json_fd = open("/dev/null", O_WRONLY | O_CLOEXEC) };
    group->boss = hs_boss_create(&config, error, sizeof(error));
    assert_non_null(group->boss);
    assert_int_equal(0, hs_boss_start(group->boss));
}

static void group_connect(group_t *group, int count)
{
    for (int i = 0; i < count; i++)
        group->clients[group->client_count++] = client_open(group->port);
}

static void group_close(group_t *group)
{
    hs_boss_free(group->boss);
    hs_stats_page_free(group->page);
    close(group->listen_fd);
    for (int i = 0; i < group->client_count; i++)
        close(group->clients[i]);
}

static hs_boss_counters_t counters(group_t *group)
{
    hs_boss_counters_t now;
    hs_boss_read_counters(group->boss, &now);
    return now;
}

static uint64_t passed_in_all(group_t *group)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < SLOTS; i++)
        sum += hs_boss_passed(group->boss, i);
    return sum;
}

/* Takes the connections in an inbox, closes them, and returns their number. */
static int take(group_t *group, uint32_t slot)
{
    static char buffer[HS_PASSAGE_MAX];
    int taken = 0;
    hs_passed_t passed;
    while (hs_pass_recv(hs_boss_inbox(group->boss, slot), buffer, sizeof(buffer), &passed) == 0) {
        hs_passage_head_t head;
        const char *bytes;
        assert_true(hs_passage_read(buffer, passed.len, &head, &bytes));
        assert_int_equal(head.count, passed.fd_count);
        assert_false(passed.is_cut);
        for (size_t i = 0; i < passed.fd_count; i++) {
            assert_true(fcntl(passed.fds[i], F_GETFD) & FD_CLOEXEC);
            assert_true(fcntl(passed.fds[i], F_GETFL) & O_NONBLOCK);
            close(passed.fds[i]);
        }
        taken += (int)passed.fd_count;
    }
    return taken;
}

static void round_robin_is_even(void **state)
{
    (void)state;
    group_t group;
    group_open(&group, HS_BOSS_ROUND_ROBIN);
    for (uint32_t i = 0; i < SLOTS; i++)
        hs_boss_set_up(group.boss, i, true, 0);
    group_connect(&group, 64);
    WAIT_UNTIL(passed_in_all(&group) == 64);
    for (uint32_t i = 0; i < SLOTS; i++) {
        assert_int_equal(16, hs_boss_passed(group.boss, i));
        assert_int_equal(16, take(&group, i));
    }
    group_close(&group);
}

static void a_slot_that_is_down_gets_nothing(void **state)
{
    (void)state;
    group_t group;
    group_open(&group, HS_BOSS_ROUND_ROBIN);
    hs_boss_set_up(group.boss, 1, true, 0);
    hs_boss_set_up(group.boss, 3, true, 0);
    group_connect(&group, 10);
    WAIT_UNTIL(passed_in_all(&group) == 10);
    hs_boss_set_up(group.boss, 3, false, 0);
    group_connect(&group, 6);
    WAIT_UNTIL(passed_in_all(&group) == 16);
    assert_int_equal(0, take(&group, 0) + take(&group, 2));
    assert_int_equal(11, take(&group, 1));
    assert_int_equal(5, take(&group, 3));
    group_close(&group);
}

static void with_all_down_connections_wait_in_the_listen_queue(void **state)
{
    (void)state;
    group_t group;
    group_open(&group, HS_BOSS_ROUND_ROBIN);
    group_connect(&group, 20);
    assert_int_equal(0, counters(&group).accepted);
    hs_boss_set_up(group.boss, 2, true, 0);
    WAIT_UNTIL(hs_boss_passed(group.boss, 2) == 20);
    assert_int_equal(20, take(&group, 2));
    assert_int_equal(0, counters(&group).held);
    group_close(&group);
}

static void least_prefers_the_slot_with_the_fewest_connections(void **state)
{
    (void)state;
    group_t group;
    group_open(&group, HS_BOSS_LEAST);
    static const uint64_t now[SLOTS] = { 10, 3, 0, 5 };
    for (uint32_t i = 0; i < SLOTS; i++) {
        hs_stats_page_begin(group.page, i, 0, 100 + i, 1, 1);
        hs_stats_set(&hs_stats_page_area(group.page, i, 0, 0)->connections[i], now[i]);
        hs_boss_set_up(group.boss, i, true, 0);
    }
    group_connect(&group, 7); /* 3 to slot 2, then slots 1 and 2 in turn */
    WAIT_UNTIL(passed_in_all(&group) == 7);
    assert_int_equal(0, take(&group, 0));
    assert_int_equal(0, take(&group, 3));
    int one = take(&group, 1), two = take(&group, 2);
    assert_int_equal(7, one + two);
    assert_int_equal(2, one);
    assert_int_equal(5, two);
    group_close(&group);
}

/* A reactor dies between taking a message and counting its connections. */
static void least_forgets_what_a_dying_reactor_had_taken(void **state)
{
    (void)state;
    group_t group;
    group_open(&group, HS_BOSS_LEAST);
    for (uint32_t i = 0; i < 2; i++) {
        hs_stats_page_begin(group.page, i, 0, 100 + i, 1, 1);
        (void)hs_stats_page_area(group.page, i, 0, 0);
        hs_boss_set_up(group.boss, i, true, 0);
    }
    group_connect(&group, 8);
    WAIT_UNTIL(passed_in_all(&group) == 8);
    assert_int_equal(4, take(&group, 0));
    assert_int_equal(4, take(&group, 1));
    hs_boss_set_up(group.boss, 0, false, 0);
    hs_boss_set_up(group.boss, 0, true, 0);
    hs_stats_add(hs_stats_page_area(group.page, 1, 0, 0), HS_STATS_PASSED, 4);
    group_connect(&group, 8);
    WAIT_UNTIL(passed_in_all(&group) == 16);
    assert_int_equal(4, take(&group, 0));
    assert_int_equal(4, take(&group, 1));
    group_close(&group);
}

/* Nothing is read: the pair fills up, the rest waits in the boss and in the listen queue. */
static void a_full_pair_loses_nothing(void **state)
{
    (void)state;
    enum {
        COUNT = 900
    };
    group_t group;
    group_open(&group, HS_BOSS_ROUND_ROBIN);
    hs_boss_set_up(group.boss, 0, true, 0);
    for (int i = 0; i < COUNT; i++) {
        group_connect(&group, 1);
        /* One by one, so that each is a separate message. */
        if (counters(&group).pauses == 0)
            WAIT_UNTIL(passed_in_all(&group) == (uint64_t)i + 1 || counters(&group).held > 0);
    }
    WAIT_UNTIL(counters(&group).held > 0);
    assert_true(passed_in_all(&group) < COUNT);
    int taken = 0;
    WAIT_UNTIL((taken += take(&group, 0)) == COUNT);
    WAIT_UNTIL(counters(&group).held == 0);
    assert_int_equal(0, counters(&group).lost);
    group_close(&group);
}

static void what_a_full_pair_holds_goes_to_others_when_its_slot_goes_down(void **state)
{
    (void)state;
    group_t group;
    group_open(&group, HS_BOSS_ROUND_ROBIN);
    hs_boss_set_up(group.boss, 0, true, 0);
    for (int i = 0; counters(&group).held == 0; i++) {
        group_connect(&group, 1);
        WAIT_UNTIL(passed_in_all(&group) == (uint64_t)i + 1 || counters(&group).held > 0);
    }
    hs_boss_set_up(group.boss, 1, true, 0);
    hs_boss_set_up(group.boss, 0, false, 0);
    WAIT_UNTIL(counters(&group).held == 0);
    int taken = 0;
    WAIT_UNTIL((taken += take(&group, 1)) > 0);
    hs_boss_reclaim(group.boss, 0); /* and the connections in the inbox that is not read */
    WAIT_UNTIL((taken += take(&group, 1)) == group.client_count);
    assert_int_equal(0, take(&group, 0));
    group_close(&group);
}

static void closing_passes_on_what_is_queued(void **state)
{
    (void)state;
    group_t group;
    group_open(&group, HS_BOSS_ROUND_ROBIN);
    hs_boss_set_up(group.boss, 0, true, 0);
    group_connect(&group, 100);
    hs_boss_close_listeners(group.boss);
    assert_int_equal(100, take(&group, 0));
    group_connect(&group, 1); /* the kernel still queues it, the boss does not accept it */
    hs_boss_set_up(group.boss, 1, true, 0);
    hs_boss_close_listeners(group.boss);
    assert_int_equal(100, counters(&group).accepted);
    group_close(&group);
}

static void a_receiver_without_room_is_told_what_it_lost(void **state)
{
    (void)state;
    int pair[2];
    assert_int_equal(0, hs_socket_pair(pair));
    int fds[HS_PASS_FDS];
    for (int i = 0; i < HS_PASS_FDS; i++)
        fds[i] = dup(pair[0]);
    struct iovec iov = { (void *)"x", 1 };
    assert_int_equal(0, hs_pass_send(pair[0], &iov, 1, fds, HS_PASS_FDS));
    struct rlimit limit, low;
    assert_int_equal(0, getrlimit(RLIMIT_NOFILE, &limit));
    low = limit;
    low.rlim_cur = (rlim_t)fds[HS_PASS_FDS - 1] + 4;
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &low));
    char byte;
    hs_passed_t passed;
    int result = hs_pass_recv(pair[1], &byte, 1, &passed);
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &limit));
    assert_int_equal(0, result);
    assert_true(passed.is_cut);
    assert_true(passed.fd_count < HS_PASS_FDS);
    for (size_t i = 0; i < passed.fd_count; i++)
        close(passed.fds[i]);
    for (int i = 0; i < HS_PASS_FDS; i++)
        close(fds[i]);
    close(pair[0]);
    close(pair[1]);
}

static void a_message_that_is_none_is_refused(void **state)
{
    (void)state;
    hs_passage_head_t head, out;
    const char *bytes;
    hs_passage_begin(&head, 2);
    head.records[1].len = 3;
    char data[sizeof(head) + 8];
    size_t size = hs_passage_head_size(2);
    memcpy(data, &head, size);
    memcpy(data + size, "abc", 3);
    assert_true(hs_passage_read(data, size + 3, &out, &bytes));
    assert_ptr_equal(data + size, bytes);
    for (size_t len = 0; len < size + 3; len++)
        assert_false(hs_passage_read(data, len, &out, &bytes));
    assert_false(hs_passage_read(data, size + 4, &out, &bytes));
    data[2]++; /* another version */
    assert_false(hs_passage_read(data, size + 3, &out, &bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_robin_is_even),
        cmocka_unit_test(a_slot_that_is_down_gets_nothing),
        cmocka_unit_test(with_all_down_connections_wait_in_the_listen_queue),
        cmocka_unit_test(least_prefers_the_slot_with_the_fewest_connections),
        cmocka_unit_test(least_forgets_what_a_dying_reactor_had_taken),
        cmocka_unit_test(a_full_pair_loses_nothing),
        cmocka_unit_test(what_a_full_pair_holds_goes_to_others_when_its_slot_goes_down),
        cmocka_unit_test(closing_passes_on_what_is_queued),
        cmocka_unit_test(a_receiver_without_room_is_told_what_it_lost),
        cmocka_unit_test(a_message_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
