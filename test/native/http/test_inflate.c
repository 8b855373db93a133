/* hs_inflate: formats, splitting, corrupt input, and input that inflates to too much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#include "data/hs_buf.h"
#include "http/hs_inflate.h"

#define GZIP 31
#define ZLIB 15
#define RAW (-15)

/* Appends `text`, compressed. */
static void compress_to(hs_buf_t *to, const char *text, size_t len, int bits)
{
    z_stream stream = { 0 };
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_true(hs_buf_reserve(to, deflateBound(&stream, len) + 32));
    stream.next_in = (Bytef *)(uintptr_t)text;
    stream.avail_in = (uInt)len;
    stream.next_out = (Bytef *)to->data + to->len;
    stream.avail_out = (uInt)(to->capacity - to->len);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    to->len += stream.total_out;
    deflateEnd(&stream);
}

/* Decodes in pieces of `step` bytes, each in a separate allocation. Returns the final outcome. */
static hs_inflate_outcome_t decode(const hs_buf_t *from, size_t step, hs_inflate_format_t format,
                                   hs_buf_t *to, bool *is_complete)
{
    hs_inflate_t *inflate = hs_inflate_new(format);
    hs_inflate_outcome_t outcome = HS_INFLATE_NEED_MORE;
    for (size_t at = 0; at < from->len && outcome == HS_INFLATE_NEED_MORE; at += step) {
        size_t len = hs_min(step, from->len - at);
        char *piece = malloc(len);
        memcpy(piece, from->data + at, len);
        size_t taken = 0;
        do {
            size_t taken_now;
            hs_span_t out;
            outcome = hs_inflate_next(inflate, piece + taken, len - taken, &taken_now, &out);
            taken += taken_now;
            if (outcome == HS_INFLATE_OUTPUT)
                assert_true(hs_buf_append(to, out.data, out.len));
        } while (outcome == HS_INFLATE_OUTPUT);
        free(piece);
    }
    *is_complete = outcome == HS_INFLATE_NEED_MORE && hs_inflate_is_complete(inflate);
    hs_inflate_free(inflate);
    return outcome;
}

static void expect_decoded(const hs_buf_t *from, hs_inflate_format_t format, const char *text,
                           size_t len)
{
    static const size_t steps[] = { 1, 2, 7, 1000, SIZE_MAX };
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        hs_buf_t to = { 0 };
        bool is_complete;
        assert_int_equal(decode(from, steps[i], format, &to, &is_complete), HS_INFLATE_NEED_MORE);
        assert_true(is_complete);
        assert_int_equal(to.len, len);
        if (len > 0)
            assert_memory_equal(to.data, text, len);
        hs_buf_free(&to);
    }
}

static void expect_failure(const hs_buf_t *from, hs_inflate_format_t format,
                           hs_inflate_outcome_t expected)
{
    static const size_t steps[] = { 1, 7, SIZE_MAX };
    for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        hs_buf_t to = { 0 };
        bool is_complete;
        assert_int_equal(decode(from, steps[i], format, &to, &is_complete), expected);
        assert_false(is_complete);
        hs_buf_free(&to);
    }
}

/* Text that compresses poorly. */
static char *make_text(size_t len)
{
    char *text = malloc(len + 1);
    uint32_t state = 1;
    for (size_t i = 0; i < len; i++) {
        state = state * 1664525 + 1013904223;
        text[i] = (char)('a' + (state >> 28));
    }
    return text;
}

static void decodes_every_format(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 100, 32768, 32769, 200000 };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        char *text = make_text(sizes[i]);
        hs_buf_t from = { 0 };
        compress_to(&from, text, sizes[i], GZIP);
        expect_decoded(&from, HS_INFLATE_GZIP, text, sizes[i]);
        from.len = 0;
        compress_to(&from, text, sizes[i], ZLIB);
        expect_decoded(&from, HS_INFLATE_DEFLATE, text, sizes[i]);
        from.len = 0;
        compress_to(&from, text, sizes[i], RAW);
        expect_decoded(&from, HS_INFLATE_DEFLATE, text, sizes[i]);
        hs_buf_free(&from);
        free(text);
    }
}

static void decodes_members_one_after_another(void **state)
{
    (void)state;
    hs_buf_t from = { 0 };
    compress_to(&from, "abc", 3, GZIP);
    compress_to(&from, "", 0, GZIP);
    compress_to(&from, "def", 3, GZIP);
    expect_decoded(&from, HS_INFLATE_GZIP, "abcdef", 6);
    hs_buf_free(&from);
}

static void content_without_a_byte_is_complete(void **state)
{
    (void)state;
    hs_buf_t from = { 0 };
    expect_decoded(&from, HS_INFLATE_GZIP, "", 0);
    expect_decoded(&from, HS_INFLATE_DEFLATE, "", 0);
}

static void content_that_is_cut_off_is_not_complete(void **state)
{
    (void)state;
    hs_buf_t from = { 0 };
    compress_to(&from, "abc", 3, GZIP);
    while (--from.len > 0) {
        hs_buf_t to = { 0 };
        bool is_complete;
        assert_int_equal(decode(&from, 1, HS_INFLATE_GZIP, &to, &is_complete),
                         HS_INFLATE_NEED_MORE);
        assert_false(is_complete);
        hs_buf_free(&to);
    }
    hs_buf_free(&from);
}

static void refuses_what_is_corrupt(void **state)
{
    (void)state;
    hs_buf_t from = { 0 };
    assert_true(hs_buf_append(&from, "plain text", 10));
    expect_failure(&from, HS_INFLATE_GZIP, HS_INFLATE_CORRUPT);
    from.len = 0;
    compress_to(&from, "abc", 3, GZIP);
    size_t len = from.len;
    from.data[len - 5] ^= 1; /* the checksum */
    expect_failure(&from, HS_INFLATE_GZIP, HS_INFLATE_CORRUPT);
    from.data[len - 5] ^= 1;
    assert_true(hs_buf_append(&from, "xy", 2)); /* bytes after the end */
    expect_failure(&from, HS_INFLATE_GZIP, HS_INFLATE_CORRUPT);
    from.len = 0;
    compress_to(&from, "abc", 3, ZLIB);
    assert_true(hs_buf_append(&from, "x", 1));
    expect_failure(&from, HS_INFLATE_DEFLATE, HS_INFLATE_CORRUPT);
    hs_buf_free(&from);
}

static void refuses_what_inflates_to_too_much(void **state)
{
    (void)state;
    enum {
        SIZE = 64 * 1024 * 1024
    };
    char *zeros = calloc(1, SIZE);
    hs_buf_t from = { 0 };
    compress_to(&from, zeros, SIZE, GZIP);
    hs_buf_t to = { 0 };
    bool is_complete;
    assert_int_equal(decode(&from, 4096, HS_INFLATE_GZIP, &to, &is_complete), HS_INFLATE_RATIO);
    assert_true(to.len < 8 * 1024 * 1024);
    hs_buf_free(&to);
    from.len = 0;
    compress_to(&from, zeros, HS_INFLATE_FREE, GZIP);
    expect_decoded(&from, HS_INFLATE_GZIP, zeros, HS_INFLATE_FREE);
    hs_buf_free(&from);
    free(zeros);
}

static void random_bytes_end_in_an_outcome(void **state)
{
    (void)state;
    uint32_t seed = 1;
    for (int round = 0; round < 2000; round++) {
        hs_buf_t from = { 0 };
        compress_to(&from, "abcabcabcabc", 12, round % 2 ? GZIP : ZLIB);
        for (int i = 0; i < 3; i++) {
            seed = seed * 1664525 + 1013904223;
            from.data[(seed >> 8) % from.len] ^= (char)(seed >> 24);
        }
        hs_buf_t to = { 0 };
        bool is_complete;
        (void)decode(&from, 5, round % 2 ? HS_INFLATE_GZIP : HS_INFLATE_DEFLATE, &to, &is_complete);
        hs_buf_free(&to);
        hs_buf_free(&from);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_every_format),
        cmocka_unit_test(decodes_members_one_after_another),
        cmocka_unit_test(content_without_a_byte_is_complete),
        cmocka_unit_test(content_that_is_cut_off_is_not_complete),
        cmocka_unit_test(refuses_what_is_corrupt),
        cmocka_unit_test(refuses_what_inflates_to_too_much),
        cmocka_unit_test(random_bytes_end_in_an_outcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
