/*
 * libFuzzer target: a whole connection (stream, ring, parser, handler, responses) with arbitrary
 * input at any segmentation, and sends that accept any part.
 *
 * The first four bytes of an input choose ring, limits, whether content is streamed, and
 * segmentation; the others are sent by the client. The target of a request says how its response is
 * sent: at once or deferred, whole, pinned or streamed. Each input runs three times: in one piece,
 * in random pieces (the responses must be the same bytes, except for interim responses, which
 * depend on what has arrived), and with a timeout, a drain or a dead peer at some point.
 */
#include <stdio.h>
#include <stdlib.h>

#include "http/hs_status.h"
#include "wire_link.h"

#define CONTROL_BYTES 4
#define LARGE_RESPONSE 70000
#define LARGE_PIECE 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the handler has seen on the connection. */
typedef struct seen {
    unsigned count; /* requests that it has responded to */
    bool streams_content;
    unsigned deferred;
    unsigned ends;
    hs_buf_t content; /* of the deferred request */
} seen_t;

static void check(bool holds, const char *sentence)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", sentence);
    abort();
}

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static uint32_t hash(uint32_t start, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        start = (start ^ (uint8_t)data[i]) * 16777619u;
    return start;
}

/* The number of the request and a hash of all its properties. */
static int describe(const hs_request_t *request, hs_span_t content, unsigned number, char *text,
                    size_t size)
{
    static const char *const names[] = { "host", "content-length", "connection", "x" };
    const char *url = hs_req_url(request);
    uint32_t sum = hash(2166136261u, url, strlen(url));
    sum = hash(sum, content.data, content.len);
    sum = hash(sum, hs_req_method_str(request), strlen(hs_req_method_str(request)));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = hs_req_header(request, names[i]);
        if (value != NULL)
            sum = hash(sum, value, strlen(value));
    }
    return snprintf(text, size, "%u %08x\n", number, sum);
}

static void respond_streamed(hs_response_t *response, const char *text, size_t len)
{
    static const char large[LARGE_PIECE];
    if (text[len - 2] % 2 == 0)
        hs_res_content_length(response, sizeof(large) + 2 * len);
    hs_res_write(response, text, len);
    hs_res_write(response, large, sizeof(large));
    hs_res_write(response, text, len);
    hs_res_send(response);
}

/* The way depends on the target. */
static void respond(const hs_request_t *request, hs_response_t *response, hs_span_t content,
                    unsigned number)
{
    static const char large[LARGE_RESPONSE];
    const char *url = hs_req_url(request);
    char kind = url[0] == '/' ? url[1] : '\0';
    char text[64];
    size_t len = (size_t)describe(request, content, number, text, sizeof(text));
    hs_res_header(response, "X-Number", "1");
    if (kind == 'c')
        hs_res_header(response, "Connection", "close");
    if (kind == 's') {
        respond_streamed(response, text, len);
        return;
    }
    if (kind == 'l')
        hs_res_body(response, large, sizeof(large));
    else if (kind == 'p')
        hs_res_body_pinned(response, large, sizeof(large), NULL, NULL);
    else
        hs_res_body(response, text, len);
    if (kind == 'd')
        hs_res_send(response);
}

static hs_content_next_t on_content(hs_deferred_t job, const char *data, size_t length,
                                    bool is_last, void *user_data)
{
    seen_t *seen = user_data;
    check(hs_buf_append(&seen->content, data, length), "memory");
    if (is_last) {
        respond(hs_deferred_request(job), hs_deferred_response(job),
                hs_span(seen->content.data, seen->content.len), seen->count++);
        if (hs_deferred_response(job) != NULL)
            hs_res_send(hs_deferred_response(job));
        return HS_CONTENT_CONTINUE;
    }
    if (length % 3 == 0)
        return HS_CONTENT_CONTINUE;
    hs_req_resume(job);
    return HS_CONTENT_PAUSE;
}

static void on_abort(hs_deferred_t job, hs_abort_reason_t reason, void *user_data)
{
    (void)user_data;
    if (reason != HS_ABORT_SHUT)
        hs_res_fail(hs_deferred_response(job));
}

static void on_end(void *user_data)
{
    seen_t *seen = user_data;
    seen->ends++;
}

static hs_deferred_t defer(hs_response_t *response, seen_t *seen)
{
    const hs_callbacks_t callbacks = { NULL, on_abort, on_content, on_end, seen };
    check(hs_res_callbacks(response, &callbacks) == 0, "a handler that runs may be told");
    hs_deferred_t job = hs_res_defer(response);
    check(job != 0, "a handler that runs may defer");
    seen->deferred++;
    seen->content.len = 0;
    return job;
}

static void handle(hs_request_t *request, hs_response_t *response, void *user_data)
{
    seen_t *seen = user_data;
    if (seen->streams_content) {
        (void)defer(response, seen);
        return;
    }
    size_t content_len;
    const char *content = hs_req_body(request, &content_len);
    const char *url = hs_req_url(request);
    bool is_late = url[0] == '/' && (url[1] == 'd' || url[1] == 's') && url[2] == 'd';
    if (is_late) {
        hs_deferred_t job = defer(response, seen);
        request = hs_deferred_request(job);
        content = hs_req_body(request, &content_len);
    }
    respond(request, response, hs_span(content, content_len), seen->count++);
}

static hs_limits_t limits_of(const uint8_t *control)
{
    static const uint32_t rings[] = { 64, 256, 8192 };
    return (hs_limits_t){
        .ring_size = rings[control[0] % 3],
        .max_url = (control[3] & 1) ? 30 : 8192,
        .max_headers = (control[3] & 2) ? 4 : 64,
        .max_connections = 1,
        .max_body = (control[3] & 4) ? 20 : 1u << 20,
        .header_timeout_ms = 10,
        .body_timeout_ms = 10,
        .body_min_rate = 1024,
        .handler_timeout_ms = 10,
        .keepalive_timeout_ms = 10,
        .write_timeout_ms = 10,
    };
}

static long content_length_of(hs_span_t head)
{
    const char *at = memmem(head.data, head.len, "\r\nContent-Length: ", 18);
    return at == NULL ? -1 : strtol(at + 18, NULL, 10);
}

/* Removes chunked content from the front. */
static hs_span_t behind_chunks(hs_span_t rest)
{
    for (;;) {
        const char *line_end = memmem(rest.data, rest.len, "\r\n", 2);
        check(line_end != NULL, "a chunk has a head");
        size_t size = strtoul(rest.data, NULL, 16);
        size_t len = (size_t)(line_end - rest.data) + 2 + size + 2;
        check(len <= rest.len && memcmp(rest.data + len - 2, "\r\n", 2) == 0,
              "a chunk is complete");
        rest = hs_span(rest.data + len, rest.len - len);
        if (size == 0)
            return rest;
    }
}

/* Removes the content of a response with this head from the front. Responses without content, such
 * as those to HEAD, are recognised by what follows: the next response. */
static hs_span_t behind_content(hs_span_t head, hs_span_t rest)
{
    long length = content_length_of(head);
    if (rest.len == 0 || (rest.len >= 9 && memcmp(rest.data, "HTTP/1.1 ", 9) == 0))
        return rest;
    if (length >= 0) {
        check((size_t)length <= rest.len, "content is complete");
        return hs_span(rest.data + length, rest.len - (size_t)length);
    }
    if (memmem(head.data, head.len, "\r\nTransfer-Encoding: chunked\r\n", 30) != NULL)
        return behind_chunks(rest);
    check(memmem(head.data, head.len, "\r\nConnection: close\r\n", 21) != NULL,
          "content without length ends with the connection");
    return hs_span("", 0);
}

/* A request that is both malformed and over a limit is refused for whichever is noticed first,
 * which depends on the segmentation: it only matters that it is refused. */
static bool may_vary(int status)
{
    return status == 400 || status == 413 || status == 414 || status == 431;
}

/*
 * Reads the responses: complete, refusals only at the end, as many from the handler as it sent.
 * Returns how many bytes must be the same at any segmentation.
 */
static size_t check_responses(const hs_buf_t *got, unsigned handled)
{
    hs_span_t rest = hs_span(got->data, got->len);
    unsigned responses = 0;
    bool refused = false;
    size_t fixed = got->len;
    while (rest.len > 0) {
        const char *end = memmem(rest.data, rest.len, "\r\n\r\n", 4);
        check(end != NULL && memcmp(rest.data, "HTTP/1.1 ", 9) == 0, "a response has a head");
        check(!refused, "a refusal is the last response");
        hs_span_t head = hs_span(rest.data, (size_t)(end - rest.data) + 4);
        int status = atoi(rest.data + 9);
        rest = hs_span(rest.data + head.len, rest.len - head.len);
        if (status == 100)
            continue;
        responses += status == 200;
        refused = status != 200;
        if (refused && may_vary(status))
            fixed = (size_t)(head.data - got->data);
        check(!refused || memmem(head.data, head.len, "\r\nConnection: close\r\n", 21) != NULL,
              "a refusal says close");
        rest = behind_content(head, rest);
    }
    check(responses == handled, "one response for each request that was answered");
    return fixed;
}

static void drop_interim(hs_buf_t *got)
{
    hs_span_t line = hs_status_line(100);
    char *at;
    while (got->len > 0 && (at = memmem(got->data, got->len, line.data, line.len)) != NULL) {
        size_t len = line.len + 2;
        memmove(at, at + len, got->len - (size_t)(at - got->data) - len);
        got->len -= len;
    }
}

static void event(wire_link_t *link, uint32_t random)
{
    if (link->is_closed)
        return;
    switch (random % 4) {
    case 0:
        byte_peer_expire(link, link->env.loop.now_ms + 100);
        return;
    case 1:
        link->env.draining = true;
        hs_stream_update(&link->env.loop, &link->conn.stream);
        return;
    case 2:
        byte_peer_abort(link);
        return;
    default:
        wire_link_shut(link);
    }
}

/* Random pieces; with `events` something else happens once. */
static void feed_in_pieces(wire_link_t *link, const char *data, size_t len, uint32_t seed,
                           bool events)
{
    uint32_t state = seed | 1;
    size_t event_at = events ? next_random(&state) % (len + 1) : len + 1;
    for (size_t at = 0; at < len && !link->is_closed;) {
        size_t piece = 1 + next_random(&state) % (1u << (next_random(&state) % 12));
        piece = hs_min(piece, len - at);
        link->send_max = next_random(&state) % 4 == 0 ? 1 + next_random(&state) % 100 : 0;
        wire_link_feed(link, data + at, piece);
        at += piece;
        if (at >= event_at) {
            event(link, next_random(&state));
            event_at = len + 1;
        }
    }
}

static void run(wire_link_t *link, seen_t *seen, const char *data, size_t len, uint32_t seed,
                bool events)
{
    seen->count = seen->deferred = seen->ends = 0;
    link->send_max = 0;
    link->env.draining = false;
    wire_link_open(link);
    if (seed == 0)
        wire_link_feed(link, data, len);
    else
        feed_in_pieces(link, data, len, seed, events);
    wire_link_shut(link);
    wire_link_close(link);
    check(seen->deferred == seen->ends, "every deferred response ends once");
    size_t fixed = check_responses(&link->got, seen->count);
    if (fixed < link->got.len) {
        link->got.len = fixed;
        check(hs_buf_append(&link->got, "refused\n", 8), "memory");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < CONTROL_BYTES)
        return 0;
    hs_limits_t limits = limits_of(data);
    uint32_t seed = 1u + data[1] + 256u * data[2];
    const char *bytes = (const char *)data + CONTROL_BYTES;
    size_t len = size - CONTROL_BYTES;
    seen_t seen = { .streams_content = (data[3] & 8) != 0 };
    wire_link_t link;
    wire_link_init(&link, &limits, handle, &seen);
    link.env.streams_content = seen.streams_content;
    run(&link, &seen, bytes, len, 0, false);
    hs_buf_t whole = link.got;
    unsigned handled = seen.count;
    link.got = (hs_buf_t){ 0 };
    run(&link, &seen, bytes, len, seed, false);
    drop_interim(&whole);
    drop_interim(&link.got);
    check(handled == seen.count, "cutting the bytes elsewhere changes no request");
    bool same = whole.len == link.got.len &&
                (whole.len == 0 || memcmp(whole.data, link.got.data, whole.len) == 0);
    if (!same)
        fprintf(stderr, "whole:\n%.*s\nin pieces:\n%.*s\n", (int)whole.len, whole.data,
                (int)link.got.len, link.got.data);
    check(same, "cutting the bytes elsewhere changes no response");
    hs_buf_free(&whole);
    run(&link, &seen, bytes, len, seed, true);
    wire_link_free(&link);
    hs_buf_free(&seen.content);
    return 0;
}
