/* hs_conn: content of every size, in rings of several sizes, at every offset, never mixed up with
 * pipelined requests after it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn/conn_bench.h"

#define SIZE_LARGEST 40000

/* Responds with the target, a space and the content. */
static void echo(hs_request_t *request, hs_response_t *response, void *user_data)
{
    conn_bench_t *cb = user_data;
    cb->handled++;
    size_t len, url_len = strlen(hs_req_url(request));
    const char *body = hs_req_body(request, &len);
    static char text[2 * SIZE_LARGEST];
    memcpy(text, hs_req_url(request), url_len);
    text[url_len] = ' ';
    memcpy(text + url_len + 1, body, len);
    /* Fields are unchanged after the content has been received. */
    assert_string_equal(hs_req_header(request, "hOST"), "a");
    assert_int_equal(hs_res_body(response, text, url_len + 1 + len), 0);
    assert_int_equal(hs_res_send(response), 0);
}

typedef struct stream {
    char data[8 * SIZE_LARGEST];
    size_t len;
} stream_t;

static void put(stream_t *stream, const char *data, size_t len)
{
    assert_true(stream->len + len <= sizeof(stream->data));
    memcpy(stream->data + stream->len, data, len);
    stream->len += len;
}

static void put_text(stream_t *stream, const char *text)
{
    put(stream, text, strlen(text));
}

/* Content in which every byte depends on its position, so that a shifted byte is wrong. */
static const char *content(void)
{
    static char bytes[SIZE_LARGEST];
    if (bytes[1] == 0)
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (char)(i * 131 + (i >> 8) * 17 + 1);
    return bytes;
}

static void put_sized(stream_t *stream, size_t size)
{
    char head[128];
    snprintf(head, sizeof(head), "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
             size);
    put_text(stream, head);
    put(stream, content(), size);
}

static void put_chunked(stream_t *stream, size_t size, size_t chunk)
{
    put_text(stream, "PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < size;) {
        size_t len = hs_min(chunk, size - at);
        char line[32];
        snprintf(line, sizeof(line), "%zx\r\n", len);
        put_text(stream, line);
        put(stream, content() + at, len);
        put_text(stream, "\r\n");
        at += len;
    }
    put_text(stream, "0\r\n\r\n");
}

static void put_followers(stream_t *stream)
{
    put_text(stream, "GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void expect_echo(conn_bench_t *cb, const char *url, size_t size)
{
    response_t response = next_response(cb);
    size_t url_len = strlen(url);
    assert_int_equal(response.status, 200);
    assert_int_equal(response.body_len, url_len + 1 + size);
    assert_memory_equal(response.body, url, url_len);
    assert_memory_equal(response.body + url_len + 1, content(), size);
}

static void run(uint32_t ring_size, const stream_t *stream, size_t step, size_t size)
{
    static conn_bench_t cb;
    conn_bench_init(&cb, echo);
    cb.limits.ring_size = ring_size;
    conn_open(&cb);
    assert_int_equal(conn_feed(&cb, stream->data, stream->len, step), stream->len);
    while (strncmp(strstr(cb.peer.got.data + cb.read_at, "\r\n\r\n") + 4, "/p", 2) == 0)
        next_response(&cb);
    expect_echo(&cb, "/b", size);
    expect_response(&cb, 200, "/x ");
    expect_response(&cb, 200, "/y ");
    expect_no_more(&cb);
    assert_true(conn_is_idle(&cb));
    conn_close(&cb);
}

static const uint32_t rings[] = { 64, 256, 8192 };

/* 0, 1, 2 and around each power of two ± 2, up to the maximum. */
static size_t sizes_of_interest(size_t *sizes)
{
    size_t count = 0;
    sizes[count++] = 0;
    for (size_t power = 1; power <= SIZE_LARGEST; power *= 2)
        for (size_t size = power < 2 ? 0 : power - 2; size <= power + 2; size++)
            sizes[count++] = size;
    for (size_t size = SIZE_LARGEST - 2; size <= SIZE_LARGEST; size++)
        sizes[count++] = size;
    return count;
}

static void every_size_of_known_length(void **state)
{
    (void)state;
    static stream_t stream;
    size_t sizes[128], count = sizes_of_interest(sizes);
    const size_t steps[] = { WHOLE, 1, 61, 1460 };
    for (size_t i = 0; i < count; i++) {
        stream.len = 0;
        put_sized(&stream, sizes[i]);
        put_followers(&stream);
        for (size_t r = 0; r < 3; r++)
            for (size_t s = 0; s < 4; s++)
                run(rings[r], &stream, steps[s], sizes[i]);
    }
}

static void every_size_in_chunks(void **state)
{
    (void)state;
    static stream_t stream;
    size_t sizes[128], count = sizes_of_interest(sizes);
    const size_t steps[] = { WHOLE, 1, 61, 1460 };
    const size_t chunks[] = { WHOLE, 1, 100, 5000 };
    for (size_t i = 0; i < count; i++)
        for (size_t c = 0; c < 4; c++) {
            stream.len = 0;
            put_chunked(&stream, sizes[i], chunks[c]);
            put_followers(&stream);
            for (size_t r = 0; r < 3; r++)
                run(rings[r], &stream, steps[(i + c + r) % 4], sizes[i]);
        }
}

/* In a small ring, every size up to several times the ring's. */
static void every_small_size(void **state)
{
    (void)state;
    static stream_t stream;
    for (size_t size = 0; size <= 300; size++) {
        stream.len = 0;
        put_sized(&stream, size);
        put_followers(&stream);
        run(64, &stream, WHOLE, size);
        run(64, &stream, 1, size);
        run(256, &stream, WHOLE, size);
        stream.len = 0;
        put_chunked(&stream, size, 7);
        put_followers(&stream);
        run(64, &stream, WHOLE, size);
        run(256, &stream, 13, size);
    }
}

/* The message begins at every offset of the ring, because another one is pipelined before it. */
static void at_every_offset_of_the_ring(void **state)
{
    (void)state;
    static stream_t stream;
    const size_t sizes[] = { 0, 1, 13, 62, 63, 64, 65, 100, 190, 255, 256, 257 };
    for (size_t pad = 0; pad < 256; pad++)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            stream.len = 0;
            if (pad < 24)
                put_text(&stream, "GET /p HTTP/1.1\r\nHost: a\r\n\r\n");
            put_text(&stream, "GET /p");
            for (size_t k = 0; k < pad % 200; k++)
                put_text(&stream, "p");
            put_text(&stream, " HTTP/1.1\r\nHost: a\r\n\r\n");
            if (pad % 2)
                put_sized(&stream, sizes[i]);
            else
                put_chunked(&stream, sizes[i], 50);
            put_followers(&stream);
            run(256, &stream, WHOLE, sizes[i]);
            run(256, &stream, 97, sizes[i]);
        }
}

static void cut_in_two_at_every_byte(void **state)
{
    (void)state;
    static stream_t stream;
    static conn_bench_t cb;
    for (int chunked = 0; chunked < 2; chunked++) {
        stream.len = 0;
        if (chunked)
            put_chunked(&stream, 150, 40);
        else
            put_sized(&stream, 150);
        put_followers(&stream);
        for (size_t r = 0; r < 3; r++)
            for (size_t cut = 0; cut <= stream.len; cut++) {
                conn_bench_init(&cb, echo);
                cb.limits.ring_size = rings[r];
                conn_open(&cb);
                conn_feed(&cb, stream.data, cut, WHOLE);
                conn_feed(&cb, stream.data + cut, stream.len - cut, WHOLE);
                expect_echo(&cb, "/b", 150);
                expect_response(&cb, 200, "/x ");
                expect_response(&cb, 200, "/y ");
                expect_no_more(&cb);
                conn_close(&cb);
            }
    }
}

static void content_up_to_the_limit_and_one_over(void **state)
{
    (void)state;
    static stream_t stream;
    static conn_bench_t cb;
    for (size_t over = 0; over < 2; over++)
        for (int chunked = 0; chunked < 2; chunked++) {
            stream.len = 0;
            if (chunked)
                put_chunked(&stream, 1000 + over, 100);
            else
                put_sized(&stream, 1000 + over);
            conn_bench_init(&cb, echo);
            cb.limits.max_body = 1000;
            conn_open(&cb);
            conn_feed(&cb, stream.data, stream.len, 100);
            if (over)
                assert_int_equal(next_response(&cb).status, 413);
            else
                expect_echo(&cb, "/b", 1000);
            assert_int_equal(cb.handled, 1 - over);
            expect_no_more(&cb);
            conn_close(&cb);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_of_known_length),
        cmocka_unit_test(every_size_in_chunks),
        cmocka_unit_test(every_small_size),
        cmocka_unit_test(at_every_offset_of_the_ring),
        cmocka_unit_test(cut_in_two_at_every_byte),
        cmocka_unit_test(content_up_to_the_limit_and_one_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
