#include "exec/hs_stats_page.h"

#include "base/hs_alloc.h"
#include "os/hs_shm.h"
#include "os/hs_sock.h"
#include "ws/hs_ws_frame.h"

#define MAGIC 0x6d6f6f6e73746174u /* "moonstat" */
#define VERSION 6

/* Written once by the supervisor, before another process maps the page; read once, when the page is
 * attached: later any reactor may have overwritten it by mistake. */
typedef struct header {
    uint64_t magic;
    uint32_t version;
    uint32_t slots;
    uint32_t sides;
    uint32_t threads;
    uint32_t area_size;
    uint32_t counters;
    uint32_t board_size;
    char _pad[HS_CACHE_LINE - 36];
} header_t;

/* Writer: the process of the side while it lives, else the supervisor. */
typedef struct side_head {
    hs_stat_t pid;
    hs_stat_t generation;
    hs_stat_t started_ms;
    hs_stat_t threads; /* bit i: thread i has an area; set by any thread of the process */
    hs_stat_t allocated;
    hs_stat_t resident;
    char _pad[HS_CACHE_LINE - 48];
} side_head_t;

_Static_assert(sizeof(header_t) == HS_CACHE_LINE && sizeof(side_head_t) == HS_CACHE_LINE,
               "heads of two processes share no cache line");

/*
 * owner: the thread that created or attached it. The memory behind `header` is shared, and nothing
 * read from it may become an address: `slots` is our own copy, the other numbers are constants.
 */
struct hs_stats_page {
    int fd;
    uint32_t slots;
    size_t size;
    header_t *header;
};

static size_t page_size(uint32_t slots)
{
    size_t side = sizeof(side_head_t) + HS_STATS_THREADS * sizeof(hs_stats_area_t) +
                  sizeof(hs_metrics_board_t);
    return sizeof(header_t) + (size_t)slots * HS_STATS_SIDES * side;
}

/* NULL: there is no such side. */
static side_head_t *head_of(const hs_stats_page_t *page, uint32_t slot, uint32_t side)
{
    if (slot >= page->slots || side >= HS_STATS_SIDES)
        return NULL;
    side_head_t *heads = (side_head_t *)(void *)(page->header + 1);
    return &heads[slot * HS_STATS_SIDES + side];
}

static hs_stats_area_t *area_of(const hs_stats_page_t *page, uint32_t slot, uint32_t side,
                                uint32_t thread)
{
    HS_ASSERT(slot < page->slots && side < HS_STATS_SIDES && thread < HS_STATS_THREADS);
    side_head_t *heads = (side_head_t *)(void *)(page->header + 1);
    hs_stats_area_t *areas =
        (hs_stats_area_t *)(void *)(heads + (size_t)page->slots * HS_STATS_SIDES);
    return &areas[((size_t)slot * HS_STATS_SIDES + side) * HS_STATS_THREADS + thread];
}

hs_metrics_board_t *hs_stats_page_board(hs_stats_page_t *page, uint32_t slot, uint32_t side)
{
    HS_ASSERT(slot < page->slots && side < HS_STATS_SIDES);
    hs_stats_area_t *areas = area_of(page, 0, 0, 0);
    hs_metrics_board_t *boards =
        (hs_metrics_board_t *)(void *)(areas +
                                       (size_t)page->slots * HS_STATS_SIDES * HS_STATS_THREADS);
    return &boards[(size_t)slot * HS_STATS_SIDES + side];
}

/* Maps `fd`, which the page takes over; closes it on failure. */
static hs_stats_page_t *page_map(int fd, size_t size, hs_errinfo_t *error)
{
    hs_stats_page_t *page = hs_alloc(sizeof(*page));
    void *memory = NULL;
    int result = page == NULL ? -1 : hs_shm_map(fd, size, &memory);
    if (result < 0) {
        hs_errinfo_set(error, page == NULL ? HS_ERR_NOMEM : HS_ERR_SYSTEM, -result,
                       "cannot map the stats page");
        hs_free(page);
        hs_sock_close(fd);
        return NULL;
    }
    *page = (hs_stats_page_t){ .fd = fd, .size = size, .header = memory };
    return page;
}

hs_stats_page_t *hs_stats_page_new(uint32_t slots, hs_errinfo_t *error)
{
    if (slots < 1 || slots > HS_STATS_SLOTS_MAX) {
        hs_errinfo_set(error, HS_ERR_INVALID, 0, "a stats page has 1 to %d slots, not %u",
                       HS_STATS_SLOTS_MAX, slots);
        return NULL;
    }
    size_t size = page_size(slots);
    int fd = hs_shm_new(size);
    if (fd < 0) {
        hs_errinfo_set(error, HS_ERR_SYSTEM, -fd, "cannot create shared memory: %s", strerror(-fd));
        return NULL;
    }
    hs_stats_page_t *page = page_map(fd, size, error);
    if (page != NULL) {
        page->slots = slots;
        *page->header = (header_t){
            .magic = MAGIC,
            .version = VERSION,
            .slots = slots,
            .sides = HS_STATS_SIDES,
            .threads = HS_STATS_THREADS,
            .area_size = sizeof(hs_stats_area_t),
            .counters = HS_STATS_COUNTERS,
            .board_size = sizeof(hs_metrics_board_t),
        };
    }
    return page;
}

static bool is_ours(const header_t *header, size_t size)
{
    return header->magic == MAGIC && header->version == VERSION &&
           header->sides == HS_STATS_SIDES && header->threads == HS_STATS_THREADS &&
           header->area_size == sizeof(hs_stats_area_t) && header->counters == HS_STATS_COUNTERS &&
           header->board_size == sizeof(hs_metrics_board_t) && header->slots >= 1 &&
           header->slots <= HS_STATS_SLOTS_MAX && size >= page_size(header->slots);
}

hs_stats_page_t *hs_stats_page_attach(int fd, hs_errinfo_t *error)
{
    size_t size = hs_shm_size(fd);
    if (size < page_size(1)) {
        hs_errinfo_set(error, HS_ERR_INVALID, 0, "descriptor %d is not a stats page", fd);
        hs_sock_close(fd);
        return NULL;
    }
    hs_stats_page_t *page = page_map(fd, size, error);
    if (page == NULL)
        return NULL;
    const header_t header = *page->header;
    page->slots = header.slots;
    if (!is_ours(&header, size)) {
        hs_errinfo_set(error, HS_ERR_INVALID, 0,
                       "the stats page is of another version: restart the master");
        hs_stats_page_free(page);
        return NULL;
    }
    return page;
}

void hs_stats_page_free(hs_stats_page_t *page)
{
    if (page == NULL)
        return;
    hs_shm_unmap(page->header, page->size);
    hs_sock_close(page->fd);
    hs_free(page);
}

int hs_stats_page_fd(const hs_stats_page_t *page)
{
    return page->fd;
}

uint32_t hs_stats_page_slots(const hs_stats_page_t *page)
{
    return page->slots;
}

static void clear_gauges(hs_stats_area_t *area)
{
    hs_stats_serve_end(area);
    hs_stats_set(&area->heartbeat_ms, 0);
    hs_stats_set(&area->queue_depth, 0);
    /* Those ended by a crash: a process that exits normally has closed and counted them. */
    uint64_t cut =
        atomic_load_explicit(&area->connections[HS_STATS_WEBSOCKET], memory_order_relaxed);
    hs_stats_ws_closed(area, HS_WS_ABNORMAL, cut);
    for (unsigned i = 0; i < HS_STATS_STATES; i++)
        hs_stats_set(&area->connections[i], 0);
}

void hs_stats_page_set_memory(hs_stats_page_t *page, uint32_t slot, uint32_t side,
                              uint64_t allocated, uint64_t resident)
{
    side_head_t *head = head_of(page, slot, side);
    if (head == NULL)
        return;
    hs_stats_set(&head->allocated, allocated);
    hs_stats_set(&head->resident, resident);
}

/* The side's process no longer uses it, or does not yet. */
static void clear_side(hs_stats_page_t *page, uint32_t slot, uint32_t side)
{
    side_head_t *head = head_of(page, slot, side);
    if (head == NULL)
        return;
    hs_stats_set(&head->pid, 0);
    hs_stats_page_set_memory(page, slot, side, 0, 0);
    for (uint32_t i = 0; i < HS_STATS_THREADS; i++) {
        hs_stats_area_t *area = hs_stats_page_find(page, slot, side, i);
        if (area != NULL)
            clear_gauges(area);
    }
}

void hs_stats_page_reset_side(hs_stats_page_t *page, uint32_t slot, uint32_t side)
{
    if (head_of(page, slot, side) == NULL)
        return;
    clear_side(page, slot, side);
    hs_metrics_board_clear_gauges(hs_stats_page_board(page, slot, side));
}

void hs_stats_page_begin(hs_stats_page_t *page, uint32_t slot, uint32_t side, uint32_t pid,
                         uint64_t generation, uint64_t now_ms)
{
    clear_side(page, slot, side);
    side_head_t *head = head_of(page, slot, side);
    if (head == NULL)
        return;
    hs_stats_set(&head->generation, generation);
    hs_stats_set(&head->started_ms, now_ms);
    hs_stats_set(&head->pid, pid);
}

void hs_stats_page_set_generation(hs_stats_page_t *page, uint32_t slot, uint32_t side,
                                  uint64_t generation)
{
    side_head_t *head = head_of(page, slot, side);
    if (head != NULL)
        hs_stats_set(&head->generation, generation);
}

hs_stats_area_t *hs_stats_page_area(hs_stats_page_t *page, uint32_t slot, uint32_t side,
                                    uint32_t thread)
{
    side_head_t *head = head_of(page, slot, side);
    HS_ASSERT(head != NULL);
    atomic_fetch_or_explicit(&head->threads, (uint64_t)1 << thread, memory_order_relaxed);
    return area_of(page, slot, side, thread);
}

hs_stats_area_t *hs_stats_page_find(hs_stats_page_t *page, uint32_t slot, uint32_t side,
                                    uint32_t thread)
{
    side_head_t *head = head_of(page, slot, side);
    if (head == NULL || thread >= HS_STATS_THREADS)
        return NULL;
    uint64_t threads = atomic_load_explicit(&head->threads, memory_order_relaxed);
    return (threads >> thread & 1) != 0 ? area_of(page, slot, side, thread) : NULL;
}

bool hs_stats_page_read(hs_stats_page_t *page, uint32_t slot, uint32_t side,
                        hs_stats_process_t *out)
{
    side_head_t *head = head_of(page, slot, side);
    *out = (hs_stats_process_t){ .pid = 0 };
    if (head == NULL)
        return false;
    *out = (hs_stats_process_t){
        .pid = atomic_load_explicit(&head->pid, memory_order_relaxed),
        .generation = atomic_load_explicit(&head->generation, memory_order_relaxed),
        .started_ms = atomic_load_explicit(&head->started_ms, memory_order_relaxed),
        .allocated = atomic_load_explicit(&head->allocated, memory_order_relaxed),
        .resident = atomic_load_explicit(&head->resident, memory_order_relaxed),
    };
    bool is_used = false;
    for (uint32_t i = 0; i < HS_STATS_THREADS; i++) {
        hs_stats_area_t *area = hs_stats_page_find(page, slot, side, i);
        if (area == NULL)
            continue;
        is_used = true;
        out->queue_depth += atomic_load_explicit(&area->queue_depth, memory_order_relaxed);
        for (unsigned s = 0; s < HS_STATS_STATES; s++)
            out->connections[s] +=
                atomic_load_explicit(&area->connections[s], memory_order_relaxed);
    }
    return is_used;
}

void hs_stats_page_sum(hs_stats_page_t *page, uint32_t slot, uint64_t sums[HS_STATS_COUNTERS])
{
    memset(sums, 0, HS_STATS_COUNTERS * sizeof(*sums));
    for (uint32_t side = 0; side < HS_STATS_SIDES; side++)
        for (uint32_t i = 0; i < HS_STATS_THREADS; i++) {
            hs_stats_area_t *area = hs_stats_page_find(page, slot, side, i);
            for (unsigned c = 0; area != NULL && c < HS_STATS_COUNTERS; c++)
                sums[c] += atomic_load_explicit(&area->counters[c], memory_order_relaxed);
        }
}

uint64_t hs_stats_page_counter(hs_stats_page_t *page, uint32_t slot, unsigned counter)
{
    uint64_t sum = 0;
    for (uint32_t side = 0; side < HS_STATS_SIDES; side++) {
        hs_stats_area_t *area = hs_stats_page_find(page, slot, side, 0);
        if (area != NULL)
            sum += atomic_load_explicit(&area->counters[counter], memory_order_acquire);
    }
    return sum;
}

uint64_t hs_stats_page_thread(hs_stats_page_t *page, uint32_t slot, uint32_t side, uint32_t thread,
                              bool *is_serving, hs_stats_serving_t *serving)
{
    hs_stats_area_t *area = hs_stats_page_find(page, slot, side, thread);
    *is_serving = area != NULL && hs_stats_read_serving(area, serving);
    return area == NULL ? 0 : atomic_load_explicit(&area->heartbeat_ms, memory_order_relaxed);
}

bool hs_stats_page_metric(hs_stats_page_t *page, uint32_t slot, uint32_t side, uint32_t number,
                          uint32_t *count, hs_metric_t *out)
{
    *count = 0;
    if (head_of(page, slot, side) == NULL)
        return false;
    const hs_metrics_board_t *board = hs_stats_page_board(page, slot, side);
    *count = hs_metrics_board_count(board);
    return hs_metrics_board_metric(board, number, out);
}

bool hs_stats_page_series(hs_stats_page_t *page, uint32_t slot, uint32_t side, uint32_t number,
                          uint32_t *count, hs_metric_series_t *out)
{
    *count = 0;
    if (head_of(page, slot, side) == NULL)
        return false;
    const hs_metrics_board_t *board = hs_stats_page_board(page, slot, side);
    *count = hs_metrics_board_series_count(board);
    return hs_metrics_board_series(board, number, out);
}
