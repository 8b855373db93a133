/*
 * HTTP/1.1 as a server speaks it (RFC 9112), over the buffers of a stream: received bytes become
 * events, a response becomes bytes of the output chain. Pure: no descriptor, no clock, no handler.
 *
 *   reading   IDLE → HEAD → CONTENT_… → COMPLETE → IDLE
 *                                                    any → STOPPED: nothing more is read
 *   writing   the response of one message at a time: whole, or head, content, end
 *
 * A message is in hand from HS_HTTP1_HEAD until hs_http1_end_message: meanwhile no other one is
 * read.
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
    HS_READING_CONTENT_SIZED,   /* content of known length is passed on as it comes */
    HS_READING_COMPLETE,        /* all of the message is there, its response is not */
    HS_READING_STOPPED,         /* no further message is read */
} hs_reading_t;

/* How the content of a streamed response ends. */
typedef enum hs_framing {
    HS_FRAMING_NONE,   /* no content: HEAD, 204, 304 */
    HS_FRAMING_LENGTH, /* by Content-Length */
    HS_FRAMING_CHUNKED,
    HS_FRAMING_CLOSE, /* by the connection's end: HTTP/1.0 */
} hs_framing_t;

/* owner: loop */
typedef struct hs_http1 {
    hs_reading_t reading;
    hs_framing_t framing;    /* of the response that is being streamed */
    bool passes_content : 1; /* content is passed on as it comes */
    bool content_ended : 1;  /* its last chunk was read, HS_HTTP1_COMPLETE is to be told */
    bool keep_alive : 1;     /* what the head of the streamed response said */
    bool head_sent : 1;      /* the head of the streamed response was written */
    uint16_t refused;        /* HS_HTTP1_REFUSED: the status */
} hs_http1_t;

typedef enum hs_http1_event {
    HS_HTTP1_NEED_MORE, /* bytes must arrive first */
    HS_HTTP1_HEAD,      /* a head with content behind it is complete: hs_http1_collect or
                           hs_http1_pass_on says what is to be done with the content */
    HS_HTTP1_CONTENT,   /* passing on: a piece is in `piece`, valid until the next call */
    HS_HTTP1_COMPLETE,  /* the message is complete; collected content is in msg->body */
    HS_HTTP1_REFUSED,   /* `refused` has the status; nothing that follows may be parsed */
} hs_http1_event_t;

/* What an HTTP/1 stream keeps beside the ring while a message is in hand: scratch of the buffers.
 */
typedef struct hs_http1_scratch {
    hs_parse_t parse;
    uint64_t content_left;     /* CONTENT_SIZED */
    uint64_t content_since_ms; /* when content began to be waited for: the connection's */
    uint64_t content_last_ms;  /* when content that is passed on has arrived last: likewise */
    hs_field_t fields[];       /* limits.max_headers */
} hs_http1_scratch_t;

static inline size_t hs_http1_scratch_size(const hs_limits_t *limits)
{
    return sizeof(hs_http1_scratch_t) + limits->max_headers * sizeof(hs_field_t);
}

/* What the calls below work on. owner: loop */
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

/* The first byte of a message is there: reading is IDLE. */
void hs_http1_begin(hs_http1_t *http1, hs_http1_context_t *context, hs_buffers_t *buffers,
                    hs_job_t *job);

/* Reads on until there is something to tell. Not while IDLE. `piece`: see HS_HTTP1_CONTENT. */
HS_NODISCARD hs_http1_event_t hs_http1_next(hs_http1_t *http1, const hs_http1_context_t *context,
                                            hs_buffers_t *buffers, hs_job_t *job, hs_span_t *piece);

/* After HS_HTTP1_HEAD: content is collected and msg->body will have it. 0, or the status of a
 * refusal: no memory for it. */
HS_NODISCARD int hs_http1_collect(hs_http1_t *http1, const hs_http1_context_t *context,
                                  hs_buffers_t *buffers, hs_job_t *job);

/* After HS_HTTP1_HEAD: content is told as it arrives. False: out of memory. */
HS_NODISCARD bool hs_http1_pass_on(hs_http1_t *http1, hs_buffers_t *buffers, hs_job_t *job);

/* After HS_HTTP1_HEAD: whether all of the content is there, known by its length. */
static inline bool hs_http1_has_content(const hs_buffers_t *buffers, const hs_job_t *job)
{
    const hs_msg_t *msg = &job->request.msg;
    return !msg->chunked && buffers->ring.head - buffers->parsed >= msg->content_length;
}

/* Content that has arrived since the head, decoded: what a minimum rate is measured by. */
uint64_t hs_http1_content_received(const hs_http1_t *http1, const hs_buffers_t *buffers,
                                   const hs_job_t *job);

/* Appends `100 Continue` if the client waits for it, once. False: out of memory. */
HS_NODISCARD bool hs_http1_continue(const hs_http1_t *http1, hs_buffers_t *buffers, hs_job_t *job);

/*
 * Writes the whole response of a job that is DONE. `may_keep_alive`: this side wants no end.
 * Returns whether the connection stays open, `*content_len` is what was written beside the head.
 */
HS_NODISCARD bool hs_http1_respond(const hs_http1_context_t *context, hs_buffers_t *buffers,
                                   hs_job_t *job, bool may_keep_alive, size_t *content_len);

/* A streamed response: its head, content, end. False: out of memory, the stream is to be closed. */
HS_NODISCARD bool hs_http1_begin_response(hs_http1_t *http1, const hs_http1_context_t *context,
                                          hs_buffers_t *buffers, hs_job_t *job,
                                          bool may_keep_alive);
/* Takes `content` over if it is large. */
HS_NODISCARD bool hs_http1_put_content(hs_http1_t *http1, hs_buffers_t *buffers, hs_buf_t *content);
HS_NODISCARD bool hs_http1_end_response(hs_http1_t *http1, hs_buffers_t *buffers);

/* Writes a response from the server itself: the message is refused. False: out of memory. */
HS_NODISCARD bool hs_http1_refuse(hs_http1_t *http1, const hs_http1_context_t *context,
                                  hs_buffers_t *buffers, int status, bool is_head);

/* The message in hand is over: the ring goes on behind it. */
void hs_http1_end_message(hs_http1_t *http1, hs_buffers_t *buffers);

/* The head and content that lie in the ring have been copied elsewhere: it may be used for what
 * follows. */
void hs_http1_release_ring(hs_http1_t *http1, hs_buffers_t *buffers);

static inline hs_http1_scratch_t *hs_http1_scratch(const hs_buffers_t *buffers)
{
    return buffers->scratch;
}

/* A message has begun whose request is not complete. */
static inline bool hs_http1_is_receiving(const hs_http1_t *http1)
{
    return http1->reading > HS_READING_IDLE && http1->reading < HS_READING_COMPLETE;
}

static inline bool hs_http1_is_in_content(const hs_http1_t *http1)
{
    return http1->reading > HS_READING_HEAD && http1->reading < HS_READING_COMPLETE;
}
