#include "httpserver.h"

#include "exec/hs_lua.h"
#include "os/hs_object.h"
#include "os/hs_sock.h"
#include "server/hs_accept.h"
#include "server/hs_config.h"
#include "server/hs_inbox.h"

struct hs_server {
    hs_limits_t limits;
    hs_log_t log;
    hs_log_json_t log_json;
    hs_c_handler_t c_handler;
    hs_lua_t *lua; /* NULL with a C handler */
    hs_io_t io;
    uint16_t port;
};

static int open_handler(hs_server_t *server, const hs_config_t *config, hs_handler_t *handler,
                        hs_errinfo_t *error)
{
    if (config->lua_script == NULL) {
        server->c_handler = (hs_c_handler_t){ config->handler, config->handler_ud };
        *handler = hs_c_handler_as_handler(&server->c_handler);
        return HS_OK;
    }
    hs_lua_config_t lua_config = { config->lua_script, config->lua_root, &server->log };
    server->lua = hs_lua_new(&lua_config, error);
    if (server->lua == NULL)
        return error->code;
    *handler = hs_lua_as_handler(server->lua);
    return HS_OK;
}

static int open_listeners(hs_server_t *server, const hs_config_t *config, hs_errinfo_t *error)
{
    int result = HS_OK;
    if (config->listen_flags & HS_LISTEN_TCP) {
        int fd = hs_sock_listen_tcp(config->host, config->port, config->backlog, 0, error);
        if (fd < 0)
            return fd;
        hs_sock_address_t address;
        if (hs_sock_local_address(fd, &address) == 0)
            server->port = address.port;
        result = hs_accept_add_listener(&server->io, fd, error);
    }
    if (config->listen_flags & HS_LISTEN_FDS)
        for (size_t i = 0; i < config->listen_fd_count && result == HS_OK; i++)
            result = hs_accept_add_listener(&server->io, config->listen_fds[i], error);
    if (result == HS_OK && config->control_fd >= 0)
        result = hs_io_set_control(&server->io, config->control_fd, error);
    if (result == HS_OK && config->inbox_fd >= 0)
        result = hs_inbox_set(&server->io, config->inbox_fd, error);
    return result;
}

static int open_server(hs_server_t *server, const hs_config_t *config, hs_errinfo_t *error)
{
    hs_handler_t handler;
    int result = open_handler(server, config, &handler, error);
    if (result != HS_OK)
        return result;
    hs_io_config_t io_config = {
        .limits = &server->limits,
        .handler = handler,
        .log = &server->log,
        .on_event = config->on_event,
        .on_event_ud = config->on_event_ud,
        .reactor_index = config->reactor_index,
        .generation = config->generation,
        .stats_fd = config->stats_fd,
        .stats_slot = config->stats_slot,
        .stats_side = config->stats_side,
        .access_log = (hs_access_log_format_t)config->access_log,
        .access_log_path = config->access_log_path,
        .pin_cpu = config->pin_cpu,
    };
    result = hs_io_init(&server->io, &io_config, error);
    return result == HS_OK ? open_listeners(server, config, error) : result;
}

static hs_server_t *server_create(const hs_config_t *config, hs_errinfo_t *error)
{
    if (hs_config_check(config, error) != HS_OK)
        return NULL;
    hs_server_t *server = hs_alloc_zeroed(1, sizeof(*server));
    if (server == NULL) {
        hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for a server");
        return NULL;
    }
    server->limits = hs_config_limits(config);
    server->log_json =
        (hs_log_json_t){ .fd = config->log_json_fd, .reactor = config->reactor_index };
    hs_log_sink_fn sink = config->log_json_fd >= 0 ? hs_log_json_sink : NULL;
    hs_log_init(&server->log, config->log_level, sink, &server->log_json);
    if (open_server(server, config, error) != HS_OK) {
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
    hs_server_t *server = server_create(config, &info);
    report(&info, error_code, error, error_size);
    return server;
}

hs_server_t *hs_server_new(const hs_config_t *config)
{
    hs_errinfo_t info = { 0 };
    hs_server_t *server = server_create(config, &info);
    if (server == NULL)
        fprintf(stderr, "httpserver: %s\n", info.text);
    return server;
}

int hs_server_run(hs_server_t *server)
{
    return hs_io_run(&server->io);
}

void hs_server_stop(hs_server_t *server)
{
    hs_io_request_stop(&server->io);
}

void hs_server_drain(hs_server_t *server, uint32_t timeout_ms)
{
    hs_io_request_drain(&server->io, timeout_ms);
}

void hs_server_hand_over(hs_server_t *server, uint32_t timeout_ms)
{
    hs_io_request_hand_over(&server->io, timeout_ms);
}

void hs_server_reopen_logs(hs_server_t *server)
{
    hs_io_request_reopen(&server->io);
}

void hs_server_free(hs_server_t *server)
{
    if (server == NULL)
        return;
    hs_io_free(&server->io);
    hs_lua_free(server->lua);
    hs_free(server);
}

uint16_t hs_server_port(const hs_server_t *server)
{
    return server->port;
}

int hs_check_lua(const char *lua_script, const char *lua_root, char *error, size_t error_size)
{
    hs_log_t log;
    hs_log_init(&log, HS_LOG_WARN, NULL, NULL);
    hs_errinfo_t info = { 0 };
    hs_lua_config_t config = { lua_script, lua_root, &log };
    hs_lua_free(hs_lua_new(&config, &info));
    return report(&info, NULL, error, error_size);
}

const char *hs_llhttp_version(void)
{
    return hs_parse_library_version();
}

const char *hs_luajit_version(void)
{
    return hs_lua_version();
}

const char *hs_allocator(void)
{
    return hs_object_allocator();
}

bool hs_self_check(void)
{
    return hs_object_is_same((const void *)(uintptr_t)hs_self_check, hs_parse_library_address());
}
