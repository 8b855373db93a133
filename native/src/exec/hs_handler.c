#include "exec/hs_handler.h"

#include "exec/hs_res.h"

static void run_c_handler(void *self, hs_exchange_t *exchange)
{
    const hs_c_handler_t *c_handler = self;
    exchange->user_data = c_handler->user_data;
    c_handler->function(&exchange->request, &exchange->response, c_handler->user_data);
}

hs_handler_t hs_c_handler_as_handler(hs_c_handler_t *c_handler)
{
    return (hs_handler_t){ .run = run_c_handler, .self = c_handler };
}

static int make_c_handler(void *context, hs_handler_t *handler, hs_errinfo_t *error)
{
    (void)error;
    *handler = hs_c_handler_as_handler(context);
    return HS_OK;
}

static void end_c_handler(void *context, hs_handler_t *handler)
{
    (void)context;
    (void)handler;
}

hs_handler_maker_t hs_c_handler_maker(hs_c_handler_t *c_handler)
{
    return (hs_handler_maker_t){ make_c_handler, end_c_handler, c_handler };
}

/* A handler that returns without sending: what it built counts, nothing built is an error of the
 * handler. */
static void complete_response(hs_exchange_t *exchange)
{
    hs_response_t *response = &exchange->response;
    const hs_msg_t *msg = &exchange->request.msg;
    if (response->failure == HS_ERR_NOMEM)
        hs_log_write(exchange->log, HS_LOG_ERROR,
                     "out of memory while a response was built: %s %.128s",
                     hs_parse_method_name(msg->method), hs_msg_url(msg).data);
    else if (response->state == HS_ANSWER_SENT || response->built) {
        response->state = HS_ANSWER_SENT;
        return;
    } else
        hs_log_write(exchange->log, HS_LOG_ERROR, "the handler sent no response: %s %.128s",
                     hs_parse_method_name(msg->method), hs_msg_url(msg).data);
    hs_res_replace(response, 500);
}

void hs_handler_answer(const hs_handler_t *handler, hs_exchange_t *exchange)
{
    const hs_msg_t *msg = &exchange->request.msg;
    exchange->view.method = msg->method;
    exchange->view.url = hs_msg_url(msg).data;
    exchange->view.url_len = msg->url_len;
    exchange->wants_worker = false;
    hs_res_begin(&exchange->response);
    handler->run(handler->self, exchange);
    if (!exchange->wants_worker)
        complete_response(exchange);
}
