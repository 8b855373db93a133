/* From paths of URLs to names of files, and from names to media types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/hs_file_path.h"
#include "http/hs_mime.h"

/* The name, or "refused" or "malformed" in brackets. The text is in an allocation of its exact
 * size. */
static const char *decode(const char *text, size_t len, bool hides)
{
    static hs_file_path_t path;
    char *copy = malloc(len + 1);
    memcpy(copy, text, len);
    char *exact = realloc(copy, len > 0 ? len : 1);
    hs_file_path_outcome_t outcome = hs_file_path_decode(hs_span(exact, len), hides, &path);
    free(exact);
    switch (outcome) {
    case HS_FILE_PATH_OK:
        return path.name;
    case HS_FILE_PATH_MALFORMED:
        return "(malformed)";
    case HS_FILE_PATH_REFUSED:
        return "(refused)";
    }
    return "";
}

#define DECODE(text) decode(text, sizeof(text) - 1, true)

static void segments_are_decoded(void **state)
{
    (void)state;
    assert_string_equal(DECODE("a/b.txt"), "a/b.txt");
    assert_string_equal(DECODE("/a//b///c"), "a/b/c");
    assert_string_equal(DECODE("a/"), "a");
    assert_string_equal(DECODE(""), "");
    assert_string_equal(DECODE("/"), "");
    assert_string_equal(DECODE("a%20b+c%C3%a4"), "a b+c\xC3\xA4");
    assert_string_equal(DECODE("100%25"), "100%");
    assert_string_equal(DECODE("a\\b"), "a\\b");
    assert_string_equal(DECODE("..."), "(refused)"); /* begins with a dot */
    assert_string_equal(DECODE("a..b/c."), "a..b/c.");
}

static void nothing_leads_out_of_the_directory(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "..",          "../a",       "a/../b",   "a/..",       ".",
        "./a",         "a/./b",      "%2e%2e/a", "%2E%2e",     ".%2e/a",
        "%2e./a",      "a/%2e%2e/b", "a%2fb",    "a%2Fb",      "%2e%2e%2fetc",
        "..%2f..%2fa", "%2f",        "a/%2e",    "a%2f..%2fb", "/../../etc/passwd",
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        assert_string_equal(decode(refused[i], strlen(refused[i]), true), "(refused)");
        assert_string_equal(decode(refused[i], strlen(refused[i]), false), "(refused)");
    }
    /* Decoded once: the result is a name. */
    assert_string_equal(DECODE("%252e%252e/a"), "%2e%2e/a");
}

static void what_cannot_be_decoded_is_malformed(void **state)
{
    (void)state;
    static const char *const malformed[] = { "%",   "%2",   "a%",      "%zz", "%2g/a",
                                             "%00", "a%00", "a/%00/b", "%-1", "%+1" };
    for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
        assert_string_equal(decode(malformed[i], strlen(malformed[i]), true), "(malformed)");
    assert_string_equal(decode("a\0b", 3, true), "(malformed)");
}

static void dotfiles_are_hidden_unless_asked_for(void **state)
{
    (void)state;
    assert_string_equal(DECODE(".git/config"), "(refused)");
    assert_string_equal(DECODE("a/.htpasswd"), "(refused)");
    assert_string_equal(DECODE("%2egit/config"), "(refused)");
    assert_string_equal(decode("a/.b", 4, false), "a/.b");
    assert_string_equal(DECODE(".well-known/acme-challenge/x"), ".well-known/acme-challenge/x");
    assert_string_equal(DECODE("a/.well-known/x"), "(refused)");
}

static void long_names_are_refused(void **state)
{
    (void)state;
    static char text[HS_FILE_PATH_MAX + 2];
    memset(text, 'a', sizeof(text));
    assert_int_equal(strlen(decode(text, HS_FILE_PATH_MAX - 1, true)), HS_FILE_PATH_MAX - 1);
    assert_string_equal(decode(text, HS_FILE_PATH_MAX, true), "(refused)");
    text[HS_FILE_PATH_MAX - 1] = '/';
    assert_string_equal(decode(text, HS_FILE_PATH_MAX + 1, true), "(refused)");
}

static const char *type_of(const char *path)
{
    const hs_mime_type_t *found = hs_mime_of_path(hs_span(path, strlen(path)));
    return found != NULL ? found->type : "";
}

static void extensions_have_media_types(void **state)
{
    (void)state;
    assert_true(hs_mime_count > 1000);
    for (size_t i = 1; i < hs_mime_count; i++)
        assert_true(strcmp(hs_mime_types[i - 1].extension, hs_mime_types[i].extension) < 0);
    for (size_t i = 0; i < hs_mime_count; i++) {
        char name[64];
        snprintf(name, sizeof(name), "x.%s", hs_mime_types[i].extension);
        assert_string_equal(type_of(name), hs_mime_types[i].type);
    }
    assert_string_equal(type_of("index.html"), "text/html");
    assert_string_equal(type_of("a/b.min.JS"), "text/javascript");
    assert_string_equal(type_of("a.css"), "text/css");
    assert_string_equal(type_of("a.png"), "image/png");
    assert_string_equal(type_of("a.wasm"), "application/wasm");
    assert_string_equal(type_of("a.d/b"), "");
    assert_string_equal(type_of("html"), "");
    assert_string_equal(type_of("a."), "");
    assert_string_equal(type_of(""), "");
    assert_string_equal(type_of("a.nosuchextensioniskeptanywhereatall"), "");
    assert_true(hs_mime_of_path(HS_SPAN_LITERAL("a.html"))->is_utf8);
    assert_true(hs_mime_of_path(HS_SPAN_LITERAL("a.svg"))->is_compressible);
    assert_false(hs_mime_of_path(HS_SPAN_LITERAL("a.jpg"))->is_compressible);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments_are_decoded),
        cmocka_unit_test(nothing_leads_out_of_the_directory),
        cmocka_unit_test(what_cannot_be_decoded_is_malformed),
        cmocka_unit_test(dotfiles_are_hidden_unless_asked_for),
        cmocka_unit_test(long_names_are_refused),
        cmocka_unit_test(extensions_have_media_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
