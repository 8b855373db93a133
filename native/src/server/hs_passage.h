/*
 * The message that carries connections between processes (docs/ipc.md): a head, one record per
 * descriptor, then for each record in order its received bytes and its unsent ones. The descriptors
 * are attached. Pure. Both ends are on one machine and of one build: numbers are in its byte order,
 * and messages of other versions are refused.
 */
#pragma once

#include "conn/hs_conn_move.h"
#include "os/hs_pass.h"

#define HS_PASSAGE_VERSION 3
#define HS_PASSAGE_MAGIC 0x4d52 /* "MR" */

enum {
    HS_PASSAGE_MOVED = 1,         /* was open in another reactor; else newly accepted */
    HS_PASSAGE_ANSWERED = 2,      /* at least one request was answered */
    HS_PASSAGE_EXPECTS_PROXY = 4, /* its header of the PROXY protocol is still to be read */
    HS_PASSAGE_REPLAYED = 8,      /* its process died while handling its request */
    HS_PASSAGE_REFUSES = 16,      /* that request gets 503, then it is closed */
    HS_PASSAGE_CLOSES = 32,       /* it is closed after the unsent bytes */
    HS_PASSAGE_HEAD = 64,         /* the refused request was a HEAD */
    HS_PASSAGE_SPREAD = 128,      /* to the slot with the fewest, not to a successor */
};

typedef struct hs_passage_record {
    uint32_t flags;
    uint32_t len;    /* received bytes sent with it */
    uint32_t unsent; /* bytes of responses that do */
    uint32_t taken;  /* received and sent so far, modulo 2^32 */
    uint32_t given;
    hs_peer_t peer; /* of one that has moved: a PROXY header may have named it */
} hs_passage_record_t;

typedef struct hs_passage_head {
    uint16_t magic;
    uint8_t version;
    uint8_t count;     /* 1 to HS_PASS_FDS */
    uint32_t dead_pid; /* from the keeper of this process, which has died; 0: the sender lives */
    hs_passage_record_t records[HS_PASS_FDS];
} hs_passage_head_t;

#define HS_PASSAGE_MAX                                                                             \
    (sizeof(hs_passage_head_t) + HS_CONN_MOVE_BYTES_MAX + HS_CONN_MOVE_UNSENT_MAX)

/* Bytes of a head with `count` records. */
static inline size_t hs_passage_head_size(unsigned count)
{
    return offsetof(hs_passage_head_t, records) + count * sizeof(hs_passage_record_t);
}

/* A head for `count` new connections. */
void hs_passage_begin(hs_passage_head_t *head, unsigned count);

/* Encodes the data of a moved connection, and back. */
void hs_passage_write(const hs_conn_moved_t *moved, hs_passage_record_t *record);
void hs_passage_moved(const hs_passage_record_t *record, hs_conn_moved_t *moved);

/* Parses a message: false if invalid. `*bytes` is where the received bytes begin. */
HS_NODISCARD bool hs_passage_read(const char *data, size_t len, hs_passage_head_t *head,
                                  const char **bytes);
