#include "wire_app.h"

#include <stdio.h>
#include <stdlib.h>

#include "data/hs_buf.h"

static void put(hs_buf_t *text, const char *data, size_t len)
{
    if (!hs_buf_append(text, data, len))
        abort();
}

static void put_text(hs_buf_t *text, const char *string)
{
    put(text, string, strlen(string));
}

/* "POST /path 1.1 [content]", and for ?show=Name also " Name=[value]" or " Name=none". */
static void describe(const hs_request_t *request, hs_buf_t *text)
{
    size_t content_len;
    const char *content = hs_req_body(request, &content_len);
    put_text(text, hs_req_method_str(request));
    put_text(text, " ");
    put_text(text, hs_req_url(request));
    put_text(text, " ");
    put_text(text, hs_req_http_version(request));
    put_text(text, " [");
    put(text, content, content_len);
    put_text(text, "]");
    const char *shown = strstr(hs_req_url(request), "?show=");
    if (shown == NULL)
        return;
    const char *name = shown + strlen("?show=");
    const char *value = hs_req_header(request, name);
    put_text(text, " ");
    put_text(text, name);
    put_text(text, value == NULL ? "=none" : "=[");
    put_text(text, value == NULL ? "" : value);
    put_text(text, value == NULL ? "" : "]");
}

static void respond_large(hs_response_t *response, size_t size)
{
    char *content = malloc(size + 1);
    if (content == NULL)
        abort();
    memset(content, 'x', size);
    hs_res_body(response, content, size);
    free(content);
}

static void add_fields(hs_response_t *response, unsigned count)
{
    char name[16];
    char value[16];
    for (unsigned number = 1; number <= count; number++) {
        snprintf(name, sizeof(name), "X-%u", number);
        snprintf(value, sizeof(value), "%u", number);
        hs_res_header(response, name, value);
    }
}

void wire_app(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)user_data;
    const char *url = hs_req_url(request);
    int status;
    unsigned size;
    if (strcmp(url, "/nothing") == 0)
        return;
    if (sscanf(url, "/large/%u", &size) == 1) {
        respond_large(response, size);
        hs_res_send(response);
        return;
    }
    if (sscanf(url, "/status/%d", &status) == 1)
        hs_res_status(response, status);
    if (strcmp(url, "/close") == 0)
        hs_res_header(response, "Connection", "close");
    if (sscanf(url, "/fields/%u", &size) == 1)
        add_fields(response, size);
    if (strcmp(url, "/cookies") == 0) {
        hs_res_header(response, "Set-Cookie", "a=1");
        hs_res_header(response, "Set-Cookie", "b=2");
    }
    hs_buf_t text = { 0 };
    describe(request, &text);
    hs_res_body(response, text.data, text.len);
    hs_res_send(response);
    hs_buf_free(&text);
}
