/* The stats page: who may write what, what persists, what a reader sees while it changes. */
#include "served.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "exec/hs_stats_page.h"
#include "os/hs_shm.h"

static hs_stats_page_t *page_of(uint32_t slots)
{
    char error[256] = "";
    hs_stats_page_t *page = hs_stats_page_create(slots, error, sizeof(error));
    if (page == NULL)
        fail_msg("%s", error);
    return page;
}

static uint64_t sum_of(hs_stats_page_t *page, uint32_t slot, unsigned counter)
{
    uint64_t sums[HS_STATS_COUNTERS];
    hs_stats_page_sum(page, slot, sums);
    return sums[counter];
}

#define GET 1 /* llhttp's number */
#define POST 3

/* Responses to `method` with a status of this class. */
static uint64_t responses(hs_stats_page_t *page, uint32_t slot, unsigned method, int status)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < HS_STATS_BUCKETS; i++)
        sum += sum_of(page, slot, hs_stats_latency_counter(hs_stats_series(method, status), i));
    return sum;
}

static void counters_continue_in_the_next_process_of_a_side(void **state)
{
    (void)state;
    hs_stats_page_t *page = page_of(4);
    hs_stats_page_begin(page, 2, 0, 11, 1, 1000);
    hs_stats_area_t *area = hs_stats_page_area(page, 2, 0, 0);
    hs_stats_latency(area, hs_stats_series(GET, 200), 50, 1);
    hs_stats_set(&area->connections[HS_STATS_IDLE], 7);
    hs_stats_page_begin(page, 2, 0, 12, 2, 2000);
    hs_stats_process_t process;
    assert_true(hs_stats_page_read(page, 2, 0, &process));
    assert_int_equal(12, process.pid);
    assert_int_equal(2, process.generation);
    assert_int_equal(0, process.connections[0]);
    hs_stats_latency(hs_stats_page_area(page, 2, 0, 0), hs_stats_series(GET, 204), 50, 1);
    assert_int_equal(2, responses(page, 2, GET, 200));
    hs_stats_page_free(page);
}

static void two_living_processes_of_a_slot_add_up(void **state)
{
    (void)state;
    hs_stats_page_t *page = page_of(1);
    hs_stats_page_begin(page, 0, 0, 11, 1, 1000);
    hs_stats_page_begin(page, 0, 3, 12, 2, 1000);
    hs_stats_add(hs_stats_page_area(page, 0, 0, 0), HS_STATS_BYTES_IN, 5);
    hs_stats_add(hs_stats_page_area(page, 0, 3, 0), HS_STATS_BYTES_IN, 6);
    hs_stats_add(hs_stats_page_area(page, 0, 3, 16), HS_STATS_BYTES_IN, 7);
    assert_int_equal(18, sum_of(page, 0, HS_STATS_BYTES_IN));
    hs_stats_page_free(page);
}

static void an_unused_side_is_not_there(void **state)
{
    (void)state;
    hs_stats_page_t *page = page_of(HS_STATS_SLOTS_MAX);
    hs_stats_process_t process;
    bool is_serving;
    hs_stats_serving_t serving;
    assert_false(hs_stats_page_read(page, HS_STATS_SLOTS_MAX - 1, 1, &process));
    assert_int_equal(0, hs_stats_page_thread(page, 5, 2, 3, &is_serving, &serving));
    assert_false(is_serving);
    assert_int_equal(0, sum_of(page, 5, HS_STATS_BYTES_IN));
    hs_stats_page_free(page);
}

static void another_process_maps_the_same_memory(void **state)
{
    (void)state;
    hs_stats_page_t *page = page_of(2);
    hs_errinfo_t error;
    hs_stats_page_t *other = hs_stats_page_attach(dup(hs_stats_page_fd(page)), &error);
    assert_non_null(other);
    hs_stats_page_begin(other, 1, 1, 99, 1, 1);
    hs_stats_add(hs_stats_page_area(other, 1, 1, 0), HS_STATS_ACCEPTED, 3);
    assert_int_equal(3, sum_of(page, 1, HS_STATS_ACCEPTED));
    hs_stats_page_free(other);
    assert_int_equal(3, sum_of(page, 1, HS_STATS_ACCEPTED));
    hs_stats_page_free(page);
}

static void what_is_no_page_is_refused(void **state)
{
    (void)state;
    hs_errinfo_t error;
    assert_null(hs_stats_page_attach(open("/dev/null", O_RDWR | O_CLOEXEC), &error));
    int fd = hs_shm_new(16 * 1024 * 1024);
    assert_true(fd >= 0);
    assert_null(hs_stats_page_attach(fd, &error));
    assert_non_null(strstr(error.text, "version"));
    char text[256] = "";
    assert_null(hs_stats_page_create(0, text, sizeof(text)));
    assert_non_null(strstr(text, "slots"));
    assert_null(hs_stats_page_create(HS_STATS_SLOTS_MAX + 1, text, sizeof(text)));
}

/* Every reactor can write the whole page: nothing in it may decide where its reader reads. */
static void a_stray_write_to_the_header_changes_nothing_for_who_has_mapped_it(void **state)
{
    (void)state;
    hs_stats_page_t *page = page_of(2);
    hs_stats_page_begin(page, 1, 0, 11, 1, 1000);
    hs_stats_add(hs_stats_page_area(page, 1, 0, 0), HS_STATS_ACCEPTED, 3);
    void *memory;
    assert_int_equal(hs_shm_map(hs_stats_page_fd(page), 64, &memory), 0);
    memset(memory, 0xff, 64);
    hs_shm_unmap(memory, 64);
    assert_int_equal(2, hs_stats_page_slots(page));
    assert_int_equal(3, sum_of(page, 1, HS_STATS_ACCEPTED));
    hs_stats_process_t process;
    assert_true(hs_stats_page_read(page, 1, 0, &process));
    assert_int_equal(11, process.pid);
    hs_errinfo_t error;
    assert_null(hs_stats_page_attach(dup(hs_stats_page_fd(page)), &error));
    hs_stats_page_free(page);
}

static void an_index_that_is_out_of_range_is_not_there(void **state)
{
    (void)state;
    hs_stats_page_t *page = page_of(2);
    hs_stats_process_t process;
    bool is_serving = true;
    hs_stats_serving_t serving;
    const uint32_t far = UINT32_MAX / 2;
    assert_false(hs_stats_page_read(page, 2, 0, &process));
    assert_false(hs_stats_page_read(page, far, 0, &process));
    assert_false(hs_stats_page_read(page, 0, HS_STATS_SIDES, &process));
    assert_int_equal(0, hs_stats_page_thread(page, far, 0, 0, &is_serving, &serving));
    assert_false(is_serving);
    assert_int_equal(0, hs_stats_page_thread(page, 0, far, 0, &is_serving, &serving));
    assert_int_equal(0, hs_stats_page_thread(page, 0, 0, far, &is_serving, &serving));
    assert_int_equal(0, sum_of(page, far, HS_STATS_ACCEPTED));
    assert_int_equal(0, hs_stats_page_counter(page, far, HS_STATS_ACCEPTED));
    hs_stats_page_reset_side(page, far, 0);
    hs_stats_page_reset_side(page, 0, far);
    hs_stats_page_free(page);
}

static void latency_falls_into_the_bucket_of_its_bound(void **state)
{
    (void)state;
    hs_stats_area_t area = { 0 };
    unsigned series = hs_stats_series(GET, 200);
    hs_stats_latency(&area, series, 0, 1);
    hs_stats_latency(&area, series, 100, 1); /* a bound belongs to its bucket */
    hs_stats_latency(&area, series, 101, 2);
    hs_stats_latency(&area, series, 10000000, 1);
    hs_stats_latency(&area, series, 10000001, 1);
    const hs_stat_t *counts = &area.counters[hs_stats_latency_counter(series, 0)];
    assert_int_equal(2, counts[0]);
    assert_int_equal(2, counts[1]);
    assert_int_equal(1, counts[18]);
    assert_int_equal(1, counts[19]);
    assert_int_equal(100 + 202 + 20000001, counts[HS_STATS_BUCKETS]);
}

static void a_turn_counts_each_answer_once(void **state)
{
    (void)state;
    hs_stats_area_t area = { 0 };
    hs_stats_turn_t turn = { 0 };
    unsigned get = hs_stats_series(GET, 200);
    unsigned post = hs_stats_series(POST, 503);
    for (int i = 0; i < 3; i++)
        hs_stats_turn_add(&turn, &area, get, 1000, 1000);
    hs_stats_turn_add(&turn, &area, post, 1000, 1000);
    for (int i = 0; i < HS_STATS_LATE_MAX + 5; i++)
        hs_stats_turn_add(&turn, &area, post, 400, 1000);
    assert_false(hs_stats_turn_is_empty(&turn));
    for (int i = 0; i < 2; i++) {
        hs_stats_turn_end(&turn, &area, 1000, 1050);
        assert_true(hs_stats_turn_is_empty(&turn));
        assert_int_equal(3, area.counters[hs_stats_latency_counter(get, 0)]); /* 50 us */
        assert_int_equal(1, area.counters[hs_stats_latency_counter(post, 0)]);
        assert_int_equal(HS_STATS_LATE_MAX + 5, /* 600, 650 us */
                         area.counters[hs_stats_latency_counter(post, 3)]);
    }
}

typedef struct writer {
    hs_stats_area_t *area;
    _Atomic uint64_t looks; /* counted by the reader, awaited by the writer */
    _Atomic bool stop;
} writer_t;

/* Some requests last until they have been read once or twice, and some follow at once: a writer
 * that never pauses could not be read. */
static void *serve_alternating(void *argument)
{
    writer_t *writer = argument;
    char path[HS_STATS_PATH];
    for (uint64_t i = 1; !atomic_load(&writer->stop); i++) {
        memset(path, 'a' + (int)(i % 26), sizeof(path));
        hs_stats_serve(writer->area, i, (unsigned)(i % 26), path, i % 2 ? 64 : 32, i % 26 + 1);
        uint64_t until = atomic_load(&writer->looks) + i % 3;
        while (atomic_load(&writer->looks) < until && !atomic_load(&writer->stop))
            sched_yield();
        hs_stats_serve_end(writer->area);
    }
    return NULL;
}

/* All of it belongs to one request. */
static bool is_whole(const hs_stats_serving_t *serving)
{
    char letter = (char)('a' + serving->method);
    bool is_one = serving->started_ms == serving->method + 1 &&
                  (serving->path_len == 64 || serving->path_len == 32);
    for (size_t i = 0; i < HS_STATS_PATH; i++)
        is_one = is_one && serving->path[i] == letter;
    return is_one;
}

static void a_reader_never_sees_torn_text(void **state)
{
    enum {
        WANTED = 100000
    };
    (void)state;
    hs_stats_page_t *page = page_of(1);
    hs_stats_page_begin(page, 0, 0, 1, 1, 1);
    writer_t writer = { .area = hs_stats_page_area(page, 0, 0, 0) };
    pthread_t thread;
    assert_int_equal(0, pthread_create(&thread, NULL, serve_alternating, &writer));
    int seen = 0, torn = 0;
    uint64_t until_ms = hs_monotonic_ms() + 6 * WAIT_S * 1000;
    while (seen < WANTED && hs_monotonic_ms() < until_ms) {
        hs_stats_serving_t serving;
        atomic_fetch_add(&writer.looks, 1);
        if (!hs_stats_read_serving(writer.area, &serving))
            continue;
        seen++;
        torn += !is_whole(&serving);
    }
    atomic_store(&writer.stop, true);
    assert_int_equal(0, pthread_join(thread, NULL));
    hs_stats_page_free(page);
    assert_int_equal(0, torn);
    assert_int_equal(WANTED, seen);
}

static void what_a_dead_process_served_can_be_read_until_its_side_is_reset(void **state)
{
    (void)state;
    static const char path[HS_STATS_PATH] = "/crashes/here";
    hs_stats_page_t *page = page_of(1);
    hs_stats_page_begin(page, 0, 1, 77, 1, 1);
    hs_stats_serve(hs_stats_page_area(page, 0, 1, 0), 9, 1, path, 13, 4711);
    bool is_serving;
    hs_stats_serving_t serving;
    (void)hs_stats_page_thread(page, 0, 1, 0, &is_serving, &serving);
    assert_true(is_serving);
    assert_int_equal(4711, serving.started_ms);
    assert_memory_equal(path, serving.path, serving.path_len);
    assert_string_equal("GET", hs_method_name(serving.method));
    hs_stats_page_reset_side(page, 0, 1);
    (void)hs_stats_page_thread(page, 0, 1, 0, &is_serving, &serving);
    assert_false(is_serving);
    hs_stats_page_free(page);
}

static void a_server_fills_its_area(void **state)
{
    (void)state;
    hs_stats_page_t *page = page_of(2);
    hs_config_t config;
    served_config(&config);
    config.stats_fd = dup(hs_stats_page_fd(page));
    config.stats_slot = 1;
    config.stats_side = 2;
    config.generation = 5;
    served_t served;
    served_start(&served, &config);
    int fd = client_open(hs_server_port(served.server));
    client_ask(fd, "/one");
    client_send(fd, "POST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    client_expect(fd, "POST /two 3");
    client_send(fd, "GET /fails HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(fd, "500");
    WAIT_UNTIL(sum_of(page, 1, HS_STATS_HANDLER_ERRORS) == 1);
    hs_stats_process_t process;
    assert_true(hs_stats_page_read(page, 1, 2, &process));
    assert_int_equal(5, process.generation);
    assert_int_equal(getpid(), process.pid);
    WAIT_UNTIL(hs_stats_page_read(page, 1, 2, &process) && process.connections[0] == 1);
    client_send(fd, "NONSENSE\r\n\r\n");
    client_expect_end(fd);
    close(fd);
    WAIT_UNTIL(hs_stats_page_read(page, 1, 2, &process) && process.connections[4] == 0);
    served_stop(&served);
    assert_int_equal(1, sum_of(page, 1, HS_STATS_ACCEPTED));
    assert_int_equal(1, responses(page, 1, GET, 200));
    assert_int_equal(1, responses(page, 1, POST, 200));
    assert_int_equal(1, responses(page, 1, GET, 500));
    assert_int_equal(1, sum_of(page, 1, HS_STATS_REFUSAL)); /* 400 */
    assert_true(sum_of(page, 1, HS_STATS_BYTES_IN) > 100);
    assert_true(sum_of(page, 1, HS_STATS_BYTES_OUT) > 300);
    hs_stats_page_free(page);
}

static void a_worker_says_what_it_serves(void **state)
{
    (void)state;
    hs_stats_page_t *page = page_of(1);
    gate_t gate = GATE_SHUT;
    hs_config_t config;
    served_config(&config);
    config.stats_fd = dup(hs_stats_page_fd(page));
    config.handler = gate_handler;
    config.handler_ud = &gate;
    config.dispatch = HS_DISPATCH_WORKER;
    config.num_threads = 1;
    served_t served;
    served_start(&served, &config);
    int first = client_open(hs_server_port(served.server));
    client_send(first, "GET /waits HTTP/1.1\r\nHost: a\r\n\r\n");
    bool is_serving = false;
    hs_stats_serving_t serving;
    WAIT_UNTIL((hs_stats_page_thread(page, 0, 0, 1, &is_serving, &serving), is_serving));
    assert_int_equal(6, serving.path_len);
    assert_memory_equal("/waits", serving.path, 6);
    int second = client_open(hs_server_port(served.server));
    client_send(second, "GET /queued HTTP/1.1\r\nHost: a\r\n\r\n");
    hs_stats_process_t process;
    WAIT_UNTIL(hs_stats_page_read(page, 0, 0, &process) &&
               process.connections[HS_STATS_HANDLING] == 2 && process.queue_depth == 1);
    gate_open(&gate);
    client_expect(first, "GET /waits 0");
    client_expect(second, "GET /queued 0");
    WAIT_UNTIL((hs_stats_page_thread(page, 0, 0, 1, &is_serving, &serving), !is_serving));
    WAIT_UNTIL(hs_stats_page_read(page, 0, 0, &process) &&
               process.connections[HS_STATS_IDLE] == 2 && process.queue_depth == 0);
    close(first);
    close(second);
    served_stop(&served);
    hs_stats_page_free(page);
}

static void an_idle_server_shows_that_it_lives(void **state)
{
    (void)state;
    hs_stats_page_t *page = page_of(1);
    hs_config_t config;
    served_config(&config);
    config.stats_fd = dup(hs_stats_page_fd(page));
    served_t served;
    served_start(&served, &config);
    bool is_serving;
    hs_stats_serving_t serving;
    uint64_t first = 0;
    WAIT_UNTIL((first = hs_stats_page_thread(page, 0, 0, 0, &is_serving, &serving)) != 0);
    WAIT_UNTIL(hs_stats_page_thread(page, 0, 0, 0, &is_serving, &serving) > first);
    served_stop(&served);
    hs_stats_page_free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_continue_in_the_next_process_of_a_side),
        cmocka_unit_test(two_living_processes_of_a_slot_add_up),
        cmocka_unit_test(an_unused_side_is_not_there),
        cmocka_unit_test(another_process_maps_the_same_memory),
        cmocka_unit_test(what_is_no_page_is_refused),
        cmocka_unit_test(a_stray_write_to_the_header_changes_nothing_for_who_has_mapped_it),
        cmocka_unit_test(an_index_that_is_out_of_range_is_not_there),
        cmocka_unit_test(latency_falls_into_the_bucket_of_its_bound),
        cmocka_unit_test(a_turn_counts_each_answer_once),
        cmocka_unit_test(a_reader_never_sees_torn_text),
        cmocka_unit_test(what_a_dead_process_served_can_be_read_until_its_side_is_reset),
        cmocka_unit_test(a_server_fills_its_area),
        cmocka_unit_test(a_worker_says_what_it_serves),
        cmocka_unit_test(an_idle_server_shows_that_it_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
