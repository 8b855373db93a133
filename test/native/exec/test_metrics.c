/*
 * exec/hs_metrics.h: what survives a process, concurrent updates by several threads, and how a
 * reader handles a board damaged by another process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exec/hs_stats_page.h"

#define MOST 1000

static hs_metric_t shape_of(const char *name, hs_metric_kind_t kind, uint32_t labels)
{
    hs_metric_t shape = { .kind = kind, .label_count = labels };
    snprintf(shape.name, sizeof(shape.name), "%s", name);
    snprintf(shape.help, sizeof(shape.help), "Help.");
    for (uint32_t i = 0; i < labels; i++)
        snprintf(shape.labels[i], sizeof(shape.labels[i]), "label%u", i);
    if (kind == HS_METRIC_HISTOGRAM) {
        shape.bound_count = 2;
        shape.bounds[0] = 1;
        shape.bounds[1] = 2;
    }
    return shape;
}

static int declare(hs_metrics_t *metrics, const char *name, hs_metric_kind_t kind, uint32_t labels)
{
    hs_metric_t shape = shape_of(name, kind, labels);
    return hs_metrics_declare(metrics, &shape);
}

/* The series of a metric with one label. */
static int series_of(hs_metrics_t *metrics, int metric, const char *value)
{
    char key[HS_METRIC_KEY_MAX];
    size_t len = strlen(value);
    key[0] = (char)len;
    memcpy(key + 1, value, len);
    return hs_metrics_series(metrics, (uint32_t)metric, key, len + 1, MOST);
}

static void a_process_goes_on_with_the_counters_of_the_one_before(void **state)
{
    (void)state;
    char error[256];
    hs_stats_page_t *page = hs_stats_page_create(2, error, sizeof(error));
    hs_metrics_t first;
    assert_true(hs_metrics_init(&first, hs_stats_page_board(page, 1, 3)));
    int counter = declare(&first, "a_total", HS_METRIC_COUNTER, 1);
    int gauge = declare(&first, "b", HS_METRIC_GAUGE, 0);
    int counted = series_of(&first, counter, "x");
    int level = hs_metrics_series(&first, (uint32_t)gauge, "", 0, MOST);
    hs_metric_add(hs_metrics_cells(&first, (uint32_t)counted), 3);
    hs_metric_set(hs_metrics_cells(&first, (uint32_t)level), 7);
    hs_metrics_free(&first);

    hs_stats_page_reset_side(page, 1, 3);
    hs_metrics_t second;
    assert_true(hs_metrics_init(&second, hs_stats_page_board(page, 1, 3)));
    assert_int_equal(gauge, declare(&second, "b", HS_METRIC_GAUGE, 0));
    assert_int_equal(counter, declare(&second, "a_total", HS_METRIC_COUNTER, 1));
    assert_int_equal(counted, series_of(&second, counter, "x"));
    hs_metric_add(hs_metrics_cells(&second, (uint32_t)counted), 2);

    hs_metric_series_t series;
    uint32_t count;
    assert_true(hs_stats_page_series(page, 1, 3, (uint32_t)counted, &count, &series));
    assert_int_equal(2, count);
    assert_true(series.cells[0] == 5);
    assert_int_equal(1, series.value_count);
    assert_int_equal(1, series.values[0].len);
    assert_memory_equal("x", series.values[0].data, 1);
    assert_true(hs_stats_page_series(page, 1, 3, (uint32_t)level, &count, &series));
    assert_true(series.cells[0] == 0);
    assert_false(hs_stats_page_series(page, 1, 2, 0, &count, &series)); /* another side */
    assert_false(hs_stats_page_series(page, 2, 0, 0, &count, &series)); /* no slot */
    hs_metrics_free(&second);
    hs_stats_page_free(page);
}

static void entries_are_bounded(void **state)
{
    (void)state;
    hs_metrics_t metrics;
    assert_true(hs_metrics_init(&metrics, NULL));
    char name[32];
    for (int i = 0; i < HS_METRICS_MAX; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        assert_int_equal(i, declare(&metrics, name, HS_METRIC_HISTOGRAM, 1));
    }
    assert_int_equal(HS_METRICS_FULL, declare(&metrics, "more", HS_METRIC_COUNTER, 0));
    assert_int_equal(5, declare(&metrics, "m5", HS_METRIC_HISTOGRAM, 1));
    assert_int_equal(HS_METRICS_DIFFERS, declare(&metrics, "m5", HS_METRIC_HISTOGRAM, 2));
    for (int i = 0; i < HS_METRIC_SERIES_MAX; i++) {
        snprintf(name, sizeof(name), "v%d", i);
        assert_int_equal(i, series_of(&metrics, i % 2, name));
    }
    assert_int_equal(HS_METRICS_FULL, series_of(&metrics, 0, "more"));
    assert_int_equal(4, series_of(&metrics, 0, "v4"));
    assert_int_equal(HS_METRICS_TOO_MANY, hs_metrics_series(&metrics, 0, "\1x", 2, 512));
    hs_metrics_free(&metrics);
}

static void cells_are_bounded(void **state)
{
    (void)state;
    hs_metrics_t metrics;
    assert_true(hs_metrics_init(&metrics, NULL));
    hs_metric_t wide = shape_of("wide", HS_METRIC_HISTOGRAM, 1);
    wide.bound_count = HS_METRIC_BOUNDS_MAX;
    int metric = hs_metrics_declare(&metrics, &wide);
    const int most = HS_METRIC_CELLS_MAX / (HS_METRIC_BOUNDS_MAX + 2);
    char name[32];
    for (int i = 0; i < most; i++) {
        snprintf(name, sizeof(name), "v%d", i);
        assert_int_equal(i, series_of(&metrics, metric, name));
    }
    assert_int_equal(HS_METRICS_FULL, series_of(&metrics, metric, "more"));
    hs_metrics_free(&metrics);
}

#define THREADS 4
#define ROUNDS 20000

static void *count_in_thread(void *argument)
{
    hs_metrics_t *metrics = argument;
    for (int i = 0; i < ROUNDS; i++) {
        char value[2] = { (char)('a' + i % 16), '\0' };
        int metric = declare(metrics, "shared_total", HS_METRIC_COUNTER, 1);
        int series = series_of(metrics, metric, value);
        hs_metric_add(hs_metrics_cells(metrics, (uint32_t)series), 1);
    }
    return NULL;
}

static void threads_count_in_the_same_series(void **state)
{
    (void)state;
    hs_metrics_t metrics;
    assert_true(hs_metrics_init(&metrics, NULL));
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(0, pthread_create(&threads[i], NULL, count_in_thread, &metrics));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(1, hs_metrics_board_count(metrics.board));
    assert_int_equal(16, hs_metrics_board_series_count(metrics.board));
    double sum = 0;
    for (uint32_t i = 0; i < 16; i++)
        sum += hs_metric_read(hs_metrics_cells(&metrics, i));
    assert_true(sum == THREADS * ROUNDS);
    hs_metrics_free(&metrics);
}

static void read_all(const hs_metrics_board_t *board)
{
    hs_metric_t metric;
    hs_metric_series_t series;
    for (uint32_t i = 0; i < hs_metrics_board_count(board); i++)
        if (hs_metrics_board_metric(board, i, &metric)) {
            assert_true(strlen(metric.name) < sizeof(metric.name));
            assert_true(strlen(metric.help) < sizeof(metric.help));
        }
    for (uint32_t i = 0; i < hs_metrics_board_series_count(board); i++)
        if (hs_metrics_board_series(board, i, &series))
            for (uint32_t v = 0; v < series.value_count; v++)
                assert_true(series.values[v].data >= series.key &&
                            series.values[v].data + series.values[v].len <=
                                series.key + sizeof(series.key));
}

static void a_damaged_board_is_read_within_its_bounds(void **state)
{
    (void)state;
    hs_metrics_t metrics;
    assert_true(hs_metrics_init(&metrics, NULL));
    hs_metrics_board_t *board = metrics.board;
    memset((void *)board, 0xff, sizeof(*board));
    assert_int_equal(HS_METRICS_MAX, hs_metrics_board_count(board));
    read_all(board);
    hs_metrics_board_clear_gauges(board);
    unsigned seed = 1;
    for (int round = 0; round < 50; round++) {
        uint8_t *bytes = (uint8_t *)board;
        for (size_t i = 0; i < sizeof(*board); i += 4) {
            seed = seed * 1103515245 + 12345;
            uint32_t word = seed >> 16 & (round % 2 == 0 ? 3 : 0xff); /* small, to be plausible */
            memcpy(bytes + i, &word, sizeof(word));
        }
        atomic_store(&board->metric_count, HS_METRICS_MAX);
        atomic_store(&board->series_count, HS_METRIC_SERIES_MAX);
        read_all(board);
        hs_metrics_board_clear_gauges(board);
    }
    hs_metrics_free(&metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_goes_on_with_the_counters_of_the_one_before),
        cmocka_unit_test(entries_are_bounded),
        cmocka_unit_test(cells_are_bounded),
        cmocka_unit_test(threads_count_in_the_same_series),
        cmocka_unit_test(a_damaged_board_is_read_within_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
