/* Worker threads: jobs are handed out, handled, and returned once, whatever happens meanwhile. */
#include "exec/hs_worker.h"

#include "exec/gate.h"
#include "exec/submitted_job.h"

#define HANDLER_TIMEOUT_MS 800

typedef struct pool {
    rig_t rig;
    hs_ev_t *ev;
    hs_completions_t completions;
    hs_c_handler_t c_handler;
    hs_workers_t *workers;
    gate_t gate;
    unsigned returned;
    unsigned ran;  /* of those returned: a worker has run the handler */
    uint64_t kept; /* a handle of the job while a worker had it, 0: none */
    unsigned interrupts;
    _Atomic unsigned attempts; /* to make a handler in vain */
} pool_t;

static void handle(hs_request_t *request, hs_response_t *response, void *user_data)
{
    if (strcmp(hs_req_url(request), "/gate") == 0)
        gate_pass(user_data);
    hs_res_body_str(response, hs_req_in_worker(request) ? hs_req_url(request) : "not in a worker");
    hs_res_send(response);
}

static void interrupt(void *self, hs_job_t *job, uint32_t count)
{
    pool_t *pool = HS_CONTAINER_OF((hs_c_handler_t *)self, pool_t, c_handler);
    (void)job;
    (void)count;
    pool->interrupts++;
}

static int make_handler(void *context, hs_handler_t *handler, hs_errinfo_t *error)
{
    (void)error;
    *handler = hs_c_handler_as_handler(context);
    return HS_OK;
}

static int make_interruptible(void *context, hs_handler_t *handler, hs_errinfo_t *error)
{
    int result = make_handler(context, handler, error);
    handler->interrupt = interrupt;
    return result;
}

static void pool_init_with(pool_t *pool,
                           int (*make)(void *context, hs_handler_t *handler, hs_errinfo_t *error),
                           uint32_t count, uint32_t capacity)
{
    *pool = (pool_t){ .c_handler = { handle, &pool->gate }, .gate = GATE_SHUT };
    pool->ev = hs_ev_new(pool, 16);
    assert_non_null(pool->ev);
    hs_completions_init(&pool->completions, pool->ev);
    rig_init(&pool->rig, &pool->completions);
    hs_workers_config_t config = {
        .factory = hs_c_handler_factory(&pool->c_handler),
        .log = &pool->rig.log,
        .completions = &pool->completions,
        .count = count,
        .queue_capacity = capacity,
        .handler_timeout_ms = HANDLER_TIMEOUT_MS,
    };
    config.factory.make = make;
    pool->workers = hs_workers_new(&config);
    assert_non_null(pool->workers);
}

static void pool_init(pool_t *pool, uint32_t count, uint32_t capacity)
{
    pool_init_with(pool, make_handler, count, capacity);
}

static hs_job_t *submit(pool_t *pool, const char *url)
{
    hs_job_t *job = rig_request(&pool->rig, url);
    assert_true(hs_workers_submit(pool->workers, job));
    return job;
}

/* Returns when a worker is waiting there. */
static hs_job_t *submit_to_the_gate(pool_t *pool)
{
    hs_job_t *job = submit(pool, "/gate");
    hs_workers_flush(pool->workers);
    gate_await(&pool->gate, 1);
    return job;
}

static void on_returned(pool_t *pool, hs_job_t *job)
{
    pool->returned++;
    HS_OWNER_TAKE(job->owner);
    hs_workers_returned(pool->workers, job);
    hs_response_t *response = &job->response;
    if (hs_job_state(job) == HS_JOB_DONE) {
        pool->ran++;
        assert_null(hs_job_of(pool->kept));
        assert_int_equal(response->sending, HS_SENDING_ENDED);
        const char *url = hs_msg_url(&job->request.msg).data;
        assert_int_equal(response->body.len, strlen(url));
        assert_memory_equal(response->body.data, url, response->body.len);
    } else {
        assert_int_equal(hs_job_state(job), HS_JOB_CANCELLED);
        assert_int_equal(response->sending, HS_SENDING_NOTHING);
    }
    hs_job_give_back(&pool->rig.pool, job);
}

static void take_posted(pool_t *pool)
{
    hs_mpsc_node_t *node = hs_completions_collect(&pool->completions);
    if (node != NULL)
        hs_workers_collected(pool->workers);
    while (node != NULL) {
        hs_post_t *post = hs_post_of_node(node);
        node = node->next;
        assert_int_equal(post->kind, HS_POST_DONE);
        on_returned(pool, hs_job_of_done(post));
    }
}

/* As the I/O thread does it. */
static void turn(pool_t *pool)
{
    hs_workers_wake(pool->workers);
    int timeout_ms = 0;
    if (hs_completions_begin_sleep(&pool->completions))
        timeout_ms = hs_workers_look_ms(pool->workers, 10000);
    assert_true(hs_ev_poll(pool->ev, timeout_ms) >= 0);
    hs_completions_end_sleep(&pool->completions);
    take_posted(pool);
}

/* Until so many are back. */
static void collect(pool_t *pool, unsigned wanted)
{
    while (pool->returned < wanted)
        turn(pool);
}

static void pool_end(pool_t *pool)
{
    assert_int_equal(hs_workers_stop(pool->workers, UINT32_MAX), 0);
    take_posted(pool);
    assert_int_equal(pool->rig.pool.leased, 0);
    hs_workers_free(pool->workers);
    hs_ev_free(pool->ev);
    rig_free(&pool->rig);
}

static void test_every_request_comes_back_once(void **state)
{
    (void)state;
    static const char *const urls[] = { "/a", "/bb", "/ccc", "/dddd" };
    pool_t pool;
    pool_init(&pool, 4, 128);
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < 100; i++)
            submit(&pool, urls[i % 4]);
        hs_workers_flush(pool.workers);
        pool.returned = pool.ran = 0;
        collect(&pool, 100);
        assert_int_equal(pool.ran, 100);
    }
    pool_end(&pool);
}

static void test_one_at_a_time_wakes_the_sleeping_loop(void **state)
{
    (void)state;
    pool_t pool;
    pool_init(&pool, 1, 8);
    for (unsigned i = 0; i < 500; i++) {
        submit(&pool, "/one");
        hs_workers_flush(pool.workers);
        pool.returned = 0;
        collect(&pool, 1);
    }
    pool_end(&pool);
}

static void test_requests_that_arrive_together_do_not_wait_for_each_other(void **state)
{
    (void)state;
    pool_t pool;
    pool_init(&pool, 3, 8);
    for (unsigned i = 0; i < 4; i++)
        submit(&pool, "/gate");
    hs_workers_flush(pool.workers);
    while (gate_waiting(&pool.gate) < 3)
        turn(&pool);
    assert_int_equal(pool.returned, 0);
    gate_open(&pool.gate);
    collect(&pool, 4);
    assert_int_equal(pool.ran, 4);
    pool_end(&pool);
}

static void test_a_full_queue_refuses_and_the_job_stays_ours(void **state)
{
    (void)state;
    pool_t pool;
    pool_init(&pool, 1, 2);
    submit_to_the_gate(&pool);
    submit(&pool, "/a");
    submit(&pool, "/b");
    hs_job_t *third = rig_request(&pool.rig, "/c");
    assert_false(hs_workers_submit(pool.workers, third));
    hs_job_give_back(&pool.rig.pool, third);
    hs_workers_flush(pool.workers);
    gate_open(&pool.gate);
    collect(&pool, 3);
    assert_int_equal(pool.ran, 3);
    pool_end(&pool);
}

static void test_a_cancelled_request_is_not_run(void **state)
{
    (void)state;
    pool_t pool;
    pool_init(&pool, 1, 8);
    submit_to_the_gate(&pool);
    hs_job_t *queued = submit(&pool, "/never");
    hs_workers_flush(pool.workers);
    hs_workers_cancel(pool.workers, queued);
    assert_false(hs_workers_give_up(pool.workers, queued));
    gate_open(&pool.gate);
    collect(&pool, 2);
    assert_int_equal(pool.ran, 1);
    pool_end(&pool);
}

static void test_a_stuck_worker_is_replaced_and_may_come_back(void **state)
{
    (void)state;
    pool_t pool;
    pool_init(&pool, 1, 8);
    hs_job_t *stuck = submit_to_the_gate(&pool);
    assert_true(hs_workers_give_up(pool.workers, stuck));
    assert_false(hs_workers_are_lost(pool.workers));
    submit(&pool, "/other");
    hs_workers_flush(pool.workers);
    collect(&pool, 1);
    assert_int_equal(pool.ran, 1);
    hs_job_t *second = submit_to_the_gate(&pool);
    hs_workers_wake(pool.workers);
    gate_await(&pool.gate, 2);
    assert_true(hs_workers_give_up(pool.workers, second));
    assert_true(hs_workers_are_lost(pool.workers));
    gate_open(&pool.gate);
    collect(&pool, 3);
    assert_false(hs_workers_are_lost(pool.workers));
    pool_end(&pool);
}

/* As the I/O thread does it, every 100 ms. */
static void watch(pool_t *pool, uint64_t from_ms, uint64_t to_ms)
{
    for (uint64_t now_ms = from_ms; now_ms <= to_ms; now_ms += 100)
        hs_workers_watch(pool->workers, now_ms);
}

static void test_a_handler_without_progress_is_interrupted(void **state)
{
    (void)state;
    pool_t pool;
    pool_init_with(&pool, make_interruptible, 1, 8);
    hs_job_t *job = submit_to_the_gate(&pool);
    watch(&pool, 1000, 1700);
    hs_job_progress(job, 2); /* it writes */
    watch(&pool, 1800, 2400);
    hs_job_progress(job, 1); /* it waits, for long */
    watch(&pool, 2500, 10000);
    hs_job_progress(job, 1);
    watch(&pool, 10100, 10800);
    assert_int_equal(pool.interrupts, 0);
    watch(&pool, 10900, 11500);
    assert_int_equal(pool.interrupts, 1);
    submit(&pool, "/other"); /* another worker takes its place */
    hs_workers_flush(pool.workers);
    collect(&pool, 1);
    gate_open(&pool.gate);
    collect(&pool, 2);
    unsigned repeated = pool.interrupts; /* while the loop waited, it insisted */
    watch(&pool, 11600, 20000);
    assert_int_equal(pool.interrupts, repeated);
    pool_end(&pool);
}

static void test_a_handler_that_cannot_be_interrupted_is_left_alone(void **state)
{
    (void)state;
    pool_t pool;
    pool_init(&pool, 1, 8);
    submit_to_the_gate(&pool);
    watch(&pool, 1000, 10000);
    submit_to_the_gate(&pool);
    assert_int_equal(hs_workers_queued(pool.workers), 1); /* nothing takes its place */
    gate_open(&pool.gate);
    collect(&pool, 2);
    pool_end(&pool);
}

static void test_stop_runs_what_is_queued_and_joins(void **state)
{
    (void)state;
    pool_t pool;
    pool_init(&pool, 2, 64);
    for (unsigned i = 0; i < 50; i++)
        submit(&pool, "/last");
    hs_workers_flush(pool.workers);
    pool_end(&pool);
    assert_int_equal(pool.returned, 50);
}

static void test_stop_does_not_wait_for_a_stuck_one(void **state)
{
    (void)state;
    /* All of it stays for ever, as the contract says: the thread is only let go for the leak check.
     */
    static pool_t pool;
    pool_init(&pool, 1, 8);
    hs_job_t *stuck = submit_to_the_gate(&pool);
    assert_true(hs_workers_give_up(pool.workers, stuck));
    assert_int_equal(hs_workers_stop(pool.workers, UINT32_MAX), 1);
    gate_open(&pool.gate);
    collect(&pool, 1);
}

/*
 * A loop that has events all the time never comes to sleep, before which it would wake a worker.
 * One request must not wait for others to come: a few turns later a worker is woken.
 */
static void test_a_lone_request_is_seen_although_the_loop_never_sleeps(void **state)
{
    (void)state;
    enum {
        TURNS = 4
    };
    pool_t pool;
    pool_init(&pool, 1, 8);
    submit(&pool, "/first");
    hs_workers_flush(pool.workers);
    collect(&pool, 1);
    for (unsigned asleep = 0, wanted = 2; asleep < 20; wanted++) {
        submit(&pool, "/lone");
        hs_workers_flush(pool.workers);
        /* False: the worker was not asleep yet, and has seen it. */
        if (hs_workers_want_wake(pool.workers)) {
            asleep++;
            for (unsigned turn = 1; turn < TURNS; turn++)
                hs_workers_flush(pool.workers);
            assert_false(hs_workers_want_wake(pool.workers));
        }
        while (pool.returned < wanted) {
            assert_true(hs_ev_poll(pool.ev, 1) >= 0);
            take_posted(&pool);
        }
    }
    pool_end(&pool);
}

/* Whoever has kept the job's handle finds out that another thread has it, or has had it. */
static void test_the_generation_moves_when_a_worker_posts(void **state)
{
    (void)state;
    pool_t pool;
    pool_init(&pool, 1, 8);
    hs_job_t *job = submit_to_the_gate(&pool);
    pool.kept = job->view.handle;
    assert_ptr_equal(hs_job_of(pool.kept), job);
    gate_open(&pool.gate);
    collect(&pool, 1);
    pool_end(&pool);
}

static int refuse_to_make(void *context, hs_handler_t *handler, hs_errinfo_t *error)
{
    (void)handler;
    HS_CONTAINER_OF((hs_c_handler_t *)context, pool_t, c_handler)->attempts++;
    return hs_errinfo_set(error, HS_ERR_HANDLER, 0, "on purpose");
}

static void test_a_worker_without_handler_responds_500(void **state)
{
    (void)state;
    pool_t pool;
    pool_init_with(&pool, refuse_to_make, 1, 8);
    submit(&pool, "Internal Server Error\n");
    hs_workers_flush(pool.workers);
    collect(&pool, 1);
    assert_int_equal(pool.ran, 1);
    assert_true(pool.attempts >= 1);
    pool_end(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_request_comes_back_once),
        cmocka_unit_test(test_one_at_a_time_wakes_the_sleeping_loop),
        cmocka_unit_test(test_a_lone_request_is_seen_although_the_loop_never_sleeps),
        cmocka_unit_test(test_the_generation_moves_when_a_worker_posts),
        cmocka_unit_test(test_requests_that_arrive_together_do_not_wait_for_each_other),
        cmocka_unit_test(test_a_full_queue_refuses_and_the_job_stays_ours),
        cmocka_unit_test(test_a_cancelled_request_is_not_run),
        cmocka_unit_test(test_a_stuck_worker_is_replaced_and_may_come_back),
        cmocka_unit_test(test_a_handler_without_progress_is_interrupted),
        cmocka_unit_test(test_a_handler_that_cannot_be_interrupted_is_left_alone),
        cmocka_unit_test(test_stop_runs_what_is_queued_and_joins),
        cmocka_unit_test(test_stop_does_not_wait_for_a_stuck_one),
        cmocka_unit_test(test_a_worker_without_handler_responds_500),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
