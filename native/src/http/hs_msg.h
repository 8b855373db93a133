/*
 * A request as offsets into its head, and what the head says about the message.
 *
 * Offsets count from the head's first byte, so that the head can lie in the receive ring or, when
 * it straddles the ring's end, be copied elsewhere: only `base` changes. Strings get a
 * terminating NUL in place: the byte after a target, a name or a value is a
 * delimiter that is not read again. Owner: the job that holds it.
 */
#pragma once

#include "base/hs_span.h"

typedef struct hs_field {
    uint32_t name_at;
    uint32_t name_len;
    uint32_t value_at;
    uint32_t value_len;
} hs_field_t;

typedef struct hs_msg {
    char *base;        /* first byte of the head: the ring, its arena, or memory of the job */
    uint32_t head_len; /* request line, fields and the empty line */
    uint32_t url_at;
    uint32_t url_len;
    uint8_t method;        /* llhttp_method_t */
    uint8_t minor_version; /* HTTP/1.minor */
    bool keep_alive;       /* requested by the client: RFC 9112 §9.3 */
    bool chunked;
    bool expect_continue;
    bool asks_upgrade; /* it has an Upgrade field, named in Connection */
    uint16_t field_count;
    uint16_t field_cap;
    hs_field_t *fields; /* field_cap of them, borrowed */
    uint64_t content_length;
    hs_span_t body; /* complete and decoded content */
} hs_msg_t;

/* The spans below are valid once `base` is set. After hs_parse_check each name and value ends in a
 * NUL, after hs_msg_terminate_url the target too. */

static inline hs_span_t hs_msg_url(const hs_msg_t *msg)
{
    return hs_span(msg->base + msg->url_at, msg->url_len);
}

static inline hs_span_t hs_msg_field_name(const hs_msg_t *msg, const hs_field_t *field)
{
    return hs_span(msg->base + field->name_at, field->name_len);
}

static inline hs_span_t hs_msg_field_value(const hs_msg_t *msg, const hs_field_t *field)
{
    return hs_span(msg->base + field->value_at, field->value_len);
}

static inline void hs_msg_terminate_url(hs_msg_t *msg)
{
    msg->base[msg->url_at + msg->url_len] = '\0';
}

/* The first field with this name, NULL if there is none. */
static inline const hs_field_t *hs_msg_find(const hs_msg_t *msg, hs_span_t name)
{
    for (uint16_t i = 0; i < msg->field_count; i++)
        if (hs_span_equals_nocase(hs_msg_field_name(msg, &msg->fields[i]), name))
            return &msg->fields[i];
    return NULL;
}
