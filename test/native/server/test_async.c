/* hs_server with handlers that respond later, from other threads: under load, with clients
 * that disconnect, streamed both ways, pinned, from files, and while the server stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "server/server_bench.h"

/* For threads other than the test's, where cmocka's assertions do not work. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct app;

/* A deferred request. owner: the handler, then the finisher until it has sent, then
 * the server until on_end */
typedef struct later {
    struct app *app;
    hs_deferred_t job;
    struct later *next; /* in the queue */
} later_t;

/* Shared by handlers and finishers, and the counters of the callbacks. */
typedef struct app {
    pthread_mutex_t lock; /* of the queue and what follows it, except the atomics */
    pthread_cond_t changed;
    later_t *first;
    later_t **last;
    bool closed;  /* finishers exit when the queue is empty */
    bool held;    /* finishers do not touch the queue */
    bool drained; /* since a writer last checked */
    bool gone;
    atomic_uint deferred; /* each counted by the thread of the event, read at the end; relaxed */
    atomic_uint ends;
    atomic_uint shut;
    atomic_uint lost;
    atomic_uint timeouts;
    atomic_uint waits;
    pthread_t finishers[4];
    unsigned finisher_count;
} app_t;

static void on_end(void *user_data)
{
    later_t *later = user_data;
    atomic_fetch_add(&later->app->ends, 1);
    free(later);
}

static void tell(app_t *app, bool *what)
{
    pthread_mutex_lock(&app->lock);
    *what = true;
    pthread_cond_broadcast(&app->changed);
    pthread_mutex_unlock(&app->lock);
}

static void on_drain(hs_deferred_t job, void *user_data)
{
    (void)job;
    app_t *app = ((later_t *)user_data)->app;
    tell(app, &app->drained);
}

static void on_abort(hs_deferred_t job, hs_abort_reason_t reason, void *user_data)
{
    (void)job;
    app_t *app = ((later_t *)user_data)->app;
    switch (reason) {
    case HS_ABORT_SHUT:
        atomic_fetch_add(&app->shut, 1);
        return;
    case HS_ABORT_LOST:
        atomic_fetch_add(&app->lost, 1);
        break;
    case HS_ABORT_TIMEOUT:
        atomic_fetch_add(&app->timeouts, 1);
        break;
    }
    tell(app, &app->gone);
}

/* A handler: a finisher responds. */
static void respond_later(hs_request_t *request, hs_response_t *response, void *user_data)
{
    app_t *app = user_data;
    (void)request;
    later_t *later = calloc(1, sizeof(*later));
    CHECK(later != NULL);
    later->app = app;
    const hs_callbacks_t callbacks = {
        .on_drain = on_drain, .on_abort = on_abort, .on_end = on_end, .user_data = later
    };
    CHECK(hs_res_callbacks(response, &callbacks) == 0);
    hs_deferred_t job = hs_res_defer(response);
    CHECK(job != 0);
    later->job = job;
    atomic_fetch_add(&app->deferred, 1);
    pthread_mutex_lock(&app->lock);
    *app->last = later;
    app->last = &later->next;
    pthread_cond_broadcast(&app->changed);
    pthread_mutex_unlock(&app->lock);
}

/* The next request of the queue; NULL: it is closed. */
static later_t *take(app_t *app)
{
    pthread_mutex_lock(&app->lock);
    while ((app->first == NULL || app->held) && !(app->closed && app->first == NULL))
        pthread_cond_wait(&app->changed, &app->lock);
    later_t *later = app->first;
    if (later != NULL && (app->first = later->next) == NULL)
        app->last = &app->first;
    pthread_mutex_unlock(&app->lock);
    return later;
}

static bool is_gone(int result)
{
    return result == -7; /* the only error that a client can cause */
}

/* Responds with the target: whole, in pieces of known length, or in chunks. */
static void *finish(void *argument)
{
    app_t *app = argument;
    later_t *later;
    for (unsigned number = 0; (later = take(app)) != NULL; number++) {
        hs_request_t *request = hs_deferred_request(later->job);
        hs_response_t *response = hs_deferred_response(later->job);
        CHECK(request != NULL && response != NULL);
        const char *url = hs_req_url(request);
        size_t len = strlen(url), half = len / 2;
        bool is_chunked = strncmp(url, "/chunked", 8) == 0;
        if (number % 2 == 0 && !is_chunked) {
            CHECK(hs_res_body(response, url, len) == 0);
        } else {
            if (!is_chunked)
                CHECK(hs_res_content_length(response, len) == 0);
            int result = hs_res_write(response, url, half);
            CHECK(result == HS_WRITE_CONTINUE || is_gone(result));
            result = hs_res_write(response, url + half, len - half);
            CHECK(result == HS_WRITE_CONTINUE || is_gone(result));
        }
        CHECK(hs_res_send(response) == 0);
    }
    return NULL;
}

static void app_begin(app_t *app, unsigned finishers)
{
    memset(app, 0, sizeof(*app));
    pthread_mutex_init(&app->lock, NULL);
    pthread_cond_init(&app->changed, NULL);
    app->last = &app->first;
    for (; app->finisher_count < finishers; app->finisher_count++)
        assert_int_equal(pthread_create(&app->finishers[app->finisher_count], NULL, finish, app),
                         0);
}

/* Everything that was deferred has ended. */
static void app_end(app_t *app)
{
    tell(app, &app->closed);
    for (unsigned i = 0; i < app->finisher_count; i++)
        pthread_join(app->finishers[i], NULL);
    assert_int_equal(atomic_load(&app->ends), atomic_load(&app->deferred));
    pthread_cond_destroy(&app->changed);
    pthread_mutex_destroy(&app->lock);
}

static void hold(app_t *app, bool held)
{
    pthread_mutex_lock(&app->lock);
    app->held = held;
    pthread_cond_broadcast(&app->changed);
    pthread_mutex_unlock(&app->lock);
}

#define AWAIT(condition)                                                                           \
    for (unsigned waited_ms = 0; !(condition); waited_ms++) {                                      \
        assert_true(waited_ms < WAIT_MS);                                                          \
        poll(NULL, 0, 1);                                                                          \
    }

/* The connections of one thread. */
typedef struct crowd {
    uint16_t port;
    unsigned connections;
    unsigned rounds;
    unsigned number; /* of the crowd */
    unsigned answered;
    pthread_t thread;
} crowd_t;

#define CROWD_MAX 100

static void *run_crowd(void *argument)
{
    crowd_t *crowd = argument;
    int fds[CROWD_MAX];
    for (unsigned i = 0; i < crowd->connections; i++)
        CHECK((fds[i] = client_connect_to(crowd->port)) >= 0);
    for (unsigned round = 0; round < crowd->rounds; round++) {
        for (unsigned i = 0; i < crowd->connections; i++) {
            char text[128];
            bool leaves = (round + i) % 7 == 0;
            int len = snprintf(text, sizeof(text), "GET /%s%u/%u/%u HTTP/1.1\r\nHost: a\r\n\r\n",
                               leaves ? "chunked" : "", crowd->number, round, i);
            CHECK(send(fds[i], text, (size_t)len, MSG_NOSIGNAL) == len);
            if (!leaves)
                continue;
            if (i % 2 == 0) { /* by a reset */
                struct linger now = { .l_onoff = 1 };
                CHECK(setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0);
            }
            close(fds[i]);
            CHECK((fds[i] = client_connect_to(crowd->port)) >= 0);
        }
        for (unsigned i = 0; i < crowd->connections; i++) {
            if ((round + i) % 7 == 0)
                continue;
            char expected[64], got[2048];
            int len =
                snprintf(expected, sizeof(expected), "\r\n\r\n/%u/%u/%u", crowd->number, round, i);
            size_t at = 0;
            got[0] = '\0';
            while (strstr(got, expected) == NULL) {
                ssize_t part = recv(fds[i], got + at, sizeof(got) - 1 - at, 0);
                CHECK(part > 0);
                at += (size_t)part;
                got[at] = '\0';
            }
            CHECK(memcmp(got, "HTTP/1.1 200 ", 13) == 0);
            CHECK(memcmp(got + at - len, expected, (size_t)len) == 0);
            crowd->answered++;
        }
    }
    for (unsigned i = 0; i < crowd->connections; i++)
        close(fds[i]);
    return NULL;
}

/* That many requests, from 400 connections, of which a seventh disconnects each time. */
static void run_load(hs_dispatch_mode_t dispatch, unsigned requests)
{
    enum {
        CROWDS = 4
    };
    static crowd_t crowds[CROWDS];
    static app_t app;
    server_bench_t sb;
    server_bench_init(&sb);
    sb.config.dispatch = dispatch;
    sb.config.num_threads = 2;
    sb.config.handler = respond_later;
    sb.config.handler_ud = &app;
    app_begin(&app, 3);
    server_bench_start(&sb);
    for (unsigned i = 0; i < CROWDS; i++) {
        crowds[i] = (crowd_t){ .port = hs_server_port(sb.server),
                               .connections = CROWD_MAX,
                               .rounds = (requests + CROWDS * CROWD_MAX - 1) / (CROWDS * CROWD_MAX),
                               .number = i };
        assert_int_equal(pthread_create(&crowds[i].thread, NULL, run_crowd, &crowds[i]), 0);
    }
    unsigned answered = 0;
    for (unsigned i = 0; i < CROWDS; i++) {
        pthread_join(crowds[i].thread, NULL);
        answered += crowds[i].answered;
    }
    assert_true(answered > requests / 2);
    server_bench_stop(&sb);
    assert_true(atomic_load(&app.deferred) >= answered);
    app_end(&app);
}

static void ten_thousand_are_finished_by_other_threads(void **state)
{
    (void)state;
    run_load(HS_DISPATCH_INLINE, 10000);
}

static void workers_defer_as_well(void **state)
{
    (void)state;
    run_load(HS_DISPATCH_WORKER, 3000);
}

/* Writes as many bytes as the target says, as fast as the client reads. */
static void *stream(void *argument)
{
    static const char piece[64 * 1024];
    app_t *app = argument;
    later_t *later = take(app);
    hs_response_t *response = hs_deferred_response(later->job);
    size_t left = strtoull(hs_req_url(hs_deferred_request(later->job)) + 1, NULL, 10);
    while (left > 0) {
        size_t len = left < sizeof(piece) ? left : sizeof(piece);
        int result = hs_res_write(response, piece, len);
        if (is_gone(result))
            break;
        CHECK(result >= 0);
        left -= len;
        if (result == HS_WRITE_CONTINUE)
            continue;
        pthread_mutex_lock(&app->lock);
        atomic_fetch_add(&app->waits, 1);
        while (!app->drained && !app->gone)
            pthread_cond_wait(&app->changed, &app->lock);
        app->drained = false;
        pthread_mutex_unlock(&app->lock);
    }
    CHECK(hs_res_send(response) == 0);
    return NULL;
}

/* Receives `len` bytes. */
static void client_skip(int fd, size_t len)
{
    static char data[256 * 1024];
    while (len > 0) {
        ssize_t got = recv(fd, data, len < sizeof(data) ? len : sizeof(data), 0);
        assert_true(got > 0);
        len -= (size_t)got;
    }
}

/* Bytes allocated; 0 if unknown. */
static size_t allocated_bytes(void)
{
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    return mallinfo2().uordblks + mallinfo2().hblkhd;
#else
    return 0;
#endif
}

/* However slowly the client reads, the writer is at most slightly ahead of the
 * kernel. */
static void a_stream_to_a_slow_client_needs_little_memory(void **state)
{
    (void)state;
    const size_t total = (size_t)256 << 20;
    static app_t app;
    server_bench_t sb;
    server_bench_init(&sb);
    sb.config.handler = respond_later;
    sb.config.handler_ud = &app;
    app_begin(&app, 0);
    server_bench_start(&sb);
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, stream, &app), 0);
    int fd = client_connect(&sb);
    int small = 16 * 1024;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
    size_t before = allocated_bytes();
    char request[128];
    /* HTTP/1.0: no chunks between the bytes. */
    snprintf(request, sizeof(request), "GET /%zu HTTP/1.0\r\n\r\n", total);
    client_send(fd, request);
    (void)client_read(fd); /* the head */
    size_t most = 0;
    unsigned waits = 0;
    for (size_t read = 0; read < total; read += total / 64) {
        /* Far from the end the writer always has more than the kernel takes. */
        if (read < total / 2)
            AWAIT(atomic_load(&app.waits) > waits);
        waits = atomic_load(&app.waits);
        client_skip(fd, total / 64);
        size_t now = allocated_bytes();
        if (now > before && now - before > most)
            most = now - before;
    }
    client_expect_end(fd);
    pthread_join(writer, NULL);
    if (most > 1 << 20)
        fail_msg("%zu bytes for one stream", most);
    server_bench_stop(&sb);
    app_end(&app);
}

/* A handler that may wait: it defers so that it is called back, and continues where it was. */
static void stream_here(hs_request_t *request, hs_response_t *response, void *user_data)
{
    respond_later(request, response, user_data);
    (void)stream(user_data);
}

static void a_worker_may_stream_when_it_has_deferred(void **state)
{
    (void)state;
    const size_t total = (size_t)16 << 20;
    static app_t app;
    server_bench_t sb;
    server_bench_init(&sb);
    sb.config.handler = stream_here;
    sb.config.handler_ud = &app;
    sb.config.dispatch = HS_DISPATCH_WORKER;
    sb.config.num_threads = 1;
    app_begin(&app, 0);
    server_bench_start(&sb);
    for (unsigned i = 0; i < 3; i++) {
        unsigned waits = atomic_load(&app.waits);
        int fd = client_connect(&sb);
        char request[128];
        snprintf(request, sizeof(request), "GET /%zu HTTP/1.0\r\n\r\n", total);
        client_send(fd, request);
        (void)client_read(fd);
        AWAIT(atomic_load(&app.waits) > waits);
        client_skip(fd, total);
        client_expect_end(fd);
    }
    server_bench_stop(&sb);
    app_end(&app);
}

static void a_writer_learns_that_its_client_has_left(void **state)
{
    (void)state;
    static app_t app;
    server_bench_t sb;
    server_bench_init(&sb);
    sb.config.handler = respond_later;
    sb.config.handler_ud = &app;
    app_begin(&app, 0);
    server_bench_start(&sb);
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, stream, &app), 0);
    int fd = client_connect(&sb);
    client_send(fd, "GET /1000000000 HTTP/1.0\r\n\r\n");
    (void)client_read(fd);
    AWAIT(atomic_load(&app.waits) > 0);
    close(fd);
    pthread_join(writer, NULL);
    AWAIT(atomic_load(&app.ends) == 1);
    assert_int_equal(atomic_load(&app.lost), 1);
    server_bench_stop(&sb);
    app_end(&app);
}

/* A handler whose content arrives in pieces: it adds up the bytes, and requests the next piece from
 * another thread. */
typedef struct upload {
    app_t app;
    atomic_ullong sum; /* of the bytes; written by the loop's thread, read by the test's; relaxed */
    atomic_size_t len;
    atomic_size_t longest;
    atomic_uint pauses;
} upload_t;

static upload_t upload;

static void *resume(void *argument)
{
    hs_deferred_t job = *(hs_deferred_t *)argument;
    free(argument);
    CHECK(hs_req_resume(job) == 0);
    return NULL;
}

static hs_content_next_t on_content(hs_deferred_t job, const char *data, size_t length,
                                    bool is_last, void *user_data)
{
    (void)user_data;
    unsigned long long sum = 0;
    for (size_t i = 0; i < length; i++)
        sum += (unsigned char)data[i];
    atomic_fetch_add(&upload.sum, sum);
    atomic_fetch_add(&upload.len, length);
    if (length > atomic_load(&upload.longest))
        atomic_store(&upload.longest, length);
    if (is_last) {
        char text[64];
        int len = snprintf(text, sizeof(text), "%llu", atomic_load(&upload.sum));
        hs_response_t *response = hs_deferred_response(job);
        CHECK(hs_res_body(response, text, (size_t)len) == 0);
        CHECK(hs_res_send(response) == 0);
        return HS_CONTENT_CONTINUE;
    }
    if (atomic_fetch_add(&upload.pauses, 1) % 8 != 0)
        return HS_CONTENT_CONTINUE;
    pthread_t thread;
    hs_deferred_t *argument = malloc(sizeof(*argument));
    CHECK(argument != NULL);
    *argument = job;
    CHECK(pthread_create(&thread, NULL, resume, argument) == 0);
    pthread_detach(thread);
    return HS_CONTENT_PAUSE;
}

static void take_content(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)user_data;
    if (strcmp(hs_req_url(request), "/refuse") == 0) {
        CHECK(hs_res_status(response, 403) == 0);
        CHECK(hs_res_send(response) == 0);
        return;
    }
    CHECK(hs_req_header(request, "Content-Length") != NULL);
    const hs_callbacks_t callbacks = { .on_content = on_content };
    CHECK(hs_res_callbacks(response, &callbacks) == 0);
    CHECK(hs_res_defer(response) != 0);
}

static void content_is_given_as_it_comes(void **state)
{
    (void)state;
    static char data[8 << 20];
    unsigned long long sum = 0;
    for (size_t i = 0; i < sizeof(data); i++)
        sum += (unsigned char)(data[i] = (char)(i * 7 % 251));
    server_bench_t sb;
    server_bench_init(&sb);
    sb.config.stream_content = true;
    sb.config.dispatch = HS_DISPATCH_WORKER; /* makes no difference */
    sb.config.max_body_size = sizeof(data);
    sb.config.max_body_memory = sizeof(data);
    sb.config.handler = take_content;
    memset(&upload, 0, sizeof(upload));
    server_bench_start(&sb);
    int fd = client_connect(&sb);
    char head[128];
    snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
             sizeof(data));
    client_send(fd, head);
    for (size_t done = 0; done < sizeof(data);) {
        ssize_t sent = send(fd, data + done, sizeof(data) - done, MSG_NOSIGNAL);
        assert_true(sent > 0);
        done += (size_t)sent;
    }
    char expected[64];
    int len = snprintf(expected, sizeof(expected), "%llu", sum);
    client_answer_t answer = client_read(fd);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body_len, len);
    assert_false(answer.close);
    assert_int_equal(atomic_load(&upload.sum), sum);
    assert_int_equal(atomic_load(&upload.len), sizeof(data));
    assert_true(atomic_load(&upload.longest) <= sb.config.ring_size);
    assert_true(atomic_load(&upload.pauses) > 100);
    /* A handler may respond before the content has arrived. */
    client_send(fd, "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    answer = client_read(fd);
    assert_int_equal(answer.status, 403);
    assert_true(answer.close);
    close(fd);
    server_bench_stop(&sb);
}

static atomic_uint released;
static char pinned[4 << 20];

static void release_pinned(void *user_data)
{
    CHECK(user_data == pinned);
    atomic_fetch_add(&released, 1);
}

static void respond_pinned(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)request, (void)user_data;
    CHECK(hs_res_body_pinned(response, pinned, sizeof(pinned), release_pinned, pinned) == 0);
    CHECK(hs_res_send(response) == 0);
}

static void pinned_memory_is_released_once(void **state)
{
    (void)state;
    const hs_dispatch_mode_t modes[] = { HS_DISPATCH_INLINE, HS_DISPATCH_WORKER };
    for (unsigned i = 0; i < 2; i++) {
        server_bench_t sb;
        server_bench_init(&sb);
        sb.config.dispatch = modes[i];
        sb.config.num_threads = 1;
        sb.config.handler = respond_pinned;
        atomic_store(&released, 0);
        server_bench_start(&sb);
        int fd = client_connect(&sb);
        client_answer_t answer = client_get(fd, "/");
        assert_int_equal(answer.body_len, sizeof(pinned));
        AWAIT(atomic_load(&released) == 1);
        client_send(fd, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        char byte;
        assert_int_equal(recv(fd, &byte, 1, 0), 1);
        AWAIT(atomic_load(&released) == 2);
        close(fd);
        fd = client_connect(&sb); /* disconnects in the middle */
        client_send(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_int_equal(recv(fd, &byte, 1, 0), 1);
        close(fd);
        AWAIT(atomic_load(&released) == 3);
        fd = client_connect(&sb); /* is aborted in the middle */
        client_send(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_int_equal(recv(fd, &byte, 1, 0), 1);
        server_bench_stop(&sb);
        assert_int_equal(atomic_load(&released), 4);
        close(fd);
    }
}

#define FILE_BYTES (8 << 20)

static char file_path[64];

/* Sends the file named above, from offset to end: "/<offset>". */
static void respond_file(hs_request_t *request, hs_response_t *response, void *user_data)
{
    (void)user_data;
    size_t offset = strtoull(hs_req_url(request) + 1, NULL, 10);
    int fd = open(file_path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(hs_res_file(response, fd, offset, FILE_BYTES - offset) == 0);
    CHECK(hs_res_file(response, -1, 0, 1) < 0);
    CHECK(hs_res_send(response) == 0);
}

static void make_file(size_t bytes)
{
    snprintf(file_path, sizeof(file_path), "/tmp/moonring-async-XXXXXX");
    int fd = mkstemp(file_path);
    assert_true(fd >= 0);
    static char data[FILE_BYTES];
    for (size_t i = 0; i < bytes; i++)
        data[i] = (char)(i * 7 % 251);
    assert_int_equal(write(fd, data, bytes), bytes);
    close(fd);
}

/* Leaked descriptors are checked when the server has stopped. */
static void a_file_is_sent_and_closed(void **state)
{
    (void)state;
    server_bench_t sb;
    server_bench_init(&sb);
    sb.config.handler = respond_file;
    make_file(FILE_BYTES);
    server_bench_start(&sb);
    int fd = client_connect(&sb);
    for (size_t offset = 0; offset <= FILE_BYTES; offset += FILE_BYTES / 4) {
        char text[64];
        snprintf(text, sizeof(text), "GET /%zu HTTP/1.1\r\nHost: a\r\n\r\n", offset);
        client_send(fd, text);
        char head[2048];
        size_t at = 0;
        while (at < 4 || memcmp(head + at - 4, "\r\n\r\n", 4) != 0)
            assert_int_equal(recv(fd, head + at++, 1, 0), 1);
        head[at] = '\0';
        snprintf(text, sizeof(text), "\r\nContent-Length: %zu\r\n", FILE_BYTES - offset);
        assert_non_null(strstr(head, text));
        static char data[64 * 1024];
        for (size_t i = offset; i < FILE_BYTES;) {
            ssize_t got =
                recv(fd, data, FILE_BYTES - i < sizeof(data) ? FILE_BYTES - i : sizeof(data), 0);
            assert_true(got > 0);
            bool same = true;
            for (ssize_t k = 0; k < got; k++, i++)
                same = same && data[k] == (char)(i * 7 % 251);
            assert_true(same);
        }
    }
    client_send(fd, "HEAD /0 HTTP/1.1\r\nHost: a\r\n\r\n");
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 1);
    close(fd);
    fd = client_connect(&sb); /* disconnects in the middle */
    client_send(fd, "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(recv(fd, &byte, 1, 0), 1);
    close(fd);
    server_bench_stop(&sb);
    unlink(file_path);
}

/* Its length was promised: the client sees the connection closed, and the log has the reason. */
static void a_file_that_is_too_short_closes_the_connection(void **state)
{
    (void)state;
    const size_t lengths[] = { 0, 100 * 1000, FILE_BYTES - 1 };
    for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        int log[2];
        server_bench_t sb;
        assert_int_equal(pipe(log), 0);
        server_bench_init(&sb);
        sb.config.handler = respond_file;
        sb.config.log_level = HS_LOG_ERROR;
        sb.config.log_json_fd = log[1];
        make_file(lengths[i]);
        server_bench_start(&sb);
        int fd = client_connect(&sb);
        client_send(fd, "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n");
        size_t got = 0;
        static char data[64 * 1024];
        ssize_t part;
        while ((part = recv(fd, data, sizeof(data), 0)) > 0)
            got += (size_t)part;
        assert_int_equal(part, 0);
        assert_true(got > lengths[i] && got < lengths[i] + 1000);
        close(fd);
        server_bench_stop(&sb);
        close(log[1]);
        ssize_t len = read(log[0], data, sizeof(data) - 1);
        assert_true(len > 0);
        data[len] = '\0';
        assert_non_null(strstr(data, "was truncated or changed while it was being sent"));
        close(log[0]);
        unlink(file_path);
    }
}

static void a_deferred_response_that_is_late_is_503(void **state)
{
    (void)state;
    static app_t app;
    server_bench_t sb;
    server_bench_init(&sb);
    sb.config.handler = respond_later;
    sb.config.handler_ud = &app;
    sb.config.handler_timeout_ms = 50;
    app_begin(&app, 1);
    hold(&app, true);
    server_bench_start(&sb);
    int fd = client_connect(&sb);
    client_answer_t answer = client_get(fd, "/late");
    assert_int_equal(answer.status, 503);
    assert_true(answer.close);
    assert_int_equal(atomic_load(&app.timeouts), 1);
    close(fd);
    hold(&app, false); /* it is finished anyway */
    AWAIT(atomic_load(&app.ends) == 1);
    server_bench_stop(&sb);
    app_end(&app);
}

/* A drain waits for deferred requests; a stop does not, but their memory stays until they are
 * finished.
 */
static void the_end_of_the_server_and_deferred_responses(void **state)
{
    (void)state;
    static app_t app;
    for (unsigned drains = 0; drains < 2; drains++) {
        server_bench_t sb;
        server_bench_init(&sb);
        sb.config.handler = respond_later;
        sb.config.handler_ud = &app;
        app_begin(&app, 1);
        hold(&app, true);
        server_bench_start(&sb);
        int fd = client_connect(&sb);
        client_send(fd, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
        AWAIT(atomic_load(&app.deferred) == 1);
        if (drains) {
            hs_server_drain(sb.server, WAIT_MS);
            hold(&app, false);
            client_answer_t answer = client_read(fd);
            assert_int_equal(answer.status, 200);
            assert_int_equal(answer.body_len, 5);
        } else {
            hs_server_stop(sb.server);
            client_expect_end(dup(fd));
            assert_int_equal(atomic_load(&app.lost), 1);
            hold(&app, false);
        }
        close(fd);
        server_bench_join(&sb);
        app_end(&app);
    }
}

/* A half-close is not a disconnect: the response is still sent, and the handler has been notified.
 */
static void a_client_that_shuts_its_side_is_told_of_and_answered(void **state)
{
    (void)state;
    static app_t app;
    server_bench_t sb;
    server_bench_init(&sb);
    sb.config.handler = respond_later;
    sb.config.handler_ud = &app;
    app_begin(&app, 1);
    hold(&app, true);
    server_bench_start(&sb);
    int fd = client_connect(&sb);
    client_send(fd, "GET /shut HTTP/1.1\r\nHost: a\r\n\r\n");
    AWAIT(atomic_load(&app.deferred) == 1);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    AWAIT(atomic_load(&app.shut) == 1);
    hold(&app, false);
    assert_int_equal(client_read(fd).body_len, 5);
    client_expect_end(fd);
    server_bench_stop(&sb);
    assert_int_equal(atomic_load(&app.lost), 0);
    app_end(&app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_are_finished_by_other_threads),
        cmocka_unit_test(workers_defer_as_well),
        cmocka_unit_test(a_stream_to_a_slow_client_needs_little_memory),
        cmocka_unit_test(a_worker_may_stream_when_it_has_deferred),
        cmocka_unit_test(a_writer_learns_that_its_client_has_left),
        cmocka_unit_test(content_is_given_as_it_comes),
        cmocka_unit_test(pinned_memory_is_released_once),
        cmocka_unit_test(a_file_is_sent_and_closed),
        cmocka_unit_test(a_file_that_is_too_short_closes_the_connection),
        cmocka_unit_test(a_deferred_response_that_is_late_is_503),
        cmocka_unit_test(the_end_of_the_server_and_deferred_responses),
        cmocka_unit_test(a_client_that_shuts_its_side_is_told_of_and_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
