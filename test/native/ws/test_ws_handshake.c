/* hs_ws_handshake: valid and invalid opening handshakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/parse_run.h"
#include "ws/hs_ws_handshake.h"

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define HOST "Host: example.com:8080\r\n"

/* A parsed head. */
static void parse(parse_run_t *run, const char *text)
{
    const hs_limits_t limits = parse_run_limits();
    parse_run(run, &limits, text, strlen(text), strlen(text), 1);
    assert_int_equal(run->outcome, HS_PARSE_COMPLETE);
}

static void expect(const char *text, hs_ws_refusal_t refusal)
{
    parse_run_t run;
    hs_span_t key;
    parse(&run, text);
    assert_int_equal(hs_ws_check(&run.msg, text[0] == 'G', &key), refusal);
    parse_run_free(&run);
}

static void a_request_of_the_rfc_is_accepted(void **state)
{
    (void)state;
    parse_run_t run;
    hs_span_t key;
    char accept[HS_WS_ACCEPT_CAP];
    parse(&run, "GET /chat HTTP/1.1\r\n" HOST
                "Upgrade: websocket\r\nConnection: Upgrade\r\n" KEY VERSION "\r\n");
    assert_int_equal(hs_ws_check(&run.msg, true, &key), HS_WS_ACCEPTABLE);
    assert_true(hs_ws_accept_key(key, accept));
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    parse_run_free(&run);
}

static void lists_and_any_case_are_understood(void **state)
{
    (void)state;
    expect("GET / HTTP/1.1\r\n" HOST
           "UPGRADE: h2c, WebSocket\r\nConnection: keep-alive\r\nconnection: x , uPgRaDe\r\n" KEY
               VERSION "\r\n",
           HS_WS_ACCEPTABLE);
}

static void what_is_missing_or_wrong_is_named(void **state)
{
    (void)state;
#define ASKS "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    expect("GET / HTTP/1.1\r\n" HOST "\r\n", HS_WS_NOT_ASKED);
    expect("GET / HTTP/1.1\r\n" HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY VERSION "\r\n",
           HS_WS_NOT_ASKED);
    expect("GET / HTTP/1.0\r\n" HOST ASKS KEY VERSION "\r\n", HS_WS_NOT_ASKED);
    expect("GET / HTTP/1.1\r\n" HOST "Upgrade: websocket\r\n" KEY VERSION "\r\n",
           HS_WS_NO_CONNECTION);
    expect("GET / HTTP/1.1\r\n" HOST "Upgrade: websocket\r\nConnection: upgraded\r\n" KEY VERSION
           "\r\n",
           HS_WS_NO_CONNECTION);
    expect("POST / HTTP/1.1\r\n" HOST ASKS KEY VERSION "Content-Length: 0\r\n\r\n", HS_WS_NOT_GET);
    expect("GET / HTTP/1.1\r\n" HOST ASKS KEY VERSION "Content-Length: 1\r\n\r\n",
           HS_WS_HAS_CONTENT);
    expect("GET / HTTP/1.1\r\n" HOST ASKS KEY "\r\n", HS_WS_VERSION);
    expect("GET / HTTP/1.1\r\n" HOST ASKS KEY "Sec-WebSocket-Version: 8\r\n\r\n", HS_WS_VERSION);
    expect("GET / HTTP/1.1\r\n" HOST ASKS KEY VERSION VERSION "\r\n", HS_WS_VERSION);
    expect("GET / HTTP/1.1\r\n" HOST ASKS VERSION "\r\n", HS_WS_KEY);
    expect("GET / HTTP/1.1\r\n" HOST ASKS VERSION KEY KEY "\r\n", HS_WS_KEY);
    static const char *const keys[] = { "dGhlIHNhbXBsZSBub25jZQ=",     "dGhlIHNhbXBsZSBub25jZQ===",
                                        "dGhlIHNhbXBsZSBub25jZR==",    "dGhlIHNhbXBsZSBub25jZQ=a",
                                        "dGhlIHNhbXBsZSBub25j_Q==",    "dGhlIHNhbXBsZSBub25jZWFh",
                                        "dGhlIHNhbXBsZSBub25jZWFhYQ==" };
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char text[512];
        (void)snprintf(text, sizeof(text),
                       "GET / HTTP/1.1\r\n" HOST ASKS VERSION "Sec-WebSocket-Key: %s\r\n\r\n",
                       keys[i]);
        expect(text, HS_WS_KEY);
    }
    for (int i = HS_WS_NOT_ASKED; i <= HS_WS_ORIGIN; i++) {
        assert_in_range(hs_ws_refusal_status((hs_ws_refusal_t)i), 400, 426);
        assert_true(strlen(hs_ws_refusal_text((hs_ws_refusal_t)i)) > 0);
    }
}

static void expect_protocol(const char *fields, const char *served, const char *chosen)
{
    char text[1024];
    (void)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n" HOST "%s\r\n", fields);
    parse_run_t run;
    hs_span_t protocol;
    parse(&run, text);
    bool is_valid = hs_ws_choose_protocol(&run.msg, hs_span(served, strlen(served)), &protocol);
    assert_int_equal(is_valid, chosen != NULL);
    if (chosen != NULL)
        assert_true(hs_span_equals(protocol, hs_span(chosen, strlen(chosen))));
    parse_run_free(&run);
}

static void the_first_offer_that_is_served_is_chosen(void **state)
{
    (void)state;
#define OFFERS "Sec-WebSocket-Protocol: "
    expect_protocol("", "chat", "");
    expect_protocol(OFFERS "chat\r\n", "", "");
    expect_protocol(OFFERS "chat\r\n", "news,chat", "chat");
    expect_protocol(OFFERS "other, chat ,news\r\n", "news, chat", "chat");
    expect_protocol(OFFERS "other\r\n" OFFERS "news\r\n", "news, chat", "news");
    expect_protocol(OFFERS "Chat\r\n", "chat", "");
    expect_protocol(OFFERS "chat\r\n", "chatter,cha", "");
    expect_protocol(OFFERS "chat, chat\r\n", "chat", NULL);
    expect_protocol(OFFERS "chat,\r\n", "chat", NULL);
    expect_protocol(OFFERS "a b\r\n", "chat", NULL);
}

static void expect_origin(const char *fields, const char *allowed, bool is_allowed)
{
    char text[1024];
    (void)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s\r\n", fields);
    parse_run_t run;
    parse(&run, text);
    assert_int_equal(hs_ws_allows_origin(&run.msg, hs_span(allowed, strlen(allowed))), is_allowed);
    parse_run_free(&run);
}

static void pages_of_other_origins_are_told_apart(void **state)
{
    (void)state;
    expect_origin(HOST, "same", true);
    expect_origin(HOST "Origin: http://example.com:8080\r\n", "same", true);
    expect_origin(HOST "Origin: https://EXAMPLE.com:8080\r\n", "same", true);
    expect_origin(HOST "Origin: http://example.com\r\n", "same", false);
    expect_origin(HOST "Origin: http://example.com.evil.org:8080\r\n", "same", false);
    expect_origin(HOST "Origin: null\r\n", "same", false);
    expect_origin(HOST "Origin: http://\r\n", "same", false);
    expect_origin("Host: example.com\r\nOrigin: https://example.com\r\n", "same", true);
    expect_origin("Host: example.com\r\nOrigin: http://example.com:80\r\n", "same", true);
    expect_origin("Host: example.com\r\nOrigin: https://example.com:80\r\n", "same", false);
    expect_origin(HOST "Origin: https://app.example.org\r\n", "same, https://app.example.org",
                  true);
    expect_origin(HOST "Origin: https://app.example.org\r\n", "https://other.example.org", false);
    expect_origin(HOST "Origin: https://evil.org\r\n", "*", true);
    expect_origin(HOST "Origin: http://example.com:8080\r\nOrigin: https://evil.org\r\n", "same",
                  false);
    expect_origin(HOST "Origin: http://example.com:8080\r\n", "", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_of_the_rfc_is_accepted),
        cmocka_unit_test(lists_and_any_case_are_understood),
        cmocka_unit_test(what_is_missing_or_wrong_is_named),
        cmocka_unit_test(the_first_offer_that_is_served_is_chosen),
        cmocka_unit_test(pages_of_other_origins_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
