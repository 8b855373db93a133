#include "http/hs_fields.h"

#include "base/hs_chars.h"
#include "http/hs_host.h"
#include "http/hs_target.h"

/* What the fields said. */
typedef struct field_facts {
    hs_span_t host;
    unsigned hosts;
    unsigned transfer_encodings;
    hs_parse_outcome_t coding; /* of the last Transfer-Encoding */
    bool close;
    bool keep_alive;
} field_facts_t;

/* Takes the first element off a comma-separated list (RFC 9110 §5.6.1), which may be empty. False
 * at its end. */
static bool next_element(hs_span_t *list, hs_span_t *element)
{
    if (list->data == NULL)
        return false;
    const char *comma = list->len == 0 ? NULL : memchr(list->data, ',', list->len);
    size_t len = comma == NULL ? list->len : (size_t)(comma - list->data);
    *element = hs_span_trim(hs_span(list->data, len));
    *list = comma == NULL ? hs_span(NULL, 0) : hs_span(comma + 1, list->len - len - 1);
    return true;
}

/*
 * RFC 9112 §6.1, §6.3: without `chunked` at its end, and only there, content has no end that could
 * be known: 400. Below it any other coding is one that we do not implement. An empty element is no
 * coding: RFC 9110 §5.6.1.2 would ignore it, but llhttp and other servers would not, and a message
 * must have one end for all of them.
 */
static hs_parse_outcome_t check_codings(hs_span_t list)
{
    hs_span_t coding;
    unsigned others = 0;
    bool chunked = false;
    while (next_element(&list, &coding)) {
        if (chunked || !hs_span_is_token(coding))
            return HS_PARSE_BAD_REQUEST;
        chunked = hs_span_equals_nocase(coding, HS_SPAN_LITERAL("chunked"));
        others += !chunked;
    }
    if (!chunked)
        return HS_PARSE_BAD_REQUEST;
    return others > 0 ? HS_PARSE_NOT_IMPLEMENTED : HS_PARSE_COMPLETE;
}

static hs_parse_outcome_t check_expectations(hs_msg_t *msg, hs_span_t list)
{
    hs_span_t expectation;
    while (next_element(&list, &expectation)) {
        if (expectation.len == 0) /* RFC 9110 §5.6.1.2 */
            continue;
        if (!hs_span_equals_nocase(expectation, HS_SPAN_LITERAL("100-continue")))
            return HS_PARSE_EXPECTATION_FAILED;
        /* RFC 9110 §10.1.1: a 1.0 client cannot understand the interim response. */
        msg->expect_continue = msg->minor_version == 1;
    }
    return HS_PARSE_COMPLETE;
}

static void note_connection(hs_span_t list, field_facts_t *facts)
{
    hs_span_t option;
    while (next_element(&list, &option)) {
        if (hs_span_equals_nocase(option, HS_SPAN_LITERAL("close")))
            facts->close = true;
        else if (hs_span_equals_nocase(option, HS_SPAN_LITERAL("keep-alive")))
            facts->keep_alive = true;
    }
}

static hs_parse_outcome_t check_field(hs_msg_t *msg, hs_span_t name, hs_span_t value,
                                      field_facts_t *facts)
{
    switch (name.len) {
    case sizeof("host") - 1:
        if (!hs_token_is(name, HS_SPAN_LITERAL("host")))
            return HS_PARSE_COMPLETE;
        facts->hosts++;
        facts->host = value;
        return hs_host_is_valid(value) ? HS_PARSE_COMPLETE : HS_PARSE_BAD_REQUEST;
    case sizeof("expect") - 1:
        if (!hs_token_is(name, HS_SPAN_LITERAL("expect")))
            return HS_PARSE_COMPLETE;
        return check_expectations(msg, value);
    case sizeof("connection") - 1:
        if (hs_token_is(name, HS_SPAN_LITERAL("connection")))
            note_connection(value, facts);
        return HS_PARSE_COMPLETE;
    case sizeof("transfer-encoding") - 1:
        if (!hs_token_is(name, HS_SPAN_LITERAL("transfer-encoding")))
            return HS_PARSE_COMPLETE;
        facts->transfer_encodings++;
        facts->coding = check_codings(value);
        return HS_PARSE_COMPLETE;
    default:
        return HS_PARSE_COMPLETE;
    }
}

static hs_parse_outcome_t check_framing(const hs_msg_t *msg, const field_facts_t *facts,
                                        bool has_content_length)
{
    if (facts->transfer_encodings == 0)
        return HS_PARSE_COMPLETE;
    if (facts->transfer_encodings > 1 || has_content_length || msg->minor_version == 0)
        return HS_PARSE_BAD_REQUEST;
    if (facts->coding != HS_PARSE_COMPLETE)
        return facts->coding;
    /* llhttp frames the content: what it did not see as chunked cannot be read. */
    return msg->chunked ? HS_PARSE_COMPLETE : HS_PARSE_BAD_REQUEST;
}

/* One Host on 1.1, and the one of an absolute target: RFC 9112 §3.2, §3.2.2. A client sends both
 * alike, so a difference is a trick and neither is believed. */
static hs_parse_outcome_t check_host(const hs_msg_t *msg, const field_facts_t *facts)
{
    if (facts->hosts > 1 || (facts->hosts == 0 && msg->minor_version == 1))
        return HS_PARSE_BAD_REQUEST;
    unsigned default_port;
    hs_span_t authority = hs_target_authority(hs_msg_url(msg), &default_port);
    if (facts->hosts == 0 || authority.len == 0)
        return HS_PARSE_COMPLETE;
    return hs_host_same(authority, facts->host, default_port) ? HS_PARSE_COMPLETE
                                                              : HS_PARSE_BAD_REQUEST;
}

hs_parse_outcome_t hs_fields_check(hs_msg_t *msg, bool has_content_length)
{
    field_facts_t facts = { .coding = HS_PARSE_COMPLETE };
    hs_parse_outcome_t expectation = HS_PARSE_COMPLETE;
    msg->expect_continue = false;
    for (uint16_t i = 0; i < msg->field_count; i++) {
        hs_field_t *field = &msg->fields[i];
        hs_span_t value = hs_span_trim(hs_msg_field_value(msg, field));
        /* llhttp places an empty value behind its line, where the next name begins: the NUL that
         * ends it would cut that name. It ends where its own name does instead. */
        field->value_at =
            value.len > 0 ? (uint32_t)(value.data - msg->base) : field->name_at + field->name_len;
        field->value_len = (uint32_t)value.len;
        hs_parse_outcome_t outcome = check_field(msg, hs_msg_field_name(msg, field), value, &facts);
        if (outcome == HS_PARSE_EXPECTATION_FAILED)
            expectation = outcome;
        else if (outcome != HS_PARSE_COMPLETE)
            return outcome;
    }
    /* RFC 9112 §9.3. */
    msg->keep_alive = !facts.close && (msg->minor_version == 1 || facts.keep_alive);
    hs_parse_outcome_t outcome = check_host(msg, &facts);
    if (outcome == HS_PARSE_COMPLETE)
        outcome = check_framing(msg, &facts, has_content_length);
    /* A message that is not understood is refused as such, whatever it expects. */
    return outcome == HS_PARSE_COMPLETE ? expectation : outcome;
}
