#include "reactor_handle.h"

#include "httpserver_socket.h"
#include "httpserver_supervise.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

static const char *failure_code(int error_code)
{
    switch (error_code) {
    case -1:
        return "NOMEM";
    case -3:
        return "INVALID";
    case -6:
        return "HANDLER";
    default:
        return "SYSTEM";
    }
}

Napi::Function ReactorHandle::define(Napi::Env env)
{
    return DefineClass(env, "Reactor",
                       {
                           InstanceMethod<&ReactorHandle::load>("load"),
                           InstanceMethod<&ReactorHandle::serve>("serve"),
                           InstanceMethod<&ReactorHandle::drain>("drain"),
                           InstanceMethod<&ReactorHandle::hand_over>("handOver"),
                           InstanceMethod<&ReactorHandle::reopen_logs>("reopenLogs"),
                           InstanceMethod<&ReactorHandle::prepare>("prepare"),
                           InstanceMethod<&ReactorHandle::switch_over>("switchOver"),
                           InstanceMethod<&ReactorHandle::discard>("discard"),
                           InstanceMethod<&ReactorHandle::set_certificates>("setCertificates"),
                           InstanceMethod<&ReactorHandle::stop>("stop"),
                       });
}

static Napi::Object options_of(const Napi::CallbackInfo &info)
{
    if (info.Length() < 2 || !info[0].IsObject() || !info[1].IsFunction())
        throw Napi::TypeError::New(info.Env(),
                                   "new Reactor(options, onEvent) takes an object and a function");
    return info[0].As<Napi::Object>();
}

ReactorHandle::ReactorHandle(const Napi::CallbackInfo &info)
    : Napi::ObjectWrap<ReactorHandle>(info), config_(options_of(info))
{
    events_ = Napi::ThreadSafeFunction::New(info.Env(), info[1].As<Napi::Function>(),
                                            "moonring reactor", 0, 1);
    config_.config.on_event = on_event;
    config_.config.on_event_ud = this;
    napi_add_env_cleanup_hook(info.Env(), on_environment_exit, this);
}

ReactorHandle::~ReactorHandle()
{
    napi_remove_env_cleanup_hook(Env(), on_environment_exit, this);
    close();
    events_.Release();
}

/*
 * Standard output and error are sockets to the master's log: lines of a handler go there at once,
 * and whole. Node may have made them non-blocking, which would lose what does not fit, and
 * close-on-exec, which would leave programs started by a handler without streams.
 */
static void open_standard_streams()
{
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    for (int fd : { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO }) {
        (void)fcntl(fd, F_SETFD, 0);
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    }
}

/* The result is an event, even on failure, so that the caller has one place to handle it. */
void ReactorHandle::load(const Napi::CallbackInfo &info)
{
    if (server_ != nullptr)
        throw Napi::Error::New(info.Env(), "the reactor was loaded before");
    open_standard_streams();
    char message[4096];
    int code = 0;
    server_ = hs_server_create(&config_.config, &code, message, sizeof(message));
    if (server_ == nullptr) {
        std::string text = message;
        events_.NonBlockingCall([code, text](Napi::Env env, Napi::Function callback) {
            Napi::Object event = Napi::Object::New(env);
            event.Set("type", "failed");
            event.Set("code", failure_code(code));
            event.Set("message", text);
            callback.Call({ event });
        });
        return;
    }
    report("loaded");
}

void ReactorHandle::serve(const Napi::CallbackInfo &info)
{
    if (server_ == nullptr || has_thread_)
        throw Napi::Error::New(info.Env(), "there is no loaded reactor that waits to serve");
    pthread_attr_t attributes;
    int failed = pthread_attr_init(&attributes);
    if (failed == 0) {
        (void)pthread_attr_setstacksize(&attributes, HS_STACK_BYTES);
        failed = pthread_create(&thread_, &attributes, run_thread, this);
        pthread_attr_destroy(&attributes);
    }
    if (failed != 0)
        throw Napi::Error::New(info.Env(), std::string("cannot start the reactor's thread: ") +
                                               std::strerror(failed));
    has_thread_ = true;
}

void ReactorHandle::drain(const Napi::CallbackInfo &info)
{
    if (info.Length() < 1 || !info[0].IsNumber())
        throw Napi::TypeError::New(info.Env(), "drain(timeoutMs) takes a number");
    if (server_ != nullptr)
        hs_server_drain(server_, info[0].As<Napi::Number>().Uint32Value());
}

void ReactorHandle::hand_over(const Napi::CallbackInfo &info)
{
    if (info.Length() < 1 || !info[0].IsNumber())
        throw Napi::TypeError::New(info.Env(), "handOver(timeoutMs) takes a number");
    if (server_ != nullptr)
        hs_server_hand_over(server_, info[0].As<Napi::Number>().Uint32Value());
}

void ReactorHandle::reopen_logs(const Napi::CallbackInfo &)
{
    if (server_ != nullptr)
        hs_server_reopen_logs(server_);
}

/* Takes over the descriptor. Null, or why it cannot even start. */
Napi::Value ReactorHandle::prepare(const Napi::CallbackInfo &info)
{
    if (info.Length() < 2 || !info[0].IsNumber() || !info[1].IsNumber())
        throw Napi::TypeError::New(info.Env(), "prepare(appFd, generation) takes two numbers");
    preparing_ = info[1].As<Napi::Number>().Int64Value();
    char message[1024] = "the reactor is not loaded";
    if (server_ != nullptr && hs_server_prepare(server_, info[0].As<Napi::Number>().Int32Value(),
                                                message, sizeof(message)) == 0)
        return info.Env().Null();
    return Napi::String::New(info.Env(), message);
}

/* False: nothing is prepared. */
Napi::Value ReactorHandle::switch_over(const Napi::CallbackInfo &info)
{
    if (info.Length() < 1 || !info[0].IsNumber())
        throw Napi::TypeError::New(info.Env(), "switchOver(generation) takes a number");
    auto generation = static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value());
    bool done = server_ != nullptr && hs_server_switch(server_, generation) == 0;
    return Napi::Boolean::New(info.Env(), done);
}

void ReactorHandle::discard(const Napi::CallbackInfo &)
{
    if (server_ != nullptr)
        hs_server_discard(server_);
}

/* Takes over the descriptor. Null, or why the certificates are not used. */
Napi::Value ReactorHandle::set_certificates(const Napi::CallbackInfo &info)
{
    if (info.Length() < 1 || !info[0].IsNumber())
        throw Napi::TypeError::New(info.Env(), "setCertificates(tlsFd) takes a number");
    int tls_fd = info[0].As<Napi::Number>().Int32Value();
    char message[1024] = "the reactor is not loaded";
    bool is_done =
        server_ != nullptr && hs_server_take_tls(server_, tls_fd, message, sizeof(message)) == 0;
    hs_socket_close(tls_fd);
    return is_done ? info.Env().Null() : Napi::String::New(info.Env(), message).As<Napi::Value>();
}

void ReactorHandle::stop(const Napi::CallbackInfo &)
{
    close();
}

void *ReactorHandle::run_thread(void *self) noexcept
{
    static_cast<ReactorHandle *>(self)->run();
    return nullptr;
}

void ReactorHandle::run() noexcept
{
    hs_server_run(server_);
    report("drained");
}

void ReactorHandle::close() noexcept
{
    if (server_ == nullptr)
        return;
    hs_server_stop(server_);
    if (has_thread_)
        pthread_join(thread_, nullptr);
    has_thread_ = false;
    hs_server_free(server_);
    server_ = nullptr;
}

/* The helper thread of the server. */
void ReactorHandle::report_prepared(bool is_prepared) noexcept
{
    std::string problem = is_prepared ? "" : hs_server_problem(server_);
    double generation = static_cast<double>(preparing_.load());
    events_.NonBlockingCall(
        [is_prepared, problem, generation](Napi::Env env, Napi::Function callback) {
            Napi::Object event = Napi::Object::New(env);
            event.Set("type", "prepared");
            event.Set("generation", generation);
            event.Set("problem", is_prepared ? env.Null() : Napi::String::New(env, problem));
            callback.Call({ event });
        });
}

/* Any thread. `type` is a literal. */
void ReactorHandle::report(const char *type) noexcept
{
    events_.NonBlockingCall([type](Napi::Env env, Napi::Function callback) {
        Napi::Object event = Napi::Object::New(env);
        event.Set("type", type);
        callback.Call({ event });
    });
}

/* Any thread. */
void ReactorHandle::report_memory(bool is_limit) noexcept
{
    events_.NonBlockingCall([is_limit](Napi::Env env, Napi::Function callback) {
        Napi::Object event = Napi::Object::New(env);
        event.Set("type", "memory");
        event.Set("mark", is_limit ? "limit" : "near");
        event.Set("residentBytes", static_cast<double>(hs_memory_resident()));
        callback.Call({ event });
    });
}

void ReactorHandle::on_event(hs_event_t event, void *self) noexcept
{
    auto *handle = static_cast<ReactorHandle *>(self);
    switch (event) {
    case HS_EVENT_READY:
        handle->report("ready");
        break;
    case HS_EVENT_ORPHANED:
        handle->report("orphaned");
        break;
    case HS_EVENT_CUT:
        handle->report("cut");
        break;
    case HS_EVENT_STUCK:
        handle->report("stuck");
        break;
    case HS_EVENT_MEMORY_HIGH:
    case HS_EVENT_MEMORY_LIMIT:
        handle->report_memory(event == HS_EVENT_MEMORY_LIMIT);
        break;
    case HS_EVENT_PREPARED:
        handle->report_prepared(true);
        break;
    case HS_EVENT_NOT_PREPARED:
        handle->report_prepared(false);
        break;
    }
}

void ReactorHandle::on_environment_exit(void *self) noexcept
{
    static_cast<ReactorHandle *>(self)->close();
}
