#include "http/hs_target.h"

#include "base/hs_chars.h"
#include "http/hs_host.h"

/* " HTTP/1.1\r\n" */
#define BEHIND_TARGET 11

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
    *default_port = 0;
    if (HS_LIKELY(target.len > 0 && target.data[0] == '/'))
        return hs_span("", 0);
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
    return hs_span("", 0);
}

hs_parse_outcome_t hs_target_check_line(const hs_msg_t *msg)
{
    hs_span_t target = hs_msg_url(msg);
    uint32_t end = msg->url_at + msg->url_len;
    HS_ASSERT(msg->url_at >= 2 && target.len > 0); /* behind a method and a space */
    if (msg->head_len - end < BEHIND_TARGET)
        return HS_PARSE_BAD_REQUEST;
    /* llhttp accepts any number of spaces between method and target. */
    const char *before = msg->base + msg->url_at;
    const char *behind = msg->base + end;
    bool exact = before[-1] == ' ' && before[-2] != ' ' && memcmp(behind, " HTT", 4) == 0 &&
                 memcmp(behind + 4, "P/", 2) == 0 &&
                 memcmp(behind + BEHIND_TARGET - 2, "\r\n", 2) == 0;
    return exact && hs_span_is_target(target) ? HS_PARSE_COMPLETE : HS_PARSE_BAD_REQUEST;
}

hs_parse_outcome_t hs_target_check_form(const hs_msg_t *msg, bool with_asterisk)
{
    hs_span_t target = hs_msg_url(msg);
    if (HS_LIKELY(target.data[0] == '/'))
        return HS_PARSE_COMPLETE;
    unsigned default_port;
    bool taken = target.data[0] == '*'
                     ? target.len == 1 && with_asterisk
                     : hs_host_is_valid(hs_target_authority(target, &default_port));
    return taken ? HS_PARSE_COMPLETE : HS_PARSE_BAD_REQUEST;
}
