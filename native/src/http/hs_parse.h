/*
 * Parses requests: llhttp behind a small, pure interface. No allocation, no system call, no
 * dispatch: the caller acts on the outcome.
 *
 * A message is parsed in two steps. hs_parse_head consumes bytes up to the empty line and fills an
 * hs_msg_t. Then comes the content: with Content-Length the caller counts bytes itself; chunked
 * content goes through hs_parse_chunked. After a refusal nothing that follows on the connection may
 * be parsed.
 */
#pragma once

#include <llhttp.h>

#include "base/hs_limits.h"
#include "data/hs_buf.h"
#include "http/hs_host.h"
#include "http/hs_msg.h"
#include "http/hs_outcome.h"

/* Shared by the parsers of one loop. owner: its thread */
typedef struct hs_parse_shared {
    const hs_limits_t *limits;
    llhttp_t initial; /* as set by llhttp_init: copying it costs less than calling that */
    hs_host_memo_t last_host;
} hs_parse_shared_t;

typedef struct hs_parse {
    llhttp_t llhttp;
    hs_parse_shared_t *shared;
    hs_msg_t *msg;
    const char *segment_end; /* end of the bytes being parsed */
    uint32_t origin;  /* address of the bytes minus their offset in the message, modulo 2^32 */
    uint32_t offset;  /* of the next byte in the message */
    uint32_t line_at; /* where the request line begins: after an empty line that is ignored */
    bool in_name;     /* the last field's name may continue in the next bytes */
    bool in_content;
    bool
        unknown_method; /* not a method of HTTP: the rest of its line decides between 400 and 501 */
    bool in_extension_word;     /* a name or value of a chunk extension has begun */
    hs_parse_outcome_t refusal; /* why a callback stopped llhttp */
    hs_buf_t *content;          /* where chunked content goes */
    uint64_t content_taken;     /* decoded content already taken out of `content` by the caller */
    uint64_t framing;           /* bytes of a chunked message that are not content … */
    uint64_t framing_allowed;   /* … and how many are allowed so far */
} hs_parse_t;

/* `limits` must outlive it. */
void hs_parse_shared_init(hs_parse_shared_t *shared, const hs_limits_t *limits);

/* Prepares for the first byte of a message. `shared` and `msg` must outlive the parsing. */
void hs_parse_begin(hs_parse_t *parse, hs_parse_shared_t *shared, hs_msg_t *msg);

/*
 * Parses the next `len` bytes of a head; `*taken` is how many belong to it. On HS_PARSE_COMPLETE
 * all of `msg` except `base` and `body` is set; the caller sets `base` and calls hs_parse_check.
 * With an unknown method the head is complete after its request line.
 */
HS_NODISCARD hs_parse_outcome_t hs_parse_head(hs_parse_t *parse, const char *data, size_t len,
                                              size_t *taken);

/* Checks what llhttp does not: the exact request line, Host, framing, Expect. HS_PARSE_COMPLETE or
 * a refusal. */
HS_NODISCARD hs_parse_outcome_t hs_parse_check(hs_parse_t *parse);

/* Parses the next bytes of chunked content and appends the decoded bytes to `content`. */
HS_NODISCARD hs_parse_outcome_t hs_parse_chunked(hs_parse_t *parse, hs_buf_t *content,
                                                 const char *data, size_t len, size_t *taken);

/* The caller has taken the content: empties `content`, which still counts towards the limit. */
static inline void hs_parse_content_taken(hs_parse_t *parse, hs_buf_t *content)
{
    parse->content_taken += content->len;
    content->len = 0;
}

/* True if the request is known to be a HEAD: no response to it has content, errors included. */
bool hs_parse_is_head(const hs_parse_t *parse);

/* "GET" for llhttp's number; NULL for a number it does not know. */
const char *hs_parse_method_name(unsigned method);

/* "9.2.1": the llhttp that this was compiled with. A static string. */
const char *hs_parse_library_version(void);

/* The address of llhttp_execute, to check that it is in our own binary. */
const void *hs_parse_library_address(void);
