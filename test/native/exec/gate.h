/* A gate at which handlers wait until the test opens it. Any thread. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

typedef struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned waiting; /* with `open`: under the lock */
    bool open;
} gate_t;

#define GATE_SHUT                                                                                  \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                     \
    }

static inline void gate_pass(gate_t *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->waiting++;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open)
        pthread_cond_wait(&gate->changed, &gate->lock);
    gate->waiting--;
    pthread_mutex_unlock(&gate->lock);
}

/* Returns when that many are waiting. */
static inline void gate_await(gate_t *gate, unsigned waiting)
{
    pthread_mutex_lock(&gate->lock);
    while (gate->waiting < waiting)
        pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

static inline unsigned gate_waiting(gate_t *gate)
{
    pthread_mutex_lock(&gate->lock);
    unsigned waiting = gate->waiting;
    pthread_mutex_unlock(&gate->lock);
    return waiting;
}

static inline void gate_open(gate_t *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}
