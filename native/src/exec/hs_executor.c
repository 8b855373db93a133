#include "exec/hs_executor.h"

#include "exec/hs_res.h"
#include "http/hs_parse.h"
#include "os/hs_clock.h"

/* A turn that takes longer than this, and than this per request, contains something slow. */
#define LONG_TURN_NS (HS_ESTIMATE_SLOW_US * 1000)
#define QUICK_REQUEST_NS (50 * 1000)
/* After a long turn this many requests are timed. */
#define TIMED_REQUESTS 4096

void hs_executor_init(hs_executor_t *executor, hs_handler_t handler, hs_dispatch_mode_t mode,
                      hs_ev_t *ev)
{
    memset(executor, 0, sizeof(*executor));
    executor->handler = handler;
    executor->mode = mode;
    executor->timed = TIMED_REQUESTS;
    hs_completions_init(&executor->completions, ev);
    hs_executor_set_workers(executor, NULL);
}

void hs_executor_set_workers(hs_executor_t *executor, hs_workers_t *workers)
{
    executor->workers = workers;
}

/* There is no thread to run it again. */
static void refuse_worker(hs_job_t *job)
{
    const hs_msg_t *msg = &job->request.msg;
    const char *why = job->view.content != 0 ? "before the content of the request had arrived"
                                             : "and the server has none";
    hs_job_log(job, HS_LOG_ERROR, "the handler asked for a worker %s: %s %.128s", why,
               hs_parse_method_name(msg->method), hs_msg_url(msg).data);
    job->wants_worker = false;
    hs_res_replace(&job->response, 500);
}

/* Ends the job here, with a response from the server. */
static hs_started_t respond(hs_job_t *job, int status)
{
    hs_res_begin(&job->response);
    hs_res_replace(&job->response, status);
    hs_job_set_state(job, HS_JOB_DONE);
    return HS_STARTED_DONE;
}

static HS_NOINLINE hs_started_t submit(hs_executor_t *executor, hs_job_t *job)
{
    if (!hs_job_detach(job))
        return respond(job, 500);
    hs_job_move_generation(job);
    job->was_away = true;
    job->waited = job->lasts = false;
    if (!hs_workers_submit(executor->workers, job))
        return respond(job, 503);
    executor->completions.away++;
    return HS_STARTED_AWAY;
}

/* True: the job is done. */
static inline hs_ran_t run_inline(hs_executor_t *executor, hs_job_t *job)
{
    hs_busy_begin(&executor->busy, job);
    job->in_worker = false;
    job->view.in_worker = 0;
    hs_job_set_state(job, HS_JOB_RUNNING);
    hs_ran_t ran = hs_handler_start(&executor->handler, job);
    hs_busy_end(&executor->busy);
    executor->handled++;
    return ran;
}

/* The clock is read once per request: one ends where the next one of its turn begins. */
static hs_ran_t run_timed(hs_executor_t *executor, hs_job_t *job, uint64_t route)
{
    uint64_t begin_ns = executor->lap_ns != 0 ? executor->lap_ns : hs_clock_monotonic_ns();
    hs_ran_t ran = run_inline(executor, job);
    executor->lap_ns = hs_clock_monotonic_ns();
    executor->timed--;
    uint64_t cost_us = (executor->lap_ns - begin_ns) / 1000;
    hs_estimate_learn(&executor->estimate, route, (uint32_t)hs_min(cost_us, UINT32_MAX),
                      executor->now_ms);
    return ran;
}

/* The handler has not responded. */
static HS_NOINLINE hs_started_t go_on_elsewhere(hs_executor_t *executor, hs_job_t *job,
                                                hs_ran_t ran)
{
    if (ran == HS_RAN_DEFERRED) {
        executor->completions.away++;
        return HS_STARTED_AWAY;
    }
    if (executor->workers != NULL && job->view.content == 0)
        return submit(executor, job);
    refuse_worker(job);
    hs_job_set_state(job, HS_JOB_DONE);
    return HS_STARTED_DONE;
}

static inline hs_started_t finish_inline(hs_executor_t *executor, hs_job_t *job, hs_ran_t ran)
{
    if (HS_UNLIKELY(ran != HS_RAN_DONE))
        return go_on_elsewhere(executor, job, ran);
    hs_job_set_state(job, HS_JOB_DONE);
    return HS_STARTED_DONE;
}

/* With `auto`, while there are or may be slow requests: by the times of the route's requests. */
static HS_NOINLINE hs_started_t start_watched(hs_executor_t *executor, hs_job_t *job)
{
    const hs_msg_t *msg = &job->request.msg;
    uint64_t route = hs_estimate_route(msg->method, hs_msg_url(msg));
    if (executor->workers != NULL && hs_estimate_is_slow(&executor->estimate, route)) {
        job->route = route;
        executor->lap_ns = 0;
        return submit(executor, job);
    }
    hs_ran_t ran =
        executor->timed > 0 ? run_timed(executor, job, route) : run_inline(executor, job);
    if (ran == HS_RAN_DEFERRED)
        hs_estimate_stay(&executor->estimate, route, executor->now_ms);
    return finish_inline(executor, job, ran);
}

hs_started_t hs_executor_start(hs_executor_t *executor, hs_job_t *job, bool is_inline)
{
    job->route = 0;
    if (executor->workers != NULL && !is_inline) {
        if (executor->mode == HS_DISPATCH_WORKER)
            return submit(executor, job);
        if (executor->mode == HS_DISPATCH_AUTO &&
            (executor->timed > 0 || executor->estimate.slow_count > 0))
            return start_watched(executor, job);
    }
    return finish_inline(executor, job, run_inline(executor, job));
}

static void note_workers(hs_executor_t *executor)
{
    atomic_store_explicit(&executor->busy.no_workers, hs_workers_are_lost(executor->workers),
                          memory_order_relaxed);
}

bool hs_executor_call(hs_executor_t *executor, hs_call_t *call)
{
    if (executor->workers == NULL || !hs_workers_submit_call(executor->workers, call))
        return false;
    executor->completions.away++;
    return true;
}

void hs_executor_give_up_call(hs_executor_t *executor, hs_call_t *call)
{
    atomic_store_explicit(&call->cancelled, true, memory_order_relaxed);
    hs_workers_give_up_call(executor->workers, call);
    note_workers(executor);
}

static void take_call(hs_executor_t *executor, hs_post_t *post)
{
    hs_call_t *call = HS_CONTAINER_OF(post, hs_call_t, done);
    HS_ASSERT(executor->completions.away > 0);
    executor->completions.away--;
    hs_workers_call_returned(executor->workers, call);
    if (HS_UNLIKELY(atomic_load_explicit(&executor->busy.no_workers, memory_order_relaxed)))
        note_workers(executor);
    call->returned(call);
}

void hs_executor_flush(hs_executor_t *executor)
{
    if (executor->workers == NULL)
        return;
    hs_workers_flush(executor->workers);
    if (executor->completions.away > 0)
        hs_workers_watch(executor->workers, executor->now_ms);
}

static void take_back(hs_executor_t *executor, hs_job_t *job, const hs_executor_sink_t *sink)
{
    HS_ASSERT(executor->completions.away > 0);
    executor->completions.away--;
    HS_OWNER_TAKE(job->owner);
    if (job->in_worker || hs_job_state(job) == HS_JOB_CANCELLED)
        hs_workers_returned(executor->workers, job);
    if (HS_UNLIKELY(atomic_load_explicit(&executor->busy.no_workers, memory_order_relaxed)))
        note_workers(executor);
    if (job->route != 0 && job->waited)
        hs_estimate_stay(&executor->estimate, job->route, executor->now_ms);
    else if (job->route != 0 && hs_job_state(job) != HS_JOB_CANCELLED)
        hs_estimate_learn(&executor->estimate, job->route, job->cost_us, executor->now_ms);
    if (job->deferred_handle != 0 && job->callbacks.on_end != NULL)
        job->callbacks.on_end(job->callbacks.user_data);
    void *link = job->link;
    job->link = NULL;
    sink->done(sink->context, job, link);
}

static void take_piece(hs_executor_t *executor, hs_piece_t *piece, const hs_executor_sink_t *sink)
{
    hs_job_t *job = piece->job;
    size_t len = piece->data.len;
    if (job->in_worker && job->lasts && job->route != 0) {
        /* The next request of this route does not occupy a worker. */
        hs_estimate_stay(&executor->estimate, job->route, executor->now_ms);
        job->route = 0;
    }
    if (job->link != NULL)
        sink->write(sink->context, job, &piece->data, piece->flush);
    atomic_fetch_sub_explicit(&job->posted, len, memory_order_relaxed);
    hs_buf_free(&piece->data);
    hs_free(piece);
}

static void take_resume(hs_piece_t *piece, const hs_executor_sink_t *sink)
{
    hs_job_t *job = hs_job_of(piece->handle);
    if (job != NULL && job->link != NULL)
        sink->resume(sink->context, job);
    hs_free(piece);
}

static void tell_aborted(hs_job_t *job)
{
    int reason = atomic_load_explicit(&job->aborted, memory_order_relaxed);
    if (reason == job->told || hs_job_state(job) != HS_JOB_SUSPENDED)
        return;
    job->told = reason;
    if (job->callbacks.on_abort != NULL)
        job->callbacks.on_abort(job->deferred_handle, (hs_abort_reason_t)reason,
                                job->callbacks.user_data);
}

/* Delivers what happened while the handler ran on a worker: its client disconnected, or its output
 * was sent.
 */
static void take_deferred(hs_piece_t *piece, const hs_executor_sink_t *sink)
{
    hs_job_t *job = hs_job_of(piece->handle);
    if (job != NULL) {
        tell_aborted(job);
        if (job->link != NULL && atomic_load_explicit(&job->waits, memory_order_relaxed))
            sink->write(sink->context, job, &piece->data, true);
    }
    hs_free(piece);
}

void hs_executor_collect(hs_executor_t *executor, const hs_executor_sink_t *sink)
{
    if (executor->completions.away == 0)
        return;
    hs_mpsc_node_t *node = hs_completions_collect(&executor->completions);
    if (node != NULL && executor->workers != NULL)
        hs_workers_collected(executor->workers);
    while (node != NULL) {
        hs_post_t *post = hs_post_of_node(node);
        node = node->next;
        switch (post->kind) {
        case HS_POST_DONE:
            take_back(executor, hs_job_of_done(post), sink);
            break;
        case HS_POST_WRITE:
            take_piece(executor, (hs_piece_t *)post, sink);
            break;
        case HS_POST_RESUME:
            take_resume((hs_piece_t *)post, sink);
            break;
        case HS_POST_DEFERRED:
            take_deferred((hs_piece_t *)post, sink);
            break;
        case HS_POST_CALL:
            take_call(executor, post);
            break;
        }
    }
}

void hs_executor_free(hs_executor_t *executor)
{
    HS_ASSERT(executor->completions.away == 0);
    hs_mpsc_node_t *node = hs_completions_collect(&executor->completions);
    while (node != NULL) {
        hs_post_t *post = hs_post_of_node(node);
        node = node->next;
        HS_ASSERT(post->kind == HS_POST_RESUME || post->kind == HS_POST_DEFERRED);
        hs_free(post);
    }
}

void hs_executor_aborted(hs_job_t *job, hs_abort_reason_t reason)
{
    atomic_store_explicit(&job->aborted, (int)reason, memory_order_relaxed);
    tell_aborted(job);
}

void hs_executor_drained(hs_job_t *job)
{
    if (!atomic_load_explicit(&job->waits, memory_order_relaxed) ||
        hs_job_state(job) != HS_JOB_SUSPENDED)
        return;
    atomic_store_explicit(&job->waits, false, memory_order_relaxed);
    if (job->callbacks.on_drain != NULL)
        job->callbacks.on_drain(job->deferred_handle, job->callbacks.user_data);
}

hs_content_next_t hs_executor_content(hs_job_t *job, hs_span_t content, bool is_last)
{
    if (hs_job_state(job) != HS_JOB_SUSPENDED || job->callbacks.on_content == NULL)
        return HS_CONTENT_CONTINUE; /* dropped */
    return job->callbacks.on_content(job->deferred_handle, content.data, content.len, is_last,
                                     job->callbacks.user_data);
}

void hs_executor_cancel(hs_executor_t *executor, hs_job_t *job, hs_abort_reason_t reason)
{
    job->link = NULL;
    if (executor->workers != NULL)
        hs_workers_cancel(executor->workers, job);
    hs_executor_aborted(job, reason);
}

void hs_executor_give_up(hs_executor_t *executor, hs_job_t *job, uint32_t timeout_ms)
{
    const hs_msg_t *msg = &job->request.msg;
    const char *method = hs_parse_method_name(msg->method);
    const char *url = hs_msg_url(msg).data;
    bool is_suspended = hs_job_state(job) == HS_JOB_SUSPENDED;
    char where[256] = "";
    if (is_suspended && job->suspended_by != NULL)
        job->where(job, where, sizeof(where));
    const char *why =
        job->suspended_by != NULL ? "its handler is still waiting" : "it was deferred";
    hs_executor_cancel(executor, job, HS_ABORT_TIMEOUT);
    if (is_suspended)
        hs_job_log(job, HS_LOG_ERROR, "%s %.128s has no response after %u ms: %s%s%s", method, url,
                   timeout_ms, why, where[0] != '\0' ? ": " : "", where);
    else if (hs_workers_give_up(executor->workers, job))
        hs_job_log(
            job, HS_LOG_ERROR,
            "the handler of %s %.128s has not responded for %u ms: worker %u is stuck. It is being "
            "interrupted; if no traceback follows, it runs compiled code or is in a C call",
            method, url, timeout_ms, job->worker);
    else
        hs_job_log(job, HS_LOG_ERROR, "%s %.128s has waited %u ms for a worker: all are busy",
                   method, url, timeout_ms);
    if (executor->workers != NULL)
        note_workers(executor);
}

void hs_executor_end_turn(hs_executor_t *executor, uint64_t turn_ns)
{
    if (turn_ns > LONG_TURN_NS + (uint64_t)executor->handled * QUICK_REQUEST_NS)
        executor->timed = TIMED_REQUESTS;
}

int hs_executor_begin_sleep(hs_executor_t *executor, int timeout_ms)
{
    if (executor->completions.away == 0 || timeout_ms == 0)
        return timeout_ms;
    if (!hs_completions_begin_sleep(&executor->completions))
        return 0;
    return executor->workers != NULL ? hs_workers_look_ms(executor->workers, timeout_ms)
                                     : timeout_ms;
}

void hs_executor_end_sleep(hs_executor_t *executor)
{
    if (executor->completions.away > 0)
        hs_completions_end_sleep(&executor->completions);
}
