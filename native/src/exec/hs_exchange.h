/*
 * An exchange: everything that one connection needs while bytes are pending (receive ring, parser,
 * request, response, output). Leased from a pool when bytes arrive and given back when the
 * connection is idle, so that an idle connection costs no more than its descriptor and hot memory
 * is reused. One exchange carries one message at a time.
 *
 * Owner: the connection that leased it. It is the only struct that may change threads: the I/O
 * thread lends it to a worker (request, response and what they refer to) and gets it back through
 * the mailbox. `out`, `out_body` and `lender` stay the I/O thread's also while it is lent: answers
 * to earlier requests of the connection go on being sent.
 * Memory is freed only with the pool, so that a Lua object that outlived its request can still be
 * compared with `view.handle`.
 */
#pragma once

#include <stdatomic.h>

#include "base/hs_err.h"
#include "base/hs_owner.h"
#include "data/hs_buf.h"
#include "data/hs_mpsc.h"
#include "data/hs_ring.h"
#include "exec/hs_lua_abi.h"
#include "http/hs_parse.h"
#include "httpserver.h"
#include "os/hs_log.h"
#include "os/hs_peer.h"

typedef struct hs_exchange hs_exchange_t;

#define HS_REQUEST_ID_PREFIX_CAP 16
#define HS_REQUEST_ID_CAP (HS_REQUEST_ID_PREFIX_CAP + 16) /* with '-', a number and a NUL */

/* Sending once is a state: calls that build are allowed only while HANDLING. */
typedef enum hs_answer_state {
    HS_ANSWER_IDLE,     /* no handler has this exchange */
    HS_ANSWER_HANDLING, /* a handler builds the response */
    HS_ANSWER_SENT,     /* the handler has said that it is complete */
} hs_answer_state_t;

/* Where a lent exchange is. */
typedef enum hs_loan {
    HS_LOAN_NONE,      /* not lent */
    HS_LOAN_QUEUED,    /* no worker has taken it yet */
    HS_LOAN_RUNNING,   /* a worker runs the handler */
    HS_LOAN_CANCELLED, /* nobody waits for it any more: to be given back without running */
} hs_loan_t;

struct hs_request {
    hs_msg_t msg;
};

struct hs_response {
    hs_answer_state_t state;
    int status;
    bool built;       /* the handler set a status, a field or content */
    bool close;       /* the handler asked for Connection: close */
    bool own_date;    /* the handler set Date */
    bool replaced;    /* by an error answer: the handler failed */
    hs_err_t failure; /* HS_ERR_NOMEM: what was built is incomplete and must not be sent */
    hs_buf_t fields;  /* "Name: value\r\n" lines */
    hs_buf_t body;
};

struct hs_exchange {
    hs_view_t view; /* first: Lua's pointer to a view is a pointer to the exchange */
    hs_ring_t ring;
    uint32_t parsed; /* ring position of the first byte that no parser has taken */
    char *arena;     /* ring.capacity bytes for a head that cannot stay in the ring */
    hs_parse_t parse;
    hs_request_t request;
    hs_response_t response;
    uint64_t content_since_ms; /* when the head was complete and content began to be waited for */
    hs_buf_t content;          /* request content that is not in the ring */
    hs_buf_t out;              /* serialised answers, in order */
    size_t out_sent;           /* bytes of `out` the kernel has taken */
    hs_buf_t out_body; /* content of the last answer when it is too large to copy behind `out` */
    size_t out_body_sent;
    uint64_t begun_us;          /* monotonic: when the request began to arrive */
    uint64_t number;            /* of the request in this reactor, from 1; 0: not counted */
    const char *id_prefix;      /* the pool's */
    char id[HS_REQUEST_ID_CAP]; /* made when it is asked for */
    hs_log_t *log;
    hs_exchange_t *next; /* in the pool */
    hs_peer_t peer;      /* set by whoever leased it */
    char peer_text[HS_PEER_TEXT_CAP];
    void *user_data;   /* what the C handler of this thread was given */
    bool wants_worker; /* the handler asked to be run again on a worker */
    bool in_worker;    /* a worker runs the handler */

    hs_owner_t owner;        /* the thread that may touch request and response */
    hs_mpsc_node_t way_back; /* in the mailbox */
    void *lender;            /* owner: io. Who waits for the answer; NULL: nobody any more */
    uint64_t route;          /* owner: io. Key of the time that its requests take */
    uint32_t worker;         /* number of the worker that has it, written before HS_LOAN_RUNNING */
    uint32_t cost_us;        /* how long the worker took */
    /* hs_loan_t. QUEUED by io; from there to RUNNING by the worker that takes it or to CANCELLED by
     * io when nobody waits any more, by compare-and-swap, release and acquire. */
    _Atomic int loan;
    hs_field_t fields[]; /* limits.max_headers */
};

_Static_assert(offsetof(hs_exchange_t, view) == 0,
               "Lua's pointer to a view is a pointer to the exchange");

/* Owner: one reactor's I/O thread. */
typedef struct hs_exchange_pool {
    hs_exchange_t *free;     /* ready to be leased, the one given back last first */
    hs_exchange_t *stripped; /* without ring, arena and buffers */
    uint32_t free_count;     /* of `free` */
    const hs_limits_t *limits;
    hs_log_t *log;
    uint32_t leased;
    char id_prefix[HS_REQUEST_ID_PREFIX_CAP]; /* with a request's number: an id nobody else has */
} hs_exchange_pool_t;

void hs_exchange_pool_init(hs_exchange_pool_t *pool, const hs_limits_t *limits, hs_log_t *log);

/* Frees the exchanges in the pool; all must have been given back. */
void hs_exchange_pool_free(hs_exchange_pool_t *pool);

/* An exchange with empty ring and output, NULL when out of memory. */
HS_NODISCARD hs_exchange_t *hs_exchange_lease(hs_exchange_pool_t *pool);
void hs_exchange_give_back(hs_exchange_pool_t *pool, hs_exchange_t *exchange);

/* Prepares for the first byte of the next message. */
void hs_exchange_begin_message(hs_exchange_t *exchange, const hs_limits_t *limits);

/* Ends the message: releases its bytes, forgets request and response. Objects that refer to it are
 * over. */
void hs_exchange_end_message(hs_exchange_t *exchange);

/* Everything was sent: the output is empty again. */
void hs_exchange_forget_sent(hs_exchange_t *exchange);

/* The request's id: "prefix-number". The length without NUL. */
size_t hs_exchange_format_id(const hs_exchange_t *exchange, char id[HS_REQUEST_ID_CAP]);

/* `to`, which has nothing unsent, takes over what `from` has. */
void hs_exchange_move_unsent(hs_exchange_t *to, hs_exchange_t *from);

static inline hs_exchange_t *hs_exchange_of_view(hs_view_t *view)
{
    return (hs_exchange_t *)(void *)view;
}

static inline hs_exchange_t *hs_exchange_of_response(hs_response_t *response)
{
    return HS_CONTAINER_OF(response, hs_exchange_t, response);
}

/* Bytes that wait to be sent. */
static inline size_t hs_exchange_unsent(const hs_exchange_t *exchange)
{
    return exchange->out.len - exchange->out_sent + exchange->out_body.len -
           exchange->out_body_sent;
}
