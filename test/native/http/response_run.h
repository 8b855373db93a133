/* Parses one response given in separate pieces, as by a network. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "http/hs_parse_response.h"

typedef struct response_run {
    hs_parse_response_t parse;
    hs_buf_t content;
    size_t taken;
    bool head_done;
    bool ended; /* hs_parse_response_end was called */
    hs_response_outcome_t outcome;
} response_run_t;

static inline void response_run_free(response_run_t *run)
{
    hs_parse_response_free(&run->parse);
    hs_buf_free(&run->content);
}

/* One piece, in a separate allocation of exactly its size: reading past it is a sanitizer report.
 */
static inline void response_run_piece(response_run_t *run, const char *data, size_t len)
{
    char *piece = malloc(len > 0 ? len : 1);
    size_t at = 0;
    memcpy(piece, data, len);
    do {
        size_t taken = 0;
        run->outcome = hs_parse_response_next(&run->parse, piece + at, len - at, &taken);
        at += taken;
        if (!hs_buf_append(&run->content, run->parse.content.data, run->parse.content.len))
            abort();
        if (run->outcome == HS_RESPONSE_HEAD)
            run->head_done = true;
    } while (run->outcome == HS_RESPONSE_HEAD ||
             (run->outcome == HS_RESPONSE_NEED_MORE && at < len));
    run->taken += at;
    free(piece);
}

/* Parses `text`: first `first` bytes, then pieces of `step`; then the connection ends if `ends`. */
static inline void response_run(response_run_t *run, const char *text, size_t len, size_t first,
                                size_t step, bool to_head, bool ends)
{
    memset(run, 0, sizeof(*run));
    hs_parse_response_init(&run->parse);
    hs_parse_response_begin(&run->parse, to_head);
    run->outcome = HS_RESPONSE_NEED_MORE;
    size_t size = first;
    for (size_t at = 0; at < len && run->outcome == HS_RESPONSE_NEED_MORE; size = step) {
        size_t piece = hs_min(size, len - at);
        response_run_piece(run, text + at, piece);
        at += piece;
    }
    if (run->outcome == HS_RESPONSE_NEED_MORE && ends) {
        run->ended = true;
        run->outcome = hs_parse_response_end(&run->parse);
    }
}
