#include "exec/hs_lua_websocket.h"

#include "exec/hs_res.h"
#include "exec/hs_rooms.h"

/* Numbers that a table begins with. */
#define FIRST_CAPACITY 16

/* ---- Numbers. ---- */

static bool is_number(const hs_websocket_t *entry)
{
    return ((uintptr_t)entry & 1) != 0;
}

static void put_free(hs_lua_websockets_t *all, uint32_t number)
{
    all->sockets[number] = (hs_websocket_t *)((uintptr_t)all->next_free << 1 | 1);
    all->next_free = number;
}

static bool grow(hs_lua_websockets_t *all)
{
    uint32_t capacity = all->capacity > 0 ? 2 * all->capacity : FIRST_CAPACITY;
    hs_websocket_t **grown = hs_realloc(all->sockets, capacity * sizeof(hs_websocket_t *));
    if (grown == NULL)
        return false;
    uint32_t first = all->capacity > 0 ? all->capacity : 1;
    grown[0] = NULL;
    all->sockets = grown;
    all->capacity = capacity;
    for (uint32_t number = capacity - 1; number >= first; number--)
        put_free(all, number);
    return true;
}

/* The number of the socket, 0: out of memory. */
static uint32_t add(hs_lua_websockets_t *all, hs_websocket_t *socket)
{
    if (all->next_free == 0 && !grow(all))
        return 0;
    uint32_t number = all->next_free;
    all->next_free = (uint32_t)((uintptr_t)all->sockets[number] >> 1);
    all->sockets[number] = socket;
    all->api.count++;
    return number;
}

/* ---- Events of sockets. ---- */

static void note(hs_websocket_t *socket, uint8_t event)
{
    hs_lua_websockets_t *all = socket->owner_data;
    socket->events |= event;
    if (socket->is_queued)
        return;
    socket->is_queued = true;
    socket->next_ready = NULL;
    if (all->first_ready == NULL) {
        all->first_ready = socket;
        hs_lua_wake(all->wakes, all->api.id);
    } else {
        all->last_ready->next_ready = socket;
    }
    all->last_ready = socket;
}

static void on_opened(hs_websocket_t *socket)
{
    note(socket, HS_LUA_WEBSOCKET_OPENED);
}

static bool on_message(hs_websocket_t *socket, int kind, hs_span_t message)
{
    (void)kind;
    (void)message;
    note(socket, HS_LUA_WEBSOCKET_MESSAGE);
    return false;
}

static void on_drained(hs_websocket_t *socket)
{
    note(socket, HS_LUA_WEBSOCKET_DRAINED);
}

static void on_closed(hs_websocket_t *socket, int code, hs_span_t reason)
{
    hs_rooms_leave_all(socket);
    (void)code; /* socket->code */
    hs_websocket_keep_reason(socket, reason);
    socket->events &= (uint8_t)~HS_LUA_WEBSOCKET_MESSAGE;
    note(socket, HS_LUA_WEBSOCKET_CLOSED);
}

static const hs_websocket_owner_t owner = {
    .opened = on_opened,
    .message = on_message,
    .drained = on_drained,
    .closed = on_closed,
};

/* ---- What Lua takes. ---- */

static void show_message(hs_lua_websockets_t *all, hs_websocket_t *socket)
{
    hs_span_t message = hs_websocket_message(socket);
    all->api.code = socket->is_text ? HS_WS_TEXT : HS_WS_BINARY;
    all->api.data = message.data;
    all->api.len = message.len;
}

/* The message of the last event has become a Lua string. */
static void let_go(hs_lua_websockets_t *all)
{
    hs_websocket_t *socket = all->taken;
    all->taken = NULL;
    if (socket != NULL)
        hs_websocket_taken(socket);
}

/* ---- A reload: sockets move to the state of the next generation. ---- */

/* Data handed over with a socket, until Lua takes it. owner: the receiving state */
struct hs_lua_handed {
    struct hs_lua_handed *next;
    uint32_t number;
    size_t len;
    char data[];
};

static void forget_ready(hs_lua_websockets_t *all, hs_websocket_t *socket)
{
    if (!socket->is_queued)
        return;
    hs_websocket_t *before = NULL;
    for (hs_websocket_t *at = all->first_ready; at != socket; at = at->next_ready)
        before = at;
    if (before == NULL)
        all->first_ready = socket->next_ready;
    else
        before->next_ready = socket->next_ready;
    if (all->last_ready == socket)
        all->last_ready = before;
    socket->is_queued = false;
}

static int can_hand_over(void *self, hs_websocket_t *socket)
{
    const void *heir = socket->hub->heir;
    return heir != NULL && heir != self && socket->state == HS_WEBSOCKET_OPEN;
}

/* The current message moves as well. */
static int hand_over(void *self, hs_websocket_t *socket, const char *data, size_t len)
{
    hs_lua_websockets_t *all = self;
    if (!can_hand_over(self, socket))
        return HS_ERR_STATE;
    if (len > HS_LUA_WEBSOCKET_HANDED_MAX)
        return HS_ERR_LIMIT;
    hs_lua_websockets_t *heir = socket->hub->heir;
    struct hs_lua_handed *handed = hs_alloc(sizeof(*handed) + len);
    if (handed == NULL || (heir->next_free == 0 && !grow(heir))) {
        hs_free(handed);
        return HS_ERR_NOMEM;
    }
    if (all->taken == socket)
        let_go(all);
    forget_ready(all, socket);
    put_free(all, socket->number);
    all->api.count--;
    socket->owner_data = heir;
    socket->number = add(heir, socket);
    socket->waits = false;
    *handed = (struct hs_lua_handed){ .number = socket->number, .len = len };
    memcpy(handed->data, data, len);
    if (heir->last_handed == NULL)
        heir->handed = handed;
    else
        heir->last_handed->next = handed;
    heir->last_handed = handed;
    note(socket, HS_LUA_WEBSOCKET_HANDED);
    return HS_OK;
}

/* The data handed over with this socket: the first, unless some were closed meanwhile. */
static void show_handed(hs_lua_websockets_t *all, hs_websocket_t *socket)
{
    struct hs_lua_handed *handed;
    hs_free(all->shown);
    all->shown = NULL;
    while ((handed = all->handed) != NULL) {
        all->handed = handed->next;
        if (all->handed == NULL)
            all->last_handed = NULL;
        if (handed->number == socket->number)
            break;
        hs_free(handed);
    }
    all->shown = handed;
    all->api.socket = socket;
    all->api.data = handed != NULL ? handed->data : NULL;
    all->api.len = handed != NULL ? handed->len : 0;
}

/* ---- Calls of Lua. ---- */

/* The event to report first. */
static uint8_t next_event(hs_websocket_t *socket)
{
    static const uint8_t order[] = { HS_LUA_WEBSOCKET_HANDED, HS_LUA_WEBSOCKET_OPENED,
                                     HS_LUA_WEBSOCKET_MESSAGE, HS_LUA_WEBSOCKET_DRAINED,
                                     HS_LUA_WEBSOCKET_CLOSED };
    for (size_t i = 0; i < sizeof(order); i++)
        if ((socket->events & order[i]) != 0)
            return order[i];
    return 0;
}

static int take(void *self)
{
    hs_lua_websockets_t *all = self;
    uint8_t event = 0;
    hs_websocket_t *socket = NULL;
    let_go(all);
    while (event == 0) {
        socket = all->first_ready;
        if (socket == NULL)
            return 0;
        all->first_ready = socket->next_ready;
        socket->is_queued = false;
        event = next_event(socket);
        socket->events &= (uint8_t)~event;
        if (socket->events != 0)
            note(socket, 0); /* behind the others */
        if (event == HS_LUA_WEBSOCKET_MESSAGE && !socket->in_hand)
            event = 0; /* `receive` was first */
    }
    all->api.number = socket->number;
    all->api.event = event;
    if (event == HS_LUA_WEBSOCKET_MESSAGE) {
        if (socket->waits)
            return 1; /* `receive` takes it */
        show_message(all, socket);
        all->taken = socket;
    } else if (event == HS_LUA_WEBSOCKET_HANDED) {
        show_handed(all, socket);
    } else if (event == HS_LUA_WEBSOCKET_CLOSED) {
        hs_span_t reason = hs_websocket_message(socket);
        all->api.code = socket->code;
        all->api.data = reason.data;
        all->api.len = reason.len;
    }
    return 1;
}

static int receive(void *self, hs_websocket_t *socket)
{
    hs_lua_websockets_t *all = self;
    if (!socket->in_hand)
        return 0;
    show_message(all, socket);
    return 1;
}

static void release(void *self, uint32_t number)
{
    hs_lua_websockets_t *all = self;
    if (number == 0 || number >= all->capacity || is_number(all->sockets[number]))
        return;
    hs_websocket_t *socket = all->sockets[number];
    if (all->taken == socket)
        all->taken = NULL;
    HS_ASSERT(!socket->is_queued);
    hs_rooms_leave_all(socket); /* the 101 was never sent */
    put_free(all, number);
    all->api.count--;
    hs_websocket_free(socket);
}

static int accept(void *self, hs_view_t *view, const hs_lua_websocket_terms_t *terms,
                  hs_lua_websocket_t *made)
{
    hs_lua_websockets_t *all = self;
    hs_job_t *job = hs_job_of_view(view);
    bool is_suspended = hs_job_state(job) == HS_JOB_SUSPENDED;
    hs_websocket_t *socket;
    const hs_websocket_terms_t wanted = {
        .protocols = hs_span(terms->protocols, terms->protocols_len),
        .origins = hs_span(terms->origins, terms->origins_len),
    };
    if (all->next_free == 0 && !grow(all))
        return HS_ERR_NOMEM;
    int result = hs_websocket_begin(job, &wanted, &owner, all, &socket);
    if (result < 0)
        return result;
    if (is_suspended)
        all->respond(all->context, job);
    if (result > 0)
        return result;
    socket->waits = terms->waits != 0;
    socket->number = add(all, socket);
    made->socket = socket;
    made->number = socket->number;
    hs_span_t protocol = { NULL, 0 };
    (void)hs_res_find_field(&job->response, HS_SPAN_LITERAL("Sec-WebSocket-Protocol"), &protocol);
    all->api.data = protocol.data;
    all->api.len = protocol.len;
    return HS_OK;
}

static int send(hs_websocket_t *socket, int kind, const char *data, size_t len)
{
    if (kind == HS_WS_TEXT && !hs_utf8_is_valid(data, len))
        return HS_ERR_INVALID;
    return hs_websocket_send(socket, kind, hs_span(data, len));
}

static int ping(hs_websocket_t *socket, const char *data, size_t len)
{
    return hs_websocket_ping(socket, hs_span(data, len));
}

static int close_socket(hs_websocket_t *socket, int code, const char *reason, size_t len)
{
    return hs_utf8_is_valid(reason, len) ? hs_websocket_close(socket, code, hs_span(reason, len))
                                         : HS_ERR_INVALID;
}

static int join(hs_websocket_t *socket, const char *topic, size_t len, int binary, int skips)
{
    const hs_room_terms_t terms = { .is_binary = binary != 0, .skips = skips != 0 };
    hs_rooms_t *rooms = socket->hub->rooms;
    return rooms != NULL ? hs_rooms_join(rooms, socket, hs_span(topic, len), terms) : HS_ERR_NOMEM;
}

static int leave(hs_websocket_t *socket, const char *topic, size_t len)
{
    return hs_rooms_leave(socket, hs_span(topic, len));
}

static size_t unsent(hs_websocket_t *socket)
{
    return hs_websocket_unsent(socket);
}

static void pause_socket(hs_websocket_t *socket)
{
    hs_websocket_pause(socket);
}

void hs_lua_websockets_init(hs_lua_websockets_t *websockets, hs_lua_wakes_t *wakes,
                            void (*respond)(void *context, hs_job_t *job), void *context)
{
    *websockets = (hs_lua_websockets_t){
        .wakes = wakes,
        .respond = respond,
        .context = context,
        .api = { .version = HS_LUA_WEBSOCKET_ABI_VERSION,
                 .self = websockets,
                 .accept = accept,
                 .take = take,
                 .receive = receive,
                 .done = hs_websocket_taken,
                 .pause = pause_socket,
                 .resume = hs_websocket_resume,
                 .send = send,
                 .ping = ping,
                 .close = close_socket,
                 .unsent = unsent,
                 .join = join,
                 .leave = leave,
                 .can_hand_over = can_hand_over,
                 .hand_over = hand_over,
                 .release = release },
    };
}

void hs_lua_websockets_attach(hs_lua_websockets_t *all, hs_websocket_hub_t *hub)
{
    all->hub = hub;
    if (hub != NULL)
        hub->heir = all->api.takes_over != 0 ? all : NULL;
}

void hs_lua_websockets_leave(hs_lua_websockets_t *all)
{
    if (all->hub != NULL && all->hub->heir == all)
        all->hub->heir = NULL;
    all->first_ready = all->taken = NULL;
    for (uint32_t number = 1; number < all->capacity; number++) {
        hs_websocket_t *socket = all->sockets[number];
        if (is_number(socket))
            continue;
        put_free(all, number);
        all->api.count--;
        socket->is_queued = false;
        hs_rooms_leave_all(socket);
        if ((hs_websocket_state_t)socket->state == HS_WEBSOCKET_OVER && socket->owner == NULL)
            hs_websocket_free(socket); /* it was told to be closed */
        else
            hs_websocket_abandon(socket, HS_WS_RESTART);
    }
}

void hs_lua_websockets_free(hs_lua_websockets_t *all)
{
    hs_lua_websockets_leave(all);
    for (struct hs_lua_handed *handed; (handed = all->handed) != NULL;) {
        all->handed = handed->next;
        hs_free(handed);
    }
    hs_free(all->shown);
    hs_free(all->sockets);
}
