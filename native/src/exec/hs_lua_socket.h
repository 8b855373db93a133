/*
 * Outbound sockets for the handlers of one Lua state: exposes net/hs_socket.h to the FFI, and turns
 * completed calls into wakes of the scheduler.
 *
 * Owner: the thread of the state.
 */
#pragma once

#include "exec/hs_lua_socket_abi.h"
#include "exec/hs_lua_wakes.h"
#include "net/hs_net.h"

/* owner: its Lua state, which holds the address of `api` */
typedef struct hs_lua_sockets {
    hs_lua_socket_api_t api;
    hs_lua_wakes_t *wakes; /* borrowed, as is context */
    hs_net_t *(*net)(void *context);
    void *context;
    hs_list_t open;     /* sockets of Lua objects */
    hs_list_t open_udp; /* ... of datagrams */
} hs_lua_sockets_t;

/* `net(context)` is called for each new socket: the net of the thread that runs the state, NULL if
 * there is none. */
void hs_lua_sockets_init(hs_lua_sockets_t *sockets, hs_lua_wakes_t *wakes,
                         hs_net_t *(*net)(void *context), void *context);

/* Closes all: from here on another thread may close the Lua state, since its objects no longer
 * touch a loop. */
void hs_lua_sockets_leave(hs_lua_sockets_t *sockets);
