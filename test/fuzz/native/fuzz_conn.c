/*
 * libFuzzer target: a whole connection (ring, parser, handler, answers) fed with any bytes at any
 * segmentation and with sends that take any part.
 *
 * The first four bytes of an input choose ring, limits and segmentation; the others are what the
 * client sends. Each input runs three times: in one piece, in random pieces (the answers must be
 * the same bytes, but for interim answers, which depend on what has arrived), and with a deadline,
 * a drain or a dead peer somewhere.
 */
#include <stdio.h>
#include <stdlib.h>

#include "http/hs_status.h"
#include "wire_link.h"

#define CONTROL_BYTES 4
#define LARGE_ANSWER 70000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the handler has seen on the connection. */
typedef struct seen {
    unsigned count;
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

/* Answers with the number of the request and a hash of all that can be asked about it. */
static void handle(hs_request_t *request, hs_response_t *response, void *user_data)
{
    static const char *const names[] = { "host", "content-length", "connection", "x" };
    seen_t *seen = user_data;
    const char *url = hs_req_url(request);
    size_t content_len;
    const char *content = hs_req_body(request, &content_len);
    uint32_t sum = hash(2166136261u, url, strlen(url));
    sum = hash(sum, content, content_len);
    sum = hash(sum, hs_req_method_str(request), strlen(hs_req_method_str(request)));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = hs_req_header(request, names[i]);
        if (value != NULL)
            sum = hash(sum, value, strlen(value));
    }
    static char large[LARGE_ANSWER];
    char text[64];
    int len = snprintf(text, sizeof(text), "%u %08x\n", seen->count++, sum);
    hs_res_header(response, "X-Number", text[0] == '\0' ? "" : "1");
    if (url[0] == '/' && url[1] == 'l')
        hs_res_body(response, large, sizeof(large));
    else
        hs_res_body(response, text, (size_t)len);
    if (url[0] == '/' && url[1] == 'c')
        hs_res_header(response, "Connection", "close");
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
        .keepalive_timeout_ms = 10,
        .write_timeout_ms = 10,
    };
}

static long content_length_of(hs_span_t head)
{
    const char *at = memmem(head.data, head.len, "\r\nContent-Length: ", 18);
    return at == NULL ? -1 : strtol(at + 18, NULL, 10);
}

/* A request that is malformed and passes a limit is refused for whichever shows first, which
 * depends on the cut: all that counts is that it is refused. */
static bool may_vary(int status)
{
    return status == 400 || status == 413 || status == 414 || status == 431;
}

/*
 * Reads the answers: whole, refusals only at the end, as many from the handler as it was called.
 * HEAD and other answers without content are told apart by what follows: the next answer begins.
 * Returns how many bytes must be the same however the input is cut.
 */
static size_t check_answers(const hs_buf_t *got, unsigned handled)
{
    hs_span_t rest = hs_span(got->data, got->len);
    unsigned answers = 0;
    bool refused = false;
    size_t fixed = got->len;
    while (rest.len > 0) {
        const char *end = memmem(rest.data, rest.len, "\r\n\r\n", 4);
        check(end != NULL && memcmp(rest.data, "HTTP/1.1 ", 9) == 0, "an answer has a head");
        check(!refused, "a refusal is the last answer");
        hs_span_t head = hs_span(rest.data, (size_t)(end - rest.data) + 4);
        int status = atoi(rest.data + 9);
        rest = hs_span(rest.data + head.len, rest.len - head.len);
        if (status == 100)
            continue;
        answers += status == 200;
        refused = status != 200;
        if (refused && may_vary(status))
            fixed = (size_t)(head.data - got->data);
        check(!refused || memmem(head.data, head.len, "\r\nConnection: close\r\n", 21) != NULL,
              "a refusal says close");
        long length = content_length_of(head);
        check(length >= 0, "an answer has a length");
        bool bodiless = rest.len == 0 || (rest.len >= 9 && memcmp(rest.data, "HTTP/1.1 ", 9) == 0);
        if (bodiless)
            continue;
        check((size_t)length <= rest.len, "content is complete");
        rest = hs_span(rest.data + length, rest.len - (size_t)length);
    }
    check(answers == handled, "one answer for each request that was handled");
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
    if (link->conn.phase == HS_CONN_CLOSED)
        return;
    switch (random % 4) {
    case 0:
        link->env.now_ms += 100;
        hs_conn_deadline_passed(&link->conn, &link->env);
        return;
    case 1:
        link->env.draining = true;
        hs_conn_drain(&link->conn, &link->env);
        return;
    case 2:
        hs_conn_abort(&link->conn, &link->env);
        return;
    default:
        hs_conn_peer_shut(&link->conn, &link->env);
    }
}

/* Random pieces; with `events` something else happens once. */
static void feed_in_pieces(wire_link_t *link, const char *data, size_t len, uint32_t seed,
                           bool events)
{
    uint32_t state = seed | 1;
    size_t event_at = events ? next_random(&state) % (len + 1) : len + 1;
    for (size_t at = 0; at < len;) {
        size_t piece = 1 + next_random(&state) % (1u << (next_random(&state) % 12));
        piece = hs_min(piece, len - at);
        link->send_max = next_random(&state) % 4 == 0 ? 1 + next_random(&state) % 100 : 0;
        wire_link_feed(link, data + at, piece);
        at += piece;
        if (at >= event_at && !link->conn.peer_shut) {
            event(link, next_random(&state));
            event_at = len + 1;
            if (link->conn.peer_shut)
                break;
        }
    }
}

static void run(wire_link_t *link, seen_t *seen, const char *data, size_t len, uint32_t seed,
                bool events)
{
    seen->count = 0;
    link->send_max = 0;
    link->env.draining = false;
    wire_link_open(link);
    if (seed == 0)
        wire_link_feed(link, data, len);
    else
        feed_in_pieces(link, data, len, seed, events);
    wire_link_shut(link);
    wire_link_close(link);
    size_t fixed = check_answers(&link->got, seen->count);
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
    seen_t seen;
    wire_link_t link;
    wire_link_init(&link, &limits, handle, &seen);
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
    check(same, "cutting the bytes elsewhere changes no answer");
    hs_buf_free(&whole);
    run(&link, &seen, bytes, len, seed, true);
    wire_link_free(&link);
    return 0;
}
