#include "topics_handle.h"

#include <string>

/* Messages that one call into JavaScript gives. */
static const uint32_t MESSAGES = 1000;
/* Of a publisher that was killed before it could wake. */
static const int LOOK_MS = 1000;

Napi::Function TopicsHandle::define(Napi::Env env)
{
    return DefineClass(env, "Topics",
                       {
                           InstanceAccessor<&TopicsHandle::descriptors>("fds"),
                           InstanceMethod<&TopicsHandle::publish>("publish"),
                           InstanceMethod<&TopicsHandle::subscribe>("subscribe"),
                           InstanceMethod<&TopicsHandle::unsubscribe>("unsubscribe"),
                           InstanceMethod<&TopicsHandle::reset_side>("resetSide"),
                           InstanceMethod<&TopicsHandle::counters>("counters"),
                           InstanceMethod<&TopicsHandle::close>("close"),
                       });
}

TopicsHandle::TopicsHandle(const Napi::CallbackInfo &info) : Napi::ObjectWrap<TopicsHandle>(info)
{
    Napi::Env env = info.Env();
    if (info.Length() < 2 || !info[0].IsNumber() || !info[1].IsNumber())
        throw Napi::TypeError::New(env, "new Topics(slots, size) takes two numbers");
    char message[512] = "";
    topics_ = hs_topics_create(info[0].As<Napi::Number>().Uint32Value(),
                               static_cast<size_t>(info[1].As<Napi::Number>().DoubleValue()),
                               message, sizeof(message));
    if (topics_ == nullptr)
        throw Napi::Error::New(env, message);
    hub_ = hs_topic_hub_create(topics_);
    if (hub_ == nullptr) {
        hs_topics_free(topics_);
        throw Napi::Error::New(env, "out of memory for topics");
    }
    napi_add_env_cleanup_hook(env, on_environment_exit, this);
}

TopicsHandle::~TopicsHandle()
{
    napi_remove_env_cleanup_hook(Env(), on_environment_exit, this);
    end();
}

void TopicsHandle::on_environment_exit(void *self) noexcept
{
    static_cast<TopicsHandle *>(self)->end();
}

void TopicsHandle::end() noexcept
{
    if (topics_ == nullptr)
        return;
    is_ending_.store(true);
    if (has_thread_) {
        hs_topics_wake(topics_);
        pthread_join(thread_, nullptr);
        arrived_.Release();
        has_thread_ = false;
    }
    hs_topic_hub_free(hub_);
    subscriptions_.clear();
    hs_topics_free(topics_);
    hub_ = nullptr;
    topics_ = nullptr;
}

void TopicsHandle::close(const Napi::CallbackInfo &info)
{
    if (is_dispatching_)
        throw Napi::Error::New(info.Env(), "topics cannot be closed by a subscriber");
    end();
}

hs_topics_t *TopicsHandle::topics(Napi::Env env) const
{
    if (topics_ == nullptr)
        throw Napi::Error::New(env, "the topics are closed");
    return topics_;
}

Napi::Value TopicsHandle::descriptors(const Napi::CallbackInfo &info)
{
    size_t count = 0;
    const int *fds = hs_topics_fds(topics(info.Env()), &count);
    Napi::Array array = Napi::Array::New(info.Env(), count);
    for (uint32_t i = 0; i < count; i++)
        array.Set(i, Napi::Number::New(info.Env(), fds[i]));
    return array;
}

void TopicsHandle::publish(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    if (info.Length() < 2 || !info[0].IsString() || !info[1].IsBuffer())
        throw Napi::TypeError::New(env, "publish(topic, message) takes a string and a buffer");
    std::string topic = info[0].As<Napi::String>().Utf8Value();
    auto message = info[1].As<Napi::Buffer<char>>();
    int result = hs_topics_publish(topics(env), topic.data(), topic.size(), message.Data(),
                                   message.Length());
    if (result == -5)
        throw Napi::RangeError::New(env, "a message has at most " +
                                             std::to_string(HS_TOPIC_MESSAGE_MAX) + " bytes, not " +
                                             std::to_string(message.Length()));
    if (result != 0)
        throw Napi::RangeError::New(env, "a topic has 1 to " + std::to_string(HS_TOPIC_MAX) +
                                             " bytes, not " + std::to_string(topic.size()));
}

/* ---- Subscriptions. ---- */

void TopicsHandle::on_message(void *context, const char *message, size_t length, uint64_t lost)
{
    auto *subscription = static_cast<Subscription *>(context);
    Napi::Env env = subscription->callback.Env();
    Napi::HandleScope scope(env);
    try {
        subscription->callback.Call({ Napi::Buffer<char>::Copy(env, message, length),
                                      Napi::Number::New(env, static_cast<double>(lost)) });
    } catch (const Napi::Error &error) {
        napi_fatal_exception(env, error.Value());
    }
}

Napi::Value TopicsHandle::subscribe(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    if (info.Length() < 2 || !info[0].IsString() || !info[1].IsFunction())
        throw Napi::TypeError::New(env, "subscribe(topic, callback) takes a string and a function");
    (void)topics(env);
    std::string topic = info[0].As<Napi::String>().Utf8Value();
    auto subscription = std::make_unique<Subscription>();
    subscription->owner = this;
    subscription->callback = Napi::Persistent(info[1].As<Napi::Function>());
    subscription->subscriber =
        hs_topic_hub_subscribe(hub_, topic.data(), topic.size(), on_message, subscription.get());
    if (subscription->subscriber == nullptr)
        throw Napi::RangeError::New(env, "a topic has 1 to " + std::to_string(HS_TOPIC_MAX) +
                                             " bytes, not " + std::to_string(topic.size()));
    uint32_t number = next_number_++;
    subscriptions_[number] = std::move(subscription);
    start_thread(env);
    return Napi::Number::New(env, number);
}

void TopicsHandle::unsubscribe(const Napi::CallbackInfo &info)
{
    if (topics_ == nullptr || info.Length() < 1 || !info[0].IsNumber())
        return;
    auto found = subscriptions_.find(info[0].As<Napi::Number>().Uint32Value());
    if (found == subscriptions_.end())
        return;
    hs_topic_hub_unsubscribe(hub_, found->second->subscriber);
    subscriptions_.erase(found);
}

/* Does nothing if it runs. The hub has to look before its reader can be woken. */
void TopicsHandle::start_thread(Napi::Env env)
{
    if (!has_thread_) {
        arrived_ = Napi::ThreadSafeFunction::New(
            env, Napi::Function::New(env, [](const Napi::CallbackInfo &) {}), "moonring topics", 0,
            1);
        arrived_.Unref(env);
        has_thread_ = pthread_create(&thread_, nullptr, run_thread, this) == 0;
        if (!has_thread_) {
            arrived_.Release();
            throw Napi::Error::New(env, "cannot start the thread of topics");
        }
    }
    hs_topics_wake(topics_);
}

void *TopicsHandle::run_thread(void *self) noexcept
{
    static_cast<TopicsHandle *>(self)->wait_for_messages();
    return nullptr;
}

void TopicsHandle::wait_for_messages() noexcept
{
    while (!is_ending_.load()) {
        hs_topics_wait(topics_, LOOK_MS);
        if (is_ending_.load() || is_called_.exchange(true))
            continue;
        arrived_.NonBlockingCall(
            [this](Napi::Env env, Napi::Function /* callback */) { dispatch(env); });
    }
}

void TopicsHandle::dispatch(Napi::Env env)
{
    is_called_.store(false);
    if (topics_ == nullptr)
        return;
    Napi::HandleScope scope(env);
    is_dispatching_ = true;
    (void)hs_topic_hub_dispatch(hub_, MESSAGES);
    is_dispatching_ = false;
    if (hs_topic_hub_sleep(hub_))
        hs_topics_wake(topics_); /* another turn of the main loop */
}

/* ---- Processes. ---- */

void TopicsHandle::reset_side(const Napi::CallbackInfo &info)
{
    if (topics_ != nullptr && info.Length() >= 2 && info[0].IsNumber() && info[1].IsNumber())
        hs_topics_reset(topics_, info[0].As<Napi::Number>().Uint32Value(),
                        info[1].As<Napi::Number>().Uint32Value());
}

Napi::Value TopicsHandle::counters(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    uint32_t slot = info.Length() > 0 && info[0].IsNumber()
                        ? info[0].As<Napi::Number>().Uint32Value()
                        : UINT32_MAX;
    hs_topics_counters_t counters;
    hs_topics_read_counters(topics(env), slot, &counters);
    Napi::Object record = Napi::Object::New(env);
    record.Set("published", Napi::Number::New(env, static_cast<double>(counters.published)));
    record.Set("delivered", Napi::Number::New(env, static_cast<double>(counters.delivered)));
    record.Set("lost", Napi::Number::New(env, static_cast<double>(counters.lost)));
    record.Set("subscribers", Napi::Number::New(env, static_cast<double>(counters.subscribers)));
    return record;
}
