/*
 * Generations of an app inside one process: the handlers of all threads can be replaced with those
 * of the app's next generation while requests run. No thread stops and no connection is affected.
 *
 * A helper thread makes the new handlers beside the old ones, one for each thread that has one, and
 * hands each over before its first use. When the last is made the generation is prepared: nothing
 * changes until hs_generations_switch. From then on each thread takes its new handler before its
 * next job (or in run_tasks, for which an idle thread must be woken), and threads that start later
 * use the new generation. The helper ends the old handlers, so that a large one delays nothing; one
 * that something still depends on (held_by) is kept until then, unless there are too many
 * (overdue). Tasks of an old handler are never resumed again.
 *
 *   prepare → PREPARING → PREPARED → switch
 *                 ↓           ↓
 *               FAILED     discard
 *
 * Threads: prepare, switch, discard and free are for one controlling thread. The factory's handlers
 * belong to their threads, like every handler.
 */
#pragma once

#include "exec/hs_handler.h"

/* Where the handlers of one generation come from. */
typedef struct hs_generation_source {
    hs_handler_factory_t factory;
    void (*release)(void *context); /* frees factory.context, after its last handler; any thread */
} hs_generation_source_t;

typedef struct hs_generations hs_generations_t;

/* The result of a prepare: NULL, or why it failed. Called on the helper thread; the text is valid
 * during the call. It must not wait for the controlling thread, and is never called after
 * hs_generations_discard has returned. */
typedef void (*hs_generations_done_fn)(void *context, const char *problem);

/* Takes over the source. `most_live`: generations whose handlers one thread may keep, 1 or more;
 * older ones are overdue. NULL: no memory, and the source was released. */
HS_NODISCARD hs_generations_t *hs_generations_new(hs_generation_source_t first, uint32_t most_live,
                                                  hs_log_t *log);

/* The factory of handlers of the current generation; for any number of threads. */
hs_handler_factory_t hs_generations_factory(hs_generations_t *generations);

/*
 * Starts making handlers of `next`, which is always taken over. HS_OK: `done` follows.
 * HS_ERR_STATE: the helper is still running a discarded load.
 */
HS_NODISCARD int hs_generations_prepare(hs_generations_t *generations, hs_generation_source_t next,
                                        hs_generations_done_fn done, void *context,
                                        hs_errinfo_t *error);

/* The prepared generation becomes current. The caller wakes idle threads. HS_ERR_STATE: nothing is
 * prepared.
 */
HS_NODISCARD int hs_generations_switch(hs_generations_t *generations);

/* Discards what was, or is being, prepared. */
void hs_generations_discard(hs_generations_t *generations);

/*
 * After the last handler was ended. Waits at most `wait_ms` for the helper thread. Returns 1 if it
 * is still running a load: then nothing is ever freed.
 */
uint32_t hs_generations_free(hs_generations_t *generations, uint32_t wait_ms);
