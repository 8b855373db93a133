#if defined(__linux__)
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE
#endif

#include "server/hs_keeper_process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "http/hs_parse.h"
#include "os/hs_clock.h"
#include "os/hs_nowait.h"
#include "os/hs_pass.h"
#include "os/hs_sock_totals.h"
#include "server/hs_passage.h"

/* How long connections wait for a reactor to take them. */
#define PATIENCE_MS 60000
#define RETRY_MS 5
#define ROOM_WAIT_MS 1000
/* After the OOM killer: how long its victim may take to free its memory. */
#define FREEING_MS 2000
#define FREEING_LOOK_NS (1000 * 1000)
/* Node opens its own descriptors before all others. */
#define OTHERS_BELOW 256
/* Sent by the kernel when the I/O thread dies: the only unblocked signal. */
#define PARENT_SIGNAL SIGUSR2

/* Requests on workers named in the record, and bytes of each head. */
#define NAMED_MAX 4
#define NAMED_HEAD_BYTES 512

/* A request named in the record. */
typedef struct named {
    size_t len; /* 0: there is none */
    char id[HS_REQUEST_ID_CAP];
    char head[1025];
} named_t;

/* owner: the keeper's process */
typedef struct keeper {
    hs_keeper_task_t task;
    hs_rescue_t rescue;
    hs_passage_head_t batch; /* idle ones */
    int batch_fds[HS_PASS_FDS];
    unsigned batch_count;
    uint16_t port; /* of a connection; 0: there is none */
    int fresh[HS_PASS_FDS];
    unsigned fresh_count;
    uint64_t give_up_ms;
    uint32_t counts[HS_RESCUE_FATES];
    uint32_t handled; /* refused or closed, and with a handler */
    hs_log_t log;
    hs_log_json_t log_json;
    named_t in_hand;               /* the request whose handler ran on the event loop */
    named_t on_workers[NAMED_MAX]; /* those whose handlers ran on workers, the first of them */
    unsigned on_workers_count;
    char fields[HS_LOG_FIELDS_MAX];
} keeper_t;

static char scratch[32 * 1024]; /* the text of a file */

static _Noreturn void leave(void)
{
    for (;;)
        (void)syscall(SYS_exit_group, 0);
}

/* ---- The wait. */

static _Atomic int *watched_word; /* before the handler is there */

static void mark_end(int number)
{
    (void)number;
    if (atomic_load_explicit(watched_word, memory_order_relaxed) != 0)
        (void)atomic_fetch_or_explicit(watched_word, (int)FUTEX_OWNER_DIED, memory_order_release);
}

/*
 * The mark below needs the dead thread's list of mutexes, which is in its own memory: a stray
 * write, or the OOM killer freeing that memory, can hide it. A keeper that is never woken would
 * hold all connections open forever.
 */
static void watch_parent(_Atomic int *word, uint32_t reactor_pid)
{
    struct sigaction action = { .sa_handler = mark_end, .sa_flags = SA_RESTART };
    sigset_t set;
    watched_word = word;
    (void)sigaction(PARENT_SIGNAL, &action, NULL);
    (void)prctl(PR_SET_PDEATHSIG, PARENT_SIGNAL);
    sigemptyset(&set);
    sigaddset(&set, PARENT_SIGNAL);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    if ((uint32_t)getppid() != reactor_pid)
        mark_end(PARENT_SIGNAL);
}

/*
 * The kernel marks a robust mutex when its owner thread ends, for whatever reason, before it tears
 * down the process's memory: within 0.3 ms, while an event for the process takes up to 0.3 s.
 */
static void wait_for_end(_Atomic int *word)
{
    for (;;) {
        int value = atomic_load_explicit(word, memory_order_acquire);
        if (((unsigned)value & FUTEX_OWNER_DIED) != 0)
            return;
        if (value == 0) /* it has ended in order */
            leave();
        int waits = (int)((unsigned)value | FUTEX_WAITERS);
        if (value != waits && !atomic_compare_exchange_strong_explicit(
                                  word, &value, waits, memory_order_acq_rel, memory_order_relaxed))
            continue;
        (void)syscall(SYS_futex, word, FUTEX_WAIT, waits, NULL, NULL, 0);
    }
}

/* How often the system's OOM killer has killed; 0: not known. */
static unsigned long oom_kills(int vmstat_fd)
{
    static const char name[] = "\noom_kill ";
    ssize_t len = vmstat_fd < 0 ? -1 : pread(vmstat_fd, scratch, sizeof(scratch) - 1, 0);
    if (len <= 0)
        return 0;
    scratch[len] = '\0';
    const char *at = strstr(scratch, name);
    unsigned long count = 0;
    for (at = at != NULL ? at + sizeof(name) - 1 : ""; *at >= '0' && *at <= '9'; at++)
        count = count * 10 + (unsigned long)(*at - '0');
    return count;
}

/*
 * Notice of a death comes before the dead process's memory is freed. If memory has run out, the
 * next page allocated by this process or a successor would trigger the OOM killer again, which no
 * longer sees its victim and picks the supervisor.
 */
static void wait_for_memory(const hs_keeper_task_t *task, unsigned long oom_kills_before)
{
    const struct timespec look = { .tv_nsec = FREEING_LOOK_NS };
    if (oom_kills(task->vmstat_fd) == oom_kills_before)
        return;
    uint64_t until_ms = hs_clock_monotonic_ms() + FREEING_MS;
    while ((uint32_t)getppid() == task->reactor_pid && hs_clock_monotonic_ms() < until_ms)
        (void)nanosleep(&look, NULL);
}

/* ---- Memory. */

#if !defined(HS_HAS_ASAN) && !defined(__SANITIZE_THREAD__)
#define LARGE_BYTES (256u * 1024)

typedef struct mapping {
    uintptr_t begin;
    uintptr_t end;
    bool is_shared;
    bool has_file; /* or is the kernel's */
    bool is_heap;
} mapping_t;

static uintptr_t read_hex(const char **at)
{
    uintptr_t value = 0;
    for (;; (*at)++) {
        char c = **at;
        if (c >= '0' && c <= '9')
            value = value * 16 + (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (uintptr_t)(c - 'a' + 10);
        else
            return value;
    }
}

/* A line of /proc/self/maps: begin-end permissions offset device inode name */
static mapping_t read_mapping(const char *line, const char *end)
{
    mapping_t mapping = { .begin = read_hex(&line) };
    line++;
    mapping.end = read_hex(&line);
    mapping.is_shared = end - line > 4 && line[4] == 's';
    for (int blanks = 0; line < end; line++) {
        if (*line == ' ' && line[1] != ' ')
            blanks++;
        if (blanks >= 5 && (*line == '/' || *line == '['))
            break;
    }
    mapping.is_heap = end - line >= 6 && memcmp(line, "[heap]", 6) == 0;
    mapping.has_file = line < end && !mapping.is_heap;
    return mapping;
}

static bool covers(const mapping_t *mapping, const void *address)
{
    return (uintptr_t)address >= mapping->begin && (uintptr_t)address < mapping->end;
}

/*
 * Unmaps the reactor's memory copied by the clone: as the reactor keeps writing, each old page
 * would become private to this process.
 */
static void shed_memory(keeper_t *keeper)
{
    char *const text = scratch;
    char on_stack;
    const void *thread = __builtin_thread_pointer();
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    size_t have = 0;
    ssize_t got;
    while ((got = read(fd, text + have, sizeof(scratch) - have)) > 0) {
        have += (size_t)got;
        size_t at = 0;
        const char *end;
        while ((end = memchr(text + at, '\n', have - at)) != NULL) {
            mapping_t mapping = read_mapping(text + at, end);
            at = (size_t)(end - text) + 1;
            bool is_large = mapping.end - mapping.begin >= LARGE_BYTES;
            bool is_needed = mapping.is_shared || mapping.has_file || covers(&mapping, &on_stack) ||
                             covers(&mapping, thread) || covers(&mapping, keeper) ||
                             covers(&mapping, scratch);
            if (!is_needed && (is_large || mapping.is_heap))
                (void)munmap((void *)mapping.begin, mapping.end - mapping.begin);
        }
        memmove(text, text + at, have - at);
        have -= at;
    }
    close(fd);
}
#else
static void shed_memory(keeper_t *keeper)
{
    hs_rescue_expose(&keeper->task.view);
}
#endif

/* ---- Descriptors. */

static uintptr_t entry_of(const keeper_t *keeper, uint32_t fd)
{
    const hs_ledger_t *ledger = keeper->task.view.ledger;
    if (fd >= keeper->task.view.fd_cap)
        return HS_LEDGER_LEAVING;
    return atomic_load_explicit(&ledger->by_fd[fd], memory_order_relaxed);
}

static void *noted(const keeper_t *keeper, uint32_t fd)
{
    uintptr_t entry = entry_of(keeper, fd);
    return entry != HS_LEDGER_LEAVING ? (void *)entry : NULL;
}

/* The local port of a TCP socket; 0: it is none. */
static uint16_t port_of(uint32_t fd)
{
    hs_sock_address_t address;
    bool has_port = hs_sock_local_address((int)fd, &address) == 0 && address.family != 1;
    return has_port ? address.port : 0;
}

/* The ports on which connections are accepted: a reactor that gets them from the boss knows that of
 * TLS only, and has the others from its connections. */
static void learn_port(keeper_t *keeper, uint32_t high)
{
    for (uint32_t fd = 0; fd < high && keeper->port == 0; fd++)
        if (noted(keeper, fd) != NULL)
            keeper->port = port_of(fd);
}

static bool is_served(const keeper_t *keeper, uint16_t port)
{
    if (port == 0)
        return false;
    for (size_t i = 0; i < HS_KEEPER_PORTS; i++)
        if (keeper->task.ports[i] == port)
            return true;
    return keeper->port == port;
}

/* The process has died between the call that gave it this connection and the note about it. Nothing
 * was received or sent: it is as it was when it was accepted. */
static bool is_fresh(const keeper_t *keeper, uint32_t fd)
{
    uint32_t taken;
    uint32_t given;
    return entry_of(keeper, fd) == 0 && is_served(keeper, port_of(fd)) &&
           hs_sock_totals((int)fd, &taken, &given) && taken == 0 && given == 0;
}

static void close_from_to(unsigned from, unsigned to)
{
    if (from > to || syscall(SYS_close_range, from, to, 0) == 0)
        return;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= to)
        to = (unsigned)limit.rlim_cur;
    for (unsigned fd = from; fd <= to && fd < (1u << 20); fd++)
        close((int)fd);
}

static bool is_socket(uint32_t fd)
{
    struct stat file;
    return fstat((int)fd, &file) == 0 && S_ISSOCK(file.st_mode);
}

/*
 * Closes sockets that are not connections: outbound ones, so that other servers see their end, and
 * the channel to the supervisor, which thereby learns, before the process is torn down, that it
 * must start another one. Lower descriptors stay open: after a fault the other threads keep running
 * for a moment, and Node's would abort the process if its epoll descriptor were closed.
 */
static void close_others(keeper_t *keeper, uint32_t high)
{
    const hs_keeper_task_t *task = &keeper->task;
    uint32_t last = (high > OTHERS_BELOW ? high : OTHERS_BELOW) + HS_PASS_FDS;
    if (task->inbox_fd >= 0 && (uint32_t)task->inbox_fd >= last)
        last = (uint32_t)task->inbox_fd + 1;
    if (task->log_fd >= 0 && (uint32_t)task->log_fd >= last)
        last = (uint32_t)task->log_fd + 1;
    for (uint32_t fd = STDERR_FILENO + 1; fd < last; fd++) {
        bool stays = (int)fd == task->inbox_fd || (int)fd == task->log_fd ||
                     (fd < high && noted(keeper, fd) != NULL);
        if (stays || !is_socket(fd))
            continue;
        if (keeper->fresh_count < HS_PASS_FDS && is_fresh(keeper, fd))
            keeper->fresh[keeper->fresh_count++] = (int)fd;
        else
            close((int)fd);
    }
    close_from_to(last, ~0u);
}

/* ---- Handing over. */

/* The supervisor reads the inbox while a reactor serves. */
static void send_message(keeper_t *keeper, const struct iovec *iov, int count, const int *fds,
                         unsigned fd_count)
{
    for (;;) {
        struct iovec copy[3];
        memcpy(copy, iov, (size_t)count * sizeof(*iov));
        int result = hs_pass_send(keeper->task.inbox_fd, copy, count, fds, fd_count);
        if (result == 0)
            break;
        bool is_over = hs_clock_monotonic_ms() >= keeper->give_up_ms;
        if (is_over || (result != -EAGAIN && result != -ETOOMANYREFS && result != -ENOBUFS &&
                        result != -ENOMEM))
            leave(); /* the supervisor is gone, or no reactor comes */
        if (result == -EAGAIN) {
            (void)!hs_nowait_has_room(keeper->task.inbox_fd, ROOM_WAIT_MS);
        } else {
            struct timespec pause = { .tv_nsec = RETRY_MS * 1000000L };
            (void)nanosleep(&pause, NULL);
        }
    }
    for (unsigned i = 0; i < fd_count; i++)
        close(fds[i]); /* the copy in transit is the valid one */
}

static void begin_message(const keeper_t *keeper, hs_passage_head_t *head, unsigned count)
{
    head->magic = HS_PASSAGE_MAGIC;
    head->version = HS_PASSAGE_VERSION;
    head->count = (uint8_t)count;
    head->dead_pid = keeper->task.reactor_pid;
}

static void send_batch(keeper_t *keeper)
{
    unsigned count = keeper->batch_count;
    if (count == 0)
        return;
    begin_message(keeper, &keeper->batch, count);
    struct iovec iov = { &keeper->batch, hs_passage_head_size(count) };
    send_message(keeper, &iov, 1, keeper->batch_fds, count);
    keeper->batch_count = 0;
}

static void add_to_batch(keeper_t *keeper, int fd, const hs_passage_record_t *record)
{
    keeper->batch.records[keeper->batch_count] = *record;
    keeper->batch_fds[keeper->batch_count++] = fd;
    if (keeper->batch_count == HS_PASS_FDS)
        send_batch(keeper);
}

static void hand_over(keeper_t *keeper, int fd)
{
    hs_rescue_t *rescue = &keeper->rescue;
    const hs_conn_moved_t *moved = &rescue->moved;
    if (rescue->fate == HS_RESCUE_IDLE) {
        hs_passage_record_t record;
        hs_passage_write(moved, &record);
        add_to_batch(keeper, fd, &record);
        return;
    }
    hs_passage_head_t head;
    memset(&head, 0, sizeof(head));
    begin_message(keeper, &head, 1);
    hs_passage_write(moved, &head.records[0]);
    struct iovec iov[3] = { { &head, hs_passage_head_size(1) } };
    int count = 1;
    if (moved->len > 0)
        iov[count++] = (struct iovec){ rescue->received, moved->len };
    if (moved->unsent > 0)
        iov[count++] = (struct iovec){ rescue->unsent, moved->unsent };
    send_message(keeper, iov, count, &fd, 1);
}

static void decide(keeper_t *keeper, const void *conn, int fd, bool is_current)
{
    hs_rescue_t *rescue = &keeper->rescue;
    hs_rescue_kernel_t kernel = { .is_known = false };
    if (is_current)
        kernel.is_known = hs_sock_totals(fd, &kernel.taken, &kernel.given);
    hs_rescue_decide(&keeper->task.view, conn, fd, &kernel, rescue);
    int queued = HS_JOB_QUEUED;
    if (rescue->claim != NULL &&
        !atomic_compare_exchange_strong_explicit(rescue->claim, &queued, HS_JOB_CANCELLED,
                                                 memory_order_acq_rel, memory_order_acquire))
        hs_rescue_decide(&keeper->task.view, conn, fd, &kernel, rescue);
}

static void name_on_worker(keeper_t *keeper, const void *conn)
{
    if (keeper->on_workers_count == NAMED_MAX)
        return;
    named_t *named = &keeper->on_workers[keeper->on_workers_count];
    named->len =
        hs_rescue_request(&keeper->task.view, conn, named->head, NAMED_HEAD_BYTES + 1, named->id);
    if (named->len > 0)
        keeper->on_workers_count++;
}

static void rescue_all(keeper_t *keeper, uint32_t high, const void *current)
{
    for (uint32_t fd = 0; fd < high; fd++) {
        const void *conn = noted(keeper, fd);
        if (conn == NULL)
            continue;
        decide(keeper, conn, (int)fd, conn == current);
        hs_rescue_fate_t fate = keeper->rescue.fate;
        keeper->counts[fate]++;
        if (hs_rescue_is_on_worker(&keeper->task.view, conn))
            name_on_worker(keeper, conn);
        if (keeper->rescue.is_handled)
            keeper->handled++;
        if (fate == HS_RESCUE_CLOSE)
            close((int)fd);
        else
            hand_over(keeper, (int)fd);
    }
    for (unsigned i = 0; i < keeper->fresh_count; i++) {
        const hs_passage_record_t newly_accepted = { .flags = 0 };
        keeper->counts[HS_RESCUE_IDLE]++;
        add_to_batch(keeper, keeper->fresh[i], &newly_accepted);
    }
    send_batch(keeper);
}

/* ---- The record. */

/* Values that must not be logged. */
static bool is_secret(const char *name, size_t len)
{
    static const char *const secret[] = { "authorization", "proxy-authorization", "cookie",
                                          "x-api-key",     "x-auth-token",        "x-csrf-token" };
    for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]); i++)
        if (strlen(secret[i]) == len && strncasecmp(secret[i], name, len) == 0)
            return true;
    return false;
}

typedef struct text {
    char *to;
    size_t len;
    size_t cap;
} text_t;

static void add(text_t *text, const char *data, size_t len)
{
    if (len > text->cap - text->len)
        len = text->cap - text->len;
    memcpy(text->to + text->len, data, len);
    text->len += len;
}

static void add_escaped(text_t *text, const char *data, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < len && text->cap - text->len >= 8; i++) {
        unsigned char c = (unsigned char)data[i];
        char escaped[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };
        if (c == '\r')
            add(text, "\\r", 2);
        else if (c == '\n')
            add(text, "\\n", 2);
        else if (c < ' ' || c >= 0x7f || c == '"' || c == '\\')
            add(text, escaped, sizeof(escaped));
        else
            add(text, data + i, 1);
    }
}

/* The head, line by line, without secrets. */
static void add_head(text_t *text, const char *head, size_t len)
{
    for (size_t at = 0; at < len;) {
        const char *end = memchr(head + at, '\n', len - at);
        size_t line_len = end != NULL ? (size_t)(end - head) + 1 - at : len - at;
        const char *colon = memchr(head + at, ':', line_len);
        size_t name_len = colon != NULL ? (size_t)(colon - head) - at : 0;
        if (colon != NULL && is_secret(head + at, name_len)) {
            add_escaped(text, head + at, name_len);
            add_escaped(text, ": [redacted]\r\n", 14);
        } else {
            add_escaped(text, head + at, line_len);
        }
        at += line_len;
    }
}

/* Brackets and quotes for which there is always room. */
#define ENDING_BYTES (2 * (NAMED_MAX + 2))

/* Its id, and as much of its head as fits. */
static void add_named(text_t *text, const named_t *named)
{
    char part[64];
    int len = snprintf(part, sizeof(part), "\"reqId\":\"%s\",\"requestHead\":\"", named->id);
    add(text, part, (size_t)len);
    add_head(text, named->head, named->len);
    text->cap += 1;
    add(text, "\"", 1);
}

static void add_on_workers(text_t *text, const keeper_t *keeper)
{
    unsigned added = 0;
    for (; added < keeper->on_workers_count; added++) {
        if (text->cap - text->len < NAMED_HEAD_BYTES)
            break;
        add(text, added == 0 ? ",\"onWorkers\":[{" : ",{", added == 0 ? 15 : 2);
        add_named(text, &keeper->on_workers[added]);
        text->cap += 1;
        add(text, "}", 1);
    }
    if (added == 0)
        return;
    text->cap += 1;
    add(text, "]", 1);
}

static void report(keeper_t *keeper, uint64_t began_us)
{
    const uint32_t *counts = keeper->counts;
    uint32_t all = 0;
    for (size_t i = 0; i < HS_RESCUE_FATES; i++)
        all += counts[i];
    if (all == 0)
        return;
    text_t text = { keeper->fields, 0, sizeof(keeper->fields) - ENDING_BYTES };
    char part[256];
    int len =
        snprintf(part, sizeof(part),
                 "\"reactorPid\":%u,\"connections\":{\"idle\":%u,\"replayed\":%u,\"owing\":%u,"
                 "\"refused\":%u,\"closed\":%u},\"handOverMs\":%.1f",
                 keeper->task.reactor_pid, counts[HS_RESCUE_IDLE], counts[HS_RESCUE_REPLAY],
                 counts[HS_RESCUE_OWING], counts[HS_RESCUE_REFUSE], counts[HS_RESCUE_CLOSE],
                 (double)(hs_clock_monotonic_ns() / 1000 - began_us) / 1000);
    add(&text, part, (size_t)len);
    if (keeper->in_hand.len > 0) {
        add(&text, ",", 1);
        add_named(&text, &keeper->in_hand);
    }
    add_on_workers(&text, keeper);
    static const char message[] = "connections of a dead reactor were handed over";
    hs_log_write_fields(&keeper->log, HS_LOG_WARN, NULL, keeper->fields, text.len, message,
                        sizeof(message) - 1);
}

/* ---- The process. */

_Noreturn void hs_keeper_process(const hs_keeper_task_t *task)
{
    static keeper_t keeper;
    sigset_t all;
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)prctl(PR_SET_NAME, HS_KEEPER_NAME);
    keeper.task = *task;
    keeper.log_json = (hs_log_json_t){ .fd = task->log_fd >= 0 ? task->log_fd : STDERR_FILENO,
                                       .reactor = task->reactor_index };
    hs_log_init(&keeper.log, task->log_level, hs_log_json_sink, &keeper.log_json);
    shed_memory(&keeper);
    watch_parent(task->life_word, task->reactor_pid);
    unsigned long oom_kills_before = oom_kills(task->vmstat_fd);
    wait_for_end(task->life_word);
    wait_for_memory(task, oom_kills_before);

    uint64_t began_us = hs_clock_monotonic_ns() / 1000;
    keeper.give_up_ms = began_us / 1000 + PATIENCE_MS;
    const hs_rescue_view_t *view = &keeper.task.view;
    uint32_t high = atomic_load_explicit(&view->ledger->fd_high, memory_order_relaxed);
    if (high > view->fd_cap)
        high = view->fd_cap;
    hs_stage_t stage;
    const void *current = hs_rescue_current(view, &stage);
    named_t *in_hand = &keeper.in_hand;
    if (stage == HS_STAGE_ANSWERING)
        in_hand->len =
            hs_rescue_request(view, current, in_hand->head, sizeof(in_hand->head), in_hand->id);
    learn_port(&keeper, high);
    close_others(&keeper, high);
    rescue_all(&keeper, high, current);
    report(&keeper, began_us);
    leave();
}
#endif
