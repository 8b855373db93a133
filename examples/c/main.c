/*
 * The server inside a C program: TCP and a Unix socket, one reactor or several.
 *
 *     cc -o server main.c $(pkg-config --cflags --libs httpserver)
 *     ./server                      one reactor, http://127.0.0.1:8080
 *     ./server 8081 /tmp/app.sock   a Unix socket too
 *     ./server 8081 /tmp/app.sock multi
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "httpserver.h"

/* A signal handler has no arguments: this is the only global that the program needs. */
static hs_server_t *server;

static void on_signal(int number)
{
    (void)number;
    hs_server_stop(server);
}

static void answer(hs_request_t *request, hs_response_t *response, void *user_data)
{
    const char *greeting = user_data;
    size_t length = 0;
    const char *body = hs_req_body(request, &length);
    hs_res_header(response, "Content-Type", "text/plain");
    if (length > 0)
        hs_res_body(response, body, length);
    else
        hs_res_body_str(response, greeting);
    hs_res_send(response);
}

int main(int argc, char **argv)
{
    hs_config_t config;
    hs_config_init(&config);
    config.handler = answer;
    config.handler_ud = "hello from C\n";
    if (argc > 1)
        config.port = (uint16_t)atoi(argv[1]);
    if (argc > 2) {
        config.listen_flags = HS_LISTEN_TCP | HS_LISTEN_UDS;
        config.uds_path = argv[2];
    }
    if (argc > 3 && strcmp(argv[3], "multi") == 0)
        config.reactor_mode = HS_REACTOR_MULTI;

    server = hs_server_new(&config);
    if (server == NULL)
        return 1;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    printf("http://%s:%u\n", config.host, (unsigned)hs_server_port(server));
    fflush(stdout);
    int failed = hs_server_run(server);
    hs_server_free(server);
    return failed < 0;
}
