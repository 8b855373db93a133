/* hs_coder: gzip of whole content and of pieces, checked with the decoder. Brotli is compared with
 * node's by test/e2e/compression.test.ts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/hs_coder.h"
#include "http/inflated.h"

static char text[300000];

static int fill(void **state)
{
    (void)state;
    unsigned seed = 1;
    for (size_t i = 0; i < sizeof(text); i++) {
        seed = seed * 1103515245 + 12345;
        text[i] = (char)('a' + (seed >> 16) % 7);
    }
    return 0;
}

static void whole_content_of_every_size(void **state)
{
    (void)state;
    static const size_t sizes[] = { 200, 201, 1000, 4096, 65535, 65536, sizeof(text) };
    for (int level = HS_GZIP_LEVEL_MIN; level <= HS_GZIP_LEVEL_MAX; level += 4) {
        hs_coders_t *coders = hs_coders_new(level, 4);
        assert_non_null(coders);
        hs_buf_t out = { 0 }, back = { 0 };
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            assert_true(hs_coders_code(coders, HS_CODING_GZIP, hs_span(text, sizes[i]), &out));
            assert_true(out.len < sizes[i]);
            back.len = 0;
            assert_true(inflate_all(out.data, out.len, &back));
            assert_int_equal(back.len, sizes[i]);
            assert_memory_equal(back.data, text, sizes[i]);
            assert_true(hs_coders_code(coders, HS_CODING_BR, hs_span(text, sizes[i]), &out));
            assert_true(out.len < sizes[i]);
        }
        hs_buf_free(&out);
        hs_buf_free(&back);
        hs_coders_free(coders);
    }
}

static void what_would_not_be_shorter_is_left(void **state)
{
    (void)state;
    hs_coders_t *coders = hs_coders_new(6, 4);
    assert_non_null(coders);
    char noise[2000];
    srand(1);
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (char)rand();
    hs_buf_t out = { 0 };
    static const size_t sizes[] = { 0, 1, 2, 10, sizeof(noise) };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_false(hs_coders_code(coders, HS_CODING_GZIP, hs_span(noise, sizes[i]), &out));
        assert_false(hs_coders_code(coders, HS_CODING_BR, hs_span(noise, sizes[i]), &out));
    }
    hs_buf_free(&out);
    hs_coders_free(coders);
}

/* After a flush everything can be decoded; contexts are reused by the next stream. */
static void pieces_with_flushes(void **state)
{
    (void)state;
    hs_coders_t *coders = hs_coders_new(6, 4);
    assert_non_null(coders);
    static const size_t steps[] = { 1, 100, 5000, 70000, sizeof(text) };
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        hs_coder_t *coder = hs_coder_begin(coders, HS_CODING_GZIP);
        hs_coder_t *other = hs_coder_begin(coders, HS_CODING_BR);
        assert_non_null(coder);
        assert_non_null(other);
        hs_buf_t out = { 0 }, back = { 0 }, br = { 0 };
        size_t total = hs_min(steps[i] * 50, sizeof(text));
        for (size_t at = 0; at < total; at += steps[i]) {
            size_t len = hs_min(steps[i], total - at);
            hs_code_t code = at / steps[i] % 3 == 0 ? HS_CODE_FLUSH : HS_CODE_MORE;
            assert_true(hs_coder_put(coder, hs_span(text + at, len), code, &out));
            assert_true(hs_coder_put(other, hs_span(text + at, len), code, &br));
            if (code != HS_CODE_FLUSH)
                continue;
            back.len = 0;
            assert_false(inflate_all(out.data, out.len, &back));
            assert_int_equal(back.len, at + len);
        }
        assert_true(hs_coder_put(coder, hs_span("", 0), HS_CODE_END, &out));
        assert_true(hs_coder_put(other, hs_span("", 0), HS_CODE_END, &br));
        back.len = 0;
        assert_true(inflate_all(out.data, out.len, &back));
        assert_int_equal(back.len, total);
        assert_memory_equal(back.data, text, total);
        hs_coder_end(coder);
        hs_coder_end(other);
        hs_buf_free(&out);
        hs_buf_free(&back);
        hs_buf_free(&br);
    }
    hs_coders_free(coders);
}

/* An abandoned stream leaves nothing behind for the next one. */
static void a_stream_may_be_given_up(void **state)
{
    (void)state;
    hs_coders_t *coders = hs_coders_new(1, 0);
    assert_non_null(coders);
    hs_buf_t out = { 0 }, back = { 0 };
    for (int i = 0; i < 20; i++) {
        hs_coder_t *given_up = hs_coder_begin(coders, HS_CODING_GZIP);
        assert_true(hs_coder_put(given_up, hs_span(text, 5000), HS_CODE_MORE, &out));
        hs_coder_end(given_up);
        hs_coder_t *coder = hs_coder_begin(coders, HS_CODING_GZIP);
        out.len = back.len = 0;
        assert_true(hs_coder_put(coder, hs_span("only this", 9), HS_CODE_END, &out));
        assert_true(inflate_all(out.data, out.len, &back));
        assert_int_equal(back.len, 9);
        hs_coder_end(coder);
    }
    hs_buf_free(&out);
    hs_buf_free(&back);
    hs_coders_free(coders);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_content_of_every_size),
        cmocka_unit_test(what_would_not_be_shorter_is_left),
        cmocka_unit_test(pieces_with_flushes),
        cmocka_unit_test(a_stream_may_be_given_up),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
