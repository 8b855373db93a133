/*
 * The log: a level and a sink that belong to the server; there is no global one. Any thread may
 * write at any time. A line below the level costs one relaxed load and formats nothing. Writing
 * never allocates and reports no error: a line that the sink cannot write is lost. It is not the
 * access log (conn/hs_access_log.h).
 */
#pragma once

#include <stdatomic.h>

#include "base/hs_base.h"
#include "httpserver.h"

/* A formatted message, its NUL not counted, is shorter than this; a longer one is cut and ends in
 * HS_LOG_CUT_MARK. */
#define HS_LOG_MESSAGE_CAP 8192
#define HS_LOG_CUT_MARK "... [cut]"

/*
 * Takes one message; `message` has `len` bytes and a NUL, no newline added, and lives until the
 * sink returns. Called on the thread that wrote, by several threads at once.
 */
typedef void (*hs_log_sink_fn)(void *ud, hs_log_level_t level, const char *message, size_t len);

typedef struct hs_log {
    /* Written by any thread to change the level, read by any; relaxed, because nothing else depends
     * on it. */
    _Atomic int level;
    hs_log_sink_fn sink; /* read-only after init, as is sink_ud */
    void *sink_ud;
} hs_log_t;

/* `sink` NULL: the process's log (hs_log_register), which is text to stderr until a callback is
 * registered. `sink_ud` is borrowed for the log's life. */
void hs_log_init(hs_log_t *log, hs_log_level_t level, hs_log_sink_fn sink, void *sink_ud);

/* True if a message of this level is written: check first if preparing the arguments is
 * expensive. */
static inline bool hs_log_enabled(const hs_log_t *log, hs_log_level_t level)
{
    return (int)level >= atomic_load_explicit(&log->level, memory_order_relaxed) &&
           level < HS_LOG_OFF;
}

/* For a condition that repeats while its cause lasts: true at most once per HS_LOG_REPEAT_MS.
 * `due_ms` starts at 0. */
#define HS_LOG_REPEAT_MS 60000

static inline bool hs_log_due(uint64_t *due_ms, uint64_t now_ms)
{
    if (now_ms < *due_ms)
        return false;
    *due_ms = now_ms + HS_LOG_REPEAT_MS;
    return true;
}

/* Keeps errno. A string argument ends at its NUL: hs_log_write_text for what others wrote. */
HS_PRINTF(3, 4)
void hs_log_write(hs_log_t *log, hs_log_level_t level, const char *format, ...);

/* The message is `prefix` and all `len` bytes of `text`, NULs included. Keeps errno. */
void hs_log_write_text(hs_log_t *log, hs_log_level_t level, const char *prefix, const char *text,
                       size_t len);

/* The request that a record is about. owner: the caller, for the time of the call */
typedef struct hs_log_request {
    const char *id;
    const char *method;
    const char *target; /* its first HS_LOG_TARGET_MAX bytes are logged */
    size_t target_len;
    const char *trace_id; /* 32 characters; NULL: it belongs to no trace */
    const char *span_id;  /* 16 characters; NULL: none was begun */
} hs_log_request_t;

#define HS_LOG_TARGET_MAX 512

/* Like hs_log_write_text. A JSON record also has the fields `reqId` and `req`, and of a
 * trace `traceId` and `spanId`, as in the access log. `request` NULL: no request. */
void hs_log_write_request(hs_log_t *log, hs_log_level_t level, const hs_log_request_t *request,
                          const char *prefix, const char *text, size_t len);

/* Further fields of one record together; with more bytes they are left out. */
#define HS_LOG_FIELDS_MAX 6144

/*
 * Like hs_log_write_request. `fields` has `fields_len` bytes of JSON members, `"a":1,"b":"c"`, on
 * one line, none with a name that the record has already: they are members of a JSON record, and
 * follow the message in braces elsewhere.
 */
void hs_log_write_fields(hs_log_t *log, hs_log_level_t level, const hs_log_request_t *request,
                         const char *fields, size_t fields_len, const char *text, size_t len);

/*
 * A sink that writes pino's JSON:
 * {"level":30,"time":1700000000000,"pid":12,"reactor":0,"msg":"..."} and a newline, by one write(2)
 * (more only if the kernel takes a part), so that lines of several processes sharing a file or a
 * terminal do not mix; on a pipe that holds for lines up to PIPE_BUF bytes (4096 on Linux). Quotes,
 * backslashes, control characters (C1 ones too) and bytes that are not UTF-8 are escaped, the
 * latter as \u00XX of the byte. A line that would pass HS_LOG_JSON_LINE_CAP is cut like a message.
 * No thread waits long for a reader: a line that cannot be written within HS_LOG_WAIT_MS is lost,
 * and for a second after that no line is waited for. Lost lines are counted, and logged when there
 * is room.
 */
#define HS_LOG_JSON_LINE_CAP 16384
#define HS_LOG_WAIT_MS 20

/* Written and read by any logging thread; relaxed: nothing else depends on these numbers. */
typedef struct hs_log_loss {
    _Atomic uint32_t lines;            /* lost and not reported yet */
    _Atomic uint64_t no_wait_until_ms; /* monotonic */
} hs_log_loss_t;

typedef struct hs_log_json {
    int fd;      /* borrowed */
    int reactor; /* number of the reactor; -1 leaves the field out */
    hs_log_loss_t loss;
} hs_log_json_t;

/* `json_ud` is an hs_log_json_t *. */
void hs_log_json_sink(void *json_ud, hs_log_level_t level, const char *message, size_t len);

/* One such line; the sink does it for its hs_log_json_t. `reactor` -1: no field. */
void hs_log_json_line(int fd, int reactor, hs_log_loss_t *loss, hs_log_level_t level,
                      const char *message, size_t len);

/* The same as "<time> LEVEL message". */
void hs_log_text_line(int fd, hs_log_loss_t *loss, hs_log_level_t level, const char *message,
                      size_t len);

/* The sink of the process's log. `ud` is not used. */
void hs_log_process_sink(void *ud, hs_log_level_t level, const char *message, size_t len);

/*
 * From now on hs_log of this process writes JSON lines of `reactor` to `fd`, by default from
 * `level` up, so that records of handlers arrive like the server's; a registered callback takes
 * precedence. Until hs_log_process_end(fd), or the next call. Any thread.
 */
void hs_log_process_begin(int fd, int reactor, hs_log_level_t level);
void hs_log_process_end(int fd);
