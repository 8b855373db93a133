/*
 * An outbound socket as its user sees it: connect, receive, send, keep or close. Connections that
 * are kept serve later sockets of the same key (net/hs_reuse.h).
 *
 * Each call either has its outcome at once (DONE: in `outcomes`), or the callback tells from the
 * loop when it is there (WAITS). One connect or receive and one send can wait at a time. The
 * callback only notes that an outcome is there: it calls nothing here.
 *
 * What a turn of the loop receives for one socket is bounded, and it receives only while a receive
 * waits: a fast peer neither fills memory nor keeps other streams from their turn.
 *
 * Thread: the loop's.
 */
#pragma once

#include "net/hs_dial.h"
#include "net/hs_reuse.h"

/* A line, or what ends with a pattern, has at most so many bytes. */
#define HS_SOCKET_LINE_MAX (1024 * 1024)
/* What one receive can ask for by number. */
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

/* `data` is valid until the next receive, keep or close. With a failure it is what had arrived. */
typedef struct hs_socket_outcome {
    hs_failure_t failure;
    const char *data;
    size_t len;
} hs_socket_outcome_t;

typedef enum hs_socket_receive {
    HS_RECEIVE_BYTES, /* exactly so many */
    HS_RECEIVE_LINE,  /* up to LF, without it and a CR before it */
    HS_RECEIVE_ANY,   /* what is there, at least one byte and at most so many; 0: all */
    HS_RECEIVE_UNTIL, /* up to a pattern, without it */
} hs_socket_receive_t;

/* The strings are copied. */
typedef struct hs_socket_target {
    const char *path; /* NULL: host and port */
    const char *host;
    uint16_t port;
    uint32_t timeout_ms; /* of connecting, with name, TLS and the wait for the pool; 0: none */
    bool secure;         /* TLS as `tls` says, whose strings are copied as well */
    hs_tls_config_t tls; /* without a server name: host */
    bool pooled;
    const char *pool; /* a name that sets connections apart, NULL or "": none */
    hs_reuse_limits_t limits;
} hs_socket_target_t;

typedef enum hs_socket_state {
    HS_SOCKET_NEW,
    HS_SOCKET_QUEUED,  /* waits for the pool */
    HS_SOCKET_DIALING, /* the connection is being made */
    HS_SOCKET_SHAKING, /* ... and its TLS */
    HS_SOCKET_OPEN,
    HS_SOCKET_OVER, /* closed or kept; `failure` says what a call returns */
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
    /* What has arrived and was not given out: in.data from in_at on. */
    hs_buf_t in;
    size_t in_at;
    size_t room;  /* for one receive: more while the peer fills it */
    size_t given; /* bytes of the last outcome, that go with the next call */
    hs_socket_receive_t receiving;
    size_t wanted;
    size_t searched; /* bytes from in_at on that do not begin what is looked for */
    char pattern[HS_SOCKET_PATTERN_MAX];
    size_t pattern_len;
};

/* `done` is called until hs_socket_free. NULL: out of memory. */
HS_NODISCARD hs_socket_t *hs_socket_new(hs_net_t *net, hs_socket_done_fn done, void *context);

/* Closes, and nothing is reported any more. NULL is ignored. */
void hs_socket_free(hs_socket_t *socket);

/* Only of a new socket. A failure ends the socket. */
HS_NODISCARD hs_socket_progress_t hs_socket_connect(hs_socket_t *socket,
                                                    const hs_socket_target_t *target);

/*
 * `wanted`: for BYTES and ANY; `pattern`: for UNTIL. `timeout_ms` 0: no limit. After a timeout what
 * had arrived has been given out, and the socket can be used on. Failures: TIMEOUT, CLOSED,
 * TOO_LONG (nothing is given out), BUSY, NOT_CONNECTED, NO_MEMORY.
 */
HS_NODISCARD hs_socket_progress_t hs_socket_receive(hs_socket_t *socket, hs_socket_receive_t what,
                                                    size_t wanted, const char *pattern,
                                                    uint32_t timeout_ms);

/* Adds a copy to what hs_socket_send sends. False: the next hs_socket_send has the failure. */
bool hs_socket_put(hs_socket_t *socket, const char *data, size_t len);

/*
 * Sends what was put: done when little enough of it is unsent (HS_STREAM_LOW_WATER), so that a
 * failure may show only in a later call. After a timeout the socket is closed: a part was sent.
 */
HS_NODISCARD hs_socket_progress_t hs_socket_send(hs_socket_t *socket, uint32_t timeout_ms);

/*
 * Ends the use of this socket and keeps the connection for the next one of the same key, for
 * `idle_ms` (0: as the pool says). False: it is closed instead, because nothing is pooled, or it is
 * not in the state between two messages: bytes unread or unsent, a call that waits, the end of the
 * stream.
 */
bool hs_socket_keep(hs_socket_t *socket, uint32_t idle_ms);

/* What was sent and is unsent still goes out; calls that wait fail with CLOSED and are reported
 * before this returns. */
void hs_socket_end(hs_socket_t *socket);

/* The protocol that TLS has agreed on (ALPN), "" if none. Valid while the socket is open. */
const char *hs_socket_protocol(const hs_socket_t *socket);

/* How often the connection had served before. */
uint32_t hs_socket_reused(const hs_socket_t *socket);

/* Closes, and makes it as a new one of the same net; false: that is gone. */
bool hs_socket_reset(hs_socket_t *socket);

/* Closes it and takes it out of its net, which it does not touch from here on: another thread may
 * free it. */
void hs_socket_abandon(hs_socket_t *socket);
