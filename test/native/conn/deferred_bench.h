/*
 * A connection whose handlers defer: the callbacks of each deferred job are recorded, and the test
 * finishes the job, on the same thread, through the completion queue. Include after cmocka.h.
 */
#pragma once

#include "conn/conn_bench.h"

#define DEFERRED_MAX 256

struct deferred_bench;

/* One deferred job. */
typedef struct deferred {
    struct deferred_bench *bench;
    hs_deferred_t job;
    bool is_finished; /* by the test */
    unsigned drains;
    unsigned shuts, losts, timeouts; /* calls of on_abort */
    unsigned ends;
    unsigned pieces, lasts; /* calls of on_content */
    hs_buf_t content;
} deferred_t;

typedef struct deferred_bench {
    conn_bench_t cb;
    deferred_t jobs[DEFERRED_MAX];
    size_t job_count;
    bool pauses;       /* on_content pauses after each piece */
    const char *early; /* sent by on_content after `early_at` bytes; NULL: nothing */
    size_t early_at;
    bool finishes_aborted; /* on_abort finishes the job */
    unsigned pinned, released;
} deferred_bench_t;

static inline hs_response_t *deferred_response(const deferred_t *deferred)
{
    hs_response_t *response = hs_deferred_response(deferred->job);
    assert_non_null(response);
    return response;
}

/* Completes the response with a body, or as streamed so far if the body is NULL. */
static inline void deferred_finish(deferred_t *deferred, const char *body)
{
    assert_false(deferred->is_finished);
    hs_response_t *response = deferred_response(deferred);
    deferred->is_finished = true;
    if (body != NULL)
        assert_int_equal(hs_res_body_str(response, body), 0);
    assert_int_equal(hs_res_send(response), 0);
    assert_null(hs_deferred_response(deferred->job));
}

static inline void deferred_fail(deferred_t *deferred)
{
    assert_false(deferred->is_finished);
    deferred->is_finished = true;
    assert_int_equal(hs_res_fail(deferred_response(deferred)), 0);
}

static inline void deferred_on_drain(hs_deferred_t job, void *user_data)
{
    deferred_t *deferred = user_data;
    assert_int_equal(job, deferred->job);
    assert_int_equal(deferred->ends, 0);
    deferred->drains++;
}

static inline void deferred_on_abort(hs_deferred_t job, hs_abort_reason_t reason, void *user_data)
{
    deferred_t *deferred = user_data;
    assert_int_equal(job, deferred->job);
    assert_int_equal(deferred->ends, 0);
    assert_int_equal(deferred->losts + deferred->timeouts, 0);
    assert_int_equal(hs_deferred_aborted(job), reason);
    switch (reason) {
    case HS_ABORT_SHUT:
        assert_int_equal(deferred->shuts, 0);
        deferred->shuts++;
        return;
    case HS_ABORT_LOST:
        deferred->losts++;
        break;
    case HS_ABORT_TIMEOUT:
        deferred->timeouts++;
        break;
    }
    if (deferred->bench->finishes_aborted && !deferred->is_finished)
        deferred_fail(deferred);
}

static inline hs_content_next_t deferred_on_content(hs_deferred_t job, const char *data,
                                                    size_t length, bool is_last, void *user_data)
{
    deferred_t *deferred = user_data;
    deferred_bench_t *db = deferred->bench;
    assert_int_equal(job, deferred->job);
    assert_int_equal(deferred->ends + deferred->lasts, 0);
    assert_true(length > 0 || is_last);
    deferred->pieces++;
    deferred->lasts += is_last;
    assert_true(hs_buf_append(&deferred->content, data, length));
    if (db->early != NULL && deferred->content.len >= db->early_at && !deferred->is_finished) {
        assert_int_equal(hs_res_status(deferred_response(deferred), 413), 0);
        deferred_finish(deferred, db->early);
    }
    return db->pauses ? HS_CONTENT_PAUSE : HS_CONTENT_CONTINUE;
}

static inline void deferred_on_end(void *user_data)
{
    deferred_t *deferred = user_data;
    assert_true(deferred->is_finished);
    assert_int_equal(deferred->ends, 0);
    deferred->ends++;
    assert_null(hs_deferred_request(deferred->job));
}

static inline void deferred_on_release(void *user_data)
{
    ((deferred_bench_t *)user_data)->released++;
}

/* Defers; targets that begin with /now get a response at once, with the target. */
static inline void deferred_handler(hs_request_t *request, hs_response_t *response, void *user_data)
{
    deferred_bench_t *db = user_data;
    const char *url = hs_req_url(request);
    db->cb.handled++;
    if (strncmp(url, "/now", 4) == 0) {
        assert_int_equal(hs_res_body_str(response, url), 0);
        assert_int_equal(hs_res_send(response), 0);
        return;
    }
    assert_true(db->job_count < DEFERRED_MAX);
    deferred_t *deferred = &db->jobs[db->job_count++];
    *deferred = (deferred_t){ .bench = db };
    const hs_callbacks_t callbacks = {
        .on_drain = deferred_on_drain,
        .on_abort = deferred_on_abort,
        .on_content = deferred_on_content,
        .on_end = deferred_on_end,
        .user_data = deferred,
    };
    assert_int_equal(hs_res_callbacks(response, &callbacks), 0);
    if (strncmp(url, "/begun", 6) == 0)
        assert_int_equal(hs_res_write(response, "begun:", 6), HS_WRITE_CONTINUE);
    deferred->job = hs_res_defer(response);
    assert_true(deferred->job != 0);
}

static inline void deferred_init(deferred_bench_t *db)
{
    memset(db, 0, sizeof(*db));
    conn_bench_init(&db->cb, deferred_handler);
    db->cb.user_data = db;
    db->cb.jobs_away = true;
    db->cb.limits.handler_timeout_ms = 3000;
}

static inline void deferred_open(deferred_bench_t *db)
{
    conn_open(&db->cb);
}

/* The test has finished `deferred`, with all consequences: its callback was called once. */
static inline void deferred_assert_over(const deferred_t *deferred)
{
    assert_true(deferred->is_finished);
    assert_int_equal(deferred->ends, 1);
}

/* Closes the connection and finishes unfinished jobs. Everything is returned. */
static inline void deferred_close(deferred_bench_t *db)
{
    byte_peer_abort(&db->cb.peer);
    for (size_t i = 0; i < db->job_count; i++)
        if (!db->jobs[i].is_finished)
            deferred_finish(&db->jobs[i], NULL);
    byte_peer_pump(&db->cb.peer);
    assert_int_equal(db->cb.peer.env.executor.completions.away, 0);
    for (size_t i = 0; i < db->job_count; i++) {
        deferred_assert_over(&db->jobs[i]);
        hs_buf_free(&db->jobs[i].content);
    }
    assert_int_equal(db->released, db->pinned);
    db->job_count = db->pinned = db->released = 0;
    conn_close(&db->cb);
}
