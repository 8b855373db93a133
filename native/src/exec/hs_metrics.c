#include "exec/hs_metrics.h"

#include <string.h>

#include "base/hs_alloc.h"

bool hs_metrics_init(hs_metrics_t *metrics, hs_metrics_board_t *board)
{
    *metrics = (hs_metrics_t){ .board = board, .is_own = board == NULL };
    if (board == NULL)
        metrics->board = hs_alloc_zeroed(1, sizeof(*metrics->board));
    pthread_mutex_init(&metrics->lock, NULL);
    return metrics->board != NULL;
}

void hs_metrics_free(hs_metrics_t *metrics)
{
    if (metrics->is_own)
        hs_free(metrics->board);
    metrics->board = NULL;
    pthread_mutex_destroy(&metrics->lock);
}

/* Counts on a damaged board must not exceed its arrays. */
static uint32_t count_of(const _Atomic uint32_t *count, uint32_t most)
{
    uint32_t value = atomic_load_explicit(count, memory_order_acquire);
    return value < most ? value : most;
}

uint32_t hs_metrics_board_count(const hs_metrics_board_t *board)
{
    return count_of(&board->metric_count, HS_METRICS_MAX);
}

uint32_t hs_metrics_board_series_count(const hs_metrics_board_t *board)
{
    return count_of(&board->series_count, HS_METRIC_SERIES_MAX);
}

uint32_t hs_metric_width(const hs_metric_t *metric)
{
    return metric->kind == HS_METRIC_HISTOGRAM ? metric->bound_count + 2 : 1;
}

static bool has_shape(const hs_metric_t *metric, const hs_metric_t *shape)
{
    return metric->kind == shape->kind && metric->label_count == shape->label_count &&
           metric->bound_count == shape->bound_count &&
           memcmp(metric->labels, shape->labels, sizeof(shape->labels)) == 0 &&
           memcmp(metric->bounds, shape->bounds, sizeof(shape->bounds)) == 0;
}

static int declare(hs_metrics_board_t *board, const hs_metric_t *shape)
{
    uint32_t count = hs_metrics_board_count(board);
    for (uint32_t i = 0; i < count; i++)
        if (strncmp(board->metrics[i].name, shape->name, sizeof(shape->name)) == 0)
            return has_shape(&board->metrics[i], shape) ? (int)i : HS_METRICS_DIFFERS;
    if (count == HS_METRICS_MAX)
        return HS_METRICS_FULL;
    board->metrics[count] = *shape;
    atomic_store_explicit(&board->metric_count, count + 1, memory_order_release);
    return (int)count;
}

int hs_metrics_declare(hs_metrics_t *metrics, const hs_metric_t *shape)
{
    pthread_mutex_lock(&metrics->lock);
    int number = declare(metrics->board, shape);
    pthread_mutex_unlock(&metrics->lock);
    return number;
}

static int make_series(hs_metrics_board_t *board, uint32_t metric, const char *key, size_t key_len,
                       uint32_t most)
{
    uint32_t count = hs_metrics_board_series_count(board);
    uint32_t cells = count_of(&board->cell_count, HS_METRIC_CELLS_MAX);
    uint32_t of_metric = 0;
    for (uint32_t i = 0; i < count; i++) {
        const hs_metric_series_entry_t *entry = &board->series[i];
        if (entry->metric != metric)
            continue;
        if (entry->key_len == key_len && memcmp(entry->key, key, key_len) == 0)
            return (int)i;
        of_metric++;
    }
    uint32_t width = hs_metric_width(&board->metrics[metric]);
    if (of_metric >= most)
        return HS_METRICS_TOO_MANY;
    if (count == HS_METRIC_SERIES_MAX || cells + width > HS_METRIC_CELLS_MAX)
        return HS_METRICS_FULL;
    hs_metric_series_entry_t *entry = &board->series[count];
    entry->metric = metric;
    entry->cell = cells;
    entry->key_len = (uint32_t)key_len;
    memcpy(entry->key, key, key_len);
    /* The cells first: if the process dies in between, some are lost, and no other process counts
     * in those of a series. */
    atomic_store_explicit(&board->cell_count, cells + width, memory_order_release);
    atomic_store_explicit(&board->series_count, count + 1, memory_order_release);
    return (int)count;
}

int hs_metrics_series(hs_metrics_t *metrics, uint32_t metric, const char *key, size_t key_len,
                      uint32_t most)
{
    HS_ASSERT(metric < hs_metrics_board_count(metrics->board) && key_len <= HS_METRIC_KEY_MAX);
    pthread_mutex_lock(&metrics->lock);
    int number = make_series(metrics->board, metric, key, key_len, most);
    pthread_mutex_unlock(&metrics->lock);
    return number;
}

hs_metric_cell_t *hs_metrics_cells(hs_metrics_t *metrics, uint32_t series)
{
    return &metrics->board->cells[metrics->board->series[series].cell];
}

bool hs_metrics_board_metric(const hs_metrics_board_t *board, uint32_t number, hs_metric_t *out)
{
    if (number >= hs_metrics_board_count(board))
        return false;
    /* As bytes: GCC 12 with LTO reads a stale `kind` after an assignment. */
    memcpy(out, &board->metrics[number], sizeof(*out));
    out->name[HS_METRIC_NAME_CAP - 1] = '\0';
    out->help[HS_METRIC_HELP_CAP - 1] = '\0';
    for (unsigned i = 0; i < HS_METRIC_LABELS_MAX; i++)
        out->labels[i][HS_METRIC_LABEL_CAP - 1] = '\0';
    return out->kind <= HS_METRIC_HISTOGRAM && out->label_count <= HS_METRIC_LABELS_MAX &&
           out->bound_count <= HS_METRIC_BOUNDS_MAX;
}

/* Finds the values in a key. False: it is damaged. */
static bool split_key(hs_metric_series_t *series, uint32_t label_count, uint32_t key_len)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < label_count; i++) {
        if (at >= key_len)
            return false;
        uint32_t len = (uint8_t)series->key[at++];
        if (len > key_len - at)
            return false;
        series->values[i].data = &series->key[at];
        series->values[i].len = len;
        at += len;
    }
    return at == key_len;
}

bool hs_metrics_board_series(const hs_metrics_board_t *board, uint32_t number,
                             hs_metric_series_t *out)
{
    *out = (hs_metric_series_t){ .value_count = 0 };
    if (number >= hs_metrics_board_series_count(board))
        return false;
    const hs_metric_series_entry_t entry = board->series[number];
    hs_metric_t metric;
    if (entry.key_len > HS_METRIC_KEY_MAX || entry.cell >= HS_METRIC_CELLS_MAX ||
        !hs_metrics_board_metric(board, entry.metric, &metric) ||
        hs_metric_width(&metric) > HS_METRIC_CELLS_MAX - entry.cell)
        return false;
    memcpy(out->key, entry.key, entry.key_len);
    out->metric = entry.metric;
    out->value_count = metric.label_count;
    out->cell_count = hs_metric_width(&metric);
    for (uint32_t i = 0; i < out->cell_count; i++)
        out->cells[i] = hs_metric_read(&board->cells[entry.cell + i]);
    return split_key(out, metric.label_count, entry.key_len);
}

void hs_metrics_board_clear_gauges(hs_metrics_board_t *board)
{
    uint32_t metrics = hs_metrics_board_count(board);
    uint32_t count = hs_metrics_board_series_count(board);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t metric = board->series[i].metric;
        uint32_t cell = board->series[i].cell;
        if (metric < metrics && board->metrics[metric].kind == HS_METRIC_GAUGE &&
            cell < HS_METRIC_CELLS_MAX)
            hs_metric_set(&board->cells[cell], 0);
    }
}
