#include "exec/hs_handler.h"

#include "exec/hs_res.h"
#include "http/hs_parse.h"

static void run_c_handler(void *self, hs_job_t *job)
{
    const hs_c_handler_t *c_handler = self;
    job->user_data = c_handler->user_data;
    c_handler->function(&job->request, &job->response, c_handler->user_data);
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

hs_handler_factory_t hs_c_handler_factory(hs_c_handler_t *c_handler)
{
    return (hs_handler_factory_t){ make_c_handler, end_c_handler, c_handler };
}

/* A handler that returns without sending: what it built counts, nothing built is an error of the
 * handler. */
void hs_handler_complete(hs_job_t *job)
{
    hs_response_t *response = &job->response;
    const hs_msg_t *msg = &job->request.msg;
    if (response->failure == HS_ERR_NOMEM) {
        hs_res_end_incomplete(response);
    } else if (response->sending == HS_SENDING_ENDED) {
        return;
    } else if (response->built) {
        (void)hs_res_send(response);
    } else {
        hs_job_log(job, HS_LOG_ERROR, "the handler sent no response: %s %.128s",
                   hs_parse_method_name(msg->method), hs_msg_url(msg).data);
        hs_res_replace(response, 500);
    }
}
