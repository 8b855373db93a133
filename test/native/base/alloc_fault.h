/*
 * Makes chosen allocations of this program fail. Only for a program linked with alloc_fault.c and
 * -Wl,--wrap of malloc, calloc, realloc, posix_memalign and free; what shared libraries allocate is
 * not touched. Single-threaded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The `first`th allocation from now on fails, and all behind it if `lasting`; 0: none fails. */
void alloc_fault_arm(size_t first, bool lasting);

/* No more failures. How many allocations were asked for since alloc_fault_arm. */
size_t alloc_fault_disarm(void);

/* Blocks that are allocated and not freed. */
size_t alloc_fault_live(void);
