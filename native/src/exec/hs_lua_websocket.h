/*
 * The WebSockets of one Lua state: events are recorded, and Lua takes them in the same turn, for
 * all sockets at once (exec/hs_lua_wakes.h). A message stays where it was received until it has
 * become a Lua string.
 *
 * Owner: the thread of the state, a loop's.
 */
#pragma once

#include "exec/hs_lua_wakes.h"
#include "exec/hs_lua_websocket_abi.h"
#include "exec/hs_websocket.h"

/* owner: the thread of the state */
typedef struct hs_lua_websockets {
    hs_lua_websocket_api_t api; /* Lua holds its address */
    hs_lua_wakes_t *wakes;      /* borrowed */
    /* The response of a suspended job is complete. */
    void (*respond)(void *context, hs_job_t *job);
    void *context;
    hs_websocket_t *first_ready; /* with something to tell */
    hs_websocket_t *last_ready;
    hs_websocket_hub_t *hub;      /* of the thread; NULL: none yet */
    struct hs_lua_handed *handed; /* of sockets received from the previous generation */
    struct hs_lua_handed *last_handed;
    struct hs_lua_handed *shown; /* the result of the last `take` */
    hs_websocket_t *taken;       /* whose message the last `take` returned */
    hs_websocket_t **sockets;    /* by number; a free one has the number of the next, odd */
    uint32_t capacity;
    uint32_t next_free; /* 0: none */
} hs_lua_websockets_t;

void hs_lua_websockets_init(hs_lua_websockets_t *websockets, hs_lua_wakes_t *wakes,
                            void (*respond)(void *context, hs_job_t *job), void *context);

/* The state belongs to a thread from now on, that of `hub` (NULL: none). It takes over sockets from
 * its predecessor, if its file asks for it. */
void hs_lua_websockets_attach(hs_lua_websockets_t *websockets, hs_websocket_hub_t *hub);

/* On its thread: sockets report nothing to Lua any more, open ones are closed with 1012. */
void hs_lua_websockets_leave(hs_lua_websockets_t *websockets);

/* After hs_lua_websockets_leave, if there were any. */
void hs_lua_websockets_free(hs_lua_websockets_t *websockets);
