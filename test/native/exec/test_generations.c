/* hs_generations: the handlers of all threads are replaced, all or none, while jobs run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "exec/gate.h"
#include "exec/hs_generations.h"
#include "exec/job_bench.h"
#include "os/hs_thread.h"

#define MOST_LIVE 3

/* A generation of fake handlers, which return its number. */
typedef struct app {
    int number;
    bool refuses;            /* no handler of it can be created */
    gate_t *loading;         /* NULL, or the gate at which a load waits */
    atomic_int made, living; /* handlers */
    atomic_int held;         /* number of dependents of each */
    atomic_bool released;
} app_t;

static _Thread_local int answered; /* by the last run */

/* Handlers are destroyed by another thread, at any time. */
static pthread_mutex_t ending = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;

static void run(void *self, hs_job_t *job)
{
    (void)job;
    answered = ((app_t *)self)->number;
}

static const void *held_by(void *self)
{
    return ((app_t *)self)->held > 0 ? self : NULL;
}

static int make(void *context, hs_handler_t *handler, hs_errinfo_t *error)
{
    app_t *app = context;
    if (app->loading != NULL)
        gate_pass(app->loading);
    if (app->refuses)
        return hs_errinfo_set(error, HS_ERR_HANDLER, 0, "app %d refuses", app->number);
    app->made++;
    app->living++;
    *handler = (hs_handler_t){ .run = run, .self = app, .held_by = held_by };
    return HS_OK;
}

static void end_one(void *context, hs_handler_t *handler)
{
    assert_ptr_equal(handler->self, context);
    pthread_mutex_lock(&ending);
    ((app_t *)context)->living--;
    pthread_cond_broadcast(&ended);
    pthread_mutex_unlock(&ending);
}

static void release(void *context)
{
    app_t *app = context;
    assert_int_equal(app->living, 0);
    app->released = true;
}

static hs_generation_source_t source_of(app_t *app)
{
    return (hs_generation_source_t){ { make, end_one, app }, release };
}

/* Results reported by the helper. */
typedef struct told {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int times;
    char problem[128];
} told_t;

typedef struct fixture {
    hs_log_t log;
    log_tape_t tape;
    told_t told;
    hs_generations_t *all;
    app_t first;
} fixture_t;

static void done(void *context, const char *problem)
{
    told_t *told = context;
    pthread_mutex_lock(&told->lock);
    told->times++;
    snprintf(told->problem, sizeof(told->problem), "%s", problem != NULL ? problem : "");
    pthread_cond_signal(&told->changed);
    pthread_mutex_unlock(&told->lock);
}

static const char *wait_for(told_t *told, int times)
{
    pthread_mutex_lock(&told->lock);
    while (told->times < times)
        pthread_cond_wait(&told->changed, &told->lock);
    pthread_mutex_unlock(&told->lock);
    return told->problem;
}

static void fixture_begin(fixture_t *f)
{
    memset(f, 0, sizeof(*f));
    hs_log_init(&f->log, HS_LOG_DEBUG, log_tape_sink, &f->tape);
    pthread_mutex_init(&f->told.lock, NULL);
    pthread_cond_init(&f->told.changed, NULL);
    f->first.number = 1;
    f->all = hs_generations_new(source_of(&f->first), MOST_LIVE, &f->log);
    assert_non_null(f->all);
}

static void fixture_end(fixture_t *f)
{
    assert_int_equal(hs_generations_free(f->all, 10000), 0);
}

static hs_handler_t make_handler(fixture_t *f)
{
    hs_handler_factory_t factory = hs_generations_factory(f->all);
    hs_handler_t handler;
    hs_errinfo_t error;
    assert_int_equal(factory.make(factory.context, &handler, &error), HS_OK);
    return handler;
}

static void end_handler(fixture_t *f, hs_handler_t *handler)
{
    hs_handler_factory_t factory = hs_generations_factory(f->all);
    factory.end(factory.context, handler);
}

static void begin_prepare(fixture_t *f, app_t *app)
{
    hs_errinfo_t error = { 0 };
    if (hs_generations_prepare(f->all, source_of(app), done, &f->told, &error) != HS_OK)
        fail_msg("%s", error.text);
}

static void prepare(fixture_t *f, app_t *app)
{
    int before = f->told.times;
    begin_prepare(f, app);
    assert_string_equal(wait_for(&f->told, before + 1), "");
}

static int answer_of(const hs_handler_t *handler)
{
    handler->run(handler->self, NULL);
    return answered;
}

static void wait_until_ended(const app_t *app)
{
    pthread_mutex_lock(&ending);
    while (app->living > 0)
        pthread_cond_wait(&ended, &ending);
    pthread_mutex_unlock(&ending);
}

static void all_threads_go_over_at_their_next_job(void **state)
{
    (void)state;
    fixture_t f;
    fixture_begin(&f);
    hs_handler_t a = make_handler(&f);
    hs_handler_t b = make_handler(&f);
    app_t second = { .number = 2 };
    prepare(&f, &second);
    assert_int_equal(second.made, 2);
    assert_int_equal(answer_of(&a), 1);
    assert_int_equal(hs_generations_switch(f.all), HS_OK);
    assert_int_equal(answer_of(&a), 2);
    assert_int_equal(hs_handler_due_ms(&b, true), 0); /* an idle thread switches this way */
    b.run_tasks(b.self);
    assert_int_equal(hs_handler_due_ms(&b, true), HS_NEVER);
    wait_until_ended(&f.first);
    assert_int_equal(answer_of(&b), 2);
    hs_handler_t c = make_handler(&f); /* a thread that starts later */
    assert_int_equal(answer_of(&c), 2);
    assert_int_equal(hs_generations_switch(f.all), HS_ERR_STATE);
    end_handler(&f, &a);
    end_handler(&f, &b);
    end_handler(&f, &c);
    assert_int_equal(second.living, 0);
    fixture_end(&f);
    assert_true(f.first.released && second.released);
}

static void one_that_does_not_load_changes_nothing(void **state)
{
    (void)state;
    fixture_t f;
    fixture_begin(&f);
    hs_handler_t a = make_handler(&f);
    app_t bad = { .number = 2, .refuses = true };
    begin_prepare(&f, &bad);
    assert_string_equal(wait_for(&f.told, 1), "app 2 refuses");
    assert_int_equal(hs_generations_switch(f.all), HS_ERR_STATE);
    assert_int_equal(answer_of(&a), 1);
    app_t third = { .number = 3 };
    prepare(&f, &third);
    hs_generations_discard(f.all);
    assert_int_equal(hs_generations_switch(f.all), HS_ERR_STATE);
    assert_int_equal(answer_of(&a), 1);
    wait_until_ended(&third);
    app_t fourth = { .number = 4 };
    prepare(&f, &fourth);
    app_t fifth = { .number = 5 }; /* instead of it */
    prepare(&f, &fifth);
    assert_int_equal(hs_generations_switch(f.all), HS_OK);
    assert_int_equal(answer_of(&a), 5);
    end_handler(&f, &a);
    fixture_end(&f);
    assert_true(bad.released && third.released && fourth.released && fifth.released);
}

static void handlers_that_were_never_used_are_ended(void **state)
{
    (void)state;
    fixture_t f;
    fixture_begin(&f);
    hs_handler_t a = make_handler(&f);
    app_t apps[10];
    memset(apps, 0, sizeof(apps));
    for (int i = 0; i < 10; i++) {
        apps[i].number = 2 + i;
        prepare(&f, &apps[i]);
        assert_int_equal(hs_generations_switch(f.all), HS_OK);
    }
    for (int i = 0; i < 9; i++)
        wait_until_ended(&apps[i]);
    assert_int_equal(f.first.living, 1); /* still used by the idle thread */
    assert_int_equal(answer_of(&a), 11);
    wait_until_ended(&f.first);
    end_handler(&f, &a);
    fixture_end(&f);
}

static void what_depends_on_a_handler_keeps_it(void **state)
{
    (void)state;
    fixture_t f;
    fixture_begin(&f);
    hs_handler_t a = make_handler(&f);
    f.first.held = 1;
    app_t second = { .number = 2 };
    prepare(&f, &second);
    assert_int_equal(hs_generations_switch(f.all), HS_OK);
    assert_int_equal(answer_of(&a), 2);
    assert_int_equal(hs_handler_due_ms(&a, true), HS_NEVER);
    assert_int_equal(f.first.living, 1);
    f.first.held = 0;
    assert_int_equal(hs_handler_due_ms(&a, true), 0);
    a.run_tasks(a.self);
    wait_until_ended(&f.first);
    end_handler(&f, &a);
    fixture_end(&f);
}

/* Even if some in between are no longer needed. */
static void only_so_many_are_kept(void **state)
{
    (void)state;
    fixture_t f;
    fixture_begin(&f);
    hs_handler_t a = make_handler(&f);
    app_t apps[5];
    memset(apps, 0, sizeof(apps));
    f.first.held = 1;
    for (int i = 0; i < 5; i++) {
        apps[i].number = 2 + i;
        apps[i].held = i != 1; /* 2, 4 and 5 are needed, as is 1 */
        prepare(&f, &apps[i]);
        assert_int_equal(hs_generations_switch(f.all), HS_OK);
        assert_int_equal(answer_of(&a), 2 + i);
        a.run_tasks(a.self);
        const void *overdue[] = { NULL, NULL, NULL, &f.first, &apps[0] };
        assert_ptr_equal(a.overdue(a.self), overdue[i]);
        if (overdue[i] != NULL)
            ((app_t *)(uintptr_t)overdue[i])->held = 0;
        assert_null(a.overdue(a.self));
    }
    for (int i = 0; i < 5; i++)
        apps[i].held = 0;
    end_handler(&f, &a);
    fixture_end(&f);
}

/* Threads that join while the helper loads, or after it has loaded, switch like the others. */
static void late_threads_go_over_too(void **state)
{
    (void)state;
    fixture_t f;
    fixture_begin(&f);
    hs_handler_t a = make_handler(&f);
    gate_t gate = GATE_SHUT;
    app_t second = { .number = 2, .loading = &gate };
    begin_prepare(&f, &second);
    gate_await(&gate, 1);
    hs_handler_t b = make_handler(&f);
    gate_open(&gate);
    assert_string_equal(wait_for(&f.told, 1), "");
    assert_int_equal(second.made, 2);
    hs_handler_t c = make_handler(&f);
    assert_int_equal(hs_generations_switch(f.all), HS_OK);
    assert_int_equal(answer_of(&a), 2);
    assert_int_equal(answer_of(&b), 2);
    while (answer_of(&c) != 2) /* its handler is being created */
        (void)sched_yield();
    end_handler(&f, &a);
    end_handler(&f, &b);
    end_handler(&f, &c);
    fixture_end(&f);
}

static void a_late_thread_that_cannot_load_stays_with_what_it_has(void **state)
{
    (void)state;
    fixture_t f;
    fixture_begin(&f);
    hs_handler_t a = make_handler(&f);
    app_t second = { .number = 2 };
    begin_prepare(&f, &second);
    assert_string_equal(wait_for(&f.told, 1), "");
    hs_handler_t b = make_handler(&f);
    gate_t gate = GATE_SHUT;
    second.loading = &gate;
    second.refuses = true;
    assert_int_equal(hs_generations_switch(f.all), HS_OK);
    gate_await(&gate, 1); /* the helper creates one for it */
    assert_int_equal(answer_of(&a), 2);
    assert_int_equal(answer_of(&b), 1);
    gate_open(&gate);
    end_handler(&f, &a);
    end_handler(&f, &b);
    fixture_end(&f); /* the helper has finished, and its log records are here */
    assert_string_equal(f.tape.last, "a thread keeps the old generation: app 2 refuses");
}

static void a_load_that_does_not_end_is_left_behind(void **state)
{
    (void)state;
    fixture_t f;
    fixture_begin(&f);
    hs_handler_t a = make_handler(&f);
    gate_t gate = GATE_SHUT;
    app_t stuck = { .number = 2, .loading = &gate };
    begin_prepare(&f, &stuck);
    gate_await(&gate, 1);
    hs_generations_discard(f.all);
    app_t third = { .number = 3 };
    hs_errinfo_t error = { 0 };
    assert_int_equal(hs_generations_prepare(f.all, source_of(&third), done, &f.told, &error),
                     HS_ERR_STATE);
    assert_true(third.released);
    assert_int_equal(answer_of(&a), 1);
    gate_open(&gate);
    wait_until_ended(&stuck);
    end_handler(&f, &a);
    fixture_end(&f);
    assert_int_equal(f.told.times, 0);
}

typedef struct worker {
    fixture_t *f;
    pthread_t thread;
    atomic_bool *stop;
    bool went_back;
} worker_t;

static void *work(void *argument)
{
    worker_t *worker = argument;
    hs_handler_t handler = make_handler(worker->f);
    int last = 0;
    while (!*worker->stop) {
        int answer = answer_of(&handler);
        worker->went_back |= answer < last;
        last = answer;
        if (hs_handler_due_ms(&handler, true) == 0)
            handler.run_tasks(handler.self);
    }
    end_handler(worker->f, &handler);
    return NULL;
}

static void threads_run_jobs_meanwhile(void **state)
{
    (void)state;
    fixture_t f;
    fixture_begin(&f);
    hs_handler_t idle = make_handler(&f);
    atomic_bool stop = false;
    worker_t workers[4];
    app_t apps[100];
    memset(apps, 0, sizeof(apps));
    for (size_t i = 0; i < 4; i++) {
        workers[i] = (worker_t){ .f = &f, .stop = &stop };
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 100; i++) {
        apps[i].number = 2 + i;
        prepare(&f, &apps[i]);
        assert_int_equal(hs_generations_switch(f.all), HS_OK);
        idle.interrupt(idle.self, NULL, 0);
    }
    stop = true;
    for (size_t i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_false(workers[i].went_back);
    }
    assert_int_equal(answer_of(&idle), 101);
    end_handler(&f, &idle);
    fixture_end(&f);
    for (int i = 0; i < 100; i++)
        assert_true(apps[i].released);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_threads_go_over_at_their_next_job),
        cmocka_unit_test(one_that_does_not_load_changes_nothing),
        cmocka_unit_test(handlers_that_were_never_used_are_ended),
        cmocka_unit_test(what_depends_on_a_handler_keeps_it),
        cmocka_unit_test(only_so_many_are_kept),
        cmocka_unit_test(late_threads_go_over_too),
        cmocka_unit_test(a_late_thread_that_cannot_load_stays_with_what_it_has),
        cmocka_unit_test(a_load_that_does_not_end_is_left_behind),
        cmocka_unit_test(threads_run_jobs_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
