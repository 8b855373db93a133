#include "server/hs_io_observe.h"

#include <unistd.h>

#include "base/hs_alloc.h"
#include "os/hs_clock.h"
#include "os/hs_nowait.h"
#include "os/hs_object.h"

/* How often an idle io writes its heartbeat. */
#define HEARTBEAT_MS 1000
/* How long after its request a line is written at the latest. */
#define FLUSH_MS 100
/* ... and how soon a failed write is retried. */
#define RETRY_MS 10
/* How long the end waits for a slow reader: less than a supervisor allows for a stop. */
#define LAST_LINES_MS 250
#define HALF_FULL (HS_ACCESS_LOG_BUFFER / 2)
/* Most lines that one connection adds before room is made, and then some. */
_Static_assert(HALF_FULL >= 32 * HS_ACCESS_LOG_LINE_MAX, "room for many lines");
_Static_assert(HS_SPAN_LINE_MAX <= HS_ACCESS_LOG_LINE_MAX, "room for a span of a call");

static void begin_stats(hs_io_t *io, const hs_io_identity_t *identity)
{
    io->page = identity->page;
    if (io->page == NULL)
        return;
    io->stats_slot = identity->stats_slot;
    io->stats_side = identity->stats_side;
    hs_stats_page_begin(io->page, identity->stats_slot, identity->stats_side, (uint32_t)getpid(),
                        identity->generation, hs_clock_monotonic_ms());
    io->observer.stats =
        hs_stats_page_area(io->page, identity->stats_slot, identity->stats_side, 0);
}

static void make_id_prefix(char prefix[HS_REQUEST_ID_PREFIX_CAP], int reactor)
{
    uint64_t number = (uint64_t)hs_clock_realtime_ms() * 1024 + ((unsigned)reactor & 1023);
    size_t at = HS_REQUEST_ID_PREFIX_CAP - 1;
    for (; number > 0 && at > 0; number /= 36)
        prefix[--at] = "0123456789abcdefghijklmnopqrstuvwxyz"[number % 36];
    size_t len = HS_REQUEST_ID_PREFIX_CAP - 1 - at;
    memmove(prefix, prefix + at, len);
    prefix[len] = '\0';
}

static int open_lines(hs_io_lines_t *lines, const hs_io_identity_t *identity,
                      hs_access_log_format_t format, int fd, hs_errinfo_t *error)
{
    int result = hs_append_open(&lines->file, lines->path, fd, error);
    if (result != HS_OK)
        return result;
    lines->log = hs_alloc(sizeof(*lines->log));
    if (lines->log == NULL)
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for %s", lines->name);
    char hostname[256];
    if (gethostname(hostname, sizeof(hostname)) == -1)
        hostname[0] = '\0';
    hostname[sizeof(hostname) - 1] = '\0';
    hs_access_log_origin_t origin = { .pid = (uint32_t)getpid(),
                                      .reactor = identity->reactor_index,
                                      .generation = identity->generation,
                                      .hostname = hostname };
    hs_access_log_init(lines->log, format, &origin);
    return HS_OK;
}

static int open_access_log(hs_io_t *io, const hs_io_identity_t *identity, hs_errinfo_t *error)
{
    hs_io_lines_t *lines = &io->lines[HS_IO_ACCESS];
    lines->name = "the access log";
    if (identity->access_log == HS_ACCESS_LOG_OFF)
        return HS_OK;
    if (identity->access_log_path != NULL) {
        size_t size = strlen(identity->access_log_path) + 1;
        lines->path = hs_alloc(size);
        if (lines->path == NULL)
            return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for the access log");
        memcpy(lines->path, identity->access_log_path, size);
    }
    int result = open_lines(lines, identity, identity->access_log, identity->access_log_fd, error);
    io->observer.access_log = lines->log;
    return result;
}

/* Writes the span of a call: lines of a worker bypass the buffer, which belongs to the I/O thread.
 * A pipe accepts each atomically. */
static bool put_span(hs_span_log_t *spans, const char *line, size_t len, bool in_worker)
{
    hs_io_t *io = spans->context;
    hs_io_lines_t *lines = &io->lines[HS_IO_SPANS];
    if (in_worker) {
        hs_append_t file = { .fd = lines->file.fd, .piece = lines->file.piece };
        return hs_append_lines(&file, line, len) == (ptrdiff_t)len;
    }
    if (lines->log == NULL || hs_access_log_is_full(lines->log))
        return false;
    hs_access_log_add_line(lines->log, line, len);
    return true;
}

static int open_spans(hs_io_t *io, const hs_io_identity_t *identity, hs_errinfo_t *error)
{
    hs_io_lines_t *lines = &io->lines[HS_IO_SPANS];
    lines->name = "the spans";
    if (identity->trace_sample == 0)
        return HS_OK;
    int result = open_lines(lines, identity, HS_ACCESS_LOG_SPANS, identity->trace_fd, error);
    io->observer.spans = lines->log;
    io->observer.sample_every = identity->trace_sample;
    io->spans.sample_every = identity->trace_sample;
    io->spans.put = put_span;
    io->spans.context = io;
    io->env.jobs.spans = &io->spans;
    return result;
}

int hs_io_observe_init(hs_io_t *io, const hs_io_identity_t *identity, hs_errinfo_t *error)
{
    io->observer.stats = &io->private_stats;
    io->pin_cpu = identity != NULL ? identity->pin_cpu : -1;
    io->env.observer = &io->observer;
    make_id_prefix(io->env.jobs.id_prefix, identity != NULL ? identity->reactor_index : -1);
    if (identity == NULL)
        return HS_OK;
    begin_stats(io, identity);
    int result = open_access_log(io, identity, error);
    if (result == HS_OK)
        result = open_spans(io, identity, error);
    io->observer.has_lines = io->observer.access_log != NULL || io->observer.spans != NULL;
    return result;
}

void hs_io_observe_free(hs_io_t *io)
{
    for (unsigned i = 0; i < HS_IO_LINES; i++) {
        hs_io_lines_t *lines = &io->lines[i];
        if (lines->file.fd >= 0)
            hs_append_close(&lines->file);
        hs_free(lines->log);
        hs_free(lines->path);
        lines->log = NULL;
        lines->path = NULL;
    }
    io->observer.access_log = io->observer.spans = NULL;
    io->observer.has_lines = false;
    io->page = NULL;
    io->observer.stats = &io->private_stats;
}

void hs_io_observe_memory(const hs_io_t *io)
{
    hs_memory_t memory;
    if (io->page != NULL && hs_object_memory(&memory))
        hs_stats_page_set_memory(io->page, io->stats_slot, io->stats_side, memory.allocated,
                                 memory.resident);
}

void hs_io_observe_turn(hs_io_t *io, uint64_t now_us, int64_t time_ms)
{
    io->observer.now_us = now_us;
    io->observer.now_ms = io->env.loop.now_ms;
    io->observer.time_ms = time_ms;
    hs_stats_set(&io->observer.stats->heartbeat_ms, io->env.loop.now_ms);
}

static uint64_t count_lines(const char *data, size_t len)
{
    uint64_t lines = 0;
    for (size_t i = 0; i < len; i++)
        lines += data[i] == '\n';
    return lines;
}

static void lose_lines(hs_io_t *io, hs_access_log_t *log)
{
    hs_stats_add(io->observer.stats, HS_STATS_LOG_LOST, count_lines(log->data, log->len));
    hs_access_log_take(log, log->len);
}

static void count_lost_spans(hs_io_t *io)
{
    if (HS_LIKELY(atomic_load_explicit(&io->spans.lost, memory_order_relaxed) == 0))
        return;
    uint64_t lost = atomic_exchange_explicit(&io->spans.lost, 0, memory_order_relaxed);
    hs_stats_add(io->observer.stats, HS_STATS_LOG_LOST, lost);
}

static void write_lines(hs_io_t *io, hs_io_lines_t *lines)
{
    hs_access_log_t *log = lines->log;
    hs_access_log_complete(log, hs_clock_monotonic_ns() / 1000);
    lines->flush_ms = io->env.loop.now_ms + FLUSH_MS;
    ptrdiff_t written = hs_append_lines(&lines->file, log->data, log->len);
    if (written >= 0) {
        hs_access_log_take(log, (size_t)written);
        if (log->len > 0)
            lines->flush_ms = io->env.loop.now_ms + RETRY_MS;
        return;
    }
    if (!lines->failed)
        hs_log_write(io->env.log, HS_LOG_ERROR, "%s cannot be written: %s", lines->name,
                     strerror((int)-written));
    lines->failed = true; /* logged once, until it is reopened */
    lose_lines(io, log);
}

void hs_io_observe_make_room(hs_io_t *io)
{
    for (unsigned i = 0; i < HS_IO_LINES; i++)
        if (io->lines[i].log != NULL && io->lines[i].log->len >= HALF_FULL)
            write_lines(io, &io->lines[i]);
}

void hs_io_observe_flush(hs_io_t *io)
{
    for (unsigned i = 0; i < HS_IO_LINES; i++)
        if (io->lines[i].log != NULL && io->lines[i].log->len > 0)
            write_lines(io, &io->lines[i]);
}

void hs_io_observe_end(hs_io_t *io)
{
    hs_io_observe_flush(io);
    uint64_t now_ms = hs_clock_monotonic_ms();
    uint64_t until_ms = now_ms + LAST_LINES_MS;
    for (unsigned i = 0; i < HS_IO_LINES; i++) {
        hs_io_lines_t *lines = &io->lines[i];
        if (lines->log == NULL)
            continue;
        while (lines->log->len > 0 && now_ms < until_ms &&
               hs_nowait_has_room(lines->file.fd, (int)(until_ms - now_ms))) {
            write_lines(io, lines);
            now_ms = hs_clock_monotonic_ms();
        }
        lose_lines(io, lines->log);
    }
    count_lost_spans(io);
}

static void count_bytes(hs_io_t *io)
{
    hs_loop_t *loop = &io->env.loop;
    const hs_net_counters_t *net = &io->net.counters;
    uint64_t net_in = net->bytes_in - io->net_bytes_in;
    uint64_t net_out = net->bytes_out - io->net_bytes_out;
    hs_stats_add(io->observer.stats, HS_STATS_BYTES_IN, loop->bytes_in - net_in);
    hs_stats_add(io->observer.stats, HS_STATS_BYTES_OUT, loop->bytes_out - net_out);
    io->net_bytes_in += net_in;
    io->net_bytes_out += net_out;
    loop->bytes_in = loop->bytes_out = 0;
}

void hs_io_observe_sent(hs_io_t *io)
{
    hs_observer_t *observer = &io->observer;
    for (unsigned i = 0; i < HS_STATS_STATES; i++)
        hs_stats_set(&observer->stats->connections[i], io->by_state[i]);
    /* Until then the boss counts them as under way. */
    if (io->inbox.taken > 0)
        hs_stats_add_last(observer->stats, HS_STATS_PASSED, io->inbox.taken);
    io->inbox.taken = 0;
    if (io->workers != NULL)
        hs_stats_set(&observer->stats->queue_depth, hs_workers_queued(io->workers));
    if (io->env.loop.bytes_in > 0 || io->env.loop.bytes_out > 0)
        count_bytes(io);
    if (hs_stats_turn_is_empty(&observer->turn) && !observer->has_lines)
        return;
    uint64_t sent_ns = hs_clock_monotonic_ns();
    uint64_t sent_us = sent_ns / 1000;
    if (hs_executor_is_auto(&io->env.executor))
        hs_executor_end_turn(&io->env.executor, sent_ns - io->env.loop.now_ns);
    hs_stats_turn_end(&observer->turn, observer->stats, observer->now_us, sent_us);
    if (!observer->has_lines)
        return;
    count_lost_spans(io);
    for (unsigned i = 0; i < HS_IO_LINES; i++) {
        hs_io_lines_t *lines = &io->lines[i];
        if (lines->log == NULL || lines->log->len == 0)
            continue;
        hs_access_log_complete(lines->log, sent_us);
        if (io->env.loop.now_ms >= lines->flush_ms || lines->log->len >= HALF_FULL)
            write_lines(io, lines);
    }
}

void hs_io_observe_generation(hs_io_t *io, uint64_t generation)
{
    for (unsigned i = 0; i < HS_IO_LINES; i++)
        if (io->lines[i].log != NULL)
            hs_access_log_set_generation(io->lines[i].log, generation);
    if (io->page != NULL)
        hs_stats_page_set_generation(io->page, io->stats_slot, io->stats_side, generation);
}

void hs_io_observe_reopen(hs_io_t *io)
{
    hs_errinfo_t error = { 0 };
    hs_io_observe_flush(io);
    hs_io_lines_t *lines = &io->lines[HS_IO_ACCESS];
    if (lines->log == NULL)
        return;
    lines->failed = false;
    if (hs_append_reopen(&lines->file, &error) != HS_OK)
        hs_log_write(io->env.log, HS_LOG_ERROR, "%s", error.text);
}

uint64_t hs_io_observe_due_ms(const hs_io_t *io)
{
    uint64_t due_ms = io->page != NULL ? io->env.loop.now_ms + HEARTBEAT_MS : 0;
    for (unsigned i = 0; i < HS_IO_LINES; i++) {
        const hs_io_lines_t *lines = &io->lines[i];
        if (lines->log != NULL && lines->log->len > 0 && (due_ms == 0 || lines->flush_ms < due_ms))
            due_ms = lines->flush_ms;
    }
    return due_ms;
}
