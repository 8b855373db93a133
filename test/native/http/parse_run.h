/* Parses one message given in separate pieces, as by a ring or a slow client. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "http/hs_parse.h"

#define PARSE_RUN_FIELDS 64

typedef struct parse_run {
    hs_limits_t limits;
    hs_msg_t msg;
    hs_field_t fields[PARSE_RUN_FIELDS];
    hs_parse_t parse;
    hs_parse_shared_t shared;
    hs_buf_t content;
    char *head;     /* copy of the head: what msg.base points to */
    size_t taken;   /* bytes of the message, head and chunked content */
    bool head_done; /* hs_parse_check was reached */
    hs_parse_outcome_t outcome;
} parse_run_t;

static inline hs_limits_t parse_run_limits(void)
{
    return (hs_limits_t){
        .ring_size = 8192, .max_url = 8192, .max_headers = PARSE_RUN_FIELDS, .max_body = 1 << 20
    };
}

static inline void parse_run_free(parse_run_t *run)
{
    free(run->head);
    hs_buf_free(&run->content);
    memset(run, 0, sizeof(*run));
}

/* One piece, in a separate allocation of exactly its size: reading past it is a sanitizer report.
 */
static inline hs_parse_outcome_t parse_run_piece(parse_run_t *run, const char *data, size_t len)
{
    char *piece = malloc(len);
    memcpy(piece, data, len);
    size_t taken = 0;
    hs_parse_outcome_t outcome =
        run->head_done ? hs_parse_chunked(&run->parse, &run->content, piece, len, &taken)
                       : hs_parse_head(&run->parse, piece, len, &taken);
    run->taken += taken;
    free(piece);
    return outcome;
}

static inline void parse_run_head_is_complete(parse_run_t *run, const char *text)
{
    run->head_done = true;
    run->head = malloc(run->msg.head_len);
    memcpy(run->head, text, run->msg.head_len);
    run->msg.base = run->head;
    run->outcome = hs_parse_check(&run->parse);
    if (run->outcome == HS_PARSE_COMPLETE)
        hs_msg_terminate_url(&run->msg);
}

/*
 * Parses `text`: first `first` bytes, then pieces of `step`. The result is in run->outcome. Content
 * of known length is not parsed: it is left where it is.
 */
static inline void parse_run(parse_run_t *run, const hs_limits_t *limits, const char *text,
                             size_t len, size_t first, size_t step)
{
    memset(run, 0, sizeof(*run));
    run->limits = *limits;
    run->msg.fields = run->fields;
    run->msg.field_cap = (uint16_t)limits->max_headers;
    hs_parse_shared_init(&run->shared, &run->limits);
    hs_parse_begin(&run->parse, &run->shared, &run->msg);
    run->outcome = HS_PARSE_NEED_MORE;
    size_t piece_end = first;
    while (run->taken < len && run->outcome == HS_PARSE_NEED_MORE) {
        if (run->taken >= piece_end)
            piece_end = run->taken + step;
        size_t end = hs_min(piece_end, len);
        run->outcome = parse_run_piece(run, text + run->taken, end - run->taken);
        if (run->outcome != HS_PARSE_COMPLETE || run->head_done)
            continue;
        parse_run_head_is_complete(run, text);
        if (run->outcome == HS_PARSE_COMPLETE && run->msg.chunked)
            run->outcome = HS_PARSE_NEED_MORE;
    }
}
