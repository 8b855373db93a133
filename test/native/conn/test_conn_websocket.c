/* A connection that becomes a WebSocket: frames at every split point, both ends of it, limits,
 * backpressure in both directions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn_bench.h"
#include "http/hs_parse.h"
#include "ws/ws_frames.h"

#define HANDSHAKE                                                                                  \
    "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"               \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
#define ACCEPTED                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"                  \
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"                                                \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

/* owner: the test */
typedef struct bench {
    conn_bench_t cb;
    hs_websocket_t *socket; /* NULL: none, or closed */
    bool holds;             /* messages are not accepted at once */
    bool echoes;
    const char *greeting; /* sent on open; NULL: nothing */
    ws_bytes_t log;       /* one line per event */
} bench_t;

static void put_log(bench_t *b, const char *format, ...)
{
    char line[256];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    ws_bytes_put(&b->log, line, hs_min((size_t)len, sizeof(line) - 1));
}

static void on_opened(hs_websocket_t *socket)
{
    bench_t *b = socket->owner_data;
    b->socket = socket;
    put_log(b, "opened\n");
    if (b->greeting != NULL)
        assert_int_equal(
            hs_websocket_send(socket, HS_WS_TEXT, hs_span(b->greeting, strlen(b->greeting))),
            HS_OK);
}

static bool on_message(hs_websocket_t *socket, int kind, hs_span_t message)
{
    bench_t *b = socket->owner_data;
    put_log(b, "%s %zu %.*s\n", kind == HS_WS_TEXT ? "text" : "binary", message.len,
            (int)hs_min(message.len, 32), message.data);
    if (b->echoes && !b->holds)
        (void)!hs_websocket_send(socket, kind, message);
    return !b->holds;
}

static void on_drained(hs_websocket_t *socket)
{
    put_log(socket->owner_data, "drained\n");
}

static void on_closed(hs_websocket_t *socket, int code, hs_span_t reason)
{
    bench_t *b = socket->owner_data;
    put_log(b, "closed %d %.*s\n", code, (int)reason.len, reason.data);
    b->socket = NULL;
    hs_websocket_free(socket);
}

static const hs_websocket_owner_t owner = { on_opened, on_message, on_drained, on_closed };

static void handle(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)request;
    conn_bench_t *cb = user_data;
    bench_t *b = HS_CONTAINER_OF(cb, bench_t, cb);
    const hs_websocket_terms_t terms = { .protocols = HS_SPAN_LITERAL("chat"),
                                         .origins = HS_SPAN_LITERAL("same") };
    hs_websocket_t *socket;
    int result = hs_websocket_begin(hs_job_of_response(response), &terms, &owner, b, &socket);
    assert_true(result >= 0);
    cb->handled++;
}

static void open_bench(bench_t *b)
{
    memset(b, 0, sizeof(*b));
    conn_bench_init(&b->cb, handle);
    b->cb.limits.ws_max_message = 100000;
    b->cb.limits.ws_max_unsent = 100000;
    b->cb.limits.ws_ping_interval_ms = 5000;
    b->echoes = true;
    ws_bytes_put(&b->log, "", 0);
}

static void connect_bench(bench_t *b)
{
    conn_open(&b->cb);
    b->cb.peer.env.loop.on_event_done = NULL;
    b->cb.peer.conn.stream.observed = false;
}

static void close_bench(bench_t *b)
{
    byte_peer_abort(&b->cb.peer);
    assert_null(b->socket);
    assert_int_equal(b->cb.peer.env.loop.buffers.leased, 0);
    assert_int_equal(b->cb.peer.env.jobs.leased, 0);
    assert_int_equal(b->cb.peer.env.jobs.content_bytes, 0);
    assert_int_equal(b->cb.peer.env.loop.wheel.armed, 0);
    byte_peer_free(&b->cb.peer);
    ws_bytes_free(&b->log);
}

static void feed(bench_t *b, const ws_bytes_t *bytes, size_t step)
{
    assert_int_equal(conn_feed(&b->cb, bytes->data, bytes->len, step), bytes->len);
}

static void shake_hands(bench_t *b)
{
    conn_feed_text(&b->cb, HANDSHAKE);
    assert_string_equal(b->cb.peer.got.data, ACCEPTED);
    b->cb.peer.got.len = 0;
}

/* Opens, and receives frames from the client. */
static void open_with(bench_t *b, ws_bytes_t *frames, size_t step)
{
    connect_bench(b);
    shake_hands(b);
    feed(b, frames, step);
    ws_bytes_free(frames);
}

static void expect_got(bench_t *b, const char *bytes, size_t len)
{
    assert_int_equal(b->cb.peer.got.len, len);
    assert_memory_equal(b->cb.peer.got.data, bytes, len);
    b->cb.peer.got.len = 0;
}

static void frames_behind_the_handshake_at_every_split(void **state)
{
    (void)state;
    ws_bytes_t bytes = { 0 };
    ws_bytes_put(&bytes, HANDSHAKE, sizeof(HANDSHAKE) - 1);
    ws_text(&bytes, 0x81, "first");
    ws_text(&bytes, 0x89, "p");
    ws_text(&bytes, 0x01, "fra");
    ws_text(&bytes, 0x80, "gments");
    ws_frame(&bytes, 0x88, "\x03\xe8", 2);
    static const char got[] = ACCEPTED "\x81\x05hello\x81\x05"
                                       "first\x8a\x01p\x81\x09"
                                       "fragments\x88\x02\x03\xe8";
    for (size_t split = 0; split <= bytes.len; split++) {
        bench_t b;
        open_bench(&b);
        b.greeting = "hello";
        connect_bench(&b);
        if (split > 0)
            conn_receive(&b.cb, bytes.data, split);
        conn_pump(&b.cb);
        conn_receive(&b.cb, bytes.data + split, bytes.len - split);
        conn_pump(&b.cb);
        assert_string_equal(b.log.data, "opened\ntext 5 first\ntext 9 fragments\nclosed 1000 \n");
        expect_got(&b, got, sizeof(got) - 1);
        assert_int_equal(b.cb.peer.conn.phase, HS_CONN_LINGERING);
        close_bench(&b);
    }
    ws_bytes_free(&bytes);
}

/* Within the ring, across its end, and larger than it. */
static void messages_of_every_length(void **state)
{
    (void)state;
    static const size_t lengths[] = { 0, 1, 125, 126, 500, 4000, 8100, 8192, 8193, 20000, 70000 };
    char *payload = malloc(70000);
    memset(payload, 'x', 70000);
    for (size_t step = 1000; step <= 9000; step += 4000) {
        bench_t b;
        open_bench(&b);
        b.echoes = false;
        connect_bench(&b);
        shake_hands(&b);
        for (size_t i = 0; i < 3 * sizeof(lengths) / sizeof(lengths[0]); i++) {
            size_t len = lengths[i % (sizeof(lengths) / sizeof(lengths[0]))];
            ws_bytes_t bytes = { 0 };
            char line[64];
            ws_frame(&bytes, 0x82, payload, len);
            b.log.len = 0;
            feed(&b, &bytes, step);
            (void)snprintf(line, sizeof(line), "binary %zu %.*s\n", len, (int)hs_min(len, 32),
                           payload);
            assert_string_equal(b.log.data, line);
            ws_bytes_free(&bytes);
        }
        close_bench(&b);
    }
    free(payload);
}

static void an_idle_socket_has_no_buffers(void **state)
{
    (void)state;
    bench_t b;
    ws_bytes_t frames = { 0 };
    char payload[9000] = { 0 };
    open_bench(&b);
    ws_frame(&frames, 0x82, payload, sizeof(payload));
    open_with(&b, &frames, WHOLE);
    assert_null(b.cb.peer.conn.stream.buffers);
    assert_null(b.socket->part);
    assert_int_equal(b.cb.peer.env.jobs.content_bytes, 0);
    close_bench(&b);
}

/* A message held by its owner stops reading; what follows is delivered when it is done. */
static void one_message_is_in_hand_at_a_time(void **state)
{
    (void)state;
    bench_t b;
    ws_bytes_t frames = { 0 };
    open_bench(&b);
    b.holds = true;
    ws_text(&frames, 0x81, "one");
    ws_text(&frames, 0x81, "two");
    ws_text(&frames, 0x88, "");
    open_with(&b, &frames, WHOLE);
    assert_string_equal(b.log.data, "opened\ntext 3 one\n");
    assert_false(b.cb.peer.conn.stream.reads);
    hs_span_t message = hs_websocket_message(b.socket);
    assert_memory_equal(message.data, "one", 3);
    hs_websocket_taken(b.socket);
    assert_string_equal(b.log.data, "opened\ntext 3 one\ntext 3 two\n");
    hs_websocket_taken(b.socket);
    assert_string_equal(b.log.data, "opened\ntext 3 one\ntext 3 two\nclosed 1005 \n");
    conn_pump(&b.cb);
    expect_got(&b, "\x88\0", 2);
    close_bench(&b);
}

static void a_paused_socket_reads_when_it_goes_on(void **state)
{
    (void)state;
    bench_t b;
    ws_bytes_t frames = { 0 };
    open_bench(&b);
    ws_text(&frames, 0x81, "one");
    open_with(&b, &frames, WHOLE);
    hs_websocket_pause(b.socket);
    hs_stream_update(&b.cb.peer.env.loop, &b.cb.peer.conn.stream);
    assert_false(b.cb.peer.conn.stream.reads);
    hs_websocket_resume(b.socket);
    conn_pump(&b.cb);
    assert_true(b.cb.peer.conn.stream.reads);
    close_bench(&b);
}

static void what_is_wrong_is_told_in_a_close(void **state)
{
    (void)state;
    bench_t b;
    ws_bytes_t frames = { 0 };
    open_bench(&b);
    ws_frame(&frames, 0x81, "\xff", 1);
    ws_text(&frames, 0x81, "never read");
    open_with(&b, &frames, WHOLE);
    assert_string_equal(b.log.data, "opened\nclosed 1007 text is not UTF-8\n");
    expect_got(&b, "\x88\x13\x03\xeftext is not UTF-8", 21);
    assert_int_equal(b.cb.peer.conn.phase, HS_CONN_LINGERING);
    close_bench(&b);
}

static void more_frames_than_allowed_end_it(void **state)
{
    (void)state;
    bench_t b;
    ws_bytes_t frames = { 0 };
    open_bench(&b);
    b.cb.limits.ws_max_frames = 3;
    for (int i = 0; i < 3; i++)
        ws_text(&frames, 0x89, "");
    open_with(&b, &frames, WHOLE);
    *conn_now_ms(&b.cb) += 1000;
    for (int i = 0; i < 4; i++)
        ws_text(&frames, 0x00 | (i == 0), "");
    feed(&b, &frames, WHOLE);
    ws_bytes_free(&frames);
    assert_string_equal(b.log.data, "opened\nclosed 1008 too many frames per second\n");
    close_bench(&b);
}

static void both_sides_close(void **state)
{
    (void)state;
    bench_t b;
    ws_bytes_t frames = { 0 };
    open_bench(&b);
    open_with(&b, &frames, WHOLE);
    assert_int_equal(hs_websocket_close(b.socket, 4001, hs_span("why", 3)), HS_OK);
    assert_int_equal(hs_websocket_send(b.socket, HS_WS_TEXT, hs_span("x", 1)), HS_ERR_STATE);
    assert_int_equal(hs_websocket_close(b.socket, 4001, hs_span("why", 3)), HS_ERR_STATE);
    conn_pump(&b.cb);
    expect_got(&b, "\x88\x05\x0f\xa1why", 7);
    ws_text(&frames, 0x81, "too late");
    ws_text(&frames, 0x89, "not answered");
    ws_frame(&frames, 0x88, "\x0f\xa1", 2);
    feed(&b, &frames, 3);
    ws_bytes_free(&frames);
    assert_string_equal(b.log.data, "opened\nclosed 4001 \n");
    expect_got(&b, "", 0);
    assert_int_equal(b.cb.peer.conn.phase, HS_CONN_LINGERING);
    close_bench(&b);
}

static void a_client_that_does_not_answer_a_close_is_cut(void **state)
{
    (void)state;
    bench_t b;
    ws_bytes_t frames = { 0 };
    open_bench(&b);
    open_with(&b, &frames, WHOLE);
    assert_int_equal(hs_websocket_close(b.socket, HS_WS_NORMAL, hs_span("", 0)), HS_OK);
    conn_pump(&b.cb);
    conn_pass_deadline(&b.cb);
    assert_true(conn_is_closed(&b.cb));
    assert_string_equal(b.log.data, "opened\nclosed 1006 \n");
    close_bench(&b);
}

static void an_end_without_close_is_told(void **state)
{
    (void)state;
    for (int resets = 0; resets <= 1; resets++) {
        bench_t b;
        ws_bytes_t frames = { 0 };
        open_bench(&b);
        ws_text(&frames, 0x81, "last");
        open_with(&b, &frames, WHOLE);
        if (resets)
            conn_peer_resets(&b.cb);
        else
            conn_peer_shuts(&b.cb);
        assert_true(conn_is_closed(&b.cb));
        assert_string_equal(b.log.data, "opened\ntext 4 last\nclosed 1006 \n");
        close_bench(&b);
    }
}

static void silence_is_answered_by_a_ping_and_then_the_end(void **state)
{
    (void)state;
    bench_t b;
    ws_bytes_t frames = { 0 };
    open_bench(&b);
    open_with(&b, &frames, WHOLE);
    uint64_t begun_ms = *conn_now_ms(&b.cb);
    conn_pass_deadline(&b.cb);
    conn_pump(&b.cb);
    assert_int_equal(*conn_now_ms(&b.cb) - begun_ms, 5000);
    expect_got(&b, "\x89\0", 2);
    *conn_now_ms(&b.cb) += 4000;
    ws_text(&frames, 0x8a, "");
    feed(&b, &frames, WHOLE);
    ws_bytes_free(&frames);
    conn_pass_deadline(&b.cb); /* less than the interval since the pong */
    conn_pump(&b.cb);
    expect_got(&b, "", 0);
    conn_pass_deadline(&b.cb);
    conn_pump(&b.cb);
    expect_got(&b, "\x89\0", 2);
    conn_pass_deadline(&b.cb);
    assert_true(conn_is_closed(&b.cb));
    assert_string_equal(b.log.data, "opened\nclosed 1006 \n");
    close_bench(&b);
}

static void who_sends_more_than_is_taken_is_told_to_wait(void **state)
{
    (void)state;
    bench_t b;
    ws_bytes_t frames = { 0 };
    static char payload[60000];
    open_bench(&b);
    b.cb.limits.ws_max_unsent = 1000000;
    open_with(&b, &frames, WHOLE);
    b.cb.peer.room = 0;
    int result = HS_OK;
    for (int i = 0; i < 5 && result == HS_OK; i++)
        result = hs_websocket_send(b.socket, HS_WS_BINARY, hs_span(payload, sizeof(payload)));
    assert_int_equal(result, HS_WEBSOCKET_WAIT);
    byte_peer_turn(&b.cb.peer);
    assert_string_equal(b.log.data, "opened\n");
    assert_false(b.cb.peer.conn.stream.reads);
    b.cb.peer.room = SIZE_MAX;
    conn_pump(&b.cb);
    assert_string_equal(b.log.data, "opened\ndrained\n");
    assert_int_equal(b.cb.peer.got.len, 5 * (sizeof(payload) + 4));
    assert_true(b.cb.peer.conn.stream.reads);
    close_bench(&b);
}

static void a_client_that_never_reads_is_closed(void **state)
{
    (void)state;
    static char payload[60000];
    for (int by_time = 0; by_time <= 1; by_time++) {
        bench_t b;
        ws_bytes_t frames = { 0 };
        open_bench(&b);
        open_with(&b, &frames, WHOLE);
        b.cb.peer.room = 0;
        const hs_span_t message = hs_span(payload, sizeof(payload));
        assert_int_equal(hs_websocket_send(b.socket, HS_WS_BINARY, message), HS_OK);
        byte_peer_turn(&b.cb.peer);
        if (by_time) {
            conn_pass_deadline(&b.cb);
        } else {
            assert_int_equal(hs_websocket_send(b.socket, HS_WS_BINARY, message), HS_OK);
            assert_int_equal(hs_websocket_send(b.socket, HS_WS_BINARY, message), HS_ERR_LIMIT);
            byte_peer_turn(&b.cb.peer);
        }
        assert_true(conn_is_closed(&b.cb));
        assert_string_equal(b.log.data, "opened\nclosed 1006 the client reads too slowly\n");
        close_bench(&b);
    }
}

/* If the output of an echo is not read, its input is not read either: no more than that is
 * buffered. */
static void a_socket_whose_output_is_not_taken_is_not_read(void **state)
{
    (void)state;
    bench_t b;
    ws_bytes_t frames = { 0 };
    static char payload[8000];
    open_bench(&b);
    open_with(&b, &frames, WHOLE);
    b.cb.peer.room = 0;
    for (int i = 0; i < 40; i++)
        ws_frame(&frames, 0x82, payload, sizeof(payload));
    size_t taken = 0;
    size_t part;
    while ((part = conn_receive(&b.cb, frames.data + taken, frames.len - taken)) > 0) {
        taken += part;
        byte_peer_turn(&b.cb.peer);
    }
    assert_true(taken < 100000);
    assert_true(hs_websocket_unsent(b.socket) < 80000);
    b.cb.peer.room = SIZE_MAX;
    conn_pump(&b.cb);
    taken += conn_feed(&b.cb, frames.data + taken, frames.len - taken, WHOLE);
    assert_int_equal(taken, frames.len);
    assert_int_equal(b.cb.peer.got.len, 40 * (sizeof(payload) + 4));
    ws_bytes_free(&frames);
    close_bench(&b);
}

static void collected_messages_count_against_the_memory_for_content(void **state)
{
    (void)state;
    bench_t b;
    ws_bytes_t frames = { 0 };
    static char payload[30000];
    open_bench(&b);
    b.cb.limits.max_body_memory = 20000;
    ws_frame(&frames, 0x82, payload, sizeof(payload));
    open_with(&b, &frames, WHOLE);
    assert_string_equal(b.log.data, "opened\nclosed 1013 out of memory for a message\n");
    close_bench(&b);
}

static void a_frame_for_many_is_sent_from_where_it_is(void **state)
{
    (void)state;
    static char payload[40000];
    bench_t b;
    ws_bytes_t frames = { 0 };
    open_bench(&b);
    open_with(&b, &frames, WHOLE);
    static const size_t lengths[] = { 3, sizeof(payload) };
    for (size_t i = 0; i < 2; i++) {
        hs_websocket_frame_t *frame =
            hs_websocket_frame_new(HS_WS_BINARY, hs_span(payload, lengths[i]));
        assert_non_null(frame);
        assert_int_equal(hs_websocket_send_frame(b.socket, frame), HS_OK);
        assert_int_equal(frame->references, i + 1);
        conn_pump(&b.cb);
        assert_int_equal(frame->references, 1);
        assert_int_equal(b.cb.peer.got.len, frame->len);
        b.cb.peer.got.len = 0;
        hs_websocket_frame_release(frame);
    }
    close_bench(&b);
}

static void a_request_that_opens_none_is_refused(void **state)
{
    (void)state;
    bench_t b;
    open_bench(&b);
    connect_bench(&b);
    conn_feed_text(&b.cb, "GET /chat HTTP/1.1\r\nHost: a\r\n\r\n" HANDSHAKE);
    response_t response = next_response(&b.cb);
    assert_int_equal(response.status, 426);
    assert_true(response_has(&response, "Upgrade: websocket"));
    assert_string_equal(b.cb.peer.got.data + b.cb.read_at, ACCEPTED);
    assert_string_equal(b.log.data, "opened\n");
    close_bench(&b);
}

/* The client has disconnected before the 101 could be written. */
static void an_owner_that_stays_alone_is_told(void **state)
{
    (void)state;
    bench_t b;
    ws_bytes_t frames = { 0 };
    open_bench(&b);
    open_with(&b, &frames, WHOLE);
    hs_websocket_abandon(b.socket, HS_WS_RESTART);
    b.socket = NULL;
    conn_pump(&b.cb);
    expect_got(&b, "\x88\x02\x03\xf4", 4);
    ws_frame(&frames, 0x88, "\x03\xf4", 2);
    feed(&b, &frames, WHOLE);
    ws_bytes_free(&frames);
    assert_string_equal(b.log.data, "opened\n");
    assert_int_equal(b.cb.peer.conn.phase, HS_CONN_LINGERING);
    close_bench(&b);
}

/* ---- The functions of httpserver.h. ---- */

static void c_open(hs_ws_t *socket, void *user_data)
{
    put_log(user_data, "opened\n");
    assert_int_equal(hs_ws_send(socket, HS_WS_MESSAGE_TEXT, "hello", 5), HS_WRITE_CONTINUE);
}

static void c_message(hs_ws_t *socket, hs_ws_kind_t kind, const char *data, size_t length,
                      void *user_data)
{
    put_log(user_data, "%d %.*s\n", kind, (int)length, data);
    if (length == 5)
        hs_ws_pause(socket);
    if (length == 3) {
        assert_int_equal(hs_ws_ping(socket, data, 126), -3);
        assert_int_equal(hs_ws_ping(socket, data, length), 0);
        assert_int_equal(hs_ws_close(socket, 1005, NULL), -3);
        assert_int_equal(hs_ws_close(socket, 4000, "bye"), 0);
        assert_int_equal(hs_ws_send(socket, kind, data, length), -4);
    }
}

static void c_close(hs_ws_t *socket, int code, const char *reason, size_t length, void *user_data)
{
    (void)socket;
    put_log(user_data, "closed %d %.*s\n", code, (int)length, reason);
}

static void handle_in_c(hs_request_t *request, hs_response_t *response, void *user_data)
{
    static const hs_ws_handler_t handler = {
        .on_open = c_open, .on_message = c_message, .on_close = c_close, .protocols = "chat"
    };
    (void)request;
    conn_bench_t *cb = user_data;
    assert_int_equal(hs_ws_accept(response, &handler, HS_CONTAINER_OF(cb, bench_t, cb)), 0);
    assert_int_equal(hs_ws_accept(response, &handler, NULL), -4);
}

static void handlers_in_c_have_sockets(void **state)
{
    (void)state;
    bench_t b;
    ws_bytes_t frames = { 0 };
    open_bench(&b);
    b.cb.handler = handle_in_c;
    connect_bench(&b);
    conn_feed_text(&b.cb, HANDSHAKE);
    b.cb.peer.got.len = 0;
    ws_text(&frames, 0x81, "pause");
    ws_text(&frames, 0x82, "end");
    feed(&b, &frames, WHOLE);
    ws_bytes_free(&frames);
    assert_string_equal(b.log.data, "opened\n1 pause\n");
    assert_int_equal(hs_ws_unsent(b.cb.peer.conn.websocket), 0);
    hs_ws_resume(b.cb.peer.conn.websocket);
    conn_pump(&b.cb);
    assert_string_equal(b.log.data, "opened\n1 pause\n2 end\n");
    expect_got(&b,
               "\x89\x03"
               "end\x88\x05\x0f\xa0"
               "bye",
               12);
    ws_frame(&frames, 0x88, "\x0f\xa0", 2);
    feed(&b, &frames, WHOLE);
    ws_bytes_free(&frames);
    assert_string_equal(b.log.data, "opened\n1 pause\n2 end\nclosed 4000 \n");
    close_bench(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_behind_the_handshake_at_every_split),
        cmocka_unit_test(messages_of_every_length),
        cmocka_unit_test(an_idle_socket_has_no_buffers),
        cmocka_unit_test(one_message_is_in_hand_at_a_time),
        cmocka_unit_test(a_paused_socket_reads_when_it_goes_on),
        cmocka_unit_test(what_is_wrong_is_told_in_a_close),
        cmocka_unit_test(more_frames_than_allowed_end_it),
        cmocka_unit_test(both_sides_close),
        cmocka_unit_test(a_client_that_does_not_answer_a_close_is_cut),
        cmocka_unit_test(an_end_without_close_is_told),
        cmocka_unit_test(silence_is_answered_by_a_ping_and_then_the_end),
        cmocka_unit_test(who_sends_more_than_is_taken_is_told_to_wait),
        cmocka_unit_test(a_client_that_never_reads_is_closed),
        cmocka_unit_test(a_socket_whose_output_is_not_taken_is_not_read),
        cmocka_unit_test(collected_messages_count_against_the_memory_for_content),
        cmocka_unit_test(a_frame_for_many_is_sent_from_where_it_is),
        cmocka_unit_test(a_request_that_opens_none_is_refused),
        cmocka_unit_test(an_owner_that_stays_alone_is_told),
        cmocka_unit_test(handlers_in_c_have_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
