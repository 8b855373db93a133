/*
 * Fields from lines of text, for the suite and the fuzzer of hs_forwarded: each line is the value
 * of one field.
 */
#pragma once

#include "http/hs_forwarded.h"

#define FORWARDED_RUN_FIELDS 16

/* `values` are separated by newlines and must outlive the use of the result. */
static inline hs_peer_t forwarded_run(const hs_forwarding_t *forwarding, hs_peer_t peer,
                                      char *values, size_t len)
{
    /* Names are offsets from the same base as values: they come after them. */
    static const char names[] = "X-Forwarded-ForforwardedX-Other";
    static char base[64 * 1024];
    hs_field_t fields[FORWARDED_RUN_FIELDS + 1];
    if (len + sizeof(names) > sizeof(base))
        len = sizeof(base) - sizeof(names);
    memcpy(base, values, len);
    memcpy(base + len, names, sizeof(names));
    hs_msg_t msg = { .base = base, .fields = fields };
    uint32_t name_at = (uint32_t)len + (forwarding->field == HS_FORWARDED_RFC7239 ? 15 : 0);
    uint32_t name_len = forwarding->field == HS_FORWARDED_RFC7239 ? 9 : 15;
    for (size_t at = 0; at <= len && msg.field_count < FORWARDED_RUN_FIELDS;) {
        const char *end = memchr(base + at, '\n', len - at);
        size_t value_len = end == NULL ? len - at : (size_t)(end - base) - at;
        fields[msg.field_count++] = (hs_field_t){ .name_at = name_at,
                                                  .name_len = name_len,
                                                  .value_at = (uint32_t)at,
                                                  .value_len = (uint32_t)value_len };
        at += value_len + 1;
    }
    fields[msg.field_count++] =
        (hs_field_t){ .name_at = (uint32_t)len + 24, .name_len = 7, .value_at = 0, .value_len = 1 };
    return hs_forwarded_client(forwarding, &msg, &peer);
}
