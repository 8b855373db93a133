/*
 * A reactor as a JavaScript object: owns one hs_server_t and the thread that runs it.
 *
 * The main thread calls load, serve, drain, stop; the reactor thread only reports, through a
 * thread-safe function. The object's finaliser and the environment's clean-up share one idempotent
 * close: stop, join, free.
 */
#pragma once

#include <napi.h>
#include <pthread.h>

#include <atomic>
#include <string>

#include "config_from_js.h"

class ReactorHandle : public Napi::ObjectWrap<ReactorHandle> {
public:
    static Napi::Function define(Napi::Env env);

    explicit ReactorHandle(const Napi::CallbackInfo &info);
    ~ReactorHandle() override;

private:
    void load(const Napi::CallbackInfo &info);
    void serve(const Napi::CallbackInfo &info);
    void drain(const Napi::CallbackInfo &info);
    void hand_over(const Napi::CallbackInfo &info);
    void reopen_logs(const Napi::CallbackInfo &info);
    Napi::Value prepare(const Napi::CallbackInfo &info);
    Napi::Value switch_over(const Napi::CallbackInfo &info);
    void discard(const Napi::CallbackInfo &info);
    Napi::Value set_certificates(const Napi::CallbackInfo &info);
    void stop(const Napi::CallbackInfo &info);

    void close() noexcept;
    void run() noexcept;
    void report(const char *type) noexcept;
    void report_memory(bool is_limit) noexcept;
    void report_prepared(bool is_prepared) noexcept;
    static void *run_thread(void *self) noexcept;
    static void on_event(hs_event_t event, void *self) noexcept;
    static void on_environment_exit(void *self) noexcept;

    ReactorConfig config_;
    Napi::ThreadSafeFunction events_;
    hs_server_t *server_ = nullptr;
    pthread_t thread_{};
    bool has_thread_ = false;
    /* The generation of the last prepare. Written by the main thread while the server's helper has
     * nothing to report, read by the helper. */
    std::atomic<int64_t> preparing_{ 0 };
};
