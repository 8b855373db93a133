/* The work hello of lib/servers.mjs as a C handler. */
#include "httpserver.h"

HS_HANDLER_MODULE

void hs_handler(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)request;
    (void)user_data;
    hs_res_header(response, "Content-Type", "text/plain");
    hs_res_body_str(response, "hello, world\n");
    hs_res_send(response);
}
