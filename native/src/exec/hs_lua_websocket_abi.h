/*
 * What C and lua/moonring/websocket.lua share. One text, as in exec/hs_lua_abi.h; raise
 * HS_LUA_WEBSOCKET_ABI_VERSION with every change.
 */
#pragma once

#include "exec/hs_lua_abi.h"

#define HS_LUA_WEBSOCKET_ABI_VERSION 3

/* Only plain declarations inside: no preprocessor, no attributes, under 4095 characters. */
#define HS_LUA_WEBSOCKET_ABI(...)                                                                  \
    __VA_ARGS__                                                                                    \
    __attribute__((unused)) static const char hs_lua_websocket_abi_text[] = #__VA_ARGS__;

/* clang-format off */
HS_LUA_WEBSOCKET_ABI(
typedef struct hs_lua_websocket {
    struct hs_websocket *socket;
    uint32_t number;
    uint32_t code;
} hs_lua_websocket_t;

typedef struct hs_lua_websocket_terms {
    const char *protocols;
    const char *origins;
    size_t protocols_len;
    size_t origins_len;
    uint32_t waits;
} hs_lua_websocket_terms_t;

typedef struct hs_lua_websocket_api {
    uint32_t version;
    uint32_t id;
    void *self;
    uint32_t count;
    uint32_t takes_over;
    struct hs_websocket *socket;
    uint32_t number;
    uint32_t event;
    uint32_t code;
    const char *data;
    size_t len;
    int (*accept)(void *self, hs_view_t *view, const hs_lua_websocket_terms_t *terms,
                  hs_lua_websocket_t *made);
    int (*take)(void *self);
    int (*receive)(void *self, struct hs_websocket *socket);
    void (*done)(struct hs_websocket *socket);
    void (*pause)(struct hs_websocket *socket);
    void (*resume)(struct hs_websocket *socket);
    int (*send)(struct hs_websocket *socket, int kind, const char *data, size_t len);
    int (*ping)(struct hs_websocket *socket, const char *data, size_t len);
    int (*close)(struct hs_websocket *socket, int code, const char *reason, size_t len);
    size_t (*unsent)(struct hs_websocket *socket);
    int (*join)(struct hs_websocket *socket, const char *topic, size_t len, int binary, int skips);
    int (*leave)(struct hs_websocket *socket, const char *topic, size_t len);
    void (*release)(void *self, uint32_t number);
    int (*can_hand_over)(void *self, struct hs_websocket *socket);
    int (*hand_over)(void *self, struct hs_websocket *socket, const char *data, size_t len);
} hs_lua_websocket_api_t;
)
/* clang-format on */

/*
 * hs_lua_websocket_t: Lua's object. `socket` is NULL from the moment on in which Lua is told that
 * it is closed; `number` stands for it in tables, from 1, until it is released.
 *
 *   id          written by Lua: what events wake (exec/hs_lua_wakes.h)
 *   count       sockets that are not released
 *   takes_over  written by Lua while the file is loaded: 1 if it defines on_reload
 *   accept      hs_websocket_begin; `waits`: messages are not taken with their events, but by
 *               `receive`. `data`, `len`: the chosen protocol, until the next call
 *   take        the next event of any socket, 1, or 0: `number`, `event`, and
 *                 MESSAGE   `code` (1 text, 2 binary), `data` and `len` until the next `take`
 *                 CLOSED    `code`, and the reason
 *                 HANDED    `socket`, which belongs to this state from here on, and what the state
 *                           before it has given
 *   receive     the message in hand, as with an event: 1, or 0 if there is none; `done` lets it go
 *   release     after CLOSED: the number may be used again
 *   hand_over   to the state of the next generation, with at most HS_LUA_WEBSOCKET_HANDED_MAX
 * bytes: the number is released. `can_hand_over`: 1 if there is one that takes it
 *
 * join, leave  exec/hs_rooms.h: leave is 1, or 0 if it had not joined
 *
 * Others return what their namesakes in exec/hs_websocket.h return.
 */
enum {
    HS_LUA_WEBSOCKET_OPENED = 1,
    HS_LUA_WEBSOCKET_MESSAGE = 2,
    HS_LUA_WEBSOCKET_DRAINED = 4,
    HS_LUA_WEBSOCKET_CLOSED = 8,
    HS_LUA_WEBSOCKET_HANDED = 16,
};

#define HS_LUA_WEBSOCKET_HANDED_MAX (64u * 1024)
