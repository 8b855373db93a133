/* hs_ws_deflate: messages of permessage-deflate, from the RFC's examples and generated ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#include "ws/hs_ws_deflate.h"

static const hs_ws_terms_t no_takeover = { .is_on = true, .server_bits = 15, .client_bits = 15 };
static const hs_ws_terms_t takeover = { .is_on = true,
                                        .server_takeover = true,
                                        .client_takeover = true,
                                        .server_bits = 12,
                                        .client_bits = 12 };

#define MAX 65536

static hs_ws_inflated_t inflate_bytes(hs_ws_deflates_t *all, const hs_ws_terms_t *terms,
                                      hs_ws_contexts_t *contexts, const void *coded, size_t len,
                                      size_t max, hs_buf_t *out)
{
    /* In an allocation of its exact size, so that a sanitizer reports accesses beside it. */
    char *copy = malloc(len + (len == 0));
    memcpy(copy, coded, len);
    hs_ws_inflated_t outcome = hs_ws_inflate(all, terms, contexts, hs_span(copy, len), max, out);
    free(copy);
    return outcome;
}

static void expect_message(hs_ws_deflates_t *all, const hs_ws_terms_t *terms,
                           hs_ws_contexts_t *contexts, const void *coded, size_t len,
                           const char *message)
{
    hs_buf_t out = { 0 };
    assert_int_equal(inflate_bytes(all, terms, contexts, coded, len, MAX, &out), HS_WS_INFLATED);
    assert_int_equal(out.len, strlen(message));
    assert_memory_equal(out.data, message, out.len);
    hs_buf_free(&out);
}

/* RFC 7692 §7.2.3. */
static void the_examples_of_the_rfc(void **state)
{
    (void)state;
    hs_ws_deflates_t *all = hs_ws_deflates_new(6);
    hs_ws_contexts_t contexts = { 0 };
    static const unsigned char hello[] = { 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00 };
    static const unsigned char again[] = { 0xf2, 0x00, 0x11, 0x00, 0x00 };
    static const unsigned char stored[] = { 0x00, 0x05, 0x00, 0xfa, 0xff, 0x48,
                                            0x65, 0x6c, 0x6c, 0x6f, 0x00 };
    static const unsigned char final[] = { 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00 };
    static const unsigned char blocks[] = { 0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff,
                                            0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00 };
    expect_message(all, &no_takeover, &contexts, hello, sizeof(hello), "Hello");
    expect_message(all, &no_takeover, &contexts, stored, sizeof(stored), "Hello");
    expect_message(all, &no_takeover, &contexts, final, sizeof(final), "Hello");
    expect_message(all, &no_takeover, &contexts, blocks, sizeof(blocks), "Hello");
    expect_message(all, &takeover, &contexts, hello, sizeof(hello), "Hello");
    expect_message(all, &takeover, &contexts, again, sizeof(again), "Hello");
    /* A block that ends the stream does not end the window. */
    expect_message(all, &takeover, &contexts, final, sizeof(final), "Hello");
    expect_message(all, &takeover, &contexts, again, sizeof(again), "Hello");
    hs_ws_contexts_end(all, &contexts);
    hs_ws_deflates_free(all);
}

static void a_message_that_refers_to_another_one_is_corrupt_without_takeover(void **state)
{
    (void)state;
    hs_ws_deflates_t *all = hs_ws_deflates_new(6);
    hs_ws_contexts_t contexts = { 0 };
    hs_buf_t out = { 0 };
    static const unsigned char hello[] = { 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00 };
    static const unsigned char again[] = { 0xf2, 0x00, 0x11, 0x00, 0x00 };
    expect_message(all, &no_takeover, &contexts, hello, sizeof(hello), "Hello");
    assert_int_equal(inflate_bytes(all, &no_takeover, &contexts, again, sizeof(again), MAX, &out),
                     HS_WS_INFLATE_CORRUPT);
    /* It does not affect the next message. */
    expect_message(all, &no_takeover, &contexts, hello, sizeof(hello), "Hello");
    hs_buf_free(&out);
    hs_ws_deflates_free(all);
}

static void empty_messages(void **state)
{
    (void)state;
    hs_ws_deflates_t *all = hs_ws_deflates_new(6);
    hs_ws_contexts_t contexts = { 0 };
    hs_buf_t out = { 0 };
    expect_message(all, &no_takeover, &contexts, "", 1, ""); /* 0x00 */
    expect_message(all, &no_takeover, &contexts, "\x02\x00", 2, "");
    static const char *const messages[] = { "", "", "Hello", "", "", "Hello" };
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        out.len = 0;
        assert_int_equal(hs_ws_deflate(all, &takeover, &contexts,
                                       hs_span(messages[i], strlen(messages[i])), &out),
                         HS_WS_DEFLATED);
        expect_message(all, &takeover, &contexts, out.data, out.len, messages[i]);
    }
    out.len = 0;
    assert_int_equal(hs_ws_deflate(all, &no_takeover, &contexts, hs_span("", 0), &out),
                     HS_WS_DEFLATE_AS_IS);
    hs_buf_free(&out);
    hs_ws_contexts_end(all, &contexts);
    hs_ws_deflates_free(all);
}

static void what_is_cut_or_wrong_is_corrupt(void **state)
{
    (void)state;
    hs_ws_deflates_t *all = hs_ws_deflates_new(6);
    hs_ws_contexts_t contexts = { 0 };
    hs_buf_t coded = { 0 };
    char text[2000];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + i * i % 17);
    assert_int_equal(
        hs_ws_deflate(all, &no_takeover, &contexts, hs_span(text, sizeof(text)), &coded),
        HS_WS_DEFLATED);
    for (size_t len = 0; len < coded.len; len++) {
        hs_buf_t out = { 0 };
        assert_int_equal(inflate_bytes(all, &no_takeover, &contexts, coded.data, len, MAX, &out),
                         HS_WS_INFLATE_CORRUPT);
        hs_buf_free(&out);
    }
    static const char *const wrong[] = { "\x07", "\x06", "\xff\xff\xff\xff", "Hello" };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        hs_buf_t out = { 0 };
        assert_int_equal(
            inflate_bytes(all, &no_takeover, &contexts, wrong[i], strlen(wrong[i]), MAX, &out),
            HS_WS_INFLATE_CORRUPT);
        hs_buf_free(&out);
    }
    hs_buf_free(&coded);
    hs_ws_deflates_free(all);
}

/* ---- Decompression bombs. ---- */

static void what_a_message_inflates_to_is_bounded(void **state)
{
    (void)state;
    hs_ws_deflates_t *all = hs_ws_deflates_new(9);
    hs_ws_contexts_t contexts = { 0 };
    hs_buf_t coded = { 0 };
    size_t size = (size_t)64 << 20;
    char *zeros = calloc(1, size);
    assert_int_equal(hs_ws_deflate(all, &no_takeover, &contexts, hs_span(zeros, size), &coded),
                     HS_WS_DEFLATED);
    free(zeros);
    assert_true(coded.len < 100000);
    for (size_t max = 0; max < 300000; max = max * 3 + 1) {
        hs_buf_t out = { 0 };
        assert_int_equal(
            inflate_bytes(all, &no_takeover, &contexts, coded.data, coded.len, max, &out),
            HS_WS_INFLATE_TOO_BIG);
        assert_true(out.len <= max + 1);
        assert_true(out.capacity <= 2 * (max + 1) + HS_BUF_FIRST_CAPACITY);
        hs_buf_free(&out);
    }
    hs_buf_t out = { 0 };
    assert_int_equal(
        inflate_bytes(all, &no_takeover, &contexts, coded.data, coded.len, size - 1, &out),
        HS_WS_INFLATE_TOO_BIG);
    out.len = 0;
    assert_int_equal(inflate_bytes(all, &no_takeover, &contexts, coded.data, coded.len, size, &out),
                     HS_WS_INFLATED);
    assert_int_equal(out.len, size);
    hs_buf_free(&out);
    hs_buf_free(&coded);
    hs_ws_deflates_free(all);
}

/* ---- Round trips. ---- */

static uint32_t seed = 7;

static uint32_t next_random(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}

/* Repetitive text, or random bytes. */
static void fill(char *text, size_t len)
{
    bool is_text = next_random() % 4 > 0;
    for (size_t i = 0; i < len; i++)
        text[i] = is_text ? "moonring sockets "[(i + next_random() % 3) % 17] : (char)next_random();
}

static void go_there_and_back(const hs_ws_terms_t *terms)
{
    hs_ws_deflates_t *all = hs_ws_deflates_new(3);
    hs_ws_contexts_t ours[3] = { { 0 } };
    hs_ws_contexts_t theirs[3] = { { 0 } };
    char *text = malloc(300000);
    for (int i = 0; i < 300; i++) {
        int number = (int)(next_random() % 3);
        size_t len = i % 50 == 49 ? 300000 : next_random() % 3000;
        fill(text, len);
        hs_buf_t coded = { 0 };
        hs_buf_t out = { 0 };
        assert_true(hs_buf_append(&out, "before", 6));
        switch (hs_ws_deflate(all, terms, &ours[number], hs_span(text, len), &coded)) {
        case HS_WS_DEFLATED:
            assert_int_equal(
                inflate_bytes(all, terms, &theirs[number], coded.data, coded.len, len, &out),
                HS_WS_INFLATED);
            assert_int_equal(out.len, 6 + len);
            assert_memory_equal(out.data + 6, text, len);
            break;
        case HS_WS_DEFLATE_AS_IS:
            assert_false(terms->server_takeover);
            assert_int_equal(coded.len, 0);
            break;
        case HS_WS_DEFLATE_NO_MEMORY:
            fail();
        }
        hs_buf_free(&out);
        hs_buf_free(&coded);
        if (i % 100 == 99) { /* The contexts are passed to the next connection. */
            hs_ws_contexts_end(all, &ours[number]);
            hs_ws_contexts_end(all, &theirs[number]);
        }
    }
    for (int i = 0; i < 3; i++) {
        hs_ws_contexts_end(all, &ours[i]);
        hs_ws_contexts_end(all, &theirs[i]);
    }
    free(text);
    hs_ws_deflates_free(all);
}

static void messages_of_every_window_come_back(void **state)
{
    (void)state;
    for (uint8_t bits = HS_WS_WINDOW_MIN; bits <= HS_WS_WINDOW_MAX; bits++) {
        hs_ws_terms_t terms = no_takeover;
        terms.server_bits = bits;
        go_there_and_back(&terms);
        terms = takeover;
        terms.server_bits = terms.client_bits = bits;
        go_there_and_back(&terms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_rfc),
        cmocka_unit_test(a_message_that_refers_to_another_one_is_corrupt_without_takeover),
        cmocka_unit_test(empty_messages),
        cmocka_unit_test(what_is_cut_or_wrong_is_corrupt),
        cmocka_unit_test(what_a_message_inflates_to_is_bounded),
        cmocka_unit_test(messages_of_every_window_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
