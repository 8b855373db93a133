/*
 * Which responses are compressed, and how: the server's settings, what the client accepts and what
 * the handler requested, using the coders of http/hs_coder.h.
 *
 * Not compressed is what has no content or no listed type, is short, an event stream, a part of
 * something (206, Content-Range), coded already, or marked with no-transform; what HTTP/1.0 asks
 * for; files; and what the handler excludes. A response that might have been has `Vary:
 * Accept-Encoding`, whatever its coding; one that is has a weak ETag (RFC 9110 §8.8.1).
 */
#pragma once

#include "exec/hs_job.h"
#include "http/hs_accept_encoding.h"
#include "http/hs_coder.h"

/* Content up to this size is compressed at once on the loop's thread; longer content in slices of
 * this size, one per turn. */
#define HS_COMPRESSION_SLICE (64 * 1024)

/* The setting of hs_res_compress, or that compression is done. */
enum {
    HS_COMPRESS_BY_TYPE,
    HS_COMPRESS_NEVER,
    HS_COMPRESS_ANY_TYPE,
    HS_COMPRESS_DONE, /* by the worker */
};

/* Settings. Read-only after init, by all threads. */
typedef struct hs_compression {
    hs_coding_t preferred[HS_CODINGS];
    size_t preferred_count; /* 0: nothing is compressed */
    unsigned offered;
    int gzip_level;
    int br_level;
    size_t min_size;
    char *types; /* with commas between */
} hs_compression_t;

/* From the server's configuration, which it validates. 0, or a negative hs_err_t with `error` set;
 * must be freed in both cases. */
HS_NODISCARD int hs_compression_init(hs_compression_t *compression, const hs_config_t *config,
                                     hs_errinfo_t *error);
void hs_compression_free(hs_compression_t *compression);

static inline bool hs_compression_is_on(const hs_compression_t *compression)
{
    return compression->preferred_count > 0;
}

/* Contexts for one thread; NULL: out of memory. */
HS_NODISCARD static inline hs_coders_t *hs_compression_coders(const hs_compression_t *compression)
{
    return hs_coders_new(compression->gzip_level, compression->br_level);
}

typedef struct hs_compression_choice {
    hs_coding_t coding; /* IDENTITY: it is not compressed */
    bool varies;        /* it depends on Accept-Encoding */
} hs_compression_choice_t;

/* For a response whose status and fields are complete, on any thread. `len`: of its content,
 * UINT64_MAX if unknown. */
hs_compression_choice_t hs_compression_choose(const hs_compression_t *compression,
                                              const hs_job_t *job, uint64_t len);

/* Writes the response's fields for this choice to `out`, replacing its content: Content-Encoding,
 * Vary, a weak ETag. False: out of memory. */
HS_NODISCARD bool hs_compression_put_fields(const hs_response_t *response,
                                            hs_compression_choice_t choice, hs_buf_t *out);

/*
 * Compresses the content of a complete response that is not streamed, on the thread that owns the
 * job. `most`: longer content is left to slices. Returns the coding for the slices; IDENTITY: the
 * response is ready to be sent.
 */
hs_coding_t hs_compression_apply(const hs_compression_t *compression, hs_coders_t *coders,
                                 hs_job_t *job, size_t most);
