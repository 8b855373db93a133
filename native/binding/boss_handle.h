/*
 * The boss as a JavaScript object: owns one hs_boss_t, whose thread never calls into JavaScript.
 * Main thread only.
 */
#pragma once

#include <napi.h>

#include "httpserver_supervise.h"

class BossHandle : public Napi::ObjectWrap<BossHandle> {
public:
    static Napi::Function define(Napi::Env env);

    explicit BossHandle(const Napi::CallbackInfo &info);
    ~BossHandle() override;

private:
    Napi::Value inbox_fds(const Napi::CallbackInfo &info);
    void start(const Napi::CallbackInfo &info);
    void set_up(const Napi::CallbackInfo &info);
    void reclaim(const Napi::CallbackInfo &info);
    void close_listeners(const Napi::CallbackInfo &info);
    Napi::Value counters(const Napi::CallbackInfo &info);
    void stop(const Napi::CallbackInfo &info);

    hs_boss_t *boss(Napi::Env env) const;
    uint32_t slot_argument(const Napi::CallbackInfo &info) const;
    void close() noexcept;
    static void on_environment_exit(void *self) noexcept;

    hs_boss_t *boss_ = nullptr;
    uint32_t slots_ = 0;
    Napi::ObjectReference stats_; /* keeps the page alive as long as the thread reads it */
};
