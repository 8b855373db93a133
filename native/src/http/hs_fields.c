#include "http/hs_fields.h"

#include "base/hs_chars.h"
#include "http/hs_target.h"

/* The results of the fields other than Host. */
typedef struct field_facts {
    uint16_t transfer_encodings;
    uint8_t coding; /* hs_parse_outcome_t of the last Transfer-Encoding */
    bool noted;     /* there was one of these fields */
    bool expectation_failed;
    bool close;
    bool keep_alive;
} field_facts_t;

bool hs_fields_next_element(hs_span_t *list, hs_span_t *element)
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
 * RFC 9112 §6.1, §6.3: `chunked` must be the last coding and only the last, or the end of the
 * content is unknown: 400. We implement no other coding before it: 501. RFC 9110 §5.6.1.2 ignores
 * empty elements, but llhttp and other servers do not, and all must agree on where a message ends:
 * 400.
 */
hs_parse_outcome_t hs_fields_check_codings(hs_span_t list)
{
    hs_span_t coding;
    unsigned others = 0;
    bool chunked = false;
    while (hs_fields_next_element(&list, &coding)) {
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
    while (hs_fields_next_element(&list, &expectation)) {
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
    while (hs_fields_next_element(&list, &option)) {
        if (hs_span_equals_nocase(option, HS_SPAN_LITERAL("close")))
            facts->close = true;
        else if (hs_span_equals_nocase(option, HS_SPAN_LITERAL("keep-alive")))
            facts->keep_alive = true;
    }
}

static HS_NOINLINE void note_field(hs_msg_t *msg, const hs_field_t *field, field_facts_t *facts)
{
    hs_span_t name = hs_msg_field_name(msg, field);
    hs_span_t value = hs_msg_field_value(msg, field);
    facts->noted = true;
    if (hs_token_is(name, HS_SPAN_LITERAL("connection"))) {
        note_connection(value, facts);
    } else if (hs_token_is(name, HS_SPAN_LITERAL("transfer-encoding"))) {
        facts->transfer_encodings++;
        facts->coding = (uint8_t)hs_fields_check_codings(value);
    } else if (hs_token_is(name, HS_SPAN_LITERAL("expect"))) {
        if (check_expectations(msg, value) != HS_PARSE_COMPLETE)
            facts->expectation_failed = true;
    }
}

/* Whether a name may be one known to note_field. No two of them have the same length. */
static bool may_be_noted(const char *name, uint32_t len)
{
    static const char first_letters[] = {
        [sizeof("expect") - 1] = 'e',
        [sizeof("connection") - 1] = 'c',
        [sizeof("transfer-encoding") - 1] = 't',
    };
    const uint32_t lengths = 1u << (sizeof("expect") - 1) | 1u << (sizeof("connection") - 1) |
                             1u << (sizeof("transfer-encoding") - 1);
    return len < sizeof(first_letters) && (lengths >> len & 1) != 0 &&
           (name[0] | 0x20) == first_letters[len];
}

static hs_parse_outcome_t check_framing(const hs_msg_t *msg, const field_facts_t *facts,
                                        bool has_content_length)
{
    if (facts->transfer_encodings == 0)
        return HS_PARSE_COMPLETE;
    if (facts->transfer_encodings > 1 || has_content_length || msg->minor_version == 0)
        return HS_PARSE_BAD_REQUEST;
    if (facts->coding != HS_PARSE_COMPLETE)
        return (hs_parse_outcome_t)facts->coding;
    /* llhttp decodes the content, so it must have seen `chunked` too. */
    return msg->chunked ? HS_PARSE_COMPLETE : HS_PARSE_BAD_REQUEST;
}

/* Exactly one Host on 1.1, the same as in an absolute target: RFC 9112 §3.2, §3.2.2. Clients must
 * send the same in both, so a difference is refused. */
static hs_parse_outcome_t check_host(const hs_msg_t *msg, const hs_field_t *field,
                                     hs_host_memo_t *last_host)
{
    if (HS_UNLIKELY(field == NULL))
        return msg->minor_version == 0 ? HS_PARSE_COMPLETE : HS_PARSE_BAD_REQUEST;
    hs_span_t host = hs_msg_field_value(msg, field);
    if (HS_UNLIKELY(!hs_host_is_valid_memo(last_host, host)))
        return HS_PARSE_BAD_REQUEST;
    hs_span_t target = hs_msg_url(msg);
    if (HS_LIKELY(target.data[0] == '/'))
        return HS_PARSE_COMPLETE;
    unsigned default_port;
    hs_span_t authority = hs_target_authority(target, &default_port);
    return authority.len == 0 || hs_host_same(authority, host, default_port) ? HS_PARSE_COMPLETE
                                                                             : HS_PARSE_BAD_REQUEST;
}

hs_parse_outcome_t hs_fields_check(hs_msg_t *msg, bool has_content_length,
                                   hs_host_memo_t *last_host)
{
    field_facts_t facts = { 0 };
    const hs_field_t *host = NULL;
    char *base = msg->base;
    msg->expect_continue = false;
    hs_field_t *end = msg->fields + msg->field_count;
    for (hs_field_t *field = msg->fields; field < end; field++) {
        const char *name = base + field->name_at;
        uint32_t name_len = field->name_len;
        uint32_t value_at = field->value_at;
        uint32_t value_len = field->value_len;
        /* llhttp places an empty value after its line, where the next name begins: its NUL would
         * overwrite that name. So it is moved to the end of its own name. */
        if (HS_UNLIKELY(value_len == 0))
            field->value_at = value_at = field->name_at + name_len;
        base[field->name_at + name_len] = '\0';
        base[value_at + value_len] = '\0';
        if (name_len == sizeof("host") - 1) {
            if (!hs_token_is(hs_span(name, name_len), HS_SPAN_LITERAL("host")))
                continue;
            if (HS_UNLIKELY(host != NULL))
                return HS_PARSE_BAD_REQUEST;
            host = field;
        } else if (may_be_noted(name, name_len)) {
            note_field(msg, field, &facts);
        }
    }
    hs_parse_outcome_t outcome = check_host(msg, host, last_host);
    msg->keep_alive = msg->minor_version == 1; /* RFC 9112 §9.3 */
    if (HS_LIKELY(!facts.noted))
        return outcome;
    msg->keep_alive = !facts.close && (msg->keep_alive || facts.keep_alive);
    if (outcome == HS_PARSE_COMPLETE)
        outcome = check_framing(msg, &facts, has_content_length);
    /* A malformed message is refused as such, whatever its Expect. */
    return outcome == HS_PARSE_COMPLETE && facts.expectation_failed ? HS_PARSE_EXPECTATION_FAILED
                                                                    : outcome;
}
