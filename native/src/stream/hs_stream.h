/*
 * A stream: one non-blocking byte stream on one loop, accepted or outbound. It has the descriptor's
 * watcher, a transport that moves bytes, the buffers while bytes are pending, and one deadline.
 * What the bytes mean is its protocol's business.
 *
 *   kernel ──event──► stream ──on_data──► protocol ──output chain──► stream ──send──► kernel
 *
 * A stream speaks to its protocol by a table of callbacks, and the protocol answers by what it sets
 * in the stream: whether it reads, until when it waits, that it is over. No callback runs inside a
 * call of the protocol's own: what a call causes is reported later in the same turn or in the next.
 *
 * The protocol of a living stream can be exchanged (hs_stream_set_protocol), for an Upgrade: ring
 * and output chain stay, and bytes that have arrived already are the new protocol's first data.
 *
 * Without an event loop (loop->ev NULL) and with a transport of its own a stream runs on byte
 * arrays: so the protocols are tested and fuzzed.
 *
 * Thread: the loop's.
 */
#pragma once

#include "data/hs_wheel.h"
#include "os/hs_ev.h"
#include "os/hs_sock.h"
#include "stream/hs_buffers.h"

/* Output from here on pauses who produces it, until no more than the lower mark is unsent. */
#define HS_STREAM_HIGH_WATER (256 * 1024)
#define HS_STREAM_LOW_WATER (16 * 1024)

typedef struct hs_stream hs_stream_t;
typedef struct hs_loop hs_loop_t;

/* Results as those of os/hs_sock.h: bytes moved, 0 of recv is the end of the stream, or -errno. */
typedef struct hs_transport {
    ptrdiff_t (*recv)(hs_stream_t *stream, struct iovec *iov, int count);
    ptrdiff_t (*send)(hs_stream_t *stream, struct iovec *iov, int count, bool more);
    ptrdiff_t (*sendfile)(hs_stream_t *stream, int file, uint64_t offset, size_t len);
    void (*shutdown_write)(hs_stream_t *stream);
    /* Sent bytes that the peer has not acknowledged; 0 if that cannot be known. */
    size_t (*unacknowledged)(hs_stream_t *stream);
} hs_transport_t;

typedef struct hs_protocol {
    /* Received bytes wait in the ring from buffers->parsed on (or went where recv_into said). Also
     * called after runs_again and after an exchange of protocols. */
    void (*on_data)(hs_loop_t *loop, hs_stream_t *stream);
    /* Where to receive `*into` bytes before the ring, 0: only into the ring. NULL: never. */
    char *(*recv_into)(hs_stream_t *stream, size_t *room);
    void (*received_into)(hs_stream_t *stream, size_t len);
    /* waits_for_drain was set, and little enough is unsent. */
    void (*on_drained)(hs_loop_t *loop, hs_stream_t *stream);
    /* hs_stream_connect has succeeded. NULL for streams that are only accepted. */
    void (*on_connected)(hs_loop_t *loop, hs_stream_t *stream);
    /* The peer has shut its side: nothing more will arrive. */
    void (*on_end)(hs_loop_t *loop, hs_stream_t *stream);
    /* The peer has shut its side while nothing was read: bytes may wait before it. */
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
    hs_ev_io_t watcher; /* first: the loop hands it back */
    const hs_protocol_t *protocol;
    const hs_transport_t *transport; /* the loop's, unless the stream was given another */
    hs_buffers_t *buffers;           /* NULL while nothing is pending */
    uint64_t deadline_ms;            /* 0: none */
    hs_wheel_entry_t timer;
    hs_list_t turn;       /* in one of the loop's lists */
    bool readable;        /* the kernel may have bytes */
    bool writable;        /* the kernel may have room */
    bool shut_seen;       /* the peer has shut: read until the end although a read was short */
    bool write_shut;      /* our side is shut */
    bool connecting;      /* outbound, and the peer has not answered yet */
    bool observed;        /* the loop's on_event_done is called for it: an accepted stream */
    bool reads;           /* set by the protocol: bytes are to be received now */
    bool discards;        /* set by the protocol: received bytes are dropped */
    bool waits_for_drain; /* set by the protocol: on_drained is wanted */
    bool runs_again;      /* set by the protocol: on_data is wanted in the next turn */
    bool holds;           /* set by the protocol: small output may wait for more */
    bool shuts_write;     /* set by the protocol: our side is to be shut */
    bool closed;          /* set by the protocol: the descriptor is to be closed */
    uint8_t state;        /* for whoever counts streams by what they do */
};

/* owner: its thread */
struct hs_loop {
    hs_ev_t *ev;                     /* NULL: streams without descriptors */
    const hs_transport_t *transport; /* of streams from their start on */
    hs_wheel_t wheel;
    hs_list_t to_send; /* streams with unsent bytes and room: sent at the end of the turn */
    hs_list_t held;    /* streams with unsent bytes that wait for more */
    hs_list_t again;   /* streams that go on in the next turn without an event */
    hs_buffers_pool_t buffers;
    uint64_t now_ms; /* of this turn, as is now_ns */
    uint64_t now_ns;
    uint64_t held_since_ns; /* since when the first of `held` waits */
    uint64_t bytes_in;      /* ever received and sent */
    uint64_t bytes_out;
    /* Called for an accepted stream after each event, before what it wants is done: to count it, to
     * move it away. True: the stream is gone. NULL: not called. Set before the first stream. */
    bool (*on_event_done)(hs_loop_t *loop, hs_stream_t *stream);
    /* Called before the first event of a turn: reads the clocks. NULL: somebody else does. */
    void (*on_turn)(hs_loop_t *loop);
    char discard[16 * 1024];
};

/* Descriptors by system calls: what `transport` is outside of tests. */
extern const hs_transport_t hs_transport_plain;

void hs_loop_init(hs_loop_t *loop, hs_ev_t *ev, const hs_transport_t *transport, uint64_t now_ms);

/* A stream over a connected, non-blocking descriptor, which it owns from here on unless this fails
 * (-errno). `protocol` may be told of events from the next turn on. */
HS_NODISCARD int hs_stream_open(hs_loop_t *loop, hs_stream_t *stream, int fd,
                                const hs_protocol_t *protocol);

/*
 * A stream to `endpoint`, which is being connected: on_connected, or on_error with the reason,
 * comes from the loop, never from inside this call. Output may be added before; the deadline is the
 * protocol's. -errno if it fails at once; then there is no stream.
 */
HS_NODISCARD int hs_stream_connect(hs_loop_t *loop, hs_stream_t *stream,
                                   const hs_sock_endpoint_t *endpoint,
                                   const hs_protocol_t *protocol);

/*
 * From the end of the current callback on `protocol` is told of events. What has arrived and was
 * not taken is its first data; what is unsent is sent. Its state is in what embeds the stream,
 * whose address does not change.
 */
void hs_stream_set_protocol(hs_loop_t *loop, hs_stream_t *stream, const hs_protocol_t *protocol);

/* Buffers for a stream that has none. False: out of memory. */
HS_NODISCARD static inline bool hs_stream_lease(hs_loop_t *loop, hs_stream_t *stream)
{
    if (stream->buffers == NULL)
        stream->buffers = hs_buffers_lease(&loop->buffers);
    return stream->buffers != NULL;
}

static inline void hs_stream_give_back(hs_loop_t *loop, hs_stream_t *stream)
{
    if (stream->buffers == NULL)
        return;
    hs_buffers_give_back(&loop->buffers, stream->buffers);
    stream->buffers = NULL;
}

static inline size_t hs_stream_unsent(const hs_stream_t *stream)
{
    return stream->buffers != NULL ? hs_out_unsent(&stream->buffers->out) : 0;
}

/* What the peer has acknowledged since output began to be unsent, modulo 2^32. */
uint32_t hs_stream_acknowledged(hs_stream_t *stream);

/* Events of the kernel's, HS_EV_*: receives, tells the protocol. */
void hs_stream_on_event(hs_loop_t *loop, hs_stream_t *stream, unsigned events);

/* Closes the descriptor at once; the protocol's on_closed follows. */
void hs_stream_close(hs_loop_t *loop, hs_stream_t *stream);

/* After a protocol was changed from outside of its callbacks: does what it wants now. */
void hs_stream_update(hs_loop_t *loop, hs_stream_t *stream);

/* Receives what the kernel has now, event or not. */
void hs_stream_receive(hs_loop_t *loop, hs_stream_t *stream);

/* The streams that go on without an event. */
void hs_loop_resume(hs_loop_t *loop);

/* Sends what this turn has built; `hold_ns`: how long small output may wait for more. */
void hs_loop_send(hs_loop_t *loop, uint64_t hold_ns);

/* Reports deadlines that passed before `horizon_ms`: a time up to which all that has arrived has
 * been received. */
void hs_loop_check_deadlines(hs_loop_t *loop, uint64_t horizon_ms);

/* Something goes on without an event: the loop must not wait. */
static inline bool hs_loop_is_busy(const hs_loop_t *loop)
{
    return !hs_list_empty(&loop->again) || !hs_list_empty(&loop->to_send);
}
