/* Datagram sockets, with real sockets; the test is the peer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include <netinet/in.h>

#include "net/hs_datagram.h"
#include "net/net_rig.h"

typedef struct udp_user {
    hs_datagram_t *datagram;
    unsigned done;
} udp_user_t;

static void on_datagram_done(void *context, hs_datagram_t *datagram)
{
    udp_user_t *user = context;
    assert_ptr_equal(user->datagram, datagram);
    user->done++;
}

/* A bound socket of the peer, and its port. */
static int peer_open(uint16_t *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void open_user(rig_t *rig, udp_user_t *user, uint16_t port)
{
    *user = (udp_user_t){ .datagram = hs_datagram_new(&rig->net, on_datagram_done, user) };
    assert_non_null(user->datagram);
    assert_true(hs_datagram_open(user->datagram, "127.0.0.1", port, WAIT_MS));
    assert_int_equal(user->datagram->failure.kind, HS_FAILURE_NONE);
}

static void datagrams_go_both_ways(void **state)
{
    (void)state;
    rig_t rig;
    udp_user_t user;
    uint16_t port;
    char heard[16];
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    rig_open(&rig);
    int peer = peer_open(&port);
    open_user(&rig, &user, port);
    hs_datagram_send(user.datagram, "question", 8);
    assert_int_equal(user.datagram->failure.kind, HS_FAILURE_NONE);
    assert_int_equal(recvfrom(peer, heard, sizeof(heard), 0, (struct sockaddr *)&from, &from_len),
                     8);
    assert_false(hs_datagram_receive(user.datagram, 100, WAIT_MS));
    assert_true(hs_datagram_receive(user.datagram, 100, WAIT_MS));
    assert_int_equal(user.datagram->failure.kind, HS_FAILURE_BUSY);
    assert_int_equal(sendto(peer, "answer", 6, 0, (struct sockaddr *)&from, from_len), 6);
    assert_int_equal(sendto(peer, "second", 6, 0, (struct sockaddr *)&from, from_len), 6);
    TURN_UNTIL(&rig, user.done == 1);
    assert_int_equal(user.datagram->failure.kind, HS_FAILURE_NONE);
    assert_int_equal(user.datagram->len, 6);
    assert_memory_equal(user.datagram->data, "answer", 6);
    assert_true(hs_datagram_receive(user.datagram, 3, WAIT_MS)); /* truncated */
    assert_int_equal(user.datagram->len, 3);
    assert_memory_equal(user.datagram->data, "sec", 3);
    assert_false(hs_datagram_receive(user.datagram, 3, 30));
    TURN_UNTIL(&rig, user.done == 2);
    assert_int_equal(user.datagram->failure.kind, HS_FAILURE_TIMEOUT);
    hs_datagram_free(user.datagram);
    hs_sock_close(peer);
    rig_close(&rig);
}

static void what_cannot_be_sent_or_opened_says_so(void **state)
{
    (void)state;
    static char much[HS_DATAGRAM_MAX + 1];
    rig_t rig;
    udp_user_t user;
    uint16_t port;
    rig_open(&rig);
    hs_sock_close(peer_open(&port));
    open_user(&rig, &user, port);
    hs_datagram_send(user.datagram, much, sizeof(much));
    assert_int_equal(user.datagram->failure.kind, HS_FAILURE_TOO_LONG);
    hs_datagram_send(user.datagram, "x", 1);
    if (!hs_datagram_receive(user.datagram, 100, WAIT_MS))
        TURN_UNTIL(&rig, user.done == 1);
    assert_int_equal(user.datagram->failure.kind, HS_FAILURE_REFUSED);
    hs_datagram_free(user.datagram);
    user = (udp_user_t){ .datagram = hs_datagram_new(&rig.net, on_datagram_done, &user) };
    assert_true(hs_datagram_open(user.datagram, "", port, WAIT_MS));
    assert_int_equal(user.datagram->failure.kind, HS_FAILURE_NOT_FOUND);
    hs_datagram_send(user.datagram, "x", 1);
    assert_int_equal(user.datagram->failure.kind, HS_FAILURE_CLOSED);
    hs_datagram_free(user.datagram);
    rig_close(&rig);
}

static void closing_ends_what_waits_and_nothing_outlives_the_net(void **state)
{
    (void)state;
    rig_t rig;
    udp_user_t users[2];
    uint16_t port;
    rig_open(&rig);
    int peer = peer_open(&port);
    for (int i = 0; i < 2; i++) {
        open_user(&rig, &users[i], port);
        assert_false(hs_datagram_receive(users[i].datagram, 100, WAIT_MS));
    }
    hs_datagram_end(users[0].datagram);
    assert_int_equal(users[0].done, 1);
    assert_int_equal(users[0].datagram->failure.kind, HS_FAILURE_CLOSED);
    hs_sock_close(peer);
    rig_close(&rig);
    assert_true(hs_datagram_receive(users[1].datagram, 100, WAIT_MS));
    assert_int_equal(users[1].datagram->failure.kind, HS_FAILURE_CLOSED);
    hs_datagram_free(users[0].datagram);
    hs_datagram_free(users[1].datagram);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datagrams_go_both_ways),
        cmocka_unit_test(what_cannot_be_sent_or_opened_says_so),
        cmocka_unit_test(closing_ends_what_waits_and_nothing_outlives_the_net),
    };
    return cmocka_run_group_tests_name("datagram", tests, NULL, NULL);
}
