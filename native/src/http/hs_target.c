#include "http/hs_target.h"

#include "http/hs_host.h"

/* " HTTP/1.1\r\n" */
#define BEHIND_TARGET 11

/*
 * What a target may hold: RFC 3986, and the signs [ ] { } | \ ^ ` that it forbids but browsers
 * leave unencoded in queries. Not `#`: no form of a target has a fragment. llhttp has refused
 * controls, white space and what is not ASCII.
 */
static bool has_target_bytes(hs_span_t target)
{
    for (size_t i = 0; i < target.len; i++) {
        char c = target.data[i];
        if (c == '#' || c == '"' || c == '<' || c == '>')
            return false;
    }
    return true;
}

static bool starts_nocase(hs_span_t text, hs_span_t prefix)
{
    return text.len >= prefix.len && hs_span_equals_nocase(hs_span(text.data, prefix.len), prefix);
}

hs_span_t hs_target_authority(hs_span_t target, unsigned *default_port)
{
    static const struct {
        hs_span_t prefix;
        unsigned port;
    } schemes[] = { { { "http://", 7 }, 80 }, { { "https://", 8 }, 443 } };
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        hs_span_t prefix = schemes[i].prefix;
        if (!starts_nocase(target, prefix))
            continue;
        size_t end = prefix.len;
        while (end < target.len && target.data[end] != '/' && target.data[end] != '?')
            end++;
        *default_port = schemes[i].port;
        return hs_span(target.data + prefix.len, end - prefix.len);
    }
    *default_port = 0;
    return hs_span("", 0);
}

/* Authority form is for CONNECT, which was refused before. */
static bool has_form(hs_span_t target, bool is_options)
{
    if (target.data[0] == '/')
        return true;
    if (target.data[0] == '*')
        return target.len == 1 && is_options;
    unsigned default_port;
    return hs_host_is_valid(hs_target_authority(target, &default_port));
}

hs_parse_outcome_t hs_target_check(const hs_msg_t *msg, uint32_t line_at, const char *method)
{
    hs_span_t target = hs_msg_url(msg);
    uint32_t end = msg->url_at + msg->url_len;
    if (msg->url_at != line_at + strlen(method) + 1 || msg->head_len - end < BEHIND_TARGET)
        return HS_PARSE_BAD_REQUEST;
    const char *behind = msg->base + end;
    if (memcmp(behind, " HTTP/", 6) != 0 || memcmp(behind + BEHIND_TARGET - 2, "\r\n", 2) != 0)
        return HS_PARSE_BAD_REQUEST;
    if (target.len == 0 || !has_target_bytes(target) ||
        !has_form(target, strcmp(method, "OPTIONS") == 0))
        return HS_PARSE_BAD_REQUEST;
    return HS_PARSE_COMPLETE;
}
