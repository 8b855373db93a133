/* Handlers in shared objects built with this header or an earlier one. */
#include "server/running_server.h"

static void handlers_of_this_version_and_the_one_before_serve(void **state)
{
    (void)state;
    const char *const paths[] = { MODULE_VERSION_1, MODULE_VERSION_2 };
    for (int version = 1; version <= HS_HANDLER_ABI_VERSION; version++) {
        running_t running;
        hs_config_t config = test_config(NULL, NULL);
        config.module_path = paths[version - 1];
        config.dispatch = HS_DISPATCH_INLINE;
        assert_int_equal(hs_check_module(config.module_path, NULL, NULL, 0), 0);
        run_server(&running, &config);
        client_t *client = client_tcp(running.port);
        for (int i = 1; i <= 2; i++) {
            static answer_t answer;
            char expected[64];
            client_get(client, "/path", &answer);
            snprintf(expected, sizeof(expected), "version %d, /path, %d", version, i);
            assert_string_equal(answer.body, expected);
        }
        client_close(client);
        stop_server(&running);
    }
}

static void handlers_of_other_versions_are_refused(void **state)
{
    (void)state;
    const char *const paths[] = { MODULE_VERSION_0, MODULE_VERSION_3 };
    const char *const words[] = { "version 0 of", "version 3 of" };
    for (int i = 0; i < 2; i++) {
        char error[512];
        assert_int_equal(hs_check_module(paths[i], NULL, error, sizeof(error)), -6);
        if (strstr(error, words[i]) == NULL || strstr(error, "versions 1 to 2") == NULL)
            fail_msg("%s", error);
    }
}

/* The client announces content and sends none of it: the response is sent anyway. */
static void a_handler_may_ask_to_be_called_at_the_end_of_the_head(void **state)
{
    (void)state;
    running_t running;
    static answer_t answer;
    hs_config_t config = test_config(NULL, NULL);
    config.module_path = MODULE_THAT_STREAMS;
    run_server(&running, &config);
    client_t *client = client_tcp(running.port);
    client_text(client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    client_next(client, &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "no content yet");
    client_close(client);
    stop_server(&running);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handlers_of_this_version_and_the_one_before_serve),
        cmocka_unit_test(handlers_of_other_versions_are_refused),
        cmocka_unit_test(a_handler_may_ask_to_be_called_at_the_end_of_the_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
