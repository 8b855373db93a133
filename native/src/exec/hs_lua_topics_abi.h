/*
 * What C and lua/moonring/topics.lua share. One text, as in exec/hs_lua_abi.h; raise
 * HS_LUA_TOPICS_ABI_VERSION with every change.
 */
#pragma once

#include "base/hs_base.h"

#define HS_LUA_TOPICS_ABI_VERSION 1

/* Only plain declarations inside: no preprocessor, no attributes, under 4095 characters. */
#define HS_LUA_TOPICS_ABI(...)                                                                     \
    __VA_ARGS__                                                                                    \
    __attribute__((unused)) static const char hs_lua_topics_abi_text[] = #__VA_ARGS__;

/* clang-format off */
HS_LUA_TOPICS_ABI(
typedef struct hs_lua_topics_api {
    uint32_t version;
    uint32_t id;
    void *self;
    const char *data;
    size_t len;
    double lost;
    uint32_t number;
    int (*publish)(void *self, const char *topic, size_t topic_len, const char *message,
                   size_t message_len);
    int (*subscribe)(void *self, uint32_t number, const char *topic, size_t topic_len);
    void (*unsubscribe)(void *self, uint32_t number);
    int (*take)(void *self);
} hs_lua_topics_api_t;
)
/* clang-format on */

/*
 * id                 written by Lua: what messages wake (exec/hs_lua_wakes.h)
 * data, len, lost    what the last `take` that returned 1 has given: until the next one; `number`
 * is that of the subscription publish, subscribe 0, or what hs_topics_post returns. Numbers of
 * subscriptions are Lua's, from 0, each used once at a time. While the file is loaded, and the
 * state belongs to no thread, a subscription begins when it does.
 */
