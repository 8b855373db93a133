/* Files sent over a real socket: files that are not in memory, and files that change. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "os/hs_beneath.h"
#include "os/hs_clock.h"
#include "os/hs_page_cache.h"
#include "os/scratch.h"
#include "stream/buffers_pool.h"
#include "stream/hs_readahead.h"

#define SIZE ((size_t)3 * 1024 * 1024 + 5)
#define WAIT_MS 60000

typedef struct rig {
    hs_stream_t stream; /* first */
    hs_loop_t loop;
    hs_pool_t blocks;
    hs_readahead_t readahead;
    scratch_t scratch;
    hs_file_info_t info;
    int file;
    int peer;
    int error;
    unsigned releases;
    bool is_closed;
} rig_t;

static rig_t *rig_of(hs_stream_t *stream)
{
    return (rig_t *)(void *)stream;
}

static void on_data(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    (void)stream;
}

static void on_error(hs_loop_t *loop, hs_stream_t *stream, int error)
{
    (void)loop;
    rig_of(stream)->error = error;
    stream->closed = true;
}

static void on_closed(hs_loop_t *loop, hs_stream_t *stream)
{
    (void)loop;
    rig_of(stream)->is_closed = true;
}

static const hs_protocol_t protocol = {
    .on_data = on_data,
    .on_drained = on_data,
    .on_end = on_data,
    .on_peer_shut = on_data,
    .on_error = on_error,
    .on_deadline = on_data,
    .update = on_data,
    .on_closed = on_closed,
};

static char text_at(size_t at)
{
    return (char)('a' + (at * 7 + at / 251) % 26);
}

static void begin(rig_t *rig)
{
    memset(rig, 0, sizeof(*rig));
    scratch_begin(&rig->scratch);
    char *text = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        text[i] = text_at(i);
    scratch_write(&rig->scratch, "file", text, SIZE);
    free(text);
    rig->file = open(scratch_path(&rig->scratch, "file"), O_RDWR | O_CLOEXEC);
    assert_true(rig->file >= 0);
    assert_int_equal(hs_file_stat(rig->file, &rig->info), 0);
    hs_ev_t *ev = hs_ev_new(&rig->loop, 8);
    assert_non_null(ev);
    hs_loop_init(&rig->loop, ev, &hs_transport_plain, hs_clock_monotonic_ms());
    buffers_pool_begin(&rig->loop.buffers, &rig->blocks, 256, 0, 4);
    hs_readahead_init(&rig->readahead, &rig->loop);
    rig->loop.readahead = &rig->readahead;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    rig->peer = pair[1];
    assert_int_equal(hs_stream_open(&rig->loop, &rig->stream, pair[0], &protocol), 0);
}

static void close_stream(rig_t *rig)
{
    if (!rig->is_closed && !rig->stream.closed)
        hs_stream_close(&rig->loop, &rig->stream);
    while (!rig->is_closed)
        assert_true(hs_ev_poll(rig->loop.ev, 0) >= 0);
}

static void end(rig_t *rig)
{
    close_stream(rig);
    assert_int_equal(rig->releases, 1);
    close(rig->peer);
    close(rig->file);
    hs_readahead_free(&rig->readahead);
    hs_ev_free(rig->loop.ev);
    buffers_pool_end(&rig->loop.buffers);
    scratch_end(&rig->scratch);
}

/* Drops the file from the page cache, if possible. */
static void drop_from_memory(rig_t *rig)
{
    assert_int_equal(fsync(rig->file), 0);
#ifdef POSIX_FADV_DONTNEED
    (void)posix_fadvise(rig->file, 0, 0, POSIX_FADV_DONTNEED);
#endif
}

static void count_release(void *context, uintptr_t token)
{
    (void)token;
    ((rig_t *)context)->releases++;
}

static void send_file(rig_t *rig)
{
    assert_true(hs_stream_lease(&rig->loop, &rig->stream));
    assert_true(hs_out_add_file(&rig->stream.buffers->out, rig->file, 0, SIZE,
                                rig->info.modified_ns, 0, (hs_release_t){ count_release, rig, 0 }));
    hs_stream_update(&rig->loop, &rig->stream);
}

static void turn(rig_t *rig)
{
    int timeout_ms = hs_loop_is_busy(&rig->loop) ? 0 : 10;
    assert_true(hs_ev_poll(rig->loop.ev, timeout_ms) >= 0);
    hs_loop_send(&rig->loop, 0);
}

/* Receives what has been sent; returns the number of bytes. */
static size_t take(rig_t *rig, size_t at)
{
    static char piece[64 * 1024];
    size_t taken = 0;
    ssize_t n;
    while ((n = read(rig->peer, piece, sizeof(piece))) > 0) {
        for (ssize_t i = 0; i < n; i++)
            if (piece[i] != text_at(at + taken + (size_t)i))
                fail_msg("byte %zu is wrong", at + taken + (size_t)i);
        taken += (size_t)n;
    }
    return taken;
}

static void a_file_that_is_not_in_memory_is_read_elsewhere(void **state)
{
    (void)state;
    static rig_t rig;
    begin(&rig);
    drop_from_memory(&rig);
    send_file(&rig);
    hs_loop_send(&rig.loop, 0);
    uint64_t until_ms = hs_clock_monotonic_ms() + WAIT_MS;
    /* Nothing at once, unless the file system keeps all in memory or the disk was fast. */
    size_t got = take(&rig, 0);
    bool was_cold = got == 0;
    while (got < SIZE && hs_clock_monotonic_ms() < until_ms) {
        turn(&rig);
        got += take(&rig, got);
    }
    assert_int_equal(got, SIZE);
    assert_int_equal(rig.error, 0);
    if (was_cold)
        assert_true(rig.readahead.pieces > 0);
    end(&rig);
}

static void a_file_in_memory_is_sent_at_once(void **state)
{
    (void)state;
    static rig_t rig;
    begin(&rig);
    send_file(&rig);
    hs_loop_send(&rig.loop, 0);
    assert_true(take(&rig, 0) > 0);
    assert_int_equal(rig.readahead.pieces, 0);
    end(&rig);
}

/* The thread continues with its own descriptor. */
static void a_stream_that_ends_does_not_wait_for_the_disk(void **state)
{
    (void)state;
    static rig_t rig;
    begin(&rig);
    drop_from_memory(&rig);
    send_file(&rig);
    hs_loop_send(&rig.loop, 0);
    close_stream(&rig);
    turn(&rig);
    end(&rig);
}

static void check_cut(void (*change)(rig_t *rig))
{
    static rig_t rig;
    begin(&rig);
    send_file(&rig);
    hs_loop_send(&rig.loop, 0);
    size_t got = take(&rig, 0);
    assert_true(got > 0 && got < SIZE);
    change(&rig);
    uint64_t until_ms = hs_clock_monotonic_ms() + WAIT_MS;
    while (!rig.is_closed && hs_clock_monotonic_ms() < until_ms)
        turn(&rig);
    assert_int_equal(rig.error, EIO);
    end(&rig);
}

static void write_into(rig_t *rig)
{
    assert_int_equal(pwrite(rig->file, "#", 1, (off_t)SIZE - 1), 1);
    /* On file systems with coarse timestamps: a change within the same tick would be invisible. */
    const struct timespec times[2] = { { 1, 0 }, { 1, 0 } };
    assert_int_equal(futimens(rig->file, times), 0);
}

static void truncate_file(rig_t *rig)
{
    assert_int_equal(ftruncate(rig->file, 10), 0);
}

static void a_file_that_is_written_to_while_it_is_sent_is_cut(void **state)
{
    (void)state;
    check_cut(write_into);
}

static void a_file_that_becomes_shorter_while_it_is_sent_is_cut(void **state)
{
    (void)state;
    check_cut(truncate_file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_is_not_in_memory_is_read_elsewhere),
        cmocka_unit_test(a_file_in_memory_is_sent_at_once),
        cmocka_unit_test(a_stream_that_ends_does_not_wait_for_the_disk),
        cmocka_unit_test(a_file_that_is_written_to_while_it_is_sent_is_cut),
        cmocka_unit_test(a_file_that_becomes_shorter_while_it_is_sent_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
