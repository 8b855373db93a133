/*
 * Queries to the dynamic linker: which loaded object contains an address, and which allocator is in
 * use.
 */
#pragma once

#include "base/hs_err.h"

/* True if both addresses are in one loaded object (program or library). */
bool hs_object_is_same(const void *a, const void *b);

/* jemalloc's version ("5.3.0-…") if one is loaded into this process, else "system". A static
 * string. */
const char *hs_object_allocator(void);

typedef struct hs_memory {
    uint64_t allocated; /* bytes that the program has */
    uint64_t resident;  /* bytes that the allocator has of the system */
} hs_memory_t;

/* What jemalloc has currently allocated; takes some microseconds. False without jemalloc. */
HS_NODISCARD bool hs_object_memory(hs_memory_t *memory);

/*
 * Makes the symbols of the object that contains `address` visible to objects loaded later: node and
 * other hosts load us, and our libraries, with local symbols. Any thread.
 */
void hs_object_show_symbols(const void *address);

/*
 * Loads a shared object, whose undefined symbols may be resolved by the object that contains this
 * code. NULL: `error` says why.
 */
HS_NODISCARD void *hs_object_open(const char *path, hs_errinfo_t *error);

/*
 * The same from memory that hs_shm_store has made as a program; where that may not be loaded, from
 * a copy in a file without a name, in TMPDIR. The object finds no others by $ORIGIN.
 */
HS_NODISCARD void *hs_object_open_memory(int fd, hs_errinfo_t *error);

void hs_object_close(void *object);

/* The address of a symbol of it, NULL if it has none of this name. */
void *hs_object_symbol(void *object, const char *name);
