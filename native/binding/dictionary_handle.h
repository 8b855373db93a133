/*
 * A shared dictionary as a JavaScript object. Main thread only; the memory is that of the reactors.
 */
#pragma once

#include <napi.h>

#include "httpserver.h"

class DictionaryHandle : public Napi::ObjectWrap<DictionaryHandle> {
public:
    static Napi::Function define(Napi::Env env);

    explicit DictionaryHandle(const Napi::CallbackInfo &info);
    ~DictionaryHandle() override;

private:
    /* Throws when it was closed. */
    hs_shared_t *dictionary(Napi::Env env) const;

    Napi::Value descriptor(const Napi::CallbackInfo &info);
    Napi::Value get(const Napi::CallbackInfo &info);
    Napi::Value get_stale(const Napi::CallbackInfo &info);
    Napi::Value store(const Napi::CallbackInfo &info);
    Napi::Value incr(const Napi::CallbackInfo &info);
    Napi::Value cas(const Napi::CallbackInfo &info);
    Napi::Value remove(const Napi::CallbackInfo &info);
    Napi::Value expire(const Napi::CallbackInfo &info);
    Napi::Value ttl(const Napi::CallbackInfo &info);
    Napi::Value push(const Napi::CallbackInfo &info);
    Napi::Value pop(const Napi::CallbackInfo &info);
    Napi::Value length(const Napi::CallbackInfo &info);
    void flush_all(const Napi::CallbackInfo &info);
    Napi::Value flush_expired(const Napi::CallbackInfo &info);
    Napi::Value scan(const Napi::CallbackInfo &info);
    Napi::Value stats(const Napi::CallbackInfo &info);
    void close(const Napi::CallbackInfo &info);

    hs_shared_t *dictionary_ = nullptr;
    hs_shared_value_t value_ = {}; /* what calls fill, so that its buffer is used again */
};
