#include "http/hs_accept_encoding.h"

#include "base/hs_chars.h"
#include "http/hs_fields.h"

static const hs_span_t names[HS_CODINGS] = {
    [HS_CODING_IDENTITY] = { "identity", 8 },
    [HS_CODING_GZIP] = { "gzip", 4 },
    [HS_CODING_BR] = { "br", 2 },
    [HS_CODING_ZSTD] = { "zstd", 4 },
};

const char *hs_coding_name(hs_coding_t coding)
{
    return names[coding].data;
}

void hs_accept_encoding_init(hs_accept_encoding_t *accepted)
{
    for (int coding = 0; coding < HS_CODINGS; coding++)
        accepted->weights[coding] = HS_WEIGHT_NONE;
    accepted->others = HS_WEIGHT_NONE;
}

/* Where the weight of a coding is stored; NULL: an unsupported coding. */
static int16_t *weight_of(hs_accept_encoding_t *accepted, hs_span_t name)
{
    if (hs_span_equals(name, HS_SPAN_LITERAL("*")))
        return &accepted->others;
    for (int coding = 0; coding < HS_CODINGS; coding++)
        if (hs_span_equals_nocase(name, names[coding]))
            return &accepted->weights[coding];
    /* RFC 9110 §8.4.1.3 */
    return hs_span_equals_nocase(name, HS_SPAN_LITERAL("x-gzip"))
               ? &accepted->weights[HS_CODING_GZIP]
               : NULL;
}

/* A qvalue (RFC 9110 §12.4.2) in thousandths; HS_WEIGHT_NONE if invalid. */
static int16_t qvalue(hs_span_t text)
{
    if (text.len < 1 || text.len > sizeof("0.123") - 1 || (text.data[0] & ~1) != '0' ||
        (text.len > 1 && text.data[1] != '.'))
        return HS_WEIGHT_NONE;
    int value = text.data[0] == '1' ? 1000 : 0;
    int place = 100;
    for (size_t at = 2; at < text.len; at++, place /= 10) {
        if (text.data[at] < '0' || text.data[at] > '9')
            return HS_WEIGHT_NONE;
        value += (text.data[at] - '0') * place;
    }
    return value <= 1000 ? (int16_t)value : HS_WEIGHT_NONE;
}

/* `;q=0.5`, or nothing, which is 1. */
static int16_t read_weight(hs_span_t text)
{
    if (text.len == 0)
        return 1000;
    hs_span_t weight = hs_span_trim(hs_span(text.data + 1, text.len - 1)); /* behind the `;` */
    if (weight.len < 2 || hs_ascii_lower(weight.data[0]) != 'q' || weight.data[1] != '=')
        return HS_WEIGHT_NONE;
    return qvalue(hs_span(weight.data + 2, weight.len - 2));
}

void hs_accept_encoding_add(hs_accept_encoding_t *accepted, hs_span_t value)
{
    hs_span_t element;
    while (hs_fields_next_element(&value, &element)) {
        const char *end = element.len == 0 ? NULL : memchr(element.data, ';', element.len);
        size_t len = end == NULL ? element.len : (size_t)(end - element.data);
        int16_t *place = weight_of(accepted, hs_span_trim(hs_span(element.data, len)));
        if (place != NULL && *place == HS_WEIGHT_NONE)
            *place = read_weight(hs_span(element.data + len, element.len - len));
    }
}

hs_coding_t hs_accept_encoding_choose(const hs_accept_encoding_t *accepted, unsigned offered,
                                      const hs_coding_t *preferred, size_t count)
{
    /* A coding needs a weight above 0. Identity competes only if it is named. */
    int16_t identity = accepted->weights[HS_CODING_IDENTITY];
    int16_t best = identity > 0 ? identity : 1;
    hs_coding_t chosen = HS_CODING_IDENTITY;
    for (size_t i = 0; i < count; i++) {
        hs_coding_t coding = preferred[i];
        int16_t weight = accepted->weights[coding];
        if (weight == HS_WEIGHT_NONE)
            weight = accepted->others;
        bool is_better = chosen == HS_CODING_IDENTITY ? weight >= best : weight > best;
        if ((offered & HS_CODING_BIT(coding)) != 0 && is_better) {
            best = weight;
            chosen = coding;
        }
    }
    return chosen;
}

hs_coding_t hs_accept_encoding_of(const hs_msg_t *msg, unsigned offered,
                                  const hs_coding_t *preferred, size_t count)
{
    hs_accept_encoding_t accepted;
    hs_accept_encoding_init(&accepted);
    for (uint16_t i = 0; i < msg->field_count; i++) {
        const hs_field_t *field = &msg->fields[i];
        if (field->name_len == sizeof("accept-encoding") - 1 &&
            hs_token_is(hs_msg_field_name(msg, field), HS_SPAN_LITERAL("accept-encoding")))
            hs_accept_encoding_add(&accepted, hs_msg_field_value(msg, field));
    }
    return hs_accept_encoding_choose(&accepted, offered, preferred, count);
}
