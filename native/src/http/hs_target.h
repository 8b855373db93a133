/*
 * The request line and the forms of its target. Pure. RFC 9112 §3.
 *
 * llhttp accepts several spaces, a bare LF at the end, and versions of other protocols; the server
 * accepts exactly `method SP request-target SP HTTP-version CRLF`.
 */
#pragma once

#include "http/hs_msg.h"
#include "http/hs_outcome.h"

/* Checks the spaces, the target's characters and the end of the line. */
HS_NODISCARD hs_parse_outcome_t hs_target_check_line(const hs_msg_t *msg);

/* Checks the form of the target after hs_target_check_line. Asterisk form is valid with some
 * methods only; authority form, which is for CONNECT, is refused. */
HS_NODISCARD hs_parse_outcome_t hs_target_check_form(const hs_msg_t *msg, bool with_asterisk);

/* The authority of a target in absolute form, with the port that its scheme implies; for the other
 * forms an empty span. */
hs_span_t hs_target_authority(hs_span_t target, unsigned *default_port);
