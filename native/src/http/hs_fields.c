#include "http/hs_fields.h"

typedef struct field_counts {
    unsigned host;
    unsigned transfer_encoding;
} field_counts_t;

/* uri-host [ ":" port ] without user information: the characters of RFC 3986 §3.2.2 and §3.2.3. May
 * be empty. */
static bool is_host(hs_span_t value)
{
    static const char allowed[] = "-._~!$&'()*+,;=:[]%";
    for (size_t i = 0; i < value.len; i++) {
        char c = value.data[i];
        bool alphanumeric =
            (c >= '0' && c <= '9') || (hs_ascii_lower(c) >= 'a' && hs_ascii_lower(c) <= 'z');
        if (!alphanumeric && (c == '\0' || strchr(allowed, c) == NULL))
            return false;
    }
    return true;
}

static hs_parse_outcome_t check_field(hs_msg_t *msg, hs_span_t name, hs_span_t value,
                                      field_counts_t *counts)
{
    switch (name.len) {
    case sizeof("host") - 1:
        if (!hs_span_equals_nocase(name, HS_SPAN_LITERAL("host")))
            return HS_PARSE_COMPLETE;
        counts->host++;
        return is_host(value) ? HS_PARSE_COMPLETE : HS_PARSE_BAD_REQUEST;
    case sizeof("expect") - 1:
        if (!hs_span_equals_nocase(name, HS_SPAN_LITERAL("expect")))
            return HS_PARSE_COMPLETE;
        if (!hs_span_equals_nocase(value, HS_SPAN_LITERAL("100-continue")))
            return HS_PARSE_EXPECTATION_FAILED;
        /* RFC 9110 §10.1.1: a 1.0 client cannot understand the interim answer. */
        msg->expect_continue = msg->minor_version == 1;
        return HS_PARSE_COMPLETE;
    case sizeof("transfer-encoding") - 1:
        if (!hs_span_equals_nocase(name, HS_SPAN_LITERAL("transfer-encoding")))
            return HS_PARSE_COMPLETE;
        counts->transfer_encoding++;
        return hs_span_equals_nocase(value, HS_SPAN_LITERAL("chunked")) ? HS_PARSE_COMPLETE
                                                                        : HS_PARSE_NOT_IMPLEMENTED;
    default:
        return HS_PARSE_COMPLETE;
    }
}

hs_parse_outcome_t hs_fields_check(hs_msg_t *msg, bool has_content_length)
{
    field_counts_t counts = { 0 };
    msg->expect_continue = false;
    for (uint16_t i = 0; i < msg->field_count; i++) {
        hs_field_t *field = &msg->fields[i];
        hs_span_t value = hs_span_trim(hs_msg_field_value(msg, field));
        /* llhttp places an empty value behind its line, where the next name begins: the NUL that
         * ends it would cut that name. It ends where its own name does instead. */
        field->value_at =
            value.len > 0 ? (uint32_t)(value.data - msg->base) : field->name_at + field->name_len;
        field->value_len = (uint32_t)value.len;
        hs_parse_outcome_t outcome =
            check_field(msg, hs_msg_field_name(msg, field), value, &counts);
        if (outcome != HS_PARSE_COMPLETE)
            return outcome;
    }
    if (counts.host > 1 || (counts.host == 0 && msg->minor_version == 1))
        return HS_PARSE_BAD_REQUEST;
    if (counts.transfer_encoding > 1)
        return HS_PARSE_BAD_REQUEST;
    if (counts.transfer_encoding == 1 &&
        (has_content_length || msg->minor_version == 0 || !msg->chunked))
        return HS_PARSE_BAD_REQUEST;
    return HS_PARSE_COMPLETE;
}
