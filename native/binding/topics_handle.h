/*
 * The topics of a server as a JavaScript object, with the supervisor's reader. The main thread
 * makes every call; a thread that is started with the first subscription waits for messages and has
 * the main thread dispatch them.
 */
#pragma once

#include <napi.h>
#include <pthread.h>

#include <atomic>
#include <map>
#include <memory>

#include "httpserver_supervise.h"

class TopicsHandle : public Napi::ObjectWrap<TopicsHandle> {
public:
    static Napi::Function define(Napi::Env env);

    explicit TopicsHandle(const Napi::CallbackInfo &info);
    ~TopicsHandle() override;

private:
    struct Subscription {
        TopicsHandle *owner;
        hs_topic_subscriber_t *subscriber;
        Napi::FunctionReference callback;
    };

    Napi::Value descriptors(const Napi::CallbackInfo &info);
    void publish(const Napi::CallbackInfo &info);
    Napi::Value subscribe(const Napi::CallbackInfo &info);
    void unsubscribe(const Napi::CallbackInfo &info);
    void reset_side(const Napi::CallbackInfo &info);
    Napi::Value counters(const Napi::CallbackInfo &info);
    void close(const Napi::CallbackInfo &info);

    hs_topics_t *topics(Napi::Env env) const; /* throws when it was closed */
    void end() noexcept;
    void start_thread(Napi::Env env);
    void dispatch(Napi::Env env);
    void wait_for_messages() noexcept;
    static void *run_thread(void *self) noexcept;
    static void on_message(void *context, const char *message, size_t length, uint64_t lost);
    static void on_environment_exit(void *self) noexcept;

    hs_topics_t *topics_ = nullptr;
    hs_topic_hub_t *hub_ = nullptr;
    std::map<uint32_t, std::unique_ptr<Subscription>> subscriptions_;
    uint32_t next_number_ = 1;
    bool is_dispatching_ = false;
    Napi::ThreadSafeFunction arrived_;
    pthread_t thread_{};
    bool has_thread_ = false;
    /* Written by the main thread; read by the waiting one. */
    std::atomic<bool> is_ending_{ false };
    /* A dispatch is asked for and has not begun. Written by both threads. */
    std::atomic<bool> is_called_{ false };
};
