/*
 * The request line and the forms of its target. Pure. RFC 9112 §3.
 *
 * llhttp takes any number of spaces, a line end of LF, and the versions of other protocols; what is
 * taken here is exactly `method SP request-target SP HTTP-version CRLF`.
 */
#pragma once

#include "http/hs_msg.h"
#include "http/hs_outcome.h"

/* Checks the spaces, the target's characters and the line's end: the shape of a request line. */
HS_NODISCARD hs_parse_outcome_t hs_target_check_line(const hs_msg_t *msg);

/* Then the form of the target; `*` is one with some methods only. Authority form is not among
 * them: it is for CONNECT. */
HS_NODISCARD hs_parse_outcome_t hs_target_check_form(const hs_msg_t *msg, bool with_asterisk);

/* The authority of a target in absolute form, with the port that its scheme implies; for the other
 * forms an empty span. */
hs_span_t hs_target_authority(hs_span_t target, unsigned *default_port);
