/*
 * Media types by the extension of a file's name. The build generates the table from the npm package
 * mime-db, or from the system's mime.types (cmake/mime-table.cmake).
 */
#pragma once

#include "base/hs_span.h"

typedef struct hs_mime_type {
    const char *extension; /* lower case, without the dot */
    const char *type;
    bool is_utf8;         /* text assumed to be UTF-8: it gets a charset parameter */
    bool is_compressible; /* worth a content coding */
} hs_mime_type_t;

extern const hs_mime_type_t hs_mime_types[]; /* sorted by extension */
extern const size_t hs_mime_count;

/* By the extension of a path's last segment, in any case; NULL: no such type. */
const hs_mime_type_t *hs_mime_of_path(hs_span_t path);
