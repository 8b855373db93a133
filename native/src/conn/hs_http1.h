/*
 * The server side of HTTP/1.1 (RFC 9112), over the buffers of a stream: turns received bytes into
 * events, and a response into bytes of the output chain. Pure: no descriptor, no clock, no handler.
 *
 *   reading   IDLE → HEAD → CONTENT_… → COMPLETE → IDLE
 *                                                    any → STOPPED: nothing more is read
 *   writing   the response of one message at a time: whole, or head, content, end
 *
 * A message is current from HS_HTTP1_HEAD until hs_http1_end_message: no other is read meanwhile.
 *
 * Thread: the loop's.
 */
#pragma once

#include "base/hs_limits.h"
#include "exec/hs_job.h"
#include "http/hs_date.h"
#include "http/hs_parse.h"
#include "stream/hs_buffers.h"

typedef enum hs_reading {
    HS_READING_IDLE,            /* between messages */
    HS_READING_HEAD,            /* a head has begun */
    HS_READING_CONTENT_RING,    /* content of known length is collected in the ring */
    HS_READING_CONTENT_BUFFER,  /* ... or received into the job's buffer */
    HS_READING_CONTENT_CHUNKED, /* content is decoded from chunks */
    HS_READING_CONTENT_SIZED,   /* content of known length is passed on as it arrives */
    HS_READING_TAKEN_OVER,      /* ... and so is everything: it is not HTTP */
    HS_READING_COMPLETE,        /* the message is complete, its response is not */
    HS_READING_STOPPED,         /* no further message is read */
} hs_reading_t;

/* How the content of a streamed response ends. */
typedef enum hs_framing {
    HS_FRAMING_NONE,   /* no content: HEAD, 204, 304 */
    HS_FRAMING_LENGTH, /* by Content-Length */
    HS_FRAMING_CHUNKED,
    HS_FRAMING_CLOSE, /* at the connection's end: HTTP/1.0, or a handler's own protocol */
} hs_framing_t;

/* owner: loop */
typedef struct hs_http1 {
    hs_reading_t reading : 8;
    hs_framing_t framing : 8; /* of the response that is being streamed */
    bool passes_content : 1;  /* content is passed on as it arrives */
    bool content_ended : 1;   /* its last chunk was read, HS_HTTP1_COMPLETE must be reported */
    bool keep_alive : 1;      /* framing announced in the head of the streamed response */
    bool head_sent : 1;       /* the head of the streamed response was written */
    bool taken_over : 1;      /* hs_http1_take_over */
    uint16_t refused;         /* HS_HTTP1_REFUSED: the status */
} hs_http1_t;

typedef enum hs_http1_event {
    HS_HTTP1_NEED_MORE, /* bytes must arrive first */
    HS_HTTP1_HEAD,      /* a head that is followed by content is complete: hs_http1_collect or
                           hs_http1_pass_on decides what to do with the content */
    HS_HTTP1_CONTENT,   /* passing on: a piece is in `piece`, valid until the next call */
    HS_HTTP1_COMPLETE,  /* the message is complete; collected content is in msg->body */
    HS_HTTP1_REFUSED,   /* `refused` has the status; nothing after it may be parsed */
} hs_http1_event_t;

/* The state of an HTTP/1 stream during a message, besides the ring: scratch of the buffers.
 */
typedef struct hs_http1_scratch {
    hs_parse_t parse;
    uint64_t content_left;     /* CONTENT_SIZED */
    uint64_t content_since_ms; /* since when content has been awaited; used by the connection */
    uint64_t content_last_ms;  /* when streamed content last arrived; likewise */
    hs_field_t fields[];       /* limits.max_headers */
} hs_http1_scratch_t;

static inline size_t hs_http1_scratch_size(const hs_limits_t *limits)
{
    return sizeof(hs_http1_scratch_t) + limits->max_headers * sizeof(hs_field_t);
}

/* The context of the calls below. owner: loop */
typedef struct hs_http1_context {
    const hs_limits_t *limits;
    hs_job_pool_t *jobs;
    const hs_date_t *date;
    hs_parse_shared_t parse;
} hs_http1_context_t;

/* All of these must outlive it. */
static inline void hs_http1_context_init(hs_http1_context_t *context, const hs_limits_t *limits,
                                         hs_job_pool_t *jobs, const hs_date_t *date)
{
    context->limits = limits;
    context->jobs = jobs;
    context->date = date;
    hs_parse_shared_init(&context->parse, limits);
}

/* The first byte of a message has arrived: reading is IDLE. */
void hs_http1_begin(hs_http1_t *http1, hs_http1_context_t *context, hs_buffers_t *buffers,
                    hs_job_t *job);

/* Reads until there is something to report. Not while IDLE. `piece`: see HS_HTTP1_CONTENT. */
HS_NODISCARD hs_http1_event_t hs_http1_next(hs_http1_t *http1, const hs_http1_context_t *context,
                                            hs_buffers_t *buffers, hs_job_t *job, hs_span_t *piece);

/* After HS_HTTP1_HEAD: content is collected and msg->body will have it. 0, or the status of a
 * refusal: no memory for it. */
HS_NODISCARD int hs_http1_collect(hs_http1_t *http1, const hs_http1_context_t *context,
                                  hs_buffers_t *buffers, hs_job_t *job);

/* After HS_HTTP1_HEAD: content is reported as it arrives. False: out of memory. */
HS_NODISCARD bool hs_http1_pass_on(hs_http1_t *http1, hs_buffers_t *buffers, hs_job_t *job);

/* After HS_HTTP1_HEAD: whether all content of known length has arrived. */
static inline bool hs_http1_has_content(const hs_buffers_t *buffers, const hs_job_t *job)
{
    const hs_msg_t *msg = &job->request.msg;
    return !msg->chunked && buffers->ring.head - buffers->parsed >= msg->content_length;
}

/* Decoded content that has arrived since the head: for the minimum rate. */
uint64_t hs_http1_content_received(const hs_http1_t *http1, const hs_buffers_t *buffers,
                                   const hs_job_t *job);

/* Appends `100 Continue` if the client waits for it, once. False: out of memory. */
HS_NODISCARD bool hs_http1_continue(const hs_http1_t *http1, hs_buffers_t *buffers, hs_job_t *job);

/*
 * Writes the whole response of a job that is DONE. `may_keep_alive`: this side does not want to
 * close. Returns whether the connection stays open; `*content_len` is the number of bytes written
 * besides the head.
 */
HS_NODISCARD bool hs_http1_respond(const hs_http1_context_t *context, hs_buffers_t *buffers,
                                   hs_job_t *job, bool may_keep_alive, size_t *content_len);

/* A streamed response: its head, content, end. `fields`: those of the response; `has_length`: its
 * length was announced, otherwise it is unknown. False: out of memory, the stream must be
 * closed. */
HS_NODISCARD bool hs_http1_begin_response(hs_http1_t *http1, const hs_http1_context_t *context,
                                          hs_buffers_t *buffers, hs_job_t *job,
                                          const hs_buf_t *fields, bool has_length,
                                          bool may_keep_alive);
/* Takes over `content` if it is large. */
HS_NODISCARD bool hs_http1_put_content(hs_http1_t *http1, hs_buffers_t *buffers, hs_buf_t *content);
HS_NODISCARD bool hs_http1_end_response(hs_http1_t *http1, hs_buffers_t *buffers);

/* The handler of the current message takes over the connection: incoming data is reported as
 * content until the peer ends, output is sent unframed, and no message follows. */
void hs_http1_take_over(hs_http1_t *http1);

/* Writes a response from the server itself: the message is refused. False: out of memory. */
HS_NODISCARD bool hs_http1_refuse(hs_http1_t *http1, const hs_http1_context_t *context,
                                  hs_buffers_t *buffers, int status, bool is_head);

/* The current message is over: the ring continues after it. */
void hs_http1_end_message(hs_http1_t *http1, hs_buffers_t *buffers);

/* Head and content in the ring have been copied elsewhere: the ring may be reused. */
void hs_http1_release_ring(hs_http1_t *http1, hs_buffers_t *buffers);

static inline hs_http1_scratch_t *hs_http1_scratch(const hs_buffers_t *buffers)
{
    return buffers->scratch;
}

/* A message has begun, but its request is incomplete. */
static inline bool hs_http1_is_receiving(const hs_http1_t *http1)
{
    return http1->reading > HS_READING_IDLE && http1->reading < HS_READING_COMPLETE;
}

static inline bool hs_http1_is_in_content(const hs_http1_t *http1)
{
    return http1->reading > HS_READING_HEAD && http1->reading < HS_READING_COMPLETE;
}
