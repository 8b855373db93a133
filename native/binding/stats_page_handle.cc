#include "stats_page_handle.h"

#include "config_from_js.h"

static Napi::Value number(Napi::Env env, uint64_t value)
{
    return Napi::Number::New(env, static_cast<double>(value));
}

static Napi::Array numbers(Napi::Env env, const uint64_t *values, size_t count)
{
    Napi::Array array = Napi::Array::New(env, count);
    for (size_t i = 0; i < count; i++)
        array.Set(static_cast<uint32_t>(i), number(env, values[i]));
    return array;
}

static Napi::Array words(Napi::Env env, std::initializer_list<const char *> texts)
{
    Napi::Array array = Napi::Array::New(env, texts.size());
    uint32_t i = 0;
    for (const char *text : texts)
        array.Set(i++, Napi::String::New(env, text));
    return array;
}

Napi::Object StatsPageHandle::layout(Napi::Env env)
{
    Napi::Object layout = Napi::Object::New(env);
    Napi::Array buckets = Napi::Array::New(env, HS_STATS_BUCKETS - 1);
    for (uint32_t i = 0; i < HS_STATS_BUCKETS - 1; i++)
        buckets.Set(i, Napi::Number::New(env, hs_stats_bounds_us[i] / 1e6));
    Napi::Array refusals = Napi::Array::New(env, HS_STATS_REFUSALS);
    for (uint32_t i = 0; i < HS_STATS_REFUSALS; i++)
        refusals.Set(i, Napi::Number::New(env, hs_stats_refusal_statuses[i]));
    layout.Set("version", Napi::Number::New(env, 1));
    layout.Set("methods", words(env, { "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS",
                                       "_OTHER" }));
    layout.Set("latencyBuckets", buckets);
    layout.Set("refusals", refusals);
    layout.Set("timeouts", words(env, { "header", "body", "handler", "keepalive", "write" }));
    layout.Set("connectionStates",
               words(env, { "idle", "reading", "handling", "writing", "lingering", "websocket" }));
    Napi::Array ws_codes = Napi::Array::New(env, HS_STATS_WS_CODES);
    for (uint32_t i = 0; i < HS_STATS_WS_CODES; i++)
        ws_codes.Set(i, Napi::Number::New(env, hs_stats_ws_codes[i]));
    layout.Set("websocketCodes", ws_codes);
    layout.Set("sidesPerSlot", Napi::Number::New(env, HS_STATS_SIDES));
    layout.Set("threadsPerSide", Napi::Number::New(env, HS_STATS_THREADS));
    return layout;
}

Napi::Function StatsPageHandle::define(Napi::Env env)
{
    return DefineClass(env, "StatsPage",
                       {
                           InstanceAccessor<&StatsPageHandle::descriptor>("fd"),
                           InstanceMethod<&StatsPageHandle::read>("read"),
                           InstanceMethod<&StatsPageHandle::read_metrics>("readMetrics"),
                           InstanceMethod<&StatsPageHandle::read_serving>("readServing"),
                           InstanceMethod<&StatsPageHandle::reset_side>("resetSide"),
                           InstanceMethod<&StatsPageHandle::close>("close"),
                       });
}

StatsPageHandle::StatsPageHandle(const Napi::CallbackInfo &info)
    : Napi::ObjectWrap<StatsPageHandle>(info)
{
    if (info.Length() < 1 || !info[0].IsObject())
        throw Napi::TypeError::New(info.Env(), "new StatsPage(options) takes an object");
    char message[512] = "";
    page_ = hs_stats_page_create(uint32_property(info[0].As<Napi::Object>(), "slots"), message,
                                 sizeof(message));
    if (page_ == nullptr)
        throw Napi::Error::New(info.Env(), message);
}

StatsPageHandle::~StatsPageHandle()
{
    hs_stats_page_free(page_);
}

hs_stats_page_t *StatsPageHandle::page(Napi::Env env) const
{
    if (is_closed_)
        throw Napi::Error::New(env, "the stats page is closed");
    return page_;
}

Napi::Value StatsPageHandle::descriptor(const Napi::CallbackInfo &info)
{
    return Napi::Number::New(info.Env(), hs_stats_page_fd(page(info.Env())));
}

void StatsPageHandle::close(const Napi::CallbackInfo &)
{
    is_closed_ = true;
}

static Napi::Object serving_record(Napi::Env env, uint32_t thread, const hs_stats_serving_t &what)
{
    const char *method = hs_method_name(what.method);
    Napi::Object record = Napi::Object::New(env);
    record.Set("thread", Napi::Number::New(env, thread));
    record.Set("method", method != nullptr ? method : "_OTHER");
    record.Set("path", Napi::String::New(env, what.path, what.path_len));
    record.Set("startedMs", number(env, what.started_ms));
    return record;
}

static Napi::Value memory_of(Napi::Env env, const hs_stats_process_t &process)
{
    if (process.allocated == 0)
        return env.Null();
    Napi::Object memory = Napi::Object::New(env);
    memory.Set("allocated", number(env, process.allocated));
    memory.Set("resident", number(env, process.resident));
    return memory;
}

Napi::Value StatsPageHandle::read_process(Napi::Env env, uint32_t slot, uint32_t side,
                                          const hs_stats_process_t &process)
{
    Napi::Object result = Napi::Object::New(env);
    result.Set("side", Napi::Number::New(env, side));
    result.Set("pid", number(env, process.pid));
    result.Set("generation", number(env, process.generation));
    result.Set("startedMs", number(env, process.started_ms));
    result.Set("connections", numbers(env, process.connections, HS_STATS_STATES));
    result.Set("queueDepth", number(env, process.queue_depth));
    result.Set("memory", memory_of(env, process));
    Napi::Array threads = Napi::Array::New(env);
    uint32_t count = 0;
    for (uint32_t i = 0; i < HS_STATS_THREADS; i++) {
        bool is_serving = false;
        hs_stats_serving_t serving;
        uint64_t heartbeat_ms = hs_stats_page_thread(page_, slot, side, i, &is_serving, &serving);
        if (heartbeat_ms == 0)
            continue;
        Napi::Object thread = Napi::Object::New(env);
        thread.Set("thread", Napi::Number::New(env, i));
        thread.Set("heartbeatMs", number(env, heartbeat_ms));
        thread.Set("serving", is_serving ? serving_record(env, i, serving) : env.Null());
        threads.Set(count++, thread);
    }
    result.Set("threads", threads);
    return result;
}

/* The histograms of a slot, without those that are empty. */
static Napi::Array latencies_of(Napi::Env env, const uint64_t *sums, uint64_t *by_class,
                                uint64_t *by_method)
{
    Napi::Array latencies = Napi::Array::New(env);
    for (unsigned series = 0; series < HS_STATS_SERIES; series++) {
        const uint64_t *counts = sums + HS_STATS_LATENCY + series * (HS_STATS_BUCKETS + 1);
        uint64_t responses = 0;
        for (unsigned i = 0; i < HS_STATS_BUCKETS; i++)
            responses += counts[i];
        if (responses == 0)
            continue;
        by_class[series / HS_STATS_METHODS] += responses;
        by_method[series % HS_STATS_METHODS] += responses;
        Napi::Object histogram = Napi::Object::New(env);
        histogram.Set("method", Napi::Number::New(env, series % HS_STATS_METHODS));
        histogram.Set("statusClass", Napi::Number::New(env, series / HS_STATS_METHODS));
        histogram.Set("counts", numbers(env, counts, HS_STATS_BUCKETS));
        histogram.Set("sumSeconds",
                      Napi::Number::New(env, static_cast<double>(counts[HS_STATS_BUCKETS]) / 1e6));
        latencies.Set(latencies.Length(), histogram);
    }
    return latencies;
}

static Napi::Object counters_of(Napi::Env env, const uint64_t *sums)
{
    Napi::Object counters = Napi::Object::New(env);
    uint64_t by_class[HS_STATS_CLASSES] = {};
    uint64_t by_method[HS_STATS_METHODS] = {};
    counters.Set("latencies", latencies_of(env, sums, by_class, by_method));
    for (unsigned i = 0; i < HS_STATS_REFUSALS; i++)
        by_class[hs_stats_refusal_statuses[i] / 100 - 1] += sums[HS_STATS_REFUSAL + i];
    counters.Set("responsesByClass", numbers(env, by_class, HS_STATS_CLASSES));
    counters.Set("requestsByMethod", numbers(env, by_method, HS_STATS_METHODS));
    static const struct {
        const char *name;
        unsigned counter;
    } singles[] = {
        { "bytesIn", HS_STATS_BYTES_IN },
        { "bytesOut", HS_STATS_BYTES_OUT },
        { "accepted", HS_STATS_ACCEPTED },
        { "rejectedLimit", HS_STATS_REJECTED_LIMIT },
        { "rejectedDescriptors", HS_STATS_REJECTED_DESCRIPTORS },
        { "rejectedProxy", HS_STATS_REJECTED_PROXY },
        { "rejectedHandshake", HS_STATS_REJECTED_HANDSHAKE },
        { "tlsHandshakes", HS_STATS_TLS_HANDSHAKES },
        { "tlsResumed", HS_STATS_TLS_RESUMED },
        { "tlsFailed", HS_STATS_TLS_FAILED },
        { "handlerErrors", HS_STATS_HANDLER_ERRORS },
        { "clientAborts", HS_STATS_CLIENT_ABORTS },
        { "movedOut", HS_STATS_MOVED_OUT },
        { "movedIn", HS_STATS_MOVED_IN },
        { "logLinesLost", HS_STATS_LOG_LOST },
        { "websocketsOpened", HS_STATS_WS_OPENED },
        { "websocketMessagesIn", HS_STATS_WS_MESSAGES_IN },
        { "websocketMessagesOut", HS_STATS_WS_MESSAGES_OUT },
        { "websocketBytesIn", HS_STATS_WS_BYTES_IN },
        { "websocketBytesOut", HS_STATS_WS_BYTES_OUT },
        { "websocketsSlow", HS_STATS_WS_SLOW },
        { "websocketMessagesSkipped", HS_STATS_WS_SKIPPED },
    };
    for (const auto &single : singles)
        counters.Set(single.name, number(env, sums[single.counter]));
    counters.Set("refusals", numbers(env, sums + HS_STATS_REFUSAL, HS_STATS_REFUSALS));
    counters.Set("websocketsClosed", numbers(env, sums + HS_STATS_WS_CLOSED, HS_STATS_WS_CODES));
    counters.Set("timeouts", numbers(env, sums + HS_STATS_TIMEOUT, HS_STATS_TIMEOUTS));
    return counters;
}

/* Undefined for a slot that was never used. */
Napi::Value StatsPageHandle::read_slot(Napi::Env env, uint32_t slot)
{
    bool is_used = false;
    uint32_t count = 0;
    Napi::Array processes = Napi::Array::New(env);
    for (uint32_t side = 0; side < HS_STATS_SIDES; side++) {
        hs_stats_process_t process;
        if (!hs_stats_page_read(page_, slot, side, &process))
            continue;
        is_used = true;
        if (process.pid != 0)
            processes.Set(count++, read_process(env, slot, side, process));
    }
    if (!is_used)
        return env.Undefined();
    uint64_t sums[HS_STATS_COUNTERS];
    hs_stats_page_sum(page_, slot, sums);
    Napi::Object result = Napi::Object::New(env);
    result.Set("slot", Napi::Number::New(env, slot));
    result.Set("counters", counters_of(env, sums));
    result.Set("processes", processes);
    return result;
}

Napi::Value StatsPageHandle::read(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    uint32_t slot_count = hs_stats_page_slots(page(env));
    Napi::Array slots = Napi::Array::New(env);
    uint32_t count = 0;
    for (uint32_t i = 0; i < slot_count; i++) {
        Napi::HandleScope scope(env);
        Napi::Value slot = read_slot(env, i);
        if (!slot.IsUndefined())
            slots.Set(count++, slot);
    }
    Napi::Object snapshot = Napi::Object::New(env);
    snapshot.Set("takenMs", number(env, hs_monotonic_ms()));
    snapshot.Set("slots", slots);
    return snapshot;
}

static const char *const metric_kinds[] = { "counter", "gauge", "histogram" };

static Napi::Object metric_record(Napi::Env env, const hs_metric_t &metric)
{
    Napi::Object record = Napi::Object::New(env);
    Napi::Array labels = Napi::Array::New(env, metric.label_count);
    for (uint32_t i = 0; i < metric.label_count; i++)
        labels.Set(i, Napi::String::New(env, metric.labels[i]));
    Napi::Array bounds = Napi::Array::New(env, metric.bound_count);
    for (uint32_t i = 0; i < metric.bound_count; i++)
        bounds.Set(i, Napi::Number::New(env, metric.bounds[i]));
    record.Set("name", Napi::String::New(env, metric.name));
    record.Set("help", Napi::String::New(env, metric.help));
    record.Set("kind", metric_kinds[metric.kind]);
    record.Set("labels", labels);
    record.Set("bounds", bounds);
    record.Set("series", Napi::Array::New(env));
    return record;
}

static Napi::Object series_record(Napi::Env env, const hs_metric_series_t &series)
{
    Napi::Object record = Napi::Object::New(env);
    Napi::Array values = Napi::Array::New(env, series.value_count);
    for (uint32_t i = 0; i < series.value_count; i++)
        values.Set(i, Napi::String::New(env, series.values[i].data, series.values[i].len));
    Napi::Array cells = Napi::Array::New(env, series.cell_count);
    for (uint32_t i = 0; i < series.cell_count; i++)
        cells.Set(i, Napi::Number::New(env, series.cells[i]));
    record.Set("values", values);
    record.Set("cells", cells);
    return record;
}

void StatsPageHandle::read_board(Napi::Array metrics, uint32_t slot, uint32_t side)
{
    Napi::Env env = metrics.Env();
    uint32_t places[HS_METRICS_MAX]; /* of the metrics of the board; UINT32_MAX: damaged */
    uint32_t next = metrics.Length();
    uint32_t count = 0;
    hs_metric_t metric;
    for (uint32_t i = 0; i == 0 || i < count; i++) {
        places[i] = UINT32_MAX;
        if (!hs_stats_page_metric(page_, slot, side, i, &count, &metric))
            continue;
        places[i] = next;
        metrics.Set(next++, metric_record(env, metric));
    }
    uint32_t series_count = 0;
    hs_metric_series_t series;
    for (uint32_t i = 0; count > 0 && (i == 0 || i < series_count); i++) {
        if (!hs_stats_page_series(page_, slot, side, i, &series_count, &series))
            continue;
        uint32_t place = series.metric < count ? places[series.metric] : UINT32_MAX;
        if (place == UINT32_MAX)
            continue;
        Napi::HandleScope scope(env);
        Napi::Array list = metrics.Get(place).As<Napi::Object>().Get("series").As<Napi::Array>();
        list.Set(list.Length(), series_record(env, series));
    }
}

Napi::Value StatsPageHandle::read_metrics(const Napi::CallbackInfo &info)
{
    Napi::Env env = info.Env();
    uint32_t slot_count = hs_stats_page_slots(page(env));
    Napi::Array metrics = Napi::Array::New(env);
    for (uint32_t slot = 0; slot < slot_count; slot++)
        for (uint32_t side = 0; side < HS_STATS_SIDES; side++)
            read_board(metrics, slot, side);
    return metrics;
}

struct Side {
    uint32_t slot;
    uint32_t side;
};

static Side side_argument(const Napi::CallbackInfo &info, const hs_stats_page_t *page)
{
    if (info.Length() < 2 || !info[0].IsNumber() || !info[1].IsNumber())
        throw Napi::TypeError::New(info.Env(), "slot and side must be numbers");
    Side side = { info[0].As<Napi::Number>().Uint32Value(),
                  info[1].As<Napi::Number>().Uint32Value() };
    if (side.slot >= hs_stats_page_slots(page) || side.side >= HS_STATS_SIDES)
        throw Napi::RangeError::New(info.Env(), "slot or side is out of range");
    return side;
}

Napi::Value StatsPageHandle::read_serving(const Napi::CallbackInfo &info)
{
    Side at = side_argument(info, page(info.Env()));
    Napi::Array records = Napi::Array::New(info.Env());
    uint32_t count = 0;
    for (uint32_t i = 0; i < HS_STATS_THREADS; i++) {
        bool is_serving = false;
        hs_stats_serving_t serving;
        (void)hs_stats_page_thread(page_, at.slot, at.side, i, &is_serving, &serving);
        if (is_serving)
            records.Set(count++, serving_record(info.Env(), i, serving));
    }
    return records;
}

void StatsPageHandle::reset_side(const Napi::CallbackInfo &info)
{
    Side at = side_argument(info, page(info.Env()));
    hs_stats_page_reset_side(page_, at.slot, at.side);
}
