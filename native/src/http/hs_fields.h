/*
 * The rules about fields that decide how a message is framed and routed: Host, Transfer-Encoding,
 * Connection, Expect. Pure. RFC 9112 §3.2, §6.1, §6.3, §9.3; RFC 9110 §7.2, §7.6.1, §10.1.1.
 */
#pragma once

#include "http/hs_host.h"
#include "http/hs_msg.h"
#include "http/hs_outcome.h"

/*
 * Checks a complete head, writes a NUL after each name and value, and sets msg->expect_continue and
 * msg->keep_alive. `has_content_length`: the field was present. HS_PARSE_COMPLETE, or the refusal.
 */
HS_NODISCARD hs_parse_outcome_t hs_fields_check(hs_msg_t *msg, bool has_content_length,
                                                hs_host_memo_t *last_host);

/* Removes the first element, which may be empty, from a comma-separated list (RFC 9110 §5.6.1).
 * False at the end of the list. */
bool hs_fields_next_element(hs_span_t *list, hs_span_t *element);

/* HS_PARSE_COMPLETE if the codings of a Transfer-Encoding are `chunked` and nothing else. */
HS_NODISCARD hs_parse_outcome_t hs_fields_check_codings(hs_span_t list);
