#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* memmem */
#endif
/* hs_rescue: the decision for a connection in each state in which its process may have died, and
 * that no content of the memory makes it read, or pass on, anything that is not the
 * connection's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn/rescue_bench.h"

#define HOST "Host: a\r\n"
#define GET(url) "GET " url " HTTP/1.1\r\n" HOST "\r\n"

static hs_rescue_t rescue;
static hs_deferred_t deferred;

static void handle(hs_request_t *request, hs_response_t *response, void *user_data)
{
    static const char large[100 * 1024];
    static const char pinned[20 * 1024] = "not the connection's";
    (void)user_data;
    const char *url = hs_req_url(request);
    if (strcmp(url, "/later") == 0) {
        deferred = hs_res_defer(response);
        return;
    }
    if (strcmp(url, "/huge") == 0)
        (void)hs_res_body(response, large, sizeof(large));
    else if (strcmp(url, "/pinned") == 0)
        (void)hs_res_body_pinned(response, pinned, sizeof(pinned), NULL, NULL);
    else
        (void)hs_res_body_str(response, url);
    (void)hs_res_send(response);
}

/* Arrived bytes are received and handled, nothing is sent. */
static hs_conn_t *served(const char *text)
{
    bench_t *bench = &the_bench;
    wire_t *wire = bench->wire;
    memset(wire, 0, sizeof(*wire));
    deferred = 0;
    hs_conn_t *conn = bench_connect();
    wire->text = text;
    wire->text_len = wire->arrived = strlen(text);
    hs_stream_on_event(&bench->env.loop, &conn->stream, HS_EV_READ);
    return conn;
}

static hs_rescue_fate_t fate_of(const hs_conn_t *conn)
{
    hs_rescue_kernel_t kernel = bench_kernel();
    hs_rescue_decide(&the_bench.view, conn, BENCH_FD, &kernel, &rescue);
    return rescue.fate;
}

static void end(hs_conn_t *conn)
{
    bench_t *bench = &the_bench;
    bench->view.only_idle = false;
    if (bench->is_closed)
        return;
    hs_conn_abort(conn, &bench->env);
    hs_stream_update(&bench->env.loop, &conn->stream);
    if (deferred != 0)
        (void)hs_res_fail(hs_deferred_response(deferred));
    deferred = 0;
    hs_conn_collect(&bench->env);
    hs_ledger_rest(bench->ledger);
}

static void expect_received(const char *text)
{
    assert_int_equal(rescue.moved.len, strlen(text));
    assert_memory_equal(rescue.received, text, strlen(text));
}

static void an_idle_connection_goes_on(void **state)
{
    (void)state;
    hs_conn_t *conn = served(GET("/1"));
    the_bench.wire->room = SIZE_MAX;
    bench_pump();
    assert_int_equal(fate_of(conn), HS_RESCUE_IDLE);
    assert_true(rescue.moved.answered);
    assert_int_equal(rescue.moved.taken, strlen(GET("/1")));
    assert_int_equal(rescue.moved.given, the_bench.wire->got_len);
    assert_int_equal(the_bench.ledger->by_fd[BENCH_FD], (uintptr_t)conn);
    end(conn);
    assert_int_equal(the_bench.ledger->by_fd[BENCH_FD], 0);
}

static void a_part_of_a_head_is_received_again_once(void **state)
{
    (void)state;
    hs_conn_t *conn = served("GET /1 HTTP/1.1\r\nHo");
    assert_int_equal(fate_of(conn), HS_RESCUE_REPLAY);
    expect_received("GET /1 HTTP/1.1\r\nHo");
    assert_true(rescue.moved.replayed);
    conn->replayed = true;
    assert_int_equal(fate_of(conn), HS_RESCUE_REFUSE);
    end(conn);
}

static void a_response_that_is_not_sent_is_owed(void **state)
{
    (void)state;
    hs_conn_t *conn = served(GET("/1") "GET /2");
    assert_int_equal(fate_of(conn), HS_RESCUE_OWING);
    assert_memory_equal(rescue.unsent, "HTTP/1.1 200 OK\r\n", 17);
    assert_memory_equal(rescue.unsent + rescue.moved.unsent - 6, "\r\n\r\n/1", 6);
    expect_received("GET /2");
    the_bench.view.only_idle = true;
    assert_int_equal(fate_of(conn), HS_RESCUE_CLOSE);
    end(conn);
}

static void more_than_fits_a_message_is_closed(void **state)
{
    (void)state;
    hs_conn_t *conn = served(GET("/huge"));
    assert_int_equal(fate_of(conn), HS_RESCUE_CLOSE);
    end(conn);
}

static void memory_of_the_handler_is_not_sent(void **state)
{
    (void)state;
    hs_conn_t *conn = served(GET("/pinned"));
    assert_int_equal(fate_of(conn), HS_RESCUE_CLOSE);
    end(conn);
}

static void a_suspended_job_is_refused_and_with_its_head_sent_closed(void **state)
{
    (void)state;
    hs_conn_t *conn = served("HEAD /later HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(fate_of(conn), HS_RESCUE_REFUSE);
    assert_true(rescue.moved.refuses && rescue.moved.is_head && rescue.is_handled);
    conn->http1.head_sent = true;
    assert_int_equal(fate_of(conn), HS_RESCUE_CLOSE);
    end(conn);
}

static void a_job_that_waits_for_a_worker_is_received_again(void **state)
{
    (void)state;
    static const char text[] = "POST /later HTTP/1.1\r\nHost:  a \r\nX-Empty:\r\nX-Long: a  "
                               "b\t\r\nContent-Length: 3\r\n\r\nabc";
    hs_conn_t *conn = served(text);
    assert_true(conn->away);
    assert_true(hs_job_detach(conn->job));
    hs_job_set_state(conn->job, HS_JOB_QUEUED);
    assert_int_equal(fate_of(conn), HS_RESCUE_REPLAY);
    assert_ptr_equal(rescue.claim, &conn->job->state);
    assert_int_equal(rescue.moved.len, sizeof(text) - 1);
    /* One kind of white space after a value may have been replaced by the other. */
    for (size_t i = 0; i < sizeof(text) - 1; i++)
        if (text[i] != '\t')
            assert_int_equal(rescue.received[i], text[i]);
    hs_job_set_state(conn->job, HS_JOB_RUNNING);
    assert_int_equal(fate_of(conn), HS_RESCUE_REFUSE);
    assert_null(rescue.claim);
    hs_job_set_state(conn->job, HS_JOB_SUSPENDED);
    end(conn);
}

static void what_the_kernel_does_not_know_is_closed(void **state)
{
    (void)state;
    const hs_rescue_kernel_t unknown = { .is_known = false };
    hs_conn_t *conn = served("GET /1 HTTP/1.1\r\nHo");
    for (hs_stage_t stage = HS_STAGE_RECEIVING; stage <= HS_STAGE_SENDING; stage++) {
        hs_stream_note(&the_bench.env.loop, &conn->stream, 0, stage);
        hs_rescue_decide(&the_bench.view, conn, BENCH_FD, &unknown, &rescue);
        assert_int_equal(rescue.fate, HS_RESCUE_CLOSE);
    }
    end(conn);
}

static void another_protocol_transport_or_descriptor_is_closed(void **state)
{
    (void)state;
    static const hs_transport_t other_transport;
    static const hs_protocol_t other_protocol;
    hs_conn_t *conn = served("GET /1");
    const hs_protocol_t *protocol = conn->stream.protocol;
    const hs_transport_t *transport = conn->stream.transport;
    conn->stream.protocol = &other_protocol;
    assert_int_equal(fate_of(conn), HS_RESCUE_CLOSE);
    conn->stream.protocol = protocol;
    conn->stream.transport = &other_transport;
    assert_int_equal(fate_of(conn), HS_RESCUE_CLOSE);
    conn->stream.transport = transport;
    conn->stream.watcher.fd = BENCH_FD + 1;
    assert_int_equal(fate_of(conn), HS_RESCUE_CLOSE);
    conn->stream.watcher.fd = BENCH_FD;
    assert_int_equal(fate_of(conn), HS_RESCUE_REPLAY);
    end(conn);
}

static void the_request_in_hand_is_named(void **state)
{
    (void)state;
    char head[64];
    char id[HS_REQUEST_ID_CAP];
    char known[HS_REQUEST_ID_CAP];
    hs_conn_t *conn = served(GET("/later"));
    assert_true(hs_job_detach(conn->job));
    size_t len = hs_rescue_request(&the_bench.view, conn, head, sizeof(head), id);
    assert_int_equal(len, strlen(GET("/later")));
    assert_string_equal(head, GET("/later"));
    (void)hs_job_format_id(conn->job, known);
    assert_string_equal(id, known);
    assert_false(hs_rescue_is_on_worker(&the_bench.view, conn));
    hs_job_set_state(conn->job, HS_JOB_RUNNING);
    conn->job->in_worker = true;
    assert_int_equal(hs_rescue_is_on_worker(&the_bench.view, conn), conn->away);
    end(conn);
}

/* ---- Memory with arbitrary content. */

#define SECRET "a secret of the process that is no connection's"

static char secret[4096];
static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Values that might pass a check. */
static uint64_t tricky(void)
{
    const bench_t *bench = &the_bench;
    const char *const places[] = { bench->view.conns.memory, bench->view.jobs.memory,
                                   bench->view.buffers.memory, bench->view.kept };
    const size_t sizes[] = { bench->view.conns.block_size * bench->view.conns.count,
                             bench->view.jobs.block_size * bench->view.jobs.count,
                             bench->view.buffers.block_size * bench->view.buffers.count,
                             bench->view.kept_size };
    uint64_t r = next_random();
    size_t place = r / 16 % 4;
    switch (r % 8) {
    case 0:
        return (uintptr_t)secret + r / 64 % sizeof(secret);
    case 1:
        return (uintptr_t)places[place] + sizes[place] - r / 64 % 128;
    case 2:
        return (uintptr_t)places[place] + r / 64 % sizes[place];
    case 3:
        return r / 64 % 4096;
    case 4:
        return UINT64_MAX - r / 64 % 128;
    case 5:
        return (1ull << (r / 64 % 64)) - r / 4096 % 2;
    default:
        return next_random();
    }
}

static void corrupt(void *memory, size_t size)
{
    size_t at = next_random() % size;
    switch (next_random() % 3) {
    case 0:
        ((char *)memory)[at] = (char)next_random();
        break;
    case 1: {
        uint64_t value = tricky();
        at = at / 8 * 8;
        memcpy((char *)memory + at, &value, hs_min(8, size - at));
        break;
    }
    default: {
        uint32_t value = (uint32_t)tricky();
        at = at / 4 * 4;
        memcpy((char *)memory + at, &value, hs_min(4, size - at));
    }
    }
}

static bool holds_secret(const char *data, size_t len)
{
    return memmem(data, len, SECRET, 16) != NULL;
}

/* The original eight bytes that were corrupted. */
typedef struct undo {
    char *at;
    char was[8];
} undo_t;

/* The memory that the output chain and the ring point to: copied bytes, a segment, received bytes.
 */
static undo_t corrupt_kept(const hs_buffers_t *buffers)
{
    const bench_t *bench = &the_bench;
    char *const places[] = { buffers->out.bytes.data, (char *)buffers->out.first,
                             (char *)buffers->ring.data };
    undo_t undo = { .at = NULL };
    char *at = places[next_random() % 3];
    if (at == NULL)
        return undo;
    at += next_random() % 8 * 8;
    bool is_kept = at >= bench->view.kept && at + 8 <= bench->view.kept + bench->view.kept_size;
    bool is_buffers = at >= bench->view.buffers.memory &&
                      at + 8 <= bench->view.buffers.memory +
                                    bench->view.buffers.block_size * bench->view.buffers.count;
    if (!is_kept && !is_buffers)
        return undo;
    undo.at = at;
    memcpy(undo.was, at, sizeof(undo.was));
    corrupt(at, sizeof(undo.was));
    return undo;
}

/*
 * The memory is saved, corrupted in a few places, judged and restored. For a long run:
 * MOONRING_RESCUE_ROUNDS=10000000 MOONRING_TEST_SEED=$RANDOM build/asan/test/native/test_rescue
 */
static void corrupted_memory_is_survived(void **state)
{
    static const char *const texts[] = {
        "GET /1 HTTP/1.1\r\nHo",
        GET("/1") "GET /2",
        GET("/later"),
        "POST /1 HTTP/1.1\r\n" HOST "Content-Length: 1500\r\n\r\nabc",
        "POST /1 HTTP/1.1\r\n" HOST "Content-Length: 90\r\n\r\nabc",
        GET("/huge") GET("/1"),
        GET("/1") "GET /2 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
    };
    (void)state;
    bench_t *bench = &the_bench;
    const char *rounds_text = getenv("MOONRING_RESCUE_ROUNDS");
    unsigned long rounds = rounds_text != NULL ? strtoul(rounds_text, NULL, 10) : 20000;
    const char *seed_text = getenv("MOONRING_TEST_SEED");
    if (seed_text != NULL)
        random_state ^= strtoull(seed_text, NULL, 10) * 0x9e3779b97f4a7c15u;
    unsigned long fates[HS_RESCUE_FATES] = { 0 };
    for (size_t i = 0; i + sizeof(SECRET) <= sizeof(secret); i += sizeof(SECRET) - 1)
        memcpy(secret + i, SECRET, sizeof(SECRET));
    for (size_t t = 0; t < sizeof(texts) / sizeof(texts[0]); t++) {
        hs_conn_t *conn = served(texts[t]);
        hs_conn_t saved_conn;
        hs_buffers_t *buffers = conn->stream.buffers;
        hs_job_t *job = conn->job;
        static _Alignas(64) char saved_buffers[64 * 1024];
        hs_job_t saved_job;
        hs_ledger_t saved_ledger;
        hs_rescue_expose(&bench->view);
        memcpy(&saved_conn, conn, sizeof(saved_conn));
        memcpy(&saved_ledger, bench->ledger, sizeof(saved_ledger));
        if (buffers != NULL)
            memcpy(saved_buffers, buffers, bench->view.buffers.block_size);
        if (job != NULL)
            memcpy(&saved_job, job, sizeof(saved_job));
        for (unsigned long i = 0; i < rounds; i++) {
            hs_stage_t stage = (hs_stage_t)(next_random() % 8);
            if (stage != HS_STAGE_NONE && buffers != NULL)
                hs_stream_note(&bench->env.loop, &conn->stream, next_random() % 3, stage);
            undo_t undos[4] = { 0 };
            for (uint64_t n = next_random() % 4 + 1; n > 0; n--) {
                switch (next_random() % 6) {
                case 0:
                    corrupt(conn, sizeof(*conn));
                    break;
                case 1:
                    if (buffers != NULL)
                        corrupt(buffers, sizeof(*buffers));
                    break;
                case 2:
                    if (job != NULL)
                        corrupt(job, sizeof(*job));
                    break;
                case 3:
                    if (buffers != NULL)
                        undos[n - 1] =
                            corrupt_kept((const hs_buffers_t *)(const void *)saved_buffers);
                    break;
                case 4:
                    if (next_random() % 8 == 0)
                        corrupt(&bench->ledger->at, sizeof(bench->ledger->at));
                    break;
                default:
                    corrupt(bench->ledger->notes, sizeof(bench->ledger->notes));
                    break;
                }
            }
            hs_rescue_kernel_t kernel = bench_kernel();
            kernel.taken += (uint32_t)(next_random() % 3 == 0 ? tricky() : 0);
            kernel.given += (uint32_t)(next_random() % 3 == 0 ? tricky() : 0);
            hs_rescue_decide(&bench->view, conn, BENCH_FD, &kernel, &rescue);
            char head[1025];
            char id[HS_REQUEST_ID_CAP];
            size_t head_len = hs_rescue_request(&bench->view, conn, head, sizeof(head), id);
            (void)hs_rescue_is_on_worker(&bench->view, conn);
            assert_true(rescue.fate <= HS_RESCUE_CLOSE);
            fates[rescue.fate]++;
            assert_true(rescue.moved.len <= sizeof(rescue.received));
            assert_true(rescue.moved.unsent <= sizeof(rescue.unsent));
            assert_false(holds_secret(rescue.received, rescue.moved.len));
            assert_false(holds_secret(rescue.unsent, rescue.moved.unsent));
            assert_false(holds_secret(head, head_len));
            for (size_t u = 4; u-- > 0;)
                if (undos[u].at != NULL)
                    memcpy(undos[u].at, undos[u].was, sizeof(undos[u].was));
            memcpy(conn, &saved_conn, sizeof(saved_conn));
            memcpy(bench->ledger, &saved_ledger, sizeof(saved_ledger));
            if (buffers != NULL)
                memcpy(buffers, saved_buffers, bench->view.buffers.block_size);
            if (job != NULL)
                memcpy(job, &saved_job, sizeof(saved_job));
        }
        end(conn);
    }
    print_message("idle %lu, replayed %lu, owing %lu, refused %lu, closed %lu\n", fates[0],
                  fates[1], fates[2], fates[3], fates[4]);
    for (int i = 0; i < HS_RESCUE_FATES; i++)
        assert_true(fates[i] > 0);
}

static int open_bench(void **state)
{
    (void)state;
    bench_open(handle);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_connection_goes_on),
        cmocka_unit_test(a_part_of_a_head_is_received_again_once),
        cmocka_unit_test(a_response_that_is_not_sent_is_owed),
        cmocka_unit_test(more_than_fits_a_message_is_closed),
        cmocka_unit_test(memory_of_the_handler_is_not_sent),
        cmocka_unit_test(a_suspended_job_is_refused_and_with_its_head_sent_closed),
        cmocka_unit_test(a_job_that_waits_for_a_worker_is_received_again),
        cmocka_unit_test(what_the_kernel_does_not_know_is_closed),
        cmocka_unit_test(another_protocol_transport_or_descriptor_is_closed),
        cmocka_unit_test(the_request_in_hand_is_named),
        cmocka_unit_test(corrupted_memory_is_survived),
    };
    return cmocka_run_group_tests_name("rescue", tests, open_bench, NULL);
}
