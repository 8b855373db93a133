#include "exec/hs_stats.h"

#include "exec/hs_stats_page.h"

const uint32_t hs_stats_bounds_us[HS_STATS_BUCKETS - 1] = {
    100,    250,    500,    1000,   2500,    5000,    10000,   25000,   50000,    75000,
    100000, 250000, 500000, 750000, 1000000, 2500000, 5000000, 7500000, 10000000,
};

const int hs_stats_refusal_statuses[HS_STATS_REFUSALS] = { 400, 408, 413, 414, 417,
                                                           431, 500, 501, 503, 505 };

const int hs_stats_ws_codes[HS_STATS_WS_CODES] = { 1000, 1001, 1002, 1003, 1005, 1006, 1007,
                                                   1008, 1009, 1011, 1012, 1013, 3000, 0 };

void hs_stats_ws_closed(hs_stats_area_t *area, int code, uint64_t count)
{
    if (code >= 3000)
        code = 3000;
    unsigned i = 0;
    while (i < HS_STATS_WS_CODES - 1 && hs_stats_ws_codes[i] != code)
        i++;
    hs_stats_add(area, HS_STATS_WS_CLOSED + i, count);
}

void hs_stats_refused(hs_stats_area_t *area, int status)
{
    for (unsigned i = 0; i < HS_STATS_REFUSALS; i++)
        if (hs_stats_refusal_statuses[i] == status)
            hs_stats_add(area, HS_STATS_REFUSAL + i, 1);
}

void hs_stats_latency(hs_stats_area_t *area, unsigned series, uint64_t us, uint32_t count)
{
    unsigned bucket = 0;
    while (bucket < HS_STATS_BUCKETS - 1 && us > hs_stats_bounds_us[bucket])
        bucket++;
    hs_stats_add(area, hs_stats_latency_counter(series, bucket), count);
    hs_stats_add(area, hs_stats_latency_counter(series, HS_STATS_BUCKETS), us * count);
}

void hs_stats_turn_end(hs_stats_turn_t *turn, hs_stats_area_t *area, uint64_t now_us,
                       uint64_t sent_us)
{
    for (; turn->fresh_series != 0; turn->fresh_series &= turn->fresh_series - 1) {
        unsigned series = (unsigned)__builtin_ctzll(turn->fresh_series);
        hs_stats_latency(area, series, sent_us - now_us, turn->fresh[series]);
        turn->fresh[series] = 0;
    }
    for (uint32_t i = 0; i < turn->late_count; i++)
        hs_stats_latency(area, turn->late_series[i], sent_us - turn->late_begun_us[i], 1);
    turn->late_count = 0;
}

#define READ_TRIES 8

bool hs_stats_read_serving(hs_stats_area_t *area, hs_stats_serving_t *out)
{
    for (int i = 0; i < READ_TRIES; i++) {
        uint64_t before = atomic_load_explicit(&area->serving_number, memory_order_acquire);
        uint64_t words[HS_STATS_PATH / 8];
        out->started_ms = atomic_load_explicit(&area->serving_started_ms, memory_order_acquire);
        uint64_t request = atomic_load_explicit(&area->serving_request, memory_order_acquire);
        for (unsigned w = 0; w < HS_STATS_PATH / 8; w++)
            words[w] = atomic_load_explicit(&area->serving_path[w], memory_order_acquire);
        /* The loads above are acquire: this one comes after them. */
        uint64_t after = atomic_load_explicit(&area->serving_number, memory_order_relaxed);
        if (before != after)
            continue;
        out->method = (unsigned)(request >> 32);
        out->path_len = hs_min((uint32_t)request, HS_STATS_PATH);
        memcpy(out->path, words, sizeof(out->path));
        return before != 0;
    }
    return false;
}
