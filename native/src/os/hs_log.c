#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "os/hs_log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/hs_span.h"
#include "base/hs_utf8.h"
#include "os/hs_clock.h"
#include "os/hs_nowait.h"

/* How long after a lost line no line is waited for. */
#define NO_WAIT_MS 1000

/* A line under construction in a fixed buffer. What does not fit sets `is_cut` and adds nothing. */
typedef struct hs_log_line {
    char data[HS_LOG_JSON_LINE_CAP];
    size_t len;
    size_t limit; /* at most sizeof(data): less while room is kept for what must follow */
    bool is_cut;
    bool is_json; /* a quote is escaped */
} hs_log_line_t;

static void hs_log_line_begin(hs_log_line_t *line, bool is_json)
{
    line->is_json = is_json;
    line->len = 0;
    line->limit = sizeof(line->data);
    line->is_cut = false;
}

static void hs_log_line_add(hs_log_line_t *line, const char *data, size_t len)
{
    if (line->is_cut || line->limit - line->len < len) {
        line->is_cut = true;
        return;
    }
    memcpy(line->data + line->len, data, len);
    line->len += len;
}

HS_PRINTF(2, 3)
static void hs_log_line_format(hs_log_line_t *line, const char *format, ...)
{
    char text[128];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    HS_ASSERT(len >= 0 && (size_t)len < sizeof(text));
    if (len > 0)
        hs_log_line_add(line, text, hs_min((size_t)len, sizeof(text) - 1));
}

/* Adds one character, escaped as JSON does; returns how many bytes of the input it was. */
static size_t hs_log_line_escape(hs_log_line_t *line, const unsigned char *bytes, size_t available)
{
    static const char names[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* pairs: the byte, its letter */
    size_t len = hs_utf8_len(bytes, available);
    for (size_t i = line->is_json ? 0 : 2; len == 1 && i + 1 < sizeof(names); i += 2)
        if ((char)bytes[0] == names[i]) {
            hs_log_line_add(line, (const char[]){ '\\', names[i + 1] }, 2);
            return 1;
        }
    if (len == 0 || bytes[0] < 0x20 || bytes[0] == 0x7F) {
        hs_log_line_format(line, "\\u%04x", bytes[0]);
        return 1;
    }
    if (len == 2 && bytes[0] == 0xC2 && bytes[1] < 0xA0) { /* C1: a terminal may obey them */
        hs_log_line_format(line, "\\u%04x", bytes[1]);
        return 2;
    }
    hs_log_line_add(line, (const char *)bytes, len);
    return len;
}

/* Adds `message` escaped, then `tail` for which room is kept, and a mark between them if cut. */
static void hs_log_line_finish(hs_log_line_t *line, const char *message, size_t len,
                               const char *tail)
{
    const unsigned char *bytes = (const unsigned char *)message;
    line->limit = sizeof(line->data) - strlen(tail) - strlen(HS_LOG_CUT_MARK);
    for (size_t i = 0; i < len && !line->is_cut;)
        i += hs_log_line_escape(line, bytes + i, len - i);
    bool is_cut = line->is_cut;
    line->is_cut = false;
    line->limit = sizeof(line->data);
    if (is_cut)
        hs_log_line_add(line, HS_LOG_CUT_MARK, strlen(HS_LOG_CUT_MARK));
    hs_log_line_add(line, tail, strlen(tail));
}

/* True: written, or can never be. False: there was no room for it. */
static bool hs_log_line_offer(const hs_log_line_t *line, int fd, int wait_ms)
{
    size_t piece = hs_nowait_piece(fd);
    for (size_t done = 0; done < line->len;) {
        ssize_t n = hs_nowait_write(fd, piece, line->data + done, line->len - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (wait_ms == 0 || !hs_nowait_has_room(fd, wait_ms))
                return false;
            wait_ms = 0;
        } else if (n == -1 && errno != EINTR)
            return true;
    }
    return true;
}

/* The format of a line: JSON of a reactor (-1: none), or text. */
typedef struct hs_log_form {
    bool is_json;
    int reactor;
    const hs_log_request_t *request; /* NULL: about none */
    const char *fields;              /* further members, fields_len bytes */
    size_t fields_len;
} hs_log_form_t;

/* One line per message whatever its bytes, so that a peer cannot forge a second one. */
static void hs_log_render_text(hs_log_line_t *line, hs_log_level_t level, const char *message,
                               size_t len)
{
    static const char *const names[] = { "DEBUG", "INFO", "WARN", "ERROR", "FATAL" };
    hs_log_line_begin(line, false);
    int64_t now_ms = hs_clock_realtime_ms();
    time_t now_s = (time_t)(now_ms / 1000);
    struct tm utc;
    char date[32] = "";
    if (gmtime_r(&now_s, &utc) != NULL)
        (void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
    hs_log_line_format(line, "%s.%03dZ %s ", date, (int)(now_ms % 1000), names[level]);
    hs_log_line_finish(line, message, len, "\n");
}

static void hs_log_add_request(hs_log_line_t *line, const hs_log_request_t *request)
{
    hs_log_line_format(line, ",\"reqId\":\"%.64s\",\"req\":{\"method\":\"%.32s\",\"url\":\"",
                       request->id, request->method);
    const unsigned char *target = (const unsigned char *)request->target;
    size_t len = hs_min(request->target_len, HS_LOG_TARGET_MAX);
    for (size_t i = 0; i < len;)
        i += hs_log_line_escape(line, target + i, len - i);
    hs_log_line_format(line, "\"}");
    if (request->trace_id != NULL)
        hs_log_line_format(line, ",\"traceId\":\"%.32s\"", request->trace_id);
    if (request->span_id != NULL)
        hs_log_line_format(line, ",\"spanId\":\"%.16s\"", request->span_id);
}

static void hs_log_render_json(hs_log_line_t *line, const hs_log_form_t *form, hs_log_level_t level,
                               const char *message, size_t len)
{
    hs_log_line_begin(line, true);
    /* pino's numbers: debug 20, info 30 ... fatal 60 */
    hs_log_line_format(line, "{\"level\":%d,\"time\":%lld,\"pid\":%ld", ((int)level + 2) * 10,
                       (long long)hs_clock_realtime_ms(), (long)getpid());
    if (form->reactor >= 0)
        hs_log_line_format(line, ",\"reactor\":%d", form->reactor);
    if (form->request != NULL)
        hs_log_add_request(line, form->request);
    if (form->fields_len > 0) {
        hs_log_line_add(line, ",", 1);
        hs_log_line_add(line, form->fields, form->fields_len);
    }
    hs_log_line_format(line, ",\"msg\":\"");
    hs_log_line_finish(line, message, len, "\"}\n");
}

static void hs_log_render(hs_log_line_t *line, const hs_log_form_t *form, hs_log_level_t level,
                          const char *message, size_t len)
{
    HS_ASSERT(level >= HS_LOG_DEBUG && level < HS_LOG_OFF);
    if (form->is_json)
        hs_log_render_json(line, form, level, message, len);
    else
        hs_log_render_text(line, level, message, len);
}

static void hs_log_put(int fd, const hs_log_form_t *form, hs_log_loss_t *loss, hs_log_level_t level,
                       const char *message, size_t len)
{
    hs_log_line_t line;
    hs_log_render(&line, form, level, message, len);
    uint64_t now_ms = hs_clock_monotonic_ms();
    bool waits = now_ms >= atomic_load_explicit(&loss->no_wait_until_ms, memory_order_relaxed);
    if (!hs_log_line_offer(&line, fd, waits ? HS_LOG_WAIT_MS : 0)) {
        atomic_fetch_add_explicit(&loss->lines, 1, memory_order_relaxed);
        atomic_store_explicit(&loss->no_wait_until_ms, now_ms + NO_WAIT_MS, memory_order_relaxed);
        return;
    }
    if (HS_LIKELY(atomic_load_explicit(&loss->lines, memory_order_relaxed) == 0))
        return;
    char text[64];
    uint32_t lost = atomic_exchange_explicit(&loss->lines, 0, memory_order_relaxed);
    int text_len = snprintf(text, sizeof(text),
                            "%u log lines were lost: the reader did not keep up", (unsigned)lost);
    const hs_log_form_t plain = { .is_json = form->is_json, .reactor = form->reactor };
    hs_log_render(&line, &plain, HS_LOG_WARN, text, (size_t)text_len);
    if (!hs_log_line_offer(&line, fd, 0))
        atomic_fetch_add_explicit(&loss->lines, lost, memory_order_relaxed);
}

void hs_log_json_line(int fd, int reactor, hs_log_loss_t *loss, hs_log_level_t level,
                      const char *message, size_t len)
{
    const hs_log_form_t form = { .is_json = true, .reactor = reactor };
    hs_log_put(fd, &form, loss, level, message, len);
}

void hs_log_json_sink(void *json_ud, hs_log_level_t level, const char *message, size_t len)
{
    hs_log_json_t *json = json_ud;
    hs_log_json_line(json->fd, json->reactor, &json->loss, level, message, len);
}

void hs_log_text_line(int fd, hs_log_loss_t *loss, hs_log_level_t level, const char *message,
                      size_t len)
{
    const hs_log_form_t form = { .is_json = false };
    hs_log_put(fd, &form, loss, level, message, len);
}

void hs_log_init(hs_log_t *log, hs_log_level_t level, hs_log_sink_fn sink, void *sink_ud)
{
    atomic_init(&log->level, (int)level);
    log->sink = sink != NULL ? sink : hs_log_process_sink;
    log->sink_ud = sink != NULL ? sink_ud : NULL;
}

/* The length at which to put the mark: at most `len`, and not inside a UTF-8 sequence. */
static size_t hs_log_cut_at(const char *message, size_t len)
{
    size_t at = len;
    while (at > 0 && len - at < 4 && ((unsigned char)message[at] & 0xC0) == 0x80)
        at--;
    return ((unsigned char)message[at] & 0xC0) == 0x80 ? len : at;
}

/* `message` holds a buffer's fill, of a message that has `len` bytes: cuts it if it is longer, and
 * returns the length that it has then. */
static size_t hs_log_cut(char message[HS_LOG_MESSAGE_CAP], size_t len)
{
    if (len < HS_LOG_MESSAGE_CAP)
        return len;
    size_t at = hs_log_cut_at(message, HS_LOG_MESSAGE_CAP - sizeof(HS_LOG_CUT_MARK));
    memcpy(message + at, HS_LOG_CUT_MARK, sizeof(HS_LOG_CUT_MARK));
    return at + sizeof(HS_LOG_CUT_MARK) - 1;
}

void hs_log_write(hs_log_t *log, hs_log_level_t level, const char *format, ...)
{
    if (!hs_log_enabled(log, level))
        return;
    int saved_errno = errno;
    char message[HS_LOG_MESSAGE_CAP];
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    if (wanted < 0)
        message[0] = '\0'; /* a failed conversion: the line still shows that something was logged */
    size_t len = hs_log_cut(message, wanted > 0 ? (size_t)wanted : 0);
    log->sink(log->sink_ud, level, message, len);
    errno = saved_errno;
}

void hs_log_write_text(hs_log_t *log, hs_log_level_t level, const char *prefix, const char *text,
                       size_t len)
{
    hs_log_write_request(log, level, NULL, prefix, text, len);
}

/* The message of `parts`, as much of them as fits. Returns its length. */
static size_t hs_log_join(char message[HS_LOG_MESSAGE_CAP], const hs_span_t *parts, size_t count)
{
    size_t wanted = 0, copied = 0;
    for (size_t i = 0; i < count; i++) {
        size_t fitting = hs_min(parts[i].len, HS_LOG_MESSAGE_CAP - 1 - copied);
        if (fitting > 0)
            memcpy(message + copied, parts[i].data, fitting);
        copied += fitting;
        wanted += parts[i].len;
    }
    message[copied] = '\0';
    return hs_log_cut(message, wanted);
}

void hs_log_write_request(hs_log_t *log, hs_log_level_t level, const hs_log_request_t *request,
                          const char *prefix, const char *text, size_t len)
{
    if (!hs_log_enabled(log, level))
        return;
    int saved_errno = errno;
    char message[HS_LOG_MESSAGE_CAP];
    const hs_span_t parts[] = { hs_span(prefix, strlen(prefix)), hs_span(text, len) };
    len = hs_log_join(message, parts, 2);
    if (request != NULL && log->sink == hs_log_json_sink) {
        hs_log_json_t *json = log->sink_ud;
        const hs_log_form_t form = { .is_json = true,
                                     .reactor = json->reactor,
                                     .request = request };
        hs_log_put(json->fd, &form, &json->loss, level, message, len);
    } else {
        log->sink(log->sink_ud, level, message, len);
    }
    errno = saved_errno;
}

void hs_log_write_fields(hs_log_t *log, hs_log_level_t level, const hs_log_request_t *request,
                         const char *fields, size_t fields_len, const char *text, size_t len)
{
    if (fields_len == 0 || fields_len > HS_LOG_FIELDS_MAX) {
        hs_log_write_request(log, level, request, "", text, len);
        return;
    }
    if (!hs_log_enabled(log, level))
        return;
    int saved_errno = errno;
    char message[HS_LOG_MESSAGE_CAP];
    const hs_span_t parts[] = { hs_span(text, len), hs_span(len > 0 ? " {" : "{", len > 0 ? 2 : 1),
                                hs_span(fields, fields_len), hs_span("}", 1) };
    if (log->sink == hs_log_json_sink) {
        hs_log_json_t *json = log->sink_ud;
        const hs_log_form_t form = { .is_json = true,
                                     .reactor = json->reactor,
                                     .request = request,
                                     .fields = fields,
                                     .fields_len = fields_len };
        len = hs_log_join(message, parts, 1);
        hs_log_put(json->fd, &form, &json->loss, level, message, len);
    } else {
        len = hs_log_join(message, parts, 4);
        log->sink(log->sink_ud, level, message, len);
    }
    errno = saved_errno;
}
