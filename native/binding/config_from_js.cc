#include "config_from_js.h"

#include <unistd.h>

#include <cmath>

/* A reactor that ends does not wait longer for a handler that runs on a worker. */
static constexpr uint32_t kStopWaitMs = 250;
/* Two years: more than 32 bits of milliseconds. */
static constexpr double kHstsMaxMs = 2.0 * 365 * 24 * 3600 * 1000;
/* What a number holds exactly. */
static constexpr double kMemoryMax = 9007199254740991;

static Napi::Value property(const Napi::Object &object, const char *name)
{
    if (!object.Has(name))
        throw Napi::TypeError::New(object.Env(), std::string("option '") + name + "' is missing");
    return object.Get(name);
}

std::string string_property(const Napi::Object &object, const char *name)
{
    Napi::Value value = property(object, name);
    if (!value.IsString())
        throw Napi::TypeError::New(object.Env(),
                                   std::string("option '") + name + "' must be a string");
    return value.As<Napi::String>().Utf8Value();
}

static double integer_property(const Napi::Object &object, const char *name, double min, double max)
{
    Napi::Value value = property(object, name);
    double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
    if (!(number >= min && number <= max) || number != std::floor(number))
        throw Napi::TypeError::New(
            object.Env(), std::string("option '") + name + "' must be a whole number from " +
                              std::to_string(static_cast<int64_t>(min)) + " to " +
                              std::to_string(static_cast<int64_t>(max)));
    return number;
}

uint32_t uint32_property(const Napi::Object &object, const char *name)
{
    return static_cast<uint32_t>(integer_property(object, name, 0, UINT32_MAX));
}

int int_property(const Napi::Object &object, const char *name)
{
    return static_cast<int>(integer_property(object, name, -1, INT32_MAX));
}

AppSource app_source(const Napi::Value &value)
{
    if (!value.IsObject())
        throw Napi::TypeError::New(value.Env(), "option 'app' must be an object");
    Napi::Object object = value.As<Napi::Object>();
    AppSource app;
    std::string kind = string_property(object, "kind");
    if (kind != "lua" && kind != "c")
        throw Napi::TypeError::New(value.Env(), "option 'app' is of an unknown kind: " + kind);
    app.is_module = kind == "c";
    app.path = string_property(object, "path");
    if (app.is_module)
        app.symbol = string_property(object, "symbol");
    if (object.Has("compat") && string_property(object, "compat") == "ngx")
        app.compat = HS_LUA_COMPAT_NGX;
    return app;
}

static hs_log_level_t log_level_property(const Napi::Object &object, const char *name)
{
    static const char *const names[] = { "debug", "info", "warn", "error", "fatal", "off" };
    std::string value = string_property(object, name);
    for (int level = HS_LOG_DEBUG; level <= HS_LOG_OFF; level++)
        if (value == names[level])
            return static_cast<hs_log_level_t>(level);
    throw Napi::TypeError::New(object.Env(),
                               std::string("option '") + name + "' is not a log level: " + value);
}

static bool bool_property(const Napi::Object &object, const char *name)
{
    Napi::Value value = property(object, name);
    if (!value.IsBoolean())
        throw Napi::TypeError::New(object.Env(),
                                   std::string("option '") + name + "' must be true or false");
    return value.As<Napi::Boolean>().Value();
}

/* An array of strings, with commas between them. */
static std::string list_property(const Napi::Object &object, const char *name)
{
    Napi::Value value = property(object, name);
    if (!value.IsArray())
        throw Napi::TypeError::New(object.Env(),
                                   std::string("option '") + name + "' must be an array");
    Napi::Array array = value.As<Napi::Array>();
    std::string list;
    for (uint32_t i = 0; i < array.Length(); i++)
        list += (i > 0 ? "," : "") + array.Get(i).ToString().Utf8Value();
    return list;
}

static hs_forwarded_field_t forwarded_property(const Napi::Object &object, const char *name)
{
    std::string value = string_property(object, name);
    if (value == "x-forwarded-for")
        return HS_FORWARDED_X_FORWARDED_FOR;
    if (value == "forwarded")
        return HS_FORWARDED_RFC7239;
    throw Napi::TypeError::New(object.Env(), std::string("option '") + name +
                                                 "' is not a field of proxies: " + value);
}

static hs_survive_t survive_property(const Napi::Object &object, const char *name)
{
    static const char *const names[] = { "off", "idle", "all" };
    std::string value = string_property(object, name);
    for (int mode = HS_SURVIVE_OFF; mode <= HS_SURVIVE_ALL; mode++)
        if (value == names[mode])
            return static_cast<hs_survive_t>(mode);
    throw Napi::TypeError::New(object.Env(), std::string("option '") + name +
                                                 "' is not a survive mode: " + value);
}

static hs_dispatch_mode_t dispatch_property(const Napi::Object &object, const char *name)
{
    static const char *const names[] = { "auto", "inline", "worker" };
    std::string value = string_property(object, name);
    for (int mode = HS_DISPATCH_AUTO; mode <= HS_DISPATCH_WORKER; mode++)
        if (value == names[mode])
            return static_cast<hs_dispatch_mode_t>(mode);
    throw Napi::TypeError::New(object.Env(), std::string("option '") + name +
                                                 "' is not a dispatch mode: " + value);
}

hs_ws_compress_t ws_compress_property(const Napi::Object &object, const char *name)
{
    static const char *const names[] = { "off", "on", "takeover" };
    std::string value = string_property(object, name);
    for (int mode = HS_WS_COMPRESS_OFF; mode <= HS_WS_COMPRESS_TAKEOVER; mode++)
        if (value == names[mode])
            return static_cast<hs_ws_compress_t>(mode);
    throw Napi::TypeError::New(object.Env(), std::string("option '") + name +
                                                 "' is not a compression mode: " + value);
}

std::vector<int> descriptors_property(const Napi::Object &object, const char *name)
{
    Napi::Value value = property(object, name);
    if (!value.IsArray())
        throw Napi::TypeError::New(object.Env(),
                                   std::string("option '") + name + "' must be an array");
    Napi::Array array = value.As<Napi::Array>();
    std::vector<int> fds;
    for (uint32_t i = 0; i < array.Length(); i++) {
        Napi::Value item = array.Get(i);
        if (!item.IsNumber() || item.As<Napi::Number>().Int32Value() < 0)
            throw Napi::TypeError::New(object.Env(),
                                       std::string("option '") + name + "' must hold descriptors");
        fds.push_back(item.As<Napi::Number>().Int32Value());
    }
    return fds;
}

static hs_shared_kind_t shared_kind_property(const Napi::Object &object)
{
    std::string kind = string_property(object, "kind");
    if (kind == "dictionary")
        return HS_SHARED_DICTIONARY;
    throw Napi::TypeError::New(object.Env(), "shared memory of an unknown kind: " + kind);
}

SharedMemories::SharedMemories(const Napi::Value &value)
{
    if (value.IsUndefined())
        return;
    if (!value.IsArray())
        throw Napi::TypeError::New(value.Env(), "shared memory must be an array");
    Napi::Array array = value.As<Napi::Array>();
    names_.reserve(array.Length());
    for (uint32_t i = 0; i < array.Length(); i++) {
        Napi::Value item = array.Get(i);
        if (!item.IsObject())
            throw Napi::TypeError::New(value.Env(), "shared memory must be an array of objects");
        Napi::Object object = item.As<Napi::Object>();
        names_.push_back(string_property(object, "name"));
        hs_shared_memory_t memory = {};
        memory.kind = shared_kind_property(object);
        memory.name = names_.back().c_str();
        memory.fd = object.Has("fd") ? int_property(object, "fd") : -1;
        if (memory.fd < 0)
            memory.size =
                static_cast<size_t>(integer_property(object, "size", 1, 9007199254740991.0));
        memories.push_back(memory);
    }
}

void ReactorConfig::read_app(const Napi::Value &value)
{
    app = app_source(value);
    if (app.is_module) {
        config.module_path = app.path.c_str();
        config.module_symbol = app.symbol.c_str();
    } else {
        config.lua_script = app.path.c_str();
        config.lua_compat = app.compat;
    }
}

ReactorConfig::ReactorConfig(const Napi::Object &options) : shared(options.Get("sharedRegions"))
{
    hs_config_init(&config);
    config.shared = shared.memories.data();
    config.shared_count = shared.memories.size();
    if (options.Has("topicsFds"))
        topics_fds = descriptors_property(options, "topicsFds");
    config.topics_fds = topics_fds.data();
    config.topics_fd_count = topics_fds.size();
    listen_fds = descriptors_property(options, "listenFds");
    config.listen_flags = HS_LISTEN_FDS;
    config.listen_fds = listen_fds.data();
    config.listen_fd_count = listen_fds.size();
    config.control_fd = int_property(options, "controlFd");
    trusted_proxies = list_property(options, "trustedProxy");
    config.trusted_proxies = trusted_proxies.c_str();
    config.forwarded_field = forwarded_property(options, "forwardedField");
    compress = list_property(options, "compress");
    config.compress = compress.c_str();
    compress_types = list_property(options, "compressTypes");
    config.compress_types = compress_types.c_str();
    config.compress_min_size = uint32_property(options, "compressMinSize");
    config.compress_gzip_level = int_property(options, "compressGzipLevel");
    config.compress_br_level = int_property(options, "compressBrLevel");
    config.proxy_protocol = bool_property(options, "proxyProtocol");
    config.tls_handshakes = uint32_property(options, "tlsHandshakes");
    config.tls_redirect = bool_property(options, "tlsRedirect");
    config.tls_hsts_s =
        static_cast<uint32_t>(integer_property(options, "tlsHsts", 0, kHstsMaxMs) / 1000);
    config.conn_pool_cap = int_property(options, "maxConnections");
    config.ring_size = uint32_property(options, "ringSize");
    config.max_body_size = uint32_property(options, "maxBody");
    config.max_url_len = uint32_property(options, "maxUrl");
    config.max_headers = int_property(options, "maxHeaders");
    config.header_timeout_ms = uint32_property(options, "headerTimeout");
    config.body_timeout_ms = uint32_property(options, "bodyTimeout");
    config.max_body_memory = uint32_property(options, "maxBodyMemory");
    config.body_min_rate = uint32_property(options, "bodyMinRate");
    config.keepalive_timeout_ms = uint32_property(options, "keepaliveTimeout");
    config.write_timeout_ms = uint32_property(options, "writeTimeout");
    config.write_min_rate = uint32_property(options, "writeMinRate");
    config.ws_max_message = uint32_property(options, "wsMaxMessage");
    config.ws_max_unsent = uint32_property(options, "wsMaxUnsent");
    config.ws_max_frames = uint32_property(options, "wsMaxFrames");
    config.ws_compress = ws_compress_property(options, "wsCompress");
    config.ws_ping_interval_ms = uint32_property(options, "wsPingInterval");
    config.handler_timeout_ms = uint32_property(options, "handlerTimeout");
    config.lua_memory_cap = uint32_property(options, "luaMemory");
    config.lua_error_pages = bool_property(options, "dev");
    config.memory_limit =
        static_cast<uint64_t>(integer_property(options, "memoryLimit", 0, kMemoryMax));
    config.max_generations = uint32_property(options, "maxGenerations");
    config.survive = survive_property(options, "survive");
    config.dispatch = dispatch_property(options, "dispatch");
    config.num_threads = int_property(options, "threads");
    if (config.num_threads == 0) {
        /* 0 threads: none. In the library 0 means one per processor. */
        config.dispatch = HS_DISPATCH_INLINE;
        config.num_threads = -1;
    }
    config.stop_wait_ms = kStopWaitMs;
    read_app(property(options, "app"));
    lua_root = string_property(options, "luaRoot");
    config.lua_root = lua_root.c_str();

    config.log_level = log_level_property(options, "logLevel");
    config.log_json_fd = STDERR_FILENO;
    config.reactor_index = int_property(options, "index");
    read_supervision(options);
}

static int optional_int(const Napi::Object &options, const char *name, int otherwise)
{
    return options.Has(name) ? int_property(options, name) : otherwise;
}

static hs_access_format_t access_format(const Napi::Object &options)
{
    std::string format = options.Has("accessLog") ? string_property(options, "accessLog") : "off";
    if (format == "off")
        return HS_ACCESS_OFF;
    if (format == "json")
        return HS_ACCESS_JSON;
    if (format == "combined")
        return HS_ACCESS_COMBINED;
    throw Napi::TypeError::New(options.Env(),
                               "option 'accessLog' must be 'off', 'json' or 'combined'");
}

/* What only a supervisor needs: everything has a default. */
void ReactorConfig::read_supervision(const Napi::Object &options)
{
    config.app_fd = optional_int(options, "appFd", -1);
    config.tls_fd = optional_int(options, "tlsFd", -1);
    if (config.tls_fd >= 0)
        config.tls_port = int_property(options, "tlsPort");
    config.inbox_fd = optional_int(options, "inboxFd", -1);
    config.stats_fd = optional_int(options, "statsFd", -1);
    config.stats_slot = static_cast<uint32_t>(optional_int(options, "statsSlot", 0));
    config.stats_side = static_cast<uint32_t>(optional_int(options, "statsSide", 0));
    config.generation = static_cast<uint64_t>(optional_int(options, "generation", 0));
    config.pin_cpu = optional_int(options, "pinCpu", -1);
    config.access_log = access_format(options);
    config.access_log_fd = optional_int(options, "accessLogFd", STDOUT_FILENO);
    config.trace_sample = (uint32_t)optional_int(options, "traceSample", 0);
    if (options.Has("accessLogFile") && options.Get("accessLogFile").IsString()) {
        access_log_path = string_property(options, "accessLogFile");
        config.access_log_path = access_log_path.c_str();
    }
}
