/*
 * Outbound streams with real sockets: both ends of a connection are streams of one loop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "os/hs_clock.h"
#include "stream/buffers_pool.h"
#include "stream/hs_stream.h"

/* Longer than any of this takes, even on a busy machine. */
#define WAIT_MS 20000
#define RING 256

typedef struct end {
    hs_stream_t stream; /* first */
    bool echoes;
    unsigned connected;
    int error;
    bool ended;
    bool is_closed;
    char got[64];
    size_t got_len;
} end_t;

typedef struct rig {
    hs_loop_t loop; /* first: the context of its event loop */
    hs_pool_t blocks;
    int listener;
    end_t client;
    end_t server;
} rig_t;

static end_t *end_of(hs_stream_t *stream)
{
    return (end_t *)(void *)stream;
}

static void say(hs_loop_t *loop, hs_stream_t *stream, const char *text, size_t len)
{
    assert_true(hs_stream_lease(loop, stream));
    assert_true(hs_out_append(&stream->buffers->out, text, len));
}

static void on_connected(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    end_of(stream)->connected++;
}

static void on_data(hs_loop_t *loop, hs_stream_t *stream)
{
    end_t *end = end_of(stream);
    hs_buffers_t *buffers = stream->buffers;
    uint32_t len = hs_ring_readable(&buffers->ring, buffers->parsed);
    const char *data = hs_ring_at(&buffers->ring, buffers->parsed);
    assert_true(end->got_len + len < sizeof(end->got));
    memcpy(end->got + end->got_len, data, len);
    end->got_len += len;
    buffers->parsed += len;
    if (end->echoes)
        say(loop, stream, data, len);
    hs_buffers_release_parsed(buffers);
}

static void on_drained(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    (void)stream;
}

static void on_end(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    end_of(stream)->ended = true;
    stream->closed = true;
}

static void on_peer_shut(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    (void)stream;
}

static void on_error(hs_loop_t *loop, hs_stream_t *stream, int error)
{
    (void)loop;
    end_of(stream)->error = error;
    stream->closed = true;
}

static void on_deadline(hs_loop_t *loop, hs_stream_t *stream)
{
    on_error(loop, stream, ETIMEDOUT);
}

static void update(hs_loop_t *loop, hs_stream_t *stream)
{
    if (stream->buffers != NULL && hs_out_unsent(&stream->buffers->out) == 0 &&
        hs_ring_used(&stream->buffers->ring) == 0)
        hs_stream_give_back(loop, stream);
}

static void on_closed(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    end_of(stream)->is_closed = true;
}

static const hs_protocol_t protocol = {
    .on_data = on_data,
    .on_drained = on_drained,
    .on_connected = on_connected,
    .on_end = on_end,
    .on_peer_shut = on_peer_shut,
    .on_error = on_error,
    .on_deadline = on_deadline,
    .update = update,
    .on_closed = on_closed,
};

static void rig_open(rig_t *rig)
{
    memset(rig, 0, sizeof(*rig));
    hs_ev_t *ev = hs_ev_new(rig, 8);
    assert_non_null(ev);
    hs_loop_init(&rig->loop, ev, &hs_transport_plain, hs_clock_monotonic_ms());
    buffers_pool_begin(&rig->loop.buffers, &rig->blocks, RING, 0, 4);
    rig->listener = -1;
}

static void turn(rig_t *rig)
{
    rig->loop.now_ns = hs_clock_monotonic_ns();
    rig->loop.now_ms = rig->loop.now_ns / 1000000;
    int timeout_ms = hs_loop_is_busy(&rig->loop) ? 0 : 100;
    assert_true(hs_ev_poll(rig->loop.ev, timeout_ms) >= 0);
    hs_loop_resume(&rig->loop);
    hs_loop_send(&rig->loop, 0);
    hs_loop_check_deadlines(&rig->loop, hs_clock_monotonic_ms());
}

#define TURN_UNTIL(rig, condition)                                                                 \
    do {                                                                                           \
        uint64_t until_ms = hs_clock_monotonic_ms() + WAIT_MS;                                     \
        while (!(condition)) {                                                                     \
            assert_true(hs_clock_monotonic_ms() < until_ms);                                       \
            turn(rig);                                                                             \
        }                                                                                          \
    } while (0)

static void rig_free(rig_t *rig)
{
    assert_int_equal(rig->loop.buffers.leased, 0);
    hs_sock_close(rig->listener);
    hs_ev_free(rig->loop.ev);
    buffers_pool_end(&rig->loop.buffers);
}

static hs_sock_endpoint_t listen_somewhere(rig_t *rig)
{
    hs_sock_endpoint_t endpoint;
    hs_sock_address_t address;
    hs_errinfo_t error;
    rig->listener = hs_sock_listen_tcp("127.0.0.1", 0, 8, 0, &error);
    assert_true(rig->listener >= 0);
    assert_int_equal(hs_sock_local_address(rig->listener, &address), 0);
    assert_int_equal(hs_sock_endpoint_tcp(&endpoint, "127.0.0.1", address.port), HS_OK);
    return endpoint;
}

static void take_connection(rig_t *rig)
{
    int fd;
    while ((fd = hs_sock_accept(rig->listener, NULL)) == -EAGAIN)
        turn(rig);
    assert_true(fd >= 0);
    assert_int_equal(hs_stream_open(&rig->loop, &rig->server.stream, fd, &protocol), 0);
    hs_stream_update(&rig->loop, &rig->server.stream);
}

/* Output added before the connection is established is sent then. */
static void talk(rig_t *rig, const hs_sock_endpoint_t *endpoint)
{
    assert_int_equal(hs_stream_connect(&rig->loop, &rig->client.stream, endpoint, &protocol), 0);
    assert_int_equal(rig->client.connected, 0); /* never from inside the call */
    say(&rig->loop, &rig->client.stream, "hello", 5);
    hs_stream_update(&rig->loop, &rig->client.stream);
    take_connection(rig);
    rig->server.echoes = true;
    TURN_UNTIL(rig, rig->client.got_len == 5);
    assert_memory_equal(rig->client.got, "hello", 5);
    assert_int_equal(rig->client.connected, 1);
    rig->client.stream.closed = true;
    hs_stream_update(&rig->loop, &rig->client.stream);
    TURN_UNTIL(rig, rig->server.is_closed && rig->client.is_closed);
    assert_true(rig->server.ended);
}

static void tcp_connects_and_talks(void **state)
{
    (void)state;
    rig_t rig;
    rig_open(&rig);
    hs_sock_endpoint_t endpoint = listen_somewhere(&rig);
    talk(&rig, &endpoint);
    rig_free(&rig);
}

static void a_unix_socket_connects_and_talks(void **state)
{
    (void)state;
    rig_t rig;
    char path[64];
    hs_sock_endpoint_t endpoint;
    hs_errinfo_t error;
    rig_open(&rig);
    snprintf(path, sizeof(path), "/tmp/moonring-connect-%ld.sock", (long)getpid());
    rig.listener = hs_sock_listen_uds(path, 0600, 8, &error);
    assert_true(rig.listener >= 0);
    assert_int_equal(hs_sock_endpoint_uds(&endpoint, path), HS_OK);
    talk(&rig, &endpoint);
    unlink(path);
    rig_free(&rig);
}

static void a_refused_connection_is_an_error_with_its_reason(void **state)
{
    (void)state;
    rig_t rig;
    rig_open(&rig);
    hs_sock_endpoint_t endpoint = listen_somewhere(&rig);
    hs_sock_close(rig.listener);
    rig.listener = -1;
    int result = hs_stream_connect(&rig.loop, &rig.client.stream, &endpoint, &protocol);
    if (result == 0) {
        hs_stream_update(&rig.loop, &rig.client.stream);
        TURN_UNTIL(&rig, rig.client.is_closed);
        assert_int_equal(rig.client.error, ECONNREFUSED);
        assert_int_equal(rig.client.connected, 0);
    } else {
        assert_int_equal(result, -ECONNREFUSED);
    }
    rig_free(&rig);
}

/* The backlog is full: the kernel does not respond. */
static void a_connection_that_is_not_answered_has_a_deadline(void **state)
{
    (void)state;
    rig_t rig;
    rig_open(&rig);
    hs_sock_endpoint_t endpoint;
    hs_errinfo_t error;
    hs_sock_address_t address;
    rig.listener = hs_sock_listen_tcp("127.0.0.1", 0, 1, 0, &error);
    assert_true(rig.listener >= 0);
    assert_int_equal(hs_sock_local_address(rig.listener, &address), 0);
    assert_int_equal(hs_sock_endpoint_tcp(&endpoint, "127.0.0.1", address.port), HS_OK);
    int fillers[8];
    for (size_t i = 0; i < sizeof(fillers) / sizeof(fillers[0]); i++)
        fillers[i] = hs_sock_connect(&endpoint);
    assert_int_equal(hs_stream_connect(&rig.loop, &rig.client.stream, &endpoint, &protocol), 0);
    rig.client.stream.deadline_ms = hs_clock_monotonic_ms() + 100;
    hs_stream_update(&rig.loop, &rig.client.stream);
    TURN_UNTIL(&rig, rig.client.is_closed);
    assert_int_equal(rig.client.error, ETIMEDOUT);
    for (size_t i = 0; i < sizeof(fillers) / sizeof(fillers[0]); i++)
        hs_sock_close(fillers[i]);
    rig_free(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_connects_and_talks),
        cmocka_unit_test(a_unix_socket_connects_and_talks),
        cmocka_unit_test(a_refused_connection_is_an_error_with_its_reason),
        cmocka_unit_test(a_connection_that_is_not_answered_has_a_deadline),
    };
    return cmocka_run_group_tests_name("connect", tests, NULL, NULL);
}
