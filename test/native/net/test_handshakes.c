/* The limit on handshakes of an address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/hs_handshakes.h"

static hs_peer_t peer_of(const char *text)
{
    hs_peer_t peer;
    assert_true(hs_peer_parse(hs_span(text, strlen(text)), &peer));
    return peer;
}

static unsigned take_all(hs_handshakes_t *handshakes, const hs_peer_t *peer, uint64_t now_ms)
{
    unsigned count = 0;
    while (count < 1000 && hs_handshakes_take(handshakes, peer, now_ms))
        count++;
    return count;
}

static void a_burst_is_the_rate_and_then_time_gives_more(void **state)
{
    (void)state;
    hs_handshakes_t handshakes;
    hs_peer_t peer = peer_of("192.0.2.1");
    assert_true(hs_handshakes_init(&handshakes, 10, 1));
    uint64_t now_ms = UINT32_MAX - 150; /* the clock of a bucket wraps around */
    assert_int_equal(take_all(&handshakes, &peer, now_ms), 10);
    assert_int_equal(take_all(&handshakes, &peer, now_ms + 99), 0);
    assert_int_equal(take_all(&handshakes, &peer, now_ms + 100), 1);
    assert_int_equal(take_all(&handshakes, &peer, now_ms + 400), 3);
    assert_int_equal(take_all(&handshakes, &peer, now_ms + 100000), 10);
    hs_handshakes_free(&handshakes);
}

static void addresses_are_counted_apart_and_ipv6_by_its_network(void **state)
{
    (void)state;
    hs_handshakes_t handshakes;
    hs_peer_t first = peer_of("192.0.2.1");
    hs_peer_t second = peer_of("192.0.2.2");
    hs_peer_t one = peer_of("2001:db8::1");
    hs_peer_t same = peer_of("2001:db8::ffff:1");
    hs_peer_t other = peer_of("2001:db8:0:1::1");
    assert_true(hs_handshakes_init(&handshakes, 3, 7));
    assert_int_equal(take_all(&handshakes, &first, 1000), 3);
    assert_int_equal(take_all(&handshakes, &second, 1000), 3);
    assert_int_equal(take_all(&handshakes, &one, 1000), 3);
    assert_int_equal(take_all(&handshakes, &same, 1000), 0);
    assert_int_equal(take_all(&handshakes, &other, 1000), 3);
    hs_handshakes_free(&handshakes);
}

static void without_a_rate_or_an_address_there_is_no_limit(void **state)
{
    (void)state;
    hs_handshakes_t handshakes;
    hs_peer_t peer = peer_of("192.0.2.1");
    hs_peer_t none = { 0 };
    assert_true(hs_handshakes_init(&handshakes, 0, 1));
    assert_int_equal(take_all(&handshakes, &peer, 1000), 1000);
    hs_handshakes_free(&handshakes);
    assert_true(hs_handshakes_init(&handshakes, 1, 1));
    assert_int_equal(take_all(&handshakes, &none, 1000), 1000);
    hs_handshakes_free(&handshakes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_is_the_rate_and_then_time_gives_more),
        cmocka_unit_test(addresses_are_counted_apart_and_ipv6_by_its_network),
        cmocka_unit_test(without_a_rate_or_an_address_there_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
