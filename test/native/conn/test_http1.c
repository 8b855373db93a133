/* hs_http1 alone, on byte arrays: any segmentation gives the same events, and how responses are
 * written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "conn/hs_http1.h"
#include "exec/hs_res.h"
#include "exec/job_pool.h"
#include "stream/buffers_pool.h"

#define HOST "Host: a\r\n"
#define WHOLE SIZE_MAX

/* A message reader with the parts of a stream that it needs. Records messages as lines
 * "METHOD target [content] keeps\n", a refusal as its status. */
typedef struct reader {
    hs_limits_t limits;
    hs_log_t log;
    hs_job_pool_t jobs;
    hs_pool_t job_blocks;
    hs_pool_t buffers_blocks;
    hs_date_t date;
    hs_http1_context_t context;
    hs_buffers_pool_t pool;
    hs_buffers_t *buffers;
    hs_job_t *job;
    hs_http1_t http1;
    bool passes_on;
    hs_buf_t content; /* passed on, of the current message */
    unsigned pieces;
    hs_buf_t noted;
    int refused;
    unsigned heads;
} reader_t;

static void reader_open(reader_t *reader, uint32_t ring_size, bool passes_on)
{
    memset(reader, 0, sizeof(*reader));
    reader->limits = (hs_limits_t){
        .ring_size = ring_size, .max_url = 8192, .max_headers = 8, .max_body = 100000
    };
    reader->passes_on = passes_on;
    hs_log_init(&reader->log, HS_LOG_OFF, NULL, NULL);
    hs_date_set(&reader->date, 784111777);
    job_pool_begin(&reader->jobs, &reader->job_blocks, 1, &reader->log, NULL);
    buffers_pool_begin(&reader->pool, &reader->buffers_blocks, ring_size,
                       hs_http1_scratch_size(&reader->limits), 1);
    hs_http1_context_init(&reader->context, &reader->limits, &reader->jobs, &reader->date);
    reader->buffers = hs_buffers_lease(&reader->pool);
    reader->job = hs_job_lease(&reader->jobs);
    assert_non_null(reader->buffers);
    assert_non_null(reader->job);
}

static void reader_close(reader_t *reader)
{
    hs_job_give_back(&reader->jobs, reader->job);
    hs_buffers_give_back(&reader->pool, reader->buffers);
    job_pool_end(&reader->jobs);
    buffers_pool_end(&reader->pool);
    hs_buf_free(&reader->content);
    hs_buf_free(&reader->noted);
}

static void note(reader_t *reader, const char *data, size_t len)
{
    assert_true(hs_buf_reserve(&reader->noted, len + 1));
    if (len > 0)
        hs_buf_put(&reader->noted, data, len);
    reader->noted.data[reader->noted.len] = '\0';
}

static void note_text(reader_t *reader, const char *text)
{
    note(reader, text, strlen(text));
}

static void note_message(reader_t *reader)
{
    const hs_request_t *request = &reader->job->request;
    size_t len = reader->content.len;
    const char *content = reader->content.data;
    if (!reader->http1.passes_content) {
        hs_msg_terminate_url(&reader->job->request.msg);
        content = hs_req_body(request, &len);
    }
    note_text(reader, hs_req_method_str(request));
    note_text(reader, " ");
    note_text(reader, hs_req_url(request));
    note_text(reader, " [");
    note(reader, content, len);
    note_text(reader, request->msg.keep_alive ? "] open\n" : "] close\n");
    const char *host = hs_req_header(request, "hOST");
    if (request->msg.minor_version == 1)
        assert_string_equal(host, "a");
}

static void end_message(reader_t *reader)
{
    hs_job_end(&reader->jobs, reader->job);
    hs_http1_end_message(&reader->http1, reader->buffers);
    assert_int_equal(reader->http1.reading, HS_READING_IDLE);
    reader->content.len = 0;
}

static void on_head(reader_t *reader)
{
    reader->heads++;
    if (reader->passes_on) {
        assert_true(hs_http1_pass_on(&reader->http1, reader->buffers, reader->job));
        return;
    }
    reader->refused =
        hs_http1_collect(&reader->http1, &reader->context, reader->buffers, reader->job);
}

/* Continues reading; false: more input is needed, or it has ended. */
static bool read_on(reader_t *reader)
{
    hs_http1_t *http1 = &reader->http1;
    hs_buffers_t *buffers = reader->buffers;
    if (http1->reading == HS_READING_IDLE) {
        if (!hs_buffers_has_unparsed(buffers))
            return false;
        hs_http1_begin(http1, &reader->context, buffers, reader->job);
        assert_int_equal(http1->reading, HS_READING_HEAD);
    }
    hs_span_t piece = { 0 };
    switch (hs_http1_next(http1, &reader->context, buffers, reader->job, &piece)) {
    case HS_HTTP1_NEED_MORE:
        return false;
    case HS_HTTP1_HEAD:
        on_head(reader);
        return reader->refused == 0;
    case HS_HTTP1_CONTENT:
        assert_true(reader->passes_on && piece.len > 0);
        reader->pieces++;
        assert_true(hs_buf_append(&reader->content, piece.data, piece.len));
        return true;
    case HS_HTTP1_COMPLETE:
        note_message(reader);
        end_message(reader);
        return true;
    case HS_HTTP1_REFUSED:
        assert_int_equal(http1->reading, HS_READING_STOPPED);
        reader->refused = http1->refused;
        return false;
    }
    return false;
}

/* One segment, as received by a stream; returns how much was received. */
static size_t receive(reader_t *reader, const char *data, size_t len)
{
    size_t done = 0;
    if (reader->http1.reading == HS_READING_CONTENT_BUFFER) {
        hs_buf_t *content = &reader->job->content;
        done = hs_min(len, (size_t)reader->job->request.msg.content_length - content->len);
        hs_buf_put(content, data, done);
    }
    struct iovec iov[2];
    int count = hs_ring_write_vec(&reader->buffers->ring, iov);
    for (int i = 0; i < count && done < len; i++) {
        size_t part = hs_min(iov[i].iov_len, len - done);
        memcpy(iov[i].iov_base, data + done, part);
        hs_ring_commit(&reader->buffers->ring, (uint32_t)part);
        done += part;
    }
    while (read_on(reader))
        continue;
    return done;
}

static void feed(reader_t *reader, const char *data, size_t len, size_t step)
{
    while (len > 0 && reader->refused == 0) {
        size_t done = receive(reader, data, hs_min(step, len));
        assert_true(done > 0);
        data += done;
        len -= done;
    }
}

static const char stream[] =
    "GET /first HTTP/1.1\r\n" HOST "\r\n"
    "POST /sized HTTP/1.1\r\n" HOST "Content-Length: 150\r\n\r\n"
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123"
    "45678901234567890123456789012345678901234567890123456789"
    "\r\nPUT /chunked HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
    "5\r\nabcde\r\n1;x=y\r\nf\r\n"
    "50\r\n01234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n"
    "0\r\nTrailer: t\r\n\r\n"
    "POST /none HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"
    "POST /empty HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    "POST /small HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nxyz"
    "HEAD /last HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n";

static const char events[] =
    "GET /first [] open\n"
    "POST /sized "
    "[012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012"
    "345678901234567890123456789012345678901234567890123456789] open\n"
    "PUT /chunked [abcdef"
    "01234567890123456789012345678901234567890123456789012345678901234567890123456789] open\n"
    "POST /none [] open\n"
    "POST /empty [] open\n"
    "POST /small [xyz] open\n"
    "HEAD /last [] close\n";

static const uint32_t rings[] = { 128, 256, 8192 };

static void expect_events(reader_t *reader)
{
    assert_int_equal(reader->refused, 0);
    assert_string_equal(reader->noted.data, events);
    assert_int_equal(reader->heads, 4); /* of messages with content */
    assert_int_equal(reader->http1.reading, HS_READING_IDLE);
    assert_int_equal(hs_ring_used(&reader->buffers->ring), 0);
    assert_int_equal(hs_out_unsent(&reader->buffers->out), 0);
}

static void any_segmentation_gives_the_same_events(void **state)
{
    (void)state;
    size_t len = sizeof(stream) - 1;
    for (unsigned passes_on = 0; passes_on < 2; passes_on++)
        for (size_t r = 0; r < sizeof(rings) / sizeof(rings[0]); r++) {
            reader_t reader;
            for (size_t step = 1; step <= len; step += step < 130 ? 1 : 97) {
                reader_open(&reader, rings[r], passes_on);
                feed(&reader, stream, len, step);
                expect_events(&reader);
                reader_close(&reader);
            }
            for (size_t cut = 1; cut < len; cut++) {
                reader_open(&reader, rings[r], passes_on);
                feed(&reader, stream, cut, WHOLE);
                feed(&reader, stream + cut, len - cut, WHOLE);
                expect_events(&reader);
                reader_close(&reader);
            }
        }
}

typedef struct refusal {
    const char *text;
    int status;
} refusal_t;

/* A refusal comes at every split point, however content is handled, and what follows is not read.
 */
static void refusals_at_every_cut(void **state)
{
    (void)state;
    static const refusal_t table[] = {
        { "NONSENSE\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n\r\n", 400 },
        { "GET / HTTP/3.0\r\n\r\n", 505 },
        { "POST / HTTP/1.1\r\n" HOST "Content-Length: 100001\r\n\r\n", 413 },
        { "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n186a1\r\nabcd", 413 },
        { "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcX", 400 },
        { "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nno\r\n", 400 },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (unsigned passes_on = 0; passes_on < 2; passes_on++) {
            char text[512];
            snprintf(text, sizeof(text), "GET /good HTTP/1.1\r\n" HOST "\r\n%s", table[i].text);
            for (size_t cut = 1; cut < strlen(text); cut++) {
                reader_t reader;
                reader_open(&reader, 256, passes_on);
                feed(&reader, text, cut, WHOLE);
                feed(&reader, text + cut, strlen(text + cut), WHOLE);
                feed(&reader, "GET /behind HTTP/1.1\r\n" HOST "\r\n", 35, WHOLE);
                assert_int_equal(reader.refused, table[i].status);
                assert_string_equal(reader.noted.data, "GET /good [] open\n");
                /* The content passed on before is part of the content. */
                assert_true(reader.content.len <= 4);
                if (reader.content.len > 0)
                    assert_memory_equal(reader.content.data, "abcd", reader.content.len);
                reader_close(&reader);
            }
        }
}

/* `size` bytes in chunks of `chunk`. */
static size_t write_chunked(char *text, size_t size, size_t chunk)
{
    size_t at =
        (size_t)sprintf(text, "POST /b HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    while (size > 0) {
        size_t len = hs_min(chunk, size);
        at += (size_t)sprintf(text + at, "%zx\r\n", len);
        memset(text + at, 'c', len);
        at += len + (size_t)sprintf(text + at + len, "\r\n");
        size -= len;
    }
    return at + (size_t)sprintf(text + at, "0\r\n\r\n");
}

/* Chunks of one size, in segments of another; the limit applies to the total. */
static void chunks_count_for_the_limit(void **state)
{
    (void)state;
    static const size_t chunks[] = { 1, 7, 100, 1000, 20000 };
    static char text[200000];
    for (unsigned passes_on = 0; passes_on < 2; passes_on++)
        for (size_t c = 0; c < sizeof(chunks) / sizeof(chunks[0]); c++)
            for (size_t over = 0; over < 2; over++)
                for (size_t step = 1000; step <= 9000; step += 4000) {
                    static reader_t reader;
                    reader_open(&reader, 8192, passes_on);
                    reader.limits.max_body = 10000;
                    feed(&reader, text, write_chunked(text, 10000 + over, chunks[c]), step);
                    assert_int_equal(reader.refused, over ? 413 : 0);
                    assert_int_equal(reader.noted.len,
                                     over ? 0 : strlen("POST /b [] open\n") + 10000);
                    assert_true(reader.content.len <= 10000);
                    reader_close(&reader);
                }
}

/* Streaming needs no memory for the content. */
static void passed_on_content_is_not_collected(void **state)
{
    (void)state;
    static char content[100000];
    for (unsigned number = 0; number < 4; number++) {
        unsigned chunked = number % 2;
        uint32_t ring_size = number < 2 ? 8192 : 65536;
        static reader_t reader;
        reader_open(&reader, ring_size, true);
        static const char *const heads[] = { "POST / HTTP/1.1\r\n" HOST
                                             "Content-Length: 100000\r\n\r\n",
                                             "POST / HTTP/1.1\r\n" HOST
                                             "Transfer-Encoding: chunked\r\n\r\n186a0\r\n" };
        feed(&reader, heads[chunked], strlen(heads[chunked]), WHOLE);
        feed(&reader, content, sizeof(content), WHOLE);
        assert_true(reader.pieces >= sizeof(content) / ring_size);
        assert_true(reader.jobs.content_bytes <= 16384); /* decoded in steps */
        if (chunked) {
            assert_int_equal(hs_http1_content_received(&reader.http1, reader.buffers, reader.job),
                             sizeof(content));
            feed(&reader, "\r\n0\r\n\r\n", 7, WHOLE);
        }
        assert_int_equal(reader.noted.len, strlen("POST / [] open\n") + sizeof(content));
        reader_close(&reader);
    }
}

static void collected_content_is_counted_and_limited(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 5000\r\n\r\n",
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1388\r\n",
    };
    static char content[5000];
    for (unsigned chunked = 0; chunked < 2; chunked++)
        for (unsigned enough = 0; enough < 2; enough++) {
            static reader_t reader;
            reader_open(&reader, 256, false);
            reader.limits.max_body_memory = enough ? 8192 : 4999;
            feed(&reader, heads[chunked], strlen(heads[chunked]), WHOLE);
            assert_int_equal(reader.refused, enough || chunked ? 0 : 503);
            feed(&reader, content, sizeof(content), WHOLE);
            if (chunked)
                feed(&reader, "\r\n0\r\n\r\n", 7, WHOLE);
            assert_int_equal(reader.refused, enough ? 0 : 503);
            reader_close(&reader);
        }
}

/* A minimum rate is measured by content, not by its framing. */
static void received_content_is_counted_without_framing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 20\r\n\r\n0123456789",
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 5000\r\n\r\n0123456789",
        "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
        "5;extension=long\r\n01234\r\n100\r\n56789",
    };
    for (unsigned passes_on = 0; passes_on < 2; passes_on++)
        for (size_t i = 0; i < 3; i++)
            for (size_t step = 1; step < 70; step++) {
                reader_t reader;
                reader_open(&reader, 256, passes_on);
                feed(&reader, texts[i], strlen(texts[i]), step);
                assert_true(hs_http1_is_in_content(&reader.http1));
                assert_int_equal(
                    hs_http1_content_received(&reader.http1, reader.buffers, reader.job), 10);
                reader_close(&reader);
            }
}

static void continue_is_said_to_who_waits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool said;
    } table[] = {
        { "PUT / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n", true },
        { "PUT / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 9\r\n\r\nx", false },
        { "PUT / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\n", false },
    };
    for (size_t i = 0; i < 3; i++) {
        reader_t reader;
        reader_open(&reader, 256, false);
        hs_ring_t *ring = &reader.buffers->ring;
        memcpy(ring->data, table[i].text, strlen(table[i].text));
        hs_ring_commit(ring, (uint32_t)strlen(table[i].text));
        hs_http1_begin(&reader.http1, &reader.context, reader.buffers, reader.job);
        hs_span_t piece;
        assert_int_equal(
            hs_http1_next(&reader.http1, &reader.context, reader.buffers, reader.job, &piece),
            HS_HTTP1_HEAD);
        assert_true(hs_http1_continue(&reader.http1, reader.buffers, reader.job));
        assert_int_equal(hs_out_unsent(&reader.buffers->out) > 0, table[i].said);
        reader_close(&reader);
    }
}

/* A response of the current job. */

static void begin_request(reader_t *reader, const char *text)
{
    reader_open(reader, 256, false);
    hs_ring_t *ring = &reader->buffers->ring;
    memcpy(ring->data, text, strlen(text));
    hs_ring_commit(ring, (uint32_t)strlen(text));
    hs_http1_begin(&reader->http1, &reader->context, reader->buffers, reader->job);
    hs_span_t piece;
    assert_int_equal(
        hs_http1_next(&reader->http1, &reader->context, reader->buffers, reader->job, &piece),
        HS_HTTP1_COMPLETE);
    hs_msg_terminate_url(&reader->job->request.msg);
    hs_res_begin(&reader->job->response);
}

#define GET_11 "GET / HTTP/1.1\r\n" HOST "\r\n"
#define HEAD_11 "HEAD / HTTP/1.1\r\n" HOST "\r\n"
#define GET_10 "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"

/* All unsent bytes, NUL-terminated, in `noted`; they count as sent. */
static const char *take_output(reader_t *reader)
{
    hs_out_t *out = &reader->buffers->out;
    reader->noted.len = 0;
    note(reader, "", 0);
    while (hs_out_unsent(out) > 0) {
        struct iovec iov[HS_OUT_IOV_MAX];
        int count = hs_out_pieces(out, iov);
        size_t len = 0;
        for (int i = 0; i < count; i++) {
            note(reader, iov[i].iov_base, iov[i].iov_len);
            len += iov[i].iov_len;
        }
        assert_true(len > 0);
        hs_out_taken(out, len);
    }
    return reader->noted.data;
}

static bool put(reader_t *reader, const char *data, size_t len)
{
    hs_buf_t piece = { 0 };
    assert_true(hs_buf_append(&piece, data, len));
    bool done = hs_http1_put_content(&reader->http1, reader->buffers, &piece);
    hs_buf_free(&piece);
    return done;
}

typedef struct streamed_case {
    const char *request;
    int status;
    bool has_length;
    bool keeps;
    const char *framing; /* the expected field, NULL: none may be present */
    const char *content; /* what follows the head */
} streamed_case_t;

#define CHUNKS "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"

static void how_a_streamed_response_is_framed(void **state)
{
    (void)state;
    static const streamed_case_t table[] = {
        { GET_11, 200, false, true, "Transfer-Encoding: chunked\r\n", CHUNKS },
        { GET_11, 200, true, true, "Content-Length: 5\r\n", "abcde" },
        { GET_10, 200, true, true, "Content-Length: 5\r\n", "abcde" },
        { GET_10, 200, false, false, NULL, "abcde" },
        { HEAD_11, 200, false, true, "Transfer-Encoding: chunked\r\n", "" },
        { HEAD_11, 200, true, true, "Content-Length: 5\r\n", "" },
        { GET_11, 204, false, true, NULL, "" },
        { GET_11, 304, false, true, NULL, "" },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const streamed_case_t *at = &table[i];
        reader_t reader;
        begin_request(&reader, at->request);
        hs_response_t *response = &reader.job->response;
        assert_int_equal(hs_res_status(response, at->status), 0);
        if (at->has_length)
            assert_int_equal(hs_res_content_length(response, 5), 0);
        assert_true(hs_http1_begin_response(&reader.http1, &reader.context, reader.buffers,
                                            reader.job, &response->fields, at->has_length, true));
        assert_int_equal(reader.http1.keep_alive, at->keeps);
        assert_true(put(&reader, "abc", 3));
        assert_true(put(&reader, "", 0)); /* is not the last chunk */
        assert_true(put(&reader, "de", 2));
        assert_true(hs_http1_end_response(&reader.http1, reader.buffers));
        const char *output = take_output(&reader);
        const char *content = strstr(output, "\r\n\r\n") + 4;
        assert_string_equal(content, at->content);
        if (at->framing != NULL) {
            assert_non_null(strstr(output, at->framing));
        } else {
            assert_null(strstr(output, "Transfer-Encoding"));
            assert_null(strstr(output, "Content-Length"));
        }
        assert_int_equal(strstr(output, "Connection: close\r\n") == NULL, at->keeps);
        reader_close(&reader);
    }
}

/* Pieces around the sizes at which they are copied or taken over. */
static void streamed_pieces_of_every_size(void **state)
{
    (void)state;
    static char data[70000];
    memset(data, 'd', sizeof(data));
    static const size_t sizes[] = { 1, 9, 15, 16, 17, 255, 256, 4095, 16383, 16384, 16385, 70000 };
    reader_t reader;
    begin_request(&reader, GET_11);
    assert_true(hs_http1_begin_response(&reader.http1, &reader.context, reader.buffers, reader.job,
                                        &reader.job->response.fields, false, true));
    take_output(&reader);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char head[32];
        size_t head_len = (size_t)snprintf(head, sizeof(head), "%zx\r\n", sizes[i]);
        assert_true(put(&reader, data, sizes[i]));
        const char *output = take_output(&reader);
        assert_int_equal(reader.noted.len, head_len + sizes[i] + 2);
        assert_memory_equal(output, head, head_len);
        assert_memory_equal(output + head_len, data, sizes[i]);
        assert_string_equal(output + head_len + sizes[i], "\r\n");
    }
    reader_close(&reader);
}

static unsigned released;

static void count_release(void *context)
{
    (void)context;
    released++;
}

/* Pinned content is sent from its place and released once, sent or not. */
static void pinned_content_is_released_once(void **state)
{
    (void)state;
    static char data[50000];
    static const struct {
        const char *request;
        int status;
        size_t len;
        bool is_sent;
    } table[] = {
        { GET_11, 200, sizeof(data), true }, { GET_11, 200, 1, true },
        { GET_11, 200, 0, false },           { HEAD_11, 200, sizeof(data), false },
        { GET_11, 204, 10, false },          { GET_11, 205, 10, false },
        { GET_11, 304, 10, false },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        reader_t reader;
        begin_request(&reader, table[i].request);
        hs_response_t *response = &reader.job->response;
        released = 0;
        assert_int_equal(hs_res_status(response, table[i].status), 0);
        assert_int_equal(hs_res_body_pinned(response, data, table[i].len, count_release, NULL), 0);
        size_t content_len;
        assert_true(
            hs_http1_respond(&reader.context, reader.buffers, reader.job, true, &content_len));
        assert_int_equal(content_len, table[i].is_sent ? table[i].len : 0);
        hs_job_end(&reader.jobs, reader.job);
        assert_int_equal(released, !table[i].is_sent);
        if (table[i].is_sent)
            assert_ptr_equal(reader.buffers->out.first->data, data);
        take_output(&reader);
        assert_int_equal(released, 1);
        reader_close(&reader);
        assert_int_equal(released, 1);
    }
}

/* Small content is one piece with its head, large content is not copied. */
static void whole_responses_are_copied_or_taken_over(void **state)
{
    (void)state;
    static char data[20000];
    for (size_t len = 0; len <= sizeof(data); len += len < 16000 ? 8000 : 192) {
        reader_t reader;
        begin_request(&reader, GET_11);
        assert_int_equal(hs_res_body(&reader.job->response, data, len), 0);
        const char *body = reader.job->response.body.data;
        size_t content_len;
        assert_true(
            hs_http1_respond(&reader.context, reader.buffers, reader.job, true, &content_len));
        assert_int_equal(content_len, len);
        struct iovec iov[HS_OUT_IOV_MAX];
        int count = hs_out_pieces(&reader.buffers->out, iov);
        assert_int_equal(count, len > 16384 ? 2 : 1);
        if (count == 2)
            assert_ptr_equal(iov[1].iov_base, body);
        reader_close(&reader);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_segmentation_gives_the_same_events),
        cmocka_unit_test(refusals_at_every_cut),
        cmocka_unit_test(chunks_count_for_the_limit),
        cmocka_unit_test(passed_on_content_is_not_collected),
        cmocka_unit_test(collected_content_is_counted_and_limited),
        cmocka_unit_test(received_content_is_counted_without_framing),
        cmocka_unit_test(continue_is_said_to_who_waits),
        cmocka_unit_test(how_a_streamed_response_is_framed),
        cmocka_unit_test(streamed_pieces_of_every_size),
        cmocka_unit_test(pinned_content_is_released_once),
        cmocka_unit_test(whole_responses_are_copied_or_taken_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
