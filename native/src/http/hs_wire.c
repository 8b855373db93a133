#include "http/hs_wire.h"

#include "http/hs_status.h"

#define DECIMAL_MAX 20 /* digits of the largest size_t */

/* More than all that is not the caller's fields: the longest status line, Date, Content-Length,
 * Connection. */
#define HEAD_OVERHEAD 256

static void put_span(hs_buf_t *out, hs_span_t span)
{
    hs_buf_put(out, span.data, span.len);
}

static void put_decimal(hs_buf_t *out, size_t value)
{
    char digits[DECIMAL_MAX];
    size_t at = DECIMAL_MAX;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    hs_buf_put(out, digits + at, DECIMAL_MAX - at);
}

static void put_status_line(hs_buf_t *out, int status)
{
    hs_span_t line = hs_status_line(status);
    if (line.len > 0) {
        put_span(out, line);
        return;
    }
    put_span(out, HS_SPAN_LITERAL("HTTP/1.1 "));
    put_decimal(out, (size_t)status);
    put_span(out, HS_SPAN_LITERAL(" \r\n"));
}

bool hs_wire_put_head(hs_buf_t *out, const hs_wire_head_t *head, const hs_date_t *date)
{
    if (!hs_buf_reserve(out, HEAD_OVERHEAD + head->fields.len))
        return false;
    put_status_line(out, head->status);
    if (!head->own_date) {
        put_span(out, HS_SPAN_LITERAL("Date: "));
        hs_buf_put(out, date->text, HS_DATE_LEN);
        put_span(out, HS_SPAN_LITERAL("\r\n"));
    }
    if (head->fields.len > 0)
        put_span(out, head->fields);
    if (hs_status_has_content(head->status)) {
        put_span(out, HS_SPAN_LITERAL("Content-Length: "));
        put_decimal(out, head->content_length);
        put_span(out, HS_SPAN_LITERAL("\r\n"));
    }
    switch (head->connection) {
    case HS_WIRE_CONNECTION_DEFAULT:
        break;
    case HS_WIRE_CONNECTION_KEEP_ALIVE:
        put_span(out, HS_SPAN_LITERAL("Connection: keep-alive\r\n"));
        break;
    case HS_WIRE_CONNECTION_CLOSE:
        put_span(out, HS_SPAN_LITERAL("Connection: close\r\n"));
        break;
    }
    put_span(out, HS_SPAN_LITERAL("\r\n"));
    return true;
}

bool hs_wire_put_continue(hs_buf_t *out)
{
    hs_span_t line = hs_status_line(100);
    if (!hs_buf_reserve(out, line.len + 2))
        return false;
    put_span(out, line);
    put_span(out, HS_SPAN_LITERAL("\r\n"));
    return true;
}

bool hs_wire_put_refusal(hs_buf_t *out, int status, bool with_content, const hs_date_t *date)
{
    const char *reason = hs_status_reason(status);
    size_t len = strlen(reason);
    hs_wire_head_t head = {
        .status = status,
        .connection = HS_WIRE_CONNECTION_CLOSE,
        .fields = HS_SPAN_LITERAL("Content-Type: text/plain\r\n"),
        .content_length = len + 1,
    };
    if (!hs_buf_reserve(out, HEAD_OVERHEAD + head.fields.len + len + 1))
        return false;
    bool put = hs_wire_put_head(out, &head, date);
    HS_ASSERT(put);
    if (put && with_content) {
        hs_buf_put(out, reason, len);
        hs_buf_put(out, "\n", 1);
    }
    return put;
}

bool hs_wire_is_field_name(hs_span_t name)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        bool alphanumeric =
            (c >= '0' && c <= '9') || (hs_ascii_lower(c) >= 'a' && hs_ascii_lower(c) <= 'z');
        if (!alphanumeric && (c == '\0' || strchr(marks, c) == NULL))
            return false;
    }
    return name.len > 0;
}

bool hs_wire_is_field_value(hs_span_t value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}
