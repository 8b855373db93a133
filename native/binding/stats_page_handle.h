/*
 * The stats page as a JavaScript object. Main thread only; reading asks no reactor.
 */
#pragma once

#include <napi.h>

#include "httpserver_supervise.h"

class StatsPageHandle : public Napi::ObjectWrap<StatsPageHandle> {
public:
    static Napi::Function define(Napi::Env env);

    /* Names and bounds of what `read` returns. */
    static Napi::Object layout(Napi::Env env);

    explicit StatsPageHandle(const Napi::CallbackInfo &info);
    ~StatsPageHandle() override;

    /* Throws when it was closed. */
    hs_stats_page_t *page(Napi::Env env) const;

private:
    Napi::Value descriptor(const Napi::CallbackInfo &info);
    Napi::Value read(const Napi::CallbackInfo &info);
    Napi::Value read_metrics(const Napi::CallbackInfo &info);
    Napi::Value read_serving(const Napi::CallbackInfo &info);
    void reset_side(const Napi::CallbackInfo &info);
    void close(const Napi::CallbackInfo &info);

    Napi::Value read_slot(Napi::Env env, uint32_t slot);
    void read_board(Napi::Array metrics, uint32_t slot, uint32_t side);
    Napi::Value read_process(Napi::Env env, uint32_t slot, uint32_t side,
                             const hs_stats_process_t &process);

    hs_stats_page_t *page_ = nullptr;
    bool is_closed_ = false; /* the memory stays as long as the object: a boss may read it */
};
