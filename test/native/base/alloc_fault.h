/*
 * Makes selected allocations of this program fail. Only for a program linked with alloc_fault.c and
 * -Wl,--wrap of malloc, calloc, realloc, posix_memalign and free; allocations of shared libraries
 * are not affected. Single-threaded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Fails the `first`th allocation from now on, and all later ones if `lasting`; 0: none. */
void alloc_fault_arm(size_t first, bool lasting);

/* Stops failing. Returns the number of allocations since alloc_fault_arm. */
size_t alloc_fault_disarm(void);

/* The number of blocks allocated and not freed. */
size_t alloc_fault_live(void);
