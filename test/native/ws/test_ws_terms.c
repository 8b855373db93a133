/* hs_ws_terms: offers of permessage-deflate, and the server's responses to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "http/parse_run.h"
#include "ws/hs_ws_terms.h"

#define NAME "permessage-deflate"
#define S_NO "; server_no_context_takeover"
#define C_NO "; client_no_context_takeover"
#define S_BITS "; server_max_window_bits="
#define C_BITS "; client_max_window_bits"

static const hs_ws_terms_wanted_t plain = { .is_on = true };
static const hs_ws_terms_wanted_t takeover = { .is_on = true, .takeover = true, .window_bits = 12 };

/* `fields`: whole lines, or the value of one field. False: malformed. */
static bool agree(const char *fields, const hs_ws_terms_wanted_t *wanted, hs_ws_terms_t *terms)
{
    const hs_limits_t limits = parse_run_limits();
    parse_run_t run;
    char text[4096];
    bool are_lines = strstr(fields, "\r\n") != NULL;
    (void)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s%s%s\r\n",
                   are_lines ? "" : "Sec-WebSocket-Extensions: ", fields, are_lines ? "" : "\r\n");
    parse_run(&run, &limits, text, strlen(text), strlen(text), 1);
    assert_int_equal(run.outcome, HS_PARSE_COMPLETE);
    bool is_right = hs_ws_agree(&run.msg, wanted, terms);
    parse_run_free(&run);
    return is_right;
}

static void expect(const char *fields, const hs_ws_terms_wanted_t *wanted, const char *response)
{
    hs_ws_terms_t terms;
    char out[HS_WS_TERMS_CAP];
    assert_true(agree(fields, wanted, &terms));
    assert_true(terms.is_on);
    assert_int_equal(hs_ws_put_terms(&terms, out), strlen(response));
    assert_string_equal(out, response);
}

static void expect_declined(const char *fields)
{
    hs_ws_terms_t terms;
    assert_true(agree(fields, &plain, &terms));
    assert_false(terms.is_on);
}

static void contexts_are_not_kept_unless_wanted(void **state)
{
    (void)state;
    expect(NAME, &plain, NAME S_NO C_NO);
    expect(NAME C_BITS, &plain, NAME S_NO C_NO);
    expect(NAME S_NO C_NO, &plain, NAME S_NO C_NO);
}

static void a_window_that_the_client_asks_for_is_kept_to(void **state)
{
    (void)state;
    hs_ws_terms_t terms;
    expect(NAME S_BITS "10", &plain, NAME S_NO C_NO S_BITS "10");
    expect(NAME S_BITS "15", &plain, NAME S_NO C_NO S_BITS "15");
    assert_true(agree(NAME S_BITS "9" C_BITS "=8", &plain, &terms));
    assert_int_equal(terms.server_bits, 9);
    assert_int_equal(terms.client_bits, 8);
}

static void contexts_are_kept_where_both_want_it(void **state)
{
    (void)state;
    hs_ws_terms_t terms;
    expect(NAME, &takeover, NAME S_BITS "12");
    expect(NAME C_BITS, &takeover, NAME S_BITS "12" C_BITS "=12");
    expect(NAME C_BITS "=10" S_BITS "9", &takeover, NAME S_BITS "9" C_BITS "=10");
    expect(NAME S_NO, &takeover, NAME S_NO);
    expect(NAME C_NO S_BITS "11", &takeover, NAME C_NO S_BITS "11");
    assert_true(agree(NAME, &takeover, &terms));
    assert_true(terms.server_takeover && terms.client_takeover);
    assert_int_equal(terms.client_bits, 15); /* the client was not given a limit */
}

static void the_first_offer_that_can_be_kept_is_taken(void **state)
{
    (void)state;
    expect(NAME S_BITS "8, " NAME, &plain, NAME S_NO C_NO);
    expect("x-other; a=1, " NAME "; unknown, " NAME S_BITS "11, " NAME S_BITS "12", &plain,
           NAME S_NO C_NO S_BITS "11");
    expect("Sec-WebSocket-Extensions: a\r\nsec-websocket-extensions: " NAME "\r\n", &plain,
           NAME S_NO C_NO);
    expect(" ,\t, " NAME "  ;\tserver_max_window_bits \t= \"13\" ,", &plain,
           NAME S_NO C_NO S_BITS "13");
}

static void offers_that_cannot_be_kept_are_declined(void **state)
{
    (void)state;
    expect_declined("x-webkit-deflate-frame");
    expect_declined(NAME S_BITS "8");
    static const char *const wrong[] = {
        NAME "; unknown",     NAME S_NO S_NO,
        NAME C_NO C_NO,       NAME S_NO "=1",
        NAME C_NO "=true",    NAME "; server_max_window_bits",
        NAME S_BITS "7",      NAME S_BITS "16",
        NAME S_BITS "09",     NAME S_BITS "1",
        NAME S_BITS "+9",     NAME S_BITS "10" S_BITS "10",
        NAME C_BITS "=0",     NAME C_BITS "=100",
        NAME C_BITS C_BITS,   NAME "; Server_No_Context_Takeover",
        "Permessage-Deflate",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        expect_declined(wrong[i]);
    hs_ws_terms_t terms;
    assert_true(agree("Accept: */*\r\n", &plain, &terms));
    assert_false(terms.is_on);
    assert_true(agree(NAME, &(hs_ws_terms_wanted_t){ 0 }, &terms));
    assert_false(terms.is_on);
}

static void what_is_no_list_of_extensions_is_malformed(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        NAME ";",           NAME "; =1",
        NAME "; a=",        NAME "; a=\"",
        NAME "; a=\"\"",    NAME "; a=\" 1\"",
        NAME "; a=\"b c\"", NAME "; a=\"b\\\"\"",
        NAME " b",          "; a",
        NAME "/2",          "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q",
    };
    hs_ws_terms_t terms;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(agree(wrong[i], &plain, &terms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contexts_are_not_kept_unless_wanted),
        cmocka_unit_test(a_window_that_the_client_asks_for_is_kept_to),
        cmocka_unit_test(contexts_are_kept_where_both_want_it),
        cmocka_unit_test(the_first_offer_that_can_be_kept_is_taken),
        cmocka_unit_test(offers_that_cannot_be_kept_are_declined),
        cmocka_unit_test(what_is_no_list_of_extensions_is_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
