/* hs_server when memory runs out during creation: an error message, no descriptor left, nothing
 * lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc_fault.h"
#include "server/server_bench.h"

/* One attempt with the `failing`th allocation failing; true once that is beyond the last. */
static bool create_with_failure(const hs_config_t *config, size_t failing)
{
    int lowest_fd = lowest_free_fd(), code = 0;
    size_t live = alloc_fault_live();
    char error[512] = "";
    alloc_fault_arm(failing, false);
    hs_server_t *server = hs_server_create(config, &code, error, sizeof(error));
    size_t asked = alloc_fault_disarm();
    if (server == NULL) {
        assert_true(code < 0);
        assert_true(error[0] != '\0');
    } else {
        assert_int_equal(code, 0);
        assert_int_not_equal(hs_server_port(server), 0);
        hs_server_free(server);
    }
    assert_int_equal(alloc_fault_live(), live);
    assert_int_equal(lowest_free_fd(), lowest_fd);
    return asked < failing;
}

static void every_allocation_of_creation_fails_once(void **state)
{
    (void)state;
    hs_config_t config;
    hs_config_init(&config);
    config.port = 0;
    config.log_level = HS_LOG_OFF;
    for (int lua = 0; lua < 2; lua++) {
        config.handler = lua ? NULL : answer_size;
        config.lua_script = lua ? "examples/hello.lua" : NULL;
        config.lua_root = "lua";
        size_t failing = 1;
        while (!create_with_failure(&config, failing))
            failing++;
        assert_true(failing > 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_of_creation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
