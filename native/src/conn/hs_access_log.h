/*
 * The access log: one line a request, gathered in a buffer of the I/O thread and written by others
 * (server/hs_io_log.h) in whole lines. Pure: appends bytes, asks no clock, writes nothing.
 *
 * How long a request took is known only when its answer leaves, so a line is added with room for
 * that number and completed at the end of the turn (hs_access_log_complete).
 *
 * Thread: the reactor's I/O thread.
 */
#pragma once

#include "base/hs_span.h"
#include "exec/hs_job.h"
#include "os/hs_peer.h"

/* No line is longer, its newline included: what a pipe takes in one piece (PIPE_BUF). */
#define HS_ACCESS_LOG_LINE_MAX 4096
#define HS_ACCESS_LOG_BUFFER (256 * 1024)

typedef enum hs_access_log_format {
    HS_ACCESS_LOG_OFF,
    HS_ACCESS_LOG_JSON,     /* as pino writes it */
    HS_ACCESS_LOG_COMBINED, /* as Apache and nginx write it */
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
    uint32_t first_gap; /* the first line that waits for its response time; 0: none */
    uint32_t last_gap;
    int64_t date_s; /* the second that `date` shows */
    char date[32];
    char origin[192]; /* what is the same in every line */
    size_t origin_len;
    uint64_t generation;
    char data[HS_ACCESS_LOG_BUFFER];
} hs_access_log_t;

/* What a line says besides what is in the job. */
typedef struct hs_access_log_entry {
    const hs_job_t *job;
    const hs_peer_t *peer;
    const hs_peer_t *client; /* for whom trusted proxies forward; NULL: none are trusted */
    int64_t time_ms;         /* wall clock */
    uint64_t begun_us;       /* monotonic: when the request began to arrive */
    size_t bytes_out;        /* content of the answer */
    int status;
    bool is_refused; /* answered by the server: there may be no method and no target */
} hs_access_log_entry_t;

void hs_access_log_init(hs_access_log_t *log, hs_access_log_format_t format,
                        const hs_access_log_origin_t *origin);

/* The generation that the following lines name. */
void hs_access_log_set_generation(hs_access_log_t *log, uint64_t generation);

/* Adds a line. There must be room for one (hs_access_log_is_full). */
void hs_access_log_add(hs_access_log_t *log, const hs_access_log_entry_t *entry);

/* The answers of the lines since the last call left at `sent_us`. */
void hs_access_log_complete(hs_access_log_t *log, uint64_t sent_us);

/* `len` bytes from the front have been written. */
void hs_access_log_take(hs_access_log_t *log, size_t len);

static inline bool hs_access_log_is_full(const hs_access_log_t *log)
{
    return sizeof(log->data) - log->len < HS_ACCESS_LOG_LINE_MAX;
}
