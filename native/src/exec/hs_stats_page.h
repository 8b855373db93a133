/*
 * The stats page: shared memory with one area for every thread of every reactor process. The
 * supervisor creates it, reactors map it by descriptor, and it outlives them, so counters continue
 * where a dead reactor left them.
 *
 * A slot (a reactor's number) has several sides: while a reactor is being replaced two processes
 * live in one slot, and an area has one writer. The supervisor assigns a process a side that no
 * live process uses. Counters of a slot are the sum of its sides and never decrease.
 *
 * Layout: header, then a head for every side, then areas [slot][side][thread], then boards
 * [slot][side] of the handlers' own metrics. Unused sides are never touched: the memory is sparse.
 */
#pragma once

#include "base/hs_err.h"
#include "exec/hs_metrics.h"
#include "exec/hs_stats.h"

/* New shared memory for `slots` (1 to HS_STATS_SLOTS_MAX). NULL on failure. */
HS_NODISCARD hs_stats_page_t *hs_stats_page_new(uint32_t slots, hs_errinfo_t *error);

/* Maps a page created by hs_stats_page_new; takes over the descriptor, also on failure. NULL if it
 * is not a page of this version. */
HS_NODISCARD hs_stats_page_t *hs_stats_page_attach(int fd, hs_errinfo_t *error);

/* Bytes according to the allocator; 0, 0: unknown. Called by the side's process. */
void hs_stats_page_set_memory(hs_stats_page_t *page, uint32_t slot, uint32_t side,
                              uint64_t allocated, uint64_t resident);

/*
 * This process takes a side: gauges start at 0, counters continue; its board was cleared before its
 * handlers were created. `slot`, `side` must be in range.
 */
void hs_stats_page_begin(hs_stats_page_t *page, uint32_t slot, uint32_t side, uint32_t pid,
                         uint64_t generation, uint64_t now_ms);

/* The process switches to another generation of its handler. */
void hs_stats_page_set_generation(hs_stats_page_t *page, uint32_t slot, uint32_t side,
                                  uint64_t generation);

/* The area of a thread in a side that was taken. Any thread of that process. */
hs_stats_area_t *hs_stats_page_area(hs_stats_page_t *page, uint32_t slot, uint32_t side,
                                    uint32_t thread);

/* The board of a side, which is in range, for its process. */
hs_metrics_board_t *hs_stats_page_board(hs_stats_page_t *page, uint32_t slot, uint32_t side);

/* NULL if that thread never ran in the side. */
hs_stats_area_t *hs_stats_page_find(hs_stats_page_t *page, uint32_t slot, uint32_t side,
                                    uint32_t thread);

/* One counter of the slot's I/O threads, over all sides. */
uint64_t hs_stats_page_counter(hs_stats_page_t *page, uint32_t slot, unsigned counter);
