#include "http/hs_wire.h"

#include "http/hs_status.h"

#define DECIMAL_MAX 20 /* digits of the largest size_t */

/* More than a head without the caller's fields: status line, Date, Content-Length, Connection. */
#define HEAD_OVERHEAD 256

/* The writers return the end of what they wrote; the caller has reserved the room. */

static char *put(char *to, const char *data, size_t len)
{
    memcpy(to, data, len);
    return to + len;
}

#define PUT_LITERAL(to, literal) put(to, literal, sizeof(literal) - 1)

static size_t count_digits(size_t value)
{
    size_t digits = 1;
    for (size_t limit = 10; value >= limit; limit *= 10)
        if (++digits == DECIMAL_MAX) /* the next power of ten does not fit a size_t */
            break;
    return digits;
}

/* Two digits at a time: a division costs more than a look-up. */
static char *put_decimal(char *to, size_t value)
{
    static const char pairs[] = "000102030405060708091011121314151617181920212223242526272829"
                                "303132333435363738394041424344454647484950515253545556575859"
                                "606162636465666768697071727374757677787980818283848586878889"
                                "90919293949596979899";
    char *end = to + count_digits(value);
    char *at = end;
    for (; value >= 100; value /= 100)
        memcpy(at -= 2, pairs + value % 100 * 2, 2);
    if (value >= 10)
        memcpy(at - 2, pairs + value * 2, 2);
    else
        at[-1] = (char)('0' + value);
    return end;
}

static char *put_status_line(char *to, int status)
{
    hs_span_t line = hs_status_line(status);
    if (HS_LIKELY(line.len > 0)) {
        memcpy(to, line.data, HS_STATUS_LINE_MAX);
        return to + line.len;
    }
    to = PUT_LITERAL(to, "HTTP/1.1 ");
    to = put_decimal(to, (size_t)status);
    return PUT_LITERAL(to, " \r\n");
}

static char *put_connection(char *to, hs_wire_connection_t connection)
{
    switch (connection) {
    case HS_WIRE_CONNECTION_DEFAULT:
        return to;
    case HS_WIRE_CONNECTION_KEEP_ALIVE:
        return PUT_LITERAL(to, "Connection: keep-alive\r\n");
    case HS_WIRE_CONNECTION_CLOSE:
        return PUT_LITERAL(to, "Connection: close\r\n");
    }
    return to;
}

static char *put_framing(char *to, const hs_wire_head_t *head)
{
    HS_ASSERT(!(head->chunked && head->until_close));
    if (head->until_close) {
        HS_ASSERT(head->connection == HS_WIRE_CONNECTION_CLOSE);
        return to;
    }
    if (head->chunked)
        return PUT_LITERAL(to, "Transfer-Encoding: chunked\r\n");
    to = PUT_LITERAL(to, "Content-Length: ");
    to = put_decimal(to, head->content_length);
    return PUT_LITERAL(to, "\r\n");
}

bool hs_wire_put_head(hs_buf_t *out, const hs_wire_head_t *head, const hs_date_t *date,
                      hs_span_t content)
{
    if (HS_UNLIKELY(!hs_buf_reserve(out, HEAD_OVERHEAD + head->fields.len + content.len)))
        return false;
    char *to = put_status_line(out->data + out->len, head->status);
    if (!head->own_date)
        to = put(to, date->line, HS_DATE_LINE_LEN);
    to = hs_span_copy(head->fields, to);
    if (HS_LIKELY(hs_status_has_content(head->status)))
        to = put_framing(to, head);
    to = put_connection(to, head->connection);
    to = PUT_LITERAL(to, "\r\n");
    to = hs_span_copy(content, to);
    out->len = (size_t)(to - out->data);
    HS_ASSERT(out->len <= out->capacity);
    return true;
}

bool hs_wire_put_ok(hs_buf_t *out, const hs_date_t *date, hs_span_t fields, hs_span_t content)
{
    if (HS_UNLIKELY(!hs_buf_reserve(out, HEAD_OVERHEAD + fields.len + content.len)))
        return false;
    char *to = out->data + out->len;
    memcpy(to, date->start, HS_DATE_START_MAX);
    to = hs_span_copy(fields, to + HS_DATE_START_LEN);
    to = PUT_LITERAL(to, "Content-Length: ");
    to = put_decimal(to, content.len);
    to = PUT_LITERAL(to, "\r\n\r\n");
    to = hs_span_copy(content, to);
    out->len = (size_t)(to - out->data);
    HS_ASSERT(out->len <= out->capacity);
    return true;
}

size_t hs_wire_chunk_head(char out[HS_WIRE_CHUNK_HEAD_MAX], size_t len)
{
    HS_ASSERT(len > 0);
    size_t digits = 1;
    while (digits < 2 * sizeof(len) && len >> (4 * digits) > 0)
        digits++;
    for (size_t at = digits; at > 0; len >>= 4)
        out[--at] = "0123456789abcdef"[len & 0xf];
    memcpy(out + digits, "\r\n", 2);
    return digits + 2;
}

bool hs_wire_put_continue(hs_buf_t *out)
{
    hs_span_t line = hs_status_line(100);
    if (!hs_buf_reserve(out, line.len + 2))
        return false;
    hs_buf_put(out, line.data, line.len);
    hs_buf_put(out, "\r\n", 2);
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
    char content[64];
    HS_ASSERT(len < sizeof(content));
    memcpy(content, reason, len);
    content[len] = '\n';
    return hs_wire_put_head(out, &head, date, hs_span(content, with_content ? len + 1 : 0));
}
