/*
 * Metrics of handlers: a board has a directory of metrics and their series, which only grows, and a
 * cell for each number. The stats page has a board for every side (exec/hs_stats_page.h): one
 * process writes it, the supervisor reads it, and a process that takes over the side continues the
 * counts of its predecessor.
 *
 * Each process has its own directory because entries are created while a server runs, and a process
 * may be killed at any instant. Here it takes no lock that outlives it: unpublished entries do not
 * exist. The supervisor joins the boards by name.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/hs_base.h"
#include "httpserver_supervise.h"

/* Writer: any thread of the process of the side. Readers: any process. The bits of a double;
 * relaxed: no other memory depends on it. */
typedef _Atomic uint64_t hs_metric_cell_t;

/* A published entry never changes. */
typedef struct hs_metric_series_entry {
    uint32_t metric;
    uint32_t cell; /* the first */
    uint32_t key_len;
    char key[HS_METRIC_KEY_MAX]; /* each label's value: its length in a byte, its bytes */
} hs_metric_series_entry_t;

/* owner: the process of the side. A whole number of cache lines. */
typedef struct hs_metrics_board {
    /* Writer: a thread of the process under hs_metrics_t.lock. Readers: any process. Release and
     * acquire: entries below the count are complete. */
    _Atomic uint32_t metric_count;
    _Atomic uint32_t series_count;
    _Atomic uint32_t cell_count;
    char _pad[HS_CACHE_LINE - 12];
    hs_metric_t metrics[HS_METRICS_MAX];
    hs_metric_series_entry_t series[HS_METRIC_SERIES_MAX];
    hs_metric_cell_t cells[HS_METRIC_CELLS_MAX];
} hs_metrics_board_t;

_Static_assert(sizeof(hs_metrics_board_t) % HS_CACHE_LINE == 0,
               "boards of two processes share no cache line");

/* The board of this process, for all its threads. owner: the server */
typedef struct hs_metrics {
    pthread_mutex_t lock; /* of making entries */
    hs_metrics_board_t *board;
    bool is_own; /* private memory: there is no page */
} hs_metrics_t;

/* `board` NULL: private memory. False: out of memory. */
HS_NODISCARD bool hs_metrics_init(hs_metrics_t *metrics, hs_metrics_board_t *board);
void hs_metrics_free(hs_metrics_t *metrics);

/* Why there is no entry. */
typedef enum hs_metrics_refusal {
    HS_METRICS_DIFFERS = -1,  /* the name is taken by a metric of another shape */
    HS_METRICS_FULL = -2,     /* of metrics, series or cells */
    HS_METRICS_TOO_MANY = -3, /* the metric has its maximum number of series */
} hs_metrics_refusal_t;

/* Any thread of the process. The number of the metric with this `shape`: an existing one, whose
 * help is kept, or a new one. Unused bytes of `shape` are 0. */
HS_NODISCARD int hs_metrics_declare(hs_metrics_t *metrics, const hs_metric_t *shape);

/* Any thread of the process. The number of the series of `metric` with this key, created if it does
 * not exist and the metric has fewer than `most`. */
HS_NODISCARD int hs_metrics_series(hs_metrics_t *metrics, uint32_t metric, const char *key,
                                   size_t key_len, uint32_t most);

/* The cells of a series. */
hs_metric_cell_t *hs_metrics_cells(hs_metrics_t *metrics, uint32_t series);

/* Cells that a series of `metric` has. */
uint32_t hs_metric_width(const hs_metric_t *metric);

/* For reading a board that another process may have damaged: a copy in which every number is in
 * range and every text is terminated, and the counts. */
uint32_t hs_metrics_board_count(const hs_metrics_board_t *board);
uint32_t hs_metrics_board_series_count(const hs_metrics_board_t *board);
HS_NODISCARD bool hs_metrics_board_metric(const hs_metrics_board_t *board, uint32_t number,
                                          hs_metric_t *out);
HS_NODISCARD bool hs_metrics_board_series(const hs_metrics_board_t *board, uint32_t number,
                                          hs_metric_series_t *out);

/* The process is gone: its gauges are cleared, its counts stay. */
void hs_metrics_board_clear_gauges(hs_metrics_board_t *board);

static inline double hs_metric_read(const hs_metric_cell_t *cell)
{
    uint64_t bits = atomic_load_explicit(cell, memory_order_relaxed);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static inline void hs_metric_set(hs_metric_cell_t *cell, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    atomic_store_explicit(cell, bits, memory_order_relaxed);
}

static inline void hs_metric_add(hs_metric_cell_t *cell, double amount)
{
    uint64_t before = atomic_load_explicit(cell, memory_order_relaxed);
    uint64_t after;
    do {
        double value;
        memcpy(&value, &before, sizeof(value));
        value += amount;
        memcpy(&after, &value, sizeof(after));
    } while (!atomic_compare_exchange_weak_explicit(cell, &before, after, memory_order_relaxed,
                                                    memory_order_relaxed));
}
