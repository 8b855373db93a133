#include "http/hs_conditional.h"

#include "http/hs_date.h"
#include "http/hs_fields.h"
#include "http/hs_parse.h"

/* Names have been checked to be tokens. */
static unsigned bit_of(hs_span_t name)
{
    if (hs_token_is(name, HS_SPAN_LITERAL("range")))
        return HS_RANGE;
    if (hs_token_is(name, HS_SPAN_LITERAL("if-match")))
        return HS_IF_MATCH;
    if (hs_token_is(name, HS_SPAN_LITERAL("if-range")))
        return HS_IF_RANGE;
    if (hs_token_is(name, HS_SPAN_LITERAL("if-none-match")))
        return HS_IF_NONE_MATCH;
    if (hs_token_is(name, HS_SPAN_LITERAL("if-modified-since")))
        return HS_IF_MODIFIED_SINCE;
    if (hs_token_is(name, HS_SPAN_LITERAL("if-unmodified-since")))
        return HS_IF_UNMODIFIED_SINCE;
    return 0;
}

unsigned hs_conditional_fields(const hs_msg_t *msg)
{
    unsigned seen = 0;
    for (uint16_t i = 0; i < msg->field_count; i++) {
        hs_span_t name = hs_msg_field_name(msg, &msg->fields[i]);
        char first = name.data[0] | 0x20;
        if (HS_UNLIKELY((first == 'i' || first == 'r') && name.len >= sizeof("range") - 1))
            seen |= bit_of(name);
    }
    return seen;
}

/* The only value of a field; false if it is absent or there are several. */
static bool single(const hs_msg_t *msg, unsigned bit, hs_span_t *value)
{
    unsigned count = 0;
    for (uint16_t i = 0; i < msg->field_count; i++)
        if (bit_of(hs_msg_field_name(msg, &msg->fields[i])) == bit) {
            *value = hs_span_trim(hs_msg_field_value(msg, &msg->fields[i]));
            count++;
        }
    return count == 1;
}

/* ---- Entity tags: §8.8.3. ---- */

static bool is_weak(hs_span_t tag)
{
    return tag.len >= 2 && tag.data[0] == 'W' && tag.data[1] == '/';
}

static hs_span_t opaque(hs_span_t tag)
{
    return is_weak(tag) ? hs_span(tag.data + 2, tag.len - 2) : tag;
}

static bool etags_match(hs_span_t a, hs_span_t b, bool strongly)
{
    if (strongly && (is_weak(a) || is_weak(b)))
        return false;
    return hs_span_equals(opaque(a), opaque(b));
}

/* The length of the entity tag at the start of `text`, 0: none. It may contain a comma. */
static size_t etag_len(hs_span_t text)
{
    size_t at = is_weak(text) ? 2 : 0;
    if (at >= text.len || text.data[at] != '"')
        return 0;
    for (at++; at < text.len; at++) {
        unsigned char c = (unsigned char)text.data[at];
        if (c == '"')
            return at + 1;
        if (c < 0x21 || c == 0x7f)
            return 0;
    }
    return 0;
}

static bool list_has(hs_span_t list, hs_span_t etag, bool strongly)
{
    while (list.len > 0) {
        size_t len = 1;
        if (list.data[0] != ',' && list.data[0] != ' ' && list.data[0] != '\t') {
            len = etag_len(list);
            if (len == 0)
                return false;
            if (etags_match(hs_span(list.data, len), etag, strongly))
                return true;
        }
        list = hs_span(list.data + len, list.len - len);
    }
    return false;
}

/* Whether If-Match or If-None-Match names the representation: by "*" or by a tag in any of the
 * field's lines. */
static bool names_current(const hs_msg_t *msg, unsigned bit, const hs_validators_t *validators)
{
    for (uint16_t i = 0; i < msg->field_count; i++) {
        if (bit_of(hs_msg_field_name(msg, &msg->fields[i])) != bit)
            continue;
        hs_span_t value = hs_span_trim(hs_msg_field_value(msg, &msg->fields[i]));
        if (value.len == 1 && value.data[0] == '*') {
            if (!validators->is_missing)
                return true;
        } else if (validators->etag.len > 0 &&
                   list_has(value, validators->etag, bit == HS_IF_MATCH)) {
            return true;
        }
    }
    return false;
}

/* ---- Preconditions. ---- */

/* The date of a field, if there is exactly one and the representation has one too. */
static bool date_of(const hs_msg_t *msg, unsigned bit, const hs_validators_t *validators,
                    int64_t *second)
{
    hs_span_t value;
    return validators->modified_s != HS_MODIFIED_UNKNOWN && single(msg, bit, &value) &&
           hs_date_parse(value, validators->now_s, second);
}

hs_precondition_t hs_conditional_check(const hs_msg_t *msg, const hs_validators_t *validators)
{
    unsigned seen = hs_conditional_fields(msg);
    bool is_read = msg->method == HTTP_GET || msg->method == HTTP_HEAD;
    /* §13.2.1: they select no representation. */
    if (seen == 0 || msg->method == HTTP_CONNECT || msg->method == HTTP_OPTIONS ||
        msg->method == HTTP_TRACE)
        return HS_PRECONDITION_MET;
    int64_t date;
    if (seen & HS_IF_MATCH) {
        if (!names_current(msg, HS_IF_MATCH, validators))
            return HS_PRECONDITION_FAILED;
    } else if (seen & HS_IF_UNMODIFIED_SINCE) {
        if (date_of(msg, HS_IF_UNMODIFIED_SINCE, validators, &date) &&
            validators->modified_s > date)
            return HS_PRECONDITION_FAILED;
    }
    if (seen & HS_IF_NONE_MATCH) {
        if (names_current(msg, HS_IF_NONE_MATCH, validators))
            return is_read ? HS_PRECONDITION_NOT_MODIFIED : HS_PRECONDITION_FAILED;
    } else if (is_read && (seen & HS_IF_MODIFIED_SINCE)) {
        if (date_of(msg, HS_IF_MODIFIED_SINCE, validators, &date) && validators->modified_s <= date)
            return HS_PRECONDITION_NOT_MODIFIED;
    }
    return HS_PRECONDITION_MET;
}

/* ---- Ranges. ---- */

/* §13.1.5. A date is compared exactly, and only if it is strong (§8.8.2.2): the file cannot have
 * changed again within that second. */
static bool if_range_holds(const hs_msg_t *msg, const hs_validators_t *validators)
{
    hs_span_t value;
    if (!single(msg, HS_IF_RANGE, &value))
        return false;
    size_t len = etag_len(value);
    if (len > 0)
        return len == value.len && validators->etag.len > 0 &&
               etags_match(value, validators->etag, true);
    int64_t date;
    return date_of(msg, HS_IF_RANGE, validators, &date) && date == validators->modified_s &&
           validators->now_s > validators->modified_s + 1;
}

/* Parses digits, UINT64_MAX if too large. False: there are none. */
static bool read_number(hs_span_t *text, uint64_t *number)
{
    size_t at = 0;
    uint64_t value = 0;
    for (; at < text->len && text->data[at] >= '0' && text->data[at] <= '9'; at++) {
        uint64_t digit = (uint64_t)(text->data[at] - '0');
        value = value <= (UINT64_MAX - digit) / 10 ? value * 10 + digit : UINT64_MAX;
    }
    if (at > 0)
        *number = value;
    *text = hs_span(text->data + at, text->len - at);
    return at > 0;
}

/* `1-2`, `1-` or `-2`. */
static hs_range_t read_range(hs_span_t text, uint64_t size, uint64_t *first, uint64_t *len)
{
    uint64_t last = UINT64_MAX;
    bool has_first = read_number(&text, first);
    if (text.len == 0 || text.data[0] != '-')
        return HS_RANGE_WHOLE;
    text = hs_span(text.data + 1, text.len - 1);
    bool has_last = read_number(&text, &last);
    if (text.len > 0 || (!has_first && !has_last) || (has_first && has_last && last < *first))
        return HS_RANGE_WHOLE;
    if (!has_first) {
        if (last == 0)
            return HS_RANGE_UNSATISFIABLE;
        if (size == 0)
            return HS_RANGE_WHOLE; /* satisfiable, but there is no part to name */
        *len = last < size ? last : size;
        *first = size - *len;
        return HS_RANGE_PART;
    }
    if (*first >= size)
        return HS_RANGE_UNSATISFIABLE;
    *len = last < size - 1 ? last - *first + 1 : size - *first;
    return HS_RANGE_PART;
}

hs_range_t hs_conditional_range(const hs_msg_t *msg, const hs_validators_t *validators,
                                uint64_t size, uint64_t *first, uint64_t *len)
{
    unsigned seen = hs_conditional_fields(msg);
    hs_span_t value;
    if ((seen & HS_RANGE) == 0 || msg->method != HTTP_GET || !single(msg, HS_RANGE, &value))
        return HS_RANGE_WHOLE;
    if ((seen & HS_IF_RANGE) && !if_range_holds(msg, validators))
        return HS_RANGE_WHOLE;
    static const char unit[] = "bytes=";
    const size_t unit_len = sizeof(unit) - 1;
    if (value.len < unit_len ||
        !hs_span_equals_nocase(hs_span(value.data, unit_len), hs_span(unit, unit_len)))
        return HS_RANGE_WHOLE;
    hs_span_t list = hs_span(value.data + unit_len, value.len - unit_len);
    hs_span_t range = { 0 };
    hs_span_t element;
    while (hs_fields_next_element(&list, &element)) {
        if (element.len == 0)
            continue;
        if (range.len > 0)
            return HS_RANGE_WHOLE;
        range = element;
    }
    return read_range(range, size, first, len);
}
