#include "http/hs_parse.h"

#include "base/hs_chars.h"
#include "http/hs_fields.h"
#include "http/hs_target.h"

/*
 * The bytes of a chunked message that are not content: at most HS_PARSE_FRAMING_MAX for extensions,
 * trailers and padding, plus a size of 8 digits and two line ends per chunk. More is an attack.
 */
#define HS_PARSE_FRAMING_MAX 8192
#define HS_PARSE_FRAMING_PER_CHUNK 12
/* A longer method is 501 before its line ends: RFC 9112 §3. */
#define METHOD_MAX 32

static hs_parse_t *parse_of(llhttp_t *llhttp)
{
    return HS_CONTAINER_OF(llhttp, hs_parse_t, llhttp);
}

static uint32_t offset_of(const hs_parse_t *parse, const char *at)
{
    return (uint32_t)(uintptr_t)at - parse->origin;
}

/* Stops llhttp; execute() returns the outcome. */
static int refuse(hs_parse_t *parse, hs_parse_outcome_t refusal)
{
    parse->refusal = refusal;
    return HPE_USER;
}

/* llhttp also knows the methods of RTSP. PRI begins the preface of HTTP/2. */
static bool has_method_of_http(const llhttp_t *llhttp)
{
#define METHOD_BIT(number, name, string) | UINT64_C(1) << (number)
    const uint64_t methods = UINT64_C(1) << HTTP_PRI HTTP_METHOD_MAP(METHOD_BIT);
#undef METHOD_BIT
    return (methods >> llhttp->method & 1) != 0;
}

static int on_url(llhttp_t *llhttp, const char *at, size_t len)
{
    hs_parse_t *parse = parse_of(llhttp);
    hs_msg_t *msg = parse->msg;
    if (HS_LIKELY(msg->url_len == 0)) {
        msg->url_at = offset_of(parse, at);
        if (HS_UNLIKELY(!has_method_of_http(llhttp))) {
            parse->unknown_method = true;
            return HPE_USER;
        }
    }
    const char *end = at + len;
    msg->url_len = offset_of(parse, end) - msg->url_at;
    if (HS_UNLIKELY(msg->url_len > parse->shared->limits->max_url))
        return refuse(parse, HS_PARSE_URI_TOO_LONG);
    /* A line that ends after the target is HTTP/0.9: the client sends nothing more. */
    if (HS_LIKELY(end == parse->segment_end || *end == ' '))
        return 0;
    return *end == '\r' || *end == '\n' ? refuse(parse, HS_PARSE_VERSION_UNSUPPORTED) : 0;
}

static int on_name(llhttp_t *llhttp, const char *at, size_t len)
{
    hs_parse_t *parse = parse_of(llhttp);
    hs_msg_t *msg = parse->msg;
    hs_field_t *field = &msg->fields[msg->field_count];
    if (HS_UNLIKELY(parse->in_name)) {
        field[-1].name_len += (uint32_t)len;
        return 0;
    }
    if (HS_UNLIKELY(msg->field_count == msg->field_cap))
        return refuse(parse, HS_PARSE_FIELDS_TOO_LARGE);
    *field = (hs_field_t){ .name_at = offset_of(parse, at), .name_len = (uint32_t)len };
    msg->field_count++;
    parse->in_name = true;
    return 0;
}

/* llhttp passes trailing white space of a piece of a value, which is part of the value only if more
 * follows: the value ends at its last byte that is not white space. */
static int on_value(llhttp_t *llhttp, const char *at, size_t len)
{
    hs_parse_t *parse = parse_of(llhttp);
    HS_ASSERT(parse->msg->field_count > 0);
    hs_field_t *field = &parse->msg->fields[parse->msg->field_count - 1];
    parse->in_name = false;
    while (len > 0 && (unsigned char)at[len - 1] <= ' ') /* SP or HTAB: llhttp accepts no other */
        len--;
    if (HS_UNLIKELY(len == 0))
        return 0;
    uint32_t value_at = offset_of(parse, at);
    uint32_t value_end = value_at + (uint32_t)len;
    if (HS_LIKELY(field->value_len == 0))
        field->value_at = value_at;
    field->value_len = value_end - field->value_at;
    return 0;
}

static int on_extension_word(llhttp_t *llhttp, const char *at, size_t len)
{
    (void)at;
    hs_parse_t *parse = parse_of(llhttp);
    parse->in_extension_word = parse->in_extension_word || len > 0;
    return 0;
}

/* llhttp accepts an extension without a name, and one without the value that `=` announces. */
static int on_extension_word_end(llhttp_t *llhttp)
{
    hs_parse_t *parse = parse_of(llhttp);
    bool has_text = parse->in_extension_word;
    parse->in_extension_word = false;
    return has_text ? 0 : refuse(parse, HS_PARSE_BAD_REQUEST);
}

/* How many more bytes of content are allowed. */
static uint64_t content_allowed(const hs_parse_t *parse)
{
    return parse->shared->limits->max_body - parse->content_taken - parse->content->len;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t len)
{
    hs_parse_t *parse = parse_of(llhttp);
    if (len > content_allowed(parse))
        return refuse(parse, HS_PARSE_CONTENT_TOO_LARGE);
    if (!hs_buf_append(parse->content, at, len))
        return refuse(parse, HS_PARSE_OUT_OF_MEMORY);
    return 0;
}

/* A chunk over the limit is refused as soon as its size is known. */
static int on_chunk_header(llhttp_t *llhttp)
{
    hs_parse_t *parse = parse_of(llhttp);
    parse->framing_allowed += HS_PARSE_FRAMING_PER_CHUNK;
    if (llhttp->content_length > content_allowed(parse))
        return refuse(parse, HS_PARSE_CONTENT_TOO_LARGE);
    return 0;
}

static int pause(llhttp_t *llhttp)
{
    (void)llhttp;
    return HPE_PAUSED;
}

static const llhttp_settings_t head_settings = {
    .on_url = on_url,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = pause,
};

/* Trailers are checked by llhttp and dropped. */
static const llhttp_settings_t content_settings = {
    .on_body = on_body,
    .on_chunk_header = on_chunk_header,
    .on_chunk_extension_name = on_extension_word,
    .on_chunk_extension_name_complete = on_extension_word_end,
    .on_chunk_extension_value = on_extension_word,
    .on_chunk_extension_value_complete = on_extension_word_end,
    .on_message_complete = pause,
};

void hs_parse_shared_init(hs_parse_shared_t *shared, const hs_limits_t *limits)
{
    *shared = (hs_parse_shared_t){ .limits = limits };
    llhttp_init(&shared->initial, HTTP_REQUEST, &head_settings);
}

void hs_parse_begin(hs_parse_t *parse, hs_parse_shared_t *shared, hs_msg_t *msg)
{
    parse->llhttp = shared->initial;
    parse->shared = shared;
    parse->msg = msg;
    parse->offset = 0;
    parse->line_at = 0;
    parse->in_name = false;
    parse->content_taken = 0;
    parse->in_content = false;
    parse->unknown_method = false;
    parse->in_extension_word = false;
    parse->refusal = HS_PARSE_BAD_REQUEST;
    msg->url_at = 0;
    msg->url_len = 0;
    msg->field_count = 0;
    msg->body = hs_span("", 0);
}

/* llhttp stops after an unknown version, at a malformed version, and at bytes between a version and
 * the end of its line: only the first is 505. */
static hs_parse_outcome_t outcome_of_version(const hs_parse_t *parse)
{
    uint32_t line_end = parse->msg->url_at + parse->msg->url_len + sizeof(" HTTP/1.1") - 1;
    bool complete = parse->msg->url_len > 0 && parse->offset == line_end;
    bool served = parse->llhttp.http_major == 1 && parse->llhttp.http_minor <= 1;
    return complete && !served ? HS_PARSE_VERSION_UNSUPPORTED : HS_PARSE_BAD_REQUEST;
}

/*
 * Maps a result of llhttp. Our callbacks pause it when the head or the content is complete. Every
 * code is listed, so that the compiler warns about one that a newer llhttp adds.
 */
static HS_NOINLINE hs_parse_outcome_t outcome_of(const hs_parse_t *parse, llhttp_errno_t code)
{
    switch (code) {
    case HPE_OK:
        return HS_PARSE_NEED_MORE;
    case HPE_PAUSED:
        return HS_PARSE_COMPLETE;
    case HPE_USER: /* refuse() was called for a span; by the callbacks below */
    case HPE_CB_CHUNK_HEADER:
    case HPE_CB_CHUNK_EXTENSION_NAME_COMPLETE:
    case HPE_CB_CHUNK_EXTENSION_VALUE_COMPLETE:
        return parse->refusal;
    case HPE_PAUSED_UPGRADE:
        return HS_PARSE_NOT_IMPLEMENTED;
    case HPE_PAUSED_H2_UPGRADE:
        return HS_PARSE_VERSION_UNSUPPORTED;
    case HPE_INVALID_VERSION:
        return outcome_of_version(parse);
    case HPE_INTERNAL:
    case HPE_STRICT:
    case HPE_CR_EXPECTED:
    case HPE_LF_EXPECTED:
    case HPE_UNEXPECTED_CONTENT_LENGTH:
    case HPE_UNEXPECTED_SPACE:
    case HPE_CLOSED_CONNECTION:
    case HPE_INVALID_METHOD:
    case HPE_INVALID_URL:
    case HPE_INVALID_CONSTANT:
    case HPE_INVALID_HEADER_TOKEN:
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_INVALID_CHUNK_SIZE:
    case HPE_INVALID_STATUS:
    case HPE_INVALID_EOF_STATE:
    case HPE_INVALID_TRANSFER_ENCODING:
    case HPE_CB_MESSAGE_BEGIN:
    case HPE_CB_HEADERS_COMPLETE:
    case HPE_CB_MESSAGE_COMPLETE:
    case HPE_CB_CHUNK_COMPLETE:
    case HPE_CB_URL_COMPLETE:
    case HPE_CB_STATUS_COMPLETE:
    case HPE_CB_METHOD_COMPLETE:
    case HPE_CB_VERSION_COMPLETE:
    case HPE_CB_HEADER_FIELD_COMPLETE:
    case HPE_CB_HEADER_VALUE_COMPLETE:
    case HPE_CB_RESET:
#if LLHTTP_VERSION_MINOR >= 3
    case HPE_CB_PROTOCOL_COMPLETE:
#endif
        return HS_PARSE_BAD_REQUEST;
    }
    return HS_PARSE_BAD_REQUEST;
}

static HS_ALWAYS_INLINE hs_parse_outcome_t execute(hs_parse_t *parse, const char *data, size_t len,
                                                   size_t *taken)
{
    parse->segment_end = data + len;
    parse->origin = (uint32_t)(uintptr_t)data - parse->offset;
    llhttp_errno_t code = llhttp_execute(&parse->llhttp, data, len);
    *taken = code == HPE_OK ? len : (size_t)(parse->llhttp.error_pos - data);
    parse->offset += (uint32_t)*taken;
    return HS_LIKELY(code == HPE_PAUSED) ? HS_PARSE_COMPLETE : outcome_of(parse, code);
}

/* RFC 9112 §2.2: one empty line before the request line is ignored. HS_PARSE_COMPLETE: the request
 * line begins at data[*taken]. */
static HS_NOINLINE hs_parse_outcome_t skip_empty_line(hs_parse_t *parse, const char *data,
                                                      size_t len, size_t *taken)
{
    while (*taken < len && parse->line_at < 2 && data[*taken] == "\r\n"[parse->line_at]) {
        parse->line_at++;
        parse->offset++;
        (*taken)++;
    }
    if (*taken == len)
        return HS_PARSE_NEED_MORE;
    bool is_line_end = data[*taken] == '\r' || data[*taken] == '\n';
    return parse->line_at == 1 || is_line_end ? HS_PARSE_BAD_REQUEST : HS_PARSE_COMPLETE;
}

static void take_head(hs_parse_t *parse)
{
    const llhttp_t *llhttp = &parse->llhttp;
    hs_msg_t *msg = parse->msg;
    msg->head_len = parse->offset;
    msg->method = llhttp->method;
    msg->minor_version = llhttp->http_minor;
    msg->chunked = (llhttp->flags & F_CHUNKED) != 0;
    msg->content_length = llhttp->content_length; /* 0 without the field */
    msg->keep_alive = false;
    msg->asks_upgrade = llhttp->upgrade != 0;
}

/* Whether `c` may be the byte at this distance after a target. */
static bool fits_behind_target(uint32_t at, char c)
{
    bool digit_expected = at == 6 || at == 8;
    return digit_expected ? c >= '0' && c <= '9' : c == " HTTP/1.1\r\n"[at];
}

/*
 * The request line of a method that llhttp does not know, or that belongs to another protocol:
 * finds the target and the end of the line for hs_parse_check. The bytes of the method that llhttp
 * has consumed are characters of a token.
 */
static HS_NOINLINE hs_parse_outcome_t scan_unknown_method(hs_parse_t *parse, const char *data,
                                                          size_t len, size_t *taken)
{
    hs_msg_t *msg = parse->msg;
    while (*taken < len) {
        char c = data[*taken];
        uint32_t at = parse->offset;
        if (msg->url_at == 0) {
            uint32_t method_len = at - parse->line_at;
            if (c == ' ' && method_len > 0)
                msg->url_at = at + 1;
            else if (!hs_char_is_token[(unsigned char)c])
                return HS_PARSE_BAD_REQUEST;
            else if (method_len >= METHOD_MAX)
                return HS_PARSE_NOT_IMPLEMENTED;
        } else if (at == msg->url_at + msg->url_len && hs_char_is_target[(unsigned char)c]) {
            msg->url_len++;
            if (msg->url_len > parse->shared->limits->max_url)
                return HS_PARSE_URI_TOO_LONG;
        } else if (msg->url_len == 0 || !fits_behind_target(at - msg->url_at - msg->url_len, c)) {
            return HS_PARSE_BAD_REQUEST;
        }
        (*taken)++;
        parse->offset++;
        if (c == '\n') {
            take_head(parse);
            return HS_PARSE_COMPLETE;
        }
    }
    return HS_PARSE_NEED_MORE;
}

/* Whether llhttp stopped because the method is not one of HTTP. With a method of another protocol
 * it has consumed bytes of the target (on_url stopped it, or a bad byte before on_url was called):
 * then url_at is set to where the target has to begin. */
static HS_NOINLINE bool stopped_at_method(hs_parse_t *parse)
{
    llhttp_t *llhttp = &parse->llhttp;
    llhttp_errno_t code = llhttp_get_errno(llhttp);
    bool at_target = parse->unknown_method || code == HPE_INVALID_URL;
    if (at_target && !has_method_of_http(llhttp)) {
        const char *method = llhttp_method_name((llhttp_method_t)llhttp->method);
        parse->msg->url_at = parse->line_at + (uint32_t)strlen(method) + 1;
        parse->unknown_method = true;
    }
    parse->unknown_method |= code == HPE_INVALID_METHOD;
    return parse->unknown_method;
}

/* llhttp has taken `executed` bytes, the last of `*taken`, and the head is not complete. */
static HS_NOINLINE hs_parse_outcome_t stopped_in_head(hs_parse_t *parse, const char *data,
                                                      size_t len, size_t *taken, size_t executed,
                                                      hs_parse_outcome_t outcome)
{
    if (!stopped_at_method(parse))
        return outcome;
    if (parse->msg->url_at > 0) { /* go back to the beginning of the target */
        uint32_t back = parse->offset - parse->msg->url_at;
        if (back > executed) /* more than one space before it */
            return HS_PARSE_BAD_REQUEST;
        *taken -= back;
        parse->offset -= back;
    }
    return scan_unknown_method(parse, data, len, taken);
}

/* The next bytes of a head, or bytes that cannot start one. */
static HS_NOINLINE hs_parse_outcome_t go_on_with_head(hs_parse_t *parse, const char *data,
                                                      size_t len, size_t *taken)
{
    hs_parse_outcome_t outcome;
    size_t skipped = 0;
    *taken = 0;
    if (parse->offset == parse->line_at) {
        outcome = skip_empty_line(parse, data, len, taken);
        if (outcome != HS_PARSE_COMPLETE)
            return outcome;
        skipped = *taken;
    }
    if (parse->unknown_method)
        return scan_unknown_method(parse, data, len, taken);
    size_t executed;
    outcome = execute(parse, data + skipped, len - skipped, &executed);
    *taken = skipped + executed;
    if (outcome != HS_PARSE_COMPLETE)
        return stopped_in_head(parse, data, len, taken, executed, outcome);
    take_head(parse);
    return outcome;
}

hs_parse_outcome_t hs_parse_head(hs_parse_t *parse, const char *data, size_t len, size_t *taken)
{
    bool begins = parse->offset == 0 && len > 0 && data[0] > '\r';
    if (HS_UNLIKELY(!begins))
        return go_on_with_head(parse, data, len, taken);
    hs_parse_outcome_t outcome = execute(parse, data, len, taken);
    if (HS_UNLIKELY(outcome != HS_PARSE_COMPLETE))
        return stopped_in_head(parse, data, len, taken, *taken, outcome);
    take_head(parse);
    return outcome;
}

/* RFC 9110 §9.1, §15.6.2: 501 if the rest of the request line is one. */
static HS_NOINLINE hs_parse_outcome_t check_unknown_method(const hs_msg_t *msg)
{
    hs_parse_outcome_t outcome = hs_target_check_form(msg, true);
    return outcome == HS_PARSE_COMPLETE ? HS_PARSE_NOT_IMPLEMENTED : outcome;
}

hs_parse_outcome_t hs_parse_check(hs_parse_t *parse)
{
    const llhttp_t *llhttp = &parse->llhttp;
    hs_msg_t *msg = parse->msg;
    HS_ASSERT(msg->base != NULL);
    hs_parse_outcome_t outcome = hs_target_check_line(msg);
    if (HS_UNLIKELY(outcome != HS_PARSE_COMPLETE))
        return outcome;
    if (HS_UNLIKELY(parse->unknown_method))
        return check_unknown_method(msg);
    if (HS_UNLIKELY(llhttp->http_major != 1 || msg->minor_version > 1))
        return HS_PARSE_VERSION_UNSUPPORTED;
    if (HS_UNLIKELY(msg->method == HTTP_CONNECT))
        return HS_PARSE_NOT_IMPLEMENTED;
    outcome = hs_target_check_form(msg, msg->method == HTTP_OPTIONS);
    if (HS_UNLIKELY(outcome != HS_PARSE_COMPLETE))
        return outcome;
    outcome =
        hs_fields_check(msg, (llhttp->flags & F_CONTENT_LENGTH) != 0, &parse->shared->last_host);
    bool too_large = msg->content_length > parse->shared->limits->max_body;
    return HS_UNLIKELY(too_large && outcome == HS_PARSE_COMPLETE) ? HS_PARSE_CONTENT_TOO_LARGE
                                                                  : outcome;
}

hs_parse_outcome_t hs_parse_chunked(hs_parse_t *parse, hs_buf_t *content, const char *data,
                                    size_t len, size_t *taken)
{
    HS_ASSERT(parse->msg->chunked);
    if (!parse->in_content) {
        parse->in_content = true;
        parse->in_extension_word = false;
        parse->framing = 0;
        parse->framing_allowed = HS_PARSE_FRAMING_MAX;
        parse->llhttp.settings = (void *)(uintptr_t)&content_settings;
        llhttp_resume(&parse->llhttp);
    }
    parse->content = content;
    size_t content_before = content->len;
    hs_parse_outcome_t outcome = execute(parse, data, len, taken);
    parse->framing += *taken - (content->len - content_before);
    bool excessive = parse->framing > parse->framing_allowed;
    return excessive && outcome <= HS_PARSE_COMPLETE ? HS_PARSE_FIELDS_TOO_LARGE : outcome;
}

bool hs_parse_is_head(const hs_parse_t *parse)
{
    return parse->llhttp.method == HTTP_HEAD && !parse->unknown_method;
}

const char *hs_parse_method_name(unsigned method)
{
    switch (method) {
#define HS_METHOD_CASE(number, name, string)                                                       \
    case number:                                                                                   \
        return #string;
        HTTP_METHOD_MAP(HS_METHOD_CASE)
#undef HS_METHOD_CASE
    default:
        return NULL;
    }
}

#define HS_STRINGIFY_VALUE(value) #value
#define HS_STRINGIFY(macro) HS_STRINGIFY_VALUE(macro)

const char *hs_parse_library_version(void)
{
    return HS_STRINGIFY(LLHTTP_VERSION_MAJOR) "." HS_STRINGIFY(
        LLHTTP_VERSION_MINOR) "." HS_STRINGIFY(LLHTTP_VERSION_PATCH);
}

const void *hs_parse_library_address(void)
{
    return (const void *)(uintptr_t)llhttp_execute;
}
