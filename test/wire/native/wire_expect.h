/*
 * Whether what a server sent is what a wire case expects. Reads the responses as the strictest
 * client would.
 */
#pragma once

#include "base/hs_span.h"

typedef enum wire_end {
    WIRE_END_OPEN,    /* the server waits for a next request */
    WIRE_END_WAITING, /* the server waits for the rest of a request */
    WIRE_END_CLOSED,  /* the server has ended the connection */
} wire_end_t;

/*
 * Checks `got` against the lines of a block of responses, after `first`, the content of one more
 * response that comes before them (NULL: none). True: all is as expected, and `*end` is what the
 * block ends with. False: `why` (room for `why_size` bytes) says what is wrong.
 */
bool wire_expect(const char *responses, const char *first, hs_span_t got, wire_end_t *end,
                 char *why, size_t why_size);
