/*
 * Responses from the files below a directory: path to file, content coding, preconditions, ranges
 * and the fields of the response. For the Lua module (lua/moonring/static.lua) and, through
 * httpserver.h, for C.
 *
 * Owner: the thread that runs the handler. hs_static_t and its cache may be shared by several
 * threads only under a lock.
 */
#pragma once

#include "exec/hs_file_cache.h"
#include "exec/hs_job.h"

#define HS_STATIC_INDEXES 4
#define HS_STATIC_RULES 32
/* Entries of a directory that are listed. */
#define HS_STATIC_LIST_MAX 4096

/* The Cache-Control of paths matching an fnmatch(3) pattern; `*` matches slashes too. */
typedef struct hs_static_rule {
    const char *pattern;
    const char *value;
} hs_static_rule_t;

/* Copied by hs_static_new. */
typedef struct hs_static_config {
    const char *root; /* NULL: paths are plain file names, not confined to a directory */
    const char *indexes[HS_STATIC_INDEXES]; /* NULL ends them */
    unsigned codings;                       /* of siblings: HS_CODING_BIT */
    const hs_static_rule_t *rules;          /* the first match wins */
    size_t rule_count;
    const char *charset;   /* of text; NULL: no parameter */
    const char *extension; /* appended to a path that does not exist: ".html"; NULL: none */
    bool shows_dotfiles;
} hs_static_config_t;

typedef struct hs_static hs_static_t;

typedef enum hs_static_outcome {
    HS_STATIC_BUILT,     /* the response is built: 200, 206, 304, 412 or 416 */
    HS_STATIC_MISSING,   /* nothing was built, as below */
    HS_STATIC_MALFORMED, /* the path is: 400 */
    HS_STATIC_FORBIDDEN, /* no permission to read it */
    HS_STATIC_DIRECTORY, /* a directory without an index */
    HS_STATIC_BUSY,      /* no descriptor or memory for it: 503 */
    HS_STATIC_FAILED,    /* the system could not read it, or the response was sent already: 500 */
    HS_STATIC_UNSLASHED, /* a directory, and `path` lacks its slash: hs_static_redirect */
} hs_static_outcome_t;

/* `cache` outlives it. NULL with `error` set: the directory cannot be opened, or no memory. */
HS_NODISCARD hs_static_t *hs_static_new(hs_file_cache_t *cache, const hs_static_config_t *config,
                                        hs_errinfo_t *error);
void hs_static_free(hs_static_t *site);

/*
 * Builds the response to the job's request, a GET or HEAD, from the file at `path`: part of the
 * request's path as sent or, without a root, the name of a file. Fields set by the handler stay and
 * take precedence. A status other than 200 that it set stays too: then there are no preconditions
 * and ranges. `type` may be empty: by the extension. `now_ms` is monotonic.
 */
HS_NODISCARD hs_static_outcome_t hs_static_respond(hs_static_t *site, hs_job_t *job, hs_span_t path,
                                                   hs_span_t type, uint64_t now_ms);

/* Builds the redirection to the request's own path with a slash appended. */
HS_NODISCARD hs_static_outcome_t hs_static_redirect(hs_job_t *job);

/*
 * The entries of a directory found by hs_static_respond, at most HS_STATIC_LIST_MAX; hidden ones
 * are left out. Appends for each: 'd' or 'f', size and modification time in decimal, each after a
 * space, a space, the name, a NUL. `*is_whole` is false if there are more. 0, or negative.
 */
HS_NODISCARD int hs_static_list(hs_static_t *site, hs_span_t path, hs_buf_t *out, bool *is_whole);
