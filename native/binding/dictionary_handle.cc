#include "dictionary_handle.h"

#include <cstring>

Napi::Function DictionaryHandle::define(Napi::Env env)
{
    return DefineClass(env, "SharedDictionary",
                       {
                           InstanceAccessor<&DictionaryHandle::descriptor>("fd"),
                           InstanceMethod<&DictionaryHandle::get>("get"),
                           InstanceMethod<&DictionaryHandle::get_stale>("getStale"),
                           InstanceMethod<&DictionaryHandle::store>("store"),
                           InstanceMethod<&DictionaryHandle::incr>("incr"),
                           InstanceMethod<&DictionaryHandle::cas>("cas"),
                           InstanceMethod<&DictionaryHandle::remove>("delete"),
                           InstanceMethod<&DictionaryHandle::expire>("expire"),
                           InstanceMethod<&DictionaryHandle::ttl>("ttl"),
                           InstanceMethod<&DictionaryHandle::push>("push"),
                           InstanceMethod<&DictionaryHandle::pop>("pop"),
                           InstanceMethod<&DictionaryHandle::length>("length"),
                           InstanceMethod<&DictionaryHandle::flush_all>("flushAll"),
                           InstanceMethod<&DictionaryHandle::flush_expired>("flushExpired"),
                           InstanceMethod<&DictionaryHandle::scan>("scan"),
                           InstanceMethod<&DictionaryHandle::stats>("stats"),
                           InstanceMethod<&DictionaryHandle::close>("close"),
                       });
}

DictionaryHandle::DictionaryHandle(const Napi::CallbackInfo &info)
    : Napi::ObjectWrap<DictionaryHandle>(info)
{
    if (info.Length() < 2 || !info[0].IsString() || !info[1].IsNumber())
        throw Napi::TypeError::New(info.Env(),
                                   "new SharedDictionary(name, size) takes a string and a number");
    char message[512] = "";
    std::string name = info[0].As<Napi::String>().Utf8Value();
    double size = info[1].As<Napi::Number>().DoubleValue();
    dictionary_ =
        hs_shared_create(name.c_str(), static_cast<size_t>(size), message, sizeof(message));
    if (dictionary_ == nullptr)
        throw Napi::Error::New(info.Env(), message);
}

DictionaryHandle::~DictionaryHandle()
{
    hs_shared_free(dictionary_);
    hs_shared_value_free(&value_);
}

hs_shared_t *DictionaryHandle::dictionary(Napi::Env env) const
{
    if (dictionary_ == nullptr)
        throw Napi::Error::New(env, "the server has stopped, and its shared memory is gone");
    return dictionary_;
}

Napi::Value DictionaryHandle::descriptor(const Napi::CallbackInfo &info)
{
    return Napi::Number::New(info.Env(), hs_shared_fd(dictionary(info.Env())));
}

static const char *problem_of(hs_shared_result_t result)
{
    switch (result) {
    case HS_SHARED_NO_MEMORY:
        return "NO_MEMORY";
    case HS_SHARED_NOT_A_NUMBER:
        return "NOT_A_NUMBER";
    case HS_SHARED_IS_LIST:
        return "IS_LIST";
    case HS_SHARED_NOT_A_LIST:
        return "NOT_A_LIST";
    case HS_SHARED_BAD_KEY:
        return "BAD_KEY";
    case HS_SHARED_BAD_VALUE:
        return "BAD_VALUE";
    case HS_SHARED_OK:
    case HS_SHARED_NOT_FOUND:
    case HS_SHARED_EXISTS:
    case HS_SHARED_DIFFERS:
        break;
    }
    return nullptr;
}

[[noreturn]] static void fail(Napi::Env env, hs_shared_result_t result)
{
    const char *problem = problem_of(result);
    Napi::Error error = Napi::Error::New(env, problem != nullptr ? problem : "UNKNOWN");
    error.Set("code", Napi::String::New(env, problem != nullptr ? problem : "UNKNOWN"));
    throw error;
}

/* Whether it was done; false for results of which one is no error. */
static bool done(Napi::Env env, hs_shared_result_t result)
{
    if (problem_of(result) != nullptr)
        fail(env, result);
    return result == HS_SHARED_OK;
}

static std::string key_argument(const Napi::CallbackInfo &info)
{
    if (!info[0].IsString())
        fail(info.Env(), HS_SHARED_BAD_KEY);
    return info[0].As<Napi::String>().Utf8Value();
}

static double number_argument(const Napi::CallbackInfo &info, size_t index)
{
    if (!info[index].IsNumber())
        throw Napi::TypeError::New(info.Env(), "a number is missing");
    return info[index].As<Napi::Number>().DoubleValue();
}

static uint64_t ttl_argument(const Napi::CallbackInfo &info, size_t index)
{
    double ttl_ms = number_argument(info, index);
    return ttl_ms < 0 ? HS_SHARED_KEEP_TTL : static_cast<uint64_t>(ttl_ms);
}

/* A value from JavaScript, with the memory that it refers to. Not copyable: it refers to itself. */
struct GivenValue {
    hs_shared_value_t value = {};

    explicit GivenValue(const Napi::Value &from)
    {
        if (from.IsString()) {
            text_ = from.As<Napi::String>().Utf8Value();
            set_bytes(text_.data(), text_.size());
        } else if (from.IsBuffer()) {
            auto bytes = from.As<Napi::Buffer<char>>();
            set_bytes(bytes.Data(), bytes.Length());
        } else if (from.IsNumber()) {
            value.type = HS_SHARED_NUMBER;
            value.number = from.As<Napi::Number>().DoubleValue();
        } else if (from.IsBoolean()) {
            value.type = HS_SHARED_BOOLEAN;
            value.number = from.As<Napi::Boolean>().Value() ? 1 : 0;
        } else {
            fail(from.Env(), HS_SHARED_BAD_VALUE);
        }
    }
    GivenValue(const GivenValue &) = delete;
    GivenValue &operator=(const GivenValue &) = delete;

private:
    void set_bytes(const char *data, size_t length)
    {
        value.type = HS_SHARED_STRING;
        value.data = data;
        value.length = length;
    }

    std::string text_;
};

static Napi::Value to_js(Napi::Env env, const hs_shared_value_t &value, bool as_buffer)
{
    switch (value.type) {
    case HS_SHARED_STRING:
        if (as_buffer)
            return Napi::Buffer<char>::Copy(env, value.data, value.length);
        return Napi::String::New(env, value.data, value.length);
    case HS_SHARED_NUMBER:
        return Napi::Number::New(env, value.number);
    case HS_SHARED_BOOLEAN:
        return Napi::Boolean::New(env, value.number != 0);
    case HS_SHARED_NIL:
    case HS_SHARED_LIST:
        break;
    }
    return env.Undefined();
}

Napi::Value DictionaryHandle::get(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    std::string key = key_argument(info);
    hs_shared_result_t result = hs_shared_get(dictionary(env), key.data(), key.size(), &value_);
    bool as_buffer = info[1].ToBoolean().Value();
    return done(env, result) ? to_js(env, value_, as_buffer) : env.Undefined();
}

Napi::Value DictionaryHandle::get_stale(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    std::string key = key_argument(info);
    if (!done(env, hs_shared_get_stale(dictionary(env), key.data(), key.size(), &value_)))
        return env.Undefined();
    Napi::Object found = Napi::Object::New(env);
    found.Set("value", to_js(env, value_, false));
    found.Set("isStale", Napi::Boolean::New(env, value_.is_stale));
    return found;
}

Napi::Value DictionaryHandle::store(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    if (!info[1].IsString())
        fail(env, HS_SHARED_BAD_KEY);
    std::string key = info[1].As<Napi::String>().Utf8Value();
    GivenValue given(info[2]);
    given.value.flags = static_cast<uint32_t>(number_argument(info, 4));
    hs_shared_result_t result =
        hs_shared_store(dictionary(env), static_cast<int>(number_argument(info, 0)), key.data(),
                        key.size(), &given.value, ttl_argument(info, 3), nullptr);
    return Napi::Boolean::New(env, done(env, result));
}

Napi::Value DictionaryHandle::incr(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    std::string key = key_argument(info);
    double initial = info[2].IsNumber() ? number_argument(info, 2) : 0;
    double sum = 0;
    hs_shared_result_t result = hs_shared_incr(
        dictionary(env), key.data(), key.size(), number_argument(info, 1),
        info[2].IsNumber() ? &initial : nullptr, ttl_argument(info, 3), &sum, nullptr);
    return done(env, result) ? Napi::Number::New(env, sum) : env.Undefined();
}

Napi::Value DictionaryHandle::cas(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    std::string key = key_argument(info);
    bool has_expected = !info[1].IsUndefined();
    bool has_value = !info[2].IsUndefined();
    Napi::Value none = Napi::Number::New(env, 0);
    GivenValue expected(has_expected ? info[1] : none);
    GivenValue given(has_value ? info[2] : none);
    hs_shared_result_t result = hs_shared_cas(
        dictionary(env), key.data(), key.size(), has_expected ? &expected.value : nullptr,
        has_value ? &given.value : nullptr, ttl_argument(info, 3), nullptr);
    return Napi::Boolean::New(env, done(env, result));
}

Napi::Value DictionaryHandle::remove(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    std::string key = key_argument(info);
    hs_shared_result_t result = hs_shared_delete(dictionary(env), key.data(), key.size());
    return Napi::Boolean::New(env, done(env, result));
}

Napi::Value DictionaryHandle::expire(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    std::string key = key_argument(info);
    hs_shared_result_t result =
        hs_shared_expire(dictionary(env), key.data(), key.size(), ttl_argument(info, 1));
    return Napi::Boolean::New(env, done(env, result));
}

Napi::Value DictionaryHandle::ttl(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    std::string key = key_argument(info);
    uint64_t ttl_ms = 0;
    if (!done(env, hs_shared_ttl(dictionary(env), key.data(), key.size(), &ttl_ms)))
        return env.Undefined();
    return Napi::Number::New(env, static_cast<double>(ttl_ms));
}

Napi::Value DictionaryHandle::push(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    std::string key = key_argument(info);
    GivenValue given(info[1]);
    size_t count = 0;
    hs_shared_result_t result = hs_shared_push(dictionary(env), key.data(), key.size(),
                                               info[2].ToBoolean().Value(), &given.value, &count);
    if (!done(env, result))
        fail(env, result);
    return Napi::Number::New(env, static_cast<double>(count));
}

Napi::Value DictionaryHandle::pop(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    std::string key = key_argument(info);
    hs_shared_result_t result = hs_shared_pop(dictionary(env), key.data(), key.size(),
                                              info[1].ToBoolean().Value(), &value_);
    return done(env, result) ? to_js(env, value_, false) : env.Undefined();
}

Napi::Value DictionaryHandle::length(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    std::string key = key_argument(info);
    size_t count = 0;
    (void)done(env, hs_shared_length(dictionary(env), key.data(), key.size(), &count));
    return Napi::Number::New(env, static_cast<double>(count));
}

void DictionaryHandle::flush_all(const Napi::CallbackInfo &info)
{
    hs_shared_flush_all(dictionary(info.Env()));
}

Napi::Value DictionaryHandle::flush_expired(const Napi::CallbackInfo &info)
{
    size_t most = static_cast<size_t>(number_argument(info, 0));
    size_t count = hs_shared_flush_expired(dictionary(info.Env()), most);
    return Napi::Number::New(info.Env(), static_cast<double>(count));
}

Napi::Value DictionaryHandle::scan(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    uint64_t cursor = static_cast<uint64_t>(number_argument(info, 0));
    size_t most = static_cast<size_t>(number_argument(info, 1));
    size_t count = hs_shared_scan(dictionary(env), &cursor, most, &value_);
    Napi::Array keys = Napi::Array::New(env, count);
    const char *at = value_.data;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t length;
        std::memcpy(&length, at, sizeof(length));
        keys.Set(i, Napi::String::New(env, at + sizeof(length), length));
        at += sizeof(length) + length;
    }
    Napi::Object scanned = Napi::Object::New(env);
    scanned.Set("keys", keys);
    scanned.Set("cursor", Napi::Number::New(env, static_cast<double>(cursor)));
    return scanned;
}

Napi::Value DictionaryHandle::stats(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    hs_shared_stats_t stats;
    hs_shared_read_stats(dictionary(env), &stats);
    Napi::Object object = Napi::Object::New(env);
    auto set = [&](const char *name, uint64_t value) {
        object.Set(name, Napi::Number::New(env, static_cast<double>(value)));
    };
    set("sizeBytes", stats.size);
    set("usedBytes", stats.used);
    set("freeBytes", stats.free);
    set("entries", stats.entries);
    set("evictions", stats.evictions);
    set("expirations", stats.expirations);
    set("refusals", stats.refusals);
    set("repairs", stats.repairs);
    set("maxValueBytes", hs_shared_value_max(dictionary(env)));
    return object;
}

void DictionaryHandle::close(const Napi::CallbackInfo &)
{
    hs_shared_free(dictionary_);
    dictionary_ = nullptr;
}
