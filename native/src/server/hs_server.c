#include "httpserver.h"

#include "http/hs_inflate.h"
#include "http/hs_parse.h"
#include "os/hs_object.h"
#include "os/hs_resident.h"
#include "os/hs_shm.h"
#include "os/hs_sock.h"
#include "server/hs_accept.h"
#include "server/hs_config.h"
#include "server/hs_inbox.h"
#include "server/hs_keeper.h"
#include "server/hs_reactor.h"
#include "server/hs_server_tls.h"
#include "server/hs_source.h"
#include "server/hs_watchdog.h"
#include "shared/hs_shared_set.h"

struct hs_server {
    hs_limits_t limits;
    hs_forwarding_t forwarding;
    hs_compression_t compression;
    hs_log_t log;
    hs_log_json_t log_json;
    hs_source_t source;
    hs_reactor_t *reactors;
    hs_stats_page_t *page; /* NULL: none */
    hs_metrics_t metrics;  /* of the handlers, in the page if there is one */
    bool has_metrics;
    hs_shared_set_t shared;
    hs_topics_t *topics;
    hs_keeper_t *keeper; /* NULL: connections end with the process */
    hs_io_t **ios;       /* of the reactors */
    size_t reactor_count;
    hs_io_t boss; /* HS_REACTOR_MULTI: accepts and hands over */
    bool has_boss;
    size_t next_reactor; /* owner: boss */
    uint16_t port;
    uint16_t tls_port;
    hs_server_tls_keys_t tls_keys;
    char *uds_path; /* the socket file to remove, if it is still `uds_file` */
    hs_sock_file_t uds_file;
    uint32_t stop_wait_ms;
    hs_event_fn on_event;
    void *on_event_ud;
    char problem[HS_ERRINFO_TEXT_CAP]; /* of the last prepare: written before the event */
};

/* Descriptors of the configuration that were not taken over yet; -1: none, or taken. Code that
 * takes one closes it on failure. */
typedef struct given {
    const int *listen_fds;
    size_t listen_fd_count;
    int control_fd;
    int inbox_fd;
    int tls_fd;
    int app_fd;
    int stats_fd;
    size_t topics_fd_count;
    const int *topics_fds;
    const hs_shared_memory_t *shared;
    size_t shared_count;
} given_t;

static given_t given_of(const hs_config_t *config)
{
    bool has_listeners = (config->listen_flags & HS_LISTEN_FDS) != 0 && config->listen_fds != NULL;
    return (given_t){
        .listen_fds = config->listen_fds,
        .listen_fd_count = has_listeners ? config->listen_fd_count : 0,
        .control_fd = config->control_fd,
        .inbox_fd = config->inbox_fd,
        .tls_fd = config->tls_fd,
        .app_fd = config->app_fd,
        .stats_fd = config->stats_fd,
        .topics_fds = config->topics_fds,
        .topics_fd_count = config->topics_fds != NULL ? config->topics_fd_count : 0,
        .shared = config->shared,
        .shared_count = config->shared != NULL ? config->shared_count : 0,
    };
}

static int take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

static int take_listener(given_t *given)
{
    given->listen_fd_count--;
    return *given->listen_fds++;
}

static void close_given(given_t *given)
{
    while (given->listen_fd_count > 0)
        hs_sock_close(take_listener(given));
    hs_sock_close(take(&given->control_fd));
    hs_sock_close(take(&given->inbox_fd));
    hs_sock_close(take(&given->tls_fd));
    hs_sock_close(take(&given->app_fd));
    hs_sock_close(take(&given->stats_fd));
    for (; given->topics_fd_count > 0; given->topics_fd_count--)
        hs_sock_close(*given->topics_fds++);
    for (; given->shared_count > 0; given->shared_count--)
        hs_sock_close(given->shared++->fd);
}

static int open_topics(hs_server_t *server, const hs_config_t *config, given_t *given,
                       hs_errinfo_t *error)
{
    size_t count = given->topics_fd_count;
    given->topics_fd_count = 0;
    server->topics = count > 0 ? hs_topics_attach(config->topics_fds, count, error)
                               : hs_topics_new(1, config->topics_size, error);
    if (server->topics == NULL)
        return error->code;
    bool is_shared = count > 0;
    int result = hs_topics_begin(server->topics, is_shared ? config->stats_slot : 0,
                                 is_shared ? config->stats_side : 0);
    if (result != HS_OK)
        hs_errinfo_set(error, HS_ERR_INVALID, 0, "topics: no slot %u side %u", config->stats_slot,
                       config->stats_side);
    return result;
}

static int open_shared(hs_server_t *server, given_t *given, hs_errinfo_t *error)
{
    size_t count = given->shared_count;
    given->shared_count = 0;
    return hs_shared_set_open(&server->shared, given->shared, count, error);
}

/* The io that owns listeners and the supervisor's descriptor. */
static hs_io_t *front_of(hs_server_t *server)
{
    return server->has_boss ? &server->boss : &server->reactors[0].io;
}

static int listen_tcp(hs_server_t *server, const hs_config_t *config, hs_errinfo_t *error)
{
    int fd = hs_sock_listen_tcp(config->host, config->port, config->backlog, 0, error);
    if (fd < 0)
        return fd;
    hs_sock_address_t address;
    if (hs_sock_local_address(fd, &address) == 0)
        server->port = address.port;
    return hs_accept_add_listener(front_of(server), fd, error);
}

/* Before the others: a listener's port tells whether it uses TLS. */
static int listen_tls(hs_server_t *server, const hs_config_t *config, hs_errinfo_t *error)
{
    server->tls_port = (uint16_t)config->tls_port;
    int fd = -1;
    if (config->listen_flags & HS_LISTEN_TCP) {
        fd = hs_sock_listen_tcp(config->host, server->tls_port, config->backlog, 0, error);
        hs_sock_address_t address;
        if (fd < 0)
            return fd;
        if (hs_sock_local_address(fd, &address) == 0)
            server->tls_port = address.port;
    }
    front_of(server)->tls_port = server->tls_port;
    for (size_t i = 0; i < server->reactor_count; i++) {
        server->ios[i]->tls_port = server->tls_port;
        server->ios[i]->env.redirect_port = config->tls_redirect ? server->tls_port : 0;
        server->ios[i]->env.hsts_s = config->tls_hsts_s;
    }
    return fd < 0 ? HS_OK : hs_accept_add_listener(front_of(server), fd, error);
}

static int listen_uds(hs_server_t *server, const hs_config_t *config, hs_errinfo_t *error)
{
    size_t size = strlen(config->uds_path) + 1;
    char *path = hs_alloc(size);
    if (path == NULL)
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a path");
    memcpy(path, config->uds_path, size);
    int fd = hs_sock_listen_uds(path, config->uds_mode, config->backlog, error);
    if (fd < 0) {
        hs_free(path);
        return fd;
    }
    server->uds_path = path;
    server->uds_file = hs_sock_file_at(path);
    return hs_accept_add_listener(front_of(server), fd, error);
}

static int open_listeners(hs_server_t *server, const hs_config_t *config, given_t *given,
                          hs_errinfo_t *error)
{
    int result = HS_OK;
    if (config->tls_port >= 0)
        result = listen_tls(server, config, error);
    if (result == HS_OK && (config->listen_flags & HS_LISTEN_TCP))
        result = listen_tcp(server, config, error);
    if (result == HS_OK && (config->listen_flags & HS_LISTEN_UDS))
        result = listen_uds(server, config, error);
    while (result == HS_OK && given->listen_fd_count > 0)
        result = hs_accept_add_listener(front_of(server), take_listener(given), error);
    if (result == HS_OK && given->control_fd >= 0)
        result = hs_io_set_control(front_of(server), take(&given->control_fd), error);
    if (result == HS_OK && given->inbox_fd >= 0)
        result = hs_inbox_set(front_of(server), take(&given->inbox_fd), error);
    return result;
}

/* The boss: the next reactor that has room. */
static void hand_over(void *context, int fd)
{
    hs_server_t *server = context;
    for (size_t i = 0; i < server->reactor_count; i++) {
        hs_reactor_t *reactor = &server->reactors[server->next_reactor];
        server->next_reactor = (server->next_reactor + 1) % server->reactor_count;
        if (hs_reactor_hand_over(reactor, fd))
            return;
    }
    hs_log_write(&server->log, HS_LOG_WARN, "a connection was dropped: no reactor can keep up");
    hs_sock_close(fd);
}

/* The boss has handed over all accepted connections: the reactors drain. Once the port is closed,
 * responses carry `Connection: close`. */
static void drain_reactors(void *context, uint32_t timeout_ms)
{
    hs_server_t *server = context;
    for (size_t i = 0; i < server->reactor_count; i++)
        hs_io_request_drain(&server->reactors[i].io, timeout_ms);
}

static uint32_t worker_count(const hs_config_t *config)
{
    if (config->num_threads != 0)
        return config->num_threads > 0 ? (uint32_t)config->num_threads : 0;
    int count = hs_thread_cpu_count();
    return count < HS_WORKERS_MAX ? (uint32_t)count : HS_WORKERS_MAX;
}

/* The port of the first listener, if known before it is opened. */
static uint16_t known_port(const hs_config_t *config)
{
    hs_sock_address_t address;
    if (config->listen_fd_count == 0)
        return (config->listen_flags & HS_LISTEN_TCP) != 0 ? config->port : 0;
    return hs_sock_local_address(config->listen_fds[0], &address) == 0 ? address.port : 0;
}

/* Of both sides of a WebSocket whose messages share contexts. */
#define WS_WINDOW_BITS 12

static int open_reactors(hs_server_t *server, const hs_config_t *config, hs_errinfo_t *error)
{
    hs_io_config_t io_config = {
        .limits = &server->limits,
        .forwarding = server->forwarding.trusted.count > 0 ? &server->forwarding : NULL,
        .shared = &server->shared,
        .compression = hs_compression_is_on(&server->compression) ? &server->compression : NULL,
        .websocket_deflate = { .is_on = config->ws_compress != HS_WS_COMPRESS_OFF,
                               .takeover = config->ws_compress == HS_WS_COMPRESS_TAKEOVER,
                               .window_bits = WS_WINDOW_BITS },
        .proxy_protocol = config->proxy_protocol,
        .dispatch = config->dispatch,
        .streams_content = server->source.module.streams_content ||
                           (config->stream_content && config->lua_script == NULL),
        .worker_count = worker_count(config),
        .queue_capacity = (uint32_t)config->work_queue_cap,
        .handshake_rate = config->tls_handshakes,
        .factory = server->source.factory,
        .topics = server->topics,
        /* Threads of one process are woken together. */
        .topics_waiter = server->has_boss ? HS_TOPICS_WORKERS : HS_TOPICS_IO,
        .log = &server->log,
        .port = known_port(config),
        .keeper = server->keeper,
    };
    hs_io_identity_t identity = {
        .reactor_index = config->reactor_index,
        .generation = config->generation,
        .page = server->page,
        .stats_slot = config->stats_slot,
        .stats_side = config->stats_side,
        .access_log = (hs_access_log_format_t)config->access_log,
        .access_log_path = config->access_log_path,
        .access_log_fd = config->access_log_fd,
        .trace_sample = config->trace_sample,
        .trace_fd = config->trace_fd,
        .pin_cpu = config->pin_cpu,
    };
    io_config.identity = &identity;
    size_t count = 1;
    if (server->has_boss)
        count = (size_t)(config->num_io_threads ? config->num_io_threads : hs_thread_cpu_count());
    server->reactors = hs_alloc_aligned(HS_CACHE_LINE, count * sizeof(*server->reactors));
    server->ios = hs_alloc_zeroed(count, sizeof(hs_io_t *));
    if (server->reactors == NULL || server->ios == NULL)
        return hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for reactors");
    memset(server->reactors, 0, count * sizeof(*server->reactors));
    if (!server->has_boss) {
        io_config.on_event = config->on_event;
        io_config.on_event_ud = config->on_event_ud;
    }
    int result = HS_OK;
    while (server->reactor_count < count && result == HS_OK) {
        hs_reactor_t *reactor = &server->reactors[server->reactor_count];
        server->ios[server->reactor_count++] = &reactor->io;
        result = hs_reactor_init(reactor, &io_config, error);
        identity.page = NULL; /* an area has one writer */
        identity.reactor_index++;
        identity.pin_cpu += identity.pin_cpu >= 0;
    }
    return result;
}

static int open_boss(hs_server_t *server, const hs_config_t *config, hs_errinfo_t *error)
{
    hs_io_config_t io_config = {
        .limits = &server->limits,
        .dispatch = HS_DISPATCH_INLINE,
        .log = &server->log,
        .on_event = config->on_event,
        .on_event_ud = config->on_event_ud,
    };
    int result = hs_io_init(&server->boss, &io_config, error);
    server->boss.accepted = hand_over;
    server->boss.accepted_all = drain_reactors;
    server->boss.accepted_context = server;
    return result;
}

/* Before handlers are created: they may count while they are loaded. */
static int open_metrics(hs_server_t *server, const hs_config_t *config, given_t *given,
                        hs_errinfo_t *error)
{
    hs_metrics_board_t *board = NULL;
    if (given->stats_fd >= 0) {
        server->page = hs_stats_page_attach(take(&given->stats_fd), error);
        if (server->page == NULL)
            return HS_ERR_SYSTEM;
        if (config->stats_slot >= hs_stats_page_slots(server->page) ||
            config->stats_side >= HS_STATS_SIDES)
            return hs_errinfo_set(error, HS_ERR_INVALID, 0, "stats page: no slot %u side %u",
                                  config->stats_slot, config->stats_side);
        board = hs_stats_page_board(server->page, config->stats_slot, config->stats_side);
        hs_metrics_board_clear_gauges(board);
    }
    server->has_metrics = hs_metrics_init(&server->metrics, board);
    return server->has_metrics
               ? HS_OK
               : hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for metrics");
}

static void open_keeper(hs_server_t *server, const hs_config_t *config)
{
    if (config->survive == HS_SURVIVE_OFF || config->inbox_fd < 0 || server->has_boss)
        return;
    const hs_keeper_config_t keeper = {
        .max_connections = server->limits.max_connections,
        .only_idle = config->survive == HS_SURVIVE_IDLE,
        .inbox_fd = config->inbox_fd,
        .log_json_fd = config->log_json_fd,
        .reactor_index = config->reactor_index,
        .log = &server->log,
    };
    server->keeper = hs_keeper_open(&keeper);
}

static int open_server(hs_server_t *server, const hs_config_t *config, given_t *given,
                       hs_errinfo_t *error)
{
    server->forwarding.field = config->forwarded_field;
    int result = open_metrics(server, config, given, error);
    if (result == HS_OK)
        result = open_shared(server, given, error);
    if (result == HS_OK)
        result = open_topics(server, config, given, error);
    if (result == HS_OK)
        result = hs_compression_init(&server->compression, config, error);
    if (result == HS_OK && config->trusted_proxies != NULL)
        result = hs_networks_parse(&server->forwarding.trusted, config->trusted_proxies, error);
    if (result == HS_OK)
        result = hs_source_open(&server->source, config, given->app_fd, &server->metrics,
                                &server->shared, server->topics, &server->log, error);
    if (result == HS_OK)
        result = open_reactors(server, config, error);
    if (result == HS_OK && server->has_boss)
        result = open_boss(server, config, error);
    if (result == HS_OK && given->tls_fd >= 0)
        result = hs_server_tls_take(given->tls_fd, server->ios, server->reactor_count, error);
    else if (result == HS_OK && config->tls != NULL)
        result = hs_server_tls_load(config->tls, &server->tls_keys, server->ios,
                                    server->reactor_count, error);
    hs_sock_close(take(&given->tls_fd));
    return result == HS_OK ? open_listeners(server, config, given, error) : result;
}

static hs_server_t *server_create(const hs_config_t *config, given_t *given, hs_errinfo_t *error)
{
    if (hs_config_check(config, error) != HS_OK)
        return NULL;
    hs_server_t *server = hs_alloc_zeroed(1, sizeof(*server));
    if (server == NULL) {
        hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a server");
        return NULL;
    }
    server->limits = hs_config_limits(config);
    server->has_boss = config->reactor_mode == HS_REACTOR_MULTI;
    server->stop_wait_ms = config->stop_wait_ms;
    server->on_event = config->on_event;
    server->on_event_ud = config->on_event_ud;
    server->log_json =
        (hs_log_json_t){ .fd = config->log_json_fd, .reactor = config->reactor_index };
    hs_log_sink_fn sink = config->log_json_fd >= 0 ? hs_log_json_sink : NULL;
    hs_log_init(&server->log, config->log_level, sink, &server->log_json);
    if (config->log_json_fd >= 0)
        hs_log_process_begin(config->log_json_fd, config->reactor_index, config->log_level);
    open_keeper(server, config);
    if (open_server(server, config, given, error) != HS_OK) {
        hs_server_free(server);
        return NULL;
    }
    return server;
}

static int report(const hs_errinfo_t *info, int *error_code, char *error, size_t error_size)
{
    if (error_code != NULL)
        *error_code = info->code;
    if (error != NULL && error_size > 0)
        snprintf(error, error_size, "%s", info->text);
    return info->code;
}

hs_server_t *hs_server_create(const hs_config_t *config, int *error_code, char *error,
                              size_t error_size)
{
    hs_errinfo_t info = { 0 };
    given_t given = given_of(config);
    hs_server_t *server = server_create(config, &given, &info);
    close_given(&given); /* none is left if it was made */
    report(&info, error_code, error, error_size);
    return server;
}

hs_server_t *hs_server_new(const hs_config_t *config)
{
    hs_errinfo_t info = { 0 };
    hs_server_t *server = hs_server_create(config, NULL, info.text, sizeof(info.text));
    if (server == NULL)
        fprintf(stderr, "httpserver: %s\n", info.text);
    return server;
}

/* The boss accepts on this thread; the reactors run on theirs until it ends. */
static int run_behind_boss(hs_server_t *server)
{
    hs_errinfo_t error = { 0 };
    int result = HS_OK;
    for (size_t i = 0; i < server->reactor_count && result == HS_OK; i++)
        result = hs_reactor_start(&server->reactors[i], (unsigned)i, &error);
    if (result == HS_OK)
        result = hs_io_run(&server->boss);
    else
        hs_log_write(&server->log, HS_LOG_FATAL, "%s", error.text);
    for (size_t i = 0; !server->boss.env.draining && i < server->reactor_count; i++)
        hs_io_request_stop(&server->reactors[i].io);
    for (size_t i = 0; i < server->reactor_count; i++)
        hs_reactor_join(&server->reactors[i]);
    return result;
}

static bool has_cut(const hs_server_t *server)
{
    for (size_t i = 0; i < server->reactor_count; i++)
        if (server->ios[i]->has_cut)
            return true;
    return false;
}

int hs_server_run(hs_server_t *server)
{
    hs_watchdog_config_t config = {
        .ios = server->ios,
        .count = server->reactor_count,
        .timeout_ms = server->limits.handler_timeout_ms,
        .memory_limit = server->limits.memory,
        .log = &server->log,
        .on_event = server->on_event,
        .on_event_ud = server->on_event_ud,
    };
    bool has_page = server->reactors[0].io.page != NULL;
    hs_watchdog_t *watchdog = NULL;
    if (config.timeout_ms > 0 || config.memory_limit > 0 || has_page)
        watchdog = hs_watchdog_start(&config);
    int result = server->has_boss ? run_behind_boss(server) : hs_io_run(&server->reactors[0].io);
    hs_watchdog_stop(watchdog);
    if (server->on_event != NULL && has_cut(server))
        server->on_event(HS_EVENT_CUT, server->on_event_ud);
    return result;
}

void hs_server_stop(hs_server_t *server)
{
    for (size_t i = 0; i < server->reactor_count; i++)
        hs_io_request_stop(&server->reactors[i].io);
    if (server->has_boss)
        hs_io_request_stop(&server->boss);
}

void hs_server_drain(hs_server_t *server, uint32_t timeout_ms)
{
    /* Behind a boss the reactors drain when it has handed over all accepted connections. */
    hs_io_request_drain(front_of(server), timeout_ms);
}

void hs_server_hand_over(hs_server_t *server, uint32_t timeout_ms)
{
    hs_io_request_hand_over(front_of(server), timeout_ms);
}

void hs_server_reopen_logs(hs_server_t *server)
{
    for (size_t i = 0; i < server->reactor_count; i++)
        hs_io_request_reopen(&server->reactors[i].io);
}

void hs_server_free(hs_server_t *server)
{
    if (server == NULL)
        return;
    if (server->uds_path != NULL)
        hs_sock_remove_file(server->uds_path, server->uds_file);
    uint32_t left = 0;
    if (server->has_boss && server->boss.env.loop.ev != NULL)
        left += hs_io_free(&server->boss, 0);
    for (size_t i = 0; i < server->reactor_count; i++)
        left += hs_reactor_free(&server->reactors[i], server->stop_wait_ms);
    hs_free(server->uds_path);
    if (server->log_json.fd >= 0)
        hs_log_process_end(server->log_json.fd);
    if (left == 0)
        left = hs_source_close(&server->source, server->stop_wait_ms);
    if (left > 0) {
        hs_log_write(&server->log, HS_LOG_WARN,
                     "%u threads are still running a handler: they and the memory of their server "
                     "are leaked",
                     left);
        return;
    }
    hs_keeper_close(server->keeper);
    if (server->has_metrics)
        hs_metrics_free(&server->metrics);
    hs_stats_page_free(server->page);
    hs_shared_set_close(&server->shared);
    hs_topics_free(server->topics);
    hs_compression_free(&server->compression);
    hs_free(server->ios);
    hs_free(server->reactors);
    hs_free(server);
}

static void on_prepared(void *context, const char *problem)
{
    hs_server_t *server = context;
    snprintf(server->problem, sizeof(server->problem), "%s", problem != NULL ? problem : "");
    if (server->on_event != NULL)
        server->on_event(problem == NULL ? HS_EVENT_PREPARED : HS_EVENT_NOT_PREPARED,
                         server->on_event_ud);
}

int hs_server_prepare(hs_server_t *server, int app_fd, char *error, size_t error_size)
{
    hs_errinfo_t info = { 0 };
    int result = hs_source_prepare(&server->source, app_fd, on_prepared, server, &info);
    hs_sock_close(app_fd);
    (void)report(&info, NULL, error, error_size);
    return result;
}

int hs_server_switch(hs_server_t *server, uint64_t generation)
{
    int result = server->source.generations != NULL
                     ? hs_generations_switch(server->source.generations)
                     : HS_ERR_STATE;
    for (size_t i = 0; i < server->reactor_count && result == HS_OK; i++)
        hs_io_switch(server->ios[i], generation);
    return result;
}

void hs_server_discard(hs_server_t *server)
{
    if (server->source.generations != NULL)
        hs_generations_discard(server->source.generations);
}

const char *hs_server_problem(const hs_server_t *server)
{
    return server->problem;
}

uint16_t hs_server_port(const hs_server_t *server)
{
    return server->port;
}

uint16_t hs_server_tls_port(const hs_server_t *server)
{
    return server->tls_port;
}

int hs_server_set_tls(hs_server_t *server, const hs_tls_options_t *options, char *error,
                      size_t error_size)
{
    hs_errinfo_t info = { 0 };
    int result =
        hs_server_tls_load(options, &server->tls_keys, server->ios, server->reactor_count, &info);
    (void)report(&info, NULL, error, error_size);
    return result;
}

int hs_store_tls(const void *data, size_t size)
{
    return hs_shm_store(&(struct iovec){ (void *)(uintptr_t)data, size }, 1, false);
}

int hs_check_tls(const void *data, size_t size, char *error, size_t error_size)
{
    hs_errinfo_t info = { 0 };
    hs_tls_material_t material;
    if (!hs_tls_material_read(&material, hs_span(data, size)))
        hs_errinfo_set(&info, HS_ERR_INVALID, 0, "unreadable certificates");
    else
        hs_tls_server_leave(hs_tls_server_new(&material, &info));
    return report(&info, NULL, error, error_size);
}

int hs_server_take_tls(hs_server_t *server, int tls_fd, char *error, size_t error_size)
{
    hs_errinfo_t info = { 0 };
    int result = hs_server_tls_take(tls_fd, server->ios, server->reactor_count, &info);
    (void)report(&info, NULL, error, error_size);
    return result;
}

static int accept_lua(const char *script, const char *root, hs_lua_compat_t compat,
                      hs_shared_set_t *shared, int *app_fd, bool *is_whole, hs_errinfo_t *error)
{
    hs_log_t log;
    hs_log_init(&log, HS_LOG_WARN, NULL, NULL);
    hs_lua_config_t config = {
        .files = { .root = root, .script = script }, .log = &log, .shared = shared, .compat = compat
    };
    config.files.snapshot = hs_snapshot_take(script, error);
    if (config.files.snapshot == NULL)
        return error->code;
    hs_lua_t *lua = hs_lua_new(&config, error);
    hs_lua_free(lua);
    *is_whole = hs_snapshot_is_whole(config.files.snapshot);
    if (lua != NULL && app_fd != NULL) {
        *app_fd = hs_snapshot_store(config.files.snapshot);
        if (*app_fd < 0)
            hs_errinfo_set(error, HS_ERR_SYSTEM, -*app_fd, "cannot keep the files of the app: %s",
                           strerror(-*app_fd));
    }
    hs_snapshot_free(config.files.snapshot);
    return error->code;
}

int hs_accept_lua(const char *lua_script, const char *lua_root, hs_lua_compat_t compat,
                  const hs_shared_memory_t *shared, size_t shared_count, int *app_fd,
                  bool *is_whole, char *error, size_t error_size)
{
    hs_errinfo_t info = { 0 };
    hs_shared_set_t set;
    *app_fd = -1;
    if (hs_shared_set_open(&set, shared, shared_count, &info) == HS_OK)
        accept_lua(lua_script, lua_root, compat, &set, app_fd, is_whole, &info);
    hs_shared_set_close(&set);
    return report(&info, NULL, error, error_size);
}

int hs_check_lua(const char *lua_script, const char *lua_root, char *error, size_t error_size)
{
    hs_errinfo_t info = { 0 };
    bool is_whole;
    accept_lua(lua_script, lua_root, HS_LUA_COMPAT_NONE, NULL, NULL, &is_whole, &info);
    return report(&info, NULL, error, error_size);
}

int hs_accept_module(const char *module_path, const char *module_symbol, int *app_fd, char *error,
                     size_t error_size)
{
    hs_errinfo_t info = { 0 };
    hs_module_t module;
    *app_fd = hs_module_store(module_path);
    int result = hs_module_open(&module, *app_fd, module_path, module_symbol, &info);
    if (result != HS_OK || !module.is_from_memory) {
        hs_sock_close(*app_fd);
        *app_fd = -1;
    }
    hs_module_close(&module);
    return report(&info, NULL, error, error_size);
}

int hs_check_module(const char *module_path, const char *module_symbol, char *error,
                    size_t error_size)
{
    int app_fd;
    int result = hs_accept_module(module_path, module_symbol, &app_fd, error, error_size);
    hs_sock_close(app_fd);
    return result;
}

const char *hs_llhttp_version(void)
{
    return hs_parse_library_version();
}

const char *hs_luajit_version(void)
{
    return hs_lua_version();
}

bool hs_luajit_interrupts_compiled(void)
{
    return hs_lua_interrupts_compiled();
}

uint64_t hs_memory_resident(void)
{
    return hs_resident_bytes();
}

const char *hs_allocator(void)
{
    return hs_object_allocator();
}

bool hs_self_check(void)
{
    const void *own = (const void *)(uintptr_t)hs_self_check;
    return hs_object_is_same(own, hs_parse_library_address()) &&
           hs_object_is_same(own, hs_inflate_library_address()) &&
           hs_object_is_same(own, hs_coder_library_address(0)) &&
           hs_object_is_same(own, hs_coder_library_address(1));
}
