/* A temporary directory for a test, with files in it. */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct scratch {
    char path[64];
} scratch_t;

static inline void scratch_begin(scratch_t *scratch)
{
    snprintf(scratch->path, sizeof(scratch->path), "/tmp/moonring-scratch-XXXXXX");
    assert_non_null(mkdtemp(scratch->path));
}

/* Returns a static buffer. */
static inline const char *scratch_path(const scratch_t *scratch, const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", scratch->path, name);
    return path;
}

static inline void scratch_write(const scratch_t *scratch, const char *name, const char *text,
                                 size_t len)
{
    int fd = open(scratch_path(scratch, name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), (ssize_t)len);
    close(fd);
}

static inline void scratch_text(const scratch_t *scratch, const char *name, const char *text)
{
    scratch_write(scratch, name, text, strlen(text));
}

static inline void scratch_directory(const scratch_t *scratch, const char *name)
{
    assert_int_equal(mkdir(scratch_path(scratch, name), 0755), 0);
}

static inline void scratch_link(const scratch_t *scratch, const char *target, const char *name)
{
    assert_int_equal(symlink(target, scratch_path(scratch, name)), 0);
}

static inline void scratch_end(const scratch_t *scratch)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", scratch->path);
    assert_int_equal(system(command), 0);
}
