/*
 * Counts the user-space instructions of one thread by stepping it: `bench_step_count <thread id>`.
 * For machines without hardware counters. Unlike an emulator it runs the process itself,
 * including compiled Lua traces. The thread runs about a thousand times slower, so that it is
 * used for a few hundred requests.
 *
 * Prints "attached" when stepping has begun. For each newline on its standard input it prints
 * the count so far (one number per line); end of input detaches and exits. A system call
 * counts as one instruction.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void die(const char *step)
{
    perror(step);
    exit(1);
}

typedef struct {
    _Atomic uint64_t steps; /* written by the tracer, read by the listener: a plain counter */
    _Atomic bool stop;      /* set by the listener, read by the tracer; only a hint to look */
    _Atomic bool stopped;   /* set by the tracer, read by the listener */
    pthread_t tracer;
} count_t;

/* Only interrupts a blocked waitpid. */
static void on_wake(int signal_number)
{
    (void)signal_number;
}

/* Reads standard input on a separate thread: ptrace calls must come from the tracer's. */
static void *listen_to_input(void *context)
{
    count_t *count = context;
    char byte;
    while (read(STDIN_FILENO, &byte, 1) == 1) {
        printf("%" PRIu64 "\n", atomic_load_explicit(&count->steps, memory_order_relaxed));
        fflush(stdout);
    }
    atomic_store(&count->stop, true);
    /* A signal that arrives just before waitpid is lost, so it is sent until it has taken effect.
     */
    while (!atomic_load(&count->stopped)) {
        struct timespec pause = { .tv_nsec = 5000000 };
        pthread_kill(count->tracer, SIGUSR1);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* Starts with the thread stopped and leaves it detached. Returns false when the thread has exited.
 */
static bool count_steps(pid_t thread, count_t *count)
{
    int forward = 0; /* a signal for the thread itself, passed on to it */
    for (;;) {
        int status;
        if (ptrace(PTRACE_SINGLESTEP, thread, NULL, (void *)(long)forward) != 0)
            return false;
        while (waitpid(thread, &status, __WALL) != thread) {
            if (errno != EINTR)
                return false;
            if (atomic_load(&count->stop))
                ptrace(PTRACE_INTERRUPT, thread, NULL, NULL);
        }
        if (!WIFSTOPPED(status))
            return false;
        bool event = status >> 16 != 0;
        bool step = WSTOPSIG(status) == SIGTRAP && !event;
        if (step)
            atomic_fetch_add_explicit(&count->steps, 1, memory_order_relaxed);
        forward = step || event ? 0 : WSTOPSIG(status);
        /* Only the SIGTRAP of a step's stop is consumed: after any other stop the signal would
         * remain pending and kill the process. */
        if (step && atomic_load_explicit(&count->stop, memory_order_relaxed))
            return ptrace(PTRACE_DETACH, thread, NULL, (void *)(long)forward) == 0;
    }
}

int main(int argc, char **argv)
{
    pid_t thread = argc == 2 ? (pid_t)strtol(argv[1], NULL, 10) : 0;
    if (thread <= 0) {
        fprintf(stderr, "usage: bench_step_count <thread id>\n");
        return 2;
    }
    struct sigaction wake = { .sa_handler = on_wake };
    sigaction(SIGUSR1, &wake, NULL);

    if (ptrace(PTRACE_SEIZE, thread, NULL, NULL) != 0)
        die("ptrace(PTRACE_SEIZE)");
    if (ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) != 0)
        die("ptrace(PTRACE_INTERRUPT)");
    int status;
    if (waitpid(thread, &status, __WALL) != thread || !WIFSTOPPED(status))
        die("waitpid");

    count_t count = { .tracer = pthread_self() };
    pthread_t listener;
    if (pthread_create(&listener, NULL, listen_to_input, &count) != 0)
        die("pthread_create");
    printf("attached\n");
    fflush(stdout);
    bool alive = count_steps(thread, &count);
    atomic_store(&count.stopped, true);
    pthread_join(listener, NULL);
    return alive ? 0 : 1;
}
