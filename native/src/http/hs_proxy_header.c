#include "http/hs_proxy_header.h"

static const char v1_signature[] = { 'P', 'R', 'O', 'X', 'Y' };
static const char v2_signature[] = { '\r', '\n', '\r', '\n', '\0', '\r',
                                     '\n', 'Q',  'U',  'I',  'T',  '\n' };

/* Signature, version and command, family and transport, length of what follows. */
#define V2_HEAD 16
#define V2_VERSION 2

enum {
    V2_LOCAL = 0,
    V2_PROXY = 1,
};
enum {
    V2_TCP4 = 0x11,
    V2_TCP6 = 0x21,
    V2_FAMILY_MAX = 3,
    V2_TRANSPORT_MAX = 2,
};

static bool begins_with(const char *data, size_t len, const char *signature, size_t size)
{
    return memcmp(data, signature, hs_min(len, size)) == 0;
}

/* The next word of a line whose words have one space between them. False: there is none. */
static bool take_word(hs_span_t *line, hs_span_t *word)
{
    if (line->len == 0 || line->data[0] != ' ')
        return false;
    const char *begin = line->data + 1;
    const char *end = memchr(begin, ' ', line->len - 1);
    size_t len = end == NULL ? line->len - 1 : (size_t)(end - begin);
    *word = hs_span(begin, len);
    *line = hs_span(begin + len, line->len - 1 - len);
    return len > 0;
}

static bool read_port(hs_span_t text, uint16_t *port)
{
    uint32_t number = 0;
    if (text.len > 5 || (text.len > 1 && text.data[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        number = number * 10 + (uint32_t)(text.data[i] - '0');
    }
    *port = (uint16_t)number;
    return number <= UINT16_MAX;
}

static bool read_address(hs_span_t text, bool is_v6, hs_peer_t *peer)
{
    return (memchr(text.data, ':', text.len) != NULL) == is_v6 && hs_peer_parse(text, peer);
}

/* The line behind "PROXY". */
static hs_proxy_outcome_t read_v1_line(hs_span_t line, hs_proxy_header_t *header)
{
    hs_span_t family, source, destination, source_port, destination_port;
    if (!take_word(&line, &family))
        return HS_PROXY_MALFORMED;
    if (hs_span_equals(family, HS_SPAN_LITERAL("UNKNOWN")))
        return HS_PROXY_COMPLETE; /* what follows is to be ignored */
    bool is_v6 = hs_span_equals(family, HS_SPAN_LITERAL("TCP6"));
    if (!is_v6 && !hs_span_equals(family, HS_SPAN_LITERAL("TCP4")))
        return HS_PROXY_MALFORMED;
    if (!take_word(&line, &source) || !take_word(&line, &destination) ||
        !take_word(&line, &source_port) || !take_word(&line, &destination_port) || line.len > 0)
        return HS_PROXY_MALFORMED;
    hs_peer_t peer, own;
    uint16_t own_port;
    if (!read_address(source, is_v6, &peer) || !read_address(destination, is_v6, &own) ||
        !read_port(source_port, &peer.port) || !read_port(destination_port, &own_port))
        return HS_PROXY_MALFORMED;
    header->has_source = true;
    header->source = peer;
    return HS_PROXY_COMPLETE;
}

static hs_proxy_outcome_t read_v1(const char *data, size_t len, hs_proxy_header_t *header)
{
    const char *end = memchr(data, '\n', hs_min(len, (size_t)HS_PROXY_HEADER_V1_MAX));
    if (end == NULL)
        return len < HS_PROXY_HEADER_V1_MAX ? HS_PROXY_NEED_MORE : HS_PROXY_MALFORMED;
    if (end[-1] != '\r') /* after the signature: there is a byte before it */
        return HS_PROXY_MALFORMED;
    header->len = (size_t)(end - data) + 1;
    const char *line = data + sizeof(v1_signature);
    return read_v1_line(hs_span(line, (size_t)(end - 1 - line)), header);
}

static hs_proxy_outcome_t read_v2(const char *data, size_t len, hs_proxy_header_t *header)
{
    if (len < V2_HEAD)
        return HS_PROXY_NEED_MORE;
    const uint8_t *bytes = (const uint8_t *)data;
    unsigned version = bytes[12] >> 4;
    unsigned command = bytes[12] & 15;
    unsigned kind = bytes[13];
    size_t rest = (size_t)bytes[14] << 8 | bytes[15];
    if (version != V2_VERSION || command > V2_PROXY || kind >> 4 > V2_FAMILY_MAX ||
        (kind & 15) > V2_TRANSPORT_MAX)
        return HS_PROXY_MALFORMED;
    size_t address = kind == V2_TCP4 ? 4 : kind == V2_TCP6 ? 16 : 0;
    bool has_source = command == V2_PROXY && address > 0;
    if (has_source && rest < 2 * (address + sizeof(uint16_t)))
        return HS_PROXY_MALFORMED;
    header->len = V2_HEAD + rest;
    if (len < header->len)
        return HS_PROXY_NEED_MORE;
    if (has_source) {
        const uint8_t *at = bytes + V2_HEAD + 2 * address;
        uint16_t port = (uint16_t)(at[0] << 8 | at[1]);
        header->source =
            address == 4 ? hs_peer_v4(bytes + V2_HEAD, port) : hs_peer_v6(bytes + V2_HEAD, port);
        header->has_source = true;
    }
    return HS_PROXY_COMPLETE;
}

hs_proxy_outcome_t hs_proxy_header_read(const char *data, size_t len, hs_proxy_header_t *header)
{
    *header = (hs_proxy_header_t){ .len = 0 };
    if (begins_with(data, len, v2_signature, sizeof(v2_signature)))
        return read_v2(data, len, header);
    if (!begins_with(data, len, v1_signature, sizeof(v1_signature)))
        return HS_PROXY_MALFORMED;
    if (len <= sizeof(v1_signature))
        return HS_PROXY_NEED_MORE;
    return read_v1(data, len, header);
}
