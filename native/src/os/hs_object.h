/*
 * Questions to the dynamic linker: which loaded object holds an address, and which allocator is in
 * use.
 */
#pragma once

#include "base/hs_base.h"

/* True if both addresses lie in one loaded object (program or library). */
bool hs_object_is_same(const void *a, const void *b);

/* jemalloc's version ("5.3.0-…") if one is loaded into this process, else "system". A static
 * string. */
const char *hs_object_allocator(void);
