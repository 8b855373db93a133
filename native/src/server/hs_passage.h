/*
 * The message in which connections travel between processes (docs/ipc.md): a head, one record a
 * descriptor, then the received bytes of the records in order. The descriptors travel beside it.
 * Pure. Both ends are of one machine and one build: numbers are in its byte order, and a message of
 * another version is refused.
 */
#pragma once

#include "conn/hs_conn_move.h"
#include "os/hs_pass.h"

#define HS_PASSAGE_VERSION 2
#define HS_PASSAGE_MAGIC 0x4d52 /* "MR" */

enum {
    HS_PASSAGE_MOVED = 1,         /* was open in another reactor; else newly accepted */
    HS_PASSAGE_ANSWERED = 2,      /* at least one request was answered */
    HS_PASSAGE_EXPECTS_PROXY = 4, /* its header of the PROXY protocol is still to be read */
};

typedef struct hs_passage_record {
    uint32_t flags;
    uint32_t len;   /* received bytes that travel with it */
    hs_peer_t peer; /* of one that has moved: a PROXY header may have named it */
} hs_passage_record_t;

typedef struct hs_passage_head {
    uint16_t magic;
    uint8_t version;
    uint8_t count; /* 1 to HS_PASS_FDS */
    hs_passage_record_t records[HS_PASS_FDS];
} hs_passage_head_t;

#define HS_PASSAGE_MAX (sizeof(hs_passage_head_t) + HS_CONN_MOVE_BYTES_MAX)

/* Bytes of a head with `count` records. */
static inline size_t hs_passage_head_size(unsigned count)
{
    return offsetof(hs_passage_head_t, records) + count * sizeof(hs_passage_record_t);
}

/* A head for `count` new connections. */
void hs_passage_begin(hs_passage_head_t *head, unsigned count);

/* Reads a message: false if it is none. `*bytes` is where the received bytes begin. */
HS_NODISCARD bool hs_passage_read(const char *data, size_t len, hs_passage_head_t *head,
                                  const char **bytes);
