/*
 * hs_rescue after every single instruction: a process serves a connection, is stopped after each
 * instruction, and is judged there as if it had been killed. Whatever is decided, the client
 * gets each response once, whole and in order, and no handler runs twice for one request.
 */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "conn/rescue_bench.h"

#define HOST "Host: a\r\n"
#define RESPONSES_MAX 16

static hs_deferred_t deferred;

static void handle(hs_request_t *request, hs_response_t *response, void *user_data)
{
    static const char large[20 * 1024] = "large";
    (void)user_data;
    const char *url = hs_req_url(request);
    the_bench.wire->begun++;
    if (strcmp(url, "/large") == 0)
        (void)hs_res_body(response, large, sizeof(large));
    else if (strcmp(url, "/later") == 0)
        deferred = hs_res_defer(response);
    else
        (void)hs_res_body_str(response, url);
    (void)hs_res_send(response);
}

typedef struct scenario {
    const char *name;
    const char *text;
    size_t step;
    size_t room;
    unsigned stride; /* instructions between two checks */
} scenario_t;

/* Where the requests of a text begin, and where the last one ends; the same for the responses. */
typedef struct script {
    size_t requests[RESPONSES_MAX + 1];
    size_t responses[RESPONSES_MAX + 1];
    size_t count;
    char *got;
} script_t;

static size_t content_length(const char *head, const char *end)
{
    const char *field = strstr(head, "Content-Length: ");
    return field != NULL && field < end ? strtoull(field + 16, NULL, 10) : 0;
}

static void split_requests(const char *text, script_t *script)
{
    size_t at = 0;
    size_t count = 0;
    while (text[at] != '\0') {
        const char *end = strstr(text + at, "\r\n\r\n");
        script->requests[count++] = at;
        if (end == NULL) {
            at = strlen(text);
        } else if (strncmp(text + at, "POST /chunked", 13) == 0) {
            at = (size_t)(strstr(end, "\r\n0\r\n\r\n") - text) + 7;
        } else {
            at = (size_t)(end - text) + 4 + content_length(text + at, end);
        }
    }
    script->requests[count] = at;
}

static void split_responses(const char *got, size_t len, const char *text, script_t *script)
{
    size_t at = 0;
    while (at < len) {
        const char *end = strstr(got + at, "\r\n\r\n");
        bool is_head = strncmp(text + script->requests[script->count], "HEAD", 4) == 0;
        assert_non_null(end);
        script->responses[script->count++] = at;
        at = (size_t)(end - got) + 4 + (is_head ? 0 : content_length(got + at, end));
    }
    assert_int_equal(at, len);
    script->responses[script->count] = at;
}

/* The child: serves, and exits. */
static _Noreturn void serve(const scenario_t *scenario, bool is_traced)
{
    if (is_traced && ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(2);
    bench_connect();
    if (is_traced)
        raise(SIGSTOP);
    bench_serve(scenario->text, strlen(scenario->text), scenario->step, scenario->room);
    _exit(0);
}

static void forget(void)
{
    bench_t *bench = &the_bench;
    memset(bench->wire, 0, sizeof(*bench->wire));
    memset(bench->ledger->by_fd, 0, 16 * sizeof(uintptr_t));
    bench->ledger->at = 0;
}

/* The expected responses if nothing is killed. */
static void rehearse(const scenario_t *scenario, script_t *script)
{
    forget();
    pid_t pid = fork();
    if (pid == 0)
        serve(scenario, false);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    const wire_t *wire = the_bench.wire;
    script->got = calloc(1, wire->got_len + 1);
    memcpy(script->got, wire->got, wire->got_len);
    split_requests(scenario->text, script);
    split_responses(script->got, wire->got_len, scenario->text, script);
}

/* The responses that the client has when the unsent bytes have been sent, too. */
static size_t responses_in(const script_t *script, const hs_rescue_t *rescue)
{
    const wire_t *wire = the_bench.wire;
    size_t total = wire->got_len + rescue->moved.unsent;
    size_t count = 0;
    assert_true(total <= script->responses[script->count]);
    assert_memory_equal(wire->got, script->got, wire->got_len);
    assert_memory_equal(rescue->unsent, script->got + wire->got_len, rescue->moved.unsent);
    while (script->responses[count] < total)
        count++;
    assert_int_equal(script->responses[count], total);
    return count;
}

typedef struct tally {
    unsigned long looks;
    unsigned long fates[HS_RESCUE_FATES];
} tally_t;

/* Nothing is read any more, and the connection is about to be closed. */
static bool is_over(uintptr_t conn)
{
    hs_conn_t copy;
    if (conn == HS_LEDGER_LEAVING)
        return true;
    memcpy(&copy, (const void *)conn, sizeof(copy));
    return copy.phase >= HS_CONN_LINGERING;
}

/* Killed here. */
static void judge(const scenario_t *scenario, const script_t *script, tally_t *tally)
{
    static hs_rescue_t rescue;
    const bench_t *bench = &the_bench;
    const wire_t *wire = bench->wire;
    uintptr_t conn = bench->ledger->by_fd[BENCH_FD];
    if (wire->in_kernel || conn == 0)
        return;
    if (is_over(conn)) {
        assert_int_equal(wire->got_len, script->responses[script->count]);
        return;
    }
    hs_rescue_kernel_t kernel = bench_kernel();
    hs_rescue_decide(&bench->view, (const void *)conn, BENCH_FD, &kernel, &rescue);
    tally->looks++;
    tally->fates[rescue.fate]++;
    if (rescue.fate == HS_RESCUE_CLOSE)
        return;
    size_t done = responses_in(script, &rescue);
    size_t from = script->requests[done];
    if (rescue.fate == HS_RESCUE_REFUSE) {
        assert_true(wire->taken > from);
        assert_int_equal(rescue.moved.len, 0);
        bool is_head = strncmp(scenario->text + from, "HEAD", 4) == 0;
        /* The method of an incomplete head is unknown. */
        if (wire->begun > done)
            assert_int_equal(rescue.moved.is_head, is_head);
        return;
    }
    assert_true(wire->begun <= done);
    if (rescue.moved.closes)
        return;
    assert_int_equal(rescue.moved.len, wire->taken - from);
    assert_memory_equal(rescue.received, scenario->text + from, rescue.moved.len);
    assert_int_equal(rescue.moved.taken, wire->taken);
}

static void kill_everywhere(const scenario_t *scenario)
{
    script_t script = { .count = 0 };
    tally_t tally = { .looks = 0 };
    int status;
    rehearse(scenario, &script);
    forget();
    pid_t pid = fork();
    if (pid == 0)
        serve(scenario, true);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
        skip();
    assert_true(WIFSTOPPED(status));
    for (unsigned step = 0;; step++) {
        assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFSTOPPED(status))
            break;
        if (step % scenario->stride == 0)
            judge(scenario, &script, &tally);
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    print_message("%s: %lu looks: idle %lu, replayed %lu, owing %lu, refused %lu, closed %lu\n",
                  scenario->name, tally.looks, tally.fates[HS_RESCUE_IDLE],
                  tally.fates[HS_RESCUE_REPLAY], tally.fates[HS_RESCUE_OWING],
                  tally.fates[HS_RESCUE_REFUSE], tally.fates[HS_RESCUE_CLOSE]);
    assert_true(tally.looks > 100);
    assert_int_equal(tally.fates[HS_RESCUE_CLOSE], 0);
    free(script.got);
}

#define GET(url) "GET " url " HTTP/1.1\r\n" HOST "\r\n"

static void one_after_the_other(void **state)
{
    (void)state;
    kill_everywhere(
        &(scenario_t){ "sequential", GET("/1") GET("/2"), sizeof(GET("/1")) - 1, SIZE_MAX, 1 });
}

static void heads_in_pieces(void **state)
{
    (void)state;
    kill_everywhere(
        &(scenario_t){ "pieces", GET("/1") "HEAD /2 HTTP/1.1\r\n" HOST "\r\n", 7, SIZE_MAX, 3 });
}

static void pipelined(void **state)
{
    (void)state;
    kill_everywhere(
        &(scenario_t){ "pipelined", GET("/1") GET("/2") GET("/3"), SIZE_MAX, SIZE_MAX, 1 });
}

static void responses_in_pieces(void **state)
{
    (void)state;
    kill_everywhere(&(scenario_t){ "slow reader", GET("/1") GET("/2"), SIZE_MAX, 50, 1 });
}

static void content_in_the_ring(void **state)
{
    (void)state;
    kill_everywhere(&(scenario_t){ "content",
                                   "POST /1 HTTP/1.1\r\n" HOST
                                   "Content-Length: 20\r\n\r\n01234567890123456789" GET("/2"),
                                   31, SIZE_MAX, 1 });
}

static void content_in_a_buffer(void **state)
{
    static char text[4096];
    (void)state;
    int len =
        snprintf(text, sizeof(text), "POST /1 HTTP/1.1\r\n" HOST "Content-Length: 2000\r\n\r\n");
    for (int i = 0; i < 2000; i++)
        text[len + i] = (char)('a' + i % 26);
    strcpy(text + len + 2000, GET("/2"));
    kill_everywhere(&(scenario_t){ "large content", text, 700, SIZE_MAX, 1 });
}

static void content_in_chunks(void **state)
{
    (void)state;
    kill_everywhere(
        &(scenario_t){ "chunks",
                       "POST /chunked HTTP/1.1\r\n" HOST
                       "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" GET("/2"),
                       40, SIZE_MAX, 1 });
}

static void a_large_response(void **state)
{
    (void)state;
    kill_everywhere(
        &(scenario_t){ "large response", GET("/1") GET("/large") GET("/3"), SIZE_MAX, 6000, 2 });
}

static void the_last_request(void **state)
{
    (void)state;
    kill_everywhere(&(scenario_t){ "close",
                                   GET("/1") "GET /2 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
                                   SIZE_MAX, SIZE_MAX, 1 });
}

static void a_bad_request(void **state)
{
    (void)state;
    kill_everywhere(
        &(scenario_t){ "refused", GET("/1") "GET /2 HTTP/1.1\r\n\r\n", SIZE_MAX, SIZE_MAX, 1 });
}

static int open_bench(void **state)
{
    (void)state;
    /* Tracer and tracee take turns, which is fast on one CPU. */
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    (void)sched_setaffinity(0, sizeof(one), &one);
    bench_open(handle);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_after_the_other), cmocka_unit_test(heads_in_pieces),
        cmocka_unit_test(pipelined),           cmocka_unit_test(responses_in_pieces),
        cmocka_unit_test(content_in_the_ring), cmocka_unit_test(content_in_a_buffer),
        cmocka_unit_test(content_in_chunks),   cmocka_unit_test(a_large_response),
        cmocka_unit_test(the_last_request),    cmocka_unit_test(a_bad_request),
    };
    return cmocka_run_group_tests_name("rescue_steps", tests, open_bench, NULL);
}
