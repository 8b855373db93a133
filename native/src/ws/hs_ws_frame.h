/*
 * The server side of WebSocket frames (RFC 6455). Pure: bytes to events and back, no descriptor, no
 * clock, no allocation.
 *
 *   bytes ──hs_ws_read──► BEGIN, DATA …, DATA that ends the message · PING · PONG · CLOSE · FAILED
 *
 * The reader unmasks in place and keeps no bytes: unconsumed bytes must be passed again, followed
 * by more. Only the head of a frame, and a whole control frame, must be contiguous: HS_WS_WHOLE_MAX
 * bytes.
 *
 * Checked here: masking, reserved bits, opcodes, the shortest form of a length, fragmentation,
 * control frames, the length of a message, UTF-8 of text as it arrives, codes and reasons of Close.
 * Not here: the rate of frames (conn/hs_conn_ws.h).
 *
 * Thread: any; a reader belongs to one.
 */
#pragma once

#include "base/hs_span.h"
#include "base/hs_utf8.h"

/* The head of our frames; the client's has a 4-byte key in addition. */
#define HS_WS_HEAD_MAX 10
#define HS_WS_CONTROL_MAX 125
/* The most that the reader needs contiguous. */
#define HS_WS_WHOLE_MAX (2 + 4 + HS_WS_CONTROL_MAX)

typedef enum hs_ws_opcode {
    HS_WS_CONTINUATION = 0,
    HS_WS_TEXT = 1,
    HS_WS_BINARY = 2,
    HS_WS_CLOSE = 8,
    HS_WS_PING = 9,
    HS_WS_PONG = 10,
} hs_ws_opcode_t;

/* Codes of Close: RFC 6455 §7.4 and IANA. NONE and ABNORMAL are never sent. */
enum {
    HS_WS_NORMAL = 1000,
    HS_WS_GOING_AWAY = 1001,
    HS_WS_PROTOCOL_ERROR = 1002,
    HS_WS_UNSUPPORTED = 1003,
    HS_WS_NONE = 1005,
    HS_WS_ABNORMAL = 1006,
    HS_WS_BAD_DATA = 1007,
    HS_WS_POLICY = 1008,
    HS_WS_TOO_BIG = 1009,
    HS_WS_INTERNAL_ERROR = 1011,
    HS_WS_RESTART = 1012,
    HS_WS_TRY_LATER = 1013,
};

/* Why a reader has failed. */
typedef enum hs_ws_problem {
    HS_WS_OK,
    HS_WS_UNMASKED,
    HS_WS_RESERVED_BITS,
    HS_WS_RESERVED_OPCODE,
    HS_WS_LONG_LENGTH, /* not in its shortest form, or with the highest bit */
    HS_WS_CONTROL_FRAGMENTED,
    HS_WS_CONTROL_TOO_LONG,
    HS_WS_NOTHING_TO_CONTINUE,
    HS_WS_UNFINISHED, /* a new message inside of one */
    HS_WS_BAD_CLOSE,  /* its code, or one byte of content */
    HS_WS_NOT_UTF8,
    HS_WS_MESSAGE_TOO_BIG,
} hs_ws_problem_t;

/* The close code for the client, and the reason as text. */
int hs_ws_problem_code(hs_ws_problem_t problem);
const char *hs_ws_problem_text(hs_ws_problem_t problem);

/* Zeroed: at the beginning. */
typedef struct hs_ws_reader {
    uint64_t left;        /* payload of the current frame still to come */
    uint64_t message_len; /* payload of the current message so far */
    uint32_t key;         /* its lowest byte applies to the next byte of payload */
    hs_utf8_state_t utf8; /* of the message in hand */
    uint8_t kind;         /* of the current message: HS_WS_TEXT, HS_WS_BINARY; 0: none */
    bool in_frame : 1;    /* inside a data frame: its head was read, its end was not */
    bool is_last : 1;     /* ... and it ends the message */
    bool is_coded : 1;    /* the current message is compressed (RSV1) */
    uint8_t problem;      /* hs_ws_problem_t */
} hs_ws_reader_t;

typedef enum hs_ws_event {
    HS_WS_NEED_MORE, /* more bytes are needed */
    HS_WS_BEGIN,     /* the head of a data frame: `reader->left` bytes of payload follow */
    HS_WS_DATA,      /* payload: `piece`, which may be empty; `ends`: the message is complete */
    HS_WS_PINGED,    /* `piece` has the payload */
    HS_WS_PONGED,    /* likewise */
    HS_WS_CLOSED,    /* likewise: the reason; `code`, HS_WS_NONE if there is none */
    HS_WS_FAILED,    /* reader->problem; nothing more may be read */
} hs_ws_event_t;

typedef struct hs_ws_told {
    hs_span_t piece; /* the input bytes, unmasked in place */
    bool ends;
    bool is_coded; /* DATA: the message is compressed */
    uint8_t kind;  /* DATA: HS_WS_TEXT or HS_WS_BINARY */
    int code;
} hs_ws_told_t;

/* What a reader allows. */
typedef struct hs_ws_rules {
    uint64_t max_message; /* payload of one, as it arrives */
    bool may_be_coded;    /* RSV1 may stand in the first frame of a message */
} hs_ws_rules_t;

/*
 * Consumes `*taken` of the `len` bytes at `data`, until there is something to report. DATA pieces
 * are as long as the input allows. Uncompressed text is checked as it arrives.
 */
HS_NODISCARD hs_ws_event_t hs_ws_read(hs_ws_reader_t *reader, const hs_ws_rules_t *rules,
                                      char *data, size_t len, size_t *taken, hs_ws_told_t *told);

/* Whether the next bytes must be contiguous, as far as they have arrived. */
static inline bool hs_ws_wants_whole(const hs_ws_reader_t *reader)
{
    return !reader->in_frame;
}

/* XORs `len` bytes with the key; returns the key for the next byte. */
uint32_t hs_ws_mask(char *data, size_t len, uint32_t key);

/* Writes the head of an unfragmented frame, or with `is_last` false of a fragment; returns its
 * length. */
size_t hs_ws_put_head(char out[HS_WS_HEAD_MAX], hs_ws_opcode_t opcode, bool is_last, bool is_coded,
                      uint64_t len);

/* Whether a Close frame may carry it. */
bool hs_ws_is_code(int code);

/* Writes a whole Close frame; HS_WS_NONE: without content. The reason is cut to fit, between two
 * characters. Returns its length. */
size_t hs_ws_put_close(char out[2 + HS_WS_CONTROL_MAX], int code, hs_span_t reason);
