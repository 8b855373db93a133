/*
 * permessage-deflate for the WebSockets of a loop: negotiation with a client, and the codec of its
 * socket (exec/hs_websocket.h) over ws/hs_ws_deflate.h.
 *
 * Thread: the loop's.
 */
#pragma once

#include "exec/hs_websocket.h"
#include "ws/hs_ws_deflate.h"

/* Shorter messages are sent uncompressed. */
#define HS_WEBSOCKET_DEFLATE_MIN 1024

typedef struct hs_websocket_deflate hs_websocket_deflate_t;

/* Shared by the sockets of a loop. owner: loop */
typedef struct hs_websocket_deflates {
    hs_ws_terms_wanted_t wanted;
    hs_ws_deflates_t *contexts; /* made for the first socket */
    /* Codecs without their own contexts, by the window of messages to the client. */
    hs_websocket_deflate_t *shared[HS_WS_WINDOW_MAX + 1];
} hs_websocket_deflates_t;

/* `hub` negotiates with clients from here on, if anything is wanted. */
void hs_websocket_deflates_init(hs_websocket_deflates_t *all, hs_websocket_hub_t *hub,
                                const hs_ws_terms_wanted_t *wanted);

/* No socket is left. */
void hs_websocket_deflates_end(hs_websocket_deflates_t *all);
