#include "wire_expect.h"

#include <stdio.h>
#include <stdlib.h>

#include "http/hs_status.h"
#include "wire_doc.h"

#define LINE_MAX_BYTES 1024

/* One response, as it was found in what the server sent. */
typedef struct response {
    int status;
    hs_span_t fields; /* lines with CRLF */
    long content_length;
    hs_span_t content;
} response_t;

typedef struct check {
    hs_span_t rest; /* what no line has accounted for */
    response_t response;
    char *why;
    size_t why_size;
    const char *line;
} check_t;

static bool wrong(check_t *check, const char *sentence)
{
    snprintf(check->why, check->why_size, "at \"%s\": %s", check->line, sentence);
    return false;
}

static void skip(hs_span_t *span, size_t len)
{
    *span = hs_span(span->data + len, span->len - len);
}

/* The value of the field `name`; data is NULL if there is none. */
static hs_span_t find_field(hs_span_t fields, hs_span_t name)
{
    while (fields.len > 0) {
        const char *end = memchr(fields.data, '\r', fields.len);
        size_t len = (size_t)(end - fields.data);
        if (len > name.len + 2 && hs_span_equals_nocase(hs_span(fields.data, name.len), name) &&
            memcmp(fields.data + name.len, ": ", 2) == 0)
            return hs_span(fields.data + name.len + 2, len - name.len - 2);
        skip(&fields, len + 2);
    }
    return hs_span(NULL, 0);
}

static bool take_head(check_t *check)
{
    response_t *response = &check->response;
    const char *end = memmem(check->rest.data, check->rest.len, "\r\n\r\n", 4);
    if (end == NULL)
        return wrong(check, check->rest.len == 0 ? "no response" : "a response without an end");
    hs_span_t head = hs_span(check->rest.data, (size_t)(end - check->rest.data) + 2);
    skip(&check->rest, head.len + 2);
    if (head.len < 15 || memcmp(head.data, "HTTP/1.1 ", 9) != 0)
        return wrong(check, "no status line");
    response->status = atoi(head.data + 9);
    hs_span_t line = hs_status_line(response->status);
    if (line.len > head.len || memcmp(line.data, head.data, line.len) != 0)
        return wrong(check, "an unusual status line");
    skip(&head, line.len);
    response->fields = head;
    hs_span_t length = find_field(head, HS_SPAN_LITERAL("Content-Length"));
    response->content_length = length.data == NULL ? -1 : strtol(length.data, NULL, 10);
    return true;
}

/* What holds for every response. */
static bool check_fields(check_t *check, bool is_last, wire_end_t end)
{
    const response_t *response = &check->response;
    if (response->status == 100)
        return response->fields.len == 0 || wrong(check, "an interim response with fields");
    hs_span_t date = find_field(response->fields, HS_SPAN_LITERAL("Date"));
    if (date.data == NULL || date.len != sizeof("Sun, 06 Nov 1994 08:49:37 GMT") - 1)
        return wrong(check, "no Date");
    bool has_length = response->status != 204 && response->status != 304;
    if (has_length != (response->content_length >= 0))
        return wrong(check, "Content-Length where it must not be, or none");
    hs_span_t connection = find_field(response->fields, HS_SPAN_LITERAL("Connection"));
    bool says_close = hs_span_equals_nocase(connection, HS_SPAN_LITERAL("close"));
    if (says_close != (is_last && end == WIRE_END_CLOSED))
        return wrong(check, says_close ? "Connection: close and no end"
                                       : "an end without Connection: close");
    return true;
}

static bool take_content(check_t *check, size_t len)
{
    if (len > check->rest.len)
        return wrong(check, "the content is cut short");
    check->response.content = hs_span(check->rest.data, len);
    skip(&check->rest, len);
    return true;
}

static bool equals(hs_span_t a, hs_span_t b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* "200 GET / 1.1 []", "204", "400", "200 bodiless 15", "200 size 70000". */
static bool check_response(check_t *check, const char *rest)
{
    int status = check->response.status;
    long announced = check->response.content_length;
    if (strncmp(rest, " bodiless ", 10) == 0)
        return announced == strtol(rest + 10, NULL, 10) || wrong(check, "another Content-Length");
    bool has_content = status >= 200 && hs_status_has_content(status);
    if (has_content && !take_content(check, (size_t)announced))
        return false;
    if (strncmp(rest, " size ", 6) == 0)
        return announced == strtol(rest + 6, NULL, 10) || wrong(check, "another size");
    hs_buf_t expected = { 0 };
    bool decoded = true;
    if (*rest == ' ')
        decoded = wire_doc_decode(&expected, rest + 1, strlen(rest + 1));
    else if (status >= 400)
        decoded =
            hs_buf_append(&expected, hs_status_reason(status), strlen(hs_status_reason(status))) &&
            hs_buf_append(&expected, "\n", 1);
    bool same = equals(check->response.content, hs_span(expected.data, expected.len));
    hs_buf_free(&expected);
    if (!decoded)
        return wrong(check, "a bad escape in the document");
    return same || wrong(check, "other content");
}

/* "+ Name: value" and "- Name" about the response before. */
static bool check_field_line(check_t *check, const char *line)
{
    hs_span_t fields = check->response.fields;
    if (line[0] == '-') {
        bool there = find_field(fields, hs_span(line + 2, strlen(line + 2))).data != NULL;
        return !there || wrong(check, "the field is there");
    }
    char text[LINE_MAX_BYTES];
    int len = snprintf(text, sizeof(text), "%s\r\n", line + 2);
    bool there = memmem(fields.data, fields.len, text, (size_t)len) != NULL;
    return there || wrong(check, "the field is not there");
}

static bool find_end(const char *responses, wire_end_t *end)
{
    static const char *const words[] = { "open\n", "waiting\n", "closed\n" };
    size_t len = strlen(responses);
    for (size_t i = 0; i < 3; i++) {
        size_t word_len = strlen(words[i]);
        if (len < word_len || strcmp(responses + len - word_len, words[i]) != 0)
            continue;
        *end = (wire_end_t)i;
        return true;
    }
    return false;
}

static bool is_interim_next(const check_t *check)
{
    static const char interim[] = "HTTP/1.1 100 ";
    return check->rest.len >= sizeof(interim) - 1 &&
           memcmp(check->rest.data, interim, sizeof(interim) - 1) == 0;
}

static bool check_line(check_t *check, const char *line, const char *following, wire_end_t end)
{
    check->line = line;
    if (line[0] == '+' || line[0] == '-')
        return check_field_line(check, line);
    if (strcmp(line, "100?") == 0)
        return !is_interim_next(check) || take_head(check);
    check->response = (response_t){ 0 };
    if (!take_head(check))
        return false;
    if (check->response.status != atoi(line))
        return wrong(check, "another status");
    while (following[0] == '+' || following[0] == '-')
        following += strcspn(following, "\n") + 1;
    bool is_last = following[0] < '0' || following[0] > '9';
    return check_fields(check, is_last, end) && check_response(check, line + 3);
}

bool wire_expect(const char *responses, const char *first, hs_span_t got, wire_end_t *end,
                 char *why, size_t why_size)
{
    check_t check = { .rest = got, .why = why, .why_size = why_size, .line = "the block" };
    if (!find_end(responses, end))
        return wrong(&check, "it ends neither with open nor waiting nor closed");
    char line[LINE_MAX_BYTES];
    if (first != NULL) {
        snprintf(line, sizeof(line), "200 %s", first);
        if (!check_line(&check, line, "200", *end))
            return false;
    }
    const char *at = responses;
    for (;;) {
        size_t len = strcspn(at, "\n");
        if (len >= sizeof(line))
            return wrong(&check, "a line that is too long");
        memcpy(line, at, len);
        line[len] = '\0';
        at += len + 1;
        if (*at == '\0')
            break;
        if (!check_line(&check, line, at, *end))
            return false;
    }
    check.line = line;
    return check.rest.len == 0 || wrong(&check, "more was sent");
}
