#include "exec/hs_handler.h"

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
