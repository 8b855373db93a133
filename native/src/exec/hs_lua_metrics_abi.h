/*
 * What C and lua/moonring/metrics.lua share. One text, as in exec/hs_lua_abi.h; raise
 * HS_LUA_METRICS_ABI_VERSION with every change.
 */
#pragma once

#include "base/hs_base.h"

#define HS_LUA_METRICS_ABI_VERSION 1

/* Only plain declarations inside: no preprocessor, no attributes, under 4095 characters. */
#define HS_LUA_METRICS_ABI(...)                                                                    \
    __VA_ARGS__                                                                                    \
    __attribute__((unused)) static const char hs_lua_metrics_abi_text[] = #__VA_ARGS__;

/* clang-format off */
HS_LUA_METRICS_ABI(
typedef struct hs_lua_metric_shape {
    uint32_t kind;
    uint32_t label_count;
    uint32_t bound_count;
    const char *name;
    const char *help;
    const char *labels[4];
    double bounds[24];
} hs_lua_metric_shape_t;

typedef struct hs_lua_cells hs_lua_cells_t;

typedef struct hs_lua_metrics_api {
    uint32_t version;
    uint32_t shape_size;
    void *self;
    int (*declare)(void *self, const hs_lua_metric_shape_t *shape);
    int (*series)(void *self, uint32_t metric, const char *key, size_t key_len, uint32_t most);
    uint32_t (*series_count)(void *self);
    const char *(*series_key)(void *self, uint32_t metric, uint32_t series, uint32_t *len);
    hs_lua_cells_t *(*cells)(void *self, uint32_t series);
    void (*add)(hs_lua_cells_t *cells, double amount);
    void (*set)(hs_lua_cells_t *cells, double value);
    void (*observe)(void *self, uint32_t metric, hs_lua_cells_t *cells, double value);
} hs_lua_metrics_api_t;
)
/* clang-format on */

/*
 * declare, series     the number, or an hs_metrics_refusal_t (exec/hs_metrics.h)
 * series_key          NULL if the series is of another metric
 * add, set            of counters and gauges; observe of histograms
 * hs_lua_cells_t      hs_metric_cell_t; valid as long as the state
 */
