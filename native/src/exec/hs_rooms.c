#include "exec/hs_rooms.h"

#include "base/hs_alloc.h"
#include "base/hs_utf8.h"

/* Sockets that get a message before output is flushed: each needs buffers until then. With fewer
 * than this, each gets a turn's output in one piece. */
#define SENT_AT_ONCE 128

/* owner: loop */
struct hs_room {
    hs_room_t *next; /* of its bucket */
    hs_rooms_t *rooms;
    hs_topic_subscriber_t *subscriber;
    hs_list_t members;
    size_t len;
    char topic[];
};

/* A socket in a room. owner: loop */
typedef struct hs_room_member {
    hs_list_t node; /* of the room */
    hs_room_t *room;
    hs_websocket_t *socket;
    struct hs_room_member *next; /* of the socket's */
    hs_room_terms_t terms;
} hs_room_member_t;

void hs_rooms_init(hs_rooms_t *rooms, hs_topic_hub_t *topics)
{
    *rooms = (hs_rooms_t){ .topics = topics };
}

void hs_rooms_end(hs_rooms_t *rooms)
{
    hs_free(rooms->by_bucket);
    rooms->by_bucket = NULL;
}

/* ---- What is published. ---- */

/* Frames of one message: built when the first member needs one. */
typedef struct frames {
    hs_span_t message;
    hs_websocket_frame_t *text;
    hs_websocket_frame_t *binary;
    bool is_checked;
    bool is_utf8;
} frames_t;

/* NULL: out of memory. */
static hs_websocket_frame_t *frame_for(frames_t *frames, hs_room_terms_t terms)
{
    if (!terms.is_binary && !frames->is_checked) {
        frames->is_checked = true;
        frames->is_utf8 = hs_utf8_is_valid(frames->message.data, frames->message.len);
    }
    bool is_text = !terms.is_binary && frames->is_utf8;
    hs_websocket_frame_t **frame = is_text ? &frames->text : &frames->binary;
    if (*frame == NULL)
        *frame = hs_websocket_frame_new(is_text ? HS_WS_TEXT : HS_WS_BINARY, frames->message);
    return *frame;
}

static void send_to(const hs_room_member_t *member, frames_t *frames)
{
    hs_websocket_t *socket = member->socket;
    if (member->terms.skips && hs_websocket_unsent(socket) > HS_STREAM_HIGH_WATER) {
        if (socket->hub->stats != NULL)
            hs_stats_add(socket->hub->stats, HS_STATS_WS_SKIPPED, 1);
        return;
    }
    hs_websocket_frame_t *frame = frame_for(frames, member->terms);
    /* A failure means that it is closed or closing: its end follows. */
    if (frame != NULL)
        hs_websocket_send_frame(socket, frame);
}

static void close_room_if_empty(hs_room_t *room);

static void on_message(void *context, const char *message, size_t length, uint64_t lost)
{
    hs_room_t *room = context;
    hs_rooms_t *rooms = room->rooms;
    frames_t frames = { .message = hs_span(message, length) };
    unsigned sent = 0;
    (void)lost; /* counted by the hub */
    rooms->sending = room;
    for (hs_list_t *node = room->members.next; node != &room->members; node = rooms->next) {
        const hs_room_member_t *member = HS_CONTAINER_OF(node, hs_room_member_t, node);
        hs_websocket_hub_t *hub = member->socket->hub;
        rooms->next = node->next;
        send_to(member, &frames);
        /* The buffers of earlier ones are reused. */
        if (++sent % SENT_AT_ONCE == 0)
            hub->flush(hub);
    }
    rooms->sending = NULL;
    rooms->next = NULL;
    if (frames.text != NULL)
        hs_websocket_frame_release(frames.text);
    if (frames.binary != NULL)
        hs_websocket_frame_release(frames.binary);
    close_room_if_empty(room);
}

/* ---- Rooms. ---- */

static hs_room_t **find_room(const hs_rooms_t *rooms, hs_span_t topic)
{
    hs_room_t **link = &rooms->by_bucket[hs_topic_bucket(topic)];
    while (*link != NULL && !hs_span_equals(hs_span((*link)->topic, (*link)->len), topic))
        link = &(*link)->next;
    return link;
}

/* NULL: out of memory. */
static hs_room_t *open_room(hs_rooms_t *rooms, hs_span_t topic)
{
    if (rooms->by_bucket == NULL)
        rooms->by_bucket = hs_alloc_zeroed(HS_TOPIC_BUCKETS, sizeof(*rooms->by_bucket));
    if (rooms->by_bucket == NULL)
        return NULL;
    hs_room_t **link = find_room(rooms, topic);
    if (*link != NULL)
        return *link;
    hs_room_t *room = hs_alloc_zeroed(1, sizeof(*room) + topic.len);
    if (room == NULL)
        return NULL;
    room->rooms = rooms;
    hs_list_init(&room->members);
    room->len = topic.len;
    memcpy(room->topic, topic.data, topic.len);
    room->subscriber =
        hs_topic_hub_subscribe(rooms->topics, room->topic, room->len, on_message, room);
    if (room->subscriber == NULL) {
        hs_free(room);
        return NULL;
    }
    *link = room;
    return room;
}

static void close_room_if_empty(hs_room_t *room)
{
    hs_rooms_t *rooms = room->rooms;
    if (!hs_list_empty(&room->members) || rooms->sending == room)
        return;
    hs_room_t **link = find_room(rooms, hs_span(room->topic, room->len));
    HS_ASSERT(*link == room);
    *link = room->next;
    hs_topic_hub_unsubscribe(rooms->topics, room->subscriber);
    hs_free(room);
}

/* ---- Members. ---- */

static hs_room_member_t **find_member(hs_websocket_t *socket, hs_span_t topic)
{
    hs_room_member_t **link = &socket->rooms;
    while (*link != NULL &&
           !hs_span_equals(hs_span((*link)->room->topic, (*link)->room->len), topic))
        link = &(*link)->next;
    return link;
}

static void remove_member(hs_room_member_t **link)
{
    hs_room_member_t *member = *link;
    hs_room_t *room = member->room;
    *link = member->next;
    if (room->rooms->next == &member->node)
        room->rooms->next = member->node.next;
    hs_list_remove(&member->node);
    hs_free(member);
    close_room_if_empty(room);
}

int hs_rooms_join(hs_rooms_t *rooms, hs_websocket_t *socket, hs_span_t topic, hs_room_terms_t terms)
{
    if (topic.len < 1 || topic.len > HS_TOPIC_MAX)
        return HS_ERR_INVALID;
    if (socket->state != HS_WEBSOCKET_OPEN)
        return HS_ERR_STATE;
    hs_room_member_t *member = *find_member(socket, topic);
    if (member != NULL) {
        member->terms = terms;
        return HS_OK;
    }
    member = hs_alloc_zeroed(1, sizeof(*member));
    hs_room_t *room = member != NULL ? open_room(rooms, topic) : NULL;
    if (room == NULL) {
        hs_free(member);
        return HS_ERR_NOMEM;
    }
    *member =
        (hs_room_member_t){ .room = room, .socket = socket, .next = socket->rooms, .terms = terms };
    hs_list_init(&member->node);
    hs_list_push_back(&room->members, &member->node);
    socket->rooms = member;
    return HS_OK;
}

bool hs_rooms_leave(hs_websocket_t *socket, hs_span_t topic)
{
    hs_room_member_t **link = find_member(socket, topic);
    if (*link == NULL)
        return false;
    remove_member(link);
    return true;
}

void hs_rooms_leave_all(hs_websocket_t *socket)
{
    while (socket->rooms != NULL)
        remove_member(&socket->rooms);
}
