/* Responses that are finished after their handler has returned, by any thread: as seen by the
 * program, and as processed by the loop. No connection. */
#include "exec/hs_executor.h"

#include "exec/gate.h"
#include "exec/submitted_job.h"

#define HIGH_WATER (256 * 1024)

/* The calls of a handler, and what its callbacks reported. One request at a time. */
typedef struct story {
    void (*handle)(struct story *story, hs_request_t *request, hs_response_t *response);
    hs_callbacks_t callbacks;
    hs_deferred_t job;
    gate_t gate;
    unsigned drained;
    unsigned aborts;
    hs_abort_reason_t reason; /* of the last one */
    unsigned ends;
    size_t content;
    bool has_last;
    hs_content_next_t next;
} story_t;

/* The loop's side. */
typedef struct desk {
    rig_t rig;
    hs_ev_t *ev;
    hs_workers_t *workers;
    hs_executor_t executor;
    hs_c_handler_t c_handler;
    story_t story;
    hs_buf_t written; /* pieces, in order */
    unsigned done;
    unsigned resumed;
    void *link; /* of the last completed job */
    int status;
    bool failed;
    size_t body_len;
} desk_t;

static void handle(hs_request_t *request, hs_response_t *response, void *user_data)
{
    story_t *story = user_data;
    story->handle(story, request, response);
}

/* On a worker a callback may come before hs_res_defer has returned. */
static void expect_job(story_t *story, hs_deferred_t job)
{
    if (story->job == 0)
        story->job = job;
    assert_true(job == story->job);
}

static void on_drain(hs_deferred_t job, void *user_data)
{
    story_t *story = user_data;
    expect_job(story, job);
    story->drained++;
}

static void on_abort(hs_deferred_t job, hs_abort_reason_t reason, void *user_data)
{
    story_t *story = user_data;
    expect_job(story, job);
    story->aborts++;
    story->reason = reason;
}

static hs_content_next_t on_content(hs_deferred_t job, const char *data, size_t length,
                                    bool is_last, void *user_data)
{
    story_t *story = user_data;
    assert_true(job == story->job && data != NULL);
    story->content += length;
    story->has_last = is_last;
    return story->next;
}

static void on_end(void *user_data)
{
    story_t *story = user_data;
    story->ends++;
}

static void desk_init(desk_t *desk, hs_dispatch_mode_t mode, unsigned workers)
{
    memset(desk, 0, sizeof(*desk));
    desk->story = (story_t){ .gate = GATE_SHUT };
    desk->story.callbacks =
        (hs_callbacks_t){ on_drain, on_abort, on_content, on_end, &desk->story };
    desk->c_handler = (hs_c_handler_t){ handle, &desk->story };
    desk->ev = hs_ev_new(desk, 16);
    assert_non_null(desk->ev);
    hs_executor_init(&desk->executor, hs_c_handler_as_handler(&desk->c_handler), mode, desk->ev);
    rig_init(&desk->rig, &desk->executor.completions);
    if (workers == 0)
        return;
    hs_workers_config_t config = {
        .factory = hs_c_handler_factory(&desk->c_handler),
        .log = &desk->rig.log,
        .completions = &desk->executor.completions,
        .count = workers,
        .queue_capacity = 16,
    };
    desk->workers = hs_workers_new(&config);
    assert_non_null(desk->workers);
    hs_executor_set_workers(&desk->executor, desk->workers);
}

static void on_done(void *context, hs_job_t *job, void *link)
{
    desk_t *desk = context;
    desk->done++;
    desk->link = link;
    desk->status = job->response.status;
    desk->failed = job->response.failed;
    desk->body_len = job->response.body.len;
    assert_int_equal(atomic_load(&job->posted), 0);
    hs_job_give_back(&desk->rig.pool, job);
}

static void on_write(void *context, hs_job_t *job, hs_buf_t *data, bool flush)
{
    desk_t *desk = context;
    assert_ptr_equal(job->link, desk);
    (void)flush;
    if (data->len == 0)
        hs_executor_drained(job); /* a connection that has sent everything */
    else
        assert_true(hs_buf_append(&desk->written, data->data, data->len));
}

static void on_resume(void *context, hs_job_t *job)
{
    desk_t *desk = context;
    assert_ptr_equal(job->link, desk);
    desk->resumed++;
}

static void collect(desk_t *desk)
{
    const hs_executor_sink_t sink = { on_done, on_write, on_resume, desk };
    hs_executor_collect(&desk->executor, &sink);
}

/* The workers have been stopped. */
static void desk_free(desk_t *desk)
{
    collect(desk);
    assert_int_equal(desk->executor.completions.away, 0);
    hs_executor_free(&desk->executor);
    hs_workers_free(desk->workers);
    hs_ev_free(desk->ev);
    hs_buf_free(&desk->written);
    rig_free(&desk->rig);
}

static void desk_end(desk_t *desk)
{
    if (desk->workers != NULL)
        assert_int_equal(hs_workers_stop(desk->workers, UINT32_MAX), 0);
    desk_free(desk);
}

/* Starts a request that is deferred. */
static hs_job_t *start(desk_t *desk, void (*how)(story_t *, hs_request_t *, hs_response_t *))
{
    desk->story.handle = how;
    hs_job_t *job = rig_request(&desk->rig, "/later");
    assert_int_equal(hs_executor_start(&desk->executor, job, false), HS_STARTED_AWAY);
    job->link = desk;
    hs_executor_flush(&desk->executor);
    if (desk->workers != NULL)
        hs_workers_wake(desk->workers);
    return job;
}

/* Like the loop, until that many are done. */
static void await_done(desk_t *desk, unsigned done)
{
    while (desk->done < done) {
        assert_true(hs_ev_poll(desk->ev, hs_executor_begin_sleep(&desk->executor, 10000)) >= 0);
        hs_executor_end_sleep(&desk->executor);
        collect(desk);
    }
}

static void defer(story_t *story, hs_request_t *request, hs_response_t *response)
{
    (void)request;
    assert_int_equal(hs_res_callbacks(response, &story->callbacks), 0);
    story->job = hs_res_defer(response);
    assert_true(story->job != 0);
}

static void *finish(void *argument)
{
    story_t *story = argument;
    hs_response_t *response = hs_deferred_response(story->job);
    assert_non_null(response);
    assert_string_equal(hs_req_url(hs_deferred_request(story->job)), "/later");
    assert_int_equal(hs_res_status(response, 202), 0);
    assert_int_equal(hs_res_body_str(response, "late"), 0);
    assert_int_equal(hs_res_send(response), 0);
    return NULL;
}

static void another_thread_finishes(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_INLINE, 0);
    for (unsigned i = 1; i <= 50; i++) {
        pthread_t thread;
        start(&desk, defer);
        hs_deferred_t job = desk.story.job;
        assert_int_equal(hs_deferred_aborted(job), 0);
        assert_int_equal(pthread_create(&thread, NULL, finish, &desk.story), 0);
        await_done(&desk, i);
        pthread_join(thread, NULL);
        assert_ptr_equal(desk.link, &desk);
        assert_int_equal(desk.status, 202);
        assert_int_equal(desk.body_len, 4);
        assert_int_equal(desk.story.ends, i);
        /* The request is over: calls on a kept handle report it. */
        assert_null(hs_deferred_request(job));
        assert_null(hs_deferred_response(job));
        assert_int_equal(hs_req_resume(job), HS_ERR_STATE);
        assert_int_equal(hs_deferred_aborted(job), HS_ABORT_LOST);
    }
    assert_int_equal(desk.story.aborts + desk.story.drained, 0);
    desk_end(&desk);
}

static void send_then_defer(story_t *story, hs_request_t *request, hs_response_t *response)
{
    (void)request;
    assert_int_equal(hs_res_body_str(response, "now"), 0);
    assert_int_equal(hs_res_send(response), 0);
    story->job = hs_res_defer(response);
}

static void what_was_sent_cannot_be_deferred(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_INLINE, 0);
    desk.story.handle = send_then_defer;
    hs_job_t *job = rig_request(&desk.rig, "/now");
    assert_int_equal(hs_executor_start(&desk.executor, job, false), HS_STARTED_DONE);
    assert_true(desk.story.job == 0);
    /* Nor when no handler runs. */
    assert_true(hs_res_defer(&job->response) == 0);
    assert_int_equal(hs_res_callbacks(&job->response, &desk.story.callbacks), HS_ERR_STATE);
    hs_job_give_back(&desk.rig.pool, job);
    desk_end(&desk);
}

static void set_callbacks_and_send(story_t *story, hs_request_t *request, hs_response_t *response)
{
    (void)request;
    assert_int_equal(hs_res_callbacks(response, &story->callbacks), 0);
    assert_int_equal(hs_res_send(response), 0);
}

static void defer_without_callbacks(story_t *story, hs_request_t *request, hs_response_t *response)
{
    (void)request;
    story->job = hs_res_defer(response);
    assert_true(story->job != 0);
}

/* The next message of a connection has the same job. */
static void callbacks_do_not_outlive_their_message(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_INLINE, 0);
    desk.story.handle = set_callbacks_and_send;
    hs_job_t *job = rig_request(&desk.rig, "/now");
    assert_int_equal(hs_executor_start(&desk.executor, job, false), HS_STARTED_DONE);
    hs_job_give_back(&desk.rig.pool, job);
    assert_int_equal(desk.story.ends, 0); /* it was not deferred */
    assert_ptr_equal(start(&desk, defer_without_callbacks), job);
    hs_executor_aborted(job, HS_ABORT_SHUT);
    finish(&desk.story);
    await_done(&desk, 1);
    assert_int_equal(desk.story.ends + desk.story.aborts, 0);
    desk_end(&desk);
}

static void defer_and_stay(story_t *story, hs_request_t *request, hs_response_t *response)
{
    defer(story, request, response);
    gate_pass(&story->gate);
}

/* The same for a job returned by a worker. */
static void callbacks_are_for_what_is_deferred(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_WORKER, 1);
    start(&desk, set_callbacks_and_send);
    await_done(&desk, 1);
    assert_int_equal(desk.story.ends, 0);
    start(&desk, defer_and_stay);
    gate_await(&desk.story.gate, 1);
    finish(&desk.story);
    gate_open(&desk.story.gate);
    await_done(&desk, 2);
    assert_int_equal(desk.story.ends, 1);
    desk_end(&desk);
}

static void a_cancelled_job_comes_back_once_and_tells_why(void **state)
{
    (void)state;
    static const hs_abort_reason_t reasons[] = { HS_ABORT_LOST, HS_ABORT_TIMEOUT };
    static desk_t desk;
    for (unsigned i = 0; i < 2; i++) {
        desk_init(&desk, HS_DISPATCH_INLINE, 0);
        hs_job_t *job = start(&desk, defer);
        hs_executor_aborted(job, HS_ABORT_SHUT);
        assert_int_equal(desk.story.reason, HS_ABORT_SHUT);
        assert_int_equal(hs_deferred_aborted(desk.story.job), HS_ABORT_SHUT);
        hs_response_t *response = hs_deferred_response(desk.story.job);
        /* Only a hint: writes still succeed. */
        assert_int_equal(hs_res_write(response, "hint", 4), HS_WRITE_CONTINUE);
        collect(&desk);
        assert_int_equal(desk.written.len, 4);
        if (reasons[i] == HS_ABORT_LOST)
            hs_executor_cancel(&desk.executor, job, HS_ABORT_LOST);
        else
            hs_executor_give_up(&desk.executor, job, 30000);
        assert_int_equal(desk.story.aborts, 2);
        assert_int_equal(desk.story.reason, reasons[i]);
        assert_int_equal(hs_deferred_aborted(desk.story.job), reasons[i]);
        assert_int_equal(hs_res_write(response, "gone", 4), HS_ERR_ABORTED);
        assert_int_equal(desk.story.ends, 0);
        assert_int_equal(hs_res_send(response), 0);
        collect(&desk);
        assert_int_equal(desk.done, 1);
        assert_null(desk.link);
        assert_int_equal(desk.story.ends, 1);
        desk_end(&desk);
    }
}

/* Posts from before the client disconnected are dropped, and their memory is freed. */
static void pieces_of_a_cancelled_job_are_dropped(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_INLINE, 0);
    hs_job_t *job = start(&desk, defer);
    hs_response_t *response = hs_deferred_response(desk.story.job);
    assert_int_equal(hs_res_write(response, "lost", 4), HS_WRITE_CONTINUE);
    hs_executor_cancel(&desk.executor, job, HS_ABORT_LOST);
    assert_int_equal(hs_res_fail(response), 0);
    collect(&desk);
    assert_int_equal(desk.written.len, 0);
    assert_int_equal(desk.done, 1);
    desk_end(&desk);
}

static void pieces_arrive_in_order_and_the_writer_is_told_to_wait(void **state)
{
    (void)state;
    static char piece[1000];
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_INLINE, 0);
    hs_job_t *job = start(&desk, defer);
    hs_response_t *response = hs_deferred_response(desk.story.job);
    assert_int_equal(hs_res_status(response, 201), 0);
    assert_int_equal(hs_res_write(response, "", 0), HS_WRITE_CONTINUE);
    assert_int_equal(hs_res_status(response, 202), HS_ERR_STATE); /* the head is complete */
    assert_int_equal(hs_res_body_str(response, "whole"), HS_ERR_STATE);
    size_t written = 0;
    for (unsigned number = 0; written <= HIGH_WATER; number++) {
        memset(piece, (int)('a' + number % 26), sizeof(piece));
        written += sizeof(piece);
        assert_int_equal(hs_res_write(response, piece, sizeof(piece)),
                         written > HIGH_WATER ? HS_WRITE_WAIT : HS_WRITE_CONTINUE);
    }
    assert_int_equal(desk.written.len, 0); /* not before the loop takes it */
    collect(&desk);
    assert_int_equal(desk.written.len, written);
    for (size_t i = 0; i < written; i++)
        assert_int_equal(desk.written.data[i], (int)('a' + i / sizeof(piece) % 26));
    assert_int_equal(desk.story.drained, 0);
    hs_executor_drained(job);
    hs_executor_drained(job);
    assert_int_equal(desk.story.drained, 1);
    /* Bytes in the chain count as well. */
    atomic_store(&job->chained, HIGH_WATER);
    assert_int_equal(hs_res_write(response, "x", 1), HS_WRITE_WAIT);
    assert_int_equal(hs_res_send(response), 0);
    collect(&desk);
    assert_int_equal(desk.status, 201);
    assert_false(desk.failed);
    desk_end(&desk);
}

static void a_streamed_response_keeps_to_its_length(void **state)
{
    (void)state;
    static desk_t desk;
    for (unsigned is_short = 0; is_short < 2; is_short++) {
        desk_init(&desk, HS_DISPATCH_INLINE, 0);
        start(&desk, defer);
        hs_response_t *response = hs_deferred_response(desk.story.job);
        assert_int_equal(hs_res_content_length(response, UINT64_MAX), HS_ERR_INVALID);
        assert_int_equal(hs_res_content_length(response, 5), 0);
        assert_int_equal(hs_res_write(response, "12", 2), HS_WRITE_CONTINUE);
        assert_int_equal(hs_res_content_length(response, 6), HS_ERR_STATE);
        assert_int_equal(hs_res_write(response, "3456", 4), HS_ERR_LIMIT);
        if (!is_short)
            assert_int_equal(hs_res_write(response, "345", 3), HS_WRITE_CONTINUE);
        assert_int_equal(hs_res_send(response), 0);
        collect(&desk);
        assert_int_equal(desk.failed, is_short);
        assert_int_equal(desk.written.len, is_short ? 2 : 5);
        desk_end(&desk);
    }
}

static void failing_is_500_before_the_first_write_and_the_end_behind_it(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_INLINE, 0);
    start(&desk, defer);
    assert_int_equal(hs_res_fail(hs_deferred_response(desk.story.job)), 0);
    collect(&desk);
    assert_int_equal(desk.status, 500);
    assert_false(desk.failed);
    start(&desk, defer);
    hs_response_t *response = hs_deferred_response(desk.story.job);
    assert_int_equal(hs_res_write(response, "half", 4), HS_WRITE_CONTINUE);
    assert_int_equal(hs_res_fail(response), 0);
    collect(&desk);
    assert_int_equal(desk.status, 200);
    assert_true(desk.failed);
    assert_int_equal(desk.done, 2);
    desk_end(&desk);
}

/* It is up to the program to check results; half a response is not sent either way. */
static void a_response_without_memory_for_it_is_500(void **state)
{
    (void)state;
    static desk_t desk;
    volatile size_t largest = SIZE_MAX; /* unknown to the compiler, which would warn */
    desk_init(&desk, HS_DISPATCH_INLINE, 0);
    start(&desk, defer);
    hs_response_t *response = hs_deferred_response(desk.story.job);
    assert_int_equal(hs_res_body(response, "x", largest), HS_ERR_NOMEM);
    assert_int_equal(hs_res_send(response), 0);
    collect(&desk);
    assert_int_equal(desk.status, 500);
    assert_false(desk.failed);
    start(&desk, defer);
    response = hs_deferred_response(desk.story.job);
    assert_int_equal(hs_res_write(response, "x", 1), HS_WRITE_CONTINUE);
    assert_int_equal(hs_res_write(response, "x", largest), HS_ERR_NOMEM);
    assert_int_equal(hs_res_write(response, "x", 1), HS_WRITE_CONTINUE);
    assert_int_equal(hs_res_send(response), 0);
    collect(&desk);
    assert_true(desk.failed);
    desk_end(&desk);
}

static void write_then_defer(story_t *story, hs_request_t *request, hs_response_t *response)
{
    static char piece[HIGH_WATER];
    assert_int_equal(hs_res_write(response, piece, sizeof(piece)), HS_WRITE_CONTINUE);
    assert_int_equal(hs_res_write(response, "x", 1), HS_WRITE_WAIT);
    defer(story, request, response);
}

/* Until it returns, a handler on the loop's thread acts as the loop's thread. */
static void what_was_written_before_deferring_comes_first(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_INLINE, 0);
    hs_job_t *job = start(&desk, write_then_defer);
    assert_int_equal(hs_res_write(hs_deferred_response(desk.story.job), "end", 3), HS_WRITE_WAIT);
    collect(&desk);
    assert_int_equal(desk.written.len, HIGH_WATER + 4);
    assert_memory_equal(desk.written.data + HIGH_WATER, "xend", 4);
    hs_executor_drained(job);
    assert_int_equal(desk.story.drained, 1);
    assert_int_equal(hs_res_send(hs_deferred_response(desk.story.job)), 0);
    collect(&desk);
    assert_int_equal(desk.body_len, 0);
    desk_end(&desk);
}

static void write_and_return(story_t *story, hs_request_t *request, hs_response_t *response)
{
    static char piece[HIGH_WATER];
    (void)story, (void)request;
    assert_int_equal(hs_res_write(response, piece, sizeof(piece)), HS_WRITE_CONTINUE);
    assert_int_equal(hs_res_write(response, "x", 1), HS_WRITE_WAIT);
}

/* A handler that is told to wait and just returns does not affect the next message. */
static void nobody_waits_for_a_handler_that_has_returned(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_INLINE, 0);
    desk.story.handle = write_and_return;
    hs_job_t *job = rig_request(&desk.rig, "/now");
    assert_int_equal(hs_executor_start(&desk.executor, job, false), HS_STARTED_DONE);
    assert_true(job->response.streamed && !job->response.failed);
    assert_int_equal(job->response.body.len, HIGH_WATER + 1);
    hs_job_give_back(&desk.rig.pool, job);
    assert_ptr_equal(start(&desk, defer), job);
    hs_executor_drained(job);
    assert_int_equal(desk.story.drained, 0);
    finish(&desk.story);
    collect(&desk);
    desk_end(&desk);
}

static void write_at_the_gate_then_defer(story_t *story, hs_request_t *request,
                                         hs_response_t *response)
{
    static char piece[HIGH_WATER];
    assert_int_equal(hs_res_write(response, piece, sizeof(piece)), HS_WRITE_CONTINUE);
    assert_int_equal(hs_res_write(response, "x", 1), HS_WRITE_WAIT);
    gate_pass(&story->gate);
    (void)request;
    assert_int_equal(hs_res_callbacks(response, &story->callbacks), 0);
    assert_true(hs_res_defer(response) != 0);
}

static void collect_until_told(desk_t *desk, const unsigned *count)
{
    while (*count == 0) {
        assert_true(hs_ev_poll(desk->ev, hs_executor_begin_sleep(&desk->executor, 10000)) >= 0);
        hs_executor_end_sleep(&desk->executor);
        collect(desk);
    }
}

/* A worker's handler has written; everything is sent before the handler defers. */
static void what_drained_before_deferring_is_told_afterwards(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_WORKER, 1);
    hs_job_t *job = start(&desk, write_at_the_gate_then_defer);
    gate_await(&desk.story.gate, 1);
    collect(&desk);
    assert_int_equal(desk.written.len, HIGH_WATER + 1);
    hs_executor_drained(job);
    assert_int_equal(desk.story.drained, 0); /* the handler is running */
    gate_open(&desk.story.gate);
    collect_until_told(&desk, &desk.story.drained);
    assert_int_equal(desk.story.drained, 1);
    assert_int_equal(hs_res_send(hs_deferred_response(desk.story.job)), 0);
    await_done(&desk, 1);
    assert_int_equal(desk.story.drained, 1);
    desk_end(&desk);
}

/* The client disconnects while a worker's handler has not deferred yet. */
static void an_abort_before_deferring_is_told_afterwards(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_WORKER, 1);
    hs_job_t *job = start(&desk, write_at_the_gate_then_defer);
    gate_await(&desk.story.gate, 1);
    hs_executor_cancel(&desk.executor, job, HS_ABORT_LOST);
    assert_int_equal(desk.story.aborts, 0);
    gate_open(&desk.story.gate);
    collect_until_told(&desk, &desk.story.aborts);
    assert_int_equal(desk.story.aborts, 1);
    assert_int_equal(desk.story.reason, HS_ABORT_LOST);
    assert_int_equal(hs_res_send(hs_deferred_response(desk.story.job)), 0);
    await_done(&desk, 1);
    assert_null(desk.link);
    assert_int_equal(desk.story.aborts, 1);
    assert_int_equal(desk.story.ends, 1);
    desk_end(&desk);
}

static void content_is_told_and_asked_for(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_INLINE, 0);
    hs_job_t *job = start(&desk, defer);
    desk.story.next = HS_CONTENT_PAUSE;
    assert_int_equal(hs_executor_content(job, hs_span("abc", 3), false), HS_CONTENT_PAUSE);
    assert_int_equal(hs_req_resume(desk.story.job), 0);
    collect(&desk);
    assert_int_equal(desk.resumed, 1);
    desk.story.next = HS_CONTENT_CONTINUE;
    assert_int_equal(hs_executor_content(job, hs_span("", 0), true), HS_CONTENT_CONTINUE);
    assert_int_equal(desk.story.content, 3);
    assert_true(desk.story.has_last);
    /* A request that arrives with or after the end is ignored. */
    assert_int_equal(hs_req_resume(desk.story.job), 0);
    hs_executor_cancel(&desk.executor, job, HS_ABORT_LOST);
    assert_int_equal(hs_req_resume(desk.story.job), 0);
    assert_int_equal(hs_res_send(hs_deferred_response(desk.story.job)), 0);
    collect(&desk);
    assert_int_equal(desk.resumed, 1);
    desk_end(&desk);
}

static void *resume_late(void *argument)
{
    hs_deferred_t *job = argument;
    while (hs_req_resume(*job) == 0) {
    }
    return NULL;
}

/* Resuming races with the end; a later post is freed with the executor at the latest. */
static void resuming_until_it_is_over_leaves_nothing(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_INLINE, 0);
    for (unsigned i = 1; i <= 20; i++) {
        pthread_t thread;
        start(&desk, defer);
        hs_deferred_t job = desk.story.job;
        assert_int_equal(pthread_create(&thread, NULL, resume_late, &job), 0);
        finish(&desk.story);
        pthread_join(thread, NULL);
        collect(&desk);
        assert_int_equal(desk.done, i);
    }
    desk_end(&desk);
}

static void wait_at_the_gate(story_t *story, hs_request_t *request, hs_response_t *response)
{
    gate_pass(&story->gate);
    hs_res_body_str(response, hs_req_url(request));
    hs_res_send(response);
}

/* Only the loop's thread is left; the queue was never read. */
static void a_request_that_was_cancelled_in_the_queue_is_not_run(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_WORKER, 1);
    start(&desk, wait_at_the_gate);
    gate_await(&desk.story.gate, 1);
    hs_job_t *queued = start(&desk, wait_at_the_gate);
    hs_executor_give_up(&desk.executor, queued, 30000);
    gate_open(&desk.story.gate);
    await_done(&desk, 2);
    assert_null(desk.link);
    assert_int_equal(desk.story.ends, 0);
    desk_end(&desk);
}

/* The loop ends with a request for which no worker was woken, and which is deferred during
 * shutdown.
 */
static void the_end_waits_for_what_is_deferred_last(void **state)
{
    (void)state;
    static desk_t desk;
    desk_init(&desk, HS_DISPATCH_WORKER, 1);
    for (unsigned done = 1;; done++) {
        hs_job_t *job = rig_request(&desk.rig, "/later");
        desk.story.handle = set_callbacks_and_send;
        assert_int_equal(hs_executor_start(&desk.executor, job, false), HS_STARTED_AWAY);
        job->link = &desk;
        hs_executor_flush(&desk.executor);
        if (hs_workers_want_wake(desk.workers))
            break; /* the worker is asleep */
        await_done(&desk, done);
    }
    desk.story.handle = defer;
    assert_int_equal(hs_workers_stop(desk.workers, UINT32_MAX), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, finish, &desk.story), 0);
    await_done(&desk, desk.done + 1);
    pthread_join(thread, NULL);
    assert_int_equal(desk.status, 202);
    desk_free(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_thread_finishes),
        cmocka_unit_test(what_was_sent_cannot_be_deferred),
        cmocka_unit_test(callbacks_do_not_outlive_their_message),
        cmocka_unit_test(callbacks_are_for_what_is_deferred),
        cmocka_unit_test(a_cancelled_job_comes_back_once_and_tells_why),
        cmocka_unit_test(pieces_of_a_cancelled_job_are_dropped),
        cmocka_unit_test(pieces_arrive_in_order_and_the_writer_is_told_to_wait),
        cmocka_unit_test(a_streamed_response_keeps_to_its_length),
        cmocka_unit_test(failing_is_500_before_the_first_write_and_the_end_behind_it),
        cmocka_unit_test(a_response_without_memory_for_it_is_500),
        cmocka_unit_test(what_was_written_before_deferring_comes_first),
        cmocka_unit_test(nobody_waits_for_a_handler_that_has_returned),
        cmocka_unit_test(what_drained_before_deferring_is_told_afterwards),
        cmocka_unit_test(an_abort_before_deferring_is_told_afterwards),
        cmocka_unit_test(content_is_told_and_asked_for),
        cmocka_unit_test(resuming_until_it_is_over_leaves_nothing),
        cmocka_unit_test(the_end_waits_for_what_is_deferred_last),
        cmocka_unit_test(a_request_that_was_cancelled_in_the_queue_is_not_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
