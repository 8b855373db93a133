#include "exec/hs_lua_shared.h"

#include <math.h>

_Static_assert(sizeof(hs_lua_shared_value_t) == sizeof(hs_shared_value_t) &&
                   offsetof(hs_lua_shared_value_t, number) == offsetof(hs_shared_value_t, number) &&
                   offsetof(hs_lua_shared_value_t, length) == offsetof(hs_shared_value_t, length) &&
                   offsetof(hs_lua_shared_value_t, is_stale) ==
                       offsetof(hs_shared_value_t, is_stale) &&
                   offsetof(hs_lua_shared_value_t, capacity) ==
                       offsetof(hs_shared_value_t, capacity),
               "one struct under two names");

static hs_shared_t *dictionary_of(hs_lua_dictionary_t *dictionary)
{
    return (hs_shared_t *)(void *)dictionary;
}

static hs_shared_value_t *value_of(hs_lua_shared_value_t *value)
{
    return (hs_shared_value_t *)(void *)value;
}

/* The shortest time to live is a millisecond. */
static uint64_t ttl_ms_of(double seconds)
{
    double ms = seconds * 1000;
    if (!(ms > 0))
        return ms < 0 ? HS_SHARED_KEEP_TTL : HS_SHARED_FOREVER;
    if (ms >= 9e15)
        return (uint64_t)9e15;
    return ms < 1 ? 1 : (uint64_t)(ms + 0.5);
}

static hs_lua_dictionary_t *find(void *self, const char *name)
{
    const hs_lua_shared_t *shared = self;
    const hs_shared_member_t *member =
        shared->set == NULL ? NULL : hs_shared_set_find(shared->set, HS_SHARED_DICTIONARY, name);
    return member == NULL ? NULL : (hs_lua_dictionary_t *)(void *)member->dictionary;
}

static const char *name_of(void *self, uint32_t number)
{
    const hs_lua_shared_t *shared = self;
    for (size_t i = 0; shared->set != NULL && i < shared->set->count; i++)
        if (shared->set->members[i].kind == HS_SHARED_DICTIONARY && number-- == 0)
            return shared->set->members[i].name;
    return NULL;
}

static int get(hs_lua_dictionary_t *dictionary, const char *key, size_t len,
               hs_lua_shared_value_t *value)
{
    return (int)hs_shared_get(dictionary_of(dictionary), key, len, value_of(value));
}

static int get_stale(hs_lua_dictionary_t *dictionary, const char *key, size_t len,
                     hs_lua_shared_value_t *value)
{
    return (int)hs_shared_get_stale(dictionary_of(dictionary), key, len, value_of(value));
}

static int store(hs_lua_shared_api_t *api, hs_lua_dictionary_t *dictionary, int mode,
                 const char *key, size_t len, double ttl_s)
{
    return (int)hs_shared_store(dictionary_of(dictionary), mode, key, len, value_of(&api->given),
                                ttl_ms_of(ttl_s), &api->was_forced);
}

/* An interned string stays where it is: its address leads to the hint. */
static HS_ALWAYS_INLINE hs_shared_hint_t *hint_of(hs_lua_shared_api_t *api, const char *key)
{
    hs_lua_shared_t *self = HS_CONTAINER_OF(api, hs_lua_shared_t, api);
    uint64_t mixed = (uintptr_t)key * 0x9e3779b97f4a7c15u;
    return &self->hints[mixed >> (64 - HS_LUA_SHARED_HINT_BITS)];
}

static HS_NOINLINE double incr_any(hs_lua_shared_api_t *api, hs_lua_dictionary_t *dictionary,
                                   const char *key, size_t len, double amount, bool has_initial,
                                   double initial, double ttl_s)
{
    double sum = 0;
    api->result = (int)hs_shared_incr_hinting(dictionary_of(dictionary), hint_of(api, key), key,
                                              len, amount, has_initial ? &initial : NULL,
                                              ttl_ms_of(ttl_s), &sum, &api->was_forced);
    return api->result == HS_SHARED_OK ? sum : NAN;
}

static double incr(hs_lua_shared_api_t *api, hs_lua_dictionary_t *dictionary, const char *key,
                   size_t len, double amount, bool has_initial, double initial, double ttl_s)
{
    double sum;
    if (HS_LIKELY(
            hs_shared_add(dictionary_of(dictionary), hint_of(api, key), key, len, amount, &sum))) {
        if (has_initial)
            api->was_forced = false;
        return sum;
    }
    return incr_any(api, dictionary, key, len, amount, has_initial, initial, ttl_s);
}

static int cas(hs_lua_shared_api_t *api, hs_lua_dictionary_t *dictionary, const char *key,
               size_t len, double ttl_s)
{
    const hs_shared_value_t *expected = value_of(&api->expected);
    const hs_shared_value_t *given = value_of(&api->given);
    return (int)hs_shared_cas(
        dictionary_of(dictionary), key, len, expected->type == HS_SHARED_NIL ? NULL : expected,
        given->type == HS_SHARED_NIL ? NULL : given, ttl_ms_of(ttl_s), &api->was_forced);
}

static int remove_key(hs_lua_dictionary_t *dictionary, const char *key, size_t len)
{
    return (int)hs_shared_delete(dictionary_of(dictionary), key, len);
}

static int expire(hs_lua_dictionary_t *dictionary, const char *key, size_t len, double ttl_s)
{
    return (int)hs_shared_expire(dictionary_of(dictionary), key, len, ttl_ms_of(ttl_s));
}

static int ttl(hs_lua_shared_api_t *api, hs_lua_dictionary_t *dictionary, const char *key,
               size_t len)
{
    uint64_t ms = 0;
    int result = (int)hs_shared_ttl(dictionary_of(dictionary), key, len, &ms);
    api->number = (double)ms / 1000;
    return result;
}

static int push(hs_lua_shared_api_t *api, hs_lua_dictionary_t *dictionary, const char *key,
                size_t len, bool at_head)
{
    size_t count = 0;
    int result = (int)hs_shared_push(dictionary_of(dictionary), key, len, at_head,
                                     value_of(&api->given), &count);
    api->number = (double)count;
    return result;
}

static int pop(hs_lua_shared_api_t *api, hs_lua_dictionary_t *dictionary, const char *key,
               size_t len, bool at_head)
{
    return (int)hs_shared_pop(dictionary_of(dictionary), key, len, at_head, value_of(&api->value));
}

static int count_items(hs_lua_shared_api_t *api, hs_lua_dictionary_t *dictionary, const char *key,
                       size_t len)
{
    size_t count = 0;
    int result = (int)hs_shared_length(dictionary_of(dictionary), key, len, &count);
    api->number = (double)count;
    return result;
}

static void flush_all(hs_lua_dictionary_t *dictionary)
{
    hs_shared_flush_all(dictionary_of(dictionary));
}

static double flush_expired(hs_lua_dictionary_t *dictionary, double most)
{
    return (double)hs_shared_flush_expired(dictionary_of(dictionary), (size_t)most);
}

static double scan(hs_lua_shared_api_t *api, hs_lua_dictionary_t *dictionary, double most)
{
    uint64_t cursor = (uint64_t)api->cursor;
    size_t count =
        hs_shared_scan(dictionary_of(dictionary), &cursor, (size_t)most, value_of(&api->value));
    api->cursor = (double)cursor;
    return (double)count;
}

static double capacity(hs_lua_dictionary_t *dictionary)
{
    hs_shared_stats_t stats;
    hs_shared_read_stats(dictionary_of(dictionary), &stats);
    return (double)stats.size;
}

static double free_space(hs_lua_dictionary_t *dictionary)
{
    hs_shared_stats_t stats;
    hs_shared_read_stats(dictionary_of(dictionary), &stats);
    return (double)stats.free;
}

static double value_max(hs_lua_dictionary_t *dictionary)
{
    return (double)hs_shared_value_max(dictionary_of(dictionary));
}

void hs_lua_shared_init(hs_lua_shared_t *shared, const hs_shared_set_t *set)
{
    *shared = (hs_lua_shared_t){
        .set = set,
        .api = { .version = HS_LUA_SHARED_ABI_VERSION,
                 .value_size = sizeof(hs_lua_shared_value_t),
                 .self = shared,
                 .find = find,
                 .name = name_of,
                 .get = get,
                 .get_stale = get_stale,
                 .store = store,
                 .incr = incr,
                 .cas = cas,
                 .remove = remove_key,
                 .expire = expire,
                 .ttl = ttl,
                 .push = push,
                 .pop = pop,
                 .count = count_items,
                 .flush_all = flush_all,
                 .flush_expired = flush_expired,
                 .scan = scan,
                 .capacity = capacity,
                 .free_space = free_space,
                 .value_max = value_max },
    };
}

void hs_lua_shared_free(hs_lua_shared_t *shared)
{
    hs_shared_value_free(value_of(&shared->api.value));
}
