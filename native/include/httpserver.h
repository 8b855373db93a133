/*
 * libhttpserver: an HTTP/1.1 server in a library. One server runs one reactor: a thread that
 * accepts connections, parses requests and runs a C or Lua handler for each.
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
 * which any thread or signal handler may call. Handlers run on the thread that called
 * hs_server_run.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HS_VERSION "0.1.0"

typedef struct hs_server hs_server_t;
typedef struct hs_request hs_request_t;
typedef struct hs_response hs_response_t;

/* Where a server listens. */
typedef enum {
    HS_LISTEN_TCP = 1, /* host:port */
    HS_LISTEN_FDS = 4, /* descriptors made by somebody else: listen_fds */
} hs_listen_flags_t;

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
} hs_event_t;

/* Answers one request. Runs on the server's thread. `request` and `response` are valid until it
 * returns. */
typedef void (*hs_handler_fn)(hs_request_t *request, hs_response_t *response, void *user_data);

/* Called on the server's thread, must not block. */
typedef void (*hs_event_fn)(hs_event_t event, void *user_data);

/*
 * Filled by hs_config_init, changed by the caller, copied by hs_server_new (strings too).
 * A timeout of 0 means that there is none.
 */
typedef struct hs_config {
    int listen_flags; /* hs_listen_flags_t or-ed; default HS_LISTEN_TCP */
    const char *host; /* address or name to bind, default "127.0.0.1" */
    uint16_t port;    /* default 8080; 0 lets the system choose: see hs_server_port */
    int backlog;      /* listen(2) backlog, default 1024 */
    const int
        *listen_fds; /* HS_LISTEN_FDS: listening, non-blocking; the server owns and closes them */
    size_t listen_fd_count; /* number of listen_fds, default 0 */
    int control_fd; /* its end means that the supervisor died; owned by the server; default -1 */

    int conn_pool_cap; /* connections open at the same time, default 1024; more get 503 */
    size_t ring_size; /* receive ring in bytes, a power of two ≥ 64, default 8192; a head must fit
                         it */
    size_t max_body_size;       /* bytes, default 4 MiB; 413 beyond */
    size_t max_url_len;         /* bytes, default 8192; 414 beyond */
    int max_headers;            /* fields in a request, default 64; 431 beyond */
    uint32_t header_timeout_ms; /* first byte to end of the head, default 10 000; 408 */
    uint32_t body_timeout_ms;   /* end of the head to end of the body, default 30 000; 408 */
    uint32_t body_min_rate; /* bytes of the body a second, on average, after the first 10 s; default
                               1024; 408; 0: any */
    uint32_t keepalive_timeout_ms; /* idle between requests, default 75 000; closed */
    uint32_t
        write_timeout_ms; /* without progress while an answer is sent, default 30 000; closed */

    hs_handler_fn handler;  /* C handler; unused when lua_script is set */
    void *handler_ud;       /* given to handler; the caller keeps it alive */
    const char *lua_script; /* path of a file that defines handle(req, res); default NULL */
    const char *lua_root;   /* directory that holds the moonring Lua modules */

    hs_log_level_t log_level; /* default HS_LOG_INFO */
    int log_json_fd; /* ≥ 0: JSON lines to this descriptor; -1 (default): text to standard error */
    int reactor_index;    /* written into JSON log lines; -1 (default) leaves it out */
    hs_event_fn on_event; /* default NULL */
    void *on_event_ud;
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

/* Serves until stopped or drained. 0 at the end, negative if the event loop failed. One call per
 * server. */
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

/* Frees a server that is not running. NULL is allowed. */
void hs_server_free(hs_server_t *server);

/* The TCP port of the first listener, 0 if it has none. */
uint16_t hs_server_port(const hs_server_t *server);

/* Checks that a Lua handler loads, in a state of its own. 0, or as hs_server_create. */
int hs_check_lua(const char *lua_script, const char *lua_root, char *error, size_t error_size);

/* Versions of the linked libraries, static strings. */
const char *hs_llhttp_version(void);
const char *hs_luajit_version(void);

/* The jemalloc version that malloc belongs to in this process, or "system". A static string. */
const char *hs_allocator(void);

/*
 * False if calls to llhttp lead out of the binary that holds this library, as they would inside a
 * program that exports its own llhttp: its structs may have another layout, and nothing here may be
 * used.
 */
bool hs_self_check(void);

/*
 * The request. Strings are NUL-terminated, belong to the server and are valid until the handler
 * returns.
 */
int hs_req_method(const hs_request_t *request);             /* llhttp's method number */
const char *hs_req_method_str(const hs_request_t *request); /* "GET" */
const char *hs_req_url(const hs_request_t *request); /* request target as sent, RFC 9112 §3.2 */
const char *hs_req_http_version(const hs_request_t *request); /* "1.0" or "1.1" */

/* Value of the first field with this name (any case), NULL if there is none. */
const char *hs_req_header(const hs_request_t *request, const char *name);

/* Content, decoded if it was chunked; never NULL. Not NUL-terminated: `length` (may be NULL) gets
 * its size. */
const char *hs_req_body(const hs_request_t *request, size_t *length);

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

/* Replaces the content; the bytes are copied. */
int hs_res_body(hs_response_t *response, const char *data, size_t length);
int hs_res_body_str(hs_response_t *response, const char *text);

/* Marks the response as complete. Without it the server sends what was built, or 500 if nothing
 * was. */
int hs_res_send(hs_response_t *response);

#ifdef __cplusplus
}
#endif
