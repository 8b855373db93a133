/* hs_regex: the functions behind ngx.re. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exec/hs_regex.h"
#include "os/hs_clock.h"

static int set_up(void **state)
{
    *state = calloc(1, sizeof(hs_regexes_t));
    return *state == NULL;
}

static int tear_down(void **state)
{
    hs_regexes_free(*state);
    free(*state);
    return 0;
}

static hs_regex_t *compile(hs_regexes_t *regexes, const char *pattern, const char *flags)
{
    hs_regex_t *regex = hs_regex_new(regexes, pattern, strlen(pattern), flags, strlen(flags));
    if (regex == NULL)
        fail_msg("%s", hs_regex_failure(regexes));
    return regex;
}

/* The offsets of a match as text: "0-3 1-2 unset". */
static void expect(void **state, const char *pattern, const char *flags, const char *subject,
                   const char *offsets)
{
    hs_regexes_t *regexes = *state;
    hs_regex_t *regex = compile(regexes, pattern, flags);
    int count = hs_regex_match(regexes, regex, subject, strlen(subject), 0);
    char text[256] = "";
    for (int i = 0; i < count; i++) {
        size_t from = regex->offsets[2 * i];
        size_t len = strlen(text);
        if (from == SIZE_MAX)
            snprintf(text + len, sizeof(text) - len, "%sunset", i > 0 ? " " : "");
        else
            snprintf(text + len, sizeof(text) - len, "%s%zu-%zu", i > 0 ? " " : "", from,
                     regex->offsets[2 * i + 1]);
    }
    if (count < 0)
        snprintf(text, sizeof(text), "%d", count);
    if (strcmp(text, offsets) != 0)
        fail_msg("/%s/%s in %s: \"%s\" instead of \"%s\"", pattern, flags, subject, text, offsets);
    hs_regex_free(regex);
}

static void matches_have_offsets(void **state)
{
    for (int i = 0; i < 2; i++) {
        const char *jit = i == 0 ? "" : "jo";
        expect(state, "b+", jit, "abbc", "1-3");
        expect(state, "(a)|(b)", jit, "b", "0-1 unset 0-1");
        expect(state, "(a)|(b)", jit, "a", "0-1 0-1");
        expect(state, "x", jit, "abc", "");
        expect(state, "", jit, "", "0-0");
    }
}

static void flags_are_those_of_openresty(void **state)
{
    expect(state, "ABC", "i", "xabc", "1-4");
    expect(state, "b", "a", "ab", "");
    expect(state, "^b", "m", "a\nb", "2-3");
    expect(state, "a.b", "s", "a\nb", "0-3");
    expect(state, "a b # c", "x", "ab", "0-2");
    expect(state, "^.$", "u", "\xc3\xa9", "0-2");
    expect(state, "(?<n>a)(?<n>b)", "D", "ab", "0-2 0-1 1-2");
    expect(state, "a|ab", "d", "ab", "0-2");
    expect(state, "\\u0061", "J", "a", "0-1");
    hs_regexes_t *regexes = *state;
    assert_null(hs_regex_new(regexes, "a", 1, "iq", 2));
    assert_string_equal(hs_regex_failure(regexes), "unknown flag \"q\" (flags \"iq\")");
}

static void bytes_that_are_no_utf8_are_an_error_or_match_nothing(void **state)
{
    expect(state, "a", "u",
           "\xff"
           "a",
           "-23");
    expect(state, "a", "U",
           "\xff"
           "a",
           "1-2");
    expect(state, ".", "jU", "\xc3", "");
}

static void groups_have_names(void **state)
{
    hs_regexes_t *regexes = *state;
    hs_regex_t *regex = compile(regexes, "(?<year>\\d+)-(?<month>\\d+)-(\\d+)", "");
    assert_int_equal(regex->captures, 3);
    assert_int_equal(regex->names, 2);
    uint32_t number = 0;
    assert_string_equal(hs_regex_name(regex, 0, &number), "month");
    assert_int_equal(number, 2);
    assert_string_equal(hs_regex_name(regex, 1, &number), "year");
    assert_int_equal(number, 1);
    hs_regex_free(regex);
}

static void patterns_that_are_wrong_are_described(void **state)
{
    hs_regexes_t *regexes = *state;
    assert_null(hs_regex_new(regexes, "(abc", 4, "", 0));
    assert_non_null(strstr(hs_regex_failure(regexes), "pcre_compile() failed: missing"));
    assert_non_null(strstr(hs_regex_failure(regexes), "in \"(abc\""));
    size_t len = HS_REGEX_PATTERN_MAX + 1;
    char *pattern = malloc(len);
    assert_non_null(pattern);
    memset(pattern, 'a', len);
    assert_null(hs_regex_new(regexes, pattern, len, "", 0));
    assert_non_null(strstr(hs_regex_failure(regexes), "more than 65536 bytes"));
    free(pattern);
}

/* It backtracks exponentially: 2^40 steps. */
static void endless_matching_ends(void **state)
{
    static const char subject[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";
    uint64_t began = hs_clock_monotonic_ms();
    expect(state, "^(a+)+$", "", subject, "-47");
    expect(state, "^(a+)+$", "jo", subject, "-47");
    assert_true(hs_clock_monotonic_ms() - began < 20000);
}

/* Any pattern and subject over a small alphabet, with every combination of flags: no
 * access out of bounds, and offsets within the subject. */
static void random_patterns_stay_inside(void **state)
{
    static const char alphabet[] = "ab()[]*+?|.^$\\{},12-<>=!:#dwKGRX\xc3\xa9\xff ";
    static const char flag_names[] = "adDijJmosuUx";
    hs_regexes_t *regexes = *state;
    uint64_t random = 88172645463325252u;
    unsigned compiled = 0;
    for (int round = 0; round < 4000; round++) {
        char pattern[16];
        char subject[24];
        char flags[4];
        size_t lengths[3] = { 0 };
        char *texts[3] = { pattern, subject, flags };
        const size_t limits[3] = { sizeof(pattern), sizeof(subject), sizeof(flags) };
        for (int i = 0; i < 3; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            lengths[i] = random % limits[i];
            for (size_t at = 0; at < lengths[i]; at++) {
                random ^= random << 13, random ^= random >> 7, random ^= random << 17;
                const char *from = i == 2 ? flag_names : alphabet;
                size_t count = i == 2 ? sizeof(flag_names) - 1 : sizeof(alphabet) - 1;
                texts[i][at] = from[random % count];
            }
        }
        hs_regex_t *regex = hs_regex_new(regexes, pattern, lengths[0], flags, lengths[2]);
        if (regex == NULL)
            continue;
        compiled++;
        for (size_t at = 0; at <= lengths[1]; at += 1 + lengths[1] / 4) {
            int count = hs_regex_match(regexes, regex, subject, lengths[1], at);
            assert_true(count <= (int)regex->captures + 1);
            for (int i = 0; i < 2 * count; i++)
                assert_true(regex->offsets[i] <= lengths[1] || regex->offsets[i] == SIZE_MAX);
        }
        hs_regex_free(regex);
    }
    assert_true(compiled > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(matches_have_offsets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(flags_are_those_of_openresty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bytes_that_are_no_utf8_are_an_error_or_match_nothing,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(groups_have_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(patterns_that_are_wrong_are_described, set_up, tear_down),
        cmocka_unit_test_setup_teardown(endless_matching_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(random_patterns_stay_inside, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
