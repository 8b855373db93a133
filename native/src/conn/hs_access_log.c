#include "conn/hs_access_log.h"

#include <stdio.h>
#include <time.h>

#include "http/hs_parse.h"

/* Digits of a response time in ms with three decimals: up to 27 hours. */
#define TIME_WIDTH 12
/* The maximum size of a target and of a client's field, escaped. */
#define TARGET_MAX 2048
#define FIELD_MAX 512

/*
 * Until its line is completed, the gap for a response time holds the start of the request and the
 * position of the next gap (0: last; no gap is at 0). It fills TIME_WIDTH exactly.
 */
typedef struct gap {
    uint64_t begun_us;
    uint32_t next;
} gap_t;

#define GAP_BYTES (sizeof(uint64_t) + sizeof(uint32_t))
_Static_assert(GAP_BYTES == TIME_WIDTH, "a gap is as long as the number that fills it");

static gap_t read_gap(const hs_access_log_t *log, uint32_t at)
{
    gap_t gap;
    memcpy(&gap.begun_us, log->data + at, sizeof(gap.begun_us));
    memcpy(&gap.next, log->data + at + sizeof(gap.begun_us), sizeof(gap.next));
    return gap;
}

static void write_gap(hs_access_log_t *log, uint32_t at, gap_t gap)
{
    memcpy(log->data + at, &gap.begun_us, sizeof(gap.begun_us));
    memcpy(log->data + at + sizeof(gap.begun_us), &gap.next, sizeof(gap.next));
}

static void put(hs_access_log_t *log, const char *data, size_t len)
{
    HS_ASSERT(len <= sizeof(log->data) - log->len);
    memcpy(log->data + log->len, data, len);
    log->len += len;
}

static void put_text(hs_access_log_t *log, const char *text)
{
    put(log, text, strlen(text));
}

static void put_number(hs_access_log_t *log, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    put(log, digits + at, sizeof(digits) - at);
}

/* Escapes a peer's data, so that it cannot end its string or start a line: JSON's \u00XX, or
 * Apache's \xXX. At most `max` bytes; the rest is cut. */
static void put_escaped(hs_access_log_t *log, hs_span_t text, size_t max)
{
    static const char hex[] = "0123456789abcdef";
    size_t end = log->len + max;
    bool is_json = log->format != HS_ACCESS_LOG_COMBINED;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        bool is_plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
        if (log->len + (is_plain ? 1 : 6) > end) {
            put_text(log, "...");
            return;
        }
        if (is_plain) {
            log->data[log->len++] = (char)c;
            continue;
        }
        put_text(log, is_json ? "\\u00" : "\\x");
        put(log, &hex[c >> 4], 1);
        put(log, &hex[c & 15], 1);
    }
}

void hs_access_log_init(hs_access_log_t *log, hs_access_log_format_t format,
                        const hs_access_log_origin_t *origin)
{
    log->format = format;
    log->len = 0;
    log->first_gap = log->last_gap = 0;
    log->date_s = -1;
    /* Host names contain no character that JSON escapes; names with one are left out. */
    bool is_plain = strpbrk(origin->hostname, "\"\\\n") == NULL;
    int len = snprintf(log->origin, sizeof(log->origin),
                       ",\"pid\":%u,\"hostname\":\"%.64s\",\"reactor\":%d,\"gen\":", origin->pid,
                       is_plain ? origin->hostname : "", origin->reactor);
    log->origin_len = len > 0 ? hs_min((size_t)len, sizeof(log->origin) - 1) : 0;
    log->generation = origin->generation;
}

void hs_access_log_set_generation(hs_access_log_t *log, uint64_t generation)
{
    log->generation = generation;
}

static hs_span_t field(const hs_msg_t *msg, const char *name)
{
    const hs_field_t *found = hs_msg_find(msg, hs_span(name, strlen(name)));
    return found == NULL ? hs_span("-", 1) : hs_msg_field_value(msg, found);
}

static void put_peer(hs_access_log_t *log, const hs_peer_t *peer)
{
    char text[HS_PEER_TEXT_CAP];
    put_text(log, hs_peer_has_address(peer) ? hs_peer_text(peer, text) : "-");
}

/* Inside a string that stays open. */
static void put_trace(hs_access_log_t *log, const hs_job_t *job)
{
    hs_job_trace_t trace = hs_job_trace(job);
    if (trace.trace_id.len > 0) {
        put_text(log, "\",\"traceId\":\"");
        put(log, trace.trace_id.data, trace.trace_id.len);
    }
    if (trace.span_id.len > 0) {
        put_text(log, "\",\"spanId\":\"");
        put(log, trace.span_id.data, trace.span_id.len);
    }
}

static void put_origin(hs_access_log_t *log, int64_t time_ms)
{
    put_number(log, (uint64_t)time_ms);
    put(log, log->origin, log->origin_len);
    put_number(log, log->generation);
}

static void put_json_begin(hs_access_log_t *log, int64_t time_ms)
{
    put_text(log, "{\"level\":30,\"time\":");
    put_origin(log, time_ms);
}

static void put_member(hs_access_log_t *log, const char *name, hs_span_t value)
{
    put_text(log, "\"");
    put_text(log, name);
    put_text(log, "\":\"");
    put(log, value.data, value.len);
    put_text(log, "\",");
}

/* The exporter generates missing ids. `begun`: microseconds of Unix time. */
static void put_span(hs_access_log_t *log, const hs_access_log_entry_t *entry)
{
    hs_job_trace_t trace = hs_job_trace(entry->job);
    put_text(log, "{\"span\":{");
    if (trace.trace_id.len > 0)
        put_member(log, "traceId", trace.trace_id);
    if (trace.span_id.len > 0)
        put_member(log, "spanId", trace.span_id);
    if (trace.parent_id.len > 0)
        put_member(log, "parentId", trace.parent_id);
    put_text(log, "\"begun\":");
    /* The offset between the two clocks, in whole milliseconds, is the same for spans of calls. */
    int64_t offset_ms = entry->time_ms - (int64_t)(entry->now_us / 1000);
    put_number(log, (uint64_t)(offset_ms * 1000) + entry->begun_us);
    put_text(log, "},\"time\":");
    put_origin(log, entry->time_ms);
}

/* What is known of the request. */
static void put_json_request(hs_access_log_t *log, const hs_access_log_entry_t *entry)
{
    const hs_job_t *job = entry->job;
    const hs_msg_t *msg = &job->request.msg;
    put_text(log, ",\"reqId\":\"");
    char id[HS_REQUEST_ID_CAP];
    put(log, id, hs_job_format_id(job, id));
    if (!entry->is_refused && log->format == HS_ACCESS_LOG_JSON)
        put_trace(log, job);
    put_text(log, "\",\"req\":{");
    if (!entry->is_refused) {
        put_text(log, "\"method\":\"");
        put_text(log, hs_parse_method_name(msg->method));
        put_text(log, "\",\"url\":\"");
        put_escaped(log, hs_msg_url(msg), TARGET_MAX);
        put_text(log, "\",\"host\":\"");
        put_escaped(log, field(msg, "Host"), FIELD_MAX);
        put_text(log, "\",");
    }
    put_text(log, "\"remoteAddress\":\"");
    put_peer(log, entry->peer);
    put_text(log, "\",\"remotePort\":");
    put_number(log, entry->peer->port);
    if (entry->client != NULL) {
        put_text(log, ",\"clientAddress\":\"");
        put_peer(log, entry->client);
        put_text(log, "\"");
    }
    put_text(log, "},\"res\":{\"statusCode\":");
    put_number(log, (uint64_t)entry->status);
    put_text(log, "}");
}

/* Writes the line up to its last number; returns the position of that number. */
static size_t put_json(hs_access_log_t *log, const hs_access_log_entry_t *entry)
{
    if (log->format == HS_ACCESS_LOG_SPANS)
        put_span(log, entry);
    else
        put_json_begin(log, entry->time_ms);
    put_json_request(log, entry);
    put_text(log, ",\"bytesOut\":");
    put_number(log, entry->bytes_out);
    put_text(log, entry->is_refused ? ",\"msg\":\"request refused\",\"responseTime\":"
                                    : ",\"msg\":\"request completed\",\"responseTime\":");
    size_t time_at = log->len;
    log->len += TIME_WIDTH;
    put_text(log, "}\n");
    return time_at;
}

static void put_date(hs_access_log_t *log, int64_t time_ms)
{
    if (log->date_s != time_ms / 1000) {
        log->date_s = time_ms / 1000;
        time_t seconds = (time_t)log->date_s;
        struct tm utc;
        log->date[0] = '\0';
        if (gmtime_r(&seconds, &utc) != NULL)
            (void)strftime(log->date, sizeof(log->date), "%d/%b/%Y:%H:%M:%S +0000", &utc);
    }
    put_text(log, log->date);
}

/* From the date to the number of bytes. */
static void put_combined_request(hs_access_log_t *log, const hs_access_log_entry_t *entry)
{
    const hs_msg_t *msg = &entry->job->request.msg;
    put_text(log, "] \"");
    if (!entry->is_refused) {
        put_text(log, hs_parse_method_name(msg->method));
        put_text(log, " ");
        put_escaped(log, hs_msg_url(msg), TARGET_MAX);
        put_text(log, msg->minor_version == 0 ? " HTTP/1.0" : " HTTP/1.1");
    } else {
        put_text(log, "-");
    }
    put_text(log, "\" ");
    put_number(log, (uint64_t)entry->status);
    put_text(log, " ");
}

/* Behind the number of bytes. */
static void put_combined_client(hs_access_log_t *log, const hs_access_log_entry_t *entry)
{
    const hs_msg_t *msg = &entry->job->request.msg;
    put_text(log, " \"");
    put_escaped(log, entry->is_refused ? hs_span("-", 1) : field(msg, "Referer"), FIELD_MAX);
    put_text(log, "\" \"");
    put_escaped(log, entry->is_refused ? hs_span("-", 1) : field(msg, "User-Agent"), FIELD_MAX);
    put_text(log, "\"\n");
}

static void put_combined(hs_access_log_t *log, const hs_access_log_entry_t *entry)
{
    put_peer(log, entry->client != NULL ? entry->client : entry->peer);
    put_text(log, " - - [");
    put_date(log, entry->time_ms);
    put_combined_request(log, entry);
    put_number(log, entry->bytes_out);
    put_combined_client(log, entry);
}

/* Where the line continues after values not known yet: in JSON after the request, in the combined
 * format after the peer and after the status. */
struct hs_access_kept {
    uint64_t begun_us;
    uint32_t given;
    uint32_t lens[3];
    char text[];
};

hs_access_kept_t *hs_access_log_keep(hs_access_log_t *log, const hs_access_log_entry_t *entry)
{
    hs_access_kept_t *kept = NULL;
    size_t mark = log->len;
    uint32_t lens[3] = { 0 };
    if (hs_access_log_is_full(log))
        return NULL;
    /* Written in place of a line, and copied from there. */
    if (log->format == HS_ACCESS_LOG_COMBINED) {
        put_peer(log, entry->client != NULL ? entry->client : entry->peer);
        lens[0] = (uint32_t)(log->len - mark);
        put_combined_request(log, entry);
        lens[1] = (uint32_t)(log->len - mark) - lens[0];
        put_combined_client(log, entry);
        lens[2] = (uint32_t)(log->len - mark) - lens[0] - lens[1];
    } else {
        put_json_request(log, entry);
        lens[0] = (uint32_t)(log->len - mark);
    }
    size_t len = log->len - mark;
    log->len = mark;
    kept = hs_alloc(sizeof(*kept) + len);
    if (kept == NULL)
        return NULL;
    kept->begun_us = entry->begun_us;
    kept->given = (uint32_t)entry->bytes_out;
    memcpy(kept->lens, lens, sizeof(lens));
    memcpy(kept->text, log->data + mark, len);
    return kept;
}

/* The last number of a JSON line is filled in at the end of the turn. */
static void begin_gap(hs_access_log_t *log, uint32_t at, uint64_t begun_us)
{
    write_gap(log, at, (gap_t){ .begun_us = begun_us });
    if (log->first_gap == 0) {
        log->first_gap = at;
    } else {
        gap_t last = read_gap(log, log->last_gap);
        last.next = at;
        write_gap(log, log->last_gap, last);
    }
    log->last_gap = at;
}

void hs_access_log_add_kept(hs_access_log_t *log, const hs_access_kept_t *kept, int64_t time_ms,
                            uint32_t given, int code)
{
    uint32_t bytes_out = given - kept->given;
    HS_ASSERT(!hs_access_log_is_full(log));
    const char *text = kept->text;
    if (log->format == HS_ACCESS_LOG_COMBINED) {
        put(log, text, kept->lens[0]);
        put_text(log, " - - [");
        put_date(log, time_ms);
        put(log, text + kept->lens[0], kept->lens[1]);
        put_number(log, bytes_out);
        put(log, text + kept->lens[0] + kept->lens[1], kept->lens[2]);
        return;
    }
    put_json_begin(log, time_ms);
    put(log, text, kept->lens[0]);
    put_text(log, ",\"bytesOut\":");
    put_number(log, bytes_out);
    put_text(log, ",\"closeCode\":");
    put_number(log, (uint64_t)code);
    put_text(log, ",\"msg\":\"websocket closed\",\"responseTime\":");
    uint32_t at = (uint32_t)log->len;
    log->len += TIME_WIDTH;
    put_text(log, "}\n");
    begin_gap(log, at, kept->begun_us);
}

void hs_access_log_add(hs_access_log_t *log, const hs_access_log_entry_t *entry)
{
    HS_ASSERT(!hs_access_log_is_full(log));
    if (log->format == HS_ACCESS_LOG_COMBINED) {
        put_combined(log, entry);
        return;
    }
    begin_gap(log, (uint32_t)put_json(log, entry), entry->begun_us);
}

void hs_access_log_add_line(hs_access_log_t *log, const char *line, size_t len)
{
    HS_ASSERT(!hs_access_log_is_full(log) && len <= HS_ACCESS_LOG_LINE_MAX);
    put(log, line, len);
}

/* Right-aligned milliseconds with three decimals: JSON allows white space before a number. */
static void fill_time(char *to, uint64_t us)
{
    size_t at = TIME_WIDTH;
    for (int digit = 0; digit < 4 || us > 0; digit++) {
        if (digit == 3)
            to[--at] = '.';
        to[--at] = (char)('0' + us % 10);
        us /= 10;
    }
    memset(to, ' ', at);
}

void hs_access_log_complete(hs_access_log_t *log, uint64_t sent_us)
{
    while (log->first_gap != 0) {
        gap_t gap = read_gap(log, log->first_gap);
        fill_time(log->data + log->first_gap,
                  hs_min(sent_us - gap.begun_us, (uint64_t)99999999999));
        log->first_gap = gap.next;
    }
}

void hs_access_log_take(hs_access_log_t *log, size_t len)
{
    HS_ASSERT(len <= log->len && log->first_gap == 0);
    memmove(log->data, log->data + len, log->len - len);
    log->len -= len;
}
