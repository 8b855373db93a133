/*
 * A process that serves one connection from memory that outlives it, and a kernel that records
 * the bytes it has accepted and delivered: for the suites of hs_rescue. Include after cmocka.h.
 */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conn/hs_rescue.h"
#include "data/hs_kept.h"

#define BENCH_DATE 784111777
#define BENCH_FD 5
#define BENCH_RING 1024
#define BENCH_KEPT 8

/* What the kernel and the client know, in memory that outlives the process. */
typedef struct wire {
    const char *text; /* what the client sends */
    size_t text_len;
    size_t arrived; /* so many bytes have arrived */
    size_t taken;   /* ... and were received */
    size_t room;    /* bytes that one send accepts */
    bool in_kernel; /* the process is in a system call */
    unsigned begun; /* handlers started */
    size_t got_len;
    char got[256 * 1024]; /* what was sent */
} wire_t;

typedef struct bench {
    wire_t *wire;
    hs_ledger_t *ledger;
    hs_conn_env_t env;
    hs_limits_t limits;
    hs_log_t log;
    hs_c_handler_t handler;
    hs_conn_t *conn;
    bool is_closed;
    hs_rescue_view_t view;
} bench_t;

static bench_t the_bench;

static void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    return memory;
}

static ptrdiff_t bench_recv(hs_stream_t *stream, struct iovec *iov, int count)
{
    (void)stream;
    wire_t *wire = the_bench.wire;
    size_t copied = 0;
    if (wire->taken == wire->arrived)
        return -EAGAIN;
    wire->in_kernel = true;
    atomic_signal_fence(memory_order_seq_cst);
    for (int i = 0; i < count; i++) {
        size_t part = hs_min(iov[i].iov_len, wire->arrived - wire->taken - copied);
        memcpy(iov[i].iov_base, wire->text + wire->taken + copied, part);
        copied += part;
    }
    wire->taken += copied;
    atomic_signal_fence(memory_order_seq_cst);
    wire->in_kernel = false;
    return (ptrdiff_t)copied;
}

static ptrdiff_t bench_send(hs_stream_t *stream, struct iovec *iov, int count, bool more)
{
    (void)stream;
    (void)more;
    wire_t *wire = the_bench.wire;
    size_t left = wire->room;
    size_t sent = 0;
    wire->in_kernel = true;
    atomic_signal_fence(memory_order_seq_cst);
    for (int i = 0; i < count && left > 0; i++) {
        size_t part = hs_min(iov[i].iov_len, left);
        memcpy(wire->got + wire->got_len, iov[i].iov_base, part);
        wire->got_len += part;
        sent += part;
        left -= part;
    }
    atomic_signal_fence(memory_order_seq_cst);
    wire->in_kernel = false;
    return (ptrdiff_t)sent;
}

static ptrdiff_t bench_sendfile(hs_stream_t *stream, int file, uint64_t offset, size_t len)
{
    (void)stream;
    (void)file;
    (void)offset;
    (void)len;
    return -EIO;
}

static void bench_shutdown(hs_stream_t *stream)
{
    (void)stream;
}

static size_t bench_unacknowledged(hs_stream_t *stream)
{
    (void)stream;
    return 0;
}

static const hs_transport_t bench_transport = {
    .recv = bench_recv,
    .send = bench_send,
    .sendfile = bench_sendfile,
    .shutdown_write = bench_shutdown,
    .unacknowledged = bench_unacknowledged,
};

static void bench_closed(hs_conn_env_t *env, hs_conn_t *conn)
{
    hs_pool_give(&env->conn_blocks, conn);
    the_bench.is_closed = true;
}

/* Once per process: the memory stays mapped. */
static void bench_open(hs_handler_fn handler)
{
    bench_t *bench = &the_bench;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    bench->wire = shared_memory(sizeof(wire_t));
    bench->ledger = shared_memory(sizeof(hs_ledger_t) + 16 * sizeof(uintptr_t));
    bench->ledger->fd_cap = 16;
    if (!hs_kept_is_open &&
        !hs_kept_open(shared_memory(hs_kept_size(BENCH_KEPT, page)), BENCH_KEPT, page))
        abort();
    bench->limits = (hs_limits_t){
        .ring_size = BENCH_RING,
        .max_url = 512,
        .max_headers = 32,
        .max_body = 1 << 20,
        .max_connections = 4,
        .header_timeout_ms = 1000,
        .body_timeout_ms = 2000,
        .keepalive_timeout_ms = 4000,
        .write_timeout_ms = 8000,
    };
    hs_log_init(&bench->log, HS_LOG_OFF, NULL, NULL);
    hs_errinfo_t error = { 0 };
    if (hs_conn_env_init(&bench->env, &bench->limits, 4, bench->ledger, &bench->log, NULL,
                         &bench_transport, 1000000, &error) != HS_OK ||
        !bench->env.survives)
        abort();
    bench->env.on_conn_closed = bench_closed;
    bench->handler = (hs_c_handler_t){ .function = handler };
    hs_executor_init(&bench->env.executor, hs_c_handler_as_handler(&bench->handler),
                     HS_DISPATCH_INLINE, NULL);
    hs_date_set(&bench->env.date, BENCH_DATE);
    hs_rescue_view(&bench->env, &bench->view);
}

static hs_conn_t *bench_connect(void)
{
    bench_t *bench = &the_bench;
    const hs_peer_t unknown = { .family = 0 };
    bench->conn = hs_pool_take(&bench->env.conn_blocks);
    if (bench->conn == NULL || hs_conn_open(bench->conn, &bench->env, BENCH_FD, &unknown) != 0)
        abort();
    bench->is_closed = false;
    hs_stream_update(&bench->env.loop, &bench->conn->stream);
    return bench->conn;
}

/* Everything that happens until more arrives. */
static inline void bench_pump(void)
{
    bench_t *bench = &the_bench;
    hs_loop_t *loop = &bench->env.loop;
    do {
        hs_loop_resume(loop);
        hs_executor_flush(&bench->env.executor);
        hs_conn_collect(&bench->env);
        hs_loop_send(loop, 0);
        if (!bench->is_closed && !bench->conn->stream.writable)
            hs_stream_on_event(loop, &bench->conn->stream, HS_EV_WRITE);
    } while (hs_loop_is_busy(loop) || !hs_list_empty(&loop->held) ||
             !hs_mpsc_empty(&bench->env.executor.completions.posted));
}

/* The client's text arrives in pieces of `step` bytes. */
static inline void bench_serve(const char *text, size_t len, size_t step, size_t room)
{
    bench_t *bench = &the_bench;
    wire_t *wire = bench->wire;
    wire->text = text;
    wire->text_len = len;
    wire->room = room;
    while (wire->arrived < len && !bench->is_closed) {
        wire->arrived += hs_min(step, len - wire->arrived);
        hs_stream_on_event(&bench->env.loop, &bench->conn->stream, HS_EV_READ);
        bench_pump();
    }
}

/* What a keeper would ask the kernel for. */
static inline hs_rescue_kernel_t bench_kernel(void)
{
    const wire_t *wire = the_bench.wire;
    return (hs_rescue_kernel_t){ true, (uint32_t)wire->taken, (uint32_t)wire->got_len };
}
