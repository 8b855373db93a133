/* A server behind proxies: the client as seen by a handler and in the access log. */
#include "served.h"

#include <stdlib.h>

/* Responds with "peer trusted-peer". */
static void answer_client(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)user_data;
    char text[128];
    const char *peer = hs_req_peer_address(request);
    const char *client = hs_req_trusted_peer(request);
    (void)snprintf(text, sizeof(text), "<%s %s>", peer, client);
    (void)hs_res_body_str(response, text);
}

static void start(served_t *served, const char *trusted, hs_forwarded_field_t field, bool proxy,
                  int log_fd)
{
    hs_config_t config;
    served_config(&config);
    config.handler = answer_client;
    config.trusted_proxies = trusted;
    config.forwarded_field = field;
    config.proxy_protocol = proxy;
    config.access_log = log_fd >= 0 ? HS_ACCESS_JSON : HS_ACCESS_OFF;
    config.access_log_fd = log_fd;
    served_start(served, &config);
}

static void ask(const served_t *served, const char *before, const char *fields,
                const char *expected)
{
    int fd = client_open(hs_server_port(served->server));
    char request[512];
    (void)snprintf(request, sizeof(request), "%sGET / HTTP/1.1\r\nHost: test\r\n%s\r\n", before,
                   fields);
    client_send(fd, request);
    client_expect(fd, expected);
    close(fd);
}

#define BOTH "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2\r\n"

static void a_trusted_proxy_is_believed(void **state)
{
    (void)state;
    served_t served;
    start(&served, "loopback", HS_FORWARDED_X_FORWARDED_FOR, false, -1);
    ask(&served, "", "", "<127.0.0.1 127.0.0.1>");
    ask(&served, "", BOTH, "<127.0.0.1 192.0.2.1>");
    served_stop(&served);
    start(&served, "::1, 127.0.0.0/8", HS_FORWARDED_RFC7239, false, -1);
    ask(&served, "", BOTH, "<127.0.0.1 192.0.2.2>");
    served_stop(&served);
}

static void nothing_else_is(void **state)
{
    (void)state;
    static const char *const trusted[] = { NULL, "", "10.0.0.0/8,::1,unix" };
    for (size_t i = 0; i < sizeof(trusted) / sizeof(trusted[0]); i++) {
        served_t served;
        start(&served, trusted[i], HS_FORWARDED_X_FORWARDED_FOR, false, -1);
        ask(&served, "", BOTH, "<127.0.0.1 127.0.0.1>");
        served_stop(&served);
    }
}

static void a_proxy_header_names_the_peer(void **state)
{
    (void)state;
    served_t served;
    start(&served, "loopback,192.0.2.9", HS_FORWARDED_X_FORWARDED_FOR, true, -1);
    ask(&served, "PROXY TCP4 198.51.100.1 127.0.0.1 5 80\r\n", BOTH, "<198.51.100.1 198.51.100.1>");
    ask(&served, "PROXY TCP4 192.0.2.9 127.0.0.1 5 80\r\n", BOTH, "<192.0.2.9 192.0.2.1>");
    ask(&served, "PROXY UNKNOWN\r\n", BOTH, "<127.0.0.1 192.0.2.1>");
    int fd = client_open(hs_server_port(served.server));
    client_send(fd, "GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    client_expect_end(fd);
    close(fd);
    served_stop(&served);
}

static void the_access_log_has_both(void **state)
{
    (void)state;
    int log[2];
    char text[2048];
    served_t served;
    assert_int_equal(0, pipe(log));
    start(&served, "loopback", HS_FORWARDED_X_FORWARDED_FOR, false, log[1]);
    ask(&served, "", BOTH, "<127.0.0.1 192.0.2.1>");
    served_stop(&served);
    start(&served, NULL, HS_FORWARDED_X_FORWARDED_FOR, false, log[1]);
    ask(&served, "", BOTH, "<127.0.0.1 127.0.0.1>");
    served_stop(&served);
    close(log[1]);
    size_t len = 0;
    for (ssize_t got; (got = read(log[0], text + len, sizeof(text) - 1 - len)) > 0;)
        len += (size_t)got;
    close(log[0]);
    text[len] = '\0';
    char *second = strchr(text, '\n');
    assert_non_null(second);
    assert_non_null(strstr(second, "\"remoteAddress\":\"127.0.0.1\""));
    assert_null(strstr(second, "clientAddress"));
    *second = '\0';
    assert_non_null(strstr(text, "\"remoteAddress\":\"127.0.0.1\",\"remotePort\":"));
    assert_non_null(strstr(text, ",\"clientAddress\":\"192.0.2.1\"},\"res\":"));
}

static void wrong_settings_are_named(void **state)
{
    (void)state;
    hs_config_t config;
    char error[512] = "";
    int code = 0;
    served_config(&config);
    config.trusted_proxies = "10.0.0.0/8,10.0.0.0/33";
    assert_null(hs_server_create(&config, &code, error, sizeof(error)));
    assert_int_equal(code, -3);
    assert_non_null(strstr(error, "\"10.0.0.0/33\" is not an address"));
    config.trusted_proxies = NULL;
    config.forwarded_field = (hs_forwarded_field_t)2;
    assert_null(hs_server_create(&config, &code, error, sizeof(error)));
    assert_int_equal(code, -3);
    assert_non_null(strstr(error, "forwarded_field 2 is unknown"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trusted_proxy_is_believed),   cmocka_unit_test(nothing_else_is),
        cmocka_unit_test(a_proxy_header_names_the_peer), cmocka_unit_test(the_access_log_has_both),
        cmocka_unit_test(wrong_settings_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
