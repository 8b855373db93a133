/* Frames as written by clients, and the events of a reader for bytes that arrive in pieces. */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ws/hs_ws_frame.h"

/* A byte string that grows as needed. */
typedef struct ws_bytes {
    char *data;
    size_t len;
} ws_bytes_t;

static inline void ws_bytes_put(ws_bytes_t *bytes, const void *data, size_t len)
{
    bytes->data = realloc(bytes->data, bytes->len + len + 1);
    memcpy(bytes->data + bytes->len, data, len);
    bytes->len += len;
    bytes->data[bytes->len] = '\0';
}

static inline void ws_bytes_free(ws_bytes_t *bytes)
{
    free(bytes->data);
    *bytes = (ws_bytes_t){ 0 };
}

/* A masked frame. `first`: its first byte. */
static inline void ws_frame(ws_bytes_t *bytes, unsigned first, const void *payload, size_t len)
{
    static const unsigned char key[4] = { 0x37, 0xfa, 0x21, 0x3d };
    unsigned char head[14] = { (unsigned char)first };
    size_t at = 2;
    if (len < 126) {
        head[1] = (unsigned char)(0x80u | len);
    } else if (len <= UINT16_MAX) {
        head[1] = 0x80 | 126;
        head[at++] = (unsigned char)(len >> 8);
        head[at++] = (unsigned char)len;
    } else {
        head[1] = 0x80 | 127;
        for (int i = 7; i >= 0; i--)
            head[at++] = (unsigned char)((uint64_t)len >> (8 * i));
    }
    memcpy(head + at, key, sizeof(key));
    ws_bytes_put(bytes, head, at + 4);
    ws_bytes_put(bytes, payload, len);
    for (size_t i = 0; i < len; i++)
        bytes->data[bytes->len - len + i] ^= (char)key[i % 4];
}

static inline void ws_text(ws_bytes_t *bytes, unsigned first, const char *text)
{
    ws_frame(bytes, first, text, strlen(text));
}

/* owner: the test */
typedef struct ws_run {
    hs_ws_reader_t reader;
    hs_ws_rules_t rules;
    ws_bytes_t message; /* being assembled */
    ws_bytes_t log;     /* one line per event */
    size_t failed_at;   /* bytes passed in when it failed */
    bool has_failed;
} ws_run_t;

HS_PRINTF(2, 3)
static inline void ws_run_log(ws_run_t *run, const char *format, ...)
{
    char line[256];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    ws_bytes_put(&run->log, line, len < (int)sizeof(line) ? (size_t)len : sizeof(line) - 1);
}

static inline void ws_run_tell(ws_run_t *run, hs_ws_event_t event, const hs_ws_told_t *told)
{
    int len = (int)told->piece.len;
    switch (event) {
    case HS_WS_NEED_MORE:
    case HS_WS_BEGIN:
        break;
    case HS_WS_DATA:
        ws_bytes_put(&run->message, told->piece.data, told->piece.len);
        if (!told->ends)
            break;
        ws_run_log(run, "%s%s %zu %.64s\n", told->kind == HS_WS_TEXT ? "text" : "binary",
                   told->is_coded ? " coded" : "", run->message.len, run->message.data);
        run->message.len = 0;
        break;
    case HS_WS_PINGED:
        ws_run_log(run, "ping %.*s\n", len, told->piece.data);
        break;
    case HS_WS_PONGED:
        ws_run_log(run, "pong %.*s\n", len, told->piece.data);
        break;
    case HS_WS_CLOSED:
        ws_run_log(run, "close %d %.*s\n", told->code, len, told->piece.data);
        break;
    case HS_WS_FAILED:
        ws_run_log(run, "failed %d %s\n", hs_ws_problem_code(run->reader.problem),
                   hs_ws_problem_text(run->reader.problem));
        break;
    }
}

/* Passes in the bytes not yet taken and the new ones, in an allocation of exactly their size.
 * Returns how many of them were not taken. */
static inline size_t ws_run_give(ws_run_t *run, const char *data, size_t len)
{
    size_t at = 0;
    hs_ws_event_t event;
    do {
        char *piece = malloc(len - at > 0 ? len - at : 1);
        memcpy(piece, data + at, len - at);
        size_t taken;
        hs_ws_told_t told = { .piece = hs_span("", 0) };
        event = hs_ws_read(&run->reader, &run->rules, piece, len - at, &taken, &told);
        ws_run_tell(run, event, &told);
        free(piece);
        at += taken;
    } while (event != HS_WS_NEED_MORE && event != HS_WS_FAILED);
    run->has_failed = event == HS_WS_FAILED;
    return len - at;
}

/* All bytes: first `first`, then pieces of `step`. */
static inline void ws_run(ws_run_t *run, const hs_ws_rules_t *rules, const ws_bytes_t *bytes,
                          size_t first, size_t step)
{
    *run = (ws_run_t){ .rules = *rules };
    ws_bytes_put(&run->message, "", 0);
    ws_bytes_put(&run->log, "", 0);
    size_t begin = 0;
    size_t end = first < bytes->len ? first : bytes->len;
    for (;;) {
        size_t left = ws_run_give(run, bytes->data + begin, end - begin);
        begin = end - left;
        if (end == bytes->len || run->has_failed)
            break;
        end = bytes->len - end < step ? bytes->len : end + step;
    }
    run->failed_at = end;
}

static inline void ws_run_free(ws_run_t *run)
{
    ws_bytes_free(&run->message);
    ws_bytes_free(&run->log);
}
