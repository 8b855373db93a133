#include "httpserver.h"

#include "exec/hs_exchange.h"

int hs_req_method(const hs_request_t *request)
{
    return request->msg.method;
}

const char *hs_req_method_str(const hs_request_t *request)
{
    return hs_parse_method_name(request->msg.method);
}

const char *hs_req_url(const hs_request_t *request)
{
    return hs_msg_url(&request->msg).data;
}

const char *hs_req_http_version(const hs_request_t *request)
{
    return request->msg.minor_version == 0 ? "1.0" : "1.1";
}

const char *hs_req_id(const hs_request_t *request)
{
    /* The request is a part of an exchange that is not const: the text is kept there. */
    hs_exchange_t *exchange = HS_CONTAINER_OF(request, hs_exchange_t, request);
    (void)hs_exchange_format_id(exchange, exchange->id);
    return exchange->id;
}

const char *hs_req_header(const hs_request_t *request, const char *name)
{
    const hs_field_t *field = hs_msg_find(&request->msg, hs_span(name, strlen(name)));
    return field == NULL ? NULL : hs_msg_field_value(&request->msg, field).data;
}

const char *hs_req_body(const hs_request_t *request, size_t *length)
{
    if (length != NULL)
        *length = request->msg.body.len;
    return request->msg.body.data;
}
