/*
 * hs_conn with random input: streams of mixed requests, reads and sends of random sizes in random
 * order, in rings of every size. Every run uses the same seeds; a failure reports its seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn/conn_bench.h"

#define REQUESTS 60
#define CONTENT_MAX 20000

static uint64_t chance_state;

/* 0 to below - 1 */
static size_t chance(size_t below)
{
    chance_state = chance_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(chance_state >> 33) % below;
}

/* Mostly small, sometimes large: sizes are distributed evenly over the orders of magnitude. */
static size_t chance_size(size_t max)
{
    return chance((size_t)1 << (1 + chance(15))) % (max + 1);
}

typedef struct request {
    bool is_head;
    size_t content_len;
    uint32_t content_at; /* offset in the content bytes */
} request_t;

typedef struct stream {
    char data[REQUESTS * (CONTENT_MAX * 2 + 512)];
    size_t len;
    request_t requests[REQUESTS];
} stream_t;

static stream_t stream;
static char content[2 * CONTENT_MAX];

static void put(const char *data, size_t len)
{
    memcpy(stream.data + stream.len, data, len);
    stream.len += len;
}

static void put_text(const char *text)
{
    put(text, strlen(text));
}

static void put_chunks(const request_t *request)
{
    for (size_t at = 0; at < request->content_len;) {
        size_t len = 1 + chance_size(request->content_len - at - 1);
        char line[64];
        snprintf(line, sizeof(line), chance(4) ? "%zx\r\n" : "%zX;ext=\"1\"\r\n", len);
        put_text(line);
        put(content + request->content_at + at, len);
        put_text("\r\n");
        at += len;
    }
    put_text(chance(4) ? "0\r\n\r\n" : "0\r\nTrailer: t\r\n\r\n");
}

/* A head fits a ring of 128 bytes. */
static void put_request(size_t number)
{
    static const char *const methods[] = { "GET", "HEAD", "POST", "PUT" };
    request_t *request = &stream.requests[number];
    size_t kind = chance(4);
    bool chunked = kind >= 2 && chance(2);
    *request = (request_t){ .is_head = kind == 1 };
    char text[128];
    if (chance(10) == 0)
        put_text("\r\n"); /* an empty line first, as some old clients send */
    snprintf(text, sizeof(text), "%s /%zu HTTP/1.1\r\nHost: a\r\n", methods[kind], number);
    put_text(text);
    for (size_t i = chance(3); i > 0; i--)
        put_text(chance(2) ? "Empty:\r\n" : "N: v\r\n");
    if (kind >= 2) {
        request->content_len = chance_size(CONTENT_MAX);
        request->content_at = (uint32_t)chance(CONTENT_MAX);
    }
    if (chunked)
        put_text("Transfer-Encoding: chunked\r\n\r\n");
    else if (kind >= 2) {
        snprintf(text, sizeof(text), "Content-Length: %zu\r\n\r\n", request->content_len);
        put_text(text);
        put(content + request->content_at, request->content_len);
    } else
        put_text("\r\n");
    if (chunked)
        put_chunks(request);
}

/* Responds with the target and the content; the handler itself checks the target. */
static void echo(hs_request_t *request, hs_response_t *response, void *user_data)
{
    static char text[CONTENT_MAX + 64];
    conn_bench_t *cb = user_data;
    size_t len;
    const char *body = hs_req_body(request, &len);
    assert_true(len <= CONTENT_MAX);
    assert_int_equal(atoi(hs_req_url(request) + 1), cb->handled);
    assert_string_equal(hs_req_header(request, "host"), "a");
    const char *empty = hs_req_header(request, "Empty");
    assert_true(empty == NULL || empty[0] == '\0');
    cb->handled++;
    int head_len = snprintf(text, 64, "%s ", hs_req_url(request));
    memcpy(text + head_len, body, len);
    assert_int_equal(hs_res_body(response, text, (size_t)head_len + len), 0);
    if (chance(2))
        assert_int_equal(hs_res_send(response), 0);
}

/* One random event, in any order that a kernel and a client allow. */
static size_t one_event(conn_bench_t *cb, size_t fed)
{
    switch (chance(4)) {
    case 0:
        cb->send_step = 1 + chance_size(40000);
        conn_send_some(cb);
        return 0;
    case 1:
        hs_loop_resume(&cb->peer.env.loop);
        conn_check_armed(cb);
        return 0;
    case 2:
        return conn_receive(cb, stream.data + fed, 0); /* a wake-up without bytes */
    default:
        return conn_receive(cb, stream.data + fed,
                            hs_min(1 + chance_size(30000), stream.len - fed));
    }
}

static void expect_responses(conn_bench_t *cb)
{
    assert_int_equal(cb->handled, REQUESTS);
    for (size_t i = 0; i < REQUESTS; i++) {
        const request_t *request = &stream.requests[i];
        response_t response = next_response_to(cb, !request->is_head);
        char target[32];
        size_t target_len = (size_t)snprintf(target, sizeof(target), "/%zu ", i);
        assert_int_equal(response.status, 200);
        if (request->is_head)
            continue;
        assert_int_equal(response.body_len, target_len + request->content_len);
        assert_memory_equal(response.body, target, target_len);
        assert_memory_equal(response.body + target_len, content + request->content_at,
                            request->content_len);
    }
    expect_no_more(cb);
}

static void run(uint64_t seed)
{
    static conn_bench_t cb;
    chance_state = seed;
    stream.len = 0;
    for (size_t i = 0; i < REQUESTS; i++)
        put_request(i);
    conn_bench_init(&cb, echo);
    cb.limits.ring_size = 128u << chance(8);
    conn_open(&cb);
    for (size_t fed = 0; fed < stream.len;) {
        assert_false(conn_is_closed(&cb));
        fed += one_event(&cb, fed);
    }
    if (chance(2))
        conn_peer_shuts(&cb);
    cb.send_step = 1 + chance_size(40000);
    conn_pump(&cb);
    expect_responses(&cb);
    conn_close(&cb);
}

static int last_seed;

static void streams_of_mixed_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (char)(i * 131 + (i >> 8) * 17 + 1);
    for (last_seed = 1; last_seed <= 400; last_seed++)
        run((uint64_t)last_seed);
}

static int tell_last_seed(void **state)
{
    (void)state;
    print_message("the last seed was %d\n", last_seed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(streams_of_mixed_requests, tell_last_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
