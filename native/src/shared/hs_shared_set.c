#include "shared/hs_shared_set.h"

#include <string.h>

#include "base/hs_alloc.h"
#include "os/hs_sock.h"
#include "shared/hs_shared.h"

static int open_member(hs_shared_set_t *set, const hs_shared_memory_t *given, hs_errinfo_t *error)
{
    hs_shared_member_t *member = &set->members[set->count];
    size_t len = given->name != NULL ? strlen(given->name) : 0;
    if (len < 1 || len > HS_SHARED_NAME_MAX) {
        hs_sock_close(given->fd);
        return hs_errinfo_set(error, HS_ERR_INVALID, 0,
                              "the name of shared memory has %zu bytes, "
                              "not 1 to %d",
                              len, HS_SHARED_NAME_MAX);
    }
    if (hs_shared_set_find(set, given->kind, given->name) != NULL) {
        hs_sock_close(given->fd);
        return hs_errinfo_set(error, HS_ERR_INVALID, 0, "shared memory: %s is given twice",
                              given->name);
    }
    member->kind = given->kind;
    memcpy(member->name, given->name, len + 1);
    switch (given->kind) {
    case HS_SHARED_DICTIONARY:
        member->dictionary = given->fd >= 0 ? hs_shared_map(given->name, given->fd, error)
                                            : hs_shared_new(given->name, given->size, error);
        if (member->dictionary == NULL)
            return error->code;
        break;
    }
    set->count++;
    return HS_OK;
}

int hs_shared_set_open(hs_shared_set_t *set, const hs_shared_memory_t *given, size_t count,
                       hs_errinfo_t *error)
{
    *set = (hs_shared_set_t){ 0 };
    int result = HS_OK;
    if (count > 0)
        set->members = hs_alloc_zeroed(count, sizeof(*set->members));
    if (count > 0 && set->members == NULL)
        result = hs_errinfo_set(error, HS_ERR_NOMEM, 0, "out of memory for shared memory");
    for (size_t i = 0; i < count; i++) {
        if (result == HS_OK)
            result = open_member(set, &given[i], error);
        else
            hs_sock_close(given[i].fd);
    }
    return result;
}

void hs_shared_set_close(hs_shared_set_t *set)
{
    for (size_t i = 0; i < set->count; i++)
        hs_shared_free(set->members[i].dictionary);
    hs_free(set->members);
    *set = (hs_shared_set_t){ 0 };
}

hs_shared_member_t *hs_shared_set_find(const hs_shared_set_t *set, hs_shared_kind_t kind,
                                       const char *name)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->members[i].kind == kind && strcmp(set->members[i].name, name) == 0)
            return &set->members[i];
    return NULL;
}
