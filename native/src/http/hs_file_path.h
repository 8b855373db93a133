/*
 * Maps the path of a URL to the name of a file below a directory. Pure.
 */
#pragma once

#include "base/hs_span.h"

/* The size of a name with its NUL, as the system allows. */
#define HS_FILE_PATH_MAX 4096

typedef enum hs_file_path_outcome {
    HS_FILE_PATH_OK,
    HS_FILE_PATH_MALFORMED, /* 400: a bad percent-encoding, or a NUL */
    HS_FILE_PATH_REFUSED,   /* 404: it cannot name a visible file */
} hs_file_path_outcome_t;

typedef struct hs_file_path {
    char name[HS_FILE_PATH_MAX]; /* "a/b", "" for the directory itself; NUL-terminated */
    size_t len;
    bool is_directory; /* the path ends in a slash, or is empty */
} hs_file_path_t;

/*
 * Decodes `path`, as in the request, one segment at a time. Empty segments are ignored. Refuses "."
 * and "..", however they are written, and encoded slashes; with `hides_dotfiles` also segments that
 * begin with a dot, except an initial ".well-known" (RFC 8615).
 */
HS_NODISCARD hs_file_path_outcome_t hs_file_path_decode(hs_span_t path, bool hides_dotfiles,
                                                        hs_file_path_t *decoded);
