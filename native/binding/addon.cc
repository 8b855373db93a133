/*
 * The addon's functions: translation between JavaScript and the C API, nothing else. No mutable
 * statics: an addon may be loaded into several environments of one process.
 */
#include <napi.h>

#include <csignal>
#include <cstring>
#include <memory>

#include <unistd.h>

#include "boss_handle.h"
#include "config_from_js.h"
#include "dictionary_handle.h"
#include "httpserver.h"
#include "httpserver_supervise.h"
#include "reactor_handle.h"
#include "sockets.h"
#include "stats_page_handle.h"
#include "topics_handle.h"

/* What came of it: a problem, or the descriptor of what was accepted. */
static Napi::Value accept_handler(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    if (info.Length() < 3 || !info[0].IsObject() || !info[1].IsString())
        throw Napi::TypeError::New(
            env, "acceptHandler(app, luaRoot, shared) takes an object, a string and an array");
    AppSource app = app_source(info[0]);
    std::string root = info[1].As<Napi::String>().Utf8Value();
    SharedMemories shared(info[2]);
    char message[4096];
    int fd = -1;
    bool is_whole = true;
    int result =
        app.is_module
            ? hs_accept_module(app.path.c_str(), app.symbol.c_str(), &fd, message, sizeof(message))
            : hs_accept_lua(app.path.c_str(), root.c_str(), app.compat, shared.memories.data(),
                            shared.memories.size(), &fd, &is_whole, message, sizeof(message));
    Napi::Object verdict = Napi::Object::New(env);
    verdict.Set("problem", result == 0 ? env.Null() : Napi::String::New(env, message));
    verdict.Set("appFd", Napi::Number::New(env, fd));
    verdict.Set("isWhole", Napi::Boolean::New(env, is_whole));
    return verdict;
}

static Napi::Value allocator(const Napi::CallbackInfo &info)
{
    std::string name = hs_allocator();
    bool is_version = !name.empty() && name[0] >= '0' && name[0] <= '9';
    return Napi::String::New(info.Env(), is_version ? "jemalloc " + name : name);
}

static Napi::Value reap_keepers(const Napi::CallbackInfo &info)
{
    hs_reap_keepers();
    return info.Env().Undefined();
}

static Napi::Value monotonic_ms(const Napi::CallbackInfo &info)
{
    return Napi::Number::New(info.Env(), static_cast<double>(hs_monotonic_ms()));
}

static Napi::Value write_lines(hs_lines_t *lines, const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    if (info.Length() < 1 || !info[0].IsBuffer())
        throw Napi::TypeError::New(env, "writeLines(lines) takes a buffer");
    auto bytes = info[0].As<Napi::Buffer<char>>();
    ptrdiff_t written = hs_lines_write(lines, bytes.Data(), bytes.Length());
    if (written < 0)
        throw Napi::Error::New(env, std::strerror(static_cast<int>(-written)));
    return Napi::Number::New(env, static_cast<double>(written));
}

static Napi::Value set_alarm(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    if (info.Length() < 1 || !info[0].IsNumber())
        throw Napi::TypeError::New(env, "alarm(seconds) takes a number");
    std::signal(SIGALRM, SIG_DFL); /* whoever takes it in JavaScript would not be called in time */
    alarm(info[0].As<Napi::Number>().Uint32Value());
    return env.Undefined();
}

static Napi::Value open_lines(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    if (info.Length() < 1 || !info[0].IsNumber())
        throw Napi::TypeError::New(env, "openLines(fd) takes a number");
    hs_lines_t *opened = hs_lines_new(info[0].As<Napi::Number>().Int32Value());
    if (opened == nullptr)
        throw Napi::Error::New(env, "out of memory for a log");
    std::shared_ptr<hs_lines_t> lines(opened, hs_lines_free);
    return Napi::Function::New(
        env, [lines](const Napi::CallbackInfo &call) { return write_lines(lines.get(), call); },
        "writeLines");
}

static Napi::Value interrupts_compiled(const Napi::CallbackInfo &info)
{
    return Napi::Boolean::New(info.Env(), hs_luajit_interrupts_compiled());
}

static Napi::Object init(Napi::Env env, Napi::Object exports)
{
    if (!hs_self_check())
        throw Napi::Error::New(
            env,
            "llhttp or zlib was resolved outside the addon, from another library in this process: "
            "refusing to load. Rebuild the addon with the project's own build.");
    exports.Set("version", HS_VERSION);
    exports.Set("llhttpVersion", hs_llhttp_version());
    exports.Set("luajitVersion", hs_luajit_version());
    exports.Set("interruptsCompiled",
                Napi::Function::New(env, interrupts_compiled, "interruptsCompiled"));
    define_sockets(env, exports);
    exports.Set("acceptHandler", Napi::Function::New(env, accept_handler, "acceptHandler"));
    exports.Set("allocator", Napi::Function::New(env, allocator, "allocator"));
    exports.Set("reapKeepers", Napi::Function::New(env, reap_keepers, "reapKeepers"));
    exports.Set("monotonicMs", Napi::Function::New(env, monotonic_ms, "monotonicMs"));
    exports.Set("alarm", Napi::Function::New(env, set_alarm, "alarm"));
    exports.Set("openLines", Napi::Function::New(env, open_lines, "openLines"));
    exports.Set("statsLayout", StatsPageHandle::layout(env));
    exports.Set("StatsPage", StatsPageHandle::define(env));
    exports.Set("SharedDictionary", DictionaryHandle::define(env));
    exports.Set("Topics", TopicsHandle::define(env));
    exports.Set("Boss", BossHandle::define(env));
    exports.Set("Reactor", ReactorHandle::define(env));
    return exports;
}

NODE_API_MODULE(moonring, init)
