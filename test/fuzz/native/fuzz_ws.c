/*
 * libFuzzer target: a connection that has become a WebSocket, with frames at any segmentation,
 * sends that accept any part, and an owner that takes messages at any time.
 *
 * The first four bytes of an input choose limits, how frames are built and the seed of
 * segmentation. Then follow the bytes sent by the client, or a recipe for each frame: its first
 * byte, its length, its payload, which gives valid masked frames. Each input runs three times: in
 * one piece, in random pieces with an owner that delays messages (events and output must be the
 * same), and with an end, a close or a timeout at some point.
 */
#include <stdio.h>
#include <stdlib.h>

#include "byte_peer.h"
#include "ws/ws_frames.h"

#define CONTROL_BYTES 4
#define HANDSHAKE                                                                                  \
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                   \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* owner: one run */
typedef struct run {
    byte_peer_t peer;
    hs_websocket_t *socket; /* NULL: none, or closed */
    bool holds;
    uint32_t random;
    ws_bytes_t log;
} run_t;

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void check(bool holds, const char *sentence)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", sentence);
    abort();
}

static void on_opened(hs_websocket_t *socket)
{
    ((run_t *)socket->owner_data)->socket = socket;
}

static void take(run_t *run, int kind, hs_span_t message)
{
    check(kind != HS_WS_TEXT || hs_utf8_is_valid(message.data, message.len), "text is UTF-8");
    ws_bytes_put(&run->log, kind == HS_WS_TEXT ? "t" : "b", 1);
    ws_bytes_put(&run->log, message.data, message.len);
    (void)!hs_websocket_send(run->socket, kind, message);
}

static bool on_message(hs_websocket_t *socket, int kind, hs_span_t message)
{
    run_t *run = socket->owner_data;
    if (run->holds && next_random(&run->random) % 2 == 0)
        return false;
    take(run, kind, message);
    return true;
}

static void on_drained(hs_websocket_t *socket)
{
    (void)socket;
}

static void on_closed(hs_websocket_t *socket, int code, hs_span_t reason)
{
    run_t *run = socket->owner_data;
    char text[32];
    int len = snprintf(text, sizeof(text), "c%d ", code);
    ws_bytes_put(&run->log, text, (size_t)len);
    ws_bytes_put(&run->log, reason.data, reason.len);
    run->socket = NULL;
    hs_websocket_free(socket);
}

static const hs_websocket_owner_t owner = { on_opened, on_message, on_drained, on_closed };

static void handle(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)request;
    const hs_websocket_terms_t terms = { .protocols = { "", 0 }, .origins = { "*", 1 } };
    hs_websocket_t *socket;
    check(hs_websocket_begin(hs_job_of_response(response), &terms, &owner, user_data, &socket) ==
              HS_OK,
          "the handshake is accepted");
}

static void begin(run_t *run, const uint8_t *control)
{
    static const uint32_t rings[] = { 256, 512, 1024, 8192 };
    const hs_limits_t limits = {
        .ring_size = rings[control[0] >> 1 & 3],
        .max_url = 64,
        .max_headers = 16,
        .max_body = 1 << 16,
        .write_timeout_ms = 8000,
        .ws_max_message = 1u << (control[0] >> 3 & 15),
        .ws_max_unsent = 1 << 20,
        .ws_max_frames = control[1] & 1 ? 8 : 0,
        .ws_ping_interval_ms = 5000,
    };
    memset(run, 0, sizeof(*run));
    byte_peer_init(&run->peer, &limits, handle, run);
    byte_peer_open(&run->peer);
    ws_bytes_put(&run->log, "", 0);
    check(byte_peer_feed(&run->peer, HANDSHAKE, sizeof(HANDSHAKE) - 1) == sizeof(HANDSHAKE) - 1,
          "the handshake is received");
    check(run->socket != NULL, "the socket is open");
    run->peer.got.len = 0;
}

/* Messages that the owner has delayed. */
static void take_held(run_t *run)
{
    while (run->socket != NULL && run->socket->in_hand) {
        hs_websocket_t *socket = run->socket;
        take(run, socket->is_text ? HS_WS_TEXT : HS_WS_BINARY, hs_websocket_message(socket));
        hs_websocket_taken(socket);
        byte_peer_pump(&run->peer);
    }
}

static void feed(run_t *run, const ws_bytes_t *bytes, uint32_t most)
{
    size_t at = 0;
    while (at < bytes->len && !run->peer.is_closed) {
        size_t len = bytes->len - at;
        if (most > 0) {
            len = hs_min(len, 1 + next_random(&run->random) % most);
            run->peer.send_max = 1 + next_random(&run->random) % 100;
        }
        bool was_held = run->socket != NULL && run->socket->in_hand;
        size_t received = byte_peer_feed(&run->peer, bytes->data + at, len);
        at += received;
        if (received == 0 && !was_held)
            break; /* closed, or nothing is read from it */
        if (most == 0 || next_random(&run->random) % 2 == 0 || received == 0)
            take_held(run);
    }
    run->peer.send_max = 0;
    take_held(run);
    byte_peer_pump(&run->peer);
}

static void end(run_t *run)
{
    byte_peer_abort(&run->peer);
    check(run->socket == NULL, "its owner was told of the end");
    check(run->peer.env.loop.buffers.leased == 0, "buffers are given back");
    check(run->peer.env.jobs.leased == 0, "jobs are given back");
    check(run->peer.env.jobs.content_bytes == 0, "memory for messages is accounted for");
    byte_peer_free(&run->peer);
    ws_bytes_free(&run->log);
}

/* A random event in the middle. */
static void run_with_event(const ws_bytes_t *bytes, const uint8_t *control, uint32_t seed)
{
    run_t with_event;
    run_t *run = &with_event;
    begin(run, control);
    run->random = seed;
    run->holds = true;
    size_t half = bytes->len > 0 ? next_random(&run->random) % bytes->len : 0;
    const ws_bytes_t first = { bytes->data, half };
    const ws_bytes_t second = { bytes->data + half, bytes->len - half };
    feed(run, &first, 50);
    uint32_t event = next_random(&run->random) % 6;
    if (event == 0)
        byte_peer_shut(&run->peer);
    else if (event == 1)
        run->peer.recv_error = run->peer.send_error = ECONNRESET;
    else if (event == 2 && run->socket != NULL)
        (void)hs_websocket_close(run->socket, 4000, hs_span("bye", 3));
    else if (event == 3 && !run->peer.is_closed)
        byte_peer_expire(&run->peer, run->peer.conn.stream.deadline_ms);
    else if (event == 4 && run->socket != NULL) {
        hs_websocket_abandon(run->socket, HS_WS_RESTART);
        run->socket = NULL;
    } else if (event == 5)
        run->peer.room = next_random(&run->random) % 64;
    feed(run, &second, 50);
    run->peer.room = SIZE_MAX;
    end(run);
}

/* Frames built from recipes. */
static void make_frames(const uint8_t *data, size_t size, ws_bytes_t *bytes)
{
    while (size >= 2) {
        size_t len = data[1] < 200 ? data[1] : (size_t)(data[1] - 199) * 300;
        char *payload = calloc(1, len + 1);
        size_t given = hs_min(len, size - 2);
        memcpy(payload, data + 2, given);
        ws_frame(bytes, data[0], payload, len);
        free(payload);
        data += 2 + given;
        size -= 2 + given;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < CONTROL_BYTES)
        return 0;
    ws_bytes_t bytes = { 0 };
    ws_bytes_put(&bytes, "", 0);
    if (data[0] & 1)
        ws_bytes_put(&bytes, data + CONTROL_BYTES, size - CONTROL_BYTES);
    else
        make_frames(data + CONTROL_BYTES, size - CONTROL_BYTES, &bytes);
    uint32_t seed = 1u + data[2] + 256u * data[3];
    run_t runs[2];
    run_t *whole = &runs[0];
    run_t *pieces = &runs[1];
    begin(whole, data);
    feed(whole, &bytes, 0);
    begin(pieces, data);
    pieces->random = seed;
    pieces->holds = true;
    feed(pieces, &bytes, 1 + data[1] + (uint32_t)bytes.len / 256);
    check(whole->log.len == pieces->log.len &&
              memcmp(whole->log.data, pieces->log.data, whole->log.len) == 0,
          "the same is told, whatever the segments");
    check(whole->peer.got.len == pieces->peer.got.len &&
              memcmp(whole->peer.got.data, pieces->peer.got.data, whole->peer.got.len) == 0,
          "the same is sent, whatever the segments");
    end(whole);
    end(pieces);
    run_with_event(&bytes, data, seed);
    ws_bytes_free(&bytes);
    return 0;
}
