#include "exec/hs_compression.h"

#include "base/hs_chars.h"
#include "http/hs_fields.h"
#include "http/hs_parse.h"
#include "http/hs_status.h"

static const char default_types[] = "text/*,application/json,application/javascript,"
                                    "application/xml,application/wasm,image/svg+xml,+json,+xml";

/* ---- Settings. ---- */

static bool add_coding(hs_compression_t *compression, hs_span_t name)
{
    for (hs_coding_t coding = HS_CODING_GZIP; coding <= HS_CODING_BR; coding++) {
        const char *known = hs_coding_name(coding);
        if (!hs_span_equals(name, hs_span(known, strlen(known))))
            continue;
        if ((compression->offered & HS_CODING_BIT(coding)) != 0)
            return false;
        compression->offered |= HS_CODING_BIT(coding);
        compression->preferred[compression->preferred_count++] = coding;
        return true;
    }
    return false;
}

/* A type, all of one kind ("text" and an asterisk), or a +suffix. */
static bool is_type(hs_span_t type)
{
    if (type.len > 1 && type.data[0] == '+')
        return hs_span_is_token(hs_span(type.data + 1, type.len - 1));
    const char *slash = type.len > 0 ? memchr(type.data, '/', type.len) : NULL;
    if (slash == NULL)
        return false;
    size_t before = (size_t)(slash - type.data);
    return hs_span_is_token(hs_span(type.data, before)) &&
           hs_span_is_token(hs_span(slash + 1, type.len - before - 1));
}

int hs_compression_init(hs_compression_t *compression, const hs_config_t *config,
                        hs_errinfo_t *error)
{
    *compression = (hs_compression_t){ .gzip_level = config->compress_gzip_level,
                                       .br_level = config->compress_br_level,
                                       .min_size = config->compress_min_size };
    hs_span_t element;
    const char *codings = config->compress != NULL ? config->compress : "";
    hs_span_t codings_left =
        codings[0] != '\0' ? hs_span(codings, strlen(codings)) : hs_span(NULL, 0);
    while (hs_fields_next_element(&codings_left, &element))
        if (!add_coding(compression, element))
            return hs_errinfo_set(error, HS_ERR_INVALID, 0,
                                  "compress \"%.64s\" is not a list of gzip and br", codings);
    if (config->compress_gzip_level < HS_GZIP_LEVEL_MIN ||
        config->compress_gzip_level > HS_GZIP_LEVEL_MAX)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "compress_gzip_level %d is not from 1 to 9",
                              config->compress_gzip_level);
    if (config->compress_br_level < HS_BR_LEVEL_MIN || config->compress_br_level > HS_BR_LEVEL_MAX)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "compress_br_level %d is not from 0 to 11",
                              config->compress_br_level);
    const char *types = config->compress_types != NULL ? config->compress_types : default_types;
    hs_span_t types_left = types[0] != '\0' ? hs_span(types, strlen(types)) : hs_span(NULL, 0);
    while (hs_fields_next_element(&types_left, &element))
        if (!is_type(element))
            return hs_errinfo_set(error, HS_ERR_INVALID, 0,
                                  "compress_types: \"%.*s\" is neither a media type nor type/* nor "
                                  "a +suffix",
                                  (int)hs_min(element.len, 64), element.data);
    size_t size = strlen(types) + 1;
    compression->types = hs_alloc(size);
    if (compression->types == NULL)
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for compress_types");
    memcpy(compression->types, types, size);
    return HS_OK;
}

void hs_compression_free(hs_compression_t *compression)
{
    hs_free(compression->types);
    compression->types = NULL;
}

/* ---- What the fields of a response say. ---- */

typedef struct facts {
    hs_span_t type; /* of Content-Type, without parameters */
    bool is_fixed;  /* it must stay as it is */
} facts_t;

/* The next line "Name: value\r\n"; false: there is none. */
static bool next_line(const hs_buf_t *fields, size_t *at, hs_span_t *name, hs_span_t *value)
{
    if (*at >= fields->len)
        return false;
    const char *line = fields->data + *at;
    const char *end = memchr(line, '\n', fields->len - *at);
    const char *colon = memchr(line, ':', (size_t)(end - line));
    *name = hs_span(line, (size_t)(colon - line));
    *value = hs_span_trim(hs_span(colon + 1, (size_t)(end - 1 - (colon + 1))));
    *at = (size_t)(end + 1 - fields->data);
    return true;
}

static bool has_element(hs_span_t list, hs_span_t wanted)
{
    hs_span_t element;
    while (hs_fields_next_element(&list, &element))
        if (hs_span_equals_nocase(element, wanted))
            return true;
    return false;
}

static facts_t facts_of(const hs_response_t *response)
{
    facts_t facts = { { NULL, 0 }, false };
    hs_span_t name, value;
    for (size_t at = 0; next_line(&response->fields, &at, &name, &value);) {
        if (hs_token_is(name, HS_SPAN_LITERAL("content-type"))) {
            const char *end = value.len > 0 ? memchr(value.data, ';', value.len) : NULL;
            size_t len = end != NULL ? (size_t)(end - value.data) : value.len;
            facts.type = hs_span_trim(hs_span(value.data, len));
        } else if (hs_token_is(name, HS_SPAN_LITERAL("content-encoding")) ||
                   hs_token_is(name, HS_SPAN_LITERAL("content-range"))) {
            facts.is_fixed = true;
        } else if (hs_token_is(name, HS_SPAN_LITERAL("cache-control"))) {
            facts.is_fixed |= has_element(value, HS_SPAN_LITERAL("no-transform"));
        }
    }
    return facts;
}

static bool matches(hs_span_t type, hs_span_t pattern)
{
    if (pattern.data[0] == '+')
        return type.len > pattern.len &&
               hs_span_equals_nocase(hs_span(type.data + type.len - pattern.len, pattern.len),
                                     pattern);
    if (pattern.data[pattern.len - 1] == '*')
        return type.len >= pattern.len &&
               hs_span_equals_nocase(hs_span(type.data, pattern.len - 1),
                                     hs_span(pattern.data, pattern.len - 1));
    return hs_span_equals_nocase(type, pattern);
}

static bool has_listed_type(const hs_compression_t *compression, hs_span_t type)
{
    hs_span_t list = hs_span(compression->types, strlen(compression->types));
    hs_span_t pattern;
    while (type.len > 0 && hs_fields_next_element(&list, &pattern))
        if (pattern.len > 0 && matches(type, pattern))
            return true;
    return false;
}

/* RFC 9110 §15.4.5: it has the validators and the Vary of the 200 that it stands for, whose length
 * and often type are not known here. Taken for compressed, its tag is weak, which fits both. */
static bool is_not_modified(const hs_response_t *response)
{
    return response->status == 304;
}

hs_compression_choice_t hs_compression_choose(const hs_compression_t *compression,
                                              const hs_job_t *job, uint64_t len)
{
    const hs_compression_choice_t as_it_is = { HS_CODING_IDENTITY, false };
    const hs_response_t *response = &job->response;
    const hs_msg_t *msg = &job->request.msg;
    bool stands_for_200 = is_not_modified(response);
    if (response->compress == HS_COMPRESS_NEVER || response->compress == HS_COMPRESS_DONE ||
        response->replaced || msg->minor_version == 0 || response->status == 205 ||
        response->status == 206 || (!hs_status_has_content(response->status) && !stands_for_200))
        return as_it_is;
    bool is_any = response->compress == HS_COMPRESS_ANY_TYPE;
    bool is_short = len == 0 || (len < compression->min_size && !is_any);
    if (is_short && !stands_for_200)
        return as_it_is;
    facts_t facts = facts_of(response);
    /* Compression would delay events. */
    bool is_events = hs_span_equals_nocase(facts.type, HS_SPAN_LITERAL("text/event-stream"));
    bool is_listed = is_any || has_listed_type(compression, facts.type) ||
                     (stands_for_200 && facts.type.len == 0);
    if (facts.is_fixed || is_events || !is_listed)
        return as_it_is;
    hs_coding_t coding = hs_accept_encoding_of(msg, compression->offered, compression->preferred,
                                               compression->preferred_count);
    return (hs_compression_choice_t){ coding, true };
}

/* ---- The fields of a compressed response. ---- */

static bool put(hs_buf_t *out, hs_span_t text)
{
    return hs_buf_append(out, text.data, text.len);
}

static bool put_line(hs_buf_t *out, hs_span_t name, const char *before, hs_span_t value,
                     const char *behind)
{
    return put(out, name) && put(out, HS_SPAN_LITERAL(": ")) &&
           put(out, hs_span(before, strlen(before))) && put(out, value) &&
           put(out, hs_span(behind, strlen(behind))) && put(out, HS_SPAN_LITERAL("\r\n"));
}

static bool is_strong(hs_span_t etag)
{
    return etag.len > 0 && etag.data[0] == '"';
}

bool hs_compression_put_fields(const hs_response_t *response, hs_compression_choice_t choice,
                               hs_buf_t *out)
{
    const hs_span_t accept = HS_SPAN_LITERAL("Accept-Encoding");
    bool is_coded = choice.coding != HS_CODING_IDENTITY;
    bool varies = false;
    bool is_put = true;
    hs_span_t name, value;
    out->len = 0;
    for (size_t at = 0; is_put && next_line(&response->fields, &at, &name, &value);) {
        const char *before = "";
        const char *behind = "";
        if (hs_token_is(name, HS_SPAN_LITERAL("vary")) && !varies) {
            varies = true;
            if (!has_element(value, accept) && !has_element(value, HS_SPAN_LITERAL("*")))
                behind = value.len > 0 ? ", Accept-Encoding" : "Accept-Encoding";
        } else if (is_coded && hs_token_is(name, HS_SPAN_LITERAL("etag")) && is_strong(value)) {
            before = "W/";
        }
        is_put = put_line(out, name, before, value, behind);
    }
    if (is_put && !varies)
        is_put = put_line(out, HS_SPAN_LITERAL("Vary"), "", accept, "");
    if (is_put && is_coded && !is_not_modified(response))
        is_put = put_line(out, HS_SPAN_LITERAL("Content-Encoding"), hs_coding_name(choice.coding),
                          hs_span("", 0), "");
    return is_put;
}

/* ---- Whole responses. ---- */

static void swap(hs_buf_t *a, hs_buf_t *b)
{
    hs_buf_t other = *a;
    *a = *b;
    *b = other;
}

hs_coding_t hs_compression_apply(const hs_compression_t *compression, hs_coders_t *coders,
                                 hs_job_t *job, size_t most)
{
    hs_response_t *response = &job->response;
    if (response->kind == HS_CONTENT_FILE)
        return HS_CODING_IDENTITY;
    hs_span_t content = response->kind == HS_CONTENT_PINNED
                            ? hs_span(response->content.data, response->content.len)
                            : hs_span(response->body.data, response->body.len);
    hs_compression_choice_t choice = hs_compression_choose(compression, job, content.len);
    if (!choice.varies)
        return HS_CODING_IDENTITY;
    bool is_coded = choice.coding != HS_CODING_IDENTITY && !is_not_modified(response);
    if (is_coded && content.len > most)
        return choice.coding;
    /* Without memory for either, the response stays uncompressed. */
    hs_buf_t *coded = hs_coders_buffer(coders, 0), *fields = hs_coders_buffer(coders, 1);
    if (is_coded && !hs_coders_code(coders, choice.coding, content, coded)) {
        choice.coding = HS_CODING_IDENTITY;
        is_coded = false;
    }
    if (hs_compression_put_fields(response, choice, fields)) {
        swap(&response->fields, fields);
        if (is_coded) {
            hs_res_release_content(response);
            swap(&response->body, coded);
        }
    }
    hs_buf_reset(coded, HS_JOB_KEEP_BYTES);
    hs_buf_reset(fields, HS_JOB_KEEP_BYTES);
    response->compress = HS_COMPRESS_DONE;
    return HS_CODING_IDENTITY;
}
