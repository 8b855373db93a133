/*
 * libFuzzer target: the parser alone, many times faster than a whole connection. The result for a
 * message must not depend on where its bytes are split: the outcome, the parsed head, the content,
 * and how many bytes belong to the message.
 *
 * The inputs are those of fuzz_conn: the first four bytes choose limits and segmentation.
 */
#include <stdio.h>

#include "base/hs_chars.h"
#include "http/parse_run.h"

#define CONTROL_BYTES 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *sentence)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", sentence);
    abort();
}

static bool is_terminated(hs_span_t text)
{
    return text.data[text.len] == '\0' && memchr(text.data, '\0', text.len) == NULL;
}

/* One by one, unlike the parser. */
static bool consists_of(hs_span_t text, const bool table[256])
{
    return hs_span_run(text, 0, table) == text.len;
}

/* Invariants that every handler may rely on. */
static void check_message(const parse_run_t *run)
{
    const hs_msg_t *msg = &run->msg;
    unsigned hosts = 0;
    check(run->taken >= msg->head_len, "a message is at least its head");
    check(msg->minor_version <= 1, "1.0 or 1.1");
    check(hs_parse_method_name(msg->method) != NULL, "the method has a name");
    check(is_terminated(hs_msg_url(msg)), "a target is a string");
    check(msg->url_len > 0 && msg->url_len <= run->limits.max_url, "the target has its length");
    check(consists_of(hs_msg_url(msg), hs_char_is_target), "a target's characters");
    check(msg->field_count <= run->limits.max_headers, "not more fields than allowed");
    check(!msg->chunked || (msg->minor_version == 1 && msg->content_length == 0), "one framing");
    check(msg->content_length <= run->limits.max_body, "content is bounded");
    check(run->content.len <= run->limits.max_body, "chunked content is bounded");
    for (uint16_t i = 0; i < msg->field_count; i++) {
        hs_span_t name = hs_msg_field_name(msg, &msg->fields[i]);
        hs_span_t value = hs_msg_field_value(msg, &msg->fields[i]);
        check(is_terminated(name) && name.len > 0 && consists_of(name, hs_char_is_token),
              "a field's name is a token");
        check(is_terminated(value) && hs_span_is_field_value(value), "a field's value");
        check(hs_span_trim(value).len == value.len, "no white space around a value");
        hosts += hs_span_equals_nocase(name, HS_SPAN_LITERAL("host"));
    }
    check(hosts == 1 || (hosts == 0 && msg->minor_version == 0), "one Host");
}

static bool passes_limit(hs_parse_outcome_t outcome)
{
    return outcome == HS_PARSE_CONTENT_TOO_LARGE || outcome == HS_PARSE_URI_TOO_LONG ||
           outcome == HS_PARSE_FIELDS_TOO_LARGE;
}

static bool same_bytes(const char *a, const char *b, size_t len)
{
    return len == 0 || memcmp(a, b, len) == 0;
}

static void check_same(const parse_run_t *whole, const parse_run_t *cut)
{
    const hs_msg_t *a = &whole->msg;
    const hs_msg_t *b = &cut->msg;
    /* A request that is both malformed and over a limit is refused for whichever is noticed first.
     */
    if (passes_limit(whole->outcome) || passes_limit(cut->outcome)) {
        check(whole->outcome > HS_PARSE_COMPLETE && cut->outcome > HS_PARSE_COMPLETE,
              "a message that passes a limit is refused at every cut");
        return;
    }
    check(whole->outcome == cut->outcome, "the outcome is the same at every cut");
    if (whole->outcome > HS_PARSE_COMPLETE)
        return;
    check(whole->taken == cut->taken, "the message is as long at every cut");
    if (whole->outcome == HS_PARSE_NEED_MORE)
        return;
    check(a->head_len == b->head_len && same_bytes(a->base, b->base, a->head_len), "the same head");
    check(a->url_at == b->url_at && a->url_len == b->url_len, "the same target");
    check(a->method == b->method && a->minor_version == b->minor_version, "the same request line");
    check(a->keep_alive == b->keep_alive && a->expect_continue == b->expect_continue &&
              a->chunked == b->chunked && a->content_length == b->content_length,
          "the same facts");
    check(a->field_count == b->field_count &&
              same_bytes((const char *)a->fields, (const char *)b->fields,
                         a->field_count * sizeof(*a->fields)),
          "the same fields");
    check(whole->content.len == cut->content.len &&
              same_bytes(whole->content.data, cut->content.data, whole->content.len),
          "the same content");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= CONTROL_BYTES)
        return 0;
    const char *text = (const char *)data + CONTROL_BYTES;
    size_t len = size - CONTROL_BYTES;
    hs_limits_t limits = parse_run_limits();
    limits.max_url = (data[3] & 1) ? 30 : 8192;
    limits.max_headers = (data[3] & 2) ? 4 : PARSE_RUN_FIELDS;
    limits.max_body = (data[3] & 4) ? 20 : 1u << 20;

    parse_run_t whole;
    parse_run_t cut;
    parse_run(&whole, &limits, text, len, len, len);
    if (whole.outcome == HS_PARSE_COMPLETE)
        check_message(&whole);
    parse_run(&cut, &limits, text, len, 1 + data[1] % len, 1 + data[2]);
    check_same(&whole, &cut);
    parse_run_free(&cut);
    parse_run_free(&whole);
    return 0;
}
