/*
 * The wire documents (test/wire/README.md says how they are written) as a list of cases. For tests
 * only: a document that is not well-formed ends the program with its file and line.
 */
#pragma once

#include "base/hs_limits.h"
#include "data/hs_buf.h"

typedef struct wire_case {
    char *name;        /* "host.md: A missing Host is refused", NUL-terminated */
    hs_buf_t request;  /* bytes */
    char *responses;   /* the lines of the block, NUL-terminated */
    uint32_t ring_min; /* the smallest ring that can hold what the case needs, in bytes */
    hs_limits_t limits;
} wire_case_t;

typedef struct wire_cases {
    wire_case_t *at;
    size_t count;
} wire_cases_t;

/* Every case of every .md file in `directory` but README.md, by file name. */
wire_cases_t wire_doc_load(const char *directory);
void wire_doc_free(wire_cases_t *cases);

/* The bytes that `text` (up to `len`) writes with escapes, appended to `to`. False: a bad escape.
 */
HS_NODISCARD bool wire_doc_decode(hs_buf_t *to, const char *text, size_t len);
