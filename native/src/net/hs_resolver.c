#include "net/hs_resolver.h"

#include <string.h>

#include "base/hs_alloc.h"
#include "os/hs_clock.h"

/* One lookup. Owned as its chore is */
typedef struct lookup {
    hs_chore_t chore;  /* first */
    struct name *name; /* of the loop's thread */
    hs_resolver_fn resolve;
    void *context;
    int result; /* as of hs_names_resolve */
    hs_addresses_t addresses;
    char host[HS_RESOLVER_HOST_MAX + 1];
} lookup_t;

/* A name of the cache. owner: the loop's thread */
typedef struct name {
    hs_list_t link;
    hs_resolver_t *resolver;
    bool pending; /* a lookup is under way */
    bool known;   /* `addresses` was an answer once */
    bool missing; /* the last answer was that the name does not exist */
    bool is_slow; /* the current lookup takes long */
    uint64_t answered_ms;
    hs_list_t waits;
    hs_timer_t slow; /* while pending and known: when to fall back to the old answer */
    hs_addresses_t addresses;
    char host[HS_RESOLVER_HOST_MAX + 1];
} name_t;

static int resolve_by_system(void *context, const char *host, hs_sock_endpoint_t *endpoints,
                             size_t max)
{
    (void)context;
    return hs_names_resolve(host, endpoints, max);
}

void hs_resolver_set(hs_resolver_t *resolver, hs_resolver_fn resolve, void *context)
{
    HS_ASSERT(resolver->helpers.pool == NULL);
    resolver->resolve = resolve;
    resolver->context = context;
}

void hs_resolver_age(hs_resolver_t *resolver, uint64_t by_ms)
{
    for (hs_list_t *node = resolver->names.next; node != &resolver->names; node = node->next)
        HS_CONTAINER_OF(node, name_t, link)->answered_ms -= by_ms;
}

static void name_free(hs_resolver_t *resolver, name_t *name)
{
    HS_ASSERT(hs_list_empty(&name->waits) && !name->pending);
    hs_timer_stop(resolver->helpers.loop, &name->slow);
    hs_list_remove(&name->link);
    resolver->name_count--;
    hs_free(name);
}

static void tell_waits(name_t *name, hs_resolved_t resolved)
{
    hs_list_t waits;
    hs_list_init(&waits);
    hs_list_take_all(&waits, &name->waits);
    while (!hs_list_empty(&waits)) {
        hs_resolver_wait_t *wait = HS_CONTAINER_OF(waits.next, hs_resolver_wait_t, link);
        hs_list_remove(&wait->link);
        wait->done(wait, resolved, resolved == HS_RESOLVED_FOUND ? &name->addresses : NULL);
    }
}

static bool is_younger(const name_t *name, uint64_t age_ms)
{
    return hs_clock_monotonic_ms() - name->answered_ms < age_ms;
}

/* The lookup takes long: waiters get the old answer. */
static void on_slow(hs_loop_t *loop, hs_timer_t *timer)
{
    (void)loop;
    name_t *name = HS_CONTAINER_OF(timer, name_t, slow);
    name->is_slow = true;
    if (name->known && is_younger(name, HS_RESOLVER_STALE_MS))
        tell_waits(name, HS_RESOLVED_FOUND);
}

static void take_answer(hs_resolver_t *resolver, lookup_t *lookup)
{
    name_t *name = lookup->name;
    hs_resolved_t resolved = HS_RESOLVED_FAILED;
    hs_timer_stop(resolver->helpers.loop, &name->slow);
    name->pending = name->is_slow = false;
    if (lookup->result > 0) {
        resolved = HS_RESOLVED_FOUND;
        name->addresses = lookup->addresses;
        name->addresses.count = (size_t)lookup->result;
        name->answered_ms = hs_clock_monotonic_ms();
        name->known = true;
        name->missing = false;
    } else if (lookup->result == HS_NAMES_NOT_FOUND) {
        resolved = HS_RESOLVED_NOT_FOUND;
        name->answered_ms = hs_clock_monotonic_ms();
        name->known = false;
        name->missing = true;
    } else if (name->known && is_younger(name, HS_RESOLVER_STALE_MS)) {
        resolved = HS_RESOLVED_FOUND;
    }
    tell_waits(name, resolved);
    if (!name->known && !name->missing && hs_list_empty(&name->waits) && !name->pending)
        name_free(resolver, name);
}

static lookup_t *lookup_of(hs_chore_t *chore)
{
    return HS_CONTAINER_OF(chore, lookup_t, chore);
}

static void run(hs_chore_t *chore)
{
    lookup_t *lookup = lookup_of(chore);
    lookup->result = lookup->resolve(lookup->context, lookup->host, lookup->addresses.list,
                                     HS_RESOLVER_ADDRESSES);
}

static void done(hs_helpers_t *helpers, hs_chore_t *chore)
{
    take_answer(HS_CONTAINER_OF(helpers, hs_resolver_t, helpers), lookup_of(chore));
    hs_free(lookup_of(chore));
}

static void drop(hs_chore_t *chore)
{
    hs_free(lookup_of(chore));
}

static const hs_helpers_kind_t lookups = {
    .thread_name = "resolver",
    .threads_max = HS_RESOLVER_THREADS,
    .queue_max = HS_RESOLVER_QUEUE,
    .run = run,
    .done = done,
    .drop = drop,
};

void hs_resolver_init(hs_resolver_t *resolver, hs_loop_t *loop)
{
    *resolver = (hs_resolver_t){ .resolve = resolve_by_system };
    hs_helpers_init(&resolver->helpers, loop, &lookups);
    hs_list_init(&resolver->names);
}

void hs_resolver_free(hs_resolver_t *resolver)
{
    hs_helpers_free(&resolver->helpers);
    while (!hs_list_empty(&resolver->names)) {
        name_t *name = HS_CONTAINER_OF(resolver->names.next, name_t, link);
        name->pending = false;
        name_free(resolver, name);
    }
}

static hs_resolved_t begin_lookup(hs_resolver_t *resolver, name_t *name)
{
    lookup_t *lookup =
        hs_helpers_open(&resolver->helpers) ? hs_alloc_zeroed(1, sizeof(*lookup)) : NULL;
    if (lookup == NULL)
        return HS_RESOLVED_NO_MEMORY;
    lookup->name = name;
    lookup->resolve = resolver->resolve;
    lookup->context = resolver->context;
    memcpy(lookup->host, name->host, sizeof(lookup->host));
    if (!hs_helpers_begin(&resolver->helpers, &lookup->chore)) {
        hs_free(lookup);
        return HS_RESOLVED_BUSY;
    }
    resolver->lookups++;
    name->pending = true;
    name->is_slow = false;
    if (name->known)
        hs_timer_set(resolver->helpers.loop, &name->slow,
                     hs_clock_monotonic_ms() + HS_RESOLVER_SLOW_MS);
    return HS_RESOLVED_LATER;
}

/* The cached name that was looked up longest ago, without a lookup in progress. */
static void evict_name(hs_resolver_t *resolver)
{
    for (hs_list_t *node = resolver->names.next; node != &resolver->names; node = node->next) {
        name_t *name = HS_CONTAINER_OF(node, name_t, link);
        if (name->pending)
            continue;
        name_free(resolver, name);
        return;
    }
}

static name_t *find_name(hs_resolver_t *resolver, const char *host)
{
    for (hs_list_t *node = resolver->names.prev; node != &resolver->names; node = node->prev) {
        name_t *name = HS_CONTAINER_OF(node, name_t, link);
        if (strcmp(name->host, host) == 0)
            return name;
    }
    return NULL;
}

static name_t *add_name(hs_resolver_t *resolver, const char *host)
{
    if (resolver->name_count >= HS_RESOLVER_NAMES)
        evict_name(resolver);
    name_t *name = hs_alloc_zeroed(1, sizeof(*name));
    if (name == NULL)
        return NULL;
    name->resolver = resolver;
    memcpy(name->host, host, strlen(host));
    hs_list_init(&name->link);
    hs_list_init(&name->waits);
    hs_timer_init(&name->slow, on_slow);
    hs_list_push_back(&resolver->names, &name->link);
    resolver->name_count++;
    return name;
}

/* The cached result that may be used at once; LATER: none. */
static hs_resolved_t from_cache(const name_t *name, hs_addresses_t *addresses)
{
    if (name->missing && is_younger(name, HS_RESOLVER_NEGATIVE_MS))
        return HS_RESOLVED_NOT_FOUND;
    uint64_t age_ms = name->is_slow ? HS_RESOLVER_STALE_MS : HS_RESOLVER_CACHED_MS;
    if (!name->known || !is_younger(name, age_ms))
        return HS_RESOLVED_LATER;
    *addresses = name->addresses;
    return HS_RESOLVED_FOUND;
}

hs_resolved_t hs_resolver_lookup(hs_resolver_t *resolver, const char *host,
                                 hs_addresses_t *addresses, hs_resolver_wait_t *wait)
{
    hs_list_init(&wait->link);
    if (hs_sock_endpoint_tcp(&addresses->list[0], host, 0) == HS_OK) {
        addresses->count = 1;
        return HS_RESOLVED_FOUND;
    }
    size_t len = strlen(host);
    if (len == 0 || len > HS_RESOLVER_HOST_MAX)
        return HS_RESOLVED_NOT_FOUND;
    name_t *name = find_name(resolver, host);
    if (name == NULL)
        name = add_name(resolver, host);
    if (name == NULL)
        return HS_RESOLVED_NO_MEMORY;
    hs_resolved_t cached = from_cache(name, addresses);
    if (cached == HS_RESOLVED_NOT_FOUND)
        return cached;
    if (!name->pending &&
        !(cached == HS_RESOLVED_FOUND && is_younger(name, HS_RESOLVER_FRESH_MS))) {
        hs_resolved_t begun = begin_lookup(resolver, name);
        if (begun != HS_RESOLVED_LATER && cached == HS_RESOLVED_LATER) {
            if (!name->known && !name->missing)
                name_free(resolver, name);
            return begun;
        }
    }
    hs_list_remove(&name->link);
    hs_list_push_back(&resolver->names, &name->link);
    if (cached == HS_RESOLVED_LATER)
        hs_list_push_back(&name->waits, &wait->link);
    return cached;
}

void hs_resolver_cancel(hs_resolver_wait_t *wait)
{
    hs_list_remove(&wait->link);
}
