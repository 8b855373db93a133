/* hs_stream: which callbacks a protocol gets, and when, with a transport controlled by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <errno.h>

#include "stream/buffers_pool.h"
#include "stream/hs_stream.h"

#define RING 64
#define SOURCE_SIZE (3 * 1024 * 1024)
#define ALL SIZE_MAX
#define NOW_MS 1000000

typedef struct toy toy_t;

/* What a callback does in addition to being recorded. */
typedef void (*toy_act_fn)(toy_t *toy);

/* One stream, its loop, its transport and its protocol, which keeps everything it receives. */
struct toy {
    hs_stream_t stream; /* first */
    hs_loop_t loop;
    hs_pool_t blocks;
    /* transport */
    const char *in;
    size_t in_len;
    bool has_end;
    int recv_error;
    int send_error; /* of the next send, then none */
    size_t send_max;
    size_t room;
    const ptrdiff_t *file_script; /* most bytes accepted by each sendfile, or its result */
    size_t file_script_len;
    size_t file_calls;
    unsigned send_calls;
    unsigned shutdowns;
    hs_buf_t got;
    /* protocol */
    char events[512]; /* letters of the callbacks, in order */
    size_t event_count;
    int error;
    hs_buf_t received;
    char letter;       /* of the callback that acts */
    toy_act_fn act;    /* NULL: none does */
    char content[256]; /* destination of recv_into */
    size_t content_len;
    size_t content_wanted;
    bool takes_nothing; /* on_data leaves the bytes in the ring */
    bool in_callback;
    bool is_over; /* update closes the stream */
    unsigned releases;
    bool is_closed;
};

static char source[SOURCE_SIZE];
static int source_file;

static toy_t *toy_of(hs_stream_t *stream)
{
    return (toy_t *)(void *)stream;
}

static ptrdiff_t toy_recv(hs_stream_t *stream, struct iovec *iov, int count)
{
    toy_t *toy = toy_of(stream);
    if (toy->recv_error != 0)
        return -toy->recv_error;
    if (toy->in_len == 0)
        return toy->has_end ? 0 : -EAGAIN;
    size_t copied = 0;
    for (int i = 0; i < count && copied < toy->in_len; i++) {
        size_t part = hs_min(iov[i].iov_len, toy->in_len - copied);
        memcpy(iov[i].iov_base, toy->in + copied, part);
        copied += part;
    }
    toy->in += copied;
    toy->in_len -= copied;
    return (ptrdiff_t)copied;
}

static size_t takes(toy_t *toy, size_t wanted)
{
    size_t len = hs_min(hs_min(wanted, toy->room), toy->send_max);
    toy->room -= len;
    return len;
}

static ptrdiff_t toy_send(hs_stream_t *stream, struct iovec *iov, int count, bool more)
{
    toy_t *toy = toy_of(stream);
    size_t wanted = 0;
    for (int i = 0; i < count; i++) {
        assert_true(iov[i].iov_len > 0);
        wanted += iov[i].iov_len;
    }
    assert_true(wanted > 0);
    assert_int_equal(more, wanted < hs_stream_unsent(stream));
    toy->send_calls++;
    int error = toy->send_error;
    toy->send_error = 0;
    if (error != 0)
        return -error;
    size_t left = takes(toy, wanted);
    if (left == 0)
        return -EAGAIN;
    size_t taken = left;
    for (int i = 0; left > 0; i++) {
        size_t part = hs_min(iov[i].iov_len, left);
        assert_true(hs_buf_append(&toy->got, iov[i].iov_base, part));
        left -= part;
    }
    return (ptrdiff_t)taken;
}

static ptrdiff_t toy_sendfile(hs_stream_t *stream, int file, uint64_t offset, size_t len)
{
    toy_t *toy = toy_of(stream);
    size_t call = toy->file_calls++;
    ptrdiff_t result = call < toy->file_script_len ? toy->file_script[call] : PTRDIFF_MAX;
    if (result <= 0)
        return result;
    size_t part = takes(toy, hs_min(len, (size_t)result));
    if (part == 0)
        return -EAGAIN;
    assert_true(hs_buf_reserve(&toy->got, part));
    assert_int_equal(pread(file, toy->got.data + toy->got.len, part, (off_t)offset), part);
    toy->got.len += part;
    return (ptrdiff_t)part;
}

static void toy_shutdown(hs_stream_t *stream)
{
    assert_int_equal(toy_of(stream)->shutdowns++, 0);
}

static size_t toy_unacknowledged(hs_stream_t *stream)
{
    (void)stream;
    return 3;
}

static const hs_transport_t toy_transport = {
    .recv = toy_recv,
    .send = toy_send,
    .sendfile = toy_sendfile,
    .shutdown_write = toy_shutdown,
    .unacknowledged = toy_unacknowledged,
};

/* Records a callback; no callback runs inside another one. */
static void note(toy_t *toy, char letter)
{
    assert_false(toy->in_callback);
    assert_false(toy->is_closed);
    assert_true(toy->event_count + 1 < sizeof(toy->events));
    toy->events[toy->event_count++] = letter;
    toy->events[toy->event_count] = '\0';
    if (toy->act == NULL || toy->letter != letter)
        return;
    toy->in_callback = true;
    toy->act(toy);
    toy->in_callback = false;
}

/* Takes the bytes of the ring, at most `max`. */
static void take_ring(toy_t *toy, size_t max)
{
    hs_buffers_t *buffers = toy->stream.buffers;
    while (buffers != NULL && max > 0 && hs_buffers_has_unparsed(buffers)) {
        hs_ring_t *ring = &buffers->ring;
        uint32_t len = (uint32_t)hs_min(hs_ring_readable(ring, buffers->parsed), max);
        assert_true(hs_buf_append(&toy->received, hs_ring_at(ring, buffers->parsed), len));
        buffers->parsed += len;
        max -= len;
        hs_buffers_release_parsed(buffers);
    }
}

static void on_data(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    toy_t *toy = toy_of(stream);
    if (!toy->takes_nothing)
        take_ring(toy, ALL);
    note(toy, 'd');
}

static char *recv_into(hs_stream_t *stream, size_t *room)
{
    toy_t *toy = toy_of(stream);
    *room = toy->content_wanted - toy->content_len;
    return toy->content + toy->content_len;
}

static void received_into(hs_stream_t *stream, size_t len)
{
    toy_t *toy = toy_of(stream);
    toy->content_len += len;
    assert_true(toy->content_len <= toy->content_wanted);
}

static void on_drained(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    assert_true(hs_stream_unsent(stream) <= HS_STREAM_LOW_WATER);
    note(toy_of(stream), 'D');
}

static void on_end(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    note(toy_of(stream), 'e');
}

static void on_peer_shut(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    note(toy_of(stream), 's');
}

static void on_error(hs_loop_t *loop, hs_stream_t *stream, int error)
{
    (void)loop;
    toy_of(stream)->error = error;
    note(toy_of(stream), 'x');
}

static void on_deadline(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    note(toy_of(stream), 't');
}

/* An idle stream holds no buffers. */
static void update(hs_loop_t *loop, hs_stream_t *stream)
{
    toy_t *toy = toy_of(stream);
    assert_false(toy->is_closed);
    if (toy->is_over)
        stream->closed = true;
    if (stream->buffers != NULL && hs_stream_unsent(stream) == 0 &&
        !hs_buffers_has_unparsed(stream->buffers))
        hs_stream_give_back(loop, stream);
}

static void on_closed(hs_loop_t *loop, hs_stream_t *stream)
{
    toy_t *toy = toy_of(stream);
    assert_false(toy->is_closed);
    assert_null(stream->buffers);
    assert_true(hs_list_empty(&stream->turn));
    assert_int_equal(loop->wheel.armed, 0);
    toy->is_closed = true;
}

static const hs_protocol_t toy_protocol = {
    .on_data = on_data,
    .recv_into = recv_into,
    .received_into = received_into,
    .on_drained = on_drained,
    .on_end = on_end,
    .on_peer_shut = on_peer_shut,
    .on_error = on_error,
    .on_deadline = on_deadline,
    .update = update,
    .on_closed = on_closed,
};

static void toy_open(toy_t *toy)
{
    memset(toy, 0, sizeof(*toy));
    hs_loop_init(&toy->loop, NULL, &toy_transport, NOW_MS);
    buffers_pool_begin(&toy->loop.buffers, &toy->blocks, RING, 0, 1);
    assert_int_equal(hs_stream_open(&toy->loop, &toy->stream, -1, &toy_protocol), 0);
    toy->send_max = toy->room = ALL;
    hs_stream_update(&toy->loop, &toy->stream);
}

static void toy_free(toy_t *toy)
{
    if (!toy->is_closed) {
        toy->stream.closed = true;
        hs_stream_update(&toy->loop, &toy->stream);
    }
    assert_true(toy->is_closed);
    assert_int_equal(toy->loop.buffers.leased, 0);
    assert_false(hs_loop_is_busy(&toy->loop));
    buffers_pool_end(&toy->loop.buffers);
    hs_buf_free(&toy->got);
    hs_buf_free(&toy->received);
}

static void event(toy_t *toy, unsigned events)
{
    hs_stream_on_event(&toy->loop, &toy->stream, events);
}

/* Bytes arrive; what is not received stays in the transport. */
static void feed(toy_t *toy, const char *data, size_t len)
{
    toy->in = data;
    toy->in_len = len;
    event(toy, HS_EV_READ);
}

static void turn(toy_t *toy)
{
    hs_loop_resume(&toy->loop);
    hs_loop_send(&toy->loop, 0);
}

/* Turns until nothing more happens by itself. */
static void pump(toy_t *toy)
{
    for (unsigned turns = 0; hs_loop_is_busy(&toy->loop); turns++) {
        assert_true(turns < 100000);
        turn(toy);
    }
}

/* Like pump, with a kernel that reports room again each time. */
static void pump_out(toy_t *toy)
{
    pump(toy);
    while (!toy->is_closed && hs_stream_unsent(&toy->stream) > 0) {
        assert_false(toy->stream.writable);
        event(toy, HS_EV_WRITE);
        pump(toy);
    }
}

static void assert_events(const toy_t *toy, const char *events)
{
    assert_string_equal(toy->events, events);
}

static void act_on(toy_t *toy, char letter, toy_act_fn act)
{
    toy->letter = letter;
    toy->act = act;
}

static void close_it(toy_t *toy)
{
    toy->is_over = true;
}

static void count_release(void *context, uintptr_t token)
{
    (void)token;
    ((toy_t *)context)->releases++;
}

static hs_out_t *out_of(toy_t *toy)
{
    assert_true(hs_stream_lease(&toy->loop, &toy->stream));
    return &toy->stream.buffers->out;
}

/* The source's bytes from `at` on. */
static void put_bytes(toy_t *toy, size_t at, size_t len)
{
    assert_true(hs_out_append(out_of(toy), source + at, len));
}

static void put_pinned(toy_t *toy, size_t at, size_t len)
{
    assert_true(hs_out_pin(out_of(toy), source + at, len, (hs_release_t){ count_release, toy, 0 }));
}

static void put_file(toy_t *toy, size_t at, size_t len)
{
    assert_true(hs_out_add_file(out_of(toy), source_file, at, len, HS_OUT_ANY_TIME, 0,
                                (hs_release_t){ count_release, toy, 0 }));
}

static void start_sending(toy_t *toy)
{
    hs_stream_update(&toy->loop, &toy->stream);
}

static void assert_got(const toy_t *toy, size_t len)
{
    assert_int_equal(toy->got.len, len);
    assert_memory_equal(toy->got.data, source, len);
}

/* One of each kind, in several orders, at every step. */
static void partial_sends_lose_nothing(void **state)
{
    (void)state;
    static toy_t toy;
    for (size_t step = 1; step <= 101; step += 3)
        for (unsigned order = 0; order < 6; order++) {
            toy_open(&toy);
            toy.send_max = step;
            size_t at = 0;
            for (unsigned i = 0; i < 6; i++, at += 17) {
                switch ((order + i) % 3) {
                case 0:
                    put_bytes(&toy, at, 17);
                    break;
                case 1:
                    put_pinned(&toy, at, 17);
                    break;
                default:
                    put_file(&toy, at, 17);
                }
            }
            start_sending(&toy);
            pump_out(&toy);
            assert_got(&toy, at);
            assert_int_equal(toy.releases, 4);
            assert_int_equal(toy.loop.bytes_out, at);
            assert_events(&toy, "");
            toy_free(&toy);
        }
}

/* A full kernel is not tried again until it reports room. */
static void a_full_kernel_is_waited_for(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    put_bytes(&toy, 0, 100);
    toy.room = 30;
    start_sending(&toy);
    pump(&toy);
    assert_got(&toy, 30);
    assert_false(toy.stream.writable);
    assert_int_equal(toy.send_calls, 1); /* it accepted less than offered, which says enough */
    put_bytes(&toy, 100, 100);
    start_sending(&toy);
    pump(&toy);
    assert_int_equal(toy.send_calls, 1);
    event(&toy, HS_EV_WRITE); /* spurious */
    pump(&toy);
    assert_int_equal(toy.send_calls, 2);
    assert_got(&toy, 30);
    toy.room = ALL;
    event(&toy, HS_EV_WRITE);
    pump(&toy);
    assert_got(&toy, 200);
    assert_null(toy.stream.buffers);
    toy_free(&toy);
}

static void an_interrupted_call_is_made_again(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    put_bytes(&toy, 0, 100);
    toy.send_error = EINTR;
    start_sending(&toy);
    pump(&toy);
    assert_got(&toy, 100);
    toy.recv_error = EINTR;
    event(&toy, HS_EV_READ);
    assert_true(hs_loop_is_busy(&toy.loop));
    toy.recv_error = 0;
    toy.in = source;
    toy.in_len = 5;
    pump(&toy);
    assert_int_equal(toy.received.len, 5);
    assert_events(&toy, "d");
    toy_free(&toy);
}

/* More than one ring arrives with one event: a protocol that takes everything gets everything. */
static void everything_is_received(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    feed(&toy, source, 10 * RING + 7);
    pump(&toy);
    assert_int_equal(toy.received.len, 10 * RING + 7);
    assert_memory_equal(toy.received.data, source, toy.received.len);
    assert_int_equal(toy.loop.bytes_in, toy.received.len);
    assert_null(toy.stream.buffers);
    toy_free(&toy);
}

/* One stream does not receive without limit in one turn. */
static void one_receive_per_turn(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    feed(&toy, source, 4 * RING);
    for (size_t times = 1; times <= 4; times++) {
        assert_int_equal(toy.event_count, times);
        assert_true(hs_loop_is_busy(&toy.loop));
        turn(&toy);
    }
    pump(&toy);
    assert_events(&toy, "dddd");
    toy_free(&toy);
}

static void nothing_is_received_while_reads_are_paused(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    toy.stream.reads = false;
    feed(&toy, source, 100);
    pump(&toy);
    assert_events(&toy, "");
    assert_int_equal(toy.in_len, 100);
    assert_null(toy.stream.buffers);
    /* Resumed: there is no second event for bytes that wait. */
    toy.stream.reads = true;
    hs_stream_update(&toy.loop, &toy.stream);
    pump(&toy);
    assert_int_equal(toy.received.len, 100);
    toy_free(&toy);
}

static void pause_it(toy_t *toy)
{
    toy->stream.reads = false;
}

static void a_pause_inside_data_lets_no_further_byte_in(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    act_on(&toy, 'd', pause_it);
    feed(&toy, source, 3 * RING);
    pump(&toy);
    assert_int_equal(toy.received.len, RING);
    for (unsigned i = 2; i <= 3; i++) {
        toy.stream.reads = true;
        hs_stream_update(&toy.loop, &toy.stream);
        pump(&toy);
        assert_int_equal(toy.received.len, i * RING);
    }
    toy_free(&toy);
}

static void discarded_bytes_need_no_buffers(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    toy.stream.discards = true;
    feed(&toy, source, 100000);
    pump(&toy);
    assert_int_equal(toy.in_len, 0);
    assert_int_equal(toy.received.len, 0);
    assert_null(toy.stream.buffers);
    assert_int_equal(hs_pool_in_use(&toy.blocks), 0);
    assert_true(toy.event_count > 1);
    toy_free(&toy);
}

/* Content of known length goes to its destination, what follows it into the ring. */
static void content_is_received_beside_the_ring(void **state)
{
    (void)state;
    for (size_t piece = 1; piece <= 300; piece += 13) {
        toy_t toy;
        toy_open(&toy);
        toy.content_wanted = 200;
        for (size_t at = 0; at < 250; at += piece) {
            feed(&toy, source + at, hs_min(piece, 250 - at));
            pump(&toy);
        }
        assert_int_equal(toy.content_len, 200);
        assert_memory_equal(toy.content, source, 200);
        assert_int_equal(toy.received.len, 50);
        assert_memory_equal(toy.received.data, source + 200, 50);
        toy_free(&toy);
    }
}

static void the_end_comes_behind_all_bytes(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    toy.has_end = true;
    toy.in = source;
    toy.in_len = 2 * RING + 1; /* the last read is a short one */
    event(&toy, HS_EV_READ | HS_EV_PEER_SHUT);
    pump(&toy);
    assert_events(&toy, "ddde");
    assert_int_equal(toy.received.len, 2 * RING + 1);
    pump(&toy);
    assert_events(&toy, "ddde");
    toy_free(&toy);
}

static void a_peer_that_shuts_while_reads_are_paused_is_told(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    toy.stream.reads = false;
    toy.has_end = true;
    toy.in = source;
    toy.in_len = 10;
    event(&toy, HS_EV_READ | HS_EV_PEER_SHUT);
    pump(&toy);
    assert_events(&toy, "s");
    toy.stream.reads = true;
    hs_stream_update(&toy.loop, &toy.stream);
    pump(&toy);
    assert_events(&toy, "sde");
    assert_int_equal(toy.received.len, 10);
    toy_free(&toy);
}

/* The peer has closed. While there are bytes they come first, then recv's result. */
static void a_hangup_is_an_error_unless_bytes_are_read(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    toy.stream.reads = false;
    act_on(&toy, 'x', close_it);
    event(&toy, HS_EV_READ | HS_EV_PEER_SHUT | HS_EV_HANGUP);
    assert_events(&toy, "x");
    assert_int_equal(toy.error, ECONNRESET);
    assert_true(toy.is_closed);
    toy_free(&toy);
    toy_open(&toy);
    toy.in = source;
    toy.in_len = 10;
    toy.has_end = true;
    event(&toy, HS_EV_READ | HS_EV_PEER_SHUT | HS_EV_HANGUP);
    pump(&toy);
    assert_events(&toy, "de");
    toy_free(&toy);
}

static void an_error_of_recv_is_told(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    toy.recv_error = ETIMEDOUT;
    act_on(&toy, 'x', close_it);
    put_pinned(&toy, 0, 10);
    event(&toy, HS_EV_READ);
    assert_events(&toy, "x");
    assert_int_equal(toy.error, ETIMEDOUT);
    assert_int_equal(toy.releases, 1);
    assert_int_equal(toy.got.len, 0);
    toy_free(&toy);
}

/* A failed send ends the stream: no other callback comes afterwards. */
static void an_error_of_send_is_told_once(void **state)
{
    (void)state;
    for (size_t sent = 0; sent <= HS_STREAM_LOW_WATER; sent += HS_STREAM_LOW_WATER) {
        static toy_t toy;
        toy_open(&toy);
        act_on(&toy, 'x', close_it);
        /* The first file range is sent; then little enough is left for on_drained. */
        if (sent > 0)
            put_file(&toy, 0, sent);
        put_pinned(&toy, sent, 100);
        toy.stream.waits_for_drain = true;
        toy.send_error = EPIPE;
        start_sending(&toy);
        pump(&toy);
        assert_events(&toy, "x");
        assert_int_equal(toy.error, EPIPE);
        assert_got(&toy, sent);
        assert_int_equal(toy.releases, 1 + (sent > 0));
        assert_true(toy.is_closed);
        toy_free(&toy);
    }
}

static void deadlines_are_told_behind_the_horizon(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    toy.stream.deadline_ms = NOW_MS + 1000;
    hs_stream_update(&toy.loop, &toy.stream);
    hs_loop_check_deadlines(&toy.loop, NOW_MS + 999);
    assert_events(&toy, "");
    /* It moves later without the wheel, earlier with it, and can be removed. */
    toy.stream.deadline_ms = NOW_MS + 5000;
    hs_stream_update(&toy.loop, &toy.stream);
    hs_loop_check_deadlines(&toy.loop, NOW_MS + 4000);
    assert_events(&toy, "");
    toy.stream.deadline_ms = NOW_MS + 4500;
    hs_stream_update(&toy.loop, &toy.stream);
    hs_loop_check_deadlines(&toy.loop, NOW_MS + 4600);
    assert_events(&toy, "t");
    toy.stream.deadline_ms = 0;
    hs_stream_update(&toy.loop, &toy.stream);
    hs_loop_check_deadlines(&toy.loop, NOW_MS + 100000);
    assert_events(&toy, "t");
    assert_int_equal(toy.loop.wheel.armed, 0);
    toy_free(&toy);
}

static void go_on_once(toy_t *toy)
{
    toy->stream.runs_again = toy->event_count < 4;
}

/* Without an event, in the next turn, once per turn. */
static void going_on_is_the_next_turns_business(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    act_on(&toy, 'd', go_on_once);
    feed(&toy, source, 5);
    for (size_t times = 1; times <= 4; times++) {
        assert_int_equal(toy.event_count, times);
        turn(&toy);
    }
    assert_events(&toy, "dddd");
    assert_false(hs_loop_is_busy(&toy.loop));
    /* Even while output is unsent, whether the kernel accepts it or not. */
    for (size_t room = 0; room <= 10; room += 10) {
        put_bytes(&toy, 0, 20);
        toy.room = room;
        toy.stream.runs_again = true;
        start_sending(&toy);
        toy.event_count = 0;
        pump(&toy);
        assert_events(&toy, "dddd");
    }
    toy_free(&toy);
}

/* Above the high mark there is no callback until at most the low mark is unsent, then one. */
static void drained_is_told_at_the_low_mark(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    size_t high = HS_STREAM_HIGH_WATER + 1;
    put_bytes(&toy, 0, high);
    toy.stream.waits_for_drain = true;
    toy.room = high - HS_STREAM_LOW_WATER - 1;
    start_sending(&toy);
    pump(&toy);
    assert_events(&toy, "");
    toy.room = 1;
    event(&toy, HS_EV_WRITE);
    pump(&toy);
    assert_events(&toy, "D");
    assert_false(toy.stream.waits_for_drain);
    toy.room = ALL;
    event(&toy, HS_EV_WRITE);
    pump(&toy);
    assert_events(&toy, "D");
    toy_free(&toy);
}

/* A writer that waits although nothing is unsent is notified too: no send will follow that could.
 */
static void drained_is_told_although_nothing_is_unsent(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    toy.stream.waits_for_drain = true;
    hs_stream_update(&toy.loop, &toy.stream);
    assert_events(&toy, ""); /* not inside the call that requests it */
    pump(&toy);
    assert_events(&toy, "D");
    assert_false(hs_loop_is_busy(&toy.loop));
    toy_free(&toy);
}

static void put_more(toy_t *toy)
{
    if (toy->got.len > SOURCE_SIZE / 2)
        return;
    put_bytes(toy, toy->got.len + hs_stream_unsent(&toy->stream), 100000);
    toy->stream.waits_for_drain = true;
}

/* A producer driven by on_drained: everything arrives, and little is buffered at a time. */
static void a_producer_is_pulled_by_drained(void **state)
{
    (void)state;
    static const size_t steps[] = { ALL, 1000, 65536, 99999, 100001 };
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        static toy_t toy;
        toy_open(&toy);
        toy.send_max = steps[i];
        act_on(&toy, 'D', put_more);
        put_more(&toy);
        start_sending(&toy);
        while (!toy.is_closed && (hs_loop_is_busy(&toy.loop) || !toy.stream.writable)) {
            assert_true(hs_stream_unsent(&toy.stream) <= HS_STREAM_HIGH_WATER);
            if (!toy.stream.writable)
                event(&toy, HS_EV_WRITE);
            turn(&toy);
            toy.event_count = 0;
        }
        assert_true(toy.got.len > SOURCE_SIZE / 2);
        assert_got(&toy, toy.got.len);
        toy_free(&toy);
    }
}

/* Small output may wait for more, for a while; large output is sent at once. */
static void small_output_may_be_held(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    toy.loop.now_ns = 1000;
    toy.stream.holds = true;
    put_bytes(&toy, 0, 100);
    start_sending(&toy);
    hs_loop_send(&toy.loop, 500);
    assert_int_equal(toy.got.len, 0);
    assert_false(hs_loop_is_busy(&toy.loop)); /* the loop may wait, for that long */
    toy.loop.now_ns += 499;
    hs_loop_send(&toy.loop, 500);
    assert_int_equal(toy.got.len, 0);
    toy.loop.now_ns += 1;
    hs_loop_send(&toy.loop, 500);
    assert_got(&toy, 100);
    put_bytes(&toy, 100, HS_STREAM_LOW_WATER);
    start_sending(&toy);
    hs_loop_send(&toy.loop, 500);
    assert_got(&toy, 100 + HS_STREAM_LOW_WATER);
    toy_free(&toy);
}

static void our_side_is_shut_once(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    toy.stream.shuts_write = true;
    for (unsigned i = 0; i < 3; i++)
        hs_stream_update(&toy.loop, &toy.stream);
    assert_int_equal(toy.shutdowns, 1);
    toy_free(&toy);
    toy_open(&toy);
    toy.stream.shuts_write = toy.stream.closed = true;
    hs_stream_update(&toy.loop, &toy.stream);
    assert_int_equal(toy.shutdowns, 0);
    toy_free(&toy);
}

typedef struct file_case {
    ptrdiff_t script[6];
    size_t script_len;
    const char *events;
    size_t got; /* of 100 bytes before, 1000 of the file and 100 after */
} file_case_t;

/* Every possible result of sendfile, at every position. A short one does not mean that the kernel
 * is full: the file may have become shorter. */
static void every_result_of_sendfile(void **state)
{
    (void)state;
    static const file_case_t table[] = {
        { { 0 }, 0, "", 1200 },
        { { 1000 }, 1, "", 1200 },
        { { 1, 998, 1 }, 3, "", 1200 },
        { { -EAGAIN }, 1, "", 1200 },
        { { -EAGAIN, 10, -EAGAIN, 990 }, 4, "", 1200 },
        { { -EINTR, 10, -EINTR, 990 }, 4, "", 1200 },
        { { 0 }, 1, "x", 100 },
        { { 10, 0 }, 2, "x", 110 },
        { { 999, 0 }, 2, "x", 1099 },
        { { 10, -EAGAIN, 0 }, 3, "x", 110 },
        { { -EIO }, 1, "x", 100 },
        { { 500, -EPIPE }, 2, "x", 600 },
        { { 500, -EAGAIN, -ECONNRESET }, 3, "x", 600 },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        static toy_t toy;
        toy_open(&toy);
        toy.file_script = table[i].script;
        toy.file_script_len = table[i].script_len;
        act_on(&toy, 'x', close_it);
        put_bytes(&toy, 0, 100);
        put_file(&toy, 100, 1000);
        put_bytes(&toy, 1100, 100);
        start_sending(&toy);
        pump_out(&toy);
        assert_events(&toy, table[i].events);
        assert_got(&toy, table[i].got);
        assert_int_equal(toy.releases, 1);
        toy_free(&toy);
    }
}

/* A truncated file is an error at once: the kernel is not full and will never report
 * room. */
static void a_file_that_became_shorter_is_not_waited_for(void **state)
{
    (void)state;
    static const ptrdiff_t script[] = { 400, 0 };
    toy_t toy;
    toy_open(&toy);
    toy.file_script = script;
    toy.file_script_len = 2;
    act_on(&toy, 'x', close_it);
    put_file(&toy, 0, 1000);
    start_sending(&toy);
    pump(&toy);
    assert_events(&toy, "x");
    assert_int_equal(toy.error, EIO);
    toy_free(&toy);
}

/* One stream sends a bounded part of a large file in one turn. */
static void a_turn_has_a_budget_for_sending(void **state)
{
    (void)state;
    static toy_t toy;
    toy_open(&toy);
    put_file(&toy, 0, SOURCE_SIZE);
    start_sending(&toy);
    for (size_t sent = 1024 * 1024; sent <= SOURCE_SIZE; sent += 1024 * 1024) {
        turn(&toy);
        assert_int_equal(toy.got.len, sent);
    }
    assert_got(&toy, SOURCE_SIZE);
    toy_free(&toy);
}

typedef struct close_case {
    char letter;
    unsigned events;
    size_t in_len;
    bool has_end, pauses;
} close_case_t;

/* In each callback, with output unsent: everything is released and on_closed comes once. */
static void closing_inside_each_callback(void **state)
{
    (void)state;
    static const close_case_t table[] = {
        { 'd', HS_EV_READ, 10, false, false },
        { 'd', HS_EV_READ | HS_EV_WRITE | HS_EV_PEER_SHUT, 10, true, false },
        { 'e', HS_EV_READ | HS_EV_PEER_SHUT, 0, true, false },
        { 's', HS_EV_PEER_SHUT, 0, true, true },
        { 'x', HS_EV_HANGUP, 0, true, true },
        { 'D', HS_EV_WRITE, 0, false, false },
        { 't', 0, 0, false, false },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (size_t room = 0; room <= 50; room += 50) {
            const close_case_t *at = &table[i];
            static toy_t toy;
            toy_open(&toy);
            act_on(&toy, at->letter, close_it);
            toy.stream.reads = !at->pauses;
            toy.has_end = at->has_end;
            toy.room = room;
            put_pinned(&toy, 0, 100);
            put_file(&toy, 100, 100);
            toy.stream.deadline_ms = NOW_MS + 100;
            toy.stream.waits_for_drain = at->letter == 'D';
            start_sending(&toy);
            toy.in = source;
            toy.in_len = at->in_len;
            event(&toy, at->events);
            pump(&toy);
            if (at->letter == 't')
                hs_loop_check_deadlines(&toy.loop, NOW_MS + 1000);
            assert_true(toy.is_closed);
            assert_int_equal(toy.events[toy.event_count - 1], at->letter);
            assert_int_equal(toy.releases, 2);
            toy_free(&toy);
        }
}

/* The second protocol: records capital letters, and takes what arrives. */
static void second_on_data(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    toy_t *toy = toy_of(stream);
    size_t before = toy->received.len;
    take_ring(toy, ALL);
    assert_memory_equal(toy->received.data + before, source + before, toy->received.len - before);
    note(toy, '2');
}

static void second_on_end(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    note(toy_of(stream), 'E');
}

static const hs_protocol_t second_protocol = {
    .on_data = second_on_data,
    .on_drained = on_drained,
    .on_end = second_on_end,
    .on_peer_shut = on_peer_shut,
    .on_error = on_error,
    .on_deadline = on_deadline,
    .update = update,
    .on_closed = on_closed,
};

#define HEAD_LEN 20 /* belongs to the first protocol, what follows to the second */

/* Takes the head; when it is complete, responds and switches the protocol. */
static void upgrade(toy_t *toy)
{
    take_ring(toy, HEAD_LEN - toy->received.len);
    if (toy->received.len < HEAD_LEN)
        return;
    put_bytes(toy, 0, 30);
    toy->stream.deadline_ms = NOW_MS + 100;
    hs_stream_set_protocol(&toy->loop, &toy->stream, &second_protocol);
    assert_int_equal(toy->stream.deadline_ms, 0);
}

/* Head and frames split at every byte, while the kernel accepts nothing, little or all: bytes after
 * the head belong to the new protocol, unsent bytes are sent. */
static void an_exchange_of_protocols_at_every_split(void **state)
{
    (void)state;
    static const size_t rooms[] = { 0, 7, ALL };
    for (size_t r = 0; r < 3; r++)
        for (size_t cut = 1; cut < 60; cut++) {
            static toy_t toy;
            toy_open(&toy);
            toy.takes_nothing = true;
            toy.room = rooms[r];
            act_on(&toy, 'd', upgrade);
            feed(&toy, source, cut);
            pump(&toy);
            assert_int_equal(toy.received.len, cut);
            feed(&toy, source + cut, 60 - cut);
            pump(&toy);
            assert_ptr_equal(toy.stream.protocol, &second_protocol);
            assert_int_equal(toy.received.len, 60);
            assert_memory_equal(toy.received.data, source, 60);
            assert_int_equal(toy.events[toy.event_count - 1], '2');
            toy.room = ALL;
            pump_out(&toy);
            assert_got(&toy, 30);
            toy.has_end = true;
            event(&toy, HS_EV_READ | HS_EV_PEER_SHUT);
            assert_int_equal(toy.events[toy.event_count - 1], 'E');
            toy_free(&toy);
        }
}

/* Even without a byte after the head the new protocol begins with on_data. */
static void an_exchange_without_leftover(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    toy.takes_nothing = true;
    act_on(&toy, 'd', upgrade);
    feed(&toy, source, HEAD_LEN);
    assert_events(&toy, "d"); /* not inside the callback */
    pump(&toy);
    assert_events(&toy, "d2");
    assert_got(&toy, 30);
    toy_free(&toy);
}

/* From outside a callback, while the first protocol leaves bytes in the ring and reads nothing:
 * like an upgrade that a job decides on later. */
static void an_exchange_while_reads_are_paused(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    toy.takes_nothing = true;
    act_on(&toy, 'd', pause_it);
    feed(&toy, source, 40);
    pump(&toy);
    assert_events(&toy, "d");
    take_ring(&toy, HEAD_LEN);
    put_bytes(&toy, 0, 30);
    hs_stream_set_protocol(&toy.loop, &toy.stream, &second_protocol);
    toy.stream.reads = true;
    hs_stream_update(&toy.loop, &toy.stream);
    pump(&toy);
    assert_events(&toy, "d2");
    assert_int_equal(toy.received.len, 40);
    assert_got(&toy, 30);
    feed(&toy, source + 40, 5);
    pump(&toy);
    assert_events(&toy, "d22");
    toy_free(&toy);
}

static void upgrade_and_close(toy_t *toy)
{
    hs_stream_set_protocol(&toy->loop, &toy->stream, &second_protocol);
    toy->stream.closed = true;
}

static void an_exchange_and_a_close_in_one_callback(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    act_on(&toy, 'd', upgrade_and_close);
    feed(&toy, source, 10);
    assert_true(toy.is_closed);
    pump(&toy);
    assert_events(&toy, "d");
    toy_free(&toy);
}

/* The pool has buffers for only one stream: the second one is notified. */
static void no_memory_for_buffers_is_an_error(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    hs_buffers_t *taken = hs_buffers_lease(&toy.loop.buffers);
    assert_non_null(taken);
    act_on(&toy, 'x', close_it);
    feed(&toy, source, 10);
    assert_events(&toy, "x");
    assert_int_equal(toy.error, ENOMEM);
    assert_true(toy.is_closed);
    hs_buffers_give_back(&toy.loop.buffers, taken);
    toy_free(&toy);
}

/* Bytes left by one stream in its buffers do not reach the next one. */
static void buffers_come_back_as_new(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    hs_buffers_t *buffers = hs_buffers_lease(&toy.loop.buffers);
    assert_true(hs_out_append(&buffers->out, source, 100));
    assert_true(hs_out_pin(&buffers->out, source, 10, (hs_release_t){ count_release, &toy, 0 }));
    hs_ring_commit(&buffers->ring, 50);
    buffers->parsed = 20;
    buffers->took = 7;
    buffers->unsent_since_ms = NOW_MS;
    hs_buffers_give_back(&toy.loop.buffers, buffers);
    assert_int_equal(toy.releases, 1);
    assert_ptr_equal(hs_buffers_lease(&toy.loop.buffers), buffers);
    assert_int_equal(hs_out_unsent(&buffers->out), 0);
    assert_int_equal(hs_ring_used(&buffers->ring), 0);
    assert_false(hs_buffers_has_unparsed(buffers));
    assert_int_equal(buffers->took, 0);
    assert_int_equal(buffers->unsent_since_ms, 0);
    hs_buffers_give_back(&toy.loop.buffers, buffers);
    toy_free(&toy);
}

/* However many are free: reuse allocates nothing, and unused buffers keep little memory. */
static void the_buffers_given_back_last_keep_their_memory(void **state)
{
    (void)state;
    enum {
        COUNT = 100,
        KEPT = HS_HOT_MAX,
        SIZE = 40000
    };
    hs_pool_t blocks;
    hs_buffers_pool_t pool;
    hs_buffers_t *leased[COUNT];
    buffers_pool_begin(&pool, &blocks, 256, 64, COUNT);
    for (int i = 0; i < COUNT; i++) {
        leased[i] = hs_buffers_lease(&pool);
        assert_true(hs_buf_reserve(&leased[i]->out.bytes, SIZE));
    }
    for (int i = 0; i < COUNT; i++)
        hs_buffers_give_back(&pool, leased[i]);
    for (int i = 0; i < COUNT - KEPT; i++)
        assert_true(leased[i]->out.bytes.capacity < SIZE);
    for (int i = COUNT - 1; i >= COUNT - KEPT; i--) {
        assert_ptr_equal(hs_buffers_lease(&pool), leased[i]);
        assert_true(leased[i]->out.bytes.capacity >= SIZE);
    }
    for (int i = COUNT - 1; i >= COUNT - KEPT; i--)
        hs_buffers_give_back(&pool, leased[i]);
    buffers_pool_end(&pool);
}

static void what_the_peer_has_acknowledged(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    put_bytes(&toy, 0, 100);
    toy.room = 10;
    start_sending(&toy);
    pump(&toy);
    assert_int_equal(hs_stream_acknowledged(&toy.stream), 10 - 3);
    toy_free(&toy);
}

static bool take_away(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    toy_of(stream)->releases++;
    return true;
}

/* A stream that was moved away inside the hook is not touched any more. */
static void a_stream_that_is_gone_is_left_alone(void **state)
{
    (void)state;
    toy_t toy;
    toy_open(&toy);
    toy.loop.on_event_done = take_away;
    toy.stream.observed = true;
    feed(&toy, source, 10);
    assert_int_equal(toy.releases, 1);
    assert_false(hs_loop_is_busy(&toy.loop));
    toy.loop.on_event_done = NULL;
    toy.stream.observed = false;
    toy_free(&toy);
}

static int make_source(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(source); i++)
        source[i] = (char)(i * 131 + (i >> 8) * 17 + 1);
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(fwrite(source, 1, sizeof(source), file), sizeof(source));
    assert_int_equal(fflush(file), 0);
    source_file = dup(fileno(file));
    fclose(file);
    return source_file < 0 ? -1 : 0;
}

static int close_source(void **state)
{
    (void)state;
    return close(source_file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partial_sends_lose_nothing),
        cmocka_unit_test(a_full_kernel_is_waited_for),
        cmocka_unit_test(an_interrupted_call_is_made_again),
        cmocka_unit_test(everything_is_received),
        cmocka_unit_test(one_receive_per_turn),
        cmocka_unit_test(nothing_is_received_while_reads_are_paused),
        cmocka_unit_test(a_pause_inside_data_lets_no_further_byte_in),
        cmocka_unit_test(discarded_bytes_need_no_buffers),
        cmocka_unit_test(content_is_received_beside_the_ring),
        cmocka_unit_test(the_end_comes_behind_all_bytes),
        cmocka_unit_test(a_peer_that_shuts_while_reads_are_paused_is_told),
        cmocka_unit_test(a_hangup_is_an_error_unless_bytes_are_read),
        cmocka_unit_test(an_error_of_recv_is_told),
        cmocka_unit_test(an_error_of_send_is_told_once),
        cmocka_unit_test(deadlines_are_told_behind_the_horizon),
        cmocka_unit_test(going_on_is_the_next_turns_business),
        cmocka_unit_test(drained_is_told_at_the_low_mark),
        cmocka_unit_test(drained_is_told_although_nothing_is_unsent),
        cmocka_unit_test(a_producer_is_pulled_by_drained),
        cmocka_unit_test(small_output_may_be_held),
        cmocka_unit_test(our_side_is_shut_once),
        cmocka_unit_test(every_result_of_sendfile),
        cmocka_unit_test(a_file_that_became_shorter_is_not_waited_for),
        cmocka_unit_test(a_turn_has_a_budget_for_sending),
        cmocka_unit_test(closing_inside_each_callback),
        cmocka_unit_test(an_exchange_of_protocols_at_every_split),
        cmocka_unit_test(an_exchange_without_leftover),
        cmocka_unit_test(an_exchange_while_reads_are_paused),
        cmocka_unit_test(an_exchange_and_a_close_in_one_callback),
        cmocka_unit_test(no_memory_for_buffers_is_an_error),
        cmocka_unit_test(buffers_come_back_as_new),
        cmocka_unit_test(the_buffers_given_back_last_keep_their_memory),
        cmocka_unit_test(what_the_peer_has_acknowledged),
        cmocka_unit_test(a_stream_that_is_gone_is_left_alone),
    };
    return cmocka_run_group_tests(tests, make_source, close_source);
}
