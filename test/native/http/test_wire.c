/* hs_wire: the exact bytes of response heads, and which names and values are allowed in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "http/hs_wire.h"

#define DATE_LINE "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"

static hs_date_t date;

static int set_date(void **state)
{
    (void)state;
    hs_date_set(&date, 784111777);
    return 0;
}

static void expect_bytes(hs_buf_t *out, const char *expected)
{
    assert_int_equal(out->len, strlen(expected));
    assert_memory_equal(out->data, expected, out->len);
    hs_buf_free(out);
}

static void expect_head(hs_wire_head_t head, const char *expected)
{
    hs_buf_t out = { 0 };
    assert_true(hs_wire_put_head(&out, &head, &date, hs_span(NULL, 0)));
    expect_bytes(&out, expected);
}

static void a_plain_head(void **state)
{
    (void)state;
    expect_head((hs_wire_head_t){ .status = 200, .content_length = 13 },
                "HTTP/1.1 200 OK\r\n" DATE_LINE "Content-Length: 13\r\n\r\n");
}

static void the_connection_field(void **state)
{
    (void)state;
    expect_head((hs_wire_head_t){ .status = 200, .connection = HS_WIRE_CONNECTION_CLOSE },
                "HTTP/1.1 200 OK\r\n" DATE_LINE "Content-Length: 0\r\nConnection: close\r\n\r\n");
    expect_head((hs_wire_head_t){ .status = 200, .connection = HS_WIRE_CONNECTION_KEEP_ALIVE },
                "HTTP/1.1 200 OK\r\n" DATE_LINE
                "Content-Length: 0\r\nConnection: keep-alive\r\n\r\n");
}

static void a_status_without_a_phrase(void **state)
{
    (void)state;
    expect_head((hs_wire_head_t){ .status = 299, .content_length = 1 },
                "HTTP/1.1 299 \r\n" DATE_LINE "Content-Length: 1\r\n\r\n");
    expect_head((hs_wire_head_t){ .status = 599 },
                "HTTP/1.1 599 \r\n" DATE_LINE "Content-Length: 0\r\n\r\n");
}

/* RFC 9110 §8.6: no Content-Length in 204; in 304 it would be that of another response's content.
 */
static void statuses_without_content_have_no_content_length(void **state)
{
    (void)state;
    expect_head((hs_wire_head_t){ .status = 204, .content_length = 5 },
                "HTTP/1.1 204 No Content\r\n" DATE_LINE "\r\n");
    expect_head((hs_wire_head_t){ .status = 304, .content_length = 5 },
                "HTTP/1.1 304 Not Modified\r\n" DATE_LINE "\r\n");
}

static void fields_are_copied_unchanged(void **state)
{
    (void)state;
    hs_wire_head_t head = {
        .status = 404,
        .fields = HS_SPAN_LITERAL("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"),
        .content_length = 7,
    };
    expect_head(head, "HTTP/1.1 404 Not Found\r\n" DATE_LINE
                      "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 7\r\n\r\n");
}

static void a_date_from_the_handler_replaces_ours(void **state)
{
    (void)state;
    hs_wire_head_t head = {
        .status = 200,
        .fields = HS_SPAN_LITERAL("Date: yesterday\r\n"),
        .own_date = true,
    };
    expect_head(head, "HTTP/1.1 200 OK\r\nDate: yesterday\r\nContent-Length: 0\r\n\r\n");
}

static void content_of_unknown_length_is_chunked(void **state)
{
    (void)state;
    expect_head((hs_wire_head_t){ .status = 200, .chunked = true },
                "HTTP/1.1 200 OK\r\n" DATE_LINE "Transfer-Encoding: chunked\r\n\r\n");
    hs_wire_head_t closing = {
        .status = 200,
        .connection = HS_WIRE_CONNECTION_CLOSE,
        .chunked = true,
        .content_length = 9,
    };
    expect_head(closing, "HTTP/1.1 200 OK\r\n" DATE_LINE
                         "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
}

static void content_of_unknown_length_ends_with_the_connection(void **state)
{
    (void)state;
    hs_wire_head_t head = {
        .status = 200,
        .connection = HS_WIRE_CONNECTION_CLOSE,
        .until_close = true,
        .content_length = 9,
    };
    expect_head(head, "HTTP/1.1 200 OK\r\n" DATE_LINE "Connection: close\r\n\r\n");
}

/* RFC 9112 §6.1: no Transfer-Encoding in 204; in 304 it would be that of another response. */
static void statuses_without_content_have_no_transfer_encoding(void **state)
{
    (void)state;
    expect_head((hs_wire_head_t){ .status = 204, .chunked = true },
                "HTTP/1.1 204 No Content\r\n" DATE_LINE "\r\n");
    expect_head((hs_wire_head_t){ .status = 304, .chunked = true },
                "HTTP/1.1 304 Not Modified\r\n" DATE_LINE "\r\n");
}

static void expect_chunk_head(size_t len, const char *expected)
{
    char head[HS_WIRE_CHUNK_HEAD_MAX];
    assert_int_equal(hs_wire_chunk_head(head, len), strlen(expected));
    assert_memory_equal(head, expected, strlen(expected));
}

static void chunk_sizes_are_hexadecimal(void **state)
{
    (void)state;
    expect_chunk_head(1, "1\r\n");
    expect_chunk_head(15, "f\r\n");
    expect_chunk_head(16, "10\r\n");
    expect_chunk_head(0xabcdef, "abcdef\r\n");
    expect_chunk_head(16384, "4000\r\n");
    expect_chunk_head(SIZE_MAX, "ffffffffffffffff\r\n");
    for (unsigned bit = 0; bit < 64; bit++) {
        char head[HS_WIRE_CHUNK_HEAD_MAX + 1] = { 0 };
        size_t len = (size_t)1 << bit;
        assert_int_equal(hs_wire_chunk_head(head, len), bit / 4 + 3);
        assert_true(strtoull(head, NULL, 16) == len);
    }
}

static void content_lengths_of_1_to_20_digits(void **state)
{
    (void)state;
    size_t length = 0;
    for (unsigned digits = 1; digits <= 20; digits++) {
        length = digits == 20 ? SIZE_MAX : length * 10 + 9;
        hs_buf_t out = { 0 };
        hs_wire_head_t head = { .status = 200, .content_length = length };
        assert_true(hs_wire_put_head(&out, &head, &date, hs_span(NULL, 0)));
        assert_true(hs_buf_append(&out, "", 1));
        const char *at = strstr(out.data, "Content-Length: ");
        assert_non_null(at);
        assert_true(strtoull(at + 16, NULL, 10) == length);
        assert_int_equal(strcspn(at + 16, "\r"), digits);
        hs_buf_free(&out);
    }
}

/* The responses of a batch are appended to one buffer. */
static void heads_are_appended(void **state)
{
    (void)state;
    hs_buf_t out = { 0 };
    hs_wire_head_t head = { .status = 200 };
    for (int i = 0; i < 100; i++)
        assert_true(hs_wire_put_head(&out, &head, &date, hs_span(NULL, 0)));
    const char *one = "HTTP/1.1 200 OK\r\n" DATE_LINE "Content-Length: 0\r\n\r\n";
    assert_int_equal(out.len, 100 * strlen(one));
    for (int i = 0; i < 100; i++)
        assert_memory_equal(out.data + (size_t)i * strlen(one), one, strlen(one));
    hs_buf_free(&out);
}

/* For all lengths: the same bytes as from the general path. */
static void a_plain_response_is_the_general_one(void **state)
{
    (void)state;
    static char text[2048];
    memset(text, 'x', sizeof(text));
    for (size_t fields = 0; fields <= 40; fields++)
        for (size_t content = 0; content <= sizeof(text); content += content < 40 ? 1 : 251) {
            hs_wire_head_t head = {
                .status = 200,
                .fields = hs_span(text, fields),
                .content_length = content,
            };
            hs_buf_t general = { 0 };
            hs_buf_t plain = { 0 };
            assert_true(hs_wire_put_head(&general, &head, &date, hs_span(text, content)));
            assert_true(hs_wire_put_ok(&plain, &date, head.fields, hs_span(text, content)));
            assert_int_equal(plain.len, general.len);
            assert_memory_equal(plain.data, general.data, general.len);
            hs_buf_free(&general);
            hs_buf_free(&plain);
        }
}

/* The longest status line, number and Connection field fit the reserved space. */
static void a_head_fits_the_reserved_room(void **state)
{
    (void)state;
    static char field[4096];
    memset(field, 'x', sizeof(field));
    for (int status = 200; status <= 599; status++) {
        hs_wire_head_t head = {
            .status = status,
            .connection = HS_WIRE_CONNECTION_KEEP_ALIVE,
            .fields = hs_span(field, (size_t)status * 6),
            .content_length = SIZE_MAX,
        };
        hs_buf_t out = { 0 };
        assert_true(hs_wire_put_head(&out, &head, &date,
                                     hs_span(NULL, 0))); /* hs_buf_put asserts the room */
        assert_true(out.len <= out.capacity);
        hs_buf_free(&out);
    }
}

static void the_interim_response(void **state)
{
    (void)state;
    hs_buf_t out = { 0 };
    assert_true(hs_wire_put_continue(&out));
    expect_bytes(&out, "HTTP/1.1 100 Continue\r\n\r\n");
}

static void refusals(void **state)
{
    (void)state;
    hs_buf_t out = { 0 };
    assert_true(hs_wire_put_refusal(&out, 400, true, &date));
    expect_bytes(&out, "HTTP/1.1 400 Bad Request\r\n" DATE_LINE
                       "Content-Type: text/plain\r\nContent-Length: 12\r\nConnection: close\r\n\r\n"
                       "Bad Request\n");
    assert_true(hs_wire_put_refusal(&out, 431, false, &date));
    expect_bytes(&out,
                 "HTTP/1.1 431 Request Header Fields Too Large\r\n" DATE_LINE
                 "Content-Type: text/plain\r\nContent-Length: 32\r\nConnection: close\r\n\r\n");
}

/* RFC 9110 §5.6.2: tchar, and nothing else, at any position of names whose length is or is not a
 * multiple of the word size. */
static void every_byte_in_a_field_name(void **state)
{
    (void)state;
    static const char tchar[] = "!#$%&'*+-.^_`|~0123456789"
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (int byte = 0; byte <= 255; byte++) {
        bool allowed = byte != 0 && strchr(tchar, byte) != NULL;
        for (size_t len = 1; len <= 26; len++)
            for (size_t at = 0; at < len; at++) {
                char name[] = "abcdefghijklmnopqrstuvwxyz";
                name[at] = (char)byte;
                assert_int_equal(hs_wire_is_field_name(hs_span(name, len)), allowed);
            }
    }
    assert_false(hs_wire_is_field_name(hs_span("", 0)));
}

/* RFC 9110 §5.5: no control character except HTAB; bytes above 0x7f are obs-text and allowed. At
 * any position of values whose length is or is not a multiple of the word size. */
static void every_byte_in_a_field_value(void **state)
{
    (void)state;
    for (int byte = 0; byte <= 255; byte++) {
        bool allowed = byte == '\t' || (byte >= 0x20 && byte != 0x7f);
        for (size_t len = 1; len <= 26; len++)
            for (size_t at = 0; at < len; at++) {
                char value[] = "abcdefghijklmnopqrstuvwxyz";
                value[at] = (char)byte;
                assert_int_equal(hs_wire_is_field_value(hs_span(value, len)), allowed);
            }
    }
    assert_true(hs_wire_is_field_value(hs_span("", 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_head),
        cmocka_unit_test(the_connection_field),
        cmocka_unit_test(a_status_without_a_phrase),
        cmocka_unit_test(statuses_without_content_have_no_content_length),
        cmocka_unit_test(fields_are_copied_unchanged),
        cmocka_unit_test(a_date_from_the_handler_replaces_ours),
        cmocka_unit_test(content_of_unknown_length_is_chunked),
        cmocka_unit_test(content_of_unknown_length_ends_with_the_connection),
        cmocka_unit_test(statuses_without_content_have_no_transfer_encoding),
        cmocka_unit_test(chunk_sizes_are_hexadecimal),
        cmocka_unit_test(content_lengths_of_1_to_20_digits),
        cmocka_unit_test(heads_are_appended),
        cmocka_unit_test(a_plain_response_is_the_general_one),
        cmocka_unit_test(a_head_fits_the_reserved_room),
        cmocka_unit_test(the_interim_response),
        cmocka_unit_test(refusals),
        cmocka_unit_test(every_byte_in_a_field_name),
        cmocka_unit_test(every_byte_in_a_field_value),
    };
    return cmocka_run_group_tests(tests, set_date, NULL);
}
