/* WebSockets of C handlers: the calls of httpserver.h. */
#include "exec/hs_rooms.h"
#include "exec/hs_websocket.h"

_Static_assert((int)HS_WS_MESSAGE_TEXT == HS_WS_TEXT && (int)HS_WS_MESSAGE_BINARY == HS_WS_BINARY,
               "kinds are opcodes");
_Static_assert(HS_WRITE_WAIT == HS_WEBSOCKET_WAIT, "what sends say");

/* The socket's reference to its handler. owner: the socket */
typedef struct of_handler {
    const hs_ws_handler_t *handler;
    void *user_data;
} of_handler_t;

static void on_opened(hs_websocket_t *socket)
{
    const of_handler_t *own = socket->owner_data;
    if (own->handler->on_open != NULL)
        own->handler->on_open(socket, own->user_data);
}

static bool on_message(hs_websocket_t *socket, int kind, hs_span_t message)
{
    const of_handler_t *own = socket->owner_data;
    if (own->handler->on_message != NULL)
        own->handler->on_message(socket, (hs_ws_kind_t)kind, message.data, message.len,
                                 own->user_data);
    return true;
}

static void on_drained(hs_websocket_t *socket)
{
    const of_handler_t *own = socket->owner_data;
    if (own->handler->on_drain != NULL)
        own->handler->on_drain(socket, own->user_data);
}

static void on_closed(hs_websocket_t *socket, int code, hs_span_t reason)
{
    of_handler_t *own = socket->owner_data;
    hs_rooms_leave_all(socket);
    if (own->handler->on_close != NULL)
        own->handler->on_close(socket, code, reason.data, reason.len, own->user_data);
    hs_free(own);
    hs_websocket_free(socket);
}

static const hs_websocket_owner_t owner = {
    .opened = on_opened,
    .message = on_message,
    .drained = on_drained,
    .closed = on_closed,
};

static hs_span_t span_of(const char *text)
{
    return text != NULL ? hs_span(text, strlen(text)) : hs_span("", 0);
}

int hs_ws_accept(hs_response_t *response, const hs_ws_handler_t *handler, void *user_data)
{
    const hs_websocket_terms_t terms = {
        .protocols = span_of(handler->protocols),
        .origins = span_of(handler->origins != NULL ? handler->origins : "same"),
    };
    hs_job_t *job = hs_job_of_response(response);
    if (hs_job_state(job) != HS_JOB_RUNNING)
        return HS_ERR_STATE;
    of_handler_t *own = hs_alloc(sizeof(*own));
    if (own == NULL)
        return HS_ERR_NOMEM;
    *own = (of_handler_t){ handler, user_data };
    hs_websocket_t *socket;
    int result = hs_websocket_begin(job, &terms, &owner, own, &socket);
    if (result != HS_OK)
        hs_free(own);
    return result;
}

int hs_ws_send(hs_ws_t *socket, hs_ws_kind_t kind, const char *data, size_t length)
{
    if (kind != HS_WS_MESSAGE_TEXT && kind != HS_WS_MESSAGE_BINARY)
        return HS_ERR_INVALID;
    return hs_websocket_send(socket, (int)kind, hs_span(data, length));
}

int hs_ws_ping(hs_ws_t *socket, const char *data, size_t length)
{
    return hs_websocket_ping(socket, hs_span(data, length));
}

int hs_ws_close(hs_ws_t *socket, int code, const char *reason)
{
    return hs_ws_is_code(code) ? hs_websocket_close(socket, code, span_of(reason)) : HS_ERR_INVALID;
}

void hs_ws_pause(hs_ws_t *socket)
{
    hs_websocket_pause(socket);
}

void hs_ws_resume(hs_ws_t *socket)
{
    hs_websocket_resume(socket);
}

size_t hs_ws_unsent(const hs_ws_t *socket)
{
    return hs_websocket_unsent(socket);
}

int hs_ws_join(hs_ws_t *socket, const char *topic, unsigned flags)
{
    const hs_room_terms_t terms = { .is_binary = (flags & HS_WS_JOIN_BINARY) != 0,
                                    .skips = (flags & HS_WS_JOIN_SKIP) != 0 };
    hs_rooms_t *rooms = socket->hub->rooms;
    return rooms != NULL ? hs_rooms_join(rooms, socket, span_of(topic), terms) : HS_ERR_STATE;
}

bool hs_ws_leave(hs_ws_t *socket, const char *topic)
{
    return hs_rooms_leave(socket, span_of(topic));
}

static int publish(hs_topics_t *topics, const char *topic, const char *message, size_t length)
{
    return topics != NULL ? hs_topics_post(topics, span_of(topic), hs_span(message, length))
                          : HS_ERR_STATE;
}

int hs_ws_publish(hs_ws_t *socket, const char *topic, const char *message, size_t length)
{
    return publish(socket->hub->jobs->topics, topic, message, length);
}

int hs_req_publish(const hs_request_t *request, const char *topic, const char *message,
                   size_t length)
{
    const hs_job_t *job = HS_CONTAINER_OF(request, hs_job_t, request);
    return publish(job->pool->topics, topic, message, length);
}
