#include "http/hs_traceparent.h"

#define VERSION_LEN 2
#define FLAGS_AT (HS_SPAN_ID_AT + HS_SPAN_ID_LEN + 1)

static bool is_hex(const char *text, size_t len)
{
    for (size_t at = 0; at < len; at++)
        if (!((text[at] >= '0' && text[at] <= '9') || (text[at] >= 'a' && text[at] <= 'f')))
            return false;
    return true;
}

/* Lower-case hexadecimal digits that are not all zero. */
static bool is_id(const char *text, size_t len)
{
    bool has_other = false;
    for (size_t at = 0; at < len; at++)
        has_other |= text[at] != '0';
    return has_other && is_hex(text, len);
}

bool hs_traceparent_is_valid(hs_span_t value)
{
    const char *text = value.data;
    if (value.len < HS_TRACEPARENT_LEN || text[VERSION_LEN] != '-' ||
        text[HS_SPAN_ID_AT - 1] != '-' || text[FLAGS_AT - 1] != '-' || !is_hex(text, VERSION_LEN) ||
        !is_hex(text + FLAGS_AT, 2) || !is_id(text + HS_TRACE_ID_AT, HS_TRACE_ID_LEN) ||
        !is_id(text + HS_SPAN_ID_AT, HS_SPAN_ID_LEN))
        return false;
    if (memcmp(text, "ff", VERSION_LEN) == 0)
        return false;
    if (value.len == HS_TRACEPARENT_LEN)
        return true;
    /* A later version may have more fields. */
    return memcmp(text, "00", VERSION_LEN) != 0 && text[HS_TRACEPARENT_LEN] == '-';
}

hs_span_t hs_traceparent_of(const hs_msg_t *msg)
{
    hs_span_t found = { NULL, 0 };
    for (uint16_t i = 0; i < msg->field_count; i++) {
        const hs_field_t *field = &msg->fields[i];
        if (field->name_len != sizeof("traceparent") - 1 ||
            !hs_token_is(hs_msg_field_name(msg, field), HS_SPAN_LITERAL("traceparent")))
            continue;
        if (found.data != NULL)
            return hs_span(NULL, 0);
        found = hs_msg_field_value(msg, field);
    }
    return found.data != NULL && hs_traceparent_is_valid(found) ? found : hs_span(NULL, 0);
}
