#include "wire_doc.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "httpserver.h"
#include "server/hs_config.h"

#define RING_DEFAULT 64

/* One document while it is read. */
typedef struct reader {
    const char *file;
    unsigned line;
    wire_cases_t *cases;
    hs_limits_t file_limits;
    bool in_case;
    hs_buf_t *block; /* the block that lines go to, NULL outside */
    bool decode;     /* the block holds escapes */
    hs_buf_t responses;
} reader_t;

_Noreturn static void fail(const reader_t *reader, const char *sentence)
{
    fprintf(stderr, "%s:%u: %s\n", reader->file, reader->line, sentence);
    exit(1);
}

static void append(const reader_t *reader, hs_buf_t *to, const char *data, size_t len)
{
    if (!hs_buf_append(to, data, len))
        fail(reader, "out of memory");
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

/* One escape, `text` standing behind its backslash. The number of characters it took, 0 if bad. */
static size_t decode_escape(hs_buf_t *to, const char *text, size_t len)
{
    static const char letters[] = "rnt0\\";
    static const char bytes[] = "\r\n\t\0\\";
    const char *letter = len == 0 || text[0] == '\0' ? NULL : strchr(letters, text[0]);
    if (letter != NULL)
        return hs_buf_append(to, &bytes[letter - letters], 1) ? 1 : 0;
    if (len >= 3 && text[0] == 'x' && hex_digit(text[1]) >= 0 && hex_digit(text[2]) >= 0) {
        char byte = (char)(hex_digit(text[1]) * 16 + hex_digit(text[2]));
        return hs_buf_append(to, &byte, 1) ? 3 : 0;
    }
    /* \*12(text): the text twelve times. */
    if (len < 4 || text[0] != '*')
        return 0;
    char *open;
    unsigned long times = strtoul(text + 1, &open, 10);
    const char *close = *open == '(' ? memchr(open, ')', len - (size_t)(open - text)) : NULL;
    if (close == NULL)
        return 0;
    for (unsigned long i = 0; i < times; i++)
        if (!wire_doc_decode(to, open + 1, (size_t)(close - open - 1)))
            return 0;
    return (size_t)(close - text) + 1;
}

bool wire_doc_decode(hs_buf_t *to, const char *text, size_t len)
{
    size_t at = 0;
    while (at < len) {
        if (text[at] != '\\') {
            if (!hs_buf_append(to, text + at++, 1))
                return false;
            continue;
        }
        size_t taken = decode_escape(to, text + at + 1, len - at - 1);
        if (taken == 0)
            return false;
        at += taken + 1;
    }
    return true;
}

/* "--max-body 100 --max-headers 4": the options of the server that limit a message. */
static void read_options(const reader_t *reader, hs_limits_t *limits, const char *text)
{
    char name[32];
    unsigned value;
    int taken;
    for (; sscanf(text, " --%31s %u%n", name, &value, &taken) == 2; text += taken) {
        if (strcmp(name, "max-body") == 0)
            limits->max_body = value;
        else if (strcmp(name, "max-url") == 0)
            limits->max_url = value;
        else if (strcmp(name, "max-headers") == 0)
            limits->max_headers = value;
        else
            fail(reader, "an option that the runner does not know");
    }
    if (text[strspn(text, " ")] != '\0')
        fail(reader, "options are written: --name number");
}

static wire_case_t *current(const reader_t *reader)
{
    return &reader->cases->at[reader->cases->count - 1];
}

static void end_case(reader_t *reader)
{
    if (!reader->in_case)
        return;
    if (current(reader)->request.len == 0 || reader->responses.len == 0)
        fail(reader, "the case before this line has no request or no responses");
    append(reader, &reader->responses, "", 1);
    current(reader)->responses = reader->responses.data;
    reader->responses = (hs_buf_t){ 0 };
    reader->in_case = false;
}

static void begin_case(reader_t *reader, const char *title)
{
    wire_cases_t *cases = reader->cases;
    cases->at = hs_realloc(cases->at, (cases->count + 1) * sizeof(*cases->at));
    size_t size = strlen(reader->file) + strlen(title) + 3;
    char *name = hs_alloc(size);
    if (cases->at == NULL || name == NULL)
        fail(reader, "out of memory");
    const char *slash = strrchr(reader->file, '/');
    snprintf(name, size, "%s: %s", slash == NULL ? reader->file : slash + 1, title);
    cases->at[cases->count++] =
        (wire_case_t){ .name = name, .ring_min = RING_DEFAULT, .limits = reader->file_limits };
    reader->in_case = true;
}

static void read_fence(reader_t *reader, const char *info)
{
    if (!reader->in_case)
        fail(reader, "a block outside a case");
    reader->decode = strcmp(info, "request") == 0;
    if (!reader->decode && strcmp(info, "responses") != 0)
        fail(reader, "a block is a request or responses");
    reader->block = reader->decode ? &current(reader)->request : &reader->responses;
    if (reader->block->len > 0)
        fail(reader, "a case has one block of a kind");
}

static void read_line(reader_t *reader, const char *text)
{
    if (reader->block != NULL) {
        if (strncmp(text, "```", 3) == 0) {
            reader->block = NULL;
        } else if (!reader->decode) {
            append(reader, reader->block, text, strlen(text));
            append(reader, reader->block, "\n", 1);
        } else if (!wire_doc_decode(reader->block, text, strlen(text))) {
            fail(reader, "a bad escape");
        }
    } else if (strncmp(text, "```", 3) == 0) {
        read_fence(reader, text + 3);
    } else if (strncmp(text, "## ", 3) == 0) {
        end_case(reader);
        begin_case(reader, text + 3);
    } else if (strncmp(text, "Options: ", 9) == 0) {
        read_options(reader, reader->in_case ? &current(reader)->limits : &reader->file_limits,
                     text + 9);
    } else if (strncmp(text, "Ring: ", 6) == 0 && reader->in_case) {
        current(reader)->ring_min = (uint32_t)strtoul(text + 6, NULL, 10);
    }
}

static void read_file(wire_cases_t *cases, const char *path)
{
    hs_config_t config;
    hs_config_init(&config);
    reader_t reader = { .file = path, .cases = cases, .file_limits = hs_config_limits(&config) };
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail(&reader, "cannot be opened");
    char *text = NULL;
    size_t capacity = 0;
    ssize_t len;
    while ((len = getline(&text, &capacity, file)) >= 0) {
        reader.line++;
        text[strcspn(text, "\n")] = '\0';
        read_line(&reader, text);
    }
    end_case(&reader);
    if (reader.block != NULL)
        fail(&reader, "a block is not closed");
    hs_free(text);
    fclose(file);
}

static int is_document(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 3 && strcmp(entry->d_name + len - 3, ".md") == 0 &&
           strcmp(entry->d_name, "README.md") != 0;
}

wire_cases_t wire_doc_load(const char *directory)
{
    wire_cases_t cases = { 0 };
    struct dirent **entries;
    int count = scandir(directory, &entries, is_document, alphasort);
    for (int i = 0; i < count; i++) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
        read_file(&cases, path);
        hs_free(entries[i]);
    }
    if (count >= 0)
        hs_free(entries);
    return cases;
}

void wire_doc_free(wire_cases_t *cases)
{
    for (size_t i = 0; i < cases->count; i++) {
        hs_free(cases->at[i].name);
        hs_free(cases->at[i].responses);
        hs_buf_free(&cases->at[i].request);
    }
    hs_free(cases->at);
    *cases = (wire_cases_t){ 0 };
}
