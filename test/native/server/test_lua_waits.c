/* A server with a Lua handler that waits in every way, and clients that connect, send and
 * disconnect at any time: nothing crashes, mixes up responses or is leaked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/uio.h>

#include "server/server_bench.h"

/* As in exec/test_lua_ownership.c: what a task has kept of a request that is over is compared. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    return "race:^hs_job_move_generation$";
}

#define CLIENTS 24
#define REQUESTS 30

static const char app[] =
    "stream_content = true\n"
    "local seen, live = 0, 0\n"
    "moonring.every(0.005, function() seen = seen + 1 end)\n"
    "local function busy(req, res)\n"
    "  local limit = moonring.semaphore(2)\n"
    "  local tasks = {}\n"
    "  for i = 1, 8 do\n"
    "    tasks[i] = moonring.spawn(function(n)\n"
    "      limit:acquire() moonring.sleep(n / 1000) limit:release() return n end, i)\n"
    "  end\n"
    "  local sum = 0\n"
    "  for i = 1, 8 do sum = sum + tasks[i]:wait() end\n"
    "  res:body(req.url .. ' ' .. sum)\n"
    "end\n"
    "function handle(req, res)\n"
    "  local what = req.path:match('^/(%a+)')\n"
    "  if what == 'sleep' then\n"
    "    req.ctx.url = req.url\n"
    "    moonring.sleep(0.004)\n"
    "    local url = moonring.spawn(function() moonring.sleep(0) return req.ctx.url end):wait()\n"
    "    res:body(url .. ' 36')\n"
    "  elseif what == 'tasks' then\n"
    "    busy(req, res)\n"
    "  elseif what == 'stream' then\n"
    "    for i = 1, 40 do res:write(('s'):rep(20000)) if i % 8 == 0 then moonring.sleep(0) end "
    "end\n"
    "    res:write(' 36') res:finish()\n"
    "  elseif what == 'worker' then\n"
    "    local n = moonring.worker(function(n) moonring.sleep(0.002) return n + 1 end, 35)\n"
    "    res:body(req.url .. ' ' .. n)\n"
    "  elseif what == 'thread' then\n"
    "    if not req:in_worker() then return 'worker' end\n"
    "    moonring.sleep(0.003) res:body(req.url .. ' 36')\n"
    "  elseif what == 'late' then\n"
    "    moonring.timeout(0.003, moonring.sleep, 10)\n"
    "    moonring.spawn({ detached = true }, moonring.sleep, 0.01)\n"
    "    moonring.spawn(function() moonring.sleep(10) end)\n"
    "    res:body(req.url .. ' 36'):send()\n"
    "    moonring.sleep(0.002)\n"
    "  elseif what == 'upload' then\n"
    "    local n = 0\n"
    "    for chunk in req:chunks(7000) do n = n + #chunk moonring.sleep(0) end\n"
    "    res:body(req.url .. ' ' .. n)\n"
    "  elseif what == 'collect' then\n"
    "    res:body(req.url .. ' ' .. #req:body())\n"
    "  elseif what == 'early' then\n"
    "    res:status(401):body('36')\n"
    "  else\n"
    "    error('unknown')\n"
    "  end\n"
    "end\n";

static void write_app(char path[64])
{
    snprintf(path, 64, "/tmp/moonring-waits-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, app, sizeof(app) - 1), sizeof(app) - 1);
    close(fd);
}

typedef struct guest {
    pthread_t thread;
    uint16_t port;
    unsigned seed;
    bool leaves; /* disconnects in the middle, at random */
    unsigned failed;
    char tail[512]; /* of the last response */
} guest_t;

static unsigned next_random(guest_t *guest)
{
    guest->seed = guest->seed * 1103515245u + 12345u;
    return guest->seed >> 16;
}

static int guest_connect(const guest_t *guest)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(guest->port) };
    struct timeval patience = { .tv_sec = 20 };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? fd : -1;
}

/* In one call: a server that refuses the content closes if there is a long pause before it. */
static void send_all(int fd, const char *head, size_t head_len, const char *content, size_t len)
{
    struct iovec iov[2] = { { (char *)(uintptr_t)head, head_len },
                            { (char *)(uintptr_t)content, len } };
    struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };
    (void)!sendmsg(fd, &message, MSG_NOSIGNAL); /* a server may respond before it has read all */
}

/* Reads to the end of the connection. True: the response ended as it should. */
static bool read_response(guest_t *guest, int fd, const char *target)
{
    static const char chunked_end[] = "\r\n0\r\n\r\n";
    char *tail = guest->tail;
    size_t kept = 0;
    tail[0] = '\0';
    char data[16384];
    ssize_t received;
    while ((received = recv(fd, data, sizeof(data), 0)) > 0) {
        size_t len = (size_t)received;
        size_t more = len < 256 ? len : 256;
        if (kept + more > 500) {
            memmove(tail, tail + kept - 200, 200);
            kept = 200;
        }
        memcpy(tail + kept, data + len - more, more);
        kept += more;
        tail[kept] = '\0';
    }
    if (received < 0)
        return false;
    if (strncmp(target, "/stream", 7) == 0)
        return kept > 7 && strcmp(tail + kept - 7, chunked_end) == 0;
    if (strncmp(target, "/early", 6) == 0)
        return strstr(tail, "\r\n\r\n36") != NULL;
    char expected[64];
    snprintf(expected, sizeof(expected), "%s 36", target);
    bool is_content = strncmp(target, "/upload", 7) == 0 || strncmp(target, "/collect", 8) == 0;
    if (is_content)
        snprintf(expected, sizeof(expected), "%s 90000", target);
    return strstr(tail, expected) != NULL;
}

static void *visit(void *argument)
{
    static const char *const kinds[] = { "sleep", "tasks",  "stream",  "worker", "thread",
                                         "late",  "upload", "collect", "early" };
    static char content[90000];
    guest_t *guest = argument;
    for (unsigned i = 0; i < REQUESTS; i++) {
        const char *kind = kinds[next_random(guest) % (sizeof(kinds) / sizeof(kinds[0]))];
        char target[32], head[256];
        snprintf(target, sizeof(target), "/%s/%u", kind, next_random(guest));
        bool has_content = kind[0] == 'u' || kind[0] == 'c' || kind[0] == 'e';
        int len = snprintf(head, sizeof(head),
                           "POST %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                           "Content-Length: %u\r\n\r\n",
                           target, has_content ? (unsigned)sizeof(content) : 0);
        int fd = guest_connect(guest);
        if (fd < 0) {
            guest->failed++;
            continue;
        }
        bool leaves = guest->leaves && next_random(guest) % 2 == 0;
        size_t part = 0;
        if (has_content)
            part = leaves ? next_random(guest) % sizeof(content) : sizeof(content);
        send_all(fd, head, (size_t)len, content, part);
        if (leaves) {
            struct linger reset = { .l_onoff = next_random(guest) % 2 == 0 };
            (void)poll(NULL, 0, (int)(next_random(guest) % 6));
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        } else if (!read_response(guest, fd, target)) {
            guest->failed++;
            fprintf(stderr, "wrong: %s: %s (%s)\n", target, guest->tail, strerror(errno));
        }
        close(fd);
    }
    return NULL;
}

static void run(hs_dispatch_mode_t dispatch, bool leaves)
{
    server_bench_t sb;
    char path[64];
    guest_t guests[CLIENTS];
    write_app(path);
    server_bench_init(&sb);
    sb.config.handler = NULL;
    sb.config.lua_script = path;
    sb.config.dispatch = dispatch;
    sb.config.num_threads = 2;
    server_bench_start(&sb);
    for (unsigned i = 0; i < CLIENTS; i++) {
        guests[i] = (guest_t){ .port = hs_server_port(sb.server), .seed = i + 1, .leaves = leaves };
        assert_int_equal(pthread_create(&guests[i].thread, NULL, visit, &guests[i]), 0);
    }
    unsigned failed = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(guests[i].thread, NULL);
        failed += guests[i].failed;
    }
    assert_int_equal(failed, 0);
    server_bench_stop(&sb);
    unlink(path);
}

static void every_wait_ends_with_its_own_response(void **state)
{
    (void)state;
    run(HS_DISPATCH_INLINE, false);
    run(HS_DISPATCH_AUTO, false);
}

static void clients_that_leave_disturb_no_other(void **state)
{
    (void)state;
    run(HS_DISPATCH_INLINE, true);
    run(HS_DISPATCH_WORKER, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_wait_ends_with_its_own_response),
        cmocka_unit_test(clients_that_leave_disturb_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
