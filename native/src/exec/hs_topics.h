/*
 * Topics: a ring of messages in shared memory, which all processes of a server write and read. The
 * supervisor creates it, reactors map it by descriptor, and it outlives them.
 *
 * The ring is a log of cells. A position is a cell's number since the start; it never wraps, and
 * `position % cells` is where the cell lies. A publisher takes as many cells as its message needs
 * with one atomic addition to the head, copies the message there and commits it in the index. It
 * never waits: a slow reader's messages are overwritten, and it learns how many of its topics'
 * messages it lost. Messages of one publisher (a thread) are read in the order of publication, by
 * all readers in the same order.
 *
 * What a killed process leaves behind:
 *   - cells that were taken but never committed. A publisher announces beforehand, in a word of its
 * process, the position from which it takes cells; these words are cleared when the process is gone
 * (hs_topics_reset). A reader skips uncommitted cells once no live publisher can have taken them.
 *   - a committed message whose readers were not woken: they check once a second.
 * One that stands still (SIGSTOP) in that short time holds readers up for at most
 * HS_TOPICS_STALL_MS. If the ring has wrapped by the time it continues, it overwrites cells of
 * others: a message damaged like this does not match its checksum and counts as lost.
 *
 * Data read from the memory is not trusted: other processes may have overwritten it by mistake.
 *
 * Threads: any, except hs_topic_reader_t, which belongs to one.
 */
#pragma once

#include <stdatomic.h>

#include "base/hs_err.h"
#include "base/hs_span.h"
#include "httpserver_supervise.h"
#include "os/hs_wakefd.h"

#define HS_TOPICS_STALL_MS 2000

/* Messages are counted by the lowest bits of their topic's hash. */
#define HS_TOPIC_BUCKETS 4096

/* Which kind of thread of a process waits: those of one kind are woken together. */
typedef enum hs_topics_waiter {
    HS_TOPICS_IO = 0,
    HS_TOPICS_WORKERS = 1,
} hs_topics_waiter_t;

/* As hs_topics_create, hs_topics_attach takes the descriptors, also on failure. */
HS_NODISCARD hs_topics_t *hs_topics_new(uint32_t slots, size_t size, hs_errinfo_t *error);
HS_NODISCARD hs_topics_t *hs_topics_attach(const int *fds, size_t count, hs_errinfo_t *error);

/* This process uses the side from here on. HS_ERR_INVALID: there is no such side. */
HS_NODISCARD int hs_topics_begin(hs_topics_t *topics, uint32_t slot, uint32_t side);

/* 0; HS_ERR_INVALID: the topic is empty or longer than HS_TOPIC_MAX; HS_ERR_LIMIT: the message is
 * longer than HS_TOPIC_MESSAGE_MAX. Any thread. */
HS_NODISCARD int hs_topics_post(hs_topics_t *topics, hs_span_t topic, hs_span_t message);

uint32_t hs_topic_bucket(hs_span_t topic);

/* ---- Reading. ---- */

typedef struct hs_topic_message {
    hs_span_t topic;
    hs_span_t message;
    uint64_t position;
    uint64_t number; /* of the messages of its bucket, from 0 */
    uint32_t bucket;
} hs_topic_message_t;

/* A record is 4 words, the topic and the message, each padded to whole words. */
#define HS_TOPIC_RECORD_MAX (32 + (HS_TOPIC_MAX + 7) / 8 * 8 + HS_TOPIC_MESSAGE_MAX)

/* owner: its thread */
typedef struct hs_topic_reader {
    hs_topics_t *topics; /* borrowed */
    uint64_t next;       /* position */
    uint64_t gaps;       /* number of times that messages were overwritten before they were read, or
                            torn */
    uint64_t stalled_at; /* the position of an uncommitted message, ... */
    uint64_t stalled_ms; /* ... since when, 0: nowhere */
    uint64_t distrust_until;                /* and the time until which it is waited for */
    uint64_t wanted[HS_TOPIC_BUCKETS / 64]; /* buckets whose messages are read */
    uint64_t record[HS_TOPIC_RECORD_MAX / 8];
} hs_topic_reader_t;

typedef enum hs_topic_read {
    HS_TOPIC_NONE,    /* everything was read */
    HS_TOPIC_MESSAGE, /* one was read: it stays valid until the next call */
    HS_TOPIC_MORE,    /* `steps` are used up */
    HS_TOPIC_STALLED, /* the next one is not committed: soon, or its publisher is dead */
} hs_topic_read_t;

/* Reads messages published from now on. */
void hs_topic_reader_init(hs_topic_reader_t *reader, hs_topics_t *topics);

/* Skips everything published before. */
void hs_topic_reader_skip(hs_topic_reader_t *reader);

/* The next message of a wanted bucket. `steps` counts down skipped records. */
HS_NODISCARD hs_topic_read_t hs_topic_reader_next(hs_topic_reader_t *reader, uint64_t now_ms,
                                                  uint32_t *steps, hs_topic_message_t *message);

/* The number of messages that publishers have started in the bucket, and the position of the next
 * one. */
uint64_t hs_topics_count(hs_topics_t *topics, uint32_t bucket);
uint64_t hs_topics_head(hs_topics_t *topics);

/* ---- Waiting. ---- */

/* Messages of this bucket wake the process, or no longer do: counted, so calls must pair up. */
void hs_topics_want(hs_topics_t *topics, uint32_t bucket);
void hs_topics_unwant(hs_topics_t *topics, uint32_t bucket);

/* The descriptor for the process's loops to watch. */
const int *hs_topics_wakefd(const hs_topics_t *topics);

/*
 * The thread is about to sleep: from here on messages of wanted buckets signal the descriptor.
 * True: there is already something to read, and nothing will be signalled. */
HS_NODISCARD bool hs_topics_arm(hs_topic_reader_t *reader, hs_topics_waiter_t waiter);

/* It is awake: no system call is made for it. */
void hs_topics_disarm(hs_topic_reader_t *reader, hs_topics_waiter_t waiter);

/* Counted in the process's side: messages given to subscribers, and lost. */
void hs_topics_note(hs_topics_t *topics, uint64_t delivered, uint64_t lost);

/* The same of its subscribers: one more, or one less. */
void hs_topics_note_subscriber(hs_topics_t *topics, bool is_new);
