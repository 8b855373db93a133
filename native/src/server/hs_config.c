#include "server/hs_config.h"

#include <unistd.h>

#include "exec/hs_worker.h"
#include "httpserver_supervise.h"

#define RING_SIZE_MIN 64
#define RING_SIZE_MAX (1024 * 1024)
#define HEADERS_MAX 1024
#define REACTORS_MAX 256
#define QUEUE_MAX (1024 * 1024)
/* Content lengths are 32-bit numbers in the Lua ABI. */
#define BODY_MAX UINT32_MAX

void hs_config_init(hs_config_t *config)
{
    *config = (hs_config_t){
        .listen_flags = HS_LISTEN_TCP,
        .host = "127.0.0.1",
        .port = 8080,
        .backlog = 1024,
        .uds_mode = 0660,
        .control_fd = -1,
        .tls_port = -1,
        .tls_fd = -1,
        .reactor_mode = HS_REACTOR_SINGLE,
        .dispatch = HS_DISPATCH_AUTO,
        .work_queue_cap = 4096,
        .conn_pool_cap = 1024,
        .ring_size = 8192,
        .max_body_size = 4 * 1024 * 1024,
        .max_body_memory = 256 * 1024 * 1024,
        .max_url_len = 8192,
        .max_headers = 64,
        .header_timeout_ms = 10 * 1000,
        .body_timeout_ms = 30 * 1000,
        .body_min_rate = 1024,
        .keepalive_timeout_ms = 75 * 1000,
        .write_timeout_ms = 30 * 1000,
        .write_min_rate = 256,
        .ws_max_message = 1024 * 1024,
        .ws_max_unsent = 1024 * 1024,
        .ws_max_frames = 10000,
        .ws_ping_interval_ms = 30 * 1000,
        .compress_min_size = 1024,
        .compress_gzip_level = 6,
        .compress_br_level = 4,
        .handler_timeout_ms = 30 * 1000,
        .stop_wait_ms = UINT32_MAX,
        .lua_memory_cap = 256 * 1024 * 1024,
        .topics_size = 4 * 1024 * 1024,
        .log_level = HS_LOG_INFO,
        .log_json_fd = -1,
        .access_log_fd = STDOUT_FILENO,
        .trace_fd = STDOUT_FILENO,
        .reactor_index = -1,
        .pin_cpu = -1,
        .inbox_fd = -1,
        .max_generations = 3,
        .app_fd = -1,
        .stats_fd = -1,
    };
}

static int check_sources(const hs_config_t *config, hs_errinfo_t *error)
{
    const int known = HS_LISTEN_TCP | HS_LISTEN_UDS | HS_LISTEN_FDS;
    if ((config->listen_flags & ~known) != 0 || config->listen_flags == 0)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "listen_flags %#x: nothing to listen on",
                              (unsigned)config->listen_flags);
    if ((config->listen_flags & HS_LISTEN_TCP) && config->host == NULL)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "host is missing");
    if ((config->listen_flags & HS_LISTEN_UDS) && config->uds_path == NULL)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "uds_path is missing");
    if ((config->listen_flags & HS_LISTEN_FDS) &&
        (config->listen_fds == NULL || config->listen_fd_count == 0) && config->inbox_fd < 0)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "listen_fds is empty");
    if (config->tls_port > UINT16_MAX)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "tls_port %d is not a port",
                              config->tls_port);
    if (config->tls_port >= 0 && config->tls == NULL && config->tls_fd < 0)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "tls_port without tls");
    if (config->lua_script == NULL && config->handler == NULL && config->module_path == NULL)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0,
                              "none of handler, lua_script and module_path is set");
    return HS_OK;
}

static int check_threads(const hs_config_t *config, hs_errinfo_t *error)
{
    if (config->reactor_mode != HS_REACTOR_SINGLE && config->reactor_mode != HS_REACTOR_MULTI)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "reactor_mode %d is unknown",
                              (int)config->reactor_mode);
    if (config->num_io_threads < 0 || config->num_io_threads > REACTORS_MAX)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "num_io_threads %d is not from 0 to %d",
                              config->num_io_threads, REACTORS_MAX);
    if (config->num_threads < -1 || config->num_threads > HS_WORKERS_MAX)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "num_threads %d is not from -1 to %d",
                              config->num_threads, HS_WORKERS_MAX);
    if (config->work_queue_cap < 1 || config->work_queue_cap > QUEUE_MAX ||
        !hs_is_power_of_two((size_t)config->work_queue_cap))
        return hs_errinfo_set(error, HS_ERR_INVALID, 0,
                              "work_queue_cap %d is not a power of two from 1 to %d",
                              config->work_queue_cap, QUEUE_MAX);
    if (config->max_generations < 1)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "max_generations must be 1 or more");
    if (config->forwarded_field != HS_FORWARDED_X_FORWARDED_FOR &&
        config->forwarded_field != HS_FORWARDED_RFC7239)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "forwarded_field %d is unknown",
                              (int)config->forwarded_field);
    if (config->ws_compress < HS_WS_COMPRESS_OFF || config->ws_compress > HS_WS_COMPRESS_TAKEOVER)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "ws_compress %d is unknown",
                              (int)config->ws_compress);
    switch (config->dispatch) {
    case HS_DISPATCH_AUTO:
    case HS_DISPATCH_INLINE:
    case HS_DISPATCH_WORKER:
        return HS_OK;
    }
    return hs_errinfo_set(error, HS_ERR_INVALID, 0, "dispatch %d is unknown",
                          (int)config->dispatch);
}

static int check_supervised(const hs_config_t *config, hs_errinfo_t *error)
{
    if (config->reactor_mode == HS_REACTOR_MULTI &&
        (config->stats_fd >= 0 || config->inbox_fd >= 0))
        return hs_errinfo_set(error, HS_ERR_INVALID, 0,
                              "stats_fd and inbox_fd are for a single reactor");
    if (config->stats_slot >= HS_STATS_SLOTS_MAX || config->stats_side >= HS_STATS_SIDES)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "stats slot %u or side %u is out of range",
                              config->stats_slot, config->stats_side);
    return HS_OK;
}

int hs_config_check(const hs_config_t *config, hs_errinfo_t *error)
{
    if (!hs_is_power_of_two(config->ring_size) || config->ring_size < RING_SIZE_MIN ||
        config->ring_size > RING_SIZE_MAX)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0,
                              "ring_size %zu is not a power of two from %d to %d",
                              config->ring_size, RING_SIZE_MIN, RING_SIZE_MAX);
    if (config->conn_pool_cap < 1)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "conn_pool_cap %d is below 1",
                              config->conn_pool_cap);
    if (config->backlog < 1)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "backlog %d is below 1", config->backlog);
    if (config->max_headers < 1 || config->max_headers > HEADERS_MAX)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "max_headers %d is not from 1 to %d",
                              config->max_headers, HEADERS_MAX);
    if (config->max_url_len < 1 || config->max_url_len > RING_SIZE_MAX)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "max_url_len %zu is not from 1 to %d",
                              config->max_url_len, RING_SIZE_MAX);
    if (config->max_body_size > BODY_MAX)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "max_body_size %zu is above %u",
                              config->max_body_size, BODY_MAX);
    if (config->max_body_memory != 0 && config->max_body_memory < config->max_body_size)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0,
                              "max_body_memory %zu is below max_body_size %zu",
                              config->max_body_memory, config->max_body_size);
    if (config->stats_slot >= HS_STATS_SLOTS_MAX || config->stats_side >= HS_STATS_SIDES)
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "stats slot %u or side %u is out of range",
                              config->stats_slot, config->stats_side);
    int result = check_threads(config, error);
    if (result == HS_OK)
        result = check_supervised(config, error);
    return result == HS_OK ? check_sources(config, error) : result;
}

hs_limits_t hs_config_limits(const hs_config_t *config)
{
    return (hs_limits_t){
        .ring_size = (uint32_t)config->ring_size,
        .max_url = (uint32_t)config->max_url_len,
        .max_headers = (uint32_t)config->max_headers,
        .max_connections = (uint32_t)config->conn_pool_cap,
        .max_body = config->max_body_size,
        .max_body_memory = config->max_body_memory,
        .memory = config->memory_limit,
        .header_timeout_ms = config->header_timeout_ms,
        .body_timeout_ms = config->body_timeout_ms,
        .body_min_rate = config->body_min_rate,
        .keepalive_timeout_ms = config->keepalive_timeout_ms,
        .write_timeout_ms = config->write_timeout_ms,
        .write_min_rate = config->write_min_rate,
        .handler_timeout_ms = config->handler_timeout_ms,
        .ws_max_message = config->ws_max_message,
        .ws_max_unsent = config->ws_max_unsent,
        .ws_max_frames = config->ws_max_frames,
        .ws_ping_interval_ms = config->ws_ping_interval_ms,
    };
}
