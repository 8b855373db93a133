/* hs_ws_frame: every frame at every split point, rejected frames, and written ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ws/ws_frames.h"

static const hs_ws_rules_t rules = { .max_message = 200000 };

/* The same events wherever the bytes are split. Frees them. */
static void expect_with(const hs_ws_rules_t *with, ws_bytes_t *bytes, const char *log)
{
    for (size_t split = 0; split <= bytes->len; split += bytes->len > 4096 ? 499 : 1) {
        ws_run_t run;
        ws_run(&run, with, bytes, split, bytes->len);
        assert_string_equal(run.log.data, log);
        ws_run_free(&run);
    }
    for (size_t step = 1; step <= 5 && bytes->len <= 4096; step++) {
        ws_run_t run;
        ws_run(&run, with, bytes, step, step);
        assert_string_equal(run.log.data, log);
        ws_run_free(&run);
    }
    ws_bytes_free(bytes);
}

static void expect(ws_bytes_t *bytes, const char *log)
{
    expect_with(&rules, bytes, log);
}

static void messages_of_one_frame(void **state)
{
    (void)state;
    ws_bytes_t bytes = { 0 };
    ws_text(&bytes, 0x81, "hello");
    ws_text(&bytes, 0x81, "");
    ws_text(&bytes, 0x82, "bytes");
    ws_text(&bytes, 0x82, "");
    ws_text(&bytes, 0x81, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5 \xf0\x9f\x98\x80");
    expect(&bytes, "text 5 hello\ntext 0 \nbinary 5 bytes\nbinary 0 \n"
                   "text 16 \xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5 \xf0\x9f\x98\x80\n");
}

static void lengths_in_each_form(void **state)
{
    (void)state;
    static const size_t lengths[] = { 124, 125, 126, 127, 128, 1000, 65535, 65536, 65537 };
    char *payload = malloc(65537);
    memset(payload, 'x', 65537);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        ws_bytes_t bytes = { 0 };
        char log[256];
        ws_frame(&bytes, 0x82, payload, lengths[i]);
        ws_text(&bytes, 0x89, "p");
        (void)snprintf(log, sizeof(log), "binary %zu %.64s\nping p\n", lengths[i], payload);
        expect(&bytes, log);
    }
    free(payload);
}

static void fragments_with_control_frames_between(void **state)
{
    (void)state;
    ws_bytes_t bytes = { 0 };
    ws_text(&bytes, 0x01, "fra");
    ws_text(&bytes, 0x89, "ping");
    ws_text(&bytes, 0x00, "");
    ws_text(&bytes, 0x8a, "");
    ws_text(&bytes, 0x00, "gmen");
    ws_text(&bytes, 0x80, "ted");
    ws_text(&bytes, 0x02, "a");
    ws_text(&bytes, 0x80, "");
    ws_frame(&bytes, 0x88, "\x03\xe8over", 6);
    expect(&bytes, "ping ping\npong \ntext 10 fragmented\nbinary 1 a\nclose 1000 over\n");
}

static void close_with_and_without_content(void **state)
{
    (void)state;
    static const struct {
        const char *payload;
        size_t len;
        const char *log;
    } cases[] = {
        { "", 0, "close 1005 \n" },
        { "\x03", 1, "failed 1002 a Close frame without a valid code\n" },
        { "\x03\xe8", 2, "close 1000 \n" },
        { "\x03\xe7", 2, "failed 1002 a Close frame without a valid code\n" }, /* 999 */
        { "\x03\xec", 2, "failed 1002 a Close frame without a valid code\n" }, /* 1004 */
        { "\x03\xed", 2, "failed 1002 a Close frame without a valid code\n" }, /* 1005 */
        { "\x03\xee", 2, "failed 1002 a Close frame without a valid code\n" }, /* 1006 */
        { "\x03\xf7", 2, "failed 1002 a Close frame without a valid code\n" }, /* 1015 */
        { "\x03\xf6", 2, "close 1014 \n" },
        { "\x07\xd0", 2, "failed 1002 a Close frame without a valid code\n" }, /* 2000 */
        { "\x0b\xb8", 2, "close 3000 \n" },
        { "\x13\x87", 2, "close 4999 \n" },
        { "\x13\x88", 2, "failed 1002 a Close frame without a valid code\n" }, /* 5000 */
        { "\x03\xe8\xce\xba", 4, "close 1000 \xce\xba\n" },
        { "\x03\xe8\xce", 3, "failed 1007 text is not UTF-8\n" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ws_bytes_t bytes = { 0 };
        ws_frame(&bytes, 0x88, cases[i].payload, cases[i].len);
        expect(&bytes, cases[i].log);
    }
}

/* Frames that are rejected, and at which byte: as early as possible. */
static void refused_at_the_first_byte_that_says_so(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        size_t at;
        const char *log;
    } cases[] = {
        { "\x81\x05hello", 7, 2, "failed 1002 a frame is not masked\n" },
        { "\xc1\x80", 2, 2, "failed 1002 a reserved bit is set\n" },
        { "\xa1\x80", 2, 2, "failed 1002 a reserved bit is set\n" },
        { "\x91\x80", 2, 2, "failed 1002 a reserved bit is set\n" },
        { "\xc9\x80", 2, 2, "failed 1002 a reserved bit is set\n" },
        { "\x83\x80", 2, 2, "failed 1002 a reserved opcode\n" },
        { "\x87\x80", 2, 2, "failed 1002 a reserved opcode\n" },
        { "\x8b\x80", 2, 2, "failed 1002 a reserved opcode\n" },
        { "\x8f\x80", 2, 2, "failed 1002 a reserved opcode\n" },
        { "\x09\x80", 2, 2, "failed 1002 a control frame is fragmented\n" },
        { "\x08\x80", 2, 2, "failed 1002 a control frame is fragmented\n" },
        { "\x89\xfe\x00\x7e", 4, 2, "failed 1002 a control frame is longer than 125 bytes\n" },
        { "\x80\x80", 2, 2, "failed 1002 a continuation frame without a message\n" },
        { "\x82\xfe\x00\x7d\1\2\3\4", 8, 8, "failed 1002 a length is not in its shortest form\n" },
        { "\x82\xff\0\0\0\0\0\0\xff\xff\1\2\3\4", 14, 14,
          "failed 1002 a length is not in its shortest form\n" },
        { "\x82\xff\x80\0\0\0\0\1\0\0\1\2\3\4", 14, 14,
          "failed 1002 a length is not in its shortest form\n" },
        { "\x82\xff\0\0\0\0\0\3\x0d\x41\1\2\3\4", 14, 14, "failed 1009 a message is too long\n" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ws_bytes_t bytes = { 0 };
        ws_bytes_put(&bytes, cases[i].bytes, cases[i].len);
        ws_run_t run;
        ws_run(&run, &rules, &bytes, 1, 1);
        assert_string_equal(run.log.data, cases[i].log);
        assert_int_equal(run.failed_at, cases[i].at);
        ws_run_free(&run);
        expect(&bytes, cases[i].log);
    }
}

static void a_message_within_a_message_is_refused(void **state)
{
    (void)state;
    ws_bytes_t bytes = { 0 };
    ws_text(&bytes, 0x01, "a");
    ws_text(&bytes, 0x81, "b");
    expect(&bytes, "failed 1002 a message begins before the previous one ends\n");
}

static void the_limit_holds_for_all_fragments_together(void **state)
{
    (void)state;
    const hs_ws_rules_t few = { .max_message = 10 };
    ws_bytes_t bytes = { 0 };
    ws_text(&bytes, 0x02, "01234");
    ws_text(&bytes, 0x80, "56789");
    ws_text(&bytes, 0x02, "01234");
    ws_text(&bytes, 0x00, "567890");
    expect_with(&few, &bytes, "binary 10 0123456789\nfailed 1009 a message is too long\n");
}

/* Wherever the frames are split, even within a character, and at the first invalid byte. */
static void text_is_checked_as_it_arrives(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t wrong; /* the first invalid byte; 0: none */
    } cases[] = {
        { "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64", 12 },
        { "\xf4\x90\x80\x80 too far", 1 },
        { "plain and then \xff", 15 },
        { "\xc0\xaf", 0 },
        { "0123456789abcdef\xe0\x80\xaf", 17 },
        { "\x80", 0 },
        { "\xc3(", 1 },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ws_bytes_t bytes = { 0 };
        size_t len = strlen(cases[i].text);
        ws_frame(&bytes, 0x01, cases[i].text, len);
        ws_run_t run;
        ws_run(&run, &rules, &bytes, 1, 1);
        assert_int_equal(run.failed_at, 6 + cases[i].wrong + 1);
        ws_run_free(&run);
        expect(&bytes, "failed 1007 text is not UTF-8\n");
        for (size_t cut = 0; cut <= len; cut++) {
            ws_frame(&bytes, 0x01, cases[i].text, cut);
            ws_frame(&bytes, 0x80, cases[i].text + cut, len - cut);
            expect(&bytes, "failed 1007 text is not UTF-8\n");
        }
    }
}

static void a_character_that_the_message_cuts_is_refused(void **state)
{
    (void)state;
    ws_bytes_t bytes = { 0 };
    ws_text(&bytes, 0x01, "a\xe2\x82");
    ws_text(&bytes, 0x80, "\xac");
    ws_text(&bytes, 0x01, "a\xe2\x82");
    ws_text(&bytes, 0x80, "");
    expect(&bytes, "text 4 a\xe2\x82\xac\nfailed 1007 text is not UTF-8\n");
}

static void every_sequence_is_as_the_table_says(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 256; first++)
        for (unsigned second = 0; second < 256; second++) {
            unsigned char text[4] = { (unsigned char)first, (unsigned char)second, 0x80, 0x80 };
            for (size_t len = 1; len <= 4; len++) {
                size_t at = 0;
                size_t sequence;
                while (at < len && (sequence = hs_utf8_len(text + at, len - at)) > 0)
                    at += sequence;
                assert_int_equal(hs_utf8_is_valid((const char *)text, len), at == len);
            }
        }
}

/* ASCII is checked many bytes at once: none may be missed, nor looked at behind the end. */
static void one_byte_that_is_not_ascii_is_found_anywhere(void **state)
{
    (void)state;
    char text[100];
    for (size_t len = 1; len < sizeof(text); len++)
        for (size_t at = 0; at < sizeof(text); at++) {
            memset(text, 'a', sizeof(text));
            text[at] = (char)0xff;
            assert_int_equal(hs_utf8_is_valid(text, len), at >= len);
        }
}

/* For permessage-deflate: the bit is reported, and the bytes are not checked as text yet. */
static void coded_messages_are_not_looked_into(void **state)
{
    (void)state;
    const hs_ws_rules_t coded = { .max_message = 100, .may_be_coded = true };
    ws_bytes_t bytes = { 0 };
    ws_text(&bytes, 0xc1, "\xff\xfe");
    ws_text(&bytes, 0x41, "\xff");
    ws_text(&bytes, 0x80, "\xfe");
    ws_text(&bytes, 0x81, "plain");
    expect_with(&coded, &bytes, "text coded 2 \xff\xfe\ntext coded 2 \xff\xfe\ntext 5 plain\n");
    ws_text(&bytes, 0x01, "a");
    ws_text(&bytes, 0xc0, "b");
    expect_with(&coded, &bytes, "failed 1002 a reserved bit is set\n");
}

static void masking_any_length_from_any_byte_on(void **state)
{
    (void)state;
    char text[80], masked[80];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 7);
    uint32_t key;
    memcpy(&key, "\x12\x34\x56\x78", sizeof(key));
    for (size_t cut = 0; cut <= sizeof(text); cut++) {
        memcpy(masked, text, sizeof(text));
        uint32_t moved = hs_ws_mask(masked, cut, key);
        (void)hs_ws_mask(masked + cut, sizeof(text) - cut, moved);
        for (size_t i = 0; i < sizeof(text); i++)
            assert_int_equal(masked[i], (char)(text[i] ^ "\x12\x34\x56\x78"[i % 4]));
    }
}

static void heads_are_written_in_their_shortest_form(void **state)
{
    (void)state;
    char head[HS_WS_HEAD_MAX];
    assert_int_equal(hs_ws_put_head(head, HS_WS_TEXT, true, false, 125), 2);
    assert_memory_equal(head, "\x81\x7d", 2);
    assert_int_equal(hs_ws_put_head(head, HS_WS_BINARY, true, true, 126), 4);
    assert_memory_equal(head, "\xc2\x7e\0\x7e", 4);
    assert_int_equal(hs_ws_put_head(head, HS_WS_BINARY, false, false, 65535), 4);
    assert_memory_equal(head, "\x02\x7e\xff\xff", 4);
    assert_int_equal(hs_ws_put_head(head, HS_WS_CONTINUATION, true, false, 65536), 10);
    assert_memory_equal(head, "\x80\x7f\0\0\0\0\0\1\0\0", 10);
}

static void close_is_written_with_what_fits(void **state)
{
    (void)state;
    char frame[2 + HS_WS_CONTROL_MAX];
    assert_int_equal(hs_ws_put_close(frame, HS_WS_NONE, hs_span("why", 3)), 2);
    assert_memory_equal(frame, "\x88\0", 2);
    assert_int_equal(hs_ws_put_close(frame, HS_WS_NORMAL, hs_span("why", 3)), 7);
    assert_memory_equal(frame, "\x88\x05\x03\xe8why", 7);
    char reason[200];
    memset(reason, 'a', sizeof(reason));
    memcpy(reason + 122, "\xe2\x82\xac", 3); /* would be truncated */
    assert_int_equal(hs_ws_put_close(frame, HS_WS_NORMAL, hs_span(reason, sizeof(reason))),
                     2 + 2 + 122);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_one_frame),
        cmocka_unit_test(lengths_in_each_form),
        cmocka_unit_test(fragments_with_control_frames_between),
        cmocka_unit_test(close_with_and_without_content),
        cmocka_unit_test(refused_at_the_first_byte_that_says_so),
        cmocka_unit_test(a_message_within_a_message_is_refused),
        cmocka_unit_test(the_limit_holds_for_all_fragments_together),
        cmocka_unit_test(text_is_checked_as_it_arrives),
        cmocka_unit_test(a_character_that_the_message_cuts_is_refused),
        cmocka_unit_test(every_sequence_is_as_the_table_says),
        cmocka_unit_test(one_byte_that_is_not_ascii_is_found_anywhere),
        cmocka_unit_test(coded_messages_are_not_looked_into),
        cmocka_unit_test(masking_any_length_from_any_byte_on),
        cmocka_unit_test(heads_are_written_in_their_shortest_form),
        cmocka_unit_test(close_is_written_with_what_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
