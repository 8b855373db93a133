/*
 * A handler in a shared object. Build it with ./build.sh, then
 *
 *     node dist/master.js examples/c/libapp.so
 *     node dist/master.js examples/c/libapp.so:show_client
 */
#include <stdio.h>
#include <stdlib.h>

#include "httpserver.h"

HS_HANDLER_MODULE

/* State of each thread. */
typedef struct counter {
    unsigned long requests;
} counter_t;

int hs_handler_init(void **user_data)
{
    *user_data = calloc(1, sizeof(counter_t));
    return *user_data == NULL;
}

void hs_handler_exit(void *user_data)
{
    free(user_data);
}

void hs_handler(hs_request_t *request, hs_response_t *response, void *user_data)
{
    counter_t *counter = user_data;
    char text[128];
    int length = snprintf(text, sizeof(text), "%s request number %lu of this thread\n",
                          hs_req_method_str(request), ++counter->requests);
    hs_res_header(response, "Content-Type", "text/plain");
    hs_res_body(response, text, (size_t)length);
    hs_res_send(response);
}

void show_client(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)user_data;
    hs_log(HS_LOG_DEBUG, "%s asks for %s", hs_req_peer_address(request), hs_req_url(request));
    hs_res_body_str(response, hs_req_peer_address(request));
    hs_res_send(response);
}
