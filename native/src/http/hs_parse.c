#include "http/hs_parse.h"

#include "http/hs_fields.h"

/*
 * What a chunked message may spend on everything but content: so much in all for extensions,
 * trailers and padding, and for each chunk a size of 8 digits and two line ends. More is an attack.
 */
#define HS_PARSE_FRAMING_MAX 8192
#define HS_PARSE_FRAMING_PER_CHUNK 12

static hs_parse_t *parse_of(llhttp_t *llhttp)
{
    return HS_CONTAINER_OF(llhttp, hs_parse_t, llhttp);
}

static uint32_t offset_of(const hs_parse_t *parse, const char *at)
{
    return parse->offset + (uint32_t)(at - parse->segment);
}

/* Makes llhttp stop; the outcome is picked up where llhttp_execute returns. */
static int refuse(hs_parse_t *parse, hs_parse_outcome_t refusal)
{
    parse->refusal = refusal;
    return HPE_USER;
}

static int on_url(llhttp_t *llhttp, const char *at, size_t len)
{
    hs_parse_t *parse = parse_of(llhttp);
    hs_msg_t *msg = parse->msg;
    if (msg->url_len == 0)
        msg->url_at = offset_of(parse, at);
    msg->url_len = offset_of(parse, at) + (uint32_t)len - msg->url_at;
    return msg->url_len > parse->limits->max_url ? refuse(parse, HS_PARSE_URI_TOO_LONG) : 0;
}

static int on_name(llhttp_t *llhttp, const char *at, size_t len)
{
    hs_parse_t *parse = parse_of(llhttp);
    if (parse->in_content)
        return 0; /* a trailer is dropped */
    hs_msg_t *msg = parse->msg;
    if (parse->last != HS_PARSE_LAST_NAME) {
        if (msg->field_count == msg->field_cap)
            return refuse(parse, HS_PARSE_FIELDS_TOO_LARGE);
        msg->fields[msg->field_count++] = (hs_field_t){ .name_at = offset_of(parse, at) };
        parse->last = HS_PARSE_LAST_NAME;
    }
    msg->fields[msg->field_count - 1].name_len += (uint32_t)len;
    return 0;
}

static int on_value(llhttp_t *llhttp, const char *at, size_t len)
{
    hs_parse_t *parse = parse_of(llhttp);
    if (parse->in_content)
        return 0; /* a trailer is dropped */
    HS_ASSERT(parse->msg->field_count > 0);
    hs_field_t *field = &parse->msg->fields[parse->msg->field_count - 1];
    if (parse->last != HS_PARSE_LAST_VALUE) {
        field->value_at = offset_of(parse, at);
        parse->last = HS_PARSE_LAST_VALUE;
    }
    field->value_len = offset_of(parse, at) + (uint32_t)len - field->value_at;
    return 0;
}

static int on_body(llhttp_t *llhttp, const char *at, size_t len)
{
    hs_parse_t *parse = parse_of(llhttp);
    if (len > parse->limits->max_body - parse->content->len)
        return refuse(parse, HS_PARSE_CONTENT_TOO_LARGE);
    if (!hs_buf_append(parse->content, at, len))
        return refuse(parse, HS_PARSE_OUT_OF_MEMORY);
    return 0;
}

/* A chunk that cannot fit is refused when its size is known, not when its bytes have come. */
static int on_chunk_header(llhttp_t *llhttp)
{
    hs_parse_t *parse = parse_of(llhttp);
    parse->framing_allowed += HS_PARSE_FRAMING_PER_CHUNK;
    if (llhttp->content_length > parse->limits->max_body - parse->content->len)
        return refuse(parse, HS_PARSE_CONTENT_TOO_LARGE);
    return 0;
}

static int pause(llhttp_t *llhttp)
{
    (void)llhttp;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = pause,
    .on_body = on_body,
    .on_chunk_header = on_chunk_header,
    .on_message_complete = pause,
};

void hs_parse_begin(hs_parse_t *parse, const hs_limits_t *limits, hs_msg_t *msg)
{
    llhttp_init(&parse->llhttp, HTTP_REQUEST, &settings);
    parse->limits = limits;
    parse->msg = msg;
    parse->offset = 0;
    parse->framing = 0;
    parse->framing_allowed = HS_PARSE_FRAMING_MAX;
    parse->last = HS_PARSE_LAST_NONE;
    parse->in_content = false;
    parse->refusal = HS_PARSE_BAD_REQUEST;
    msg->url_at = 0;
    msg->url_len = 0;
    msg->field_count = 0;
    msg->body = hs_span("", 0);
}

static bool is_later_version(const llhttp_t *llhttp)
{
    return llhttp->http_major > 1 || (llhttp->http_major == 1 && llhttp->http_minor > 1);
}

/*
 * What an llhttp result means. Pauses are ours: the head or the content is complete. Every code
 * that llhttp may return is named, so that a new one is a compiler warning and not a surprise.
 */
static hs_parse_outcome_t outcome_of(const hs_parse_t *parse, llhttp_errno_t code)
{
    switch (code) {
    case HPE_OK:
        return HS_PARSE_NEED_MORE;
    case HPE_PAUSED:
        return HS_PARSE_COMPLETE;
    case HPE_USER:
        return parse->refusal;
    case HPE_PAUSED_UPGRADE:
        return HS_PARSE_NOT_IMPLEMENTED;
    case HPE_PAUSED_H2_UPGRADE:
        return HS_PARSE_VERSION_UNSUPPORTED;
    case HPE_INVALID_VERSION:
        /* Also what llhttp says of anything but CR LF behind a version that it knows. */
        return is_later_version(&parse->llhttp) ? HS_PARSE_VERSION_UNSUPPORTED
                                                : HS_PARSE_BAD_REQUEST;
    case HPE_CB_CHUNK_HEADER: /* what HPE_USER becomes in this callback */
        return parse->refusal;
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
    case HPE_CB_CHUNK_EXTENSION_NAME_COMPLETE:
    case HPE_CB_CHUNK_EXTENSION_VALUE_COMPLETE:
    case HPE_CB_RESET:
        return HS_PARSE_BAD_REQUEST;
    }
    return HS_PARSE_BAD_REQUEST;
}

static hs_parse_outcome_t execute(hs_parse_t *parse, const char *data, size_t len, size_t *taken)
{
    parse->segment = data;
    llhttp_errno_t code = llhttp_execute(&parse->llhttp, data, len);
    *taken = code == HPE_OK ? len : (size_t)(llhttp_get_error_pos(&parse->llhttp) - data);
    parse->offset += (uint32_t)*taken;
    return outcome_of(parse, code);
}

hs_parse_outcome_t hs_parse_head(hs_parse_t *parse, const char *data, size_t len, size_t *taken)
{
    hs_parse_outcome_t outcome = execute(parse, data, len, taken);
    if (outcome != HS_PARSE_COMPLETE)
        return outcome;
    const llhttp_t *llhttp = &parse->llhttp;
    hs_msg_t *msg = parse->msg;
    msg->head_len = parse->offset;
    msg->method = llhttp->method;
    msg->minor_version = llhttp->http_minor;
    msg->chunked = (llhttp->flags & F_CHUNKED) != 0;
    msg->content_length = (llhttp->flags & F_CONTENT_LENGTH) ? llhttp->content_length : 0;
    msg->keep_alive = (llhttp->flags & F_CONNECTION_CLOSE) == 0 &&
                      (llhttp->http_minor == 1 || (llhttp->flags & F_CONNECTION_KEEP_ALIVE) != 0);
    return HS_PARSE_COMPLETE;
}

/* llhttp takes "RTSP/1.0" and "ICE/1.0" too, and any number of spaces in front: RFC 9112 §3. */
static bool speaks_http(const hs_msg_t *msg)
{
    const hs_span_t protocol = HS_SPAN_LITERAL(" HTTP/");
    return memcmp(msg->base + msg->url_at + msg->url_len, protocol.data, protocol.len) == 0;
}

hs_parse_outcome_t hs_parse_check(hs_parse_t *parse)
{
    hs_msg_t *msg = parse->msg;
    HS_ASSERT(msg->base != NULL);
    if (parse->llhttp.http_major != 1 || msg->minor_version > 1)
        return HS_PARSE_VERSION_UNSUPPORTED;
    if (!speaks_http(msg))
        return HS_PARSE_BAD_REQUEST;
    if (msg->method == HTTP_CONNECT)
        return HS_PARSE_NOT_IMPLEMENTED;
    hs_parse_outcome_t outcome =
        hs_fields_check(msg, (parse->llhttp.flags & F_CONTENT_LENGTH) != 0);
    if (outcome == HS_PARSE_COMPLETE && msg->content_length > parse->limits->max_body)
        return HS_PARSE_CONTENT_TOO_LARGE;
    return outcome;
}

hs_parse_outcome_t hs_parse_chunked(hs_parse_t *parse, hs_buf_t *content, const char *data,
                                    size_t len, size_t *taken)
{
    HS_ASSERT(parse->msg->chunked);
    if (!parse->in_content) {
        parse->in_content = true;
        llhttp_resume(&parse->llhttp);
    }
    parse->content = content;
    size_t content_before = content->len;
    hs_parse_outcome_t outcome = execute(parse, data, len, taken);
    parse->framing += *taken - (content->len - content_before);
    bool excessive = parse->framing > parse->framing_allowed;
    return excessive && outcome <= HS_PARSE_COMPLETE ? HS_PARSE_FIELDS_TOO_LARGE : outcome;
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
