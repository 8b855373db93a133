/* A server of the public API on a thread of this process. */
#pragma once

#include "http_client.h"
#include "httpserver.h"

typedef struct running {
    hs_server_t *server;
    pthread_t thread;
    uint16_t port;
    int result;
} running_t;

static inline void *running_main(void *argument)
{
    running_t *running = argument;
    running->result = hs_server_run(running->server);
    return NULL;
}

/* A configuration for tests: a port chosen by the system, no log. */
static inline hs_config_t test_config(hs_handler_fn handler, void *user_data)
{
    hs_config_t config;
    hs_config_init(&config);
    config.port = 0;
    config.handler = handler;
    config.handler_ud = user_data;
    config.log_level = HS_LOG_OFF;
    return config;
}

static inline void run_server(running_t *running, const hs_config_t *config)
{
    running->server = hs_server_new(config);
    assert_non_null(running->server);
    running->port = hs_server_port(running->server);
    assert_int_equal(pthread_create(&running->thread, NULL, running_main, running), 0);
}

static inline void await_end(running_t *running)
{
    pthread_join(running->thread, NULL);
    assert_int_equal(running->result, 0);
    hs_server_free(running->server);
}

static inline void stop_server(running_t *running)
{
    hs_server_stop(running->server);
    await_end(running);
}
