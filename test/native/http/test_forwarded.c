/* hs_forwarded: the client named by trusted proxies, and that nothing else is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/forwarded_run.h"

static hs_forwarding_t forwarding;

static void trust(hs_forwarded_field_t field, const char *networks)
{
    forwarding.field = field;
    assert_int_equal(hs_networks_parse(&forwarding.trusted, networks, NULL), HS_OK);
}

static hs_peer_t peer_of(const char *text)
{
    hs_peer_t peer = { .family = HS_PEER_UNIX };
    if (strcmp(text, "unix") != 0)
        assert_true(hs_peer_parse(hs_span(text, strlen(text)), &peer));
    return peer;
}

/* The values of the fields, separated by newlines, and the client. */
static void expect(const char *peer, const char *values, const char *client)
{
    char *copy = strdup(values);
    assert_non_null(copy);
    hs_peer_t found = forwarded_run(&forwarding, peer_of(peer), copy, strlen(copy));
    char text[HS_PEER_TEXT_CAP];
    if (strcmp(hs_peer_text(&found, text), client) != 0)
        fail_msg("%s from %s: %s instead of %s", values, peer, text, client);
    free(copy);
}

static void x_forwarded_for_from_the_right(void **state)
{
    (void)state;
    trust(HS_FORWARDED_X_FORWARDED_FOR, "10.0.0.0/8,fd00::/8,unix");
    expect("10.0.0.1", "1.2.3.4", "1.2.3.4");
    expect("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4");
    expect("10.0.0.1", "6.6.6.6,1.2.3.4, 10.9.9.9,\t10.8.8.8", "1.2.3.4");
    expect("10.0.0.1", "6.6.6.6\n1.2.3.4\n10.9.9.9", "1.2.3.4");
    expect("10.0.0.1", "2001:db8::1, fd00::2", "2001:db8::1");
    expect("10.0.0.1", "[2001:db8::1]", "2001:db8::1");
    expect("10.0.0.1", "[2001:db8::1]:443", "2001:db8::1");
    expect("10.0.0.1", "1.2.3.4:65535", "1.2.3.4");
    expect("10.0.0.1", "::ffff:1.2.3.4", "1.2.3.4");
    expect("unix", "1.2.3.4", "1.2.3.4");
    expect("fd00::1", "1.2.3.4", "1.2.3.4");
}

static void a_peer_that_is_not_trusted_is_the_client(void **state)
{
    (void)state;
    trust(HS_FORWARDED_X_FORWARDED_FOR, "10.0.0.0/8");
    expect("11.0.0.1", "1.2.3.4", "11.0.0.1");
    expect("unix", "1.2.3.4", "");
    trust(HS_FORWARDED_X_FORWARDED_FOR, "");
    expect("10.0.0.1", "1.2.3.4", "10.0.0.1");
}

static void proxies_alone_leave_the_first_of_them(void **state)
{
    (void)state;
    trust(HS_FORWARDED_X_FORWARDED_FOR, "10.0.0.0/8");
    expect("10.0.0.1", "", "10.0.0.1");
    expect("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3");
    expect("10.0.0.1", ", ,10.0.0.3,, 10.0.0.2 ,\n,", "10.0.0.3");
}

/* An element that cannot be parsed ends the search: anything before it may come from the client. */
static void malformed_and_unknown_end_the_walk(void **state)
{
    (void)state;
    static const char *const opaque[] = {
        "unknown",
        "_hidden",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.4:",
        "1.2.3.4:x",
        "1.2.3.4:1:2",
        "[1.2.3.4]",
        "[::1",
        "::1]",
        "[::1]x",
        "[::1]:",
        "[]",
        "[",
        "1.2.3.4 5.6.7.8",
        "fe80::1%eth0",
        "1.2.3.4:123456",
        "\"1.2.3.4\"",
        "01.2.3.4",
        "0x1.2.3.4",
        "localhost",
        "1.2.3.4;",
        "[::1]:_",
        ":80",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff",
    };
    trust(HS_FORWARDED_X_FORWARDED_FOR, "10.0.0.0/8");
    for (size_t i = 0; i < sizeof(opaque) / sizeof(opaque[0]); i++) {
        char values[256];
        (void)snprintf(values, sizeof(values), "6.6.6.6, %s, 10.0.0.2", opaque[i]);
        expect("10.0.0.1", values, "10.0.0.2");
        (void)snprintf(values, sizeof(values), "%s, 1.2.3.4", opaque[i]);
        expect("10.0.0.1", values, "1.2.3.4");
    }
}

static void the_walk_is_bounded(void **state)
{
    (void)state;
    char values[1024] = "6.6.6.6";
    trust(HS_FORWARDED_X_FORWARDED_FOR, "10.0.0.0/8");
    for (int i = 0; i < HS_FORWARDED_HOPS_MAX - 1; i++)
        strcat(values, ",10.0.0.2");
    expect("10.0.0.1", values, "6.6.6.6");
    strcat(values, ",10.0.0.2");
    expect("10.0.0.1", values, "10.0.0.2");
}

static void forwarded_of_rfc_7239(void **state)
{
    (void)state;
    trust(HS_FORWARDED_RFC7239, "10.0.0.0/8,fd00::/8");
    expect("10.0.0.1", "for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60");
    expect("10.0.0.1", "For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17");
    expect("10.0.0.1", "for=\"192.0.2.43:47011\"", "192.0.2.43");
    expect("10.0.0.1", "for=\"192.0.2.43:_p0rt\"", "192.0.2.43");
    expect("10.0.0.1", "proto=https ; FOR=192.0.2.43 ;; by=_x;", "192.0.2.43");
    expect("10.0.0.1", "for=6.6.6.6, for=192.0.2.43, for=10.2.3.4", "192.0.2.43");
    expect("10.0.0.1", "for=6.6.6.6\nfor=192.0.2.43\nfor=\"[fd00::1]\"", "192.0.2.43");
    expect("10.0.0.1", "for=\"192.0.2.4\\3\"", "192.0.2.43");
    expect("10.0.0.1", "for=192.0.2.43;host=\"a,b;for=6.6.6.6\"", "192.0.2.43");
    expect("10.0.0.1", "for=192.0.2.43;host=\"a\\\",\\\\\"", "192.0.2.43");
    /* Colons and brackets should be in quotes. */
    expect("10.0.0.1", "for=192.0.2.43:80", "192.0.2.43");
    expect("10.0.0.1", "for=[2001:db8::1]:80", "2001:db8::1");
}

static void forwarded_elements_that_say_nothing(void **state)
{
    (void)state;
    static const char *const opaque[] = {
        "for=unknown",
        "for=_gazonk",
        "by=1.2.3.4",
        "for=",
        "for",
        "for=\"\"",
        "=1.2.3.4",
        "for=1.2.3.4 by=_x",
        "for =1.2.3.4",
        "for= 1.2.3.4",
        "for=\"1.2.3.4\"x",
        "for=1.2.3.4;for=1.2.3.4",
        "for=1.2.3.4;x",
        "for=1.2.3.4;=",
        "for=1.2.3.4;x=",
        "x=\"1\"\"2\";for=1.2.3.4",
        "for=\"1.2.3.4",
        "for=1.2.3.4\"",
        "\"",
        "\\\"",
        "for=\"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff\"",
        "forx=1.2.3.4",
        "for==1.2.3.4",
        ";",
        "for=\"1.2.3.4\\\"",
    };
    trust(HS_FORWARDED_RFC7239, "10.0.0.0/8");
    for (size_t i = 0; i < sizeof(opaque) / sizeof(opaque[0]); i++) {
        char values[256];
        (void)snprintf(values, sizeof(values), "for=6.6.6.6\n%s\nfor=10.0.0.2", opaque[i]);
        expect("10.0.0.1", values, "10.0.0.2");
    }
}

/*
 * A proxy has appended its element to whatever the client sent, in the same field or in a separate
 * one: the client cannot change the meaning of the element, not even by unterminated quotes.
 */
static void what_a_proxy_appends_stands_whatever_is_in_front(void **state)
{
    (void)state;
    static const char *const appended[] = {
        "for=1.2.3.4",
        "for=\"1.2.3.4:80\"",
        "for=1.2.3.4;by=\"_x\";host=\"a\\\",for=6.6.6.6;x=\"",
        "host=\",for=6.6.6.6;a=\";for=1.2.3.4",
    };
    static const char alphabet[] = "\",\\;= f";
    trust(HS_FORWARDED_RFC7239, "10.0.0.0/8");
    for (size_t a = 0; a < sizeof(appended) / sizeof(appended[0]); a++)
        for (unsigned number = 0; number < 7 * 7 * 7 * 7 * 7; number++) {
            char values[128] = "for=6.6.6.6;by=";
            size_t len = strlen(values);
            for (unsigned rest = number, i = 0; i < 5; i++, rest /= 7)
                values[len++] = alphabet[rest % 7];
            (void)snprintf(values + len, sizeof(values) - len, ", %s", appended[a]);
            expect("10.0.0.1", values, "1.2.3.4");
            values[len] = '\n';
            expect("10.0.0.1", values, "1.2.3.4");
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(x_forwarded_for_from_the_right),
        cmocka_unit_test(a_peer_that_is_not_trusted_is_the_client),
        cmocka_unit_test(proxies_alone_leave_the_first_of_them),
        cmocka_unit_test(malformed_and_unknown_end_the_walk),
        cmocka_unit_test(the_walk_is_bounded),
        cmocka_unit_test(forwarded_of_rfc_7239),
        cmocka_unit_test(forwarded_elements_that_say_nothing),
        cmocka_unit_test(what_a_proxy_appends_stands_whatever_is_in_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
