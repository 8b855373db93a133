/*
 * An outbound socket: connect, receive, send, keep or close. Kept connections serve later sockets
 * with the same key (net/hs_reuse.h).
 *
 * Each call either has its outcome at once (DONE: in `outcomes`), or the loop calls the callback
 * when it is available (WAITS). One connect or receive and one send can wait at a time. The
 * callback may only record that an outcome is available: it must call nothing here.
 *
 * What a turn of the loop receives for one socket is bounded, and it receives only while a receive
 * waits: a fast peer neither fills memory nor starves other streams.
 *
 * Thread: the loop's.
 */
#pragma once

#include "net/hs_dial.h"
#include "net/hs_reuse.h"

/* The maximum length of a line, or of data up to a pattern. */
#define HS_SOCKET_LINE_MAX (1024 * 1024)
/* The most that one receive can request. */
#define HS_SOCKET_BYTES_MAX (256 * 1024 * 1024)
#define HS_SOCKET_PATTERN_MAX 128

typedef struct hs_socket hs_socket_t;

typedef enum hs_socket_side {
    HS_SOCKET_READ,  /* connect and receive */
    HS_SOCKET_WRITE, /* send */
} hs_socket_side_t;

typedef void (*hs_socket_done_fn)(void *context, hs_socket_t *socket, hs_socket_side_t side);

typedef enum hs_socket_progress {
    HS_SOCKET_DONE,
    HS_SOCKET_WAITS,
} hs_socket_progress_t;

/* `data` is valid until the next receive, keep or close. On failure it is what had arrived. */
typedef struct hs_socket_outcome {
    hs_failure_t failure;
    const char *data;
    size_t len;
} hs_socket_outcome_t;

typedef enum hs_socket_receive {
    HS_RECEIVE_BYTES, /* exactly so many */
    HS_RECEIVE_LINE,  /* up to LF, without it and a CR before it */
    HS_RECEIVE_ANY,   /* what is available, at least one byte and at most this many; 0: all */
    HS_RECEIVE_UNTIL, /* up to a pattern, without it */
    HS_RECEIVE_MORE,  /* everything available, if it is more than this many bytes; hs_socket_take
                         consumes it */
} hs_socket_receive_t;

/* The strings are copied. */
typedef struct hs_socket_target {
    const char *path; /* NULL: host and port */
    const char *host;
    uint16_t port;
    uint32_t timeout_ms; /* for connecting, including lookup, TLS and the wait for the pool; 0:
                            none */
    bool secure;         /* TLS as `tls` says, whose strings are copied as well */
    hs_tls_config_t tls; /* without a server name: host */
    bool pooled;
    const char *pool; /* a name that separates connections, NULL or "": none */
    hs_reuse_limits_t limits;
} hs_socket_target_t;

typedef enum hs_socket_state {
    HS_SOCKET_NEW,
    HS_SOCKET_QUEUED,  /* waits for the pool */
    HS_SOCKET_DIALING, /* the connection is being made */
    HS_SOCKET_SHAKING, /* ... and its TLS */
    HS_SOCKET_OPEN,
    HS_SOCKET_OVER, /* closed or kept; `failure` is what calls return */
} hs_socket_state_t;

/* owner: its user; the loop's thread */
struct hs_socket {
    hs_list_t all; /* in net->sockets; first */
    hs_net_t *net; /* NULL: it is gone */
    hs_socket_done_fn done;
    void *context;
    hs_socket_state_t state;
    hs_link_t *link; /* while SHAKING or OPEN */
    hs_dial_t *dial; /* while DIALING */
    hs_reuse_key_t *key;
    hs_reuse_wait_t wait; /* while QUEUED */
    hs_timer_t timer;     /* while QUEUED */
    char *target_text;    /* memory of the target's strings */
    hs_socket_target_t target;
    uint64_t connect_deadline_ms;
    hs_failure_t failure; /* that ended it */
    bool waits[2];        /* by side */
    uint64_t deadline_ms[2];
    hs_socket_outcome_t outcomes[2];
    /* Received but unread data: in.data from in_at on. */
    hs_buf_t in;
    size_t in_at;
    size_t room;  /* for one receive: more while the peer fills it */
    size_t given; /* bytes of the last outcome, released by the next call */
    size_t lost;  /* bytes put that were unsent when the connection broke */
    bool sends;   /* the loop sends what is unsent, and what is put behind it */
    hs_socket_receive_t receiving;
    size_t wanted;
    size_t searched; /* bytes from in_at on that were searched without a match */
    char pattern[HS_SOCKET_PATTERN_MAX];
    size_t pattern_len;
};

/* `done` is called until hs_socket_free. NULL: out of memory. */
HS_NODISCARD hs_socket_t *hs_socket_new(hs_net_t *net, hs_socket_done_fn done, void *context);

/* Closes, and reports nothing more. NULL is ignored. */
void hs_socket_free(hs_socket_t *socket);

/* Only of a new socket. A failure ends the socket. */
HS_NODISCARD hs_socket_progress_t hs_socket_connect(hs_socket_t *socket,
                                                    const hs_socket_target_t *target);

/*
 * Starts TLS on a plain connection, for protocols with their own upgrade: the outcome is that of
 * the handshake, on the reading side, and a failure ends the socket. It is no longer pooled. Unread
 * plain-text bytes end it as well: treating them as protected by TLS would allow injection by an
 * attacker in between. The strings are copied. Failures besides those of connect: BUSY,
 * NOT_CONNECTED.
 */
HS_NODISCARD hs_socket_progress_t hs_socket_start_tls(hs_socket_t *socket,
                                                      const hs_tls_config_t *tls,
                                                      uint32_t timeout_ms);

/*
 * `wanted`: for BYTES, ANY and MORE; `pattern`: for UNTIL. `timeout_ms` 0: no limit. After a
 * timeout, received data has been returned, and the socket stays usable. Failures: TIMEOUT, CLOSED,
 * TOO_LONG (no data is returned), BUSY, NOT_CONNECTED, NO_MEMORY.
 */
HS_NODISCARD hs_socket_progress_t hs_socket_receive(hs_socket_t *socket, hs_socket_receive_t what,
                                                    size_t wanted, const char *pattern,
                                                    uint32_t timeout_ms);

/* Consumes the first `len` bytes returned by HS_RECEIVE_MORE; the others are returned again.
 */
void hs_socket_take(hs_socket_t *socket, size_t len);

/*
 * Receives now what an event would deliver later, and returns whether the connection is still
 * usable: for one that was idle while its loop did not run. Results are reported as usual.
 */
bool hs_socket_look(hs_socket_t *socket);

/* Bytes put that the kernel has not accepted; of a lost connection, those it never will.
 */
size_t hs_socket_unsent(const hs_socket_t *socket);

/* Appends a copy to the data for hs_socket_send. False: the next hs_socket_send reports the
 * failure. */
bool hs_socket_put(hs_socket_t *socket, const char *data, size_t len);

/*
 * Sends the data put: done when little of it is unsent (HS_STREAM_LOW_WATER), so a failure may show
 * only in a later call. After a timeout the socket is closed, because part was sent.
 */
HS_NODISCARD hs_socket_progress_t hs_socket_send(hs_socket_t *socket, uint32_t timeout_ms);

/*
 * Releases this socket and keeps the connection for the next one with the same key, for `idle_ms`
 * (0: as the pool says). False: it is closed instead, because it is not pooled or not between two
 * messages: unread or unsent bytes, a waiting call, the end of the stream.
 */
bool hs_socket_keep(hs_socket_t *socket, uint32_t idle_ms);

/* Unsent output is still sent; waiting calls fail with CLOSED and are reported before this
 * returns. */
void hs_socket_end(hs_socket_t *socket);

/* The protocol negotiated by TLS (ALPN), "" if none. Valid while the socket is open. */
const char *hs_socket_protocol(const hs_socket_t *socket);

/* The channel binding of this connection (tls-server-end-point of RFC 5929): its length, 0 without
 * TLS or a certificate. `to` has room for HS_TLS_BINDING_MAX. */
size_t hs_socket_binding(const hs_socket_t *socket, unsigned char *to);

/* How many times the connection was used before. */
uint32_t hs_socket_reused(const hs_socket_t *socket);

/* Whether it is connected and, as far as known, neither side has closed. Makes no system call. */
bool hs_socket_is_alive(const hs_socket_t *socket);

/* Closes it and resets it to a new socket of the same net; false: the net is gone. */
bool hs_socket_reset(hs_socket_t *socket);

/* Closes it and removes it from its net, which it no longer touches: another thread may free it. */
void hs_socket_abandon(hs_socket_t *socket);
