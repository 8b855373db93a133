/*
 * The I/O thread: joins the event loop, the connections and the clock. All that touches a
 * descriptor is here; what the bytes mean is in conn/.
 *
 * It works in turns: up to HS_IO_BATCH ready connections are read, parsed and handled, then all
 * their answers are sent. Connections are watched edge-triggered for both directions from accept
 * on, so that the steady state makes no epoll_ctl call; `readable` and `writable` remember what the
 * kernel has said.
 *
 * Thread: everything but hs_io_request_* belongs to the thread that calls hs_io_run.
 */
#pragma once

#include <stdatomic.h>

#include "conn/hs_observer.h"
#include "data/hs_slab.h"
#include "data/hs_wheel.h"
#include "exec/hs_stats_page.h"
#include "os/hs_append.h"
#include "os/hs_ev.h"
#include "server/hs_handoff.h"

#define HS_IO_BATCH 32
#define HS_IO_LISTENERS_MAX 16

typedef struct hs_io hs_io_t;

/* owner: io. One accepted connection. */
typedef struct hs_io_conn {
    hs_ev_io_t watcher; /* first: the loop hands it back */
    hs_conn_t conn;
    hs_wheel_entry_t timer;
    hs_list_t all;  /* in io->connections */
    hs_list_t turn; /* in io->to_send, io->held or io->again */
    bool readable;  /* the kernel may have bytes */
    bool writable;  /* the kernel may have room */
    bool shut_seen; /* the peer has shut: read until the end although a read was short */
    bool write_shut;
    uint8_t state; /* hs_stats_state_t, as counted in io->by_state */
} hs_io_conn_t;

/* owner: io */
typedef struct hs_io_listener {
    hs_ev_io_t watcher;
    bool open;
} hs_io_listener_t;

/* owner: io. See server/hs_inbox.h. */
typedef struct hs_inbox {
    hs_ev_io_t watcher;
    bool open;
    bool handing_over;  /* connections leave through it, none comes in */
    bool blocked;       /* the pair takes nothing now */
    bool is_full;       /* nothing is taken until connections have been closed */
    uint64_t log_ms;    /* a further pause is logged again from then on */
    uint64_t resume_ms; /* 0: an event tells when it goes on */
    size_t limit;       /* descriptors of this process */
    char *buffer;       /* one message */
} hs_inbox_t;

/* Takes an accepted descriptor in the io's place. */
typedef void (*hs_io_accepted_fn)(void *context, int fd);

struct hs_io {
    hs_ev_t *ev;
    hs_conn_env_t env;
    hs_workers_t *workers;      /* NULL: handlers run inline */
    hs_handoff_t *handoff;      /* from the boss; NULL: this io accepts by itself */
    hs_io_accepted_fn accepted; /* NULL: this io serves what it accepts */
    void *accepted_context;
    uint64_t turn_begin_ns;
    uint64_t held_since_ns; /* since when the first of `held` waits */
    hs_exchange_pool_t pool;
    hs_slab_t slots;
    hs_wheel_t wheel;
    hs_list_t connections;
    hs_list_t
        to_send; /* have unsent bytes and a writable descriptor: sent at the end of the turn */
    hs_list_t
        held; /* have unsent bytes, and a worker has their next request: more may follow soon */
    hs_list_t again; /* go on in the next turn without an event */
    hs_io_listener_t listeners[HS_IO_LISTENERS_MAX];
    size_t listener_count;
    hs_ev_io_t control;
    bool control_open;
    bool turn_begun; /* now and date were read in this turn */
    bool accept_paused;
    bool slot_freed; /* a connection was closed since accepting was paused */
    uint64_t accept_resume_ms;
    uint64_t accept_log_ms;     /* a further pause is logged again from then on */
    uint64_t drain_deadline_ms; /* of a drain or a hand-over */
    uint64_t idle_grace_end_ms; /* while env.idle_grace */
    hs_inbox_t inbox;
    hs_observer_t observer;
    uint32_t stats_slot;
    uint32_t stats_side;
    hs_stats_page_t *page; /* NULL: counters go to private_stats */
    uint64_t by_state[HS_STATS_STATES];
    hs_append_t access_file;
    char *access_path;
    uint64_t access_flush_ms; /* lines are written at the end of the first turn after it */
    bool access_failed;
    int pin_cpu;  /* -1: the thread runs where the system likes */
    bool has_cut; /* a drain ran out of time; for who has run the io, when it has ended */
    hs_event_fn on_event;
    void *on_event_ud;
    char discard[16 * 1024];
    hs_stats_area_t private_stats;

    /* Written by any thread or signal handler, read by io when it wakes. Release/acquire, so that
     * the timeout is seen with the drain request. */
    _Atomic bool stop_requested;
    _Atomic bool drain_requested;
    _Atomic uint32_t drain_timeout_ms;
    _Atomic bool hand_over_requested;
    _Atomic uint32_t hand_over_timeout_ms;
    _Atomic bool reopen_requested;
};

/* Where an io runs and what it tells others. */
typedef struct hs_io_station {
    int reactor_index; /* -1: it has none */
    uint64_t generation;
    int stats_fd; /* -1: none; the io owns it, also when this fails */
    uint32_t stats_slot;
    uint32_t stats_side;
    hs_access_log_format_t access_log;
    const char *access_log_path; /* copied; NULL: access_log_fd */
    int access_log_fd;           /* borrowed */
    int pin_cpu;                 /* -1: any */
} hs_io_station_t;

typedef struct hs_io_config {
    const hs_limits_t *limits;
    hs_handler_t handler; /* of the I/O thread */
    hs_dispatch_mode_t dispatch;
    uint32_t worker_count;    /* 0: none */
    uint32_t queue_capacity;  /* requests that may wait for a worker */
    hs_handler_maker_t maker; /* of the workers' handlers; outlives the io */
    hs_log_t *log;
    hs_event_fn on_event;
    void *on_event_ud;
    const hs_io_station_t *station; /* NULL: none of it */
} hs_io_config_t;

HS_NODISCARD int hs_io_init(hs_io_t *io, const hs_io_config_t *config, hs_errinfo_t *error);

/* A descriptor whose end means that the supervisor is gone. The io owns it from here on, also when
 * this fails. */
HS_NODISCARD int hs_io_set_control(hs_io_t *io, int fd, hs_errinfo_t *error);

/* Serves until stopped, drained or orphaned and drained. */
int hs_io_run(hs_io_t *io);

/*
 * After hs_io_run. Waits at most `wait_ms` for handlers that still run on workers and returns how
 * many do then: their threads are left behind, and neither the io nor anything that its
 * configuration named may be freed.
 */
uint32_t hs_io_free(hs_io_t *io, uint32_t wait_ms);

/* Any thread, signal handlers too. */
void hs_io_request_stop(hs_io_t *io);
void hs_io_request_drain(hs_io_t *io, uint32_t timeout_ms);
void hs_io_request_hand_over(hs_io_t *io, uint32_t timeout_ms);
void hs_io_request_reopen(hs_io_t *io);
