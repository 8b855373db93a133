/*
 * libFuzzer target: regular expressions. The first two bytes choose flags, the third where the
 * pattern ends and the subject begins. Offsets must be within the subject.
 */
#include <stdio.h>
#include <stdlib.h>

#include "exec/hs_regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Larger ones find nothing more, but are slow. */
#define PATTERN_MAX 64
#define SUBJECT_MAX 64

static void check(bool holds, const char *rule)
{
    if (holds)
        return;
    fprintf(stderr, "broken: %s\n", rule);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char names[] = "adDijJmosuUx";
    char flags[sizeof(names)];
    size_t flag_count = 0;
    if (size < 3)
        return 0;
    unsigned chosen = data[0] | (unsigned)data[1] << 8;
    for (size_t i = 0; i < sizeof(names) - 1; i++)
        if (chosen >> i & 1)
            flags[flag_count++] = names[i];
    const char *text = (const char *)data + 3;
    size -= 3;
    size_t len = hs_min(hs_min((size_t)data[2] % PATTERN_MAX, size), (size_t)PATTERN_MAX);
    size_t subject_len = hs_min(size - len, (size_t)SUBJECT_MAX);
    hs_regexes_t regexes = { .context = NULL };
    hs_regex_t *regex = hs_regex_new(&regexes, text, len, flags, flag_count);
    if (regex != NULL) {
        int count = hs_regex_match(&regexes, regex, text + len, subject_len, 0);
        check(count <= (int)regex->captures + 1, "no more pairs than groups");
        for (int i = 0; i < 2 * count; i++)
            check(regex->offsets[i] <= subject_len || regex->offsets[i] == SIZE_MAX,
                  "offsets are inside");
        hs_regex_free(regex);
    }
    hs_regexes_free(&regexes);
    return 0;
}
