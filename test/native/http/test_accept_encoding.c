/* hs_accept_encoding: the coding of a response, chosen by the client's Accept-Encoding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "http/hs_accept_encoding.h"

static const hs_coding_t order[] = { HS_CODING_BR, HS_CODING_ZSTD, HS_CODING_GZIP };
#define ALL                                                                                        \
    (HS_CODING_BIT(HS_CODING_BR) | HS_CODING_BIT(HS_CODING_ZSTD) | HS_CODING_BIT(HS_CODING_GZIP))

/* The coding for fields with these values, separated by newlines; NULL: no field. */
static const char *chosen(unsigned offered, const char *values)
{
    hs_accept_encoding_t accepted;
    hs_accept_encoding_init(&accepted);
    while (values != NULL) {
        const char *end = strchr(values, '\n');
        size_t len = end == NULL ? strlen(values) : (size_t)(end - values);
        hs_accept_encoding_add(&accepted, hs_span(values, len));
        values = end == NULL ? NULL : end + 1;
    }
    return hs_coding_name(
        hs_accept_encoding_choose(&accepted, offered, order, sizeof(order) / sizeof(order[0])));
}

static void expect_of(unsigned offered, const char *values, const char *coding)
{
    const char *found = chosen(offered, values);
    if (strcmp(found, coding) != 0)
        fail_msg("%s: %s instead of %s", values, found, coding);
}

static void expect(const char *values, const char *coding)
{
    expect_of(ALL, values, coding);
}

static void without_the_field_nothing_is_coded(void **state)
{
    (void)state;
    expect(NULL, "identity");
    expect("", "identity");
    expect(",, ,", "identity");
    expect("identity", "identity");
    expect("deflate, compress", "identity");
}

static void the_highest_weight_wins(void **state)
{
    (void)state;
    expect("gzip;q=0.8, br;q=1", "br");
    expect("br;q=0.8, gzip;q=1", "gzip");
    expect("br;q=0.8, gzip", "gzip");
    expect("gzip;q=0.001", "gzip");
    expect("br;q=0.1, gzip;q=0.10, zstd;q=0.101", "zstd");
    expect("gzip;q=0.5, identity;q=0.4", "gzip");
    expect("gzip;q=0.5, identity;q=0.6", "identity");
    expect("gzip;q=1.0, identity;q=0.5, *;q=0", "gzip");
}

static void equal_weights_are_the_servers_choice(void **state)
{
    (void)state;
    expect("gzip, deflate, br, zstd", "br");
    expect("gzip, zstd", "zstd");
    expect("gzip, identity", "gzip");
    expect("gzip;q=0.5, identity;q=0.5", "gzip");
    expect_of(HS_CODING_BIT(HS_CODING_GZIP), "gzip, deflate, br, zstd", "gzip");
    expect_of(HS_CODING_BIT(HS_CODING_GZIP), "br;q=1, gzip;q=0.2", "gzip");
    expect_of(0, "gzip, br", "identity");
}

static void a_weight_of_zero_excludes(void **state)
{
    (void)state;
    expect("gzip;q=0", "identity");
    expect("br;q=0, gzip", "gzip");
    expect("br;q=0.000, gzip;q=0.0, zstd;q=0.", "identity");
    expect("*;q=0", "identity");
    expect("identity;q=0", "identity");
    expect("identity;q=0, gzip;q=0.001", "gzip");
    expect("*;q=0, gzip", "gzip");
}

static void the_asterisk_is_every_coding_that_is_not_named(void **state)
{
    (void)state;
    expect("*", "br");
    expect("br;q=0, *", "zstd");
    expect("gzip, *;q=0.5", "gzip");
    expect("gzip;q=0.5, *", "br");
    expect("identity, *;q=0.5", "identity");
}

static void names_have_no_case_and_spaces_do_not_count(void **state)
{
    (void)state;
    expect("GZip", "gzip");
    expect("x-gzip", "gzip");
    expect(" \tgzip ; Q=0.5\t, br ;q=0.4", "gzip");
}

static void several_fields_are_one_list(void **state)
{
    (void)state;
    expect("gzip;q=0.5\nbr", "br");
    expect("gzip\nbr;q=0", "gzip");
    expect("gzip;q=0\ngzip", "identity");
}

static void malformed_elements_count_for_nothing(void **state)
{
    (void)state;
    static const char *const malformed[] = {
        "gzip;q=",      "gzip;q=2",       "gzip;q=1.001", "gzip;q=-1",   "gzip;q=0.1234",
        "gzip;q=0,5",   "gzip;q=abc",     "gzip;level=9", "gzip;",       "gzip;q =1",
        "gzip;q= 1",    "gzip;q=1;q=0",   "gzip;q=.5",    "gzip q=1",    "gz ip",
        "gzip;q=1.00x", "gzip;q=\"0.5\"", "gzip/br",      "gzip;q=1e-3", "*gzip",
    };
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
        char values[64];
        expect(malformed[i], "identity");
        snprintf(values, sizeof(values), "%s, zstd;q=0.3", malformed[i]);
        expect(values, "zstd");
    }
}

static void of_a_request_all_fields_count(void **state)
{
    (void)state;
    char head[] = "Accept-EncodingbrACCEPT-ENCODINGgzipAccept-Languagezstd";
    hs_field_t fields[] = { { 0, 15, 15, 2 }, { 17, 15, 32, 4 }, { 36, 15, 51, 4 } };
    hs_msg_t msg = { .base = head, .fields = fields, .field_count = 3 };
    assert_int_equal(hs_accept_encoding_of(&msg, ALL, order, 3), HS_CODING_BR);
    assert_int_equal(hs_accept_encoding_of(&msg, ALL & ~HS_CODING_BIT(HS_CODING_BR), order, 3),
                     HS_CODING_GZIP);
    msg.field_count = 0;
    assert_int_equal(hs_accept_encoding_of(&msg, ALL, order, 3), HS_CODING_IDENTITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_the_field_nothing_is_coded),
        cmocka_unit_test(the_highest_weight_wins),
        cmocka_unit_test(equal_weights_are_the_servers_choice),
        cmocka_unit_test(a_weight_of_zero_excludes),
        cmocka_unit_test(the_asterisk_is_every_coding_that_is_not_named),
        cmocka_unit_test(names_have_no_case_and_spaces_do_not_count),
        cmocka_unit_test(several_fields_are_one_list),
        cmocka_unit_test(malformed_elements_count_for_nothing),
        cmocka_unit_test(of_a_request_all_fields_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
