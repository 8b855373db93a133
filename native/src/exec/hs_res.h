/*
 * Building a response, with lengths; httpserver.h has the same calls for NUL-terminated strings.
 * All return 0, or a negative hs_err_t and then change nothing. Thread: the one that runs the
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
    response->dropped = false;
    response->compress = 0;
    response->takeover = HS_TAKEOVER_NONE;
    response->failure = HS_OK;
    response->fields.len = 0;
    response->body.len = 0;
    hs_res_release_content(response);
}

int hs_res_add_field(hs_response_t *response, hs_span_t name, hs_span_t value);
/* Whether a field of this name was added, and the value of the first one, valid until another is.
 */
bool hs_res_find_field(const hs_response_t *response, hs_span_t name, hs_span_t *value);
int hs_res_set_body(hs_response_t *response, hs_span_t body);
int hs_res_pin_body(hs_response_t *response, hs_span_t body, hs_release_t release);

/* The content is a part of a file: kind FILE, all of `part` set. After an error its release is not
 * called. */
int hs_res_file_part(hs_response_t *response, hs_content_t part);

/* Discards what was built and makes it a complete plain-text response with the status's reason
 * phrase. The head must not have been sent. */
void hs_res_replace(hs_response_t *response, int status);

/* The handler failed: responds with `status` or, if the head was sent, truncates the content. Does
 * nothing if the response is complete. */
void hs_res_break_off(hs_response_t *response, int status);

/* The client gets no response, or no more of it: the connection is closed, behind responses to
 * earlier requests. `status` is for the access log, unless a head has left. The response is
 * complete: as after hs_res_end. HS_ERR_STATE: it was. */
HS_NODISCARD int hs_res_drop(hs_response_t *response, int status);

/* Out of memory while building: ends the response so that the client can tell it is incomplete. */
void hs_res_end_incomplete(hs_response_t *response);

/* The handler returned without sending, or ran out of memory: completes the response.
 */
void hs_res_complete(hs_job_t *job);

/*
 * The handler on the loop's thread waits and continues with the job later, on this thread: request
 * and response stay valid until hs_res_send or hs_res_end_suspended. `by` names the handler
 * (hs_handler_t.held_by), which must stay alive. False: not possible, or out of memory; nothing
 * changed.
 */
HS_NODISCARD bool hs_res_suspend(hs_response_t *response, void *by, hs_where_fn *where,
                                 const hs_callbacks_t *callbacks);

/*
 * The handler takes over the connection: its output is sent without framing from here on, and
 * incoming data is content for its callbacks. The connection ends with the response. HS_ERR_STATE:
 * on a worker, a second time, or while content is being sent to the client; HS_ERR_ABORTED,
 * HS_ERR_NOMEM.
 */
HS_NODISCARD int hs_res_take_over(hs_response_t *response, hs_takeover_t takeover);

/* hs_res_send in two steps: first the response is complete and nothing can be added; then a
 * suspended job is returned to its loop, and over. */
HS_NODISCARD int hs_res_end(hs_response_t *response);
void hs_res_post(hs_job_t *job);

/* Ends the response of a suspended job with what was built. The job is over. */
void hs_res_end_suspended(hs_response_t *response);
