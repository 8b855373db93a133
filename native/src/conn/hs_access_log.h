/*
 * The access log, and spans of requests: one line per request, buffered in the I/O thread and
 * written elsewhere (server/hs_io_log.h) in whole lines. Pure: appends bytes, reads no clock,
 * writes nothing.
 *
 * The duration of a request is known only when its response is sent, so a line is added with room
 * for that number and completed at the end of the turn (hs_access_log_complete).
 *
 * Thread: the reactor's I/O thread.
 */
#pragma once

#include "base/hs_span.h"
#include "exec/hs_job.h"
#include "os/hs_peer.h"

/* The longest line, including its newline: what a pipe accepts atomically (PIPE_BUF). */
#define HS_ACCESS_LOG_LINE_MAX 4096
#define HS_ACCESS_LOG_BUFFER (256 * 1024)

typedef enum hs_access_log_format {
    HS_ACCESS_LOG_OFF,
    HS_ACCESS_LOG_JSON,     /* as pino writes it */
    HS_ACCESS_LOG_COMBINED, /* the format of Apache and nginx */
    HS_ACCESS_LOG_SPANS,    /* JSON for the span exporter in the master */
} hs_access_log_format_t;

typedef struct hs_access_log_origin {
    uint32_t pid;
    int reactor;
    uint64_t generation;
    const char *hostname;
} hs_access_log_origin_t;

/* owner: io */
typedef struct hs_access_log {
    hs_access_log_format_t format;
    size_t len;
    uint32_t first_gap; /* the first line without its response time; 0: none */
    uint32_t last_gap;
    int64_t date_s; /* the second that `date` shows */
    char date[32];
    char origin[192]; /* the part common to all lines */
    size_t origin_len;
    uint64_t generation;
    char data[HS_ACCESS_LOG_BUFFER];
} hs_access_log_t;

/* The contents of a line that are not in the job. */
typedef struct hs_access_log_entry {
    const hs_job_t *job;
    const hs_peer_t *peer;
    const hs_peer_t *client; /* the client behind trusted proxies; NULL: none are trusted */
    int64_t time_ms;         /* wall clock */
    uint64_t begun_us;       /* monotonic: when the first byte of the request arrived */
    size_t bytes_out;        /* content of the answer */
    int status;
    uint64_t now_us; /* monotonic, at `time_ms` */
    bool is_refused; /* the server itself responded: method and target may be missing */
} hs_access_log_entry_t;

/* The contents of a line written at the end of a connection, when the job is over. */
typedef struct hs_access_kept hs_access_kept_t;

void hs_access_log_init(hs_access_log_t *log, hs_access_log_format_t format,
                        const hs_access_log_origin_t *origin);

/* The generation named in the following lines. */
void hs_access_log_set_generation(hs_access_log_t *log, uint64_t generation);

/* Adds a line. There must be room for one (hs_access_log_is_full). */
void hs_access_log_add(hs_access_log_t *log, const hs_access_log_entry_t *entry);

/* Adds a line that was made elsewhere, its newline included. There must be room for one. */
void hs_access_log_add_line(hs_access_log_t *log, const char *line, size_t len);

/* Saves the data of the request of a job that becomes a WebSocket, when entry->bytes_out bytes had
 * been sent in total (modulo 2^32); freed with hs_free. NULL: out of memory, or there is no
 * room. */
HS_NODISCARD hs_access_kept_t *hs_access_log_keep(hs_access_log_t *log,
                                                  const hs_access_log_entry_t *entry);

/* Adds the line of a WebSocket that was closed with `code`, at `time_ms`, when `given` bytes had
 * been sent in total. There must be room for one. */
void hs_access_log_add_kept(hs_access_log_t *log, const hs_access_kept_t *kept, int64_t time_ms,
                            uint32_t given, int code);

/* The responses of the lines since the last call were sent at `sent_us`. */
void hs_access_log_complete(hs_access_log_t *log, uint64_t sent_us);

/* `len` bytes from the front have been written. */
void hs_access_log_take(hs_access_log_t *log, size_t len);

static inline bool hs_access_log_is_full(const hs_access_log_t *log)
{
    return sizeof(log->data) - log->len < HS_ACCESS_LOG_LINE_MAX;
}
