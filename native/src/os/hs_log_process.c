/*
 * The log of the whole process: hs_log in httpserver.h. Its callback and its level are the only
 * state of the library that does not belong to a server, because the handlers' interface has no
 * server.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "os/hs_log.h"
#include "os/hs_thread.h"

#define LEVEL_UNSET (-1)

/* Where messages go. All change under the lock: a callback never gets another one's user data. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static hs_log_cb registered;
static void *registered_ud;
static int json_fd = -1; /* of a server, borrowed until hs_log_process_end */
static int json_reactor;

/* Of lines that are written here, to wherever. */
static hs_log_loss_t loss;

/* Written and read by any thread; relaxed, because nothing else depends on them. */
static _Atomic int least_level = LEVEL_UNSET;
static _Atomic int default_level = HS_LOG_INFO;

void hs_log_register(hs_log_cb callback, void *user_data)
{
    pthread_mutex_lock(&lock);
    registered = callback;
    registered_ud = user_data;
    pthread_mutex_unlock(&lock);
}

void hs_log_set_level(hs_log_level_t level)
{
    atomic_store_explicit(&least_level, (int)level, memory_order_relaxed);
}

void hs_log_process_begin(int fd, int reactor, hs_log_level_t level)
{
    pthread_mutex_lock(&lock);
    json_fd = fd;
    json_reactor = reactor;
    atomic_store_explicit(&default_level, (int)level, memory_order_relaxed);
    pthread_mutex_unlock(&lock);
}

void hs_log_process_end(int fd)
{
    pthread_mutex_lock(&lock);
    if (json_fd == fd) {
        json_fd = -1;
        atomic_store_explicit(&default_level, HS_LOG_INFO, memory_order_relaxed);
    }
    pthread_mutex_unlock(&lock);
}

static bool is_written(hs_log_level_t level, hs_log_level_t unset)
{
    int least = atomic_load_explicit(&least_level, memory_order_relaxed);
    return level >= HS_LOG_DEBUG && level < HS_LOG_OFF &&
           (int)level >= (least == LEVEL_UNSET ? (int)unset : least);
}

/* A callback gets a C string: a NUL is made visible, since it would hide the rest. */
static void escape_nul(char escaped[HS_LOG_MESSAGE_CAP], const char *message, size_t len)
{
    static const char nul[] = "\\u0000";
    size_t at = 0;
    for (size_t i = 0; i < len && at + sizeof(nul) < HS_LOG_MESSAGE_CAP; i++) {
        if (message[i] != '\0') {
            escaped[at++] = message[i];
            continue;
        }
        memcpy(escaped + at, nul, sizeof(nul) - 1);
        at += sizeof(nul) - 1;
    }
    escaped[at] = '\0';
}

static void emit(hs_log_level_t level, const char *file, int line, const char *message, size_t len)
{
    pthread_mutex_lock(&lock);
    hs_log_cb callback = registered;
    void *user_data = registered_ud;
    int fd = json_fd;
    int reactor = json_reactor;
    pthread_mutex_unlock(&lock);
    if (callback == NULL) {
        if (fd >= 0)
            hs_log_json_line(fd, reactor, &loss, level, message, len);
        else
            hs_log_text_line(STDERR_FILENO, &loss, level, message, len);
        return;
    }
    char escaped[HS_LOG_MESSAGE_CAP];
    if (HS_UNLIKELY(memchr(message, '\0', len) != NULL)) {
        escape_nul(escaped, message, len);
        message = escaped;
    }
    hs_log_event_t event = {
        .level = level,
        .file = file,
        .line = line,
        .msg = message,
        .tid = hs_thread_id(),
    };
    (void)clock_gettime(CLOCK_REALTIME, &event.ts);
    callback(&event, user_data);
}

void hs_log_process_sink(void *ud, hs_log_level_t level, const char *message, size_t len)
{
    (void)ud;
    if (is_written(level, HS_LOG_DEBUG))
        emit(level, "", 0, message, len);
}

void hs_log_impl(hs_log_level_t level, const char *file, int line, const char *format, ...)
{
    hs_log_level_t unset =
        (hs_log_level_t)atomic_load_explicit(&default_level, memory_order_relaxed);
    if (!is_written(level, unset))
        return;
    int saved_errno = errno;
    char message[HS_LOG_MESSAGE_CAP];
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    if (wanted < 0)
        message[0] = '\0';
    size_t len = wanted > 0 ? (size_t)wanted : 0;
    if (len >= sizeof(message)) {
        len = sizeof(message) - 1;
        memcpy(message + len - strlen(HS_LOG_CUT_MARK), HS_LOG_CUT_MARK, strlen(HS_LOG_CUT_MARK));
    }
    emit(level, file, line, message, len);
    errno = saved_errno;
}

void hs_log_json_callback(const hs_log_event_t *event, void *user_data)
{
    hs_log_json_line(*(const int *)user_data, -1, &loss, event->level, event->msg,
                     strlen(event->msg));
}
