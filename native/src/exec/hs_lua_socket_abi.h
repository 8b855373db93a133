/*
 * The interface between C and Lua for outbound sockets, as in exec/hs_lua_abi.h: compiled as C, and
 * declared to the FFI by lua/moonring/socket.lua from the same text.
 *
 * Raise HS_LUA_SOCKET_ABI_VERSION with every change: socket.lua refuses to load against another
 * number.
 */
#pragma once

#include "base/hs_base.h"

#define HS_LUA_SOCKET_ABI_VERSION 8

/* Only plain declarations inside: no preprocessor, no attributes, under 4095 characters. */
#define HS_LUA_SOCKET_ABI(...)                                                                     \
    __VA_ARGS__                                                                                    \
    __attribute__((unused)) static const char hs_lua_socket_abi_text[] = #__VA_ARGS__;

/* clang-format off */
HS_LUA_SOCKET_ABI(
typedef struct hs_lua_socket {
    uint32_t waits[2];
    uint32_t failed[2];
    uint32_t ids[2];
    const char *data;
    size_t len;
} hs_lua_socket_t;

typedef struct hs_lua_socket_target {
    const char *path;
    const char *host;
    const char *pool;
    const char *server_name;
    const char *ca;
    const char *cert;
    const char *key;
    const char *alpn;
    uint32_t is_secure;
    uint32_t verifies;
    uint32_t port;
    uint32_t timeout_ms;
    uint32_t is_pooled;
    uint32_t pool_size;
    uint32_t pool_max;
    uint32_t pool_queue;
    uint32_t pool_idle_ms;
    uint32_t pool_max_age_ms;
} hs_lua_socket_target_t;

typedef struct hs_lua_socket_api {
    uint32_t version;
    void *self;
    hs_lua_socket_t *(*open)(void *self, uint32_t read_id, uint32_t write_id);
    int (*reset)(hs_lua_socket_t *socket);
    void (*free)(hs_lua_socket_t *socket);
    void (*connect)(hs_lua_socket_t *socket, const hs_lua_socket_target_t *target);
    void (*start_tls)(hs_lua_socket_t *socket, const hs_lua_socket_target_t *target);
    void (*receive)(hs_lua_socket_t *socket, int what, size_t wanted, const char *pattern,
                    uint32_t timeout_ms);
    void (*put)(hs_lua_socket_t *socket, const char *data, size_t len);
    void (*send)(hs_lua_socket_t *socket, uint32_t timeout_ms);
    void (*take)(hs_lua_socket_t *socket, size_t len);
    int (*look)(hs_lua_socket_t *socket);
    size_t (*unsent)(hs_lua_socket_t *socket);
    int (*keep)(hs_lua_socket_t *socket, uint32_t idle_ms);
    uint32_t (*reused)(hs_lua_socket_t *socket);
    int (*is_alive)(hs_lua_socket_t *socket);
    const char *(*failure)(hs_lua_socket_t *socket, int side);
    const char *(*protocol)(hs_lua_socket_t *socket);
    size_t (*binding)(hs_lua_socket_t *socket, uint8_t *to);
    hs_lua_socket_t *(*udp_open)(void *self, uint32_t id);
    void (*udp_free)(hs_lua_socket_t *udp);
    void (*udp_connect)(hs_lua_socket_t *udp, const char *host, uint32_t port,
                        uint32_t timeout_ms);
    void (*udp_receive)(hs_lua_socket_t *udp, size_t max, uint32_t timeout_ms);
    void (*udp_send)(hs_lua_socket_t *udp, const char *data, size_t len);
    const char *(*udp_failure)(hs_lua_socket_t *udp);
} hs_lua_socket_api_t;
)
/* clang-format on */

/*
 * hs_lua_socket_t: a socket, 0 its reading side (connect, receive), 1 its writing side (send).
 *   waits     1: the call on this side goes on; its end wakes the id
 *   failed    0: the last call on this side has succeeded; 2: the connection was closed, but not by
 *             an orderly end; 1: any other failure
 *   ids       what exec/hs_lua_wakes.h is given
 *   data, len what the last receive has given, also if it failed; until the next call
 *
 * Of a datagram socket only the reading side waits; `failed` of a send is that of side 1.
 *
 * hs_lua_socket_target_t: as hs_socket_target_t.
 * `take`, `look` (1: alive), `unsent`: as in net/hs_socket.h.
 * `start_tls` reads what the target says of TLS, and its timeout. `binding`: see
 * net/hs_socket.h. `protocol`: what TLS has agreed on, "" if nothing. `open` gives NULL where the
 * thread has no loop, or without memory. `reset` closes one for which nothing waits and makes it as
 * new: 1, or 0 if it cannot be used again. `free` closes, and what waits is woken. `failure` is a
 * text that ends with a NUL, until the next call.
 */
