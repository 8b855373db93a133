/*
 * Listening sockets and pairs for the master: translation between JavaScript and
 * httpserver_socket.h.
 */
#include "sockets.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "config_from_js.h"
#include "httpserver_socket.h"
#include "httpserver_supervise.h"

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
    case ENOTSOCK:
        return "ENOTSOCK";
    case ENAMETOOLONG:
        return "ENAMETOOLONG";
    case EBADF:
        return "EBADF";
    case EINVAL:
        return "EINVAL";
    case ECONNREFUSED:
        return "ECONNREFUSED";
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

static Napi::Object object_of(Napi::Env env, const hs_bound_t &bound)
{
    Napi::Object object = Napi::Object::New(env);
    object.Set("address", bound.address);
    object.Set("port", static_cast<double>(bound.port));
    object.Set("family", bound.family);
    return object;
}

static int descriptor_argument(const Napi::CallbackInfo &info)
{
    if (info.Length() < 1 || !info[0].IsNumber())
        throw Napi::TypeError::New(info.Env(), "a descriptor must be a number");
    return info[0].As<Napi::Number>().Int32Value();
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
    Napi::Object result = object_of(env, bound);
    result.Set("fds", array_of(env, fds.data(), fds.size()));
    return result;
}

static uint16_t port_property(const Napi::Object &options)
{
    uint32_t port = uint32_property(options, "port");
    if (port > UINT16_MAX)
        throw Napi::TypeError::New(options.Env(), "option 'port' is out of range");
    return static_cast<uint16_t>(port);
}

static Napi::Object first_object(const Napi::CallbackInfo &info)
{
    if (info.Length() < 1 || !info[0].IsObject())
        throw Napi::TypeError::New(info.Env(), "the first argument must be an object");
    return info[0].As<Napi::Object>();
}

static Napi::Value join_tcp_listeners(const Napi::CallbackInfo &info)
{
    Napi::Object options = first_object(info);
    int sys_errno = 0;
    char message[512];
    int fd = hs_socket_join_group(string_property(options, "host").c_str(), port_property(options),
                                  int_property(options, "backlog"), &sys_errno, message,
                                  sizeof(message));
    if (fd < 0)
        throw system_error(info.Env(), sys_errno, message);
    return Napi::Number::New(info.Env(), fd);
}

static Napi::Value open_unix_listener(const Napi::CallbackInfo &info)
{
    Napi::Object options = first_object(info);
    int sys_errno = 0;
    char message[512];
    int fd = hs_socket_listen_unix(
        string_property(options, "path").c_str(), uint32_property(options, "mode"),
        int_property(options, "backlog"), &sys_errno, message, sizeof(message));
    if (fd < 0)
        throw system_error(info.Env(), sys_errno, message);
    return Napi::Number::New(info.Env(), fd);
}

static Napi::Value adopt_listener(const Napi::CallbackInfo &info)
{
    hs_bound_t bound;
    int result = hs_socket_adopt(descriptor_argument(info), &bound);
    if (result < 0)
        throw system_error(info.Env(), -result, std::strerror(-result));
    return object_of(info.Env(), bound);
}

static void notify(const Napi::CallbackInfo &info)
{
    if (info.Length() < 2 || !info[0].IsString() || !info[1].IsString())
        throw Napi::TypeError::New(info.Env(), "notify(path, text) takes two strings");
    int result = hs_socket_notify(info[0].As<Napi::String>().Utf8Value().c_str(),
                                  info[1].As<Napi::String>().Utf8Value().c_str());
    if (result < 0)
        throw system_error(info.Env(), -result, std::strerror(-result));
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

static void send_descriptor(const Napi::CallbackInfo &info)
{
    if (info.Length() < 2 || !info[1].IsNumber())
        throw Napi::TypeError::New(info.Env(), "sendDescriptor(pair, fd) takes two numbers");
    int result = hs_socket_send_descriptor(descriptor_argument(info),
                                           info[1].As<Napi::Number>().Int32Value());
    if (result < 0)
        throw system_error(info.Env(), -result, std::string("sendmsg: ") + std::strerror(-result));
}

static Napi::Value receive_descriptor(const Napi::CallbackInfo &info)
{
    int fd = hs_socket_receive_descriptor(descriptor_argument(info));
    if (fd < 0)
        throw system_error(info.Env(), -fd, std::string("recvmsg: ") + std::strerror(-fd));
    return Napi::Number::New(info.Env(), fd);
}

static Napi::Value store_sealed(const Napi::CallbackInfo &info)
{
    if (info.Length() < 1 || !info[0].IsBuffer())
        throw Napi::TypeError::New(info.Env(), "storeSealed(content) takes a Buffer");
    auto content = info[0].As<Napi::Buffer<char>>();
    int fd = hs_store_tls(content.Data(), content.Length());
    if (fd < 0)
        throw system_error(info.Env(), -fd, std::string("memfd_create: ") + std::strerror(-fd));
    return Napi::Number::New(info.Env(), fd);
}

/* Returns null, or a message that says what is wrong with them. */
static Napi::Value check_certificates(const Napi::CallbackInfo &info)
{
    if (info.Length() < 1 || !info[0].IsBuffer())
        throw Napi::TypeError::New(info.Env(), "checkCertificates(content) takes a Buffer");
    auto content = info[0].As<Napi::Buffer<char>>();
    char message[512] = "";
    if (hs_check_tls(content.Data(), content.Length(), message, sizeof(message)) == 0)
        return info.Env().Null();
    return Napi::String::New(info.Env(), message);
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

void define_sockets(Napi::Env env, Napi::Object exports)
{
    auto define = [&](const char *name, auto function) {
        exports.Set(name, Napi::Function::New(env, function, name));
    };
    define("openTcpListeners", open_tcp_listeners);
    define("joinTcpListeners", join_tcp_listeners);
    define("openUnixListener", open_unix_listener);
    define("adoptListener", adopt_listener);
    define("notify", notify);
    define("socketPair", socket_pair);
    define("sendDescriptor", send_descriptor);
    define("receiveDescriptor", receive_descriptor);
    define("storeSealed", store_sealed);
    define("checkCertificates", check_certificates);
    define("setCloseOnExec", set_close_on_exec);
    define("closeDescriptor", close_descriptor);
}
