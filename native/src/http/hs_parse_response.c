#include "http/hs_parse_response.h"

#include "base/hs_chars.h"
#include "http/hs_fields.h"

/* The most memory that an idle parser keeps. */
#define HEAD_KEPT 4096
#define JOINED_KEPT 16384

/* Bytes passed to llhttp at once, so that counts between two checks fit 32 bits. */
#define PIECE_MAX (1u << 30)

#define STATUS_LINE_LEN (sizeof("HTTP/1.1 200") - 1) /* without the reason */

static hs_parse_response_t *parse_of(llhttp_t *llhttp)
{
    return HS_CONTAINER_OF(llhttp, hs_parse_response_t, llhttp);
}

/* Stops llhttp; execute() returns the outcome. */
static int refuse(hs_parse_response_t *parse, hs_response_outcome_t refusal)
{
    parse->refusal = refusal;
    return HPE_USER;
}

static int pause(llhttp_t *llhttp)
{
    (void)llhttp;
    return HPE_PAUSED;
}

/* The first piece of content is not copied; only if a second one follows are they joined. */
static int on_body(llhttp_t *llhttp, const char *at, size_t len)
{
    hs_parse_response_t *parse = parse_of(llhttp);
    if (parse->content.len == 0) {
        parse->content = hs_span(at, len);
        return 0;
    }
    if (parse->joined.len == 0 &&
        !hs_buf_append(&parse->joined, parse->content.data, parse->content.len))
        return refuse(parse, HS_RESPONSE_OUT_OF_MEMORY);
    if (!hs_buf_append(&parse->joined, at, len))
        return refuse(parse, HS_RESPONSE_OUT_OF_MEMORY);
    parse->content = hs_span(parse->joined.data, parse->joined.len);
    return 0;
}

/* Stops at the end of each chunk's first line, so that the bytes up to there can be counted. */
static int on_chunk_header(llhttp_t *llhttp)
{
    parse_of(llhttp)->at_chunk = true;
    return HPE_PAUSED;
}

static int on_extension_word(llhttp_t *llhttp, const char *at, size_t len)
{
    (void)at;
    hs_parse_response_t *parse = parse_of(llhttp);
    parse->in_extension_word = parse->in_extension_word || len > 0;
    return 0;
}

/* llhttp accepts an extension without a name, and one without the value that `=` announces. */
static int on_extension_word_end(llhttp_t *llhttp)
{
    hs_parse_response_t *parse = parse_of(llhttp);
    bool has_text = parse->in_extension_word;
    parse->in_extension_word = false;
    return has_text ? 0 : refuse(parse, HS_RESPONSE_MALFORMED);
}

static const llhttp_settings_t head_settings = {
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

void hs_parse_response_init(hs_parse_response_t *parse)
{
    *parse = (hs_parse_response_t){ .phase = HS_RESPONSE_OVER };
}

void hs_parse_response_free(hs_parse_response_t *parse)
{
    hs_buf_free(&parse->head);
    hs_buf_free(&parse->joined);
}

static void begin_head(hs_parse_response_t *parse)
{
    llhttp_init(&parse->llhttp, HTTP_RESPONSE, &head_settings);
    parse->phase = HS_RESPONSE_IN_HEAD;
    hs_buf_reset(&parse->head, HEAD_KEPT);
}

void hs_parse_response_begin(hs_parse_response_t *parse, bool to_head)
{
    begin_head(parse);
    hs_buf_reset(&parse->joined, JOINED_KEPT);
    parse->refusal = HS_RESPONSE_MALFORMED;
    parse->to_head = to_head;
    parse->keep_alive = false;
    parse->in_extension_word = false;
    parse->status = 0;
    parse->interim_count = 0;
    parse->head_taken = 0;
    parse->content_length = HS_RESPONSE_LENGTH_UNKNOWN;
    parse->remaining = 0;
    parse->at_chunk = false;
    parse->framing = 0;
    parse->framing_excess = 0;
    parse->content = hs_span("", 0);
}

/* Every code is listed, so that the compiler warns about one that a newer llhttp adds. */
static HS_NOINLINE hs_response_outcome_t outcome_of(const hs_parse_response_t *parse,
                                                    llhttp_errno_t code)
{
    switch (code) {
    case HPE_OK:
        return HS_RESPONSE_NEED_MORE;
    case HPE_PAUSED:
        return HS_RESPONSE_COMPLETE;
    case HPE_USER: /* refuse() was called for a span; by the callbacks below */
    case HPE_CB_CHUNK_EXTENSION_NAME_COMPLETE:
    case HPE_CB_CHUNK_EXTENSION_VALUE_COMPLETE:
        return parse->refusal;
    case HPE_PAUSED_UPGRADE:
        return HS_RESPONSE_UPGRADED;
    case HPE_INVALID_VERSION:
        return HS_RESPONSE_VERSION_UNSUPPORTED;
    case HPE_UNEXPECTED_CONTENT_LENGTH:
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_INVALID_TRANSFER_ENCODING:
        return HS_RESPONSE_BAD_LENGTH;
    case HPE_PAUSED_H2_UPGRADE:
    case HPE_INTERNAL:
    case HPE_STRICT:
    case HPE_CR_EXPECTED:
    case HPE_LF_EXPECTED:
    case HPE_UNEXPECTED_SPACE:
    case HPE_CLOSED_CONNECTION:
    case HPE_INVALID_METHOD:
    case HPE_INVALID_URL:
    case HPE_INVALID_CONSTANT:
    case HPE_INVALID_HEADER_TOKEN:
    case HPE_INVALID_CHUNK_SIZE:
    case HPE_INVALID_STATUS:
    case HPE_INVALID_EOF_STATE:
    case HPE_CB_MESSAGE_BEGIN:
    case HPE_CB_CHUNK_HEADER:
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
        return HS_RESPONSE_MALFORMED;
    }
    return HS_RESPONSE_MALFORMED;
}

static hs_response_outcome_t execute(hs_parse_response_t *parse, const char *data, size_t len,
                                     size_t *taken)
{
    llhttp_errno_t code = llhttp_execute(&parse->llhttp, data, len);
    *taken = code == HPE_OK ? len : (size_t)(parse->llhttp.error_pos - data);
    return outcome_of(parse, code);
}

/* What the head's fields say about content and connection. */
typedef struct head_facts {
    unsigned transfer_encodings;
    hs_parse_outcome_t coding; /* of the last Transfer-Encoding */
    bool close;
    bool keep_alive;
} head_facts_t;

static void note_field(head_facts_t *facts, hs_span_t name, hs_span_t value)
{
    if (hs_span_equals(name, HS_SPAN_LITERAL("transfer-encoding"))) {
        facts->transfer_encodings++;
        facts->coding = hs_fields_check_codings(value);
    } else if (hs_span_equals(name, HS_SPAN_LITERAL("connection"))) {
        hs_span_t option;
        while (hs_fields_next_element(&value, &option)) {
            facts->close |= hs_span_equals_nocase(option, HS_SPAN_LITERAL("close"));
            facts->keep_alive |= hs_span_equals_nocase(option, HS_SPAN_LITERAL("keep-alive"));
        }
    }
}

/* The line at the start of `*text`, which is advanced past it. Only CR LF ends a line. */
static bool take_line(hs_span_t *text, hs_span_t *line)
{
    const char *end = memchr(text->data, '\n', text->len);
    if (end == NULL || end == text->data || end[-1] != '\r')
        return false;
    *line = hs_span(text->data, (size_t)(end - text->data) - 1);
    *text = hs_span(end + 1, text->len - line->len - 2);
    return true;
}

/* "HTTP/1.1 200 OK"; without a reason the space after the status is often missing. */
static hs_response_outcome_t check_status_line(const hs_parse_response_t *parse, hs_span_t line)
{
    if (parse->llhttp.http_major != 1 || parse->llhttp.http_minor > 1)
        return HS_RESPONSE_VERSION_UNSUPPORTED;
    bool fits = line.len >= STATUS_LINE_LEN && memcmp(line.data, "HTTP/1.", 7) == 0;
    if (!fits || line.data[8] != ' ' || parse->llhttp.status_code < 100)
        return HS_RESPONSE_MALFORMED;
    if (line.len > STATUS_LINE_LEN && line.data[STATUS_LINE_LEN] != ' ')
        return HS_RESPONSE_MALFORMED;
    return hs_span_is_field_value(line) ? HS_RESPONSE_COMPLETE : HS_RESPONSE_MALFORMED;
}

/* Rewrites the lines of the head to the format of `head`, which never needs more room, and
 * evaluates the fields. All are checked again: what llhttp considers one line is one line here.
 */
static hs_response_outcome_t rewrite_head(hs_parse_response_t *parse, head_facts_t *facts)
{
    hs_span_t text = hs_span(parse->head.data, parse->head.len);
    hs_span_t line;
    if (!take_line(&text, &line))
        return HS_RESPONSE_MALFORMED;
    hs_response_outcome_t outcome = check_status_line(parse, line);
    if (outcome != HS_RESPONSE_COMPLETE)
        return outcome;
    size_t reason_at = hs_min(line.len, STATUS_LINE_LEN + 1);
    char *to = parse->head.data;
    memmove(to, line.data + reason_at, line.len - reason_at);
    to += line.len - reason_at;
    *to++ = '\n';
    unsigned count = 0;
    while (take_line(&text, &line) && line.len > 0) {
        const char *colon = memchr(line.data, ':', line.len);
        if (colon == NULL)
            return HS_RESPONSE_MALFORMED;
        hs_span_t name = hs_span(line.data, (size_t)(colon - line.data));
        hs_span_t value = hs_span_trim(hs_span(colon + 1, line.len - name.len - 1));
        if (!hs_span_is_token(name) || !hs_span_is_field_value(value))
            return HS_RESPONSE_MALFORMED;
        if (++count > HS_RESPONSE_FIELDS_MAX)
            return HS_RESPONSE_HEAD_TOO_LARGE;
        char *name_to = to;
        for (size_t i = 0; i < name.len; i++)
            *to++ = hs_ascii_lower(name.data[i]);
        *to++ = ':';
        memmove(to, value.data, value.len);
        note_field(facts, hs_span(name_to, name.len), hs_span(to, value.len));
        to += value.len;
        *to++ = '\n';
    }
    parse->head.len = (size_t)(to - parse->head.data);
    return text.len == 0 ? HS_RESPONSE_COMPLETE : HS_RESPONSE_MALFORMED;
}

/* RFC 9112 §6.1, §6.3: where the content ends. */
static hs_response_outcome_t frame_content(hs_parse_response_t *parse, const head_facts_t *facts)
{
    const llhttp_t *llhttp = &parse->llhttp;
    bool has_length = (llhttp->flags & F_CONTENT_LENGTH) != 0;
    if (facts->transfer_encodings > 0) {
        if (has_length || facts->transfer_encodings > 1 || llhttp->http_minor == 0)
            return HS_RESPONSE_BAD_LENGTH;
        if (facts->coding != HS_PARSE_COMPLETE)
            return HS_RESPONSE_CODING_UNSUPPORTED;
        if ((llhttp->flags & F_CHUNKED) == 0) /* llhttp decodes it, so it must agree */
            return HS_RESPONSE_CODING_UNSUPPORTED;
    }
    if (has_length)
        parse->content_length = llhttp->content_length;
    if (parse->to_head || parse->status == 204 || parse->status == 304) {
        parse->phase = HS_RESPONSE_OVER;
    } else if (facts->transfer_encodings > 0) {
        parse->phase = HS_RESPONSE_IN_CHUNKS;
        parse->llhttp.settings = (void *)(uintptr_t)&content_settings;
        llhttp_resume(&parse->llhttp);
    } else if (has_length) {
        parse->remaining = parse->content_length;
        parse->phase = parse->remaining > 0 ? HS_RESPONSE_IN_LENGTH : HS_RESPONSE_OVER;
    } else {
        parse->phase = HS_RESPONSE_IN_REST;
        parse->keep_alive = false;
    }
    return HS_RESPONSE_HEAD;
}

/* The head is complete. HS_RESPONSE_NEED_MORE: it was an informational one. */
static hs_response_outcome_t take_head(hs_parse_response_t *parse)
{
    head_facts_t facts = { 0 };
    hs_response_outcome_t outcome = rewrite_head(parse, &facts);
    if (outcome != HS_RESPONSE_COMPLETE)
        return outcome;
    parse->status = parse->llhttp.status_code;
    if (parse->status == 101)
        return HS_RESPONSE_UPGRADED;
    if (parse->status >= 200) {
        bool stays = parse->llhttp.http_minor == 1 || facts.keep_alive;
        parse->keep_alive = stays && !facts.close; /* RFC 9112 §9.3 */
        return frame_content(parse, &facts);
    }
    if (++parse->interim_count > HS_RESPONSE_INTERIM_MAX)
        return HS_RESPONSE_TOO_MANY_INTERIM;
    begin_head(parse);
    return HS_RESPONSE_NEED_MORE;
}

/* The next bytes of one head. HS_RESPONSE_NEED_MORE with bytes left: another head follows. */
static hs_response_outcome_t parse_head(hs_parse_response_t *parse, const char *data, size_t len,
                                        size_t *taken)
{
    *taken = 0;
    /* llhttp skips empty lines, which no server sends. */
    if (parse->head.len == 0 && data[0] != 'H')
        return HS_RESPONSE_MALFORMED;
    size_t allowed = HS_RESPONSE_HEAD_MAX - parse->head_taken;
    hs_response_outcome_t outcome = execute(parse, data, hs_min(len, allowed), taken);
    parse->head_taken += (uint32_t)*taken;
    if (outcome > HS_RESPONSE_COMPLETE)
        return outcome;
    if (!hs_buf_append(&parse->head, data, *taken))
        return HS_RESPONSE_OUT_OF_MEMORY;
    if (outcome == HS_RESPONSE_COMPLETE)
        return take_head(parse);
    return len > allowed ? HS_RESPONSE_HEAD_TOO_LARGE : HS_RESPONSE_NEED_MORE;
}

static hs_response_outcome_t parse_heads(hs_parse_response_t *parse, const char *data, size_t len,
                                         size_t *taken)
{
    hs_response_outcome_t outcome = HS_RESPONSE_NEED_MORE;
    *taken = 0;
    while (outcome == HS_RESPONSE_NEED_MORE && *taken < len) {
        size_t of_one;
        outcome = parse_head(parse, data + *taken, len - *taken, &of_one);
        *taken += of_one;
    }
    return outcome;
}

static hs_response_outcome_t parse_length(hs_parse_response_t *parse, const char *data, size_t len,
                                          size_t *taken)
{
    *taken = len < parse->remaining ? len : (size_t)parse->remaining;
    parse->content = hs_span(data, *taken);
    parse->remaining -= *taken;
    return parse->remaining > 0 ? HS_RESPONSE_NEED_MORE : HS_RESPONSE_COMPLETE;
}

/* Framing bytes since the last chunk's first line, beyond what a chunk needs. */
static uint32_t excess_of(const hs_parse_response_t *parse)
{
    uint32_t needed = HS_RESPONSE_FRAMING_PER_CHUNK;
    return parse->framing > needed ? parse->framing - needed : 0;
}

static hs_response_outcome_t parse_chunks(hs_parse_response_t *parse, const char *data, size_t len,
                                          size_t *taken)
{
    hs_response_outcome_t outcome;
    parse->joined.len = 0;
    *taken = 0;
    do {
        size_t content_before = parse->content.len;
        size_t executed;
        parse->at_chunk = false;
        outcome = execute(parse, data + *taken, hs_min(len - *taken, PIECE_MAX), &executed);
        *taken += executed;
        parse->framing += (uint32_t)(executed - (parse->content.len - content_before));
        if (parse->framing_excess + excess_of(parse) > HS_RESPONSE_FRAMING_MAX)
            return HS_RESPONSE_FRAMING_TOO_LARGE;
        if (parse->at_chunk) {
            parse->framing_excess += excess_of(parse);
            parse->framing = 0;
            llhttp_resume(&parse->llhttp);
            outcome = HS_RESPONSE_NEED_MORE;
        }
    } while (outcome == HS_RESPONSE_NEED_MORE && *taken < len);
    return outcome;
}

hs_response_outcome_t hs_parse_response_next(hs_parse_response_t *parse, const char *data,
                                             size_t len, size_t *taken)
{
    hs_response_outcome_t outcome = HS_RESPONSE_NEED_MORE;
    parse->content = hs_span("", 0);
    *taken = 0;
    switch (parse->phase) {
    case HS_RESPONSE_IN_HEAD:
        outcome = parse_heads(parse, data, len, taken);
        break;
    case HS_RESPONSE_IN_LENGTH:
        outcome = parse_length(parse, data, len, taken);
        break;
    case HS_RESPONSE_IN_CHUNKS:
        outcome = parse_chunks(parse, data, len, taken);
        break;
    case HS_RESPONSE_IN_REST:
        parse->content = hs_span(data, len);
        *taken = len;
        return HS_RESPONSE_NEED_MORE;
    case HS_RESPONSE_OVER:
        return HS_RESPONSE_COMPLETE;
    }
    if (outcome >= HS_RESPONSE_COMPLETE)
        parse->phase = HS_RESPONSE_OVER;
    if (outcome > HS_RESPONSE_COMPLETE) {
        parse->keep_alive = false;
        parse->content = hs_span("", 0);
    }
    return outcome;
}

hs_response_outcome_t hs_parse_response_end(hs_parse_response_t *parse)
{
    bool complete = parse->phase >= HS_RESPONSE_IN_REST;
    parse->phase = HS_RESPONSE_OVER;
    parse->keep_alive = false;
    return complete ? HS_RESPONSE_COMPLETE : HS_RESPONSE_TRUNCATED;
}

const char *hs_response_refusal_name(hs_response_outcome_t outcome)
{
    switch (outcome) {
    case HS_RESPONSE_NEED_MORE:
    case HS_RESPONSE_HEAD:
    case HS_RESPONSE_COMPLETE:
        return NULL;
    case HS_RESPONSE_MALFORMED:
        return "malformed response";
    case HS_RESPONSE_VERSION_UNSUPPORTED:
        return "unsupported HTTP version";
    case HS_RESPONSE_HEAD_TOO_LARGE:
        return "response head too large";
    case HS_RESPONSE_TOO_MANY_INTERIM:
        return "too many informational responses";
    case HS_RESPONSE_UPGRADED:
        return "unexpected protocol switch";
    case HS_RESPONSE_BAD_LENGTH:
        return "conflicting content length";
    case HS_RESPONSE_CODING_UNSUPPORTED:
        return "unsupported transfer coding";
    case HS_RESPONSE_FRAMING_TOO_LARGE:
        return "chunk extensions or trailers too large";
    case HS_RESPONSE_TRUNCATED:
        return "truncated response";
    case HS_RESPONSE_OUT_OF_MEMORY:
        return "out of memory";
    }
    return "malformed response";
}
