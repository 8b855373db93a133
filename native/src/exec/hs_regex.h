/*
 * Regular expressions for Lua, using PCRE2, compiled to machine code where possible.
 *
 * A match is bounded: HS_REGEX_MATCH_LIMIT steps and HS_REGEX_HEAP_LIMIT bytes, after which it
 * fails. So catastrophic backtracking does not block a reactor.
 *
 * Thread: all regexes of one hs_regexes_t belong to one thread at a time.
 */
#pragma once

#include "exec/hs_lua_ngx_abi.h"

#define HS_REGEX_PATTERN_MAX ((size_t)64 * 1024) /* bytes */
#define HS_REGEX_MATCH_LIMIT 1000000
#define HS_REGEX_HEAP_LIMIT ((uint32_t)16 * 1024 * 1024) /* bytes */

/* Shared by the regexes of one Lua state. owner: its Lua state; created with the first regex. */
typedef struct hs_regexes {
    struct pcre2_real_match_context_8 *context;
    struct pcre2_real_jit_stack_8 *stack;
    char failure[256];
} hs_regexes_t;

/* After the last of its regexes. */
void hs_regexes_free(hs_regexes_t *regexes);

/*
 * Flags are those of ngx.re: a anchored, d DFA, D duplicate names, i caseless, j JIT, m multi-line,
 * s dot takes line breaks, u UTF-8 (checked), U UTF-8 (other bytes match nothing), x extended, J
 * JavaScript's meaning of \u and [], o no effect here. NULL: hs_regex_failure says why.
 */
HS_NODISCARD hs_regex_t *hs_regex_new(hs_regexes_t *regexes, const char *pattern, size_t len,
                                      const char *flags, size_t flag_count);
/* NULL is ignored. */
void hs_regex_free(hs_regex_t *regex);

/*
 * Searches `subject` from byte `at` on (earlier bytes count for look-behind and ^). The number of
 * pairs set in regex->offsets, the first for the whole match; an unset pair among them is SIZE_MAX.
 * 0: no match. Negative: PCRE2's error number (-47: the step limit).
 */
int hs_regex_match(hs_regexes_t *regexes, hs_regex_t *regex, const char *subject, size_t len,
                   size_t at);

/* The group names: `index` from 0, below regex->names. NUL-terminated. */
const char *hs_regex_name(const hs_regex_t *regex, uint32_t index, uint32_t *number);

/* Why the last hs_regex_new failed; valid until the next. */
const char *hs_regex_failure(const hs_regexes_t *regexes);
