/*
 * The server side of negotiating permessage-deflate (RFC 7692 §7.1). Pure: the fields of a parsed
 * head to terms, and terms to the value of the field that accepts them. Other extensions are
 * declined by not mentioning them.
 *
 * Thread: any.
 */
#pragma once

#include "http/hs_msg.h"

/* Window bits of zlib's deflate; inflate also accepts 8. */
#define HS_WS_WINDOW_MIN 9
#define HS_WS_WINDOW_MAX 15

/* What a server is willing to accept. */
typedef struct hs_ws_terms_wanted {
    bool is_on;
    bool takeover;       /* messages may share a context with earlier ones */
    uint8_t window_bits; /* HS_WS_WINDOW_MIN to _MAX: of both sides, with takeover */
} hs_ws_terms_wanted_t;

/* What both sides agreed on. */
typedef struct hs_ws_terms {
    bool is_on : 1;
    bool server_takeover : 1; /* messages to the client share a context */
    bool client_takeover : 1; /* messages from the client do */
    bool tells_server_bits : 1;
    bool tells_client_bits : 1;
    uint8_t server_bits; /* of the window of messages to the client */
    uint8_t client_bits;
} hs_ws_terms_t;

/*
 * Takes the first offer in the fields Sec-WebSocket-Extensions that the server can keep to; without
 * one, or unless it wants any, terms->is_on is false. False: a field is malformed, which is a 400
 * (RFC 6455 §9.1).
 */
HS_NODISCARD bool hs_ws_agree(const hs_msg_t *msg, const hs_ws_terms_wanted_t *wanted,
                              hs_ws_terms_t *terms);

/* "permessage-deflate; server_no_context_takeover; client_no_context_takeover;
 *  server_max_window_bits=15; client_max_window_bits=15" */
#define HS_WS_TERMS_CAP 160

/* The value of the field Sec-WebSocket-Extensions, for terms that are on. Returns its length. */
size_t hs_ws_put_terms(const hs_ws_terms_t *terms, char out[HS_WS_TERMS_CAP]);
