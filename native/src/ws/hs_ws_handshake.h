/*
 * The server side of the WebSocket opening handshake (RFC 6455 §4.2). Pure: a parsed head to an
 * outcome. Strict: everything a client must send is required, and what it must not send is refused.
 *
 * Thread: any.
 */
#pragma once

#include "http/hs_msg.h"

/* "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" and a NUL. */
#define HS_WS_ACCEPT_CAP 29

/* Why a request does not open a WebSocket. */
typedef enum hs_ws_refusal {
    HS_WS_ACCEPTABLE,
    HS_WS_NOT_ASKED,     /* 426: no Upgrade to websocket, or not HTTP/1.1 */
    HS_WS_NO_CONNECTION, /* 400: Connection does not say upgrade */
    HS_WS_NOT_GET,       /* 405 */
    HS_WS_HAS_CONTENT,   /* 400 */
    HS_WS_VERSION,       /* 426: Sec-WebSocket-Version is not 13 */
    HS_WS_KEY,           /* 400: Sec-WebSocket-Key is missing, repeated or not 16 bytes in base64 */
    HS_WS_PROTOCOLS,     /* 400: Sec-WebSocket-Protocol is not a list of distinct tokens */
    HS_WS_ORIGIN,        /* 403 */
    HS_WS_EXTENSIONS,    /* 400: Sec-WebSocket-Extensions is not a list of extensions */
} hs_ws_refusal_t;

int hs_ws_refusal_status(hs_ws_refusal_t refusal);
/* What was wrong and what to do, as one line for the response and the log. */
const char *hs_ws_refusal_text(hs_ws_refusal_t refusal);

/* Whether it asks for a WebSocket at all, in an Upgrade field. */
bool hs_ws_is_asked(const hs_msg_t *msg);

/* Everything but the protocols and the origin. `is_get`: the method. `*key` is valid as long as the
 * head. */
HS_NODISCARD hs_ws_refusal_t hs_ws_check(const hs_msg_t *msg, bool is_get, hs_span_t *key);

/* Sec-WebSocket-Accept for a key. False: SHA-1 is not available. */
HS_NODISCARD bool hs_ws_accept_key(hs_span_t key, char out[HS_WS_ACCEPT_CAP]);

/* The first protocol offered by the client that is in `served`, a comma-separated list; empty if
 * there is none, or nothing was offered. False: HS_WS_PROTOCOLS. */
HS_NODISCARD bool hs_ws_choose_protocol(const hs_msg_t *msg, hs_span_t served, hs_span_t *chosen);

/*
 * Whether a page with the request's Origin may connect. `allowed`: a comma-separated list of
 * origins, "same" for that of the Host field, "*" for any. A client without an Origin is not a
 * browser, and may.
 */
HS_NODISCARD bool hs_ws_allows_origin(const hs_msg_t *msg, hs_span_t allowed);
