/*
 * Preloaded: kills the process whose pid is in the file named by MARK as soon as a system call
 * has returned a new connection to it, before it can record anything.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void die_if_named(void)
{
    const char *path = getenv("MARK");
    FILE *file = path != NULL ? fopen(path, "r") : NULL;
    int pid = 0;
    if (file == NULL)
        return;
    if (fscanf(file, "%d", &pid) == 1 && pid == getpid())
        kill(pid, SIGKILL);
    fclose(file);
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    int accepted = (int)syscall(SYS_accept4, fd, address, len, flags);
    if (accepted >= 0)
        die_if_named();
    return accepted;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t received = syscall(SYS_recvmsg, fd, message, flags);
    if (received >= 0 && message->msg_controllen > 0)
        die_if_named();
    return received;
}
