#include "exec/hs_res.h"

#include "http/hs_status.h"
#include "http/hs_wire.h"

/* All response fields of one answer together. */
#define FIELDS_MAX (64 * 1024)

void hs_res_begin(hs_response_t *response)
{
    response->state = HS_ANSWER_HANDLING;
    response->status = 200;
    response->built = false;
    response->close = false;
    response->own_date = false;
    response->replaced = false;
    response->failure = HS_OK;
    response->fields.len = 0;
    response->body.len = 0;
}

int hs_res_status(hs_response_t *response, int status)
{
    if (response->state != HS_ANSWER_HANDLING)
        return HS_ERR_STATE;
    if (status < HS_STATUS_MIN || status > HS_STATUS_MAX)
        return HS_ERR_INVALID;
    response->status = status;
    response->built = true;
    return HS_OK;
}

static int out_of_memory(hs_response_t *response)
{
    response->failure = HS_ERR_NOMEM;
    return HS_ERR_NOMEM;
}

/* How a field that concerns the connection or the framing is taken. */
typedef enum field_rule {
    FIELD_ORDINARY,
    FIELD_TAKEN,
    FIELD_REFUSED
} field_rule_t;

static field_rule_t apply_rule(hs_response_t *response, hs_span_t name, hs_span_t value)
{
    switch (name.len) {
    case sizeof("date") - 1:
        if (hs_token_is(name, HS_SPAN_LITERAL("date")))
            response->own_date = true;
        return FIELD_ORDINARY;
    case sizeof("connection") - 1:
        if (!hs_token_is(name, HS_SPAN_LITERAL("connection")))
            return FIELD_ORDINARY;
        if (!hs_span_equals_nocase(hs_span_trim(value), HS_SPAN_LITERAL("close")))
            return FIELD_REFUSED;
        response->close = true;
        return FIELD_TAKEN;
    case sizeof("content-length") - 1:
        return hs_token_is(name, HS_SPAN_LITERAL("content-length")) ? FIELD_REFUSED
                                                                    : FIELD_ORDINARY;
    case sizeof("transfer-encoding") - 1:
        return hs_token_is(name, HS_SPAN_LITERAL("transfer-encoding")) ? FIELD_REFUSED
                                                                       : FIELD_ORDINARY;
    default:
        return FIELD_ORDINARY;
    }
}

int hs_res_add_field(hs_response_t *response, hs_span_t name, hs_span_t value)
{
    if (response->state != HS_ANSWER_HANDLING)
        return HS_ERR_STATE;
    if (!hs_wire_is_field_name(name) || !hs_wire_is_field_value(value))
        return HS_ERR_INVALID;
    hs_buf_t *fields = &response->fields;
    size_t line_len = name.len + value.len + 4;
    if (line_len > FIELDS_MAX - fields->len)
        return HS_ERR_LIMIT;
    if (!hs_buf_reserve(fields, line_len))
        return out_of_memory(response);
    field_rule_t rule = apply_rule(response, name, value);
    if (rule == FIELD_REFUSED)
        return HS_ERR_INVALID;
    response->built = true;
    if (rule == FIELD_TAKEN)
        return HS_OK;
    char *to = fields->data + fields->len;
    memcpy(to, name.data, name.len);
    memcpy(to + name.len, ": ", 2);
    memcpy(to + name.len + 2, value.data, value.len);
    memcpy(to + line_len - 2, "\r\n", 2);
    fields->len += line_len;
    return HS_OK;
}

int hs_res_set_body(hs_response_t *response, hs_span_t body)
{
    if (response->state != HS_ANSWER_HANDLING)
        return HS_ERR_STATE;
    response->body.len = 0;
    response->built = true;
    if (!hs_buf_append(&response->body, body.data, body.len))
        return out_of_memory(response);
    return HS_OK;
}

int hs_res_header(hs_response_t *response, const char *name, const char *value)
{
    int result =
        hs_res_add_field(response, hs_span(name, strlen(name)), hs_span(value, strlen(value)));
    if (result < 0)
        hs_log_write(hs_exchange_of_response(response)->log, HS_LOG_ERROR,
                     "response field refused (error %d): %.64s", result, name);
    return result;
}

int hs_res_body(hs_response_t *response, const char *data, size_t length)
{
    return hs_res_set_body(response, hs_span(data, length));
}

int hs_res_body_str(hs_response_t *response, const char *text)
{
    return hs_res_set_body(response, hs_span(text, strlen(text)));
}

int hs_res_send(hs_response_t *response)
{
    if (response->state != HS_ANSWER_HANDLING)
        return HS_ERR_STATE;
    response->state = HS_ANSWER_SENT;
    return HS_OK;
}

void hs_res_replace(hs_response_t *response, int status)
{
    hs_res_begin(response);
    hs_span_t reason = hs_span(hs_status_reason(status), strlen(hs_status_reason(status)));
    response->status = status;
    response->replaced = true;
    int added =
        hs_res_add_field(response, HS_SPAN_LITERAL("Content-Type"), HS_SPAN_LITERAL("text/plain"));
    int set = hs_res_set_body(response, reason);
    if (added == HS_OK && set == HS_OK && hs_buf_append(&response->body, "\n", 1))
        response->failure = HS_OK;
    response->state = HS_ANSWER_SENT;
}
