/*
 * A stream: one non-blocking byte stream on one loop, accepted or outbound. It has the descriptor's
 * watcher, a transport that moves bytes, the buffers while bytes are pending, and one deadline.
 * The protocol gives the bytes their meaning.
 *
 *   kernel ──event──► stream ──on_data──► protocol ──output chain──► stream ──send──► kernel
 *
 * A stream calls its protocol through a table of callbacks, and the protocol responds by setting
 * fields of the stream: whether it reads, until when it waits, that it is over. No callback runs
 * inside a call made by the protocol: the effects of a call are reported later in the same turn or
 * in the next.
 *
 * The protocol of a live stream can be replaced (hs_stream_set_protocol), for an Upgrade: ring and
 * output chain stay, and bytes that have already arrived are the new protocol's first data.
 *
 * Without an event loop (loop->ev NULL) and with a test transport, a stream runs on byte arrays:
 * that is how the protocols are tested and fuzzed.
 *
 * Thread: the loop's.
 */
#pragma once

#include "data/hs_wheel.h"
#include "os/hs_ev.h"
#include "os/hs_sock.h"
#include "stream/hs_buffers.h"
#include "stream/hs_ledger.h"

/* Above the high mark, producers pause until no more than the low mark is unsent. */
#define HS_STREAM_HIGH_WATER (256 * 1024)
#define HS_STREAM_LOW_WATER (16 * 1024)
/* For message protocols: with this many unsent bytes they accept no further message, ... */
#define HS_STREAM_UNSENT_MAX (64 * 1024)
/* ... and after so many other streams get their turn. */
#define HS_STREAM_MESSAGES_PER_TURN 64

typedef struct hs_stream hs_stream_t;
typedef struct hs_loop hs_loop_t;

/* Results as those of os/hs_sock.h: bytes moved, 0 of recv is the end of the stream, or -errno. */
typedef struct hs_transport {
    ptrdiff_t (*recv)(hs_stream_t *stream, struct iovec *iov, int count);
    ptrdiff_t (*send)(hs_stream_t *stream, struct iovec *iov, int count, bool more);
    ptrdiff_t (*sendfile)(hs_stream_t *stream, int file, uint64_t offset, size_t len);
    void (*shutdown_write)(hs_stream_t *stream);
    /* Sent bytes that the peer has not acknowledged; 0 if unknown. */
    size_t (*unacknowledged)(hs_stream_t *stream);
} hs_transport_t;

typedef struct hs_protocol {
    /* Received bytes are in the ring from buffers->parsed on (or where recv_into said). Also called
     * after runs_again and after the protocol was replaced. */
    void (*on_data)(hs_loop_t *loop, hs_stream_t *stream);
    /* Where to receive `*into` bytes ahead of the ring, 0: only into the ring. NULL: never. */
    char *(*recv_into)(hs_stream_t *stream, size_t *room);
    void (*received_into)(hs_stream_t *stream, size_t len);
    /* waits_for_drain was set, and the low mark is reached. */
    void (*on_drained)(hs_loop_t *loop, hs_stream_t *stream);
    /* hs_stream_connect has succeeded. NULL for streams that are only accepted. */
    void (*on_connected)(hs_loop_t *loop, hs_stream_t *stream);
    /* The peer has shut its side: nothing more will arrive. */
    void (*on_end)(hs_loop_t *loop, hs_stream_t *stream);
    /* The peer shut its side while nothing was being read: unread bytes may precede it. */
    void (*on_peer_shut)(hs_loop_t *loop, hs_stream_t *stream);
    /* The stream is dead (errno). */
    void (*on_error)(hs_loop_t *loop, hs_stream_t *stream, int error);
    void (*on_deadline)(hs_loop_t *loop, hs_stream_t *stream);
    /* Called at the end of each of the above and of each send: computes what the stream does next
     * (reads, deadline_ms, closed). */
    void (*update)(hs_loop_t *loop, hs_stream_t *stream);
    /* The descriptor is closed: the stream's memory may be reused. */
    void (*on_closed)(hs_loop_t *loop, hs_stream_t *stream);
} hs_protocol_t;

/* owner: the loop's thread */
struct hs_stream {
    hs_ev_io_t watcher; /* first: the loop returns it */
    const hs_protocol_t *protocol;
    const hs_transport_t *transport; /* the loop's, unless the stream was given another */
    hs_buffers_t *buffers;           /* NULL while nothing is pending */
    uint64_t deadline_ms;            /* 0: none */
    hs_wheel_entry_t timer;
    hs_list_t turn;        /* in one of the loop's lists */
    bool readable;         /* the kernel may have bytes */
    bool writable;         /* the kernel may have room */
    bool shut_seen;        /* the peer has shut: read to the end despite a short read */
    bool write_shut : 1;   /* our side is shut */
    bool connecting : 1;   /* outbound, and the peer has not answered yet */
    bool observed : 1;     /* the loop's on_event_done is called for it: an accepted stream */
    bool kept : 1;         /* it is in the loop's ledger */
    bool reads;            /* set by the protocol: receive bytes now */
    bool discards;         /* set by the protocol: drop received bytes */
    bool waits_for_drain;  /* set by the protocol: on_drained is wanted */
    bool runs_again;       /* set by the protocol: on_data is wanted in the next turn */
    bool holds;            /* set by the protocol: small output may wait for more */
    bool shuts_write;      /* set by the protocol: shut our side */
    bool closed;           /* set by the protocol: close the descriptor */
    uint8_t state;         /* for counting streams by what they do */
    uint32_t taken;        /* received in total, modulo 2^32, like `given` */
    uint32_t given;        /* sent in all */
    uint32_t acknowledged; /* by the peer, for checking its progress */
};

/* owner: its thread */
struct hs_loop {
    hs_ev_t *ev;                     /* NULL: streams without descriptors */
    const hs_transport_t *transport; /* of all open streams */
    hs_wheel_t wheel;
    hs_list_t to_send; /* streams with unsent bytes and room: sent at the end of the turn */
    hs_list_t held;    /* streams with unsent bytes that wait for more */
    hs_list_t again;   /* streams that continue in the next turn without an event */
    hs_buffers_pool_t buffers;
    struct hs_readahead *readahead; /* for files that are not in the page cache; NULL: they are read
                                       while they are sent */
    hs_ledger_t *ledger; /* of accepted streams; NULL: they end with the process. Borrowed */
    uint64_t now_ms;     /* of this turn, as is now_ns */
    uint64_t now_ns;
    uint64_t held_since_ns; /* since when the first of `held` waits */
    uint64_t bytes_in;      /* ever received and sent */
    uint64_t bytes_out;
    /* Called for an accepted stream after each event, before its wishes are carried out: to count
     * it or move it away. True: the stream is gone. NULL: not called. Set before the first
     * stream. */
    bool (*on_event_done)(hs_loop_t *loop, hs_stream_t *stream);
    /* Called before the first event of a turn: reads the clocks. NULL: done elsewhere. */
    void (*on_turn)(hs_loop_t *loop);
    char discard[16 * 1024];
};

/* The transport outside tests: system calls on descriptors. */
extern const hs_transport_t hs_transport_plain;

void hs_loop_init(hs_loop_t *loop, hs_ev_t *ev, const hs_transport_t *transport, uint64_t now_ms);

/* A stream over a connected, non-blocking descriptor, which it owns from here on unless this fails
 * (-errno). `protocol` may get events from the next turn on. */
HS_NODISCARD int hs_stream_open(hs_loop_t *loop, hs_stream_t *stream, int fd,
                                const hs_protocol_t *protocol);

/*
 * Starts connecting a stream to `endpoint`: on_connected, or on_error with the reason, is called by
 * the loop, never inside this call. Output may be added before; the protocol sets the deadline.
 * -errno if it fails at once; then there is no stream.
 */
HS_NODISCARD int hs_stream_connect(hs_loop_t *loop, hs_stream_t *stream,
                                   const hs_sock_endpoint_t *endpoint,
                                   const hs_protocol_t *protocol);

/*
 * From the end of the current callback on, `protocol` gets the events. Unconsumed data that has
 * arrived is its first data; unsent output is sent. Its state is in the struct that embeds the
 * stream, whose address does not change.
 */
void hs_stream_set_protocol(hs_loop_t *loop, hs_stream_t *stream, const hs_protocol_t *protocol);

/* Buffers for a stream that has none. False: out of memory. */
HS_NODISCARD static inline bool hs_stream_lease(hs_loop_t *loop, hs_stream_t *stream)
{
    if (stream->buffers == NULL)
        stream->buffers = hs_buffers_lease(&loop->buffers);
    return stream->buffers != NULL;
}

/* stream/hs_readahead.h */
void hs_readahead_forget(hs_stream_t *stream);

static inline void hs_stream_give_back(hs_loop_t *loop, hs_stream_t *stream)
{
    if (stream->buffers == NULL)
        return;
    if (HS_UNLIKELY(stream->buffers->awaits != NULL))
        hs_readahead_forget(stream);
    hs_buffers_give_back(&loop->buffers, stream->buffers);
    stream->buffers = NULL;
}

/* From now on this stream survives the process. */
static inline void hs_stream_keep(hs_loop_t *loop, hs_stream_t *stream)
{
    if (loop->ledger == NULL)
        return;
    hs_ledger_touch(loop->ledger, stream);
    hs_ledger_add(loop->ledger, stream->watcher.fd, stream);
    stream->kept = true;
}

/* Records the current state of a stream with buffers. */
static inline void hs_stream_note(hs_loop_t *loop, const hs_stream_t *stream, size_t room,
                                  hs_stage_t stage)
{
    hs_note_t *note = hs_ledger_note(loop->ledger);
    const hs_buffers_t *buffers = stream->buffers;
    note->from = buffers->ring.tail;
    note->head = buffers->ring.head;
    note->taken = stream->taken;
    note->unsent = hs_out_unsent(&buffers->out);
    note->mark = buffers->out.bytes.len;
    note->room = room;
    hs_ledger_put(loop->ledger, stream, stage);
}

static inline size_t hs_stream_unsent(const hs_stream_t *stream)
{
    return stream->buffers != NULL ? hs_out_unsent(&stream->buffers->out) : 0;
}

/* Bytes acknowledged by the peer since output began to be unsent, modulo 2^32. */
uint32_t hs_stream_acknowledged(hs_stream_t *stream);

/* Kernel events, HS_EV_*: receives, notifies the protocol. */
void hs_stream_on_event(hs_loop_t *loop, hs_stream_t *stream, unsigned events);

/* Closes the descriptor at once; the protocol's on_closed follows. */
void hs_stream_close(hs_loop_t *loop, hs_stream_t *stream);

/* After a protocol was changed outside its callbacks: carries out its wishes. */
void hs_stream_update(hs_loop_t *loop, hs_stream_t *stream);

/* Receives what the kernel has, event or not. */
void hs_stream_receive(hs_loop_t *loop, hs_stream_t *stream);

/* Runs the streams that continue without an event. */
void hs_loop_resume(hs_loop_t *loop);

/* Sends what this turn has built; `hold_ns`: how long small output may wait for more. */
void hs_loop_send(hs_loop_t *loop, uint64_t hold_ns);

/* Reports deadlines that passed before `horizon_ms`: a time up to which all arrived data has been
 * received. */
void hs_loop_check_deadlines(hs_loop_t *loop, uint64_t horizon_ms);

/* A stream continues without an event: the loop must not wait. */
static inline bool hs_loop_is_busy(const hs_loop_t *loop)
{
    return !hs_list_empty(&loop->again) || !hs_list_empty(&loop->to_send);
}
