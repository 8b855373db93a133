/*
 * libhttpserver: an HTTP/1.1 server in a library. A server runs one reactor or several: threads
 * that accept connections, parse requests and run a C or Lua handler for each, by themselves or on
 * worker threads.
 *
 *     hs_config_t config;
 *     hs_config_init(&config);
 *     config.handler = my_handler;
 *     hs_server_t *server = hs_server_new(&config);
 *     if (server != NULL)
 *         hs_server_run(server);   // until hs_server_stop or hs_server_drain
 *     hs_server_free(server);
 *
 * Threads: a server belongs to the thread that calls it, except hs_server_stop and hs_server_drain,
 * which any thread or signal handler may call. A handler runs on the thread that called
 * hs_server_run, on another reactor's, or on a worker: on several at once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#define HS_VERSION "0.1.0"

/* Stack of the threads that the server starts itself: room for recursion of Lua through C. */
#define HS_STACK_BYTES ((size_t)16 * 1024 * 1024)

typedef struct hs_server hs_server_t;
typedef struct hs_request hs_request_t;
typedef struct hs_response hs_response_t;

/* Where a server listens. */
typedef enum {
    HS_LISTEN_TCP = 1, /* host:port */
    HS_LISTEN_UDS = 2, /* a Unix socket: uds_path */
    HS_LISTEN_FDS = 4, /* descriptors made by somebody else: listen_fds */
} hs_listen_flags_t;

typedef enum {
    HS_REACTOR_SINGLE = 0, /* one reactor, on the thread that calls hs_server_run */
    HS_REACTOR_MULTI = 1, /* that thread accepts and hands connections to num_io_threads reactors */
} hs_reactor_mode_t;

/* Where handlers run. */
typedef enum {
    HS_DISPATCH_AUTO = 0,   /* on the reactor; those that turn out slow go to the workers */
    HS_DISPATCH_INLINE = 1, /* on the reactor */
    HS_DISPATCH_WORKER = 2, /* on the workers */
} hs_dispatch_mode_t;

typedef enum {
    HS_LOG_DEBUG = 0,
    HS_LOG_INFO = 1,
    HS_LOG_WARN = 2,
    HS_LOG_ERROR = 3,
    HS_LOG_FATAL = 4,
    HS_LOG_OFF = 5, /* nothing is written */
} hs_log_level_t;

/* What hs_server_run tells its owner while it runs. */
typedef enum {
    HS_EVENT_READY,    /* connections are being accepted */
    HS_EVENT_ORPHANED, /* control_fd reached its end: the supervisor is gone and the server began to
                          drain */
    HS_EVENT_CUT, /* the time of hs_server_drain was over before everything was answered, and what
                     was left has been cut. Told once, before hs_server_run returns */
    HS_EVENT_PREPARED,     /* hs_server_prepare has loaded everything. Called on another thread, as
                              is the next one */
    HS_EVENT_NOT_PREPARED, /* it has not: hs_server_problem says why */
    HS_EVENT_STUCK, /* a handler has kept a reactor for twice handler_timeout_ms: nobody is served
                       by it. Called on another thread, again and again while it lasts */
} hs_event_t;

/* What is written about every request. */
typedef enum {
    HS_ACCESS_OFF,
    HS_ACCESS_JSON,     /* JSON lines as pino writes them */
    HS_ACCESS_COMBINED, /* as Apache and nginx write them */
} hs_access_format_t;

/* The field in which proxies say whom they forward for: hs_req_trusted_peer. */
typedef enum {
    HS_FORWARDED_X_FORWARDED_FOR = 0,
    HS_FORWARDED_RFC7239 = 1, /* Forwarded */
} hs_forwarded_field_t;

/* Answers one request. `request` and `response` are valid until it returns, or, after
 * hs_res_defer, until hs_res_send or hs_res_fail. */
typedef void (*hs_handler_fn)(hs_request_t *request, hs_response_t *response, void *user_data);

/* A response that is finished after its handler has returned: hs_res_defer. Never 0. */
typedef uint64_t hs_deferred_t;

/* Why nobody will read the rest of a response. */
typedef enum {
    HS_ABORT_SHUT = 1, /* the client has shut its sending side. It may still read, so this is only
                          a hint; most clients that do so have gone */
    HS_ABORT_LOST,     /* the connection is lost: reset, timed out, or the server stops */
    HS_ABORT_TIMEOUT,  /* handler_timeout_ms is over: the client was sent 503 */
} hs_abort_reason_t;

/* What on_content returns. */
typedef enum {
    HS_CONTENT_CONTINUE = 0,
    HS_CONTENT_PAUSE = 1, /* no more until hs_req_resume; the client is slowed down */
} hs_content_next_t;

typedef void (*hs_drain_fn)(hs_deferred_t job, void *user_data);
typedef void (*hs_abort_fn)(hs_deferred_t job, hs_abort_reason_t reason, void *user_data);
typedef hs_content_next_t (*hs_content_fn)(hs_deferred_t job, const char *data, size_t length,
                                           bool is_last, void *user_data);
typedef void (*hs_end_fn)(void *user_data);
typedef void (*hs_release_fn)(void *user_data);

/*
 * What is called for a deferred response, on its reactor's thread, where nothing may block. Each
 * may be NULL. None is called before the handler has deferred; where that is on a worker, one may
 * be called before hs_res_defer has returned. None is called for a response that was not deferred.
 */
typedef struct hs_callbacks {
    hs_drain_fn on_drain;     /* after hs_res_write has returned HS_WRITE_WAIT: go on */
    hs_abort_fn on_abort;     /* HS_ABORT_SHUT at most once, then one of the others at most once */
    hs_content_fn on_content; /* with stream_content: content as it arrives; the last piece may be
                                 empty, and is for a request without content */
    hs_end_fn on_end; /* the last call, once: the job is over, user_data is needed no more */
    void *user_data;
} hs_callbacks_t;

/* Called on the server's thread unless the event says otherwise; must not block. */
typedef void (*hs_event_fn)(hs_event_t event, void *user_data);

/*
 * Filled by hs_config_init, changed by the caller, copied by hs_server_new (strings too).
 * A timeout of 0 means that there is none.
 */
typedef struct hs_config {
    int listen_flags;       /* hs_listen_flags_t or-ed; default HS_LISTEN_TCP */
    const char *host;       /* address or name to bind, default "127.0.0.1" */
    uint16_t port;          /* default 8080; 0 lets the system choose: see hs_server_port */
    int backlog;            /* listen(2) backlog, default 1024 */
    const int *listen_fds;  /* HS_LISTEN_FDS: listening, non-blocking; the server owns and closes
                               them,  also when it cannot be made */
    size_t listen_fd_count; /* number of listen_fds, default 0 */
    const char *uds_path;   /* HS_LISTEN_UDS: made by hs_server_new, removed by hs_server_free */
    unsigned uds_mode;      /* its permissions, default 0660 */
    const char *trusted_proxies; /* addresses and networks (10.0.0.0/8, 2001:db8::/32), loopback,
                                    link-local, private, or unix for peers of Unix sockets, with
                                    commas or spaces between; at most 128. Default NULL: none. See
                                    hs_req_trusted_peer */
    hs_forwarded_field_t forwarded_field; /* which the trusted proxies write; the other one is not
                                             read. Default HS_FORWARDED_X_FORWARDED_FOR */
    bool proxy_protocol; /* every connection begins with a header of the PROXY protocol, version
                            1 or 2, which says who its peer is; one without it, or, if there are
                            trusted_proxies, from another address, is closed. Default false */
    int control_fd;      /* its end means that the supervisor died; owned likewise; default -1 */

    hs_reactor_mode_t reactor_mode; /* default HS_REACTOR_SINGLE */
    int num_io_threads;             /* reactors of HS_REACTOR_MULTI; 0 (default): one a processor */
    int num_threads; /* workers a reactor, started when first needed; 0 (default): one a processor;
                        -1: none, whatever `dispatch` says */
    hs_dispatch_mode_t dispatch; /* default HS_DISPATCH_AUTO */
    int work_queue_cap; /* requests that may wait for a worker, a reactor, a power of two, default
                           4096; 503 beyond */

    int conn_pool_cap; /* connections open at the same time, a reactor, default 1024; more get 503
                        */
    size_t ring_size; /* receive ring in bytes, a power of two ≥ 64, default 8192; a head must fit
                         it */
    size_t max_body_size;       /* bytes, default 4 MiB; 413 beyond */
    size_t max_body_memory;     /* bytes of all request content that a reactor holds, default
                                   256 MiB; 503 beyond. 0: no limit */
    size_t max_url_len;         /* bytes, default 8192; 414 beyond */
    int max_headers;            /* fields in a request, default 64; 431 beyond */
    uint32_t header_timeout_ms; /* first byte to end of the head, default 10 000; 408 */
    uint32_t body_timeout_ms;   /* end of the head to end of the body, default 30 000; 408 */
    uint32_t body_min_rate; /* bytes of the body a second, on average, after the first 10 s; default
                               1024; 408; 0: any */
    uint32_t keepalive_timeout_ms; /* idle between requests, default 75 000; closed */
    uint32_t
        write_timeout_ms;    /* without progress while an answer is sent, default 30 000; closed */
    uint32_t write_min_rate; /* bytes of a response that a client takes per second, on average,
                                after the first 10 s; default 256; closed; 0: any */
    uint32_t handler_timeout_ms; /* a handler on a worker, or a deferred response's head, its time
                                    in the queue included, default 30 000; 503. One on the reactor
                                    is only reported */
    uint32_t stop_wait_ms; /* how long hs_server_free waits for workers that run a handler (not at
                              all past handler_timeout_ms); then they are left behind, with the
                              memory that they use. Default UINT32_MAX: until they return */

    hs_handler_fn handler;  /* C handler; unused when lua_script is set */
    void *handler_ud;       /* given to handler; the caller keeps it alive */
    bool stream_content;    /* call a C handler (or a module's) at the end of the head and give it
                               content by on_content; default false: when all content is there.
                               Such handlers run on the reactor, whatever `dispatch` says */
    const char *lua_script; /* path of a file that defines handle(req, res), run instead of handler;
                               default NULL */
    const char *lua_root;   /* directory that holds the moonring Lua modules; default NULL: those
                               that were compiled in */
    size_t lua_memory_cap; /* bytes, a Lua state, default 256 MiB; "not enough memory" beyond, which
                              is a 500. 0: no limit */
    uint32_t max_generations;  /* of a Lua handler whose responses may still be sent after switches
                                  (hs_server_switch), default 3; older ones are cut */
    const char *module_path;   /* shared object with the handler, run instead of both; default NULL:
                                  see HS_HANDLER_MODULE */
    const char *module_symbol; /* its handler; default NULL: "hs_handler" */

    hs_log_level_t log_level; /* default HS_LOG_INFO */
    int log_json_fd; /* ≥ 0: JSON lines to this descriptor; -1 (default): text to standard error */
    int reactor_index;    /* written into JSON log lines; -1 (default) leaves it out */
    hs_event_fn on_event; /* default NULL */
    void *on_event_ud;

    hs_access_format_t access_log; /* default HS_ACCESS_OFF */
    const char *access_log_path;   /* appended to; default NULL: access_log_fd */
    int access_log_fd;             /* borrowed; default 1: standard output */
    int pin_cpu; /* run on the n-th processor that this process may use; default -1: on any */

    /* For a supervisor (httpserver_supervise.h). Descriptors are owned by the server, also when it
     * cannot be made. */
    int inbox_fd;        /* connections come and go through it; default -1: none */
    int app_fd;          /* the handler's files as they were accepted (hs_accept_lua,
                            hs_accept_module); default -1: read now */
    int stats_fd;        /* a stats page; default -1: none */
    uint32_t stats_slot; /* which part of it is this server's: default 0, 0 */
    uint32_t stats_side;
    uint64_t generation; /* of the handler, shown in stats and access log; default 0 */
} hs_config_t;

/* Sets every field to its default. */
void hs_config_init(hs_config_t *config);

/*
 * Makes a server: opens the listeners, loads the handler. NULL on failure, and `error` (may be
 * NULL, room for `error_size` bytes) then says in one sentence what failed; a Lua error names file
 * and line. `error_code` (may be NULL) gets 0, or a negative number: -1 memory, -2 system call, -3
 * invalid configuration, -6 handler.
 */
hs_server_t *hs_server_create(const hs_config_t *config, int *error_code, char *error,
                              size_t error_size);

/* hs_server_create with the error written to standard error. */
hs_server_t *hs_server_new(const hs_config_t *config);

/*
 * Serves until stopped or drained. 0 at the end, negative if the event loop failed. One call per
 * server. With a Lua handler the calling thread should have HS_STACK_BYTES of stack: with less, Lua
 * code raises "C stack overflow" earlier, and with less than 8 MiB a message handler that raises
 * errors itself can still reach the end of the stack, which ends the process.
 */
int hs_server_run(hs_server_t *server);

/* Ends hs_server_run at once: open connections are closed. Any thread, any time, signal handlers
 * too. */
void hs_server_stop(hs_server_t *server);

/*
 * Ends hs_server_run gracefully: stops accepting, closes idle connections, answers what is in
 * flight with `Connection: close`, and after `timeout_ms` closes the rest. Any thread, signal
 * handlers too.
 */
void hs_server_drain(hs_server_t *server, uint32_t timeout_ms);

/*
 * Ends hs_server_run without closing a connection: stops accepting, and hands every connection to
 * the supervisor's boss (inbox_fd) as soon as nothing of it is in flight; whoever takes its place
 * goes on with it. After `timeout_ms` the rest is closed. Without an inbox the same as
 * hs_server_drain. Any thread, signal handlers too.
 */
void hs_server_hand_over(hs_server_t *server, uint32_t timeout_ms);

/*
 * Loads the next generation of a handler in Lua beside the one that serves, on a thread of its own.
 * HS_EVENT_PREPARED or HS_EVENT_NOT_PREPARED follows, and nothing has changed until
 * hs_server_switch. `app_fd`: hs_config_t.app_fd, taken over whatever happens; -1: the files as
 * they are now. 0, or negative with the reason in `error`: the handler is not in Lua, or an earlier
 * load does not end.
 *
 * These calls, hs_server_switch, hs_server_discard and hs_server_problem are for one thread at a
 * time.
 */
int hs_server_prepare(hs_server_t *server, int app_fd, char *error, size_t error_size);

/* Every thread goes over to what was prepared before its next request; requests that are being
 * handled end as they began. `generation`: hs_config_t.generation from now on, not 0. 0, or
 * negative if nothing is prepared. */
int hs_server_switch(hs_server_t *server, uint64_t generation);

/* Forgets what was, or is being, prepared. */
void hs_server_discard(hs_server_t *server);

/* Why the last hs_server_prepare failed: after HS_EVENT_NOT_PREPARED. */
const char *hs_server_problem(const hs_server_t *server);

/* Opens the access log's file anew, after it was moved away. Any thread, signal handlers too. */
void hs_server_reopen_logs(hs_server_t *server);

/* Frees a server that is not running. NULL is allowed. */
void hs_server_free(hs_server_t *server);

/* The TCP port of the first listener, 0 if it has none. */
uint16_t hs_server_port(const hs_server_t *server);

/* Checks that a Lua handler loads, in a state of its own. 0, or as hs_server_create. */
int hs_check_lua(const char *lua_script, const char *lua_root, char *error, size_t error_size);

/* Checks that a shared object has a handler for this server; runs nothing of it. As above. */
int hs_check_module(const char *module_path, const char *module_symbol, char *error,
                    size_t error_size);

/* Versions of the linked libraries, static strings. */
const char *hs_llhttp_version(void);
const char *hs_luajit_version(void);

/* The jemalloc version that malloc belongs to in this process, or "system". A static string. */
const char *hs_allocator(void);

/*
 * False if calls to llhttp or zlib lead out of the binary that holds this library, as they would
 * inside a program that exports its own: its structs may have another layout, and nothing here may
 * be used.
 */
bool hs_self_check(void);

/*
 * The request. Strings are NUL-terminated, belong to the server and are valid until the handler
 * returns; those that were asked for after hs_res_defer until the response is ended.
 */
int hs_req_method(const hs_request_t *request);             /* llhttp's method number */
const char *hs_req_method_str(const hs_request_t *request); /* "GET" */
const char *hs_req_url(const hs_request_t *request); /* request target as sent, RFC 9112 §3.2 */
const char *hs_req_http_version(const hs_request_t *request); /* "1.0" or "1.1" */

/* An id that no other request of this machine has, the one in the access log. */
const char *hs_req_id(const hs_request_t *request);

/* Value of the first field with this name (any case), NULL if there is none. */
const char *hs_req_header(const hs_request_t *request, const char *name);

/* Content, decoded if it was chunked; never NULL. Not NUL-terminated: `length` (may be NULL) gets
 * its size. */
const char *hs_req_body(const hs_request_t *request, size_t *length);

/* As their namesakes, with the length (`length` may be NULL). */
const char *hs_req_url_n(const hs_request_t *request, size_t *length);
const char *hs_req_header_n(const hs_request_t *request, const char *name, size_t *length);

/* The path of the target: without its query, and without scheme and authority if it has them.
 * Not NUL-terminated. */
const char *hs_req_path(const hs_request_t *request, size_t *length);

/* What follows the first `?` of the target; "" if nothing does. */
const char *hs_req_query(const hs_request_t *request, size_t *length);

/* Fields in the order in which they were sent. False: there is no field number `index`. */
size_t hs_req_header_count(const hs_request_t *request);
bool hs_req_header_at(const hs_request_t *request, size_t index, const char **name,
                      const char **value);

/* The numeric address of the client, "" on a Unix socket, and its port (0 there). */
const char *hs_req_peer_address(const hs_request_t *request);
uint16_t hs_req_peer_port(const hs_request_t *request);

/*
 * The numeric address of the client that trusted proxies (trusted_proxies) forward this request
 * for: the last one in the forwarded_field that is not a trusted proxy's itself, read from the end
 * and with the peer as the last. At most 32 proxies are gone through. It is hs_req_peer_address
 * unless the peer is a trusted proxy; it is that of the last known proxy where the list ends, or
 * says `unknown`, an obfuscated name or what is no address; "" for a peer without address. Computed
 * at each call.
 */
const char *hs_req_trusted_peer(const hs_request_t *request);

/* True if the handler runs on a worker, where it may take its time. */
bool hs_req_in_worker(const hs_request_t *request);

/* What the handler of this thread was given as user_data: handler_ud, or what hs_handler_init made.
 */
void *hs_req_user_data(const hs_request_t *request);

/*
 * The response. Calls return 0, or a negative number and change nothing:
 *   -1 out of memory (the client gets 500) · -3 invalid argument · -4 already sent · -5 over a
 * limit. The server itself writes Date, Content-Length, Connection and Transfer-Encoding.
 */
int hs_res_status(hs_response_t *response, int status); /* 200 to 599, default 200 */

/*
 * Adds a field; repeats are kept. Names are tokens, values have no CR, LF, NUL (RFC 9110 §5.5).
 * `Connection: close` closes the connection after the answer; other values of the fields that the
 * server writes are refused.
 */
int hs_res_header(hs_response_t *response, const char *name, const char *value);

/* Replaces the content; the bytes are copied. The last of hs_res_body, hs_res_body_pinned and
 * hs_res_file counts. */
int hs_res_body(hs_response_t *response, const char *data, size_t length);
int hs_res_body_str(hs_response_t *response, const char *text);

/* Replaces the content with memory that stays as it is until `release` is called with `user_data`:
 * once, on the reactor's thread, when the content was sent or is needed no longer; or on the thread
 * that replaces the content, when it does. After an error it is not called. */
int hs_res_body_pinned(hs_response_t *response, const char *data, size_t length,
                       hs_release_fn release, void *user_data);

/* Replaces the content with `length` bytes of the file `fd` from `offset` on, which are sent by
 * sendfile(2). The server closes `fd`, unless this fails. A file that turns out to be shorter
 * closes the connection. */
int hs_res_file(hs_response_t *response, int fd, uint64_t offset, uint64_t length);

/* Marks the response as complete. Without it the server sends what was built, or 500 if nothing
 * was. Ends a deferred or streamed response: request and response are over. */
int hs_res_send(hs_response_t *response);

/*
 * Streaming. The first hs_res_write ends the head: status and fields can no longer be set. Without
 * hs_res_content_length the content is sent in chunks, or to the end of the connection if the
 * client speaks HTTP/1.0. A write takes all of it and returns HS_WRITE_CONTINUE   · HS_WRITE_WAIT:
 * more than enough waits to be sent, go on at on_drain · -7 the client is gone · or as above.
 */
enum {
    HS_WRITE_CONTINUE = 0,
    HS_WRITE_WAIT = 1,
};

int hs_res_content_length(hs_response_t *response, uint64_t length);
int hs_res_write(hs_response_t *response, const char *data, size_t length);

/* Ends a streamed response whose content is not complete: the connection is closed, so that the
 * client notices (one that speaks HTTP/1.0 and was given no length cannot). Before the first write:
 * 500. */
int hs_res_fail(hs_response_t *response);

/*
 * Finishes the response later, from any thread: the handler returns, and request and response
 * belong to whichever thread of the program uses them, one at a time, until hs_res_send or
 * hs_res_fail, which must come once, also for a client that is gone. Only while the handler runs.
 * 0: not possible (no handler runs).
 *
 * The callbacks are set before: hs_res_callbacks. They run on the reactor's thread, at the same
 * time as a thread of the program's that has the response.
 */
hs_deferred_t hs_res_defer(hs_response_t *response);

/* Only while the handler runs. 0, or -4. */
int hs_res_callbacks(hs_response_t *response, const hs_callbacks_t *callbacks);

/* The request and response of a deferred job; NULL once it is over. Any thread. */
hs_request_t *hs_deferred_request(hs_deferred_t job);
hs_response_t *hs_deferred_response(hs_deferred_t job);

/* Why the client is gone, 0 if it is not. Any thread. */
int hs_deferred_aborted(hs_deferred_t job);

/* More content is wanted, after HS_CONTENT_PAUSE. Any thread. 0, -1, or -4 if it is over. */
int hs_req_resume(hs_deferred_t job);

/*
 * A log for the whole process, which handlers share with the server: hs_log(HS_LOG_INFO, "...").
 * Any thread. These calls are the one thing here that does not belong to a server.
 */
typedef struct hs_log_event {
    hs_log_level_t level;
    const char *file; /* "" for a message of the server itself */
    int line;
    const char *msg;    /* without newline, valid until the callback returns */
    struct timespec ts; /* real time */
    unsigned long tid;  /* the system's number of the thread */
} hs_log_event_t;

typedef void (*hs_log_cb)(const hs_log_event_t *event, void *user_data);

/*
 * Sends messages to `callback`, on the thread that logs and on several at once; NULL: text to
 * standard error, as at first, or JSON lines to the log_json_fd of the server that was made last.
 * Servers whose log_json_fd is -1 log here too, what their log_level lets through.
 */
void hs_log_register(hs_log_cb callback, void *user_data);

/* The least important messages that are written; at first HS_LOG_INFO, or the log_level of the
 * server whose log_json_fd is set. */
void hs_log_set_level(hs_log_level_t level);

/* A callback for hs_log_register that writes JSON lines; `user_data` is a const int *, the
 * descriptor. */
void hs_log_json_callback(const hs_log_event_t *event, void *user_data);

#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
void hs_log_impl(hs_log_level_t level, const char *file, int line, const char *format, ...);

#define hs_log(level, ...) hs_log_impl((level), __FILE__, __LINE__, __VA_ARGS__)

/*
 * Handlers in a shared object, for a server that loads them. The object calls the functions above
 * and finds them in the program that has loaded it. It contains, once, at file scope:
 *
 *     HS_HANDLER_MODULE
 *     void hs_handler(hs_request_t *request, hs_response_t *response, void *user_data) { … }
 *
 * and, if each thread that runs the handler is to have something of its own, both of
 *
 *     int hs_handler_init(void **user_data) { … }   // 0, or the thread has no handler
 *     void hs_handler_exit(void *user_data) { … }
 *
 * A worker calls them itself. For an I/O thread they are called by the thread that creates and
 * frees the server, so that a failure is an error of hs_server_create: keep what a thread owns
 * behind `user_data`, not in thread-local variables.
 */
/* Version 2 added what is finished later (hs_res_defer). Objects built for version 1 load. */
#define HS_HANDLER_ABI_VERSION 2

#if defined(__GNUC__)
#define HS_HANDLER_EXPORT __attribute__((visibility("default")))
#else
#define HS_HANDLER_EXPORT
#endif

#ifdef __cplusplus
#define HS_HANDLER_LINKAGE extern "C" HS_HANDLER_EXPORT
#else
#define HS_HANDLER_LINKAGE HS_HANDLER_EXPORT
#endif

#define HS_HANDLER_MODULE                                                                          \
    HS_HANDLER_LINKAGE const unsigned hs_handler_abi_version = HS_HANDLER_ABI_VERSION;             \
    HS_HANDLER_LINKAGE void hs_handler(hs_request_t *, hs_response_t *, void *);                   \
    HS_HANDLER_LINKAGE int hs_handler_init(void **);                                               \
    HS_HANDLER_LINKAGE void hs_handler_exit(void *);

/* Beside it, at file scope: the handler is called at the end of the head, as with
 * config.stream_content. */
#define HS_HANDLER_STREAMS_CONTENT HS_HANDLER_LINKAGE const unsigned hs_handler_streams_content = 1;

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
