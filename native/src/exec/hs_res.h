/*
 * Building a response, with lengths; httpserver.h has the same calls for NUL-terminated strings.
 * All return 0 or a negative hs_err_t and then have changed nothing. Thread: the one that runs the
 * handler.
 */
#pragma once

#include "exec/hs_exchange.h"

/* Makes the response ready for a handler. */
void hs_res_begin(hs_response_t *response);

int hs_res_add_field(hs_response_t *response, hs_span_t name, hs_span_t value);
int hs_res_set_body(hs_response_t *response, hs_span_t body);

/* Throws away what was built and makes it a complete plain-text answer with the status's reason
 * phrase. */
void hs_res_replace(hs_response_t *response, int status);
