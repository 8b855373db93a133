/*
 * The I/O thread: runs the loop of the connections, accepts, keeps the clock, and follows orders
 * (stop, drain, hand over).
 *
 * It works in turns: up to HS_IO_BATCH ready connections are read, parsed and handled, then all
 * their responses are sent.
 *
 * Thread: everything but hs_io_request_* and hs_io_switch belongs to the thread that calls
 * hs_io_run.
 */
#pragma once

#include <stdatomic.h>

#include "conn/hs_conn_move.h"
#include "conn/hs_observer.h"
#include "exec/hs_rooms.h"
#include "exec/hs_span_log.h"
#include "exec/hs_stats_page.h"
#include "exec/hs_websocket_deflate.h"
#include "net/hs_handshakes.h"
#include "net/hs_net.h"
#include "os/hs_append.h"
#include "os/hs_ev.h"
#include "server/hs_handoff.h"
#include "stream/hs_readahead.h"

#define HS_IO_BATCH 32
#define HS_IO_LISTENERS_MAX 16

typedef struct hs_io hs_io_t;

/* owner: io */
typedef struct hs_io_listener {
    hs_ev_io_t watcher;
    bool open;
    bool is_tls;
} hs_io_listener_t;

/* owner: io. See server/hs_inbox.h. */
typedef struct hs_inbox {
    hs_ev_io_t watcher;
    bool open;
    bool handing_over;  /* connections are handed over, none is taken */
    bool blocked;       /* the pair takes nothing now */
    bool is_full;       /* nothing is taken until connections were closed */
    uint64_t log_ms;    /* a further pause is logged again from then on */
    uint64_t resume_ms; /* 0: an event reports when to continue */
    size_t limit;       /* descriptors of this process */
    uint64_t taken;     /* connections not yet added to HS_STATS_PASSED */
    /* After a crash: when to see next whether others have fewer connections, 0: never; how often
     * still. */
    uint64_t level_ms;
    unsigned level_looks;
    char *buffer; /* one message */
} hs_inbox_t;

/* Receives accepted descriptors instead of the io. */
typedef void (*hs_io_accepted_fn)(void *context, int fd);

/* The kinds of lines, as indexes. */
enum {
    HS_IO_ACCESS,
    HS_IO_SPANS,
    HS_IO_LINES
};

/* Lines of the observer and their destinations. owner: io */
typedef struct hs_io_lines {
    const char *name;     /* for the log */
    hs_access_log_t *log; /* NULL: off */
    hs_append_t file;
    char *path;
    uint64_t flush_ms; /* written at the end of the first turn after it */
    bool failed;
} hs_io_lines_t;

struct hs_io {
    hs_conn_env_t env;     /* first: with the loop in it, whose context this is */
    hs_workers_t *workers; /* NULL: handlers run inline */
    hs_net_t net;          /* outbound sockets of handlers */
    hs_readahead_t readahead;
    bool has_net;
    hs_topic_hub_t topics;            /* subscriptions of handlers */
    hs_rooms_t rooms;                 /* WebSockets that have joined topics */
    hs_websocket_deflates_t deflates; /* of WebSockets */
    struct hs_keeper *keeper;         /* borrowed; NULL: none */
    uint64_t net_bytes_in; /* counted by `net`, not from clients; likewise net_bytes_out */
    uint64_t net_bytes_out;
    hs_handler_host_t host;
    hs_handoff_t *handoff;      /* from the boss; NULL: this io itself accepts */
    hs_io_accepted_fn accepted; /* NULL: this io serves what it accepts */
    /* It drains, and has passed on all waiting connections; called before it closes its listeners.
     * With `accepted`. */
    void (*accepted_all)(void *context, uint32_t drain_timeout_ms);
    void *accepted_context;
    hs_io_listener_t listeners[HS_IO_LISTENERS_MAX];
    size_t listener_count;
    hs_handshakes_t handshakes; /* that addresses may begin */
    uint16_t tls_port;          /* the port for TLS; 0: none */
    hs_ev_io_t control;
    bool control_open;
    bool turn_begun;               /* now and date were read in this turn */
    int64_t real_offset_ms;        /* wall clock less monotonic clock */
    uint64_t real_offset_until_ms; /* when it is to be read again */
    uint64_t horizon_ms;           /* data that arrived before this has been received */
    uint64_t full_since_ms;        /* since when polls have been full */
    uint32_t full_polls;           /* ... and how many */
    size_t accept_fd_end; /* a connection with this descriptor or a higher one is the last to be
                             accepted */
    bool accept_paused;
    bool conn_freed;  /* a connection was closed since accepting was paused */
    uint64_t trim_ms; /* when to return free memory */
    uint64_t accept_resume_ms;
    uint64_t accept_log_ms;     /* a further pause is logged again from then on */
    uint64_t drain_deadline_ms; /* of a drain or a hand-over */
    uint64_t idle_grace_end_ms; /* while env.idle_grace */
    hs_inbox_t inbox;
    hs_observer_t observer;
    uint32_t stats_slot;
    uint32_t stats_side;
    hs_stats_page_t *page; /* borrowed; NULL: counters go to private_stats */
    uint64_t by_state[HS_STATS_STATES];
    hs_io_lines_t lines[HS_IO_LINES];
    hs_span_log_t spans; /* for calls to other servers: writes to lines[HS_IO_SPANS] */
    int pin_cpu;         /* -1: not bound */
    bool has_cut;        /* a drain ran out of time; for the caller of hs_io_run, after it
                            returns */
    hs_event_fn on_event;
    void *on_event_ud;
    hs_stats_area_t private_stats;

    bool is_switching; /* handlers switch to another generation in this turn */

    /* Written by any thread or signal handler, read by io when it wakes. Release/acquire, so that
     * the timeout is seen with the drain request. */
    _Atomic bool stop_requested;
    _Atomic bool drain_requested;
    _Atomic uint32_t drain_timeout_ms;
    _Atomic bool hand_over_requested;
    _Atomic uint32_t hand_over_timeout_ms;
    _Atomic uint64_t switched_to; /* a generation not reported yet, 0: none; relaxed */
    _Atomic bool reopen_requested;
    /* The certificates for new connections from the next turn on, NULL: no change. Exchanged by any
     * thread (release), which frees what it takes out, and by io (acquire). */
    _Atomic(hs_tls_server_t *) next_tls;
};

/* The identity of an io's reactor, and its outputs. */
typedef struct hs_io_identity {
    int reactor_index; /* -1: it has none */
    uint64_t generation;
    hs_stats_page_t *page; /* borrowed, with a slot and a side of this number; NULL: none */
    uint32_t stats_slot;
    uint32_t stats_side;
    hs_access_log_format_t access_log;
    const char *access_log_path; /* copied; NULL: access_log_fd */
    int access_log_fd;           /* borrowed */
    uint32_t trace_sample; /* of this many requests without a trace, one has a span; 0: no spans */
    int trace_fd;          /* borrowed */
    int pin_cpu;           /* -1: any */
} hs_io_identity_t;

typedef struct hs_io_config {
    const hs_limits_t *limits;
    const hs_forwarding_t *forwarding;   /* NULL: no proxy is trusted. It outlives the io */
    const hs_shared_set_t *shared;       /* NULL: none. It outlives the io */
    const hs_compression_t *compression; /* NULL: none. It outlives the io */
    hs_ws_terms_wanted_t websocket_deflate;
    bool proxy_protocol;  /* connections begin with its header */
    hs_handler_t handler; /* of the I/O thread */
    hs_dispatch_mode_t dispatch;
    uint32_t worker_count;        /* 0: none */
    uint32_t queue_capacity;      /* requests that may wait for a worker */
    hs_handler_factory_t factory; /* of the workers' handlers; outlives the io */
    hs_topics_t *topics;          /* of the process; outlives the io. NULL: none */
    hs_topics_waiter_t topics_waiter;
    hs_log_t *log;
    hs_event_fn on_event;
    void *on_event_ud;
    const hs_io_identity_t *identity; /* NULL: none of it */
    bool streams_content;             /* handlers are called at the end of the head */
    uint32_t handshake_rate;          /* per address and second; 0: any */
    uint16_t port;                    /* of the first listener, for handlers; 0: none */
    struct hs_keeper *keeper;         /* connections survive the process; NULL: they do not */
} hs_io_config_t;

HS_NODISCARD int hs_io_init(hs_io_t *io, const hs_io_config_t *config, hs_errinfo_t *error);

/* A descriptor whose end of file means that the supervisor is gone. The io owns it from here on,
 * even if this fails. */
HS_NODISCARD int hs_io_set_control(hs_io_t *io, int fd, hs_errinfo_t *error);

_Static_assert(offsetof(hs_io_t, env) == 0, "the context of an io's loop is the io");

/* Opens a connection over an accepted descriptor; the io owns it unless this fails. `shed`: over
 * the limit. */
HS_NODISCARD int hs_io_open_conn(hs_io_t *io, int fd, const hs_peer_t *peer, bool shed);

/* The same with TLS. */
HS_NODISCARD int hs_io_open_tls(hs_io_t *io, int fd, const hs_peer_t *peer);

/* One moved from another reactor, with `bytes` received but not handled there. */
HS_NODISCARD int hs_io_adopt_conn(hs_io_t *io, int fd, const hs_conn_moved_t *moved,
                                  const char *bytes);

/* Closes a connection that continues elsewhere. */
void hs_io_forget_conn(hs_io_t *io, hs_conn_t *conn);

/* Reads the clocks, once a turn. */
void hs_io_begin_turn(hs_io_t *io);

/* Serves until stopped, drained or orphaned and drained. */
int hs_io_run(hs_io_t *io);

/*
 * After hs_io_run. Waits at most `wait_ms` for handlers still running on workers and returns how
 * many remain: their threads are abandoned, and neither the io nor anything named in its
 * configuration may be freed.
 */
uint32_t hs_io_free(hs_io_t *io, uint32_t wait_ms);

/* The handlers of its threads were replaced with those of another generation: all threads, also
 * sleeping ones, switch in run_tasks. Any thread. */
void hs_io_switch(hs_io_t *io, uint64_t generation);

/* Any thread, signal handlers too. */
void hs_io_request_stop(hs_io_t *io);
void hs_io_request_drain(hs_io_t *io, uint32_t timeout_ms);
void hs_io_request_hand_over(hs_io_t *io, uint32_t timeout_ms);
void hs_io_request_reopen(hs_io_t *io);

/* New connections use these certificates soon. Takes `server`. Any thread. */
void hs_io_set_tls(hs_io_t *io, hs_tls_server_t *server);
