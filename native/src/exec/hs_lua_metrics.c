#include "exec/hs_lua_metrics.h"

#include <string.h>

_Static_assert(sizeof(((hs_lua_metric_shape_t *)0)->bounds) == sizeof(((hs_metric_t *)0)->bounds),
               "as many bounds");
_Static_assert(sizeof(((hs_lua_metric_shape_t *)0)->labels) ==
                   HS_METRIC_LABELS_MAX * sizeof(const char *),
               "as many labels");

static hs_metrics_t *shared_of(void *self)
{
    const hs_lua_metrics_t *metrics = self;
    return metrics->shared;
}

static hs_metric_cell_t *cells_of(hs_lua_cells_t *cells)
{
    return (hs_metric_cell_t *)(void *)cells;
}

/* metrics.lua has checked that it fits. */
static void copy_text(char *to, size_t cap, const char *text)
{
    size_t len = strlen(text);
    HS_ASSERT(len < cap);
    memcpy(to, text, hs_min(len, cap - 1));
}

static int declare(void *self, const hs_lua_metric_shape_t *given)
{
    HS_ASSERT(given->label_count <= HS_METRIC_LABELS_MAX &&
              given->bound_count <= HS_METRIC_BOUNDS_MAX);
    hs_metric_t shape = { .kind = given->kind,
                          .label_count = given->label_count,
                          .bound_count = given->bound_count };
    copy_text(shape.name, sizeof(shape.name), given->name);
    copy_text(shape.help, sizeof(shape.help), given->help);
    for (uint32_t i = 0; i < given->label_count; i++)
        copy_text(shape.labels[i], sizeof(shape.labels[i]), given->labels[i]);
    for (uint32_t i = 0; i < given->bound_count; i++)
        shape.bounds[i] = given->bounds[i];
    return hs_metrics_declare(shared_of(self), &shape);
}

static int series(void *self, uint32_t metric, const char *key, size_t key_len, uint32_t most)
{
    return hs_metrics_series(shared_of(self), metric, key, key_len, most);
}

static uint32_t series_count(void *self)
{
    return hs_metrics_board_series_count(shared_of(self)->board);
}

static const char *series_key(void *self, uint32_t metric, uint32_t number, uint32_t *len)
{
    const hs_metric_series_entry_t *entry = &shared_of(self)->board->series[number];
    *len = entry->key_len;
    return entry->metric == metric ? entry->key : NULL;
}

static hs_lua_cells_t *cells(void *self, uint32_t number)
{
    return (hs_lua_cells_t *)(void *)hs_metrics_cells(shared_of(self), number);
}

static void add(hs_lua_cells_t *cells, double amount)
{
    hs_metric_add(cells_of(cells), amount);
}

static void set(hs_lua_cells_t *cells, double value)
{
    hs_metric_set(cells_of(cells), value);
}

static void observe(void *self, uint32_t number, hs_lua_cells_t *cells, double value)
{
    const hs_metric_t *metric = &shared_of(self)->board->metrics[number];
    hs_metric_cell_t *own = cells_of(cells);
    uint32_t bucket = 0;
    while (bucket < metric->bound_count && value > metric->bounds[bucket])
        bucket++;
    hs_metric_add(&own[bucket], 1);
    hs_metric_add(&own[metric->bound_count + 1], value);
}

bool hs_lua_metrics_init(hs_lua_metrics_t *metrics, hs_metrics_t *shared)
{
    *metrics = (hs_lua_metrics_t){
        .shared = shared != NULL ? shared : &metrics->own,
        .api = { .version = HS_LUA_METRICS_ABI_VERSION,
                 .shape_size = sizeof(hs_lua_metric_shape_t),
                 .self = metrics,
                 .declare = declare,
                 .series = series,
                 .series_count = series_count,
                 .series_key = series_key,
                 .cells = cells,
                 .add = add,
                 .set = set,
                 .observe = observe },
    };
    return shared != NULL || hs_metrics_init(&metrics->own, NULL);
}

void hs_lua_metrics_free(hs_lua_metrics_t *metrics)
{
    if (metrics->shared == &metrics->own)
        hs_metrics_free(&metrics->own);
}
