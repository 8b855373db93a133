/* hs_networks: which peers match a list of networks, and invalid lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "os/hs_networks.h"

static hs_peer_t peer_of(const char *text)
{
    hs_peer_t peer = { .family = HS_PEER_UNIX };
    if (strcmp(text, "unix") != 0 && !hs_peer_parse(hs_span(text, strlen(text)), &peer))
        fail_msg("no address: %s", text);
    return peer;
}

static bool is_in(const char *networks, const char *peer)
{
    static hs_networks_t set;
    hs_errinfo_t error = { 0 };
    hs_peer_t address = peer_of(peer);
    if (hs_networks_parse(&set, networks, &error) != HS_OK)
        fail_msg("%s", error.text);
    return hs_networks_contain(&set, &address);
}

static void expect(const char *networks, const char *const *inside, const char *const *outside)
{
    for (; *inside != NULL; inside++)
        if (!is_in(networks, *inside))
            fail_msg("%s is not in %s", *inside, networks);
    for (; *outside != NULL; outside++)
        if (is_in(networks, *outside))
            fail_msg("%s is in %s", *outside, networks);
}

#define PEERS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void addresses_and_blocks(void **state)
{
    (void)state;
    expect("10.1.2.3", PEERS("10.1.2.3", "::ffff:10.1.2.3"), PEERS("10.1.2.2", "::1", "unix"));
    expect("10.0.0.0/8", PEERS("10.0.0.0", "10.255.255.255"), PEERS("9.255.255.255", "11.0.0.0"));
    expect("10.9.9.9/8", PEERS("10.0.0.1"), PEERS("11.0.0.0"));
    expect("192.168.4.0/22", PEERS("192.168.4.0", "192.168.7.255"),
           PEERS("192.168.3.255", "192.168.8.0"));
    expect("0.0.0.0/0", PEERS("0.0.0.0", "255.255.255.255"), PEERS("::1", "unix"));
    expect("::/0", PEERS("::1", "ffff::"), PEERS("1.2.3.4", "unix"));
    expect("2001:db8::/33", PEERS("2001:db8:7fff::1"), PEERS("2001:db8:8000::1", "2001:db9::"));
    expect("2001:db8::1", PEERS("2001:db8::1"), PEERS("2001:db8::2"));
    expect("::ffff:10.0.0.0/104", PEERS("10.2.3.4"), PEERS("11.0.0.0", "::ffff:b00:1"));
    expect("::1, 10.0.0.0/8 ,unix", PEERS("::1", "10.0.0.1", "unix"), PEERS("11.0.0.0"));
}

static void names(void **state)
{
    (void)state;
    expect("loopback", PEERS("127.0.0.1", "127.255.0.1", "::1"), PEERS("128.0.0.1", "::2", "unix"));
    expect("private",
           PEERS("10.1.1.1", "172.16.0.0", "172.31.255.255", "192.168.0.1", "fc00::1", "fdff::1"),
           PEERS("172.15.255.255", "172.32.0.0", "192.169.0.0", "127.0.0.1", "fe00::1"));
    expect("link-local", PEERS("169.254.0.1", "fe80::1", "febf::1"),
           PEERS("169.255.0.0", "fec0::"));
    expect("unix", PEERS("unix"), PEERS("127.0.0.1", "::1"));
}

static void an_unknown_peer_is_in_none(void **state)
{
    (void)state;
    static hs_networks_t set;
    const hs_peer_t unknown = { .family = 0 };
    assert_int_equal(hs_networks_parse(&set, "0.0.0.0/0,::/0,unix", NULL), HS_OK);
    assert_false(hs_networks_contain(&set, &unknown));
}

/* Every prefix of both families: exactly the bits of the prefix count. */
static void every_prefix(void **state)
{
    (void)state;
    const char *const bases[] = { "170.85.204.51", "aa55:cc33:aa55:cc33:aa55:cc33:aa55:cc33" };
    for (int family = 0; family < 2; family++) {
        int bits = family == 0 ? 32 : 128;
        for (int prefix = 0; prefix <= bits; prefix++) {
            static hs_networks_t set;
            char text[64];
            (void)snprintf(text, sizeof(text), "%s/%d", bases[family], prefix);
            assert_int_equal(hs_networks_parse(&set, text, NULL), HS_OK);
            for (int bit = 0; bit < bits; bit++) {
                hs_peer_t peer = peer_of(bases[family]);
                peer.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
                assert_int_equal(hs_networks_contain(&set, &peer), bit >= prefix);
            }
        }
    }
}

static void what_is_no_network_is_named(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "10.0.0",        "10.0.0.0/33",  "10.0.0.0/",  "10.0.0.0/-1", "10.0.0.0/8/8",      "::/129",
        "localhost",     "10.0.0.0/0x8", "Unix",       "[::1]",       "fe80::1%eth0",      "/8",
        "10.0.0.0/008x", "1.2.3.4:80",   "10.0.0.256", "any",         "::ffff:1.2.3.4/95",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        static hs_networks_t set;
        static hs_errinfo_t error;
        char list[64];
        (void)snprintf(list, sizeof(list), "loopback,%s", wrong[i]);
        if (hs_networks_parse(&set, list, &error) != HS_ERR_INVALID)
            fail_msg("taken: %s", wrong[i]);
        if (strstr(error.text, wrong[i]) == NULL)
            fail_msg("%s does not name %s", error.text, wrong[i]);
    }
}

static void a_list_is_bounded(void **state)
{
    (void)state;
    static hs_networks_t set;
    static hs_errinfo_t error;
    char list[HS_NETWORKS_MAX * 8 + 16] = "";
    for (int i = 0; i < HS_NETWORKS_MAX; i++)
        strcat(list, "1.2.3.4 ");
    assert_int_equal(hs_networks_parse(&set, list, &error), HS_OK);
    assert_int_equal(set.count, HS_NETWORKS_MAX);
    strcat(list, "::1");
    assert_int_equal(hs_networks_parse(&set, list, &error), HS_ERR_LIMIT);
    assert_int_equal(hs_networks_parse(&set, " , ", &error), HS_OK);
    assert_int_equal(set.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_and_blocks),        cmocka_unit_test(names),
        cmocka_unit_test(an_unknown_peer_is_in_none),  cmocka_unit_test(every_prefix),
        cmocka_unit_test(what_is_no_network_is_named), cmocka_unit_test(a_list_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
