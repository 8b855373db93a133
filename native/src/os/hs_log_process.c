/*
 * The log of the whole process: hs_log in httpserver.h. Its callback and its level are the only
 * state of the library that does not hang from a server, because the interface that handlers know
 * has no server in it.
 */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "os/hs_log.h"
#include "os/hs_thread.h"

#define LEVEL_UNSET (-1)

/* Both fields change together, under the lock: a callback never gets another one's user data. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static hs_log_cb registered;
static void *registered_ud;

/* Written and read by any thread; relaxed, because nothing else depends on it. */
static _Atomic int least_level = LEVEL_UNSET;

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

static bool is_written(hs_log_level_t level, hs_log_level_t unset)
{
    int least = atomic_load_explicit(&least_level, memory_order_relaxed);
    return level >= HS_LOG_DEBUG && level < HS_LOG_OFF &&
           (int)level >= (least == LEVEL_UNSET ? (int)unset : least);
}

static void emit(hs_log_level_t level, const char *file, int line, const char *message, size_t len)
{
    pthread_mutex_lock(&lock);
    hs_log_cb callback = registered;
    void *user_data = registered_ud;
    pthread_mutex_unlock(&lock);
    if (callback == NULL) {
        hs_log_text_sink(NULL, level, message, len);
        return;
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
    if (!is_written(level, HS_LOG_INFO))
        return;
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
}

void hs_log_json_callback(const hs_log_event_t *event, void *user_data)
{
    hs_log_json_t json = { .fd = *(const int *)user_data, .reactor = -1 };
    hs_log_json_sink(&json, event->level, event->msg, strlen(event->msg));
}
