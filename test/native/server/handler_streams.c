/* A handler that responds at the end of the head, whatever content follows. */
#include "httpserver.h"

HS_HANDLER_MODULE
HS_HANDLER_STREAMS_CONTENT

void hs_handler(hs_request_t *request, hs_response_t *response, void *user_data)
{
    size_t length;
    (void)user_data;
    (void)hs_req_body(request, &length);
    hs_res_body_str(response, length == 0 ? "no content yet" : "content");
    hs_res_send(response);
}
