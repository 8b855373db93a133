/*
 * Connections that are kept for further use. A key names everything that two users of one
 * connection must agree on (address, server name, verification, certificates); it has its idle
 * connections, the one that was used last on top, counts the used ones, and can limit both.
 *
 * An idle connection is watched: data or an end of the stream closes it. It is also looked at
 * before it is used again.
 *
 * Thread: the loop's.
 */
#pragma once

#include "net/hs_link.h"

/* 0 of `max`, `max_age_ms`: no limit. */
typedef struct hs_reuse_limits {
    uint32_t size;  /* idle connections kept per key */
    uint32_t max;   /* connections per key, idle and used */
    uint32_t queue; /* users that may wait while there are `max` connections */
    uint32_t idle_ms;
    uint32_t max_age_ms; /* since it was connected */
} hs_reuse_limits_t;

/* A user that waits for a connection. owner: the user */
typedef struct hs_reuse_wait hs_reuse_wait_t;
struct hs_reuse_wait {
    hs_list_t link;
    /* A connection to take over (hs_link_give), or NULL: there is room to open one. Either way the
     * user then counts as having a connection, unless it returns false: it could not open one. May
     * be called from a call on another socket. */
    bool (*ready)(hs_reuse_wait_t *wait, hs_link_t *link);
};

/* owner: its net, from the first user or idle connection to the last */
typedef struct hs_reuse_key {
    struct hs_reuse_key *next; /* in its bucket */
    hs_list_t idle;
    hs_list_t waits;
    uint32_t idle_count;
    uint32_t used_count;
    uint32_t wait_count;
    hs_reuse_limits_t limits; /* what its last user said */
    size_t len;
    char bytes[];
} hs_reuse_key_t;

typedef enum hs_reuse_taken {
    HS_REUSE_TAKEN, /* *link */
    HS_REUSE_ROOM,  /* none is idle: make one */
    HS_REUSE_WAITS, /* wait->ready comes */
    HS_REUSE_FULL,  /* and too many wait */
    HS_REUSE_NO_MEMORY,
} hs_reuse_taken_t;

/* TAKEN, ROOM: the caller counts as a user of *key until hs_reuse_leave or hs_reuse_keep. */
HS_NODISCARD hs_reuse_taken_t hs_reuse_take(hs_net_t *net, const char *bytes, size_t len,
                                            const hs_reuse_limits_t *limits, hs_reuse_key_t **key,
                                            hs_link_t **link, hs_reuse_wait_t *wait);

/* Waits no longer. */
void hs_reuse_cancel(hs_net_t *net, hs_reuse_key_t *key, hs_reuse_wait_t *wait);

/* A user closed its connection, or could not open one. */
void hs_reuse_leave(hs_net_t *net, hs_reuse_key_t *key);

/* The connection of a user of link->key becomes idle, goes to a waiter, or is closed because too
 * many are idle. `idle_ms` 0: that of the limits. */
void hs_reuse_keep(hs_link_t *link, uint32_t idle_ms);

/* Closes the idle connections of all keys; there must be no waiters. */
void hs_reuse_free(hs_net_t *net);
