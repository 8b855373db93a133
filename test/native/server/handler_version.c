/* A handler built for version HANDLER_VERSION of the interface: it uses only what that version had.
 */
#include <stdio.h>
#include <stdlib.h>

#include "httpserver.h"

#undef HS_HANDLER_ABI_VERSION
#define HS_HANDLER_ABI_VERSION HANDLER_VERSION

HS_HANDLER_MODULE

int hs_handler_init(void **user_data)
{
    *user_data = calloc(1, sizeof(unsigned));
    return *user_data == NULL;
}

void hs_handler_exit(void *user_data)
{
    free(user_data);
}

void hs_handler(hs_request_t *request, hs_response_t *response, void *user_data)
{
    char text[128];
    snprintf(text, sizeof(text), "version %d, %s, %u", HANDLER_VERSION, hs_req_url(request),
             ++*(unsigned *)user_data);
    hs_res_body_str(response, text);
    hs_res_send(response);
}
