/*
 * libhttpserver: an HTTP/1.1 server in a library. A server runs one or more reactors: threads that
 * accept connections, parse requests and run a C or Lua handler for each, themselves or on worker
 * threads.
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

/* Stack size of the threads that the server starts: room for recursion of Lua through C. */
#define HS_STACK_BYTES ((size_t)16 * 1024 * 1024)

typedef struct hs_server hs_server_t;
typedef struct hs_request hs_request_t;
typedef struct hs_response hs_response_t;

/* Where a server listens. */
typedef enum {
    HS_LISTEN_TCP = 1, /* host:port */
    HS_LISTEN_UDS = 2, /* a Unix socket: uds_path */
    HS_LISTEN_FDS = 4, /* descriptors opened elsewhere: listen_fds */
} hs_listen_flags_t;

typedef enum {
    HS_REACTOR_SINGLE = 0, /* one reactor, on the thread that calls hs_server_run */
    HS_REACTOR_MULTI = 1, /* that thread accepts and hands connections to num_io_threads reactors */
} hs_reactor_mode_t;

/* Where handlers run. */
typedef enum {
    HS_DISPATCH_AUTO = 0,   /* on the reactor; slow ones move to the workers */
    HS_DISPATCH_INLINE = 1, /* on the reactor */
    HS_DISPATCH_WORKER = 2, /* on the workers */
} hs_dispatch_mode_t;

/* Whether WebSocket messages are compressed (permessage-deflate) if the client offers it. */
typedef enum hs_ws_compress {
    HS_WS_COMPRESS_OFF = 0,
    HS_WS_COMPRESS_ON = 1,       /* each separately */
    HS_WS_COMPRESS_TAKEOVER = 2, /* using earlier messages: shorter, up to 100 KiB per socket */
} hs_ws_compress_t;

typedef enum {
    HS_LOG_DEBUG = 0,
    HS_LOG_INFO = 1,
    HS_LOG_WARN = 2,
    HS_LOG_ERROR = 3,
    HS_LOG_FATAL = 4,
    HS_LOG_OFF = 5, /* nothing is written */
} hs_log_level_t;

/* Events that hs_server_run reports while it runs. */
typedef enum {
    HS_EVENT_READY,    /* connections are being accepted */
    HS_EVENT_ORPHANED, /* end-of-file on control_fd: the supervisor is gone and the server has begun
                          to drain */
    HS_EVENT_CUT, /* the time of hs_server_drain ran out, and the remaining connections were cut.
                     Reported once, before hs_server_run returns */
    HS_EVENT_PREPARED,     /* hs_server_prepare has loaded everything. Called on another thread,
                              like the next one */
    HS_EVENT_NOT_PREPARED, /* it failed: hs_server_problem says why */
    HS_EVENT_STUCK, /* a handler has occupied a reactor for twice handler_timeout_ms: it serves no
                       one. Called on another thread, repeatedly while it lasts */
    HS_EVENT_MEMORY_HIGH,  /* the process uses four fifths of memory_limit: it should be replaced.
                              Called on another thread, once per second while it lasts */
    HS_EVENT_MEMORY_LIMIT, /* it reached memory_limit. Called in the same way */
} hs_event_t;

/* The format of the access log. */
typedef enum {
    HS_ACCESS_OFF,
    HS_ACCESS_JSON,     /* JSON lines in pino's format */
    HS_ACCESS_COMBINED, /* the format of Apache and nginx */
} hs_access_format_t;

/* The field in which proxies name the client: hs_req_trusted_peer. */
typedef enum {
    HS_FORWARDED_X_FORWARDED_FOR = 0,
    HS_FORWARDED_RFC7239 = 1, /* Forwarded */
} hs_forwarded_field_t;

/* A certificate of the server: paths of files in PEM. */
typedef struct hs_tls_certificate {
    const char *certificate; /* followed by its chain */
    const char *key;         /* not encrypted */
    const char *ocsp;        /* an OCSP response in DER to staple; NULL: none */
} hs_tls_certificate_t;

/*
 * The TLS configuration. A client gets the first certificate for the name it requests, exact or
 * wildcard, with an RSA key or another kind as it supports; without a known name, the first one. At
 * most 64.
 */
typedef struct hs_tls_options {
    const hs_tls_certificate_t *certificates;
    size_t certificate_count;
    const char *client_ca; /* file of authorities: clients are asked for a certificate from one of
                              them. NULL: they are not asked */
    bool requires_client;  /* clients without a certificate are refused */
} hs_tls_options_t;

/* The TLS connection of a request: hs_req_tls. "": not present. */
typedef struct hs_tls_peer {
    const char *version;        /* "TLSv1.3" */
    const char *cipher;         /* "TLS_AES_128_GCM_SHA256" */
    const char *server_name;    /* requested by the client */
    const char *client_subject; /* of its certificate, as in RFC 2253; at most 512 bytes */
    const char *client_issuer;
    const char *client_serial;      /* hexadecimal */
    const char *client_fingerprint; /* SHA-256, hexadecimal */
    bool is_resumed;                /* the session was resumed from an earlier connection */
} hs_tls_peer_t;

/* Answers one request. `request` and `response` are valid until it returns, or, after
 * hs_res_defer, until hs_res_send or hs_res_fail. */
typedef void (*hs_handler_fn)(hs_request_t *request, hs_response_t *response, void *user_data);

/* A response that is finished after its handler returned: hs_res_defer. Never 0. */
typedef uint64_t hs_deferred_t;

/* Why the rest of a response will not be read. */
typedef enum {
    HS_ABORT_SHUT = 1, /* the client shut down its sending side. It may still read, so this is only
                          a hint; most such clients are gone */
    HS_ABORT_LOST,     /* the connection is lost: reset, timed out, or the server stops */
    HS_ABORT_TIMEOUT,  /* handler_timeout_ms expired: the client was sent 503 */
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
 * Callbacks of a deferred response. They run on its reactor's thread, where nothing may block. Each
 * may be NULL. None is called before the handler has deferred; on a worker, one may be called
 * before hs_res_defer has returned. None is called for a response that was not deferred.
 */
typedef struct hs_callbacks {
    hs_drain_fn on_drain;     /* after hs_res_write has returned HS_WRITE_WAIT: go on */
    hs_abort_fn on_abort;     /* HS_ABORT_SHUT at most once, then one of the others at most once */
    hs_content_fn on_content; /* with stream_content: content as it arrives; the last piece may be
                                 empty, always if the request has no content */
    hs_end_fn on_end; /* the last call, once: the job is over, user_data is no longer used */
    void *user_data;
} hs_callbacks_t;

/* Memory that handlers in several processes find by name. */
typedef enum {
    HS_SHARED_DICTIONARY, /* hs_shared_t, in Lua moonring.shared(name) */
} hs_shared_kind_t;

typedef struct hs_shared_memory {
    hs_shared_kind_t kind;
    const char *name; /* 1 to HS_SHARED_NAME_MAX bytes, unique among its kind */
    size_t size;      /* bytes of new memory, which the server allocates if `fd` is -1 */
    int fd;           /* the memory of hs_shared_create, in this or another process; owned by the
                         server, even if creating it fails; -1: new memory */
} hs_shared_memory_t;

#define HS_SHARED_NAME_MAX 63

/* Called on the server's thread unless the event says otherwise; must not block. */
typedef void (*hs_event_fn)(hs_event_t event, void *user_data);

/* Which globals a Lua handler has besides moonring. */
typedef enum hs_lua_compat {
    HS_LUA_COMPAT_NONE,
    HS_LUA_COMPAT_NGX, /* OpenResty's global ngx; a file that defines no handle runs for each
                          request */
} hs_lua_compat_t;

/* Which connections are handed over when the process crashes or is killed (Linux). */
typedef enum hs_survive {
    HS_SURVIVE_OFF,
    HS_SURVIVE_IDLE, /* idle ones: nothing received, nothing to send */
    HS_SURVIVE_ALL,  /* all that can continue; a request whose handler was running gets 503 */
} hs_survive_t;

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
                               them, even if creating it fails */
    size_t listen_fd_count; /* number of listen_fds, default 0 */
    const char *uds_path;   /* HS_LISTEN_UDS: made by hs_server_new, removed by hs_server_free */
    unsigned uds_mode;      /* its permissions, default 0660 */
    const char *trusted_proxies; /* addresses and networks (10.0.0.0/8, 2001:db8::/32), loopback,
                                    link-local, private, or unix for peers of Unix sockets,
                                    separated by commas or spaces; at most 128. Default NULL: none.
                                    See hs_req_trusted_peer */
    hs_forwarded_field_t forwarded_field; /* the field that trusted proxies write; the other is not
                                             read. Default HS_FORWARDED_X_FORWARDED_FOR */
    const hs_tls_options_t *tls;          /* default NULL: no TLS. Read by hs_server_new only */
    int tls_port; /* the port for TLS, on `host` and on those listen_fds that have this port; 0 lets
                     the system choose: hs_server_tls_port. Default -1 */
    uint32_t tls_handshakes; /* handshakes per second, and burst, that each reactor allows an
                                address (for IPv6 a /64 network); more connections are closed.
                                Default 0: any number */
    bool tls_redirect;   /* requests on other TCP ports are redirected (308) to the same target on
                            tls_port, except /.well-known/acme-challenge/; default false */
    uint32_t tls_hsts_s; /* max-age of Strict-Transport-Security in responses over TLS that have no
                            such field; default 0: none */
    bool proxy_protocol; /* every connection begins with a PROXY protocol header, version 1 or 2,
                            that names its peer; connections without one, or, with trusted_proxies,
                            from other addresses, are closed. Default false */
    int control_fd;      /* end-of-file means that the supervisor died; owned likewise; default
                            -1 */

    hs_reactor_mode_t reactor_mode; /* default HS_REACTOR_SINGLE */
    int num_io_threads;             /* reactors of HS_REACTOR_MULTI; 0 (default): one per
                                       processor */
    int num_threads; /* workers per reactor, started when first needed; 0 (default): one per
                        processor; -1: none, whatever `dispatch` says */
    hs_dispatch_mode_t dispatch; /* default HS_DISPATCH_AUTO */
    int work_queue_cap; /* requests per reactor that may wait for a worker, a power of two, default
                           4096; 503 beyond */

    int conn_pool_cap; /* open connections per reactor, default 1024; more get 503 */
    size_t ring_size; /* receive ring in bytes, a power of two ≥ 64, default 8192; a head must fit
                         it */
    size_t max_body_size;       /* bytes, default 4 MiB; 413 beyond */
    size_t max_body_memory;     /* bytes of request content that a reactor holds in total, default
                                   256 MiB; 503 beyond. 0: no limit */
    size_t max_url_len;         /* bytes, default 8192; 414 beyond */
    int max_headers;            /* fields in a request, default 64; 431 beyond */
    uint32_t header_timeout_ms; /* first byte to end of the head, default 10 000; 408 */
    uint32_t body_timeout_ms;   /* end of the head to end of the body, default 30 000; 408 */
    uint32_t body_min_rate;     /* bytes of the body per second, on average, after the first 10 s;
                                   default 1024; 408; 0: any */
    uint32_t keepalive_timeout_ms; /* idle between requests, default 75 000; closed */
    uint32_t
        write_timeout_ms;    /* without progress while a response is sent, default 30 000; closed */
    uint32_t write_min_rate; /* bytes of a response that a client reads per second, on average,
                                after the first 10 s; default 256; closed; 0: any */
    size_t ws_max_message;   /* bytes of a WebSocket message, default 1 MiB; closed with 1009 */
    size_t ws_max_unsent;    /* bytes waiting for a slow client, default 1 MiB; a send beyond that
                                closes the socket */
    uint32_t ws_max_frames;  /* frames that a client may send per second, default 10 000; closed
                                with 1008; 0: any */
    uint32_t ws_ping_interval_ms; /* idle time before a ping; closed after the same time again;
                                     default 30 000; 0: none */
    hs_ws_compress_t ws_compress; /* default HS_WS_COMPRESS_OFF */
    const char *compress; /* content codings for responses, gzip and br separated by commas, in
                             order of preference; default NULL: none */
    const char *compress_types;  /* media types, type with * behind the slash, and +suffix, with
                                    commas between; default  NULL: text and what is like it */
    size_t compress_min_size;    /* bytes of content, default 1024 */
    int compress_gzip_level;     /* 1 to 9, default 6 */
    int compress_br_level;       /* 0 to 11, default 4 */
    uint32_t handler_timeout_ms; /* for a handler on a worker, or the head of a deferred response,
                                    including time in the queue, default 30 000; 503. A Lua handler
                                    that occupies the reactor is interrupted: 503 too. So is
                                    one on a worker that has begun its response and then neither
                                    writes nor waits for so long: closed */
    uint32_t stop_wait_ms; /* how long hs_server_free waits for workers that run a handler (not at
                              all past handler_timeout_ms); then they are abandoned, with the memory
                              they use. Default UINT32_MAX: until they return */

    hs_handler_fn handler;  /* C handler; unused when lua_script is set */
    void *handler_ud;       /* given to handler; the caller keeps it alive */
    bool stream_content;    /* call a C handler (or a module's) at the end of the head and pass
                               content to on_content; default false: call it when all content has
                               arrived. Such handlers run on the reactor, whatever `dispatch`
                               says */
    const char *lua_script; /* path of a file that defines handle(req, res), run instead of handler;
                               default NULL */
    const char *lua_root;   /* directory of the moonring Lua modules; default NULL: the built-in
                               ones */
    hs_lua_compat_t lua_compat; /* default HS_LUA_COMPAT_NONE */
    bool lua_error_pages;       /* responses to errors of the handler show file, line, traceback and
                                   request to the client: for development only; default false */
    size_t lua_memory_cap;      /* bytes per Lua state, default 256 MiB; "not enough memory" beyond,
                                   which is a 500. 0: no limit */
    uint64_t memory_limit; /* bytes of resident memory of the process (hs_memory_resident) at which
                              on_event is called, default 0: not checked */
    uint32_t max_generations;  /* generations of a Lua handler whose responses may still be sent
                                  after switches (hs_server_switch), default 3; older ones are
                                  cut */
    const char *module_path;   /* shared object with the handler, used instead of both; default
                                  NULL: see HS_HANDLER_MODULE */
    const char *module_symbol; /* its handler; default NULL: "hs_handler" */

    hs_log_level_t log_level; /* default HS_LOG_INFO */
    int log_json_fd; /* ≥ 0: JSON lines to this descriptor; -1 (default): text to standard error */
    int reactor_index;    /* written into JSON log lines; -1 (default) leaves it out */
    hs_event_fn on_event; /* default NULL */
    void *on_event_ud;

    const int *topics_fds; /* from hs_topics_fds (httpserver_supervise.h), owned by the server, even
                              if creating it fails; default NULL: its own topics. With stats_slot,
                              stats_side */
    size_t topics_fd_count;
    size_t topics_size;               /* of its own topics: bytes, a power of two, default 4 MiB */
    const hs_shared_memory_t *shared; /* memory that handlers find by name; default NULL: none */
    size_t shared_count;

    hs_access_format_t access_log; /* default HS_ACCESS_OFF */
    const char *access_log_path;   /* appended to; default NULL: access_log_fd */
    int access_log_fd;             /* borrowed; default 1: standard output */
    uint32_t trace_sample; /* writes request spans as JSON lines: for requests whose traceparent
                              field says so, and for one in this many without a trace; default 0:
                              none */
    int trace_fd;          /* destination of spans, borrowed; default 1: standard output */
    int pin_cpu; /* run on the n-th processor available to this process; default -1: on any */

    /* For a supervisor (httpserver_supervise.h). Descriptors are owned by the server, even if
     * creating it fails. */
    int inbox_fd;         /* passes connections in and out; default -1: none */
    hs_survive_t survive; /* which of them outlive the process; needs inbox_fd; default off */
    int tls_fd;           /* certificates stored by hs_store_tls, instead of `tls` */
    int app_fd;           /* the accepted files of the handler (hs_accept_lua, hs_accept_module);
                             default -1: read now */
    int stats_fd;         /* a stats page; default -1: none */
    uint32_t stats_slot;  /* this server's part of it: default 0, 0 */
    uint32_t stats_side;
    uint64_t generation; /* of the handler, shown in stats and access log; default 0 */
} hs_config_t;

/* Sets every field to its default. */
void hs_config_init(hs_config_t *config);

/*
 * Creates a server: opens the listeners, loads the handler. NULL on failure; `error` (may be NULL,
 * room for `error_size` bytes) then says in one sentence what failed; a Lua error names file and
 * line. `error_code` (may be NULL) gets 0, or a negative number: -1 memory, -2 system call, -3
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
 * Ends hs_server_run gracefully: stops accepting, closes idle connections, finishes requests in
 * flight with `Connection: close`, and after `timeout_ms` closes the rest. Any thread, signal
 * handlers too.
 */
void hs_server_drain(hs_server_t *server, uint32_t timeout_ms);

/*
 * Ends hs_server_run without closing a connection: stops accepting, and hands every connection to
 * the supervisor's boss (inbox_fd) as soon as nothing is in flight on it; another process continues
 * it. After `timeout_ms` the rest is closed. Without an inbox, the same as hs_server_drain. Any
 * thread, signal handlers too.
 */
void hs_server_hand_over(hs_server_t *server, uint32_t timeout_ms);

/*
 * Loads the next generation of a Lua handler beside the current one, on a separate thread.
 * HS_EVENT_PREPARED or HS_EVENT_NOT_PREPARED follows; nothing changes until hs_server_switch.
 * `app_fd`: hs_config_t.app_fd, always taken over; -1: the files as they are now. 0, or negative
 * with the reason in `error`: the handler is not in Lua, or an earlier load is still running.
 *
 * Only one thread at a time may call this, hs_server_switch, hs_server_discard and
 * hs_server_problem.
 */
int hs_server_prepare(hs_server_t *server, int app_fd, char *error, size_t error_size);

/* Every thread switches to the prepared handler before its next request; requests in progress
 * finish with the old one. `generation`: hs_config_t.generation from now on, not 0. 0, or negative
 * if nothing is prepared. */
int hs_server_switch(hs_server_t *server, uint64_t generation);

/* Discards what was, or is being, prepared. */
void hs_server_discard(hs_server_t *server);

/* Why the last hs_server_prepare failed: after HS_EVENT_NOT_PREPARED. */
const char *hs_server_problem(const hs_server_t *server);

/* Reopens the access log's file after it was renamed. Any thread, signal handlers too. */
void hs_server_reopen_logs(hs_server_t *server);

/* Frees a server that is not running. NULL is allowed. */
void hs_server_free(hs_server_t *server);

/* The TCP port of the first listener, 0 if it has none. */
uint16_t hs_server_port(const hs_server_t *server);

/* The TLS port, 0 if there is none. */
uint16_t hs_server_tls_port(const hs_server_t *server);

/*
 * New connections use these certificates; open ones keep theirs. Sessions stay valid. 0, or
 * HS_ERR_INVALID and the like with the reason in `error`: then nothing changed. Any thread, one at
 * a time; reads files.
 */
int hs_server_set_tls(hs_server_t *server, const hs_tls_options_t *options, char *error,
                      size_t error_size);

/* Checks that a Lua handler loads, in a separate state. 0, or as hs_server_create. */
int hs_check_lua(const char *lua_script, const char *lua_root, char *error, size_t error_size);

/* Checks that a shared object has a handler for this server; runs nothing of it. As above. */
int hs_check_module(const char *module_path, const char *module_symbol, char *error,
                    size_t error_size);

/* Versions of the linked libraries, static strings. */
const char *hs_llhttp_version(void);
const char *hs_luajit_version(void);

/* Whether handler_timeout_ms can interrupt a loop compiled by LuaJIT: only if LuaJIT was built with
 * LUAJIT_ENABLE_CHECKHOOK. */
bool hs_luajit_interrupts_compiled(void);

/* Resident memory of this process in bytes, including shared memory. 0: unknown. */
uint64_t hs_memory_resident(void);

/* The jemalloc version that provides malloc in this process, or "system". A static string. */
const char *hs_allocator(void);

/*
 * False if calls to llhttp or zlib would leave the binary that contains this library, as in a
 * program that exports its own copies: their structs may have another layout, and this library must
 * not be used.
 */
bool hs_self_check(void);

/*
 * The request. Strings are NUL-terminated, belong to the server and are valid until the handler
 * returns; those obtained after hs_res_defer, until the response ends.
 */
int hs_req_method(const hs_request_t *request);             /* llhttp's method number */
const char *hs_req_method_str(const hs_request_t *request); /* "GET" */
const char *hs_req_url(const hs_request_t *request); /* request target as sent, RFC 9112 §3.2 */
const char *hs_req_http_version(const hs_request_t *request); /* "1.0" or "1.1" */

/* An id unique on this machine, the same as in the access log; "" when out of memory. */
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

/* What follows the first `?` of the target, or "". */
const char *hs_req_query(const hs_request_t *request, size_t *length);

/* Fields in the order sent. False: there is no field number `index`. */
size_t hs_req_header_count(const hs_request_t *request);
bool hs_req_header_at(const hs_request_t *request, size_t index, const char **name,
                      const char **value);

/* The numeric address of the client, "" on a Unix socket or when out of memory, and its port (0 on
 * a Unix socket). */
const char *hs_req_peer_address(const hs_request_t *request);
uint16_t hs_req_peer_port(const hs_request_t *request);

/*
 * The numeric address of the client for which trusted proxies (trusted_proxies) forward this
 * request: the last address in the forwarded_field, with the peer appended, that is not a trusted
 * proxy. At most 32 proxies are followed. It is hs_req_peer_address unless the peer is a trusted
 * proxy. If the list ends or contains `unknown`, an obfuscated name or no address, it is the last
 * known proxy; "" for a peer without address, or when out of memory. Computed at each call.
 */
const char *hs_req_trusted_peer(const hs_request_t *request);

/* "https" if the request came over TLS, to the server or, according to X-Forwarded-Proto or
 * Forwarded, to the trusted proxy that is its peer; else "http". */
const char *hs_req_scheme(const hs_request_t *request);

/* The TLS connection, NULL if it is plain. Valid as long as the request. */
const hs_tls_peer_t *hs_req_tls(const hs_request_t *request);

/* True if the handler runs on a worker, where it may take its time. */
bool hs_req_in_worker(const hs_request_t *request);

/* The user_data of this thread's handler: handler_ud, or the one set by hs_handler_init.
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
 * `Connection: close` closes the connection after the response; other values of fields that the
 * server writes are refused.
 */
int hs_res_header(hs_response_t *response, const char *name, const char *value);

/* Replaces the content; the bytes are copied. The last of hs_res_body, hs_res_body_pinned and
 * hs_res_file counts. */
int hs_res_body(hs_response_t *response, const char *data, size_t length);
int hs_res_body_str(hs_response_t *response, const char *text);

/* Replaces the content with memory that must not change until `release` is called with `user_data`:
 * once, on the reactor's thread, when the content was sent or is no longer needed; or on the thread
 * that replaces the content. After an error it is not called. */
int hs_res_body_pinned(hs_response_t *response, const char *data, size_t length,
                       hs_release_fn release, void *user_data);

/* Replaces the content with `length` bytes of the file `fd` from `offset` on, sent with
 * sendfile(2). The server closes `fd`, unless this fails. If the file turns out to be shorter, the
 * connection is closed. */
int hs_res_file(hs_response_t *response, int fd, uint64_t offset, uint64_t length);

/* Whether the server may compress the content (hs_config_t.compress): `false`: never, for content
 * that combines a secret with client data, or is already compressed; `true`: whatever its type and
 * size. Without a call, type and size decide. 0, or -4. */
int hs_res_compress(hs_response_t *response, bool compress);

/* Marks the response as complete. Without this call the server sends what was built, or 500 if
 * nothing was. Ends a deferred or streamed response: request and response are over. */
int hs_res_send(hs_response_t *response);

/*
 * Streaming. The first hs_res_write ends the head: status and fields can no longer be set. Without
 * hs_res_content_length the content is sent chunked, or up to the end of the connection to an
 * HTTP/1.0 client. A write takes all of it and returns HS_WRITE_CONTINUE   · HS_WRITE_WAIT: too
 * much is unsent, continue at on_drain · -7 the client is gone · or as above.
 */
enum {
    HS_WRITE_CONTINUE = 0,
    HS_WRITE_WAIT = 1,
};

int hs_res_content_length(hs_response_t *response, uint64_t length);
int hs_res_write(hs_response_t *response, const char *data, size_t length);

/* Sends what was written at once (the head, if nothing was), also if the server compresses it,
 * which otherwise waits for more. hs_callbacks_t.on_drain is called when little is unsent. 0, or as
 * hs_res_write. */
int hs_res_flush(hs_response_t *response);

/* Ends a streamed response whose content is incomplete: the connection is closed, so that the
 * client notices (an HTTP/1.0 client without a length cannot). Before the first write: 500. */
int hs_res_fail(hs_response_t *response);

/*
 * Finishes the response later, from any thread: the handler returns, and request and response
 * belong to the thread of the program that uses them, one at a time, until hs_res_send or
 * hs_res_fail, which must be called once, also if the client is gone. Only while the handler runs.
 * 0: not possible (no handler runs).
 *
 * Set the callbacks first: hs_res_callbacks. They run on the reactor's thread, possibly while a
 * thread of the program uses the response.
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
 * A WebSocket (RFC 6455): the handler accepts the request with hs_ws_accept and returns; then the
 * callbacks are called. They, like all calls for the socket, belong to the reactor's thread, where
 * nothing may block. A socket lives until on_close returns.
 */
typedef struct hs_websocket hs_ws_t;

typedef enum {
    HS_WS_MESSAGE_TEXT = 1, /* UTF-8 */
    HS_WS_MESSAGE_BINARY = 2,
} hs_ws_kind_t;

/* Each member may be NULL. The struct and what it points to must not change while a socket uses
 * it. */
typedef struct hs_ws_handler {
    void (*on_open)(hs_ws_t *socket, void *user_data);
    /* `data` is valid until it returns. */
    void (*on_message)(hs_ws_t *socket, hs_ws_kind_t kind, const char *data, size_t length,
                       void *user_data);
    /* After hs_ws_send returned HS_WRITE_WAIT: little is unsent. */
    void (*on_drain)(hs_ws_t *socket, void *user_data);
    /* The last call. `code`: of the first Close frame; 1005: it had none, 1006: there was no
     * Close. */
    void (*on_close)(hs_ws_t *socket, int code, const char *reason, size_t length, void *user_data);
    const char *protocols; /* subprotocols, comma-separated: the first one offered by the client is
                              chosen. NULL: none */
    const char *origins;   /* of pages that may connect, comma-separated; `same`: that of the Host
                              field, `*`: any. NULL: same */
} hs_ws_handler_t;

/*
 * Responds with 101, or, if the request is not a valid handshake, with a response that says why. 0;
 * the status of that response; or negative as hs_res_send, -4 also on a worker (requests with an
 * Upgrade are handled on the reactor).
 */
int hs_ws_accept(hs_response_t *response, const hs_ws_handler_t *handler, void *user_data);

/*
 * Sends a message, whose bytes are copied. HS_WRITE_CONTINUE · HS_WRITE_WAIT: accepted, but too
 * much is unsent, on_drain follows · -4 it is closed or closing · -5 ws_max_unsent bytes were
 * unsent: it is closed · -1. Text is not checked.
 */
int hs_ws_send(hs_ws_t *socket, hs_ws_kind_t kind, const char *data, size_t length);

/* At most 125 bytes, else -3. As above. */
int hs_ws_ping(hs_ws_t *socket, const char *data, size_t length);

/* Starts the closing handshake: on_close follows. `code`: 1000 to 1003, 1007 to 1014, 3000 to 4999,
 * else -3; `reason`: UTF-8 of which 123 bytes are sent, may be NULL. -4: it is closed or
 * closing. */
int hs_ws_close(hs_ws_t *socket, int code, const char *reason);

/* Delivers no messages, and reads nothing from the client, until hs_ws_resume. */
void hs_ws_pause(hs_ws_t *socket);
void hs_ws_resume(hs_ws_t *socket);

/* Bytes sent but not yet in the kernel. */
size_t hs_ws_unsent(const hs_ws_t *socket);

#define HS_WS_JOIN_BINARY 1 /* messages are binary; otherwise text, where they are UTF-8 */
#define HS_WS_JOIN_SKIP 2   /* a client that is too slow misses messages; otherwise it is closed */

/*
 * The reactor sends the socket what is published to `topic`, by any process, until hs_ws_leave or
 * its end. `flags`: HS_WS_JOIN_…, those of a second call replace those of the first. 0, -3 the
 * topic is empty or longer than 255 bytes, -4 the socket is closed or the server has no topics, -1.
 */
int hs_ws_join(hs_ws_t *socket, const char *topic, unsigned flags);

/* False: it had not joined. */
bool hs_ws_leave(hs_ws_t *socket, const char *topic);

/* Publishes a message to a topic: to WebSockets that have joined it, and to subscribers in Lua and
 * TypeScript, in all processes of the server. Never waits. 0, -3 the topic is empty or longer than
 * 255 bytes, -4 the server has no topics, -5 the message is longer than 64 KiB. */
int hs_ws_publish(hs_ws_t *socket, const char *topic, const char *message, size_t length);
/* The same for the handler of a request, on whichever thread it runs. */
int hs_req_publish(const hs_request_t *request, const char *topic, const char *message,
                   size_t length);

/*
 * Files below a directory, with preconditions, a range, content types, ETag and Last-Modified;
 * paths cannot escape it. As a handler: config.handler = hs_site_handle, config.handler_ud = the
 * site.
 */
typedef struct hs_site hs_site_t;

/* Filled by hs_site_config_init, changed by the caller, copied by hs_site_new (strings too). */
typedef struct hs_site_config {
    const char *root;          /* the directory; no default */
    const char *index;         /* the file of a directory, default "index.html"; NULL: none */
    const char *cache_control; /* of all files, default NULL: none */
    bool precompressed; /* send siblings .br, .zst and .gz to clients that accept them, default
                           false */
    bool dotfiles;      /* serve names that begin with a dot, default false */
} hs_site_config_t;

void hs_site_config_init(hs_site_config_t *config);

/* NULL if the directory cannot be opened or memory runs out; `error` (may be NULL, room for
 * `error_size` bytes) then says so. Any thread. */
hs_site_t *hs_site_new(const hs_site_config_t *config, char *error, size_t error_size);

/* No handler that uses it may be running; responses being sent may. NULL is allowed. */
void hs_site_free(hs_site_t *site);

/* Responds to the request with the file at its path: an hs_handler_fn, for any number of threads at
 * the same time. Methods other than GET and HEAD get 405. */
void hs_site_handle(hs_request_t *request, hs_response_t *response, void *site);

/*
 * Builds the response from the file at `path`, a part of a request's path as sent; the caller calls
 * hs_res_send. The request's method is GET or HEAD. 0, or the status that the response should have,
 * in which case nothing was built: 400, 403, 404, 500, 503. Any number of threads.
 */
int hs_site_respond(hs_site_t *site, hs_request_t *request, hs_response_t *response,
                    const char *path, size_t length);

/*
 * A log for the whole process, which handlers share with the server: hs_log(HS_LOG_INFO, "...").
 * Any thread. These calls are the only ones here that do not belong to a server.
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
 * Sends messages to `callback`, on the logging thread, possibly on several at once; NULL: text to
 * standard error, the initial setting, or JSON lines to the log_json_fd of the server created last.
 * Servers whose log_json_fd is -1 also log here, subject to their log_level.
 */
void hs_log_register(hs_log_cb callback, void *user_data);

/* The lowest level written; initially HS_LOG_INFO, or the log_level of the server whose log_json_fd
 * is set. */
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
 * and finds them in the program that loaded it. It contains, once, at file scope:
 *
 *     HS_HANDLER_MODULE
 *     void hs_handler(hs_request_t *request, hs_response_t *response, void *user_data) { … }
 *
 * and, if each thread that runs the handler needs its own data, both of
 *
 *     int hs_handler_init(void **user_data) { … }   // 0, or the thread has no handler
 *     void hs_handler_exit(void *user_data) { … }
 *
 * A worker calls them itself. For an I/O thread, the thread that creates and frees the server calls
 * them, so that a failure is an error of hs_server_create: keep a thread's data behind `user_data`,
 * not in thread-local variables.
 */
/* Version 2 added deferred responses (hs_res_defer). Objects built for version 1 still load. */
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

/* Also at file scope: the handler is called at the end of the head, as with
 * config.stream_content. */
#define HS_HANDLER_STREAMS_CONTENT HS_HANDLER_LINKAGE const unsigned hs_handler_streams_content = 1;

/*
 * A dictionary in memory shared by processes: moonring.shared(name) in Lua and server.shared(name)
 * in TypeScript. A handler finds those of its server with hs_req_shared; other programs create or
 * attach one. Any thread, any number of processes; a call waits for the lock of at most one of 64
 * parts, held for microseconds, and reading or counting takes no lock.
 *
 * Keys have 1 to HS_SHARED_KEY_MAX bytes, any. Key and value together have at most
 * hs_shared_value_max bytes. When memory is short, the least recently used entries are evicted. A
 * process killed in the middle of a call leaves the dictionary usable, with or without the value it
 * was writing.
 */
typedef struct hs_shared hs_shared_t;

#define HS_SHARED_KEY_MAX 65535

/* New memory of `size` bytes, for this process and for those that attach its descriptor. NULL on
 * failure, with the reason in `error` (may be NULL). */
hs_shared_t *hs_shared_create(const char *name, size_t size, char *error, size_t error_size);

/* Attaches a dictionary created by another process. Takes over `fd`, also on failure. */
hs_shared_t *hs_shared_attach(const char *name, int fd, char *error, size_t error_size);

/* The descriptor of the memory, close-on-exec; belongs to the dictionary. */
int hs_shared_fd(const hs_shared_t *dictionary);

/* Unmaps it here: other processes keep it. NULL is allowed. */
void hs_shared_free(hs_shared_t *dictionary);

/* The dictionary with this name of the request's server; NULL: there is none. */
hs_shared_t *hs_req_shared(const hs_request_t *request, const char *name);

typedef enum hs_shared_type {
    HS_SHARED_NIL = 0, /* no value */
    HS_SHARED_BOOLEAN,
    HS_SHARED_NUMBER,
    HS_SHARED_STRING,
    HS_SHARED_LIST, /* hs_shared_push; only as the value of an entry */
} hs_shared_type_t;

/*
 * A value. Initialize one that a call fills to { 0 }; it may be reused. A string is then stored in
 * `buffer`, which hs_shared_value_free frees.
 */
typedef struct hs_shared_value {
    hs_shared_type_t type;
    uint32_t flags; /* for the caller, stored with the value */
    double number;  /* HS_SHARED_NUMBER; of HS_SHARED_BOOLEAN 0 or 1 */
    const char *data;
    size_t length;
    bool is_stale; /* hs_shared_get_stale: it has expired */
    char *buffer;
    size_t capacity;
} hs_shared_value_t;

void hs_shared_value_free(hs_shared_value_t *value);

/* What calls return. */
typedef enum hs_shared_result {
    HS_SHARED_OK = 0,
    HS_SHARED_NOT_FOUND = 1,
    HS_SHARED_EXISTS = 2,       /* hs_shared_add */
    HS_SHARED_DIFFERS = 3,      /* hs_shared_cas: the value differs */
    HS_SHARED_NO_MEMORY = 4,    /* larger than hs_shared_value_max, or the call would have to evict
                                   what it may not; or out of memory for a buffer */
    HS_SHARED_NOT_A_NUMBER = 5, /* hs_shared_incr */
    HS_SHARED_IS_LIST = 6,      /* hs_shared_get */
    HS_SHARED_NOT_A_LIST = 7,
    HS_SHARED_BAD_KEY = 8,   /* empty or longer than HS_SHARED_KEY_MAX */
    HS_SHARED_BAD_VALUE = 9, /* of a type that cannot be stored here */
} hs_shared_result_t;

/* Fills `value`. hs_shared_get_stale also finds expired values until their memory is reused. */
hs_shared_result_t hs_shared_get(hs_shared_t *dictionary, const char *key, size_t key_length,
                                 hs_shared_value_t *value);
hs_shared_result_t hs_shared_get_stale(hs_shared_t *dictionary, const char *key, size_t key_length,
                                       hs_shared_value_t *value);

typedef enum hs_shared_mode {
    HS_SHARED_SET,     /* whether the key exists or not */
    HS_SHARED_ADD,     /* HS_SHARED_EXISTS if the key exists */
    HS_SHARED_REPLACE, /* HS_SHARED_NOT_FOUND if it does not */
    HS_SHARED_SAFE = 4 /* or-ed to SET and ADD: HS_SHARED_NO_MEMORY instead of evicting unexpired
                          entries */
} hs_shared_mode_t;

/* Milliseconds to live, for `ttl_ms`. */
#define HS_SHARED_FOREVER 0
#define HS_SHARED_KEEP_TTL UINT64_MAX /* hs_shared_cas: unchanged; for a new key FOREVER */

/* Stores a value. `was_forced` (may be NULL): an unexpired entry was evicted for it. */
hs_shared_result_t hs_shared_store(hs_shared_t *dictionary, int mode, const char *key,
                                   size_t key_length, const hs_shared_value_t *value,
                                   uint64_t ttl_ms, bool *was_forced);

/* Adds to a number and stores the sum in `*number`. For a missing key, `initial` is the number to
 * add to, which then lives for `ttl_ms`; NULL: HS_SHARED_NOT_FOUND. */
hs_shared_result_t hs_shared_incr(hs_shared_t *dictionary, const char *key, size_t key_length,
                                  double amount, const double *initial, uint64_t ttl_ms,
                                  double *number, bool *was_forced);

/*
 * Stores `value` if the key's value is `expected`: the same type and the same number or bytes.
 * `expected` NULL: if the key does not exist; `value` NULL: removes the key. HS_SHARED_DIFFERS
 * otherwise.
 */
hs_shared_result_t hs_shared_cas(hs_shared_t *dictionary, const char *key, size_t key_length,
                                 const hs_shared_value_t *expected, const hs_shared_value_t *value,
                                 uint64_t ttl_ms, bool *was_forced);

/* HS_SHARED_OK or HS_SHARED_NOT_FOUND. */
hs_shared_result_t hs_shared_delete(hs_shared_t *dictionary, const char *key, size_t key_length);

/* Sets the time to live from now on, and gets the rest: `*ttl_ms` is HS_SHARED_FOREVER without one.
 */
hs_shared_result_t hs_shared_expire(hs_shared_t *dictionary, const char *key, size_t key_length,
                                    uint64_t ttl_ms);
hs_shared_result_t hs_shared_ttl(hs_shared_t *dictionary, const char *key, size_t key_length,
                                 uint64_t *ttl_ms);

/* Lists of strings and numbers. `at_head`: at the left end. `*count` is the resulting length. A
 * missing list is empty, and an empty one is removed. */
hs_shared_result_t hs_shared_push(hs_shared_t *dictionary, const char *key, size_t key_length,
                                  bool at_head, const hs_shared_value_t *value, size_t *count);
hs_shared_result_t hs_shared_pop(hs_shared_t *dictionary, const char *key, size_t key_length,
                                 bool at_head, hs_shared_value_t *value);
hs_shared_result_t hs_shared_length(hs_shared_t *dictionary, const char *key, size_t key_length,
                                    size_t *count);

/* Makes everything expire; hs_shared_get_stale still finds it. */
void hs_shared_flush_all(hs_shared_t *dictionary);

/* Frees expired entries, at most `most` (0: all); returns their number. */
size_t hs_shared_flush_expired(hs_shared_t *dictionary, size_t most);

/*
 * Keys, in parts: start with *cursor 0, until it is 0 again. Each call returns the keys of whole
 * buckets, about `most` (at least one bucket), in `keys`: for each, 4 bytes with its length, in the
 * machine's byte order, and the key. Returns their number. A key that exists throughout is returned
 * exactly once; takes no lock.
 */
size_t hs_shared_scan(hs_shared_t *dictionary, uint64_t *cursor, size_t most,
                      hs_shared_value_t *keys);

typedef struct hs_shared_stats {
    uint64_t size;        /* bytes of the memory */
    uint64_t used;        /* bytes taken by entries, including expired ones */
    uint64_t free;        /* free bytes for entries */
    uint64_t entries;     /* including expired ones, until their memory is reused */
    uint64_t evictions;   /* unexpired entries removed for others */
    uint64_t expirations; /* expired entries whose memory was reused, or flushed */
    uint64_t refusals;    /* HS_SHARED_NO_MEMORY */
    uint64_t repairs;     /* a process was killed in the middle of a call */
} hs_shared_stats_t;

void hs_shared_read_stats(hs_shared_t *dictionary, hs_shared_stats_t *stats);

/* The maximum size of key and value together, each rounded up to a multiple of 8. */
size_t hs_shared_value_max(const hs_shared_t *dictionary);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
