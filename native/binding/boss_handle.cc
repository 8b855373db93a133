#include "boss_handle.h"

#include <unistd.h>

#include <cstring>

#include "config_from_js.h"
#include "stats_page_handle.h"

Napi::Function BossHandle::define(Napi::Env env)
{
    return DefineClass(env, "Boss",
                       {
                           InstanceAccessor<&BossHandle::inbox_fds>("inboxFds"),
                           InstanceMethod<&BossHandle::start>("start"),
                           InstanceMethod<&BossHandle::set_up>("setUp"),
                           InstanceMethod<&BossHandle::reclaim>("reclaim"),
                           InstanceMethod<&BossHandle::close_listeners>("closeListeners"),
                           InstanceMethod<&BossHandle::counters>("counters"),
                           InstanceMethod<&BossHandle::stop>("stop"),
                       });
}

static hs_boss_policy_t policy_property(const Napi::Object &options)
{
    std::string policy = string_property(options, "policy");
    if (policy == "round-robin")
        return HS_BOSS_ROUND_ROBIN;
    if (policy == "least")
        return HS_BOSS_LEAST;
    throw Napi::TypeError::New(options.Env(), "option 'policy' must be 'round-robin' or 'least'");
}

BossHandle::BossHandle(const Napi::CallbackInfo &info) : Napi::ObjectWrap<BossHandle>(info)
{
    if (info.Length() < 1 || !info[0].IsObject())
        throw Napi::TypeError::New(info.Env(), "new Boss(options) takes an object");
    Napi::Object options = info[0].As<Napi::Object>();
    std::vector<int> listen_fds = descriptors_property(options, "listenFds");
    hs_boss_config_t config = {};
    config.slots = slots_ = uint32_property(options, "slots");
    config.listen_fds = listen_fds.data();
    config.listen_fd_count = listen_fds.size();
    config.policy = policy_property(options);
    config.log_json_fd = STDERR_FILENO;
    Napi::Value stats = options.Get("stats");
    if (stats.IsObject()) {
        stats_ = Napi::Persistent(stats.As<Napi::Object>());
        config.stats = StatsPageHandle::Unwrap(stats_.Value())->page(info.Env());
        if (slots_ > hs_stats_page_slots(config.stats))
            throw Napi::RangeError::New(info.Env(), "the stats page has fewer slots");
    }
    char message[512] = "";
    boss_ = hs_boss_create(&config, message, sizeof(message));
    if (boss_ == nullptr)
        throw Napi::Error::New(info.Env(), message);
    napi_add_env_cleanup_hook(info.Env(), on_environment_exit, this);
}

BossHandle::~BossHandle()
{
    if (boss_ == nullptr)
        return;
    napi_remove_env_cleanup_hook(Env(), on_environment_exit, this);
    close();
}

void BossHandle::close() noexcept
{
    hs_boss_free(boss_);
    boss_ = nullptr;
}

void BossHandle::on_environment_exit(void *self) noexcept
{
    static_cast<BossHandle *>(self)->close();
}

hs_boss_t *BossHandle::boss(Napi::Env env) const
{
    if (boss_ == nullptr)
        throw Napi::Error::New(env, "the boss was stopped");
    return boss_;
}

uint32_t BossHandle::slot_argument(const Napi::CallbackInfo &info) const
{
    if (info.Length() < 1 || !info[0].IsNumber() ||
        info[0].As<Napi::Number>().Uint32Value() >= slots_)
        throw Napi::RangeError::New(info.Env(), "a slot must be a number below 'slots'");
    return info[0].As<Napi::Number>().Uint32Value();
}

Napi::Value BossHandle::inbox_fds(const Napi::CallbackInfo &info)
{
    Napi::Array fds = Napi::Array::New(info.Env(), slots_);
    for (uint32_t i = 0; i < slots_; i++)
        fds.Set(i, Napi::Number::New(info.Env(), hs_boss_inbox(boss(info.Env()), i)));
    return fds;
}

void BossHandle::start(const Napi::CallbackInfo &info)
{
    int result = hs_boss_start(boss(info.Env()));
    if (result < 0)
        throw Napi::Error::New(info.Env(),
                               std::string("cannot start the boss: ") + std::strerror(-result));
}

void BossHandle::set_up(const Napi::CallbackInfo &info)
{
    uint32_t slot = slot_argument(info);
    if (info.Length() < 2 || !info[1].IsBoolean())
        throw Napi::TypeError::New(info.Env(), "setUp(slot, up) takes a number and a boolean");
    uint32_t pid =
        info.Length() > 2 && info[2].IsNumber() ? info[2].As<Napi::Number>().Uint32Value() : 0;
    hs_boss_set_up(boss(info.Env()), slot, info[1].As<Napi::Boolean>().Value(), pid);
}

void BossHandle::reclaim(const Napi::CallbackInfo &info)
{
    hs_boss_reclaim(boss(info.Env()), slot_argument(info));
}

void BossHandle::close_listeners(const Napi::CallbackInfo &info)
{
    hs_boss_close_listeners(boss(info.Env()));
}

Napi::Value BossHandle::counters(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    hs_boss_counters_t now;
    hs_boss_read_counters(boss(env), &now);
    Napi::Object result = Napi::Object::New(env);
    result.Set("accepted", Napi::Number::New(env, static_cast<double>(now.accepted)));
    result.Set("relayed", Napi::Number::New(env, static_cast<double>(now.relayed)));
    result.Set("lost", Napi::Number::New(env, static_cast<double>(now.lost)));
    result.Set("held", Napi::Number::New(env, static_cast<double>(now.held)));
    result.Set("pauses", Napi::Number::New(env, static_cast<double>(now.pauses)));
    Napi::Array passed = Napi::Array::New(env, slots_);
    for (uint32_t i = 0; i < slots_; i++)
        passed.Set(i, Napi::Number::New(env, static_cast<double>(hs_boss_passed(boss_, i))));
    result.Set("passed", passed);
    return result;
}

void BossHandle::stop(const Napi::CallbackInfo &info)
{
    if (boss_ == nullptr)
        return;
    napi_remove_env_cleanup_hook(info.Env(), on_environment_exit, this);
    close();
}
