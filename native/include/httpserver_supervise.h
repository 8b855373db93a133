/*
 * For a supervisor of several reactor processes: the stats page that they share, and the boss,
 * which accepts connections for them and carries connections from one to another.
 *
 * The supervisor makes both and hands descriptors down: hs_stats_page_fd as hs_config_t.stats_fd,
 * hs_boss_inbox as hs_config_t.inbox_fd. docs/ipc.md has the layouts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Accepting a handler: what was checked is what reactors load, whatever the disk holds then.
 */

/*
 * hs_check_lua that also keeps the files: `*app_fd` is for hs_config_t.app_fd, of any number of
 * servers and processes, and the caller's to close; -1 on failure. `*is_whole` false: the files are
 * too many or too large, and only those that were loaded now are kept.
 */
int hs_accept_lua(const char *lua_script, const char *lua_root, int *app_fd, bool *is_whole,
                  char *error, size_t error_size);

/* The same for a shared object; `*app_fd` may be -1 on success, for one that can be loaded only
 * from its file. */
int hs_accept_module(const char *module_path, const char *module_symbol, int *app_fd, char *error,
                     size_t error_size);

/* ---- Stats page: one area for each thread of each process, counters that outlive processes. */

#define HS_STATS_SLOTS_MAX 1024
#define HS_STATS_SIDES 4    /* processes that may live in one slot at a time */
#define HS_STATS_THREADS 17 /* of a process: the I/O thread and up to 16 workers */

#define HS_STATS_CLASSES 5
#define HS_STATS_METHODS 8
#define HS_STATS_SERIES (HS_STATS_CLASSES * HS_STATS_METHODS)
#define HS_STATS_BUCKETS 20 /* 19 bounds, and what is above the last */
#define HS_STATS_REFUSALS 10
#define HS_STATS_TIMEOUTS 5
#define HS_STATS_STATES 5
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
    HS_STATS_REJECTED_PROXY, /* no valid PROXY header, or from another address than is trusted */
    HS_STATS_HANDLER_ERRORS,
    HS_STATS_CLIENT_ABORTS,
    HS_STATS_MOVED_OUT,
    HS_STATS_MOVED_IN,
    HS_STATS_PASSED, /* connections that came through the inbox, new and moved */
    HS_STATS_LOG_LOST,
    HS_STATS_REFUSAL,
    HS_STATS_TIMEOUT = HS_STATS_REFUSAL + HS_STATS_REFUSALS,
    HS_STATS_COUNTERS = HS_STATS_TIMEOUT + HS_STATS_TIMEOUTS
};

/* Upper bounds of the latency buckets in microseconds, and the statuses of the refusal group. */
extern const uint32_t hs_stats_bounds_us[HS_STATS_BUCKETS - 1];
extern const int hs_stats_refusal_statuses[HS_STATS_REFUSALS];

typedef struct hs_stats_page hs_stats_page_t;

typedef struct hs_stats_process {
    uint64_t pid; /* 0: no process */
    uint64_t generation;
    uint64_t started_ms; /* monotonic */
    uint64_t queue_depth;
    uint64_t allocated; /* bytes, by jemalloc's count, at the last heartbeat; 0: not known */
    uint64_t resident;
    uint64_t connections[HS_STATS_STATES]; /* idle, reading, handling, writing, lingering */
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
 * of range is one that was never used. What reactors have written is not trusted: they share the
 * page.
 */

/* False if the side was never used. */
bool hs_stats_page_read(hs_stats_page_t *page, uint32_t slot, uint32_t side,
                        hs_stats_process_t *out);

/* Sums over all sides and threads of the slot. */
void hs_stats_page_sum(hs_stats_page_t *page, uint32_t slot, uint64_t sums[HS_STATS_COUNTERS]);

/* The thread's last sign of life, monotonic ms; 0 if it never ran. `*is_serving`: `serving` says
 * what it is doing. */
uint64_t hs_stats_page_thread(hs_stats_page_t *page, uint32_t slot, uint32_t side, uint32_t thread,
                              bool *is_serving, hs_stats_serving_t *serving);

/* The process of this side is gone: gauges, those of its handlers too, pid and serving become 0;
 * counters stay. */
void hs_stats_page_reset_side(hs_stats_page_t *page, uint32_t slot, uint32_t side);

/* ---- Metrics of the handlers, which moonring.metrics makes. Each side has its own; those of the
 * same name belong together. ---- */

#define HS_METRICS_MAX 128        /* of a process, as are series and cells */
#define HS_METRIC_SERIES_MAX 1024 /* combinations of values of labels */
#define HS_METRIC_CELLS_MAX 8192  /* numbers: 1 per series, of a histogram its bounds and 2 more */
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

/* Counts per bucket of a histogram are not cumulative; the last bucket is above all bounds, and the
 * sum of what was observed follows. */
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

/* The metric or series of this number, from 0. False if there is none, or if it is damaged; *count
 * is how many there are. */
bool hs_stats_page_metric(hs_stats_page_t *page, uint32_t slot, uint32_t side, uint32_t number,
                          uint32_t *count, hs_metric_t *out);
bool hs_stats_page_series(hs_stats_page_t *page, uint32_t slot, uint32_t side, uint32_t number,
                          uint32_t *count, hs_metric_series_t *out);

/* The clock of all monotonic numbers here. */
uint64_t hs_monotonic_ms(void);

/* "GET" for llhttp's number; NULL for a number it does not know. A static string. */
const char *hs_method_name(unsigned method);

/* ---- Lines for a log whose reader may be slow or stopped: writing never waits for it.
 * One thread at a time. */

typedef struct hs_lines hs_lines_t;

/* `fd` stays its owner's: only hs_lines_write uses it. NULL: no memory. */
hs_lines_t *hs_lines_new(int fd);

/*
 * Bytes written, fewer than `len` if a pipe, socket or terminal is full. -errno if nothing can be
 * written: what was offered is then lost, and a line of which a part was written before is ended
 * before the next one begins.
 */
ptrdiff_t hs_lines_write(hs_lines_t *lines, const char *data, size_t len);

void hs_lines_free(hs_lines_t *lines);

/* ---- Boss: a thread that gives connections to reactors. */

typedef struct hs_boss hs_boss_t;

typedef enum {
    HS_BOSS_ROUND_ROBIN,
    HS_BOSS_LEAST, /* to the slot with the fewest connections, by the stats page */
} hs_boss_policy_t;

typedef struct hs_boss_config {
    uint32_t slots;
    const int *listen_fds;  /* borrowed while it runs, made non-blocking; may be none: then it only
                               carries moved connections */
    size_t listen_fd_count; /* at most 16 */
    hs_boss_policy_t policy;
    hs_stats_page_t *stats; /* borrowed; NULL: HS_BOSS_LEAST counts what it has passed */
    int log_json_fd;        /* JSON lines; -1: text to standard error */
} hs_boss_config_t;

typedef struct hs_boss_counters {
    uint64_t accepted;
    uint64_t relayed; /* moved connections carried on */
    uint64_t lost;    /* connections closed because they could not be passed */
    uint64_t held;    /* now waiting in this process for a slot */
    uint64_t pauses;  /* times accepting was paused: no slot up or with room, or no descriptors */
} hs_boss_counters_t;

/* NULL on failure, with the reason in `error`. */
hs_boss_t *hs_boss_create(const hs_boss_config_t *config, char *error, size_t error_size);

/* The reactor's end of a slot's pair. The boss keeps both ends, so that connections under way
 * survive a reactor; every process of the slot gets the same. Belongs to the boss. */
int hs_boss_inbox(const hs_boss_t *boss, uint32_t slot);

/* Starts the thread; once. 0 or -errno. */
int hs_boss_start(hs_boss_t *boss);

/* Only slots that are up get connections; all are down at first. With none up, new connections wait
 * in the listen queue and moved ones in their pair. */
void hs_boss_set_up(hs_boss_t *boss, uint32_t slot, bool is_up);

/* No process reads this slot's inbox any more: what waits in it goes to slots that are up. */
void hs_boss_reclaim(hs_boss_t *boss, uint32_t slot);

/* Passes on what waits in the listen queues, then accepts no more. Returns when that is done, or
 * after a second. */
void hs_boss_close_listeners(hs_boss_t *boss);

/* Connections passed to a slot, new and moved. */
uint64_t hs_boss_passed(hs_boss_t *boss, uint32_t slot);
void hs_boss_read_counters(hs_boss_t *boss, hs_boss_counters_t *out);

/* Ends the thread, closes what it holds and the pairs. NULL is allowed. */
void hs_boss_free(hs_boss_t *boss);

#ifdef __cplusplus
}
#endif
