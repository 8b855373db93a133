#include "exec/hs_generations.h"

#include "os/hs_thread.h"

/* owner: under the lock */
typedef struct generation {
    hs_generation_source_t source;
    uint32_t users; /* its made_t, plus one while it is current, plus one while it is prepared */
} generation_t;

/* A handler. owner: its seat's thread; before it is handed over and after it was retired, the
 * helper
 */
typedef struct made {
    hs_handler_t handler;
    generation_t *generation;
    struct made *next; /* among the held of a seat, or the retired */
} made_t;

/* A thread's indirection to its handler: handlers are replaced behind it. */
typedef struct seat {
    hs_generations_t *all;

    /* Written by its thread under the lock: an interrupt from another thread reads it under the
     * lock, its own thread without. */
    made_t *now;

    /* The handler to take before the next job; NULL: none. Set by the controlling thread or the
     * helper, with release; taken by the seat's thread, with acquire. */
    _Atomic(made_t *) next;

    made_t *held; /* owner: its thread. Old ones that are still needed, the newest first */
    const hs_handler_host_t *host; /* owner: its thread. NULL: not on a loop's thread */

    /* under the lock */
    made_t *prepared;
    generation_t *latest; /* of the last one it was given, `now` or `next` */
    struct seat *sibling;
} seat_t;

typedef enum stage {
    STAGE_NONE,
    STAGE_PREPARING,
    STAGE_PREPARED,
} stage_t;

struct hs_generations {
    hs_log_t *log;
    uint32_t most_live; /* read-only */
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_cond_t ended; /* has_ended, or not is_telling any more */

    /* under the lock */
    generation_t *current;
    generation_t *next; /* not NULL but in STAGE_NONE */
    stage_t stage;
    hs_generations_done_fn done;
    void *done_context;
    seat_t *seats;
    made_t *retired;
    generation_t *making; /* the helper is making a handler of it, without the lock; NULL: none */
    bool is_telling;      /* the helper calls `done` */
    bool has_thread;
    bool has_ended;
    bool is_closing;

    pthread_t thread; /* of the controlling thread */
};

static generation_t *new_generation(hs_generation_source_t source)
{
    generation_t *generation = hs_alloc(sizeof(*generation));
    if (generation == NULL) {
        source.release(source.factory.context);
        return NULL;
    }
    *generation = (generation_t){ .source = source, .users = 1 };
    return generation;
}

/* Under the lock. */
static void leave(generation_t *generation)
{
    HS_ASSERT(generation->users > 0);
    if (--generation->users > 0)
        return;
    generation->source.release(generation->source.factory.context);
    hs_free(generation);
}

/* Without the lock; the caller is a user of the generation. NULL: `error` says why. */
static made_t *make_one(hs_generations_t *all, generation_t *generation, hs_errinfo_t *error)
{
    made_t *made = hs_alloc_zeroed(1, sizeof(*made));
    if (made == NULL) {
        hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a handler");
        return NULL;
    }
    const hs_handler_factory_t *factory = &generation->source.factory;
    if (factory->make(factory->context, &made->handler, error) != HS_OK) {
        hs_free(made);
        return NULL;
    }
    made->generation = generation;
    pthread_mutex_lock(&all->lock);
    generation->users++;
    pthread_mutex_unlock(&all->lock);
    return made;
}

/* Without the lock. */
static void end_list(hs_generations_t *all, made_t *made)
{
    while (made != NULL) {
        made_t *next = made->next;
        const hs_handler_factory_t *factory = &made->generation->source.factory;
        factory->end(factory->context, &made->handler);
        pthread_mutex_lock(&all->lock);
        leave(made->generation);
        pthread_mutex_unlock(&all->lock);
        hs_free(made);
        made = next;
    }
}

/* Under the lock: the helper ends it. NULL is allowed. */
static void retire(hs_generations_t *all, made_t *made)
{
    if (made == NULL)
        return;
    made->next = all->retired;
    all->retired = made;
    pthread_cond_signal(&all->work);
}

static const void *held_by(const made_t *made)
{
    return made->handler.held_by != NULL ? made->handler.held_by(made->handler.self) : NULL;
}

/* ---- A seat, on its thread. ---- */

/* Before it is retired. */
static void leave_thread(const made_t *made)
{
    if (made->handler.leave != NULL)
        made->handler.leave(made->handler.self);
}

static void take_next(seat_t *seat)
{
    hs_generations_t *all = seat->all;
    pthread_mutex_lock(&all->lock);
    made_t *next = atomic_exchange_explicit(&seat->next, NULL, memory_order_acquire);
    made_t *old = seat->now;
    if (next != NULL)
        seat->now = next;
    pthread_mutex_unlock(&all->lock);
    if (next == NULL)
        return;
    if (next->handler.attach != NULL)
        next->handler.attach(next->handler.self, seat->host);
    if (old->handler.retire != NULL)
        old->handler.retire(old->handler.self);
    bool is_held = held_by(old) != NULL;
    if (!is_held)
        leave_thread(old);
    pthread_mutex_lock(&all->lock);
    if (is_held) {
        old->next = seat->held;
        seat->held = old;
    } else {
        retire(all, old);
    }
    pthread_mutex_unlock(&all->lock);
}

/* One that is not needed any more, or NULL. */
static made_t **find_released(seat_t *seat)
{
    for (made_t **link = &seat->held; *link != NULL; link = &(*link)->next)
        if (held_by(*link) == NULL)
            return link;
    return NULL;
}

/* The newest of the excess ones. */
static const void *seat_overdue(void *self)
{
    const seat_t *seat = self;
    uint32_t live = 1;
    for (const made_t *made = seat->held; made != NULL; made = made->next) {
        const void *context = held_by(made);
        if (context != NULL && ++live > seat->all->most_live)
            return context;
    }
    return NULL;
}

static bool has_next(const seat_t *seat)
{
    return atomic_load_explicit(&seat->next, memory_order_relaxed) != NULL;
}

static void seat_run(void *self, hs_job_t *job)
{
    seat_t *seat = self;
    if (HS_UNLIKELY(has_next(seat)))
        take_next(seat);
    const hs_handler_t *handler = &seat->now->handler;
    handler->run(handler->self, job);
}

static void release_held(seat_t *seat)
{
    made_t **released;
    while (seat->held != NULL && (released = find_released(seat)) != NULL) {
        made_t *made = *released;
        leave_thread(made);
        pthread_mutex_lock(&seat->all->lock);
        *released = made->next;
        retire(seat->all, made);
        pthread_mutex_unlock(&seat->all->lock);
    }
}

static uint64_t seat_due_ms(void *self, bool awake)
{
    seat_t *seat = self;
    if (has_next(seat) || (seat->held != NULL && find_released(seat) != NULL))
        return 0;
    uint64_t due_ms = hs_handler_due_ms(&seat->now->handler, awake);
    for (const made_t *made = seat->held; made != NULL; made = made->next)
        due_ms = hs_min(due_ms, hs_handler_due_ms(&made->handler, awake));
    return due_ms;
}

static void run_tasks_of(const hs_handler_t *handler)
{
    if (handler->run_tasks != NULL)
        handler->run_tasks(handler->self);
}

static void seat_run_tasks(void *self)
{
    seat_t *seat = self;
    if (has_next(seat))
        take_next(seat);
    run_tasks_of(&seat->now->handler);
    for (made_t *made = seat->held; made != NULL; made = made->next)
        run_tasks_of(&made->handler);
    release_held(seat);
}

static void interrupt_one(const hs_handler_t *handler, hs_job_t *job, uint32_t count)
{
    if (handler->interrupt != NULL)
        handler->interrupt(handler->self, job, count);
}

/* Called on another thread: the lock keeps the handlers alive. Handlers that do not run the target
 * do nothing. */
static void seat_interrupt(void *self, hs_job_t *job, uint32_t count)
{
    seat_t *seat = self;
    pthread_mutex_lock(&seat->all->lock);
    interrupt_one(&seat->now->handler, job, count);
    for (const made_t *made = seat->held; made != NULL; made = made->next)
        interrupt_one(&made->handler, job, count);
    pthread_mutex_unlock(&seat->all->lock);
}

static void seat_attach(void *self, const hs_handler_host_t *host)
{
    seat_t *seat = self;
    const hs_handler_t *handler = &seat->now->handler;
    seat->host = host;
    if (handler->attach != NULL)
        handler->attach(handler->self, host);
}

static bool seat_streams_content(void *self)
{
    const seat_t *seat = self;
    const hs_handler_t *handler = &seat->now->handler;
    return handler->streams_content != NULL && handler->streams_content(handler->self);
}

static void seat_call(void *self, hs_call_t *call)
{
    seat_t *seat = self;
    if (has_next(seat))
        take_next(seat);
    const hs_handler_t *handler = &seat->now->handler;
    if (handler->call != NULL)
        handler->call(handler->self, call);
}

static void drain_made(const made_t *made)
{
    if (made->handler.drain != NULL)
        made->handler.drain(made->handler.self);
}

/* Older ones too: otherwise their streams would last until the drain is cut. */
static void seat_drain(void *self)
{
    const seat_t *seat = self;
    drain_made(seat->now);
    for (const made_t *made = seat->held; made != NULL; made = made->next)
        drain_made(made);
}

static bool seat_is_ending(void *self)
{
    const seat_t *seat = self;
    const hs_handler_t *handler = &seat->now->handler;
    return handler->is_ending != NULL && handler->is_ending(handler->self);
}

static void stop_one(const made_t *made, const void *context)
{
    const hs_handler_t *handler = &made->handler;
    if (handler->stop != NULL && (context == NULL || held_by(made) == context))
        handler->stop(handler->self, context);
}

static void seat_stop(void *self, const void *context)
{
    const seat_t *seat = self;
    stop_one(seat->now, context);
    for (const made_t *made = seat->held; made != NULL; made = made->next)
        stop_one(made, context);
}

/* Joins with a handler of the current generation, whichever that is by then. */
static int make_seat(void *context, hs_handler_t *handler, hs_errinfo_t *error)
{
    hs_generations_t *all = context;
    seat_t *seat = hs_alloc_zeroed(1, sizeof(*seat));
    if (seat == NULL)
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a handler");
    bool is_current = false;
    while (!is_current) {
        pthread_mutex_lock(&all->lock);
        generation_t *generation = all->current;
        generation->users++;
        pthread_mutex_unlock(&all->lock);
        made_t *made = make_one(all, generation, error);
        pthread_mutex_lock(&all->lock);
        is_current = generation == all->current;
        leave(generation);
        if (made != NULL && is_current) {
            *seat =
                (seat_t){ .all = all, .now = made, .latest = generation, .sibling = all->seats };
            all->seats = seat;
        }
        pthread_cond_signal(&all->work);
        pthread_mutex_unlock(&all->lock);
        if (made != NULL && !is_current)
            end_list(all, made);
        if (made == NULL && is_current) {
            hs_free(seat);
            return error->code;
        }
    }
    *handler = (hs_handler_t){
        .run = seat_run,
        .self = seat,
        .interrupt = seat_interrupt,
        .attach = seat_attach,
        .call = seat_call,
        .due_ms = seat_due_ms,
        .run_tasks = seat_run_tasks,
        .overdue = seat_overdue,
        .drain = seat_drain,
        .is_ending = seat_is_ending,
        .stop = seat_stop,
        .streams_content = seat_streams_content,
    };
    return HS_OK;
}

static void end_seat(void *context, hs_handler_t *handler)
{
    hs_generations_t *all = context;
    seat_t *seat = handler->self;
    pthread_mutex_lock(&all->lock);
    seat_t **link = &all->seats;
    while (*link != seat)
        link = &(*link)->sibling;
    *link = seat->sibling;
    made_t *prepared = seat->prepared;
    pthread_mutex_unlock(&all->lock);
    end_list(all, seat->now);
    end_list(all, seat->held);
    end_list(all, prepared);
    end_list(all, atomic_load_explicit(&seat->next, memory_order_acquire));
    hs_free(seat);
}

/* ---- The helper. Functions are called, and return, under the lock. ---- */

/* A seat without a handler of the newest generation: the one being prepared, or the current one, if
 * the seat joined between the end of a prepare and the switch. */
static seat_t *find_lacking(const hs_generations_t *all, generation_t **generation)
{
    for (seat_t *seat = all->seats; seat != NULL; seat = seat->sibling) {
        if (seat->latest != all->current) {
            *generation = all->current;
            return seat;
        }
        if (all->stage == STAGE_PREPARING && seat->prepared == NULL) {
            *generation = all->next;
            return seat;
        }
    }
    return NULL;
}

/* Gives it to any seat that lacks one: its intended seat may have ended. */
static void give(hs_generations_t *all, made_t *made)
{
    generation_t *wanted;
    seat_t *seat = find_lacking(all, &wanted);
    if (seat == NULL || wanted != made->generation) {
        retire(all, made);
        return;
    }
    if (wanted != all->current) {
        seat->prepared = made;
        return;
    }
    seat->latest = wanted;
    retire(all, atomic_exchange_explicit(&seat->next, made, memory_order_acq_rel));
}

static void tell(hs_generations_t *all, const char *problem)
{
    hs_generations_done_fn done = all->done;
    void *context = all->done_context;
    all->is_telling = true;
    pthread_mutex_unlock(&all->lock);
    done(context, problem);
    pthread_mutex_lock(&all->lock);
    all->is_telling = false;
    pthread_cond_signal(&all->ended);
}

static void drop_next(hs_generations_t *all)
{
    for (seat_t *seat = all->seats; seat != NULL; seat = seat->sibling) {
        retire(all, seat->prepared);
        seat->prepared = NULL;
    }
    if (all->next != NULL)
        leave(all->next);
    all->next = NULL;
    all->stage = STAGE_NONE;
}

static void make_lacking(hs_generations_t *all, generation_t *generation)
{
    hs_errinfo_t error = { 0 };
    bool is_next = generation == all->next;
    generation->users++;
    all->making = generation;
    pthread_mutex_unlock(&all->lock);
    made_t *made = make_one(all, generation, &error);
    pthread_mutex_lock(&all->lock);
    all->making = NULL;
    if (made != NULL) {
        give(all, made);
    } else if (is_next && generation == all->next) {
        drop_next(all);
        tell(all, error.text);
    } else if (!is_next) {
        hs_log_write(all->log, HS_LOG_ERROR, "a thread keeps the old generation: %s", error.text);
        for (seat_t *seat = all->seats; seat != NULL; seat = seat->sibling)
            seat->latest = all->current;
    }
    leave(generation);
}

static void *help(void *argument)
{
    hs_generations_t *all = argument;
    pthread_mutex_lock(&all->lock);
    while (!all->is_closing || all->retired != NULL) {
        generation_t *generation;
        made_t *retired = all->retired;
        if (retired != NULL) {
            all->retired = NULL;
            pthread_mutex_unlock(&all->lock);
            end_list(all, retired);
            pthread_mutex_lock(&all->lock);
        } else if (find_lacking(all, &generation) != NULL) {
            make_lacking(all, generation);
        } else if (all->stage == STAGE_PREPARING) {
            all->stage = STAGE_PREPARED;
            tell(all, NULL);
        } else {
            pthread_cond_wait(&all->work, &all->lock);
        }
    }
    all->has_ended = true;
    pthread_cond_signal(&all->ended);
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

/* ---- The controlling thread. ---- */

hs_generations_t *hs_generations_new(hs_generation_source_t first, uint32_t most_live,
                                     hs_log_t *log)
{
    hs_generations_t *all = hs_alloc_zeroed(1, sizeof(*all));
    generation_t *current = new_generation(first);
    if (all == NULL || current == NULL) {
        if (current != NULL)
            leave(current);
        hs_free(all);
        return NULL;
    }
    all->log = log;
    all->most_live = most_live;
    all->current = current;
    pthread_mutex_init(&all->lock, NULL);
    hs_cond_init(&all->work);
    hs_cond_init(&all->ended);
    return all;
}

hs_handler_factory_t hs_generations_factory(hs_generations_t *generations)
{
    return (hs_handler_factory_t){ make_seat, end_seat, generations };
}

/* The thread is started when a second generation is loaded: most servers have only one. */
static int start_helper(hs_generations_t *all, hs_errinfo_t *error)
{
    if (all->has_thread)
        return HS_OK;
    int result = hs_thread_start(&all->thread, HS_THREAD_WORK, "hs-generations", help, all, error);
    all->has_thread = result == HS_OK;
    return result;
}

int hs_generations_prepare(hs_generations_t *all, hs_generation_source_t next,
                           hs_generations_done_fn done, void *context, hs_errinfo_t *error)
{
    generation_t *generation = new_generation(next);
    if (generation == NULL)
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a generation");
    int result = HS_OK;
    pthread_mutex_lock(&all->lock);
    if (all->making != NULL && all->making != all->current)
        result = hs_errinfo_set(error, HS_ERR_STATE, 0, "an earlier load has not finished yet");
    else
        result = start_helper(all, error);
    if (result == HS_OK) {
        drop_next(all);
        all->next = generation;
        all->stage = STAGE_PREPARING;
        all->done = done;
        all->done_context = context;
        pthread_cond_signal(&all->work);
    } else {
        leave(generation);
    }
    pthread_mutex_unlock(&all->lock);
    return result;
}

int hs_generations_switch(hs_generations_t *all)
{
    pthread_mutex_lock(&all->lock);
    if (all->stage != STAGE_PREPARED) {
        pthread_mutex_unlock(&all->lock);
        return HS_ERR_STATE;
    }
    leave(all->current);
    all->current = all->next;
    all->next = NULL;
    all->stage = STAGE_NONE;
    for (seat_t *seat = all->seats; seat != NULL; seat = seat->sibling) {
        made_t *made = seat->prepared;
        if (made == NULL)
            continue; /* it has just joined: the helper makes one now */
        seat->prepared = NULL;
        seat->latest = all->current;
        /* A handler never taken by its thread is as old as the thread's current one. */
        retire(all, atomic_exchange_explicit(&seat->next, made, memory_order_acq_rel));
    }
    pthread_cond_signal(&all->work);
    pthread_mutex_unlock(&all->lock);
    return HS_OK;
}

void hs_generations_discard(hs_generations_t *all)
{
    pthread_mutex_lock(&all->lock);
    drop_next(all);
    while (all->is_telling)
        pthread_cond_wait(&all->ended, &all->lock);
    pthread_mutex_unlock(&all->lock);
}

/* Waits for the helper to end; true if it has. */
static bool stop_helper(hs_generations_t *all, uint32_t wait_ms)
{
    if (!all->has_thread)
        return true;
    hs_deadline_t until = hs_thread_time_in(wait_ms);
    int timed_out = 0;
    pthread_mutex_lock(&all->lock);
    drop_next(all);
    all->is_closing = true;
    pthread_cond_signal(&all->work);
    while (!all->has_ended && timed_out == 0)
        timed_out = hs_cond_wait_until(&all->ended, &all->lock, &until);
    bool has_ended = all->has_ended;
    pthread_mutex_unlock(&all->lock);
    if (has_ended)
        pthread_join(all->thread, NULL);
    else
        pthread_detach(all->thread);
    return has_ended;
}

uint32_t hs_generations_free(hs_generations_t *all, uint32_t wait_ms)
{
    if (all == NULL)
        return 0;
    HS_ASSERT(all->seats == NULL);
    if (!stop_helper(all, wait_ms))
        return 1;
    HS_ASSERT(all->retired == NULL);
    leave(all->current);
    pthread_cond_destroy(&all->ended);
    pthread_cond_destroy(&all->work);
    pthread_mutex_destroy(&all->lock);
    hs_free(all);
    return 0;
}
