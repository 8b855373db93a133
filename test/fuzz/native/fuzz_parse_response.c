/*
 * libFuzzer target: the parser of responses. The result must not depend on where the bytes
 * are split: the outcome, the head, the content, and how many bytes belong to the response.
 *
 * The first three bytes of an input say whether the response is to a HEAD and whether the
 * connection ends after it, how long the first piece is, and how long the others are.
 */
#include <stdio.h>

#include "base/hs_chars.h"
#include "http/response_run.h"

#define CONTROL_BYTES 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *sentence)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", sentence);
    abort();
}

/* "reason\n", then "name:value\n" for each field. */
static void check_head(const hs_parse_response_t *parse)
{
    const char *at = parse->head.data;
    const char *end = at + parse->head.len;
    unsigned lines = 0;
    check(parse->status >= 200 && parse->status <= 999, "the status of a final response");
    check(parse->head_taken <= HS_RESPONSE_HEAD_MAX, "heads are bounded");
    for (const char *line_end; at < end; at = line_end + 1, lines++) {
        line_end = memchr(at, '\n', (size_t)(end - at));
        check(line_end != NULL, "every line of a head ends");
        hs_span_t line = hs_span(at, (size_t)(line_end - at));
        check(hs_span_is_field_value(line), "a line's characters");
        if (lines == 0)
            continue;
        const char *colon = memchr(at, ':', line.len);
        check(colon != NULL && hs_span_is_token(hs_span(at, (size_t)(colon - at))),
              "a field's name is a token");
        for (const char *c = at; c < colon; c++)
            check(*c == hs_ascii_lower(*c), "a field's name in small letters");
        hs_span_t value = hs_span(colon + 1, (size_t)(line_end - colon) - 1);
        check(hs_span_trim(value).len == value.len, "no white space around a value");
    }
    check(lines > 0 && lines <= HS_RESPONSE_FIELDS_MAX + 1, "not more fields than allowed");
}

static void check_complete(const response_run_t *run, bool to_head)
{
    const hs_parse_response_t *parse = &run->parse;
    bool has_content = !to_head && parse->status != 204 && parse->status != 304;
    check(run->head_done, "a complete response has a head");
    check(has_content || run->content.len == 0, "no content where there is none");
    if (has_content && parse->content_length != HS_RESPONSE_LENGTH_UNKNOWN)
        check(run->content.len == parse->content_length, "the content has its length");
    check(!run->ended || !parse->keep_alive, "a connection that has ended is not reusable");
}

static bool same_bytes(const hs_buf_t *a, const hs_buf_t *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void check_same(const response_run_t *whole, const response_run_t *cut)
{
    check(whole->outcome == cut->outcome, "the outcome is the same at every cut");
    check(whole->head_done == cut->head_done, "the head is found at every cut");
    if (whole->outcome > HS_RESPONSE_COMPLETE)
        return;
    check(whole->taken == cut->taken, "the response is as long at every cut");
    check(same_bytes(&whole->content, &cut->content), "the same content");
    if (!whole->head_done)
        return;
    check(same_bytes(&whole->parse.head, &cut->parse.head), "the same head");
    check(whole->parse.status == cut->parse.status &&
              whole->parse.keep_alive == cut->parse.keep_alive &&
              whole->parse.content_length == cut->parse.content_length,
          "the same facts");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= CONTROL_BYTES)
        return 0;
    const char *text = (const char *)data + CONTROL_BYTES;
    size_t len = size - CONTROL_BYTES;
    bool to_head = (data[0] & 1) != 0;
    bool ends = (data[0] & 2) != 0;
    response_run_t whole;
    response_run_t cut;
    response_run(&whole, text, len, len, len, to_head, ends);
    if (whole.head_done)
        check_head(&whole.parse);
    if (whole.outcome == HS_RESPONSE_COMPLETE)
        check_complete(&whole, to_head);
    response_run(&cut, text, len, 1 + data[1] % len, 1 + data[2], to_head, ends);
    check_same(&whole, &cut);
    response_run_free(&cut);
    response_run_free(&whole);
    return 0;
}
