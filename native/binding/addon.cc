/*
 * The addon's functions: translation between JavaScript and the C API, nothing else. No mutable
 * statics: an addon may be loaded into several environments of one process.
 */
#include <napi.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "boss_handle.h"
#include "config_from_js.h"
#include "httpserver.h"
#include "httpserver_socket.h"
#include "reactor_handle.h"
#include "stats_page_handle.h"

/* Sockets in one group: more reactors than any machine has cores. */
static constexpr uint32_t kGroupMax = 4096;

static const char *errno_name(int number)
{
    switch (number) {
    case EADDRINUSE:
        return "EADDRINUSE";
    case EADDRNOTAVAIL:
        return "EADDRNOTAVAIL";
    case EACCES:
        return "EACCES";
    case EPERM:
        return "EPERM";
    case EAFNOSUPPORT:
        return "EAFNOSUPPORT";
    case EMFILE:
        return "EMFILE";
    case ENFILE:
        return "ENFILE";
    case ENOENT:
        return "ENOENT";
    default:
        return "EIO";
    }
}

static Napi::Error system_error(Napi::Env env, int number, const std::string &message)
{
    Napi::Error error = Napi::Error::New(env, message);
    error.Set("code", Napi::String::New(env, errno_name(number)));
    error.Set("errno", Napi::Number::New(env, number));
    return error;
}

static Napi::Array array_of(Napi::Env env, const int *numbers, size_t count)
{
    Napi::Array array = Napi::Array::New(env, count);
    for (size_t i = 0; i < count; i++)
        array.Set(static_cast<uint32_t>(i), Napi::Number::New(env, numbers[i]));
    return array;
}

static Napi::Value open_tcp_listeners(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    if (info.Length() < 1 || !info[0].IsObject())
        throw Napi::TypeError::New(env, "openTcpListeners(options) takes an object");
    Napi::Object options = info[0].As<Napi::Object>();
    std::string host = string_property(options, "host");
    uint32_t port = uint32_property(options, "port");
    uint32_t count = uint32_property(options, "count");
    if (port > UINT16_MAX || count < 1 || count > kGroupMax)
        throw Napi::TypeError::New(env, "openTcpListeners: port or count is out of range");

    std::vector<int> fds(count, -1);
    hs_bound_t bound;
    int sys_errno = 0;
    char message[512];
    if (hs_socket_listen_group(host.c_str(), static_cast<uint16_t>(port),
                               int_property(options, "backlog"), fds.data(), count, &bound,
                               &sys_errno, message, sizeof(message)) < 0)
        throw system_error(env, sys_errno, message);
    Napi::Object result = Napi::Object::New(env);
    result.Set("fds", array_of(env, fds.data(), fds.size()));
    result.Set("address", bound.address);
    result.Set("port", static_cast<double>(bound.port));
    result.Set("family", bound.family);
    return result;
}

static Napi::Value socket_pair(const Napi::CallbackInfo &info)
{
    int fds[2];
    int result = hs_socket_pair(fds);
    if (result < 0)
        throw system_error(info.Env(), -result,
                           std::string("socketpair: ") + std::strerror(-result));
    return array_of(info.Env(), fds, 2);
}

static int descriptor_argument(const Napi::CallbackInfo &info)
{
    if (info.Length() < 1 || !info[0].IsNumber())
        throw Napi::TypeError::New(info.Env(), "a descriptor must be a number");
    return info[0].As<Napi::Number>().Int32Value();
}

static void set_close_on_exec(const Napi::CallbackInfo &info)
{
    int result = hs_socket_set_cloexec(descriptor_argument(info));
    if (result < 0)
        throw system_error(info.Env(), -result, std::string("fcntl: ") + std::strerror(-result));
}

static void close_descriptor(const Napi::CallbackInfo &info)
{
    hs_socket_close(descriptor_argument(info));
}

static Napi::Value check_handler(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    if (info.Length() < 2 || !info[0].IsObject() || !info[1].IsString())
        throw Napi::TypeError::New(env, "checkHandler(app, luaRoot) takes an object and a string");
    AppSource app = app_source(info[0]);
    std::string root = info[1].As<Napi::String>().Utf8Value();
    char message[1024];
    int result =
        app.is_module
            ? hs_check_module(app.path.c_str(), app.symbol.c_str(), message, sizeof(message))
            : hs_check_lua(app.path.c_str(), root.c_str(), message, sizeof(message));
    if (result == 0)
        return env.Null();
    Napi::Object problem = Napi::Object::New(env);
    problem.Set("message", message);
    return problem;
}

static Napi::Value allocator(const Napi::CallbackInfo &info)
{
    std::string name = hs_allocator();
    bool is_version = !name.empty() && name[0] >= '0' && name[0] <= '9';
    return Napi::String::New(info.Env(), is_version ? "jemalloc " + name : name);
}

static Napi::Value monotonic_ms(const Napi::CallbackInfo &info)
{
    return Napi::Number::New(info.Env(), static_cast<double>(hs_monotonic_ms()));
}

static Napi::Object init(Napi::Env env, Napi::Object exports)
{
    if (!hs_self_check())
        throw Napi::Error::New(
            env, "llhttp was resolved outside of the addon, from another llhttp in this process: "
                 "refusing to load. Rebuild the addon with the project's own build.");
    exports.Set("version", HS_VERSION);
    exports.Set("llhttpVersion", hs_llhttp_version());
    exports.Set("luajitVersion", hs_luajit_version());
    exports.Set("openTcpListeners",
                Napi::Function::New(env, open_tcp_listeners, "openTcpListeners"));
    exports.Set("socketPair", Napi::Function::New(env, socket_pair, "socketPair"));
    exports.Set("setCloseOnExec", Napi::Function::New(env, set_close_on_exec, "setCloseOnExec"));
    exports.Set("closeDescriptor", Napi::Function::New(env, close_descriptor, "closeDescriptor"));
    exports.Set("checkHandler", Napi::Function::New(env, check_handler, "checkHandler"));
    exports.Set("allocator", Napi::Function::New(env, allocator, "allocator"));
    exports.Set("monotonicMs", Napi::Function::New(env, monotonic_ms, "monotonicMs"));
    exports.Set("statsLayout", StatsPageHandle::layout(env));
    exports.Set("StatsPage", StatsPageHandle::define(env));
    exports.Set("Boss", BossHandle::define(env));
    exports.Set("Reactor", ReactorHandle::define(env));
    return exports;
}

NODE_API_MODULE(moonring, init)
