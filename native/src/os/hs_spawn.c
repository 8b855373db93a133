#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* pipe2 */
#endif

#include "os/hs_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/hs_sock.h"

extern char **environ;

static int make_pipe(int fds[2])
{
#ifdef __linux__
    return pipe2(fds, O_CLOEXEC) == 0 ? 0 : -errno;
#else
    if (pipe(fds) != 0)
        return -errno;
    (void)hs_sock_set_cloexec(fds[0]);
    (void)hs_sock_set_cloexec(fds[1]);
    return 0;
#endif
}

/* posix_spawn with no signal blocked, and those that servers ignore as they are by default.
 * `child_fd` becomes the program's descriptor `standard_fd`, if it is not -1. */
static int spawn(const char *command, int child_fd, int standard_fd, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed != 0)
        return -failed;
    failed = posix_spawnattr_init(&attributes);
    if (failed != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -failed;
    }
    sigset_t none;
    sigset_t ignored;
    sigemptyset(&none);
    sigemptyset(&ignored);
    sigaddset(&ignored, SIGPIPE);
    sigaddset(&ignored, SIGXFSZ);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &ignored);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (child_fd >= 0)
        failed = posix_spawn_file_actions_adddup2(&actions, child_fd, standard_fd);
    char *const arguments[] = { "sh", "-c", (char *)(uintptr_t)command, NULL };
    if (failed == 0)
        failed = posix_spawn(pid, "/bin/sh", &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -failed;
}

int hs_spawn_shell(const char *command, hs_spawn_pipe_t end, hs_spawned_t *spawned)
{
    *spawned = (hs_spawned_t){ .pid = -1, .fd = -1 };
    if (end == HS_SPAWN_NO_PIPE)
        return spawn(command, -1, -1, &spawned->pid);
    int fds[2];
    int result = make_pipe(fds);
    if (result < 0)
        return result;
    int ours = end == HS_SPAWN_READ ? 0 : 1;
    int standard_fd = end == HS_SPAWN_READ ? STDOUT_FILENO : STDIN_FILENO;
    result = spawn(command, fds[1 - ours], standard_fd, &spawned->pid);
    hs_sock_close(fds[1 - ours]);
    if (result < 0)
        hs_sock_close(fds[ours]);
    else
        spawned->fd = fds[ours];
    return result;
}

int hs_spawn_wait(pid_t pid, int *status)
{
    pid_t ended;
    do
        ended = waitpid(pid, status, 0);
    while (ended == -1 && errno == EINTR);
    return ended == -1 ? -errno : 0;
}

bool hs_spawn_poll(pid_t pid)
{
    int status;
    pid_t ended;
    do
        ended = waitpid(pid, &status, WNOHANG);
    while (ended == -1 && errno == EINTR);
    return ended != 0;
}
