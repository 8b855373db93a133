/*
 * Starts programs through the shell, like popen(3) and system(3), but with clean signals: our
 * threads block every signal and ignore SIGPIPE, and a program that inherited that could not be
 * ended by TERM. They inherit only standard input, output and error: our other descriptors are
 * close-on-exec. No lock of the C library is held across the call, so a thread that waits for a
 * program does not block another thread that starts one.
 *
 * Thread: any.
 */
#pragma once

#include <sys/types.h>

#include "base/hs_base.h"

typedef enum hs_spawn_pipe {
    HS_SPAWN_NO_PIPE,
    HS_SPAWN_READ,  /* we read what the program writes to its standard output */
    HS_SPAWN_WRITE, /* the program reads from its standard input what we write */
} hs_spawn_pipe_t;

/* owner: the caller, who calls hs_spawn_wait or hs_spawn_poll until the program was reaped */
typedef struct hs_spawned {
    pid_t pid;
    int fd; /* our end of the pipe, the caller's to close; -1: no pipe */
} hs_spawned_t;

/* Starts `sh -c command`. 0 or -errno. */
HS_NODISCARD int hs_spawn_shell(const char *command, hs_spawn_pipe_t end, hs_spawned_t *spawned);

/* Waits for a program to end and returns its status as wait(2) does. 0 or -errno. */
HS_NODISCARD int hs_spawn_wait(pid_t pid, int *status);

/* True if the program has ended: it was reaped. */
HS_NODISCARD bool hs_spawn_poll(pid_t pid);
