/*
 * Rooms: WebSockets that have joined topics. A published message is read once per loop
 * (exec/hs_topic_hub.h), framed once, and sent to each socket of its room. No handler runs.
 *
 * A socket stays in its rooms until it leaves them or its end, whatever happens to its handlers.
 *
 * Thread: the loop's.
 */
#pragma once

#include "exec/hs_topic_hub.h"
#include "exec/hs_websocket.h"

typedef struct hs_room hs_room_t;
typedef struct hs_rooms hs_rooms_t;

/* Of a loop. owner: loop */
struct hs_rooms {
    hs_topic_hub_t *topics; /* borrowed */
    hs_room_t **by_bucket;  /* HS_TOPIC_BUCKETS; NULL: none was ever joined */
    hs_room_t *sending;     /* while a message is sent to its members: not to be freed */
    hs_list_t *next;        /* ... the member that follows */
};

/* Prepares it. `topics` outlives it. */
void hs_rooms_init(hs_rooms_t *rooms, hs_topic_hub_t *topics);

/* No socket is left. */
void hs_rooms_end(hs_rooms_t *rooms);

/* How messages of a topic are sent. Text that is not UTF-8 is sent as binary. */
typedef struct hs_room_terms {
    bool is_binary;
    bool skips; /* a message is dropped if too much is unsent; otherwise a socket over its limit is
                   closed */
} hs_room_terms_t;

/* HS_OK, also if it had joined before: the new terms apply. HS_ERR_INVALID: the topic's length;
 * HS_ERR_NOMEM. A socket that is over cannot join: HS_ERR_STATE. */
HS_NODISCARD int hs_rooms_join(hs_rooms_t *rooms, hs_websocket_t *socket, hs_span_t topic,
                               hs_room_terms_t terms);

/* False: it had not joined. */
bool hs_rooms_leave(hs_websocket_t *socket, hs_span_t topic);

/* The socket's end. */
void hs_rooms_leave_all(hs_websocket_t *socket);
