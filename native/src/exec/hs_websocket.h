/*
 * A handler's WebSocket: messages sent become frames in the output chain of its stream, bytes in
 * the ring become messages reported to its owner, one at a time. Knows no connection:
 * conn/hs_conn_ws.h joins it with one.
 *
 *                    hs_websocket_open      Close of ours        Close of both, or the end
 *   begin ──► NEW ─────────────────► OPEN ─────────────► CLOSING ─────────────► OVER ──► free
 *             (101 is not written)    │                                          ▲
 *                                     └──────── Close of the client, failure ────┘
 *
 * Inbound backpressure: there is one current message at a time; until the owner is done with it, or
 * while it has paused, nothing more is parsed or received. Outbound: hs_websocket_send reports when
 * too much is unsent (then `drained` follows), a socket whose output is not read by the client is
 * not read, and sending beyond the limit closes the socket.
 *
 * Thread: the loop's.
 */
#pragma once

#include "base/hs_limits.h"
#include "exec/hs_job.h"
#include "exec/hs_stats.h"
#include "stream/hs_stream.h"
#include "ws/hs_ws_frame.h"
#include "ws/hs_ws_handshake.h"

typedef struct hs_websocket hs_websocket_t;
typedef struct hs_websocket_hub hs_websocket_hub_t;

/* Callbacks of a socket. None is called inside a call of the owner for this socket, except
 * hs_websocket_taken and hs_websocket_resume, which continue reading. */
typedef struct hs_websocket_owner {
    /* Frames can be sent, the 101 is on its way. */
    void (*opened)(hs_websocket_t *socket);
    /* HS_WS_TEXT or HS_WS_BINARY. True: the owner is done with it; false: it calls
     * hs_websocket_taken later, until then `message` stays valid. */
    bool (*message)(hs_websocket_t *socket, int kind, hs_span_t message);
    /* After HS_WEBSOCKET_WAIT: little is unsent. */
    void (*drained)(hs_websocket_t *socket);
    /* The last call: HS_WS_ABNORMAL if there was no Close frame, HS_WS_NONE for one without a code.
     * The owner frees the socket, now or later. */
    void (*closed)(hs_websocket_t *socket, int code, hs_span_t reason);
} hs_websocket_owner_t;

/*
 * An extension that transforms messages, negotiated in the handshake. A socket owns its codec; this
 * is the first member of the implementation.
 */
typedef struct hs_websocket_codec {
    /* Decodes a whole message received with RSV1, appending to `out`. HS_OK, HS_ERR_LIMIT: longer
     * than `most`, HS_ERR_INVALID: malformed, HS_ERR_NOMEM. */
    int (*decode)(struct hs_websocket_codec *codec, hs_span_t message, size_t most, hs_buf_t *out);
    /* Encodes a message to send, appending to `out` if that is worthwhile: true, then it is sent
     * with RSV1.
     */
    bool (*encode)(struct hs_websocket_codec *codec, int kind, hs_span_t message, hs_buf_t *out);
    void (*free)(struct hs_websocket_codec *codec);
    bool is_shared; /* by sockets: its encoding does not depend on earlier messages */
} hs_websocket_codec_t;

/* What a handler accepts. */
typedef struct hs_websocket_terms {
    hs_span_t protocols; /* comma-separated */
    hs_span_t origins;   /* as of hs_ws_allows_origin */
} hs_websocket_terms_t;

/* Shared by the sockets of a loop. owner: loop */
struct hs_websocket_hub {
    hs_loop_t *loop;
    const hs_limits_t *limits;
    hs_job_pool_t *jobs;    /* whose content_bytes also count collected messages */
    hs_stats_area_t *stats; /* NULL: nothing is counted */
    hs_log_t *log;
    hs_websocket_t *dirty; /* changed outside events: must be updated before the turn ends */
    /* Examines the client's offer (Sec-WebSocket-Extensions), and appends what it accepts to
     * `accepted`: the value of that field in the response. `*codec` NULL: nothing. False: the field
     * is malformed. The member NULL: no extension is known. */
    bool (*negotiate)(void *context, const hs_msg_t *msg, hs_buf_t *accepted,
                      hs_websocket_codec_t **codec);
    void *negotiate_context;
    struct hs_rooms *rooms; /* NULL: there are no topics */
    int closing;            /* the code with which new sockets are closed at once; 0: they are
                               not */
    /* The newest owner on this thread that takes over sockets; NULL: none does. Of its own type. */
    void *heir;
    /* The socket of this stream is over, with its Close frame, if any, in the output chain: unsent
     * output must be sent, then the stream ended. `closed` follows. */
    void (*over)(hs_websocket_hub_t *hub, hs_stream_t *stream);
    /* Sends the sockets' output now instead of at the end of the turn; sockets may be reported as
     * over. Not inside a call of a socket's owner. */
    void (*flush)(hs_websocket_hub_t *hub);
};

/* A message or control frame being collected, or output before the 101 is sent. */
struct hs_websocket_part;

/* owner: loop. An idle socket costs no more than this. */
struct hs_websocket {
    hs_stream_t *stream; /* NULL: NEW, or OVER */
    hs_websocket_hub_t *hub;
    const hs_websocket_owner_t *owner;
    void *owner_data;
    hs_websocket_t *next_dirty; /* itself at the end of the list; NULL: not in it */
    hs_websocket_t *next_ready; /* the owner's */
    hs_ws_reader_t reader;
    struct hs_websocket_part *part; /* NULL: nothing is collected */
    hs_websocket_codec_t *codec;    /* NULL: none */
    struct hs_access_kept *kept;    /* conn's, for the access log; NULL: nothing */
    struct hs_room_member *rooms;   /* that it has joined: exec/hs_rooms.h */
    uint32_t number;                /* the owner's */
    uint32_t active_ms;             /* when data last arrived, modulo 2^32 */
    uint32_t hand_at;               /* ring position of the current message, if it is there */
    uint32_t frames;                /* in this second */
    uint16_t second;
    uint16_t code;        /* of our Close frame; OVER: the code passed to `closed` */
    uint8_t events;       /* the owner's */
    uint8_t state : 2;    /* hs_websocket_state_t */
    bool in_ring : 1;     /* the message being received is contiguous in the ring */
    bool in_hand : 1;     /* the owner has a message, or must take it */
    bool is_text : 1;     /* ... which is text */
    bool is_decoded : 1;  /* ... and it is in the part's buffer for coded data */
    bool paused : 1;      /* the owner wants no messages */
    bool wants_drain : 1; /* `drained` is to be told */
    bool pinged : 1;      /* and nothing has arrived since */
    bool is_slow : 1;     /* it was sent to beyond its limit */
    bool is_queued : 1;   /* the owner's: it is in a list */
    bool waits : 1;       /* the owner's: it asks for each message */
};

_Static_assert(sizeof(hs_websocket_t) <= 2 * HS_CACHE_LINE + sizeof(void *),
               "what an idle WebSocket costs");

typedef enum hs_websocket_state {
    HS_WEBSOCKET_OPEN, /* also before the 101 */
    HS_WEBSOCKET_CLOSING,
    HS_WEBSOCKET_OVER,
} hs_websocket_state_t;

/* The result of hs_websocket_send when too much is unsent. */
#define HS_WEBSOCKET_WAIT 1

/*
 * Responds to the request of `job`, of which nothing was sent yet: 101 with the negotiated terms,
 * besides the fields that were set, or a refusal. 0 and the socket; the status of the refusal; or a
 * negative hs_err_t, in which case nothing changed. The response is complete unless it is negative.
 */
HS_NODISCARD int hs_websocket_begin(hs_job_t *job, const hs_websocket_terms_t *terms,
                                    const hs_websocket_owner_t *owner, void *owner_data,
                                    hs_websocket_t **socket);

/* The 101 was written to the output chain: earlier output follows. False: out of memory. */
HS_NODISCARD bool hs_websocket_open(hs_websocket_t *socket, hs_stream_t *stream);

/* Parses the ring until there is a current message, more bytes are needed, or too much is unsent.
 */
void hs_websocket_advance(hs_websocket_t *socket);

/* The stream has ended, or the response was never sent. `closed` follows, without `over`. */
void hs_websocket_lost(hs_websocket_t *socket);

/* Whether more should be received. */
static inline bool hs_websocket_reads(const hs_websocket_t *socket)
{
    return !socket->in_hand && (!socket->paused || socket->state == HS_WEBSOCKET_CLOSING);
}

/* Frees what only a message needed. */
void hs_websocket_rest(hs_websocket_t *socket);

/* After HS_WEBSOCKET_WAIT, or when reading stopped because too much was unsent. */
void hs_websocket_drained(hs_websocket_t *socket);

/* The next changed socket; NULL: there is none. */
hs_websocket_t *hs_websocket_next_dirty(hs_websocket_hub_t *hub);

/* ---- For its owner. ---- */

/*
 * Sends a message, in one frame. HS_OK, HS_WEBSOCKET_WAIT: accepted too, and `drained` follows;
 * HS_ERR_STATE: closed or closing; HS_ERR_NOMEM: closed now; HS_ERR_LIMIT: the client is too slow,
 * it is closed.
 */
HS_NODISCARD int hs_websocket_send(hs_websocket_t *socket, int kind, hs_span_t message);

/* At most HS_WS_CONTROL_MAX bytes, else HS_ERR_INVALID; as above. */
HS_NODISCARD int hs_websocket_ping(hs_websocket_t *socket, hs_span_t payload);

/* Starts the closing handshake; `closed` follows when the client answers, or on timeout.
 * HS_ERR_INVALID: a code that must not be sent; HS_ERR_STATE: it is closing or over. */
int hs_websocket_close(hs_websocket_t *socket, int code, hs_span_t reason);

/* The current message; valid until it is taken. */
hs_span_t hs_websocket_message(hs_websocket_t *socket);

/* The owner is done with the current message: reading continues. */
void hs_websocket_taken(hs_websocket_t *socket);

/* Reports no messages until hs_websocket_resume, except the current one. */
static inline void hs_websocket_pause(hs_websocket_t *socket)
{
    socket->paused = true;
}
void hs_websocket_resume(hs_websocket_t *socket);

/* In `closed`: hs_websocket_message is the reason from here on. */
void hs_websocket_keep_reason(hs_websocket_t *socket, hs_span_t reason);

/* Reports nothing more; the connection is closed with this code. For owners that end. */
void hs_websocket_abandon(hs_websocket_t *socket, int code);

/* Bytes sent but not yet in the kernel. */
size_t hs_websocket_unsent(const hs_websocket_t *socket);

/* After `closed`, or while NEW. */
void hs_websocket_free(hs_websocket_t *socket);

/* ---- Frames for many sockets. ---- */

/* A frame that was built once. owner: who holds a reference; the loop's thread counts them */
typedef struct hs_websocket_frame {
    struct hs_websocket_frame *coded;  /* the same encoded by `codec`; NULL: not shorter */
    const hs_websocket_codec_t *codec; /* of the first socket with a shared one */
    uint32_t references;
    uint8_t kind;
    uint8_t head_len;
    size_t len; /* of head and payload */
    char bytes[];
} hs_websocket_frame_t;

/* With one reference; NULL: out of memory. */
HS_NODISCARD hs_websocket_frame_t *hs_websocket_frame_new(int kind, hs_span_t message);
void hs_websocket_frame_release(hs_websocket_frame_t *frame);

/* As hs_websocket_send, for a frame: long ones are sent without copying. It is compressed once, for
 * all sockets with one shared codec; others get it uncompressed. */
int hs_websocket_send_frame(hs_websocket_t *socket, hs_websocket_frame_t *frame);
