/*
 * Writes response heads. Pure: appends to a buffer, knows no connection and no clock.
 */
#pragma once

#include "base/hs_chars.h"
#include "data/hs_buf.h"
#include "http/hs_date.h"

typedef enum hs_wire_connection {
    HS_WIRE_CONNECTION_DEFAULT,    /* no Connection field: the default of the version */
    HS_WIRE_CONNECTION_KEEP_ALIVE, /* a 1.0 client asked to keep it open: RFC 9112 §9.3 */
    HS_WIRE_CONNECTION_CLOSE,      /* no further request will be served */
} hs_wire_connection_t;

typedef struct hs_wire_head {
    int status;
    hs_wire_connection_t connection;
    hs_span_t fields; /* lines "Name: value\r\n", checked when they were added */
    bool own_date;    /* the fields have a Date: ours is omitted */
    size_t content_length;
    /* If content_length is unknown, one of these (RFC 9112 §6.3): */
    bool chunked;     /* Transfer-Encoding: chunked, for a client of HTTP/1.1 */
    bool until_close; /* the connection ends the content; `connection` is CLOSE */
} hs_wire_head_t;

/*
 * Appends the most common response: status 200, content of known length, and no Connection field.
 * The same bytes as from hs_wire_put_head. False: out of memory, nothing was appended.
 */
HS_NODISCARD bool hs_wire_put_ok(hs_buf_t *out, const hs_date_t *date, hs_span_t fields,
                                 hs_span_t content);

/* A chunk is hs_wire_chunk_head, its bytes, HS_WIRE_CHUNK_END; content ends with
 * HS_WIRE_LAST_CHUNK, which also says that there are no trailers (RFC 9112 §7.1). */
#define HS_WIRE_CHUNK_HEAD_MAX (2 * sizeof(size_t) + 2)
#define HS_WIRE_CHUNK_END "\r\n"
#define HS_WIRE_LAST_CHUNK "0\r\n\r\n"

/* Appends status line, fields and the empty line, then `content`, if any. False: out of memory,
 * nothing was appended. */
HS_NODISCARD bool hs_wire_put_head(hs_buf_t *out, const hs_wire_head_t *head, const hs_date_t *date,
                                   hs_span_t content);

/* Writes the size of a chunk and its CRLF; returns the number of bytes. `len` is not 0: that is the
 * last chunk. */
size_t hs_wire_chunk_head(char out[HS_WIRE_CHUNK_HEAD_MAX], size_t len);

/* Appends the interim response to `Expect: 100-continue` (RFC 9110 §15.2.1). False: out of memory.
 */
HS_NODISCARD bool hs_wire_put_continue(hs_buf_t *out);

/* Appends a whole response from the server itself: the reason phrase as text, `Connection: close`.
 */
HS_NODISCARD bool hs_wire_put_refusal(hs_buf_t *out, int status, bool with_content,
                                      const hs_date_t *date);

/* A field name is a token: RFC 9110 §5.1, §5.6.2. */
static inline bool hs_wire_is_field_name(hs_span_t name)
{
    return hs_span_is_token(name);
}

/* A field value contains no control character except HTAB: RFC 9110 §5.5. CR, LF and NUL would
 * allow forging a message. */
static inline bool hs_wire_is_field_value(hs_span_t value)
{
    return hs_span_is_field_value(value);
}
