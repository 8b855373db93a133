/* Gzip-compressed content, decoded. Include after cmocka.h. */
#pragma once

#include "data/hs_buf.h"
#include "http/hs_inflate.h"

/* Appends the decoded bytes to `out`. Returns whether they are a complete gzip member. */
static inline bool inflate_all(const char *data, size_t len, hs_buf_t *out)
{
    hs_inflate_t *decoder = hs_inflate_new(HS_INFLATE_GZIP);
    assert_non_null(decoder);
    hs_inflate_outcome_t outcome = HS_INFLATE_OUTPUT;
    for (size_t at = 0; outcome == HS_INFLATE_OUTPUT;) {
        size_t taken;
        hs_span_t piece;
        outcome = hs_inflate_next(decoder, data + at, len - at, &taken, &piece);
        assert_true(hs_buf_append(out, piece.data, piece.len));
        at += taken;
    }
    assert_int_equal(outcome, HS_INFLATE_NEED_MORE);
    bool is_whole = hs_inflate_is_complete(decoder);
    hs_inflate_free(decoder);
    return is_whole;
}
