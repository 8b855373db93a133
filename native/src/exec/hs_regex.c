#include "exec/hs_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>

#include "base/hs_alloc.h"

#define JIT_STACK_MIN ((size_t)32 * 1024)
#define JIT_STACK_MAX ((size_t)512 * 1024)
/* Of a DFA match: ints. */
#define DFA_WORKSPACE 1024

/* owner: as its hs_regexes_t */
typedef struct regex {
    hs_regex_t shared; /* first */
    pcre2_code *code;
    pcre2_match_data *data;
    const unsigned char *name_table;
    uint32_t name_size; /* bytes of an entry */
    bool is_dfa;
} regex_t;

static void *allocate(size_t size, void *context)
{
    (void)context;
    return hs_alloc(size);
}

static void release(void *memory, void *context)
{
    (void)context;
    hs_free(memory);
}

/* Creates the shared objects at first use. */
static bool prepare(hs_regexes_t *regexes)
{
    if (regexes->context != NULL)
        return true;
    pcre2_general_context *memory = pcre2_general_context_create(allocate, release, NULL);
    if (memory == NULL)
        return false;
    regexes->context = pcre2_match_context_create(memory);
    regexes->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, memory);
    pcre2_general_context_free(memory);
    if (regexes->context == NULL)
        return false;
    pcre2_set_match_limit(regexes->context, HS_REGEX_MATCH_LIMIT);
    pcre2_set_heap_limit(regexes->context, HS_REGEX_HEAP_LIMIT / 1024);
    if (regexes->stack != NULL)
        pcre2_jit_stack_assign(regexes->context, NULL, regexes->stack);
    return true;
}

void hs_regexes_free(hs_regexes_t *regexes)
{
    pcre2_match_context_free(regexes->context);
    pcre2_jit_stack_free(regexes->stack);
    *regexes = (hs_regexes_t){ .context = NULL };
}

typedef struct flags {
    uint32_t options;
    bool is_dfa;
    bool wants_jit;
} flags_t;

/* False: `flag` is unknown. */
static bool add_flag(flags_t *flags, char flag)
{
    switch (flag) {
    case 'a':
        flags->options |= PCRE2_ANCHORED;
        return true;
    case 'd':
        flags->is_dfa = true;
        return true;
    case 'D':
        flags->options |= PCRE2_DUPNAMES;
        return true;
    case 'i':
        flags->options |= PCRE2_CASELESS;
        return true;
    case 'j':
        flags->wants_jit = true;
        return true;
    case 'J':
        flags->options |= PCRE2_ALT_BSUX | PCRE2_ALLOW_EMPTY_CLASS | PCRE2_MATCH_UNSET_BACKREF;
        return true;
    case 'm':
        flags->options |= PCRE2_MULTILINE;
        return true;
    case 'o':
        return true;
    case 's':
        flags->options |= PCRE2_DOTALL;
        return true;
    case 'u':
        flags->options |= PCRE2_UTF;
        return true;
    case 'U': /* OpenResty does not check at all: bytes that are not UTF-8 would be undefined */
        flags->options |= PCRE2_UTF | PCRE2_MATCH_INVALID_UTF;
        return true;
    case 'x':
        flags->options |= PCRE2_EXTENDED;
        return true;
    default:
        return false;
    }
}

static bool read_flags(hs_regexes_t *regexes, flags_t *flags, const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (add_flag(flags, text[i]))
            continue;
        snprintf(regexes->failure, sizeof(regexes->failure), "unknown flag \"%c\" (flags \"%.*s\")",
                 text[i], (int)hs_min(count, (size_t)32), text);
        return false;
    }
    return true;
}

static pcre2_code *compile(hs_regexes_t *regexes, const char *pattern, size_t len, uint32_t options)
{
    if (len > HS_REGEX_PATTERN_MAX) {
        snprintf(regexes->failure, sizeof(regexes->failure),
                 "pcre_compile() failed: the pattern has more than %zu bytes",
                 HS_REGEX_PATTERN_MAX);
        return NULL;
    }
    int number;
    PCRE2_SIZE at;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, len, options, &number, &at, NULL);
    if (code != NULL)
        return code;
    PCRE2_UCHAR reason[128] = "unknown error";
    (void)pcre2_get_error_message(number, reason, sizeof(reason));
    at = hs_min(at, len);
    int shown = (int)hs_min(len, (size_t)40);
    if (at == len)
        snprintf(regexes->failure, sizeof(regexes->failure),
                 "pcre_compile() failed: %s in \"%.*s\"", (const char *)reason, shown, pattern);
    else
        snprintf(regexes->failure, sizeof(regexes->failure),
                 "pcre_compile() failed: %s in \"%.*s\" at \"%.*s\"", (const char *)reason, shown,
                 pattern, (int)hs_min(len - at, (size_t)40), pattern + at);
    return NULL;
}

hs_regex_t *hs_regex_new(hs_regexes_t *regexes, const char *pattern, size_t len, const char *flags,
                         size_t flag_count)
{
    flags_t wanted = { 0 };
    if (!read_flags(regexes, &wanted, flags, flag_count))
        return NULL;
    pcre2_code *code = compile(regexes, pattern, len, wanted.options);
    if (code == NULL)
        return NULL;
    regex_t *regex = hs_alloc_zeroed(1, sizeof(*regex));
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
    if (regex == NULL || data == NULL || !prepare(regexes)) {
        snprintf(regexes->failure, sizeof(regexes->failure), "no memory");
        pcre2_match_data_free(data);
        pcre2_code_free(code);
        hs_free(regex);
        return NULL;
    }
    if (wanted.wants_jit && !wanted.is_dfa)
        (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* interpreted without it */
    *regex = (regex_t){ .code = code, .data = data, .is_dfa = wanted.is_dfa };
    hs_regex_t *shared = &regex->shared;
    shared->offsets = pcre2_get_ovector_pointer(data);
    (void)pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &shared->captures);
    (void)pcre2_pattern_info(code, PCRE2_INFO_NAMECOUNT, &shared->names);
    (void)pcre2_pattern_info(code, PCRE2_INFO_NAMETABLE, (void *)&regex->name_table);
    (void)pcre2_pattern_info(code, PCRE2_INFO_NAMEENTRYSIZE, &regex->name_size);
    return shared;
}

void hs_regex_free(hs_regex_t *shared)
{
    regex_t *regex = (regex_t *)shared;
    if (regex == NULL)
        return;
    pcre2_match_data_free(regex->data);
    pcre2_code_free(regex->code);
    hs_free(regex);
}

int hs_regex_match(hs_regexes_t *regexes, hs_regex_t *shared, const char *subject, size_t len,
                   size_t at)
{
    regex_t *regex = (regex_t *)shared;
    PCRE2_SPTR text = (PCRE2_SPTR)subject;
    int result;
    if (regex->is_dfa) {
        int workspace[DFA_WORKSPACE];
        result = pcre2_dfa_match(regex->code, text, len, at, 0, regex->data, regexes->context,
                                 workspace, DFA_WORKSPACE);
        if (result >= 0)
            return 1; /* the longest; the others are not captures */
    } else {
        result = pcre2_match(regex->code, text, len, at, 0, regex->data, regexes->context);
    }
    return result == PCRE2_ERROR_NOMATCH ? 0 : result;
}

const char *hs_regex_name(const hs_regex_t *shared, uint32_t index, uint32_t *number)
{
    const regex_t *regex = (const regex_t *)shared;
    const unsigned char *entry = regex->name_table + (size_t)index * regex->name_size;
    *number = (uint32_t)entry[0] << 8 | entry[1];
    return (const char *)entry + 2;
}

const char *hs_regex_failure(const hs_regexes_t *regexes)
{
    return regexes->failure;
}
