/* Compressed responses: which ones, their fields, long ones in slices, streams with a
 * flush. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn/conn_bench.h"
#include "http/inflated.h"

#define HOST "Host: a\r\n"
#define GZIP "Accept-Encoding: gzip\r\n"
#define LONG_BYTES (1000 * 1000)

/* The handler's response, as in a table row. */
typedef struct built {
    int status;
    const char *fields[4]; /* name, value, name, value */
    size_t len;            /* of the content; 0: 2000 */
    int compress;          /* 0: not set, 1: true, -1: false */
} built_t;

typedef struct squeezed {
    conn_bench_t cb;
    hs_compression_t compression;
    built_t built;
    char *content;
    hs_deferred_t job;
    bool is_pinned;
    unsigned released;
    hs_buf_t decoded;
} squeezed_t;

static void on_release(void *user_data)
{
    squeezed_t *sq = user_data;
    sq->released++;
}

static void handle(hs_request_t *request, hs_response_t *response, void *user_data)
{
    squeezed_t *sq = user_data;
    const built_t *built = &sq->built;
    if (strcmp(hs_req_url(request), "/later") == 0) {
        assert_int_equal(hs_res_header(response, "Content-Type", "text/plain"), 0);
        sq->job = hs_res_defer(response);
        assert_true(sq->job != 0);
        return;
    }
    if (built->status != 0)
        assert_int_equal(hs_res_status(response, built->status), 0);
    for (int i = 0; i < 4 && built->fields[i] != NULL; i += 2)
        assert_int_equal(hs_res_header(response, built->fields[i], built->fields[i + 1]), 0);
    if (built->compress != 0)
        assert_int_equal(hs_res_compress(response, built->compress > 0), 0);
    size_t len = built->len != 0 ? built->len : 2000;
    if (sq->is_pinned)
        assert_int_equal(hs_res_body_pinned(response, sq->content, len, on_release, sq), 0);
    else
        assert_int_equal(hs_res_body(response, sq->content, len), 0);
    assert_int_equal(hs_res_send(response), 0);
}

static int begin(void **state)
{
    squeezed_t *sq = calloc(1, sizeof(*sq));
    sq->content = malloc(LONG_BYTES);
    unsigned seed = 1;
    for (size_t i = 0; i < LONG_BYTES; i++) {
        seed = seed * 1103515245 + 12345;
        sq->content[i] = (char)('a' + (seed >> 16) % 20);
    }
    hs_config_t config;
    hs_config_init(&config);
    config.compress = "br,gzip";
    config.compress_gzip_level = 1;
    hs_errinfo_t error = { 0 };
    assert_int_equal(hs_compression_init(&sq->compression, &config, &error), 0);
    conn_bench_init(&sq->cb, handle);
    sq->cb.user_data = sq;
    sq->cb.jobs_away = true;
    *state = sq;
    return 0;
}

static int end(void **state)
{
    squeezed_t *sq = *state;
    hs_buf_free(&sq->cb.peer.got);
    hs_buf_free(&sq->decoded);
    hs_compression_free(&sq->compression);
    free(sq->content);
    free(sq);
    return 0;
}

static void open_conn(squeezed_t *sq)
{
    sq->cb.peer.got.len = 0;
    conn_open(&sq->cb);
    sq->cb.peer.env.compression = &sq->compression;
    sq->cb.peer.env.coders = hs_compression_coders(&sq->compression);
    assert_non_null(sq->cb.peer.env.coders);
}

/* The content of chunks; sets `*at` to their end. */
static void join_chunks(squeezed_t *sq, const char **at, hs_buf_t *out)
{
    const char *end = sq->cb.peer.got.data + sq->cb.peer.got.len;
    out->len = 0;
    for (;;) {
        char *line_end;
        size_t len = strtoull(*at, &line_end, 16);
        assert_memory_equal(line_end, "\r\n", 2);
        assert_true((size_t)(end - line_end) >= len + 4);
        assert_true(hs_buf_append(out, line_end + 2, len));
        *at = line_end + 2 + len + 2;
        if (len == 0)
            return;
    }
}

static void is_the_content(const squeezed_t *sq, size_t len)
{
    assert_int_equal(sq->decoded.len, len);
    assert_memory_equal(sq->decoded.data, sq->content, len);
}

static response_t get(squeezed_t *sq, const char *fields)
{
    char request[512];
    snprintf(request, sizeof(request), "GET / HTTP/1.1\r\n" HOST "%s\r\n", fields);
    conn_feed_text(&sq->cb, request);
    return next_response(&sq->cb);
}

static void a_response_is_compressed(void **state)
{
    squeezed_t *sq = *state;
    sq->built = (built_t){ .fields = { "Content-Type", "application/json" } };
    open_conn(sq);
    for (int i = 0; i < 3; i++) {
        response_t response = get(sq, GZIP);
        assert_int_equal(response.status, 200);
        assert_true(response_has(&response, "Content-Encoding: gzip"));
        assert_true(response_has(&response, "Vary: Accept-Encoding"));
        assert_true(response.body_len < 2000);
        sq->decoded.len = 0;
        assert_true(inflate_all(response.body, response.body_len, &sq->decoded));
        is_the_content(sq, 2000);
    }
    response_t br = get(sq, "Accept-Encoding: gzip, br\r\n");
    assert_true(response_has(&br, "Content-Encoding: br"));
    response_t none = get(sq, "");
    assert_true(response_has(&none, "Vary: Accept-Encoding"));
    assert_true(response_has(&none, "Content-Length: 2000"));
    assert_null(strstr(none.head, "Content-Encoding"));
    conn_close(&sq->cb);
}

static void what_is_not_compressed(void **state)
{
    squeezed_t *sq = *state;
#define JSON "Content-Type", "application/json"
    static const struct {
        built_t built;
        bool varies;
    } table[] = {
        { { .fields = { JSON }, .len = 1023 }, false },
        { { .fields = { JSON, "Content-Encoding", "zstd" } }, false },
        { { .fields = { JSON, "Content-Range", "bytes 0-1999/9999" } }, false },
        { { .status = 206, .fields = { JSON } }, false },
        { { .status = 205, .fields = { JSON } }, false },
        { { .fields = { JSON, "Cache-Control", "max-age=1, No-Transform" } }, false },
        { { .fields = { "Content-Type", "image/png" } }, false },
        { { .fields = { "Content-Type", "text/event-stream" } }, false },
        { { .fields = { "Content-Type", "text/event-stream; charset=utf-8" }, .compress = 1 },
          false },
        { { .fields = { "X", "y" } }, false },
        { { .fields = { JSON }, .compress = -1 }, false },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        sq->built = table[i].built;
        open_conn(sq);
        response_t response = get(sq, GZIP);
        if (strstr(response.head, "Content-Encoding: gzip") != NULL)
            fail_msg("row %zu is compressed", i);
        assert_int_equal(strstr(response.head, "Vary") != NULL, table[i].varies);
        conn_close(&sq->cb);
    }
    sq->built = (built_t){ .fields = { JSON } };
    open_conn(sq);
    conn_feed_text(&sq->cb, "GET / HTTP/1.0\r\n" GZIP "\r\n");
    response_t old = next_response(&sq->cb);
    assert_null(strstr(old.head, "Content-Encoding"));
    conn_close(&sq->cb);
}

static void types_are_listed(void **state)
{
    squeezed_t *sq = *state;
    static const struct {
        const char *type;
        bool is_compressed;
        int compress;
    } table[] = {
        { "text/plain", true, 0 },
        { "TEXT/Html; charset=utf-8", true, 0 },
        { "application/problem+json", true, 0 },
        { "image/svg+xml", true, 0 },
        { "application/JSON ; x=y", true, 0 },
        { "application/jsonx", false, 0 },
        { "application/octet-stream", false, 0 },
        { "textile/plain", false, 0 },
        { "+json", false, 0 },
        { "", false, 0 },
        { "application/octet-stream", true, 1 },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        sq->built =
            (built_t){ .fields = { "Content-Type", table[i].type }, .compress = table[i].compress };
        open_conn(sq);
        response_t response = get(sq, GZIP);
        if (response_has(&response, "Content-Encoding: gzip") != table[i].is_compressed)
            fail_msg("%s", table[i].type);
        conn_close(&sq->cb);
    }
}

static void tags_become_weak_and_vary_grows(void **state)
{
    squeezed_t *sq = *state;
    static const struct {
        const char *name, *value, *line;
    } table[] = {
        { "ETag", "\"a\"", "ETag: W/\"a\"" },
        { "etag", "W/\"a\"", "etag: W/\"a\"" },
        { "Vary", "Origin", "Vary: Origin, Accept-Encoding" },
        { "vary", "Origin, accept-encoding", "vary: Origin, accept-encoding" },
        { "Vary", "*", "Vary: *" },
        { "Vary", "", "Vary: Accept-Encoding" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        sq->built =
            (built_t){ .fields = { "Content-Type", "text/css", table[i].name, table[i].value } };
        open_conn(sq);
        response_t response = get(sq, GZIP);
        if (!response_has(&response, table[i].line))
            fail_msg("no %s in %s", table[i].line, response.head);
        assert_true(response_has(&response, "Content-Encoding: gzip"));
        conn_close(&sq->cb);
    }
    /* Uncompressed, the tag is the handler's. */
    sq->built = (built_t){ .fields = { "Content-Type", "text/css", "ETag", "\"a\"" } };
    open_conn(sq);
    response_t response = get(sq, "Accept-Encoding: identity\r\n");
    assert_true(response_has(&response, "ETag: \"a\""));
    assert_true(response_has(&response, "Vary: Accept-Encoding"));
    conn_close(&sq->cb);
}

/* RFC 9110 §15.4.5: what the 200 would have. */
static void a_304_has_the_tag_and_vary_of_the_200(void **state)
{
    squeezed_t *sq = *state;
    static const struct {
        const char *type, *accepted, *tag;
        bool varies;
    } table[] = {
        { NULL, GZIP, "ETag: W/\"a\"", true },
        { NULL, "", "ETag: \"a\"", true },
        { "text/css", GZIP, "ETag: W/\"a\"", true },
        { "image/png", GZIP, "ETag: \"a\"", false },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        sq->built = (built_t){ .status = 304, .fields = { "ETag", "\"a\"" } };
        if (table[i].type != NULL) {
            sq->built.fields[2] = "Content-Type";
            sq->built.fields[3] = table[i].type;
        }
        open_conn(sq);
        response_t response = get(sq, table[i].accepted);
        assert_int_equal(response.status, 304);
        assert_true(response_has(&response, table[i].tag));
        assert_false(response_has(&response, "Content-Encoding: gzip"));
        if (response_has(&response, "Vary: Accept-Encoding") != table[i].varies)
            fail_msg("case %zu: %s", i, response.head);
        conn_close(&sq->cb);
    }
}

/* However much the kernel accepts at once, at most a slice is buffered, and the next request of
 * the pipeline is handled after it. */
static void long_content_comes_in_slices(void **state)
{
    squeezed_t *sq = *state;
    static const size_t steps[] = { WHOLE, 5000, 100000 };
    for (size_t i = 0; i < 2 * sizeof(steps) / sizeof(steps[0]); i++) {
        sq->is_pinned = i % 2 != 0;
        sq->built = (built_t){ .fields = { "Content-Type", "text/plain" }, .len = LONG_BYTES };
        sq->cb.send_step = steps[i / 2];
        open_conn(sq);
        conn_feed_text(&sq->cb, "GET / HTTP/1.1\r\n" HOST GZIP "\r\n"
                                "GET / HTTP/1.1\r\n" HOST "Accept-Encoding: gzip;q=0\r\n\r\n");
        conn_pump(&sq->cb);
        response_t response = next_response(&sq->cb);
        assert_true(response_has(&response, "Transfer-Encoding: chunked"));
        assert_true(response_has(&response, "Content-Encoding: gzip"));
        assert_null(strstr(response.head, "Content-Length"));
        hs_buf_t coded = { 0 };
        const char *at = response.body;
        join_chunks(sq, &at, &coded);
        sq->decoded.len = 0;
        assert_true(inflate_all(coded.data, coded.len, &sq->decoded));
        hs_buf_free(&coded);
        is_the_content(sq, LONG_BYTES);
        sq->cb.read_at = (size_t)(at - sq->cb.peer.got.data);
        response = next_response(&sq->cb);
        assert_true(response_has(&response, "Content-Length: 1000000"));
        assert_memory_equal(response.body, sq->content, LONG_BYTES);
        expect_no_more(&sq->cb);
        assert_true(conn_is_idle(&sq->cb));
        conn_close(&sq->cb);
    }
    assert_int_equal(sq->released, 2 * 3);
}

static void a_client_may_leave_between_slices(void **state)
{
    squeezed_t *sq = *state;
    sq->built = (built_t){ .fields = { "Content-Type", "text/plain" }, .len = LONG_BYTES };
    sq->is_pinned = true;
    sq->cb.send_step = 1000;
    for (unsigned i = 0; i < 8; i++) {
        open_conn(sq);
        const char *request = "GET / HTTP/1.1\r\n" HOST GZIP "\r\n";
        (void)conn_receive(&sq->cb, request, strlen(request));
        for (unsigned k = 0; k < i; k++)
            (void)conn_send_some(&sq->cb);
        if (i % 3 == 0)
            conn_peer_resets(&sq->cb);
        else if (i % 3 == 1)
            conn_drain(&sq->cb);
        conn_close(&sq->cb);
        assert_int_equal(sq->released, i + 1);
    }
}

static void a_head_request_has_the_fields(void **state)
{
    squeezed_t *sq = *state;
    static const size_t lengths[] = { 2000, LONG_BYTES };
    for (size_t i = 0; i < 2; i++) {
        sq->built = (built_t){ .fields = { "Content-Type", "text/plain" }, .len = lengths[i] };
        open_conn(sq);
        for (int k = 0; k < 2; k++) {
            conn_feed_text(&sq->cb, "HEAD / HTTP/1.1\r\n" HOST GZIP "\r\n");
            response_t response = next_response_to(&sq->cb, false);
            assert_true(response_has(&response, "Content-Encoding: gzip"));
            assert_null(strstr(response.head, "Content-Length: 2000"));
            expect_no_more(&sq->cb);
        }
        conn_close(&sq->cb);
    }
}

/* After a flush the client can decode everything written so far; without one it may wait. */
static void streams_are_flushed_when_asked(void **state)
{
    squeezed_t *sq = *state;
    open_conn(sq);
    conn_feed_text(&sq->cb, "GET /later HTTP/1.1\r\n" HOST GZIP "\r\n");
    hs_response_t *response = hs_deferred_response(sq->job);
    assert_non_null(response);
    assert_int_equal(hs_res_content_length(response, 3000), 0); /* the decoded length */
    assert_int_equal(hs_res_write(response, sq->content, 1000), HS_WRITE_CONTINUE);
    hs_conn_collect(&sq->cb.peer.env);
    conn_pump(&sq->cb);
    response_t got = next_response(&sq->cb);
    assert_true(response_has(&got, "Content-Encoding: gzip"));
    assert_true(response_has(&got, "Transfer-Encoding: chunked"));
    size_t head_len = sq->cb.peer.got.len;
    assert_int_equal(hs_res_flush(response), 0);
    hs_conn_collect(&sq->cb.peer.env);
    conn_pump(&sq->cb);
    assert_true(sq->cb.peer.got.len > head_len);
    size_t flushed = sq->cb.peer.got.len;
    assert_true(hs_buf_append(&sq->cb.peer.got, "0\r\n\r\n", 5)); /* so that it can be read now */
    const char *at = strstr(sq->cb.peer.got.data, "\r\n\r\n") + 4;
    hs_buf_t coded = { 0 };
    join_chunks(sq, &at, &coded);
    assert_false(inflate_all(coded.data, coded.len, &sq->decoded));
    is_the_content(sq, 1000);
    sq->cb.peer.got.len = flushed;
    assert_int_equal(hs_res_write(response, sq->content + 1000, 2000), HS_WRITE_CONTINUE);
    assert_int_equal(hs_res_send(response), 0);
    hs_conn_collect(&sq->cb.peer.env);
    conn_pump(&sq->cb);
    at = strstr(sq->cb.peer.got.data, "\r\n\r\n") + 4;
    join_chunks(sq, &at, &coded);
    sq->decoded.len = 0;
    assert_true(inflate_all(coded.data, coded.len, &sq->decoded));
    is_the_content(sq, 3000);
    hs_buf_free(&coded);
    assert_true(conn_is_idle(&sq->cb));
    conn_close(&sq->cb);
}

static void a_stream_that_fails_does_not_end(void **state)
{
    squeezed_t *sq = *state;
    open_conn(sq);
    conn_feed_text(&sq->cb, "GET /later HTTP/1.1\r\n" HOST GZIP "\r\n");
    hs_response_t *response = hs_deferred_response(sq->job);
    assert_int_equal(hs_res_write(response, sq->content, 1000), HS_WRITE_CONTINUE);
    assert_int_equal(hs_res_fail(response), 0);
    hs_conn_collect(&sq->cb.peer.env);
    conn_pump(&sq->cb);
    assert_true(conn_is_closed(&sq->cb));
    assert_null(strstr(sq->cb.peer.got.data, "\r\n0\r\n\r\n"));
    conn_close(&sq->cb);
}

static void settings_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *compress, *types;
        int gzip, br;
        const char *problem;
    } table[] = {
        { "deflate", NULL, 6, 4, "compress \"deflate\" is not a list of gzip and br" },
        { "gzip,gzip", NULL, 6, 4, "is not a list" },
        { "gzip,", NULL, 6, 4, "is not a list" },
        { "gzip", NULL, 0, 4, "compress_gzip_level 0" },
        { "gzip", NULL, 10, 4, "compress_gzip_level 10" },
        { "gzip", NULL, 6, 12, "compress_br_level 12" },
        { "gzip", "text", 6, 4, "\"text\" is neither" },
        { "gzip", "text/*,,a/b", 6, 4, "\"\" is neither" },
        { "gzip", "text/a b", 6, 4, "is neither" },
        { "gzip", "+", 6, 4, "is neither" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        hs_config_t config;
        hs_config_init(&config);
        config.compress = table[i].compress;
        config.compress_types = table[i].types;
        config.compress_gzip_level = table[i].gzip;
        config.compress_br_level = table[i].br;
        hs_compression_t compression;
        hs_errinfo_t error = { 0 };
        assert_int_equal(hs_compression_init(&compression, &config, &error), HS_ERR_INVALID);
        if (strstr(error.text, table[i].problem) == NULL)
            fail_msg("%s", error.text);
        hs_compression_free(&compression);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_response_is_compressed),
        TEST(what_is_not_compressed),
        TEST(types_are_listed),
        TEST(tags_become_weak_and_vary_grows),
        TEST(a_304_has_the_tag_and_vary_of_the_200),
        TEST(long_content_comes_in_slices),
        TEST(a_client_may_leave_between_slices),
        TEST(a_head_request_has_the_fields),
        TEST(streams_are_flushed_when_asked),
        TEST(a_stream_that_fails_does_not_end),
        cmocka_unit_test(settings_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
