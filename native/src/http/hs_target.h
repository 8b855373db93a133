/*
 * The request line and the forms of its target. Pure. RFC 9112 §3.
 *
 * llhttp takes any number of spaces, a line end of LF, and the versions of other protocols; what is
 * taken here is exactly `method SP request-target SP HTTP-version CRLF`.
 */
#pragma once

#include "http/hs_msg.h"
#include "http/hs_outcome.h"

/* Checks the request line of a complete head. */
HS_NODISCARD hs_parse_outcome_t hs_target_check(const hs_msg_t *msg);

/* The authority of a target in absolute form, with the port that its scheme implies; for the other
 * forms an empty span. */
hs_span_t hs_target_authority(hs_span_t target, unsigned *default_port);
