/*
 * Building a response, with lengths; httpserver.h has the same calls for NUL-terminated strings.
 * All return 0 or a negative hs_err_t and then have changed nothing. Thread: the one that runs the
 * handler.
 */
#pragma once

#include "exec/hs_job.h"

/* Makes the response ready for a handler. */
static inline void hs_res_begin(hs_response_t *response)
{
    response->sending = HS_SENDING_BUILDING;
    response->status = 200;
    response->built = false;
    response->close = false;
    response->own_date = false;
    response->has_length = false;
    response->replaced = false;
    response->streamed = false;
    response->failed = false;
    response->failure = HS_OK;
    response->fields.len = 0;
    response->body.len = 0;
    hs_res_release_content(response);
}

int hs_res_add_field(hs_response_t *response, hs_span_t name, hs_span_t value);
/* Whether a field of this name was added. */
bool hs_res_has_field(const hs_response_t *response, hs_span_t name);
int hs_res_set_body(hs_response_t *response, hs_span_t body);
int hs_res_pin_body(hs_response_t *response, hs_span_t body, hs_release_t release);

/* Throws away what was built and makes it a complete plain-text response with the status's
 * reason phrase. The head must not have left. */
void hs_res_replace(hs_response_t *response, int status);

/* The handler failed: `status`, or, where the head has left, content that ends before its end.
 * Nothing where the response is complete. */
void hs_res_break_off(hs_response_t *response, int status);

/* Memory did not suffice for what was built: ends the response, so that the client does not take it
 * for a whole one. */
void hs_res_end_incomplete(hs_response_t *response);

/* Streaming: what was written leaves now, the head too if nothing was. hs_callbacks_t.on_drain of a
 * suspended job tells when little is unsent. */
int hs_res_flush(hs_response_t *response);

/* The handler has returned and has not sent, or lacked memory: makes the response a complete one.
 */
void hs_res_complete(hs_job_t *job);

/*
 * The handler that runs on the loop's thread waits for something and goes on with the job later, on
 * this thread: request and response stay what they are, until hs_res_send or hs_res_end_suspended.
 * `by` names the handler (hs_handler_t.held_by). False: not possible, or out of memory; nothing has
 * changed.
 */
HS_NODISCARD bool hs_res_suspend(hs_response_t *response, const void *by,
                                 const hs_callbacks_t *callbacks);

/* Ends the response of a suspended job with what was built. The job is over. */
void hs_res_end_suspended(hs_response_t *response);
