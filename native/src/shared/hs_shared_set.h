/*
 * The shared memory that a server's handlers use by name: hs_config_t.shared. Opened before the
 * first handler is created and closed after the last one; read-only in between, by any thread.
 */
#pragma once

#include "base/hs_err.h"
#include "httpserver.h"

/* One of them. */
typedef struct hs_shared_member {
    hs_shared_kind_t kind;
    char name[HS_SHARED_NAME_MAX + 1];
    hs_shared_t *dictionary; /* HS_SHARED_DICTIONARY */
} hs_shared_member_t;

/* owner: the server */
typedef struct hs_shared_set {
    hs_shared_member_t *members;
    size_t count;
} hs_shared_set_t;

/* Takes over the descriptors, also on failure; the set must be closed even then. */
HS_NODISCARD int hs_shared_set_open(hs_shared_set_t *set, const hs_shared_memory_t *given,
                                    size_t count, hs_errinfo_t *error);

/* A set that is all zero is left alone. */
void hs_shared_set_close(hs_shared_set_t *set);

/* NULL: there is none of this kind and name. */
hs_shared_member_t *hs_shared_set_find(const hs_shared_set_t *set, hs_shared_kind_t kind,
                                       const char *name);
