/*
 * For a supervisor of several reactor processes: the stats page that they share, and the boss,
 * which accepts connections for them and moves connections between them.
 *
 * The supervisor creates both and passes their descriptors on: hs_stats_page_fd as
 * hs_config_t.stats_fd, hs_boss_inbox as hs_config_t.inbox_fd. docs/ipc.md has the layouts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "httpserver.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Accepting a handler: reactors load what was checked, whatever is on disk by then.
 */

/*
 * Like hs_check_lua, but also keeps the files: `*app_fd` is for hs_config_t.app_fd of any number of
 * servers and processes; the caller closes it; -1 on failure. `*is_whole` false: the files are too
 * many or too large, and only those just loaded are kept. `shared`: as in hs_config_t.
 */
int hs_accept_lua(const char *lua_script, const char *lua_root, hs_lua_compat_t compat,
                  const hs_shared_memory_t *shared, size_t shared_count, int *app_fd,
                  bool *is_whole, char *error, size_t error_size);

/* The same for a shared object; `*app_fd` may be -1 on success, for an object that can be loaded
 * only from its file. */
int hs_accept_module(const char *module_path, const char *module_symbol, int *app_fd, char *error,
                     size_t error_size);

/* Stores certificates in sealed memory, for hs_config_t.tls_fd of any number of servers and
 * processes, in the format of hs_tls_material_read (net/hs_tls_server.h). A close-on-exec
 * descriptor, owned by the caller, or -errno. */
int hs_store_tls(const void *data, size_t size);

/* Checks that reactors could use the certificates: `data` as for hs_store_tls. 0, or HS_ERR_INVALID
 * and the like with the reason in `error`. */
int hs_check_tls(const void *data, size_t size, char *error, size_t error_size);

/* hs_server_set_tls with the contents of `tls_fd`, which is borrowed (hs_config_t.tls_fd). */
struct hs_server;
int hs_server_take_tls(struct hs_server *server, int tls_fd, char *error, size_t error_size);

/* ---- Stats page: one area for each thread of each process, counters that outlive processes. */

#define HS_STATS_SLOTS_MAX 1024
#define HS_STATS_SIDES 4    /* processes that may live in one slot at a time */
#define HS_STATS_THREADS 17 /* of a process: the I/O thread and up to 16 workers */

#define HS_STATS_CLASSES 5
#define HS_STATS_METHODS 8
#define HS_STATS_SERIES (HS_STATS_CLASSES * HS_STATS_METHODS)
#define HS_STATS_BUCKETS 20 /* 19 bounds, and one for values above the last */
#define HS_STATS_REFUSALS 10
#define HS_STATS_TIMEOUTS 5
#define HS_STATS_STATES 6
#define HS_STATS_WS_CODES 14
#define HS_STATS_PATH 64

/* Where a counter, or the first of a group, stands among HS_STATS_COUNTERS. */
enum {
    /* Responses of handlers: per first digit of the status and method HS_STATS_BUCKETS counters,
     * then the sum of the latencies in microseconds (hs_stats_series in exec/hs_stats.h). */
    HS_STATS_LATENCY = 0,
    HS_STATS_BYTES_IN = HS_STATS_LATENCY + HS_STATS_SERIES * (HS_STATS_BUCKETS + 1),
    HS_STATS_BYTES_OUT,
    HS_STATS_ACCEPTED, /* from listeners, or new from the boss */
    HS_STATS_REJECTED_LIMIT,
    HS_STATS_REJECTED_DESCRIPTORS,
    HS_STATS_REJECTED_PROXY,     /* no valid PROXY header, or from an untrusted address */
    HS_STATS_REJECTED_HANDSHAKE, /* over the rate limit of its address */
    HS_STATS_TLS_HANDSHAKES,
    HS_STATS_TLS_RESUMED, /* of them */
    HS_STATS_TLS_FAILED,
    HS_STATS_HANDLER_ERRORS,
    HS_STATS_CLIENT_ABORTS,
    HS_STATS_MOVED_OUT,
    HS_STATS_MOVED_IN,
    HS_STATS_PASSED, /* connections that came through the inbox, new and moved */
    HS_STATS_LOG_LOST,
    HS_STATS_WS_OPENED, /* WebSockets */
    HS_STATS_WS_MESSAGES_IN,
    HS_STATS_WS_MESSAGES_OUT,
    HS_STATS_WS_BYTES_IN, /* of messages, without framing; before compression */
    HS_STATS_WS_BYTES_OUT,
    HS_STATS_WS_SLOW,    /* closed because the client took too little */
    HS_STATS_WS_SKIPPED, /* messages of rooms that were not sent, for the same reason */
    HS_STATS_WS_CLOSED,
    HS_STATS_REFUSAL = HS_STATS_WS_CLOSED + HS_STATS_WS_CODES,
    HS_STATS_TIMEOUT = HS_STATS_REFUSAL + HS_STATS_REFUSALS,
    HS_STATS_COUNTERS = HS_STATS_TIMEOUT + HS_STATS_TIMEOUTS
};

/* Upper bounds of the latency buckets in microseconds, the statuses of the refusal group, and the
 * codes with which WebSockets were closed: the last two are 3000, for 3000 to 4999, and 0, for all
 * others. */
extern const uint32_t hs_stats_bounds_us[HS_STATS_BUCKETS - 1];
extern const int hs_stats_refusal_statuses[HS_STATS_REFUSALS];
extern const int hs_stats_ws_codes[HS_STATS_WS_CODES];

typedef struct hs_stats_page hs_stats_page_t;

typedef struct hs_stats_process {
    uint64_t pid; /* 0: no process */
    uint64_t generation;
    uint64_t started_ms; /* monotonic */
    uint64_t queue_depth;
    uint64_t allocated; /* bytes, according to jemalloc, at the last heartbeat; 0: unknown */
    uint64_t resident;
    uint64_t connections[HS_STATS_STATES]; /* idle, reading, handling, writing, lingering,
                                              websocket */
} hs_stats_process_t;

/* What a thread is doing. */
typedef struct hs_stats_serving {
    uint64_t started_ms; /* monotonic */
    unsigned method;     /* llhttp's number */
    size_t path_len;
    char path[HS_STATS_PATH]; /* the beginning of the target, not NUL-terminated */
} hs_stats_serving_t;

/* Shared memory for `slots` (1 to HS_STATS_SLOTS_MAX); sparse: a slot costs memory when it is used.
 * NULL on failure, with the reason in `error`. */
hs_stats_page_t *hs_stats_page_create(uint32_t slots, char *error, size_t error_size);
void hs_stats_page_free(hs_stats_page_t *page);

/* Belongs to the page. Close-on-exec. */
int hs_stats_page_fd(const hs_stats_page_t *page);
uint32_t hs_stats_page_slots(const hs_stats_page_t *page);

/* The calls below may come from any thread at any time and never wait. A slot, side or thread out
 * of range counts as never used. Reactors share the page, so their data is not trusted.
 */

/* False if the side was never used. */
bool hs_stats_page_read(hs_stats_page_t *page, uint32_t slot, uint32_t side,
                        hs_stats_process_t *out);

/* Sums over all sides and threads of the slot. */
void hs_stats_page_sum(hs_stats_page_t *page, uint32_t slot, uint64_t sums[HS_STATS_COUNTERS]);

/* The thread's last heartbeat, monotonic ms; 0 if it never ran. `*is_serving`: `serving` says what
 * it is doing. */
uint64_t hs_stats_page_thread(hs_stats_page_t *page, uint32_t slot, uint32_t side, uint32_t thread,
                              bool *is_serving, hs_stats_serving_t *serving);

/* The process of this side is gone: gauges (including those of its handlers), pid and serving
 * become 0; counters stay. */
void hs_stats_page_reset_side(hs_stats_page_t *page, uint32_t slot, uint32_t side);

/* ---- Metrics of handlers, created by moonring.metrics. Each side has its own; those of the same
 * name belong together. ---- */

#define HS_METRICS_MAX 128        /* of a process, as are series and cells */
#define HS_METRIC_SERIES_MAX 1024 /* combinations of values of labels */
#define HS_METRIC_CELLS_MAX 8192  /* numbers: 1 per series, or per bound of a histogram, and 2 */
#define HS_METRIC_NAME_CAP 96     /* with the NUL, as are the next two */
#define HS_METRIC_HELP_CAP 208
#define HS_METRIC_LABEL_CAP 48
#define HS_METRIC_LABELS_MAX 4
#define HS_METRIC_BOUNDS_MAX 24
#define HS_METRIC_KEY_MAX 244 /* values of the labels of a series, and a byte for each */

typedef enum {
    HS_METRIC_COUNTER,
    HS_METRIC_GAUGE,
    HS_METRIC_HISTOGRAM,
} hs_metric_kind_t;

typedef struct hs_metric {
    uint32_t kind; /* an hs_metric_kind_t */
    uint32_t label_count;
    uint32_t bound_count; /* of a histogram */
    uint32_t _unused;
    char name[HS_METRIC_NAME_CAP];
    char help[HS_METRIC_HELP_CAP];
    char labels[HS_METRIC_LABELS_MAX][HS_METRIC_LABEL_CAP];
    double bounds[HS_METRIC_BOUNDS_MAX];
} hs_metric_t;

/* Bucket counts of a histogram are not cumulative; the last bucket is above all bounds, followed by
 * the sum of the observations. */
typedef struct hs_metric_series {
    uint32_t metric;
    uint32_t value_count;
    uint32_t cell_count;
    struct {
        const char *data; /* in key */
        size_t len;
    } values[HS_METRIC_LABELS_MAX];
    double cells[HS_METRIC_BOUNDS_MAX + 2];
    char key[HS_METRIC_KEY_MAX];
} hs_metric_series_t;

/* The metric or series with this number, from 0. False if there is none, or if it is damaged;
 * *count is their total. */
bool hs_stats_page_metric(hs_stats_page_t *page, uint32_t slot, uint32_t side, uint32_t number,
                          uint32_t *count, hs_metric_t *out);
bool hs_stats_page_series(hs_stats_page_t *page, uint32_t slot, uint32_t side, uint32_t number,
                          uint32_t *count, hs_metric_series_t *out);

/* The clock of all monotonic numbers here. */
uint64_t hs_monotonic_ms(void);

/* "GET" for llhttp's number; NULL for a number it does not know. A static string. */
const char *hs_method_name(unsigned method);

/* ---- Lines for a log whose reader may be slow or stopped: writing never waits.
 * One thread at a time. */

typedef struct hs_lines hs_lines_t;

/* `fd` is borrowed: only hs_lines_write uses it. NULL: no memory. */
hs_lines_t *hs_lines_new(int fd);

/*
 * Bytes written, fewer than `len` if a pipe, socket or terminal is full. -errno if nothing can be
 * written: the data is then lost, and a partly written line is ended before the next one begins.
 */
ptrdiff_t hs_lines_write(hs_lines_t *lines, const char *data, size_t len);

void hs_lines_free(hs_lines_t *lines);

/* ---- Boss: a thread that passes connections to reactors. */

typedef struct hs_boss hs_boss_t;

typedef enum {
    HS_BOSS_ROUND_ROBIN,
    HS_BOSS_LEAST, /* to the slot with the fewest connections, by the stats page */
} hs_boss_policy_t;

typedef struct hs_boss_config {
    uint32_t slots;
    const int *listen_fds;  /* borrowed while it runs, made non-blocking; may be none: then it only
                               relays moved connections */
    size_t listen_fd_count; /* at most 16 */
    hs_boss_policy_t policy;
    hs_stats_page_t *stats; /* borrowed; NULL: HS_BOSS_LEAST counts the connections it passed */
    int log_json_fd;        /* JSON lines; -1: text to standard error */
} hs_boss_config_t;

typedef struct hs_boss_counters {
    uint64_t accepted;
    uint64_t relayed; /* moved connections passed on */
    uint64_t lost;    /* connections closed because they could not be passed */
    uint64_t held;    /* waiting in this process for a slot */
    uint64_t pauses;  /* times accepting was paused: no slot up, none with room, or no
                         descriptors */
} hs_boss_counters_t;

/* NULL on failure, with the reason in `error`. */
hs_boss_t *hs_boss_create(const hs_boss_config_t *config, char *error, size_t error_size);

/* The reactor's end of a slot's pair. The boss keeps both ends, so connections in transit survive a
 * reactor; every process of the slot gets the same end. Belongs to the boss. */
int hs_boss_inbox(const hs_boss_t *boss, uint32_t slot);

/* Starts the thread; once. 0 or -errno. */
int hs_boss_start(hs_boss_t *boss);

/* Only slots that are up get connections; all are down at first. With none up, new connections wait
 * in the listen queue and moved ones in their pair. `pid`: the process that serves the slot now, 0
 * if unknown: when its keeper reports its death, the slot is down at once. */
void hs_boss_set_up(hs_boss_t *boss, uint32_t slot, bool is_up, uint32_t pid);

/*
 * For a supervisor that is PID 1: reaps the keepers of dead reactors, which became its children and
 * have exited. It reaps no other children. Never blocks.
 */
void hs_reap_keepers(void);

/* No process reads this slot's inbox any more: connections waiting in it go to slots that are
 * up. */
void hs_boss_reclaim(hs_boss_t *boss, uint32_t slot);

/* Passes on connections waiting in the listen queues, then accepts no more. Returns when that is
 * done, or after a second. */
void hs_boss_close_listeners(hs_boss_t *boss);

/* Connections passed to a slot, new and moved. */
uint64_t hs_boss_passed(hs_boss_t *boss, uint32_t slot);
void hs_boss_read_counters(hs_boss_t *boss, hs_boss_counters_t *out);

/* Ends the thread, closes what it holds and the pairs. NULL is allowed. */
void hs_boss_free(hs_boss_t *boss);

/* ---- Topics: a ring of messages to which all processes publish and from which they read. ---- */

#define HS_TOPIC_MAX 255           /* bytes of a topic's name, at least 1 */
#define HS_TOPIC_MESSAGE_MAX 65536 /* bytes of a message */
#define HS_TOPICS_SIZE_MIN (256u << 10)
#define HS_TOPICS_SIZE_MAX (1u << 30)

typedef struct hs_topics hs_topics_t;

typedef struct hs_topics_counters {
    uint64_t published; /* messages */
    uint64_t
        delivered; /* ... given to subscribers of the slot: each subscriber of a process counts */
    uint64_t lost; /* ... overwritten before they were read, per process and topic */
    uint64_t subscribers; /* that there are now */
} hs_topics_counters_t;

/*
 * A ring of `size` bytes (a power of two within the limits) for `slots` (1 to HS_STATS_SLOTS_MAX)
 * of reactors, and for the supervisor, whose slot comes after these. Unused memory is never
 * touched. NULL on failure, with the reason in `error`.
 */
hs_topics_t *hs_topics_create(uint32_t slots, size_t size, char *error, size_t error_size);
void hs_topics_free(hs_topics_t *topics);

/* The value of hs_config_t.topics_fds for a reactor. They belong to `topics`, and are
 * close-on-exec. */
const int *hs_topics_fds(const hs_topics_t *topics, size_t *count);

/* Any thread; never waits. 0, or negative: -3 the topic is empty or too long, -5 the message is too
 * long. */
int hs_topics_publish(hs_topics_t *topics, const char *topic, size_t topic_len, const char *message,
                      size_t message_len);

/* The process of this side is gone. A nonexistent slot or side is ignored. */
void hs_topics_reset(hs_topics_t *topics, uint32_t slot, uint32_t side);

/* Sums over the slot's sides. */
void hs_topics_read_counters(hs_topics_t *topics, uint32_t slot, hs_topics_counters_t *out);

/*
 * The only reader of the supervisor, for one of its threads. hs_topic_hub_dispatch calls
 * `on_message`; `lost` is the number of messages of the topic that were overwritten before this
 * one. The subscriber may be closed in it.
 */
typedef struct hs_topic_hub hs_topic_hub_t;
typedef struct hs_topic_subscriber hs_topic_subscriber_t;
typedef void (*hs_topic_fn)(void *context, const char *message, size_t length, uint64_t lost);

hs_topic_hub_t *hs_topic_hub_create(hs_topics_t *topics);
void hs_topic_hub_free(hs_topic_hub_t *hub);

/* NULL: out of memory, or the topic is empty or too long. */
hs_topic_subscriber_t *hs_topic_hub_subscribe(hs_topic_hub_t *hub, const char *topic,
                                              size_t topic_len, hs_topic_fn on_message,
                                              void *context);
void hs_topic_hub_unsubscribe(hs_topic_hub_t *hub, hs_topic_subscriber_t *subscriber);

/* Calls back for at most `most` messages. True: there are more. */
bool hs_topic_hub_dispatch(hs_topic_hub_t *hub, uint32_t most);

/* From here on, publishing ends hs_topics_wait. True: there is something already. */
bool hs_topic_hub_sleep(hs_topic_hub_t *hub);

/* On another thread of the supervisor: waits until something is published to which its sleeping
 * reader subscribes, until hs_topics_wake, or for `timeout_ms`. */
void hs_topics_wait(hs_topics_t *topics, int timeout_ms);
void hs_topics_wake(hs_topics_t *topics);

#ifdef __cplusplus
}
#endif
