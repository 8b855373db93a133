#include "ws/hs_ws_frame.h"

/* Bits of a head. */
#define FIN 0x80u
#define RSV1 0x40u
#define RSV 0x70u
#define OPCODE 0x0fu
#define MASKED 0x80u
#define LEN 0x7fu
#define LEN_16 126u
#define LEN_64 127u

int hs_ws_problem_code(hs_ws_problem_t problem)
{
    if (problem == HS_WS_NOT_UTF8)
        return HS_WS_BAD_DATA;
    return problem == HS_WS_MESSAGE_TOO_BIG ? HS_WS_TOO_BIG : HS_WS_PROTOCOL_ERROR;
}

const char *hs_ws_problem_text(hs_ws_problem_t problem)
{
    switch (problem) {
    case HS_WS_OK:
        break;
    case HS_WS_UNMASKED:
        return "a frame is not masked";
    case HS_WS_RESERVED_BITS:
        return "a reserved bit is set";
    case HS_WS_RESERVED_OPCODE:
        return "a reserved opcode";
    case HS_WS_LONG_LENGTH:
        return "a length is not in its shortest form";
    case HS_WS_CONTROL_FRAGMENTED:
        return "a control frame is fragmented";
    case HS_WS_CONTROL_TOO_LONG:
        return "a control frame is longer than 125 bytes";
    case HS_WS_NOTHING_TO_CONTINUE:
        return "a continuation frame without a message";
    case HS_WS_UNFINISHED:
        return "a message begins before the previous one ends";
    case HS_WS_BAD_CLOSE:
        return "a Close frame without a valid code";
    case HS_WS_NOT_UTF8:
        return "text is not UTF-8";
    case HS_WS_MESSAGE_TOO_BIG:
        return "a message is too long";
    }
    return "";
}

uint32_t hs_ws_mask(char *data, size_t len, uint32_t key)
{
    uint64_t wide = (uint64_t)key << 32 | key;
    size_t at = 0;
    uint64_t words[4];
    for (; len - at >= sizeof(words); at += sizeof(words)) {
        memcpy(words, data + at, sizeof(words));
        for (int i = 0; i < 4; i++)
            words[i] ^= wide;
        memcpy(data + at, words, sizeof(words));
    }
    for (; len - at >= sizeof(wide); at += sizeof(wide)) {
        memcpy(words, data + at, sizeof(wide));
        words[0] ^= wide;
        memcpy(data + at, words, sizeof(wide));
    }
    /* All lengths so far were multiples of 4: the key is not rotated. */
    unsigned char bytes[4];
    memcpy(bytes, &key, sizeof(bytes));
    size_t tail = len - at;
    for (size_t i = 0; i < tail; i++)
        data[at + i] = (char)((unsigned char)data[at + i] ^ bytes[i % 4]);
    unsigned char moved[4];
    for (size_t i = 0; i < 4; i++)
        moved[i] = bytes[(i + tail) % 4];
    memcpy(&key, moved, sizeof(key));
    return key;
}

static hs_ws_event_t fail(hs_ws_reader_t *reader, hs_ws_problem_t problem)
{
    reader->problem = (uint8_t)problem;
    return HS_WS_FAILED;
}

/* The head of a frame. */
typedef struct head {
    unsigned opcode;
    bool is_last;
    bool is_coded;
    uint32_t key;
    size_t size; /* of the head itself */
    uint64_t len;
} head_t;

/* The length of a head that begins like this. `len` is 2 or more. */
static size_t head_size(const unsigned char *data)
{
    unsigned len = data[1] & LEN;
    return 2u + (len == LEN_16 ? 2u : len == LEN_64 ? 8u : 0u) + 4u;
}

static uint64_t read_big_endian(const unsigned char *data, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | data[i];
    return value;
}

/* Checks the first two bytes, before more of the head arrives. */
static hs_ws_problem_t check_start(const hs_ws_reader_t *reader, const hs_ws_rules_t *rules,
                                   const unsigned char *data)
{
    unsigned opcode = data[0] & OPCODE;
    bool is_control = opcode >= HS_WS_CLOSE;
    bool is_first = opcode == HS_WS_TEXT || opcode == HS_WS_BINARY;
    if (opcode > HS_WS_PONG || (!is_control && opcode > HS_WS_BINARY))
        return HS_WS_RESERVED_OPCODE;
    unsigned allowed = is_first && rules->may_be_coded ? RSV1 : 0;
    if ((data[0] & RSV & ~allowed) != 0)
        return HS_WS_RESERVED_BITS;
    if ((data[1] & MASKED) == 0)
        return HS_WS_UNMASKED;
    if (is_control) {
        if ((data[0] & FIN) == 0)
            return HS_WS_CONTROL_FRAGMENTED;
        return (data[1] & LEN) > HS_WS_CONTROL_MAX ? HS_WS_CONTROL_TOO_LONG : HS_WS_OK;
    }
    if (is_first)
        return reader->kind != 0 ? HS_WS_UNFINISHED : HS_WS_OK;
    return reader->kind == 0 ? HS_WS_NOTHING_TO_CONTINUE : HS_WS_OK;
}

static hs_ws_problem_t parse_head(const unsigned char *data, head_t *head)
{
    unsigned short_len = data[1] & LEN;
    const unsigned char *at = data + 2;
    head->opcode = data[0] & OPCODE;
    head->is_last = (data[0] & FIN) != 0;
    head->is_coded = (data[0] & RSV1) != 0;
    head->size = head_size(data);
    head->len = short_len;
    if (short_len == LEN_16) {
        head->len = read_big_endian(at, 2);
        at += 2;
        if (head->len < LEN_16)
            return HS_WS_LONG_LENGTH;
    } else if (short_len == LEN_64) {
        head->len = read_big_endian(at, 8);
        at += 8;
        if (head->len <= UINT16_MAX || head->len > INT64_MAX)
            return HS_WS_LONG_LENGTH;
    }
    memcpy(&head->key, at, sizeof(head->key));
    return HS_WS_OK;
}

bool hs_ws_is_code(int code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static hs_ws_event_t read_close(hs_ws_reader_t *reader, hs_ws_told_t *told)
{
    hs_span_t content = told->piece;
    told->code = HS_WS_NONE;
    if (content.len == 0)
        return HS_WS_CLOSED;
    if (content.len == 1)
        return fail(reader, HS_WS_BAD_CLOSE);
    told->code = (int)read_big_endian((const unsigned char *)content.data, 2);
    told->piece = hs_span(content.data + 2, content.len - 2);
    if (!hs_ws_is_code(told->code))
        return fail(reader, HS_WS_BAD_CLOSE);
    if (!hs_utf8_is_valid(told->piece.data, told->piece.len))
        return fail(reader, HS_WS_NOT_UTF8);
    return HS_WS_CLOSED;
}

static hs_ws_event_t read_control(hs_ws_reader_t *reader, const head_t *head, char *data,
                                  size_t len, size_t *taken, hs_ws_told_t *told)
{
    size_t payload = (size_t)head->len;
    if (len - head->size < payload)
        return HS_WS_NEED_MORE;
    *taken = head->size + payload;
    (void)hs_ws_mask(data + head->size, payload, head->key);
    told->piece = hs_span(data + head->size, payload);
    if (head->opcode == HS_WS_CLOSE)
        return read_close(reader, told);
    return head->opcode == HS_WS_PING ? HS_WS_PINGED : HS_WS_PONGED;
}

static hs_ws_event_t begin_frame(hs_ws_reader_t *reader, const hs_ws_rules_t *rules,
                                 const head_t *head, size_t *taken)
{
    if (head->opcode != HS_WS_CONTINUATION) {
        reader->kind = (uint8_t)head->opcode;
        reader->is_coded = head->is_coded;
        reader->message_len = 0;
        reader->utf8 = (hs_utf8_state_t){ 0 };
    }
    if (head->len > rules->max_message || reader->message_len > rules->max_message - head->len)
        return fail(reader, HS_WS_MESSAGE_TOO_BIG);
    reader->message_len += head->len;
    reader->left = head->len;
    reader->key = head->key;
    reader->is_last = head->is_last;
    reader->in_frame = true;
    *taken = head->size;
    return HS_WS_BEGIN;
}

static hs_ws_event_t read_frame_head(hs_ws_reader_t *reader, const hs_ws_rules_t *rules, char *data,
                                     size_t len, size_t *taken, hs_ws_told_t *told)
{
    const unsigned char *bytes = (const unsigned char *)data;
    if (len < 2)
        return HS_WS_NEED_MORE;
    hs_ws_problem_t problem = check_start(reader, rules, bytes);
    if (problem != HS_WS_OK)
        return fail(reader, problem);
    if (len < head_size(bytes))
        return HS_WS_NEED_MORE;
    head_t head;
    problem = parse_head(bytes, &head);
    if (problem != HS_WS_OK)
        return fail(reader, problem);
    if (head.opcode >= HS_WS_CLOSE)
        return read_control(reader, &head, data, len, taken, told);
    return begin_frame(reader, rules, &head, taken);
}

hs_ws_event_t hs_ws_read(hs_ws_reader_t *reader, const hs_ws_rules_t *rules, char *data, size_t len,
                         size_t *taken, hs_ws_told_t *told)
{
    *taken = 0;
    if (!reader->in_frame)
        return read_frame_head(reader, rules, data, len, taken, told);
    size_t part = len < reader->left ? len : (size_t)reader->left;
    if (part == 0 && reader->left > 0)
        return HS_WS_NEED_MORE;
    *taken = part;
    reader->key = hs_ws_mask(data, part, reader->key);
    reader->left -= part;
    reader->in_frame = reader->left > 0;
    told->piece = hs_span(data, part);
    told->ends = !reader->in_frame && reader->is_last;
    told->kind = reader->kind;
    told->is_coded = reader->is_coded;
    if (reader->kind == HS_WS_TEXT && !reader->is_coded &&
        (!hs_utf8_feed(&reader->utf8, data, part) || (told->ends && reader->utf8.missing > 0)))
        return fail(reader, HS_WS_NOT_UTF8);
    if (told->ends)
        reader->kind = 0;
    return HS_WS_DATA;
}

size_t hs_ws_put_head(char out[HS_WS_HEAD_MAX], hs_ws_opcode_t opcode, bool is_last, bool is_coded,
                      uint64_t len)
{
    out[0] = (char)((is_last ? FIN : 0) | (is_coded ? RSV1 : 0) | opcode);
    if (len < LEN_16) {
        out[1] = (char)len;
        return 2;
    }
    size_t bytes = len <= UINT16_MAX ? 2 : 8;
    out[1] = (char)(bytes == 2 ? LEN_16 : LEN_64);
    for (size_t i = bytes; i > 0; i--, len >>= 8)
        out[1 + i] = (char)len;
    return 2 + bytes;
}

/* The length of the longest prefix of whole characters within `max` bytes. */
static size_t cut_text(hs_span_t text, size_t max)
{
    if (text.len <= max)
        return text.len;
    while (max > 0 && ((unsigned char)text.data[max] & 0xC0) == 0x80)
        max--;
    return max;
}

size_t hs_ws_put_close(char out[2 + HS_WS_CONTROL_MAX], int code, hs_span_t reason)
{
    if (code == HS_WS_NONE)
        return hs_ws_put_head(out, HS_WS_CLOSE, true, false, 0);
    size_t len = cut_text(reason, HS_WS_CONTROL_MAX - 2);
    size_t at = hs_ws_put_head(out, HS_WS_CLOSE, true, false, 2 + len);
    out[at++] = (char)(code >> 8);
    out[at++] = (char)code;
    if (len > 0)
        memcpy(out + at, reason.data, len);
    return at + len;
}
