/* hs_host: which hosts are valid, byte by byte and compared with a plain implementation of the
 * grammar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "http/hs_host.h"

static bool is_valid(const char *text)
{
    return hs_host_is_valid(hs_span(text, strlen(text)));
}

static void hosts_and_ports(void **state)
{
    (void)state;
    static const char *const valid[] = {
        "a",          "localhost",        "a-b.c_d~e", "127.0.0.1", "a:",     "a:0",   "a:99",
        "a:65535",    "127.0.0.1:1",      "%41",       "a%2fb:80",  "%41%42", "[::1]", "[::1]:99",
        "[fe80::1]:", "[::ffff:1.2.3.4]",
    };
    static const char *const invalid[] = {
        "",      ":",     ":80",      "a:b",    "a:65536", "a:123456", "a:-1",  "a:+1",   "a:1 ",
        "a:8:8", "a b",   "a/b",      "u@a",    "a,b",     "%",        "a%4",   "a%4g",   "a%",
        "a%zz",  "[::1",  "::1",      "[::1]x", "[]",      "[1]",      "[g::]", "[::1]]", "[::1]:x",
        "a[",    "a?b=c", "\xc3\xa9", "a%41:x", "a\t",     "a!b",
    };
    for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++)
        if (!is_valid(valid[i]))
            fail_msg("refused: %s", valid[i]);
    for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
        if (is_valid(invalid[i]))
            fail_msg("taken: %s", invalid[i]);
}

/* RFC 3986 §2.3: unreserved, at any position of names of every length; a colon at the end begins a
 * port. No hexadecimal letters, which a percent sign could precede. */
static void every_byte_in_a_name(void **state)
{
    (void)state;
    static const char unreserved[] = "-._~0123456789"
                                     "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (int byte = 0; byte <= 255; byte++)
        for (size_t len = 1; len <= 40; len++)
            for (size_t at = 0; at < len; at++) {
                char name[] = "ghijklmnopqrstuvwxyz.GHIJKLMNOPQRSTUVWXYZ";
                name[at] = (char)byte;
                bool is_empty_port = byte == ':' && at > 0 && at == len - 1;
                bool allowed = byte != 0 && strchr(unreserved, byte) != NULL;
                assert_int_equal(hs_host_is_valid(hs_span(name, len)), allowed || is_empty_port);
            }
}

static void every_port(void **state)
{
    (void)state;
    static const char *const hosts[] = { "a", "1", "127.0.0.1", "www.example.com", "[::1]", "%41" };
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        for (unsigned port = 0; port <= 70000; port++) {
            char text[32];
            int len = snprintf(text, sizeof(text), "%s:%u", hosts[i], port);
            assert_int_equal(hs_host_is_valid(hs_span(text, (size_t)len)), port <= 65535);
        }
}

/* An invalid digit, and one digit too many. */
static void no_ports(void **state)
{
    (void)state;
    static const char *const hosts[] = { "a", "127.0.0.1", "www.example.com", "[::1]" };
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        for (int digits = 1; digits <= 8; digits++)
            for (int at = 0; at < digits; at++)
                for (int byte = 0; byte <= 255; byte++) {
                    char text[40];
                    bool is_digit = byte >= '0' && byte <= '9';
                    int len = snprintf(text, sizeof(text), "%s:%.*s", hosts[i], digits, "00000000");
                    text[len - digits + at] = (char)byte;
                    bool in_range = digits < 5 || (digits == 5 && (at > 0 || byte < '7'));
                    assert_int_equal(hs_host_is_valid(hs_span(text, (size_t)len)),
                                     is_digit && in_range);
                }
}

/* Whatever host was accepted before: one byte more, less or different makes it another host. */
static void a_remembered_host_is_taken_exactly(void **state)
{
    (void)state;
    char text[80];
    hs_host_memo_t memo = { 0 };
    assert_false(hs_host_is_valid_memo(&memo, hs_span("", 0)));
    for (size_t len = 1; len <= sizeof(text); len++) { /* some are too long for the cache */
        memset(text, 'a', sizeof(text));
        assert_true(hs_host_is_valid_memo(&memo, hs_span(text, len)));
        assert_true(hs_host_is_valid_memo(&memo, hs_span(text, len)));
        assert_false(hs_host_is_valid_memo(&memo, hs_span(text, 0)));
        for (size_t at = 0; at < len; at++) {
            text[at] = '/';
            assert_false(hs_host_is_valid_memo(&memo, hs_span(text, len)));
            text[at] = 'b';
            assert_true(hs_host_is_valid_memo(&memo, hs_span(text, len)));
            text[at] = 'a';
        }
    }
}

static void equal_hosts_and_ports(void **state)
{
    (void)state;
    static const struct {
        const char *a;
        const char *b;
        bool same;
    } pairs[] = {
        { "a", "A", true },
        { "a", "a:80", true },
        { "a:", "a", true },
        { "a:81", "a", false },
        { "a:081", "a:81", true },
        { "a", "b", false },
        { "[::1]", "[::1]:80", true },
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        assert_int_equal(hs_host_same(hs_span(pairs[i].a, strlen(pairs[i].a)),
                                      hs_span(pairs[i].b, strlen(pairs[i].b)), 80),
                         pairs[i].same);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_and_ports),
        cmocka_unit_test(every_byte_in_a_name),
        cmocka_unit_test(every_port),
        cmocka_unit_test(no_ports),
        cmocka_unit_test(a_remembered_host_is_taken_exactly),
        cmocka_unit_test(equal_hosts_and_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
